//! C's mutexes until a time, as C++'s `std::timed_mutex` asks for them.

use libc::{c_int, clockid_t, pthread_mutex_t, timespec};

use super::call::Call;
use super::contended::{deadline, until_taken};
use super::parts::Parts;
use crate::sys::original;

/// `None` for what is the C library's alone.
///
/// # Safety
///
/// `mutex` must be one of the C library's, and `until` null or valid for reads.
unsafe fn take_until(mutex: *mut pthread_mutex_t, clock: clockid_t, until: *const timespec) -> Option<c_int> {
    Call::enter(Parts::THREADS)?;
    // SAFETY: the caller's contract.
    let deadline = unsafe { deadline(clock, until) }.ok()?;
    // SAFETY: as above.
    let attempt =
        || Some(unsafe { libc::pthread_mutex_trylock(mutex) }).filter(|result| *result != libc::EBUSY);
    Some(until_taken(mutex.addr(), u32::MAX, Some(deadline), attempt).unwrap_or(libc::ETIMEDOUT))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_timedlock(mutex: *mut pthread_mutex_t, until: *const timespec) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let taken = unsafe { take_until(mutex, libc::CLOCK_REALTIME, until) };
    // SAFETY: as above.
    taken.unwrap_or_else(|| unsafe { original::pthread_mutex_timedlock(mutex, until) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_clocklock(
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    until: *const timespec,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let taken = unsafe { take_until(mutex, clock, until) };
    // SAFETY: as above.
    taken.unwrap_or_else(|| unsafe { original::pthread_mutex_clocklock(mutex, clock, until) })
}
