//! C's mutexes until a time, as C++'s `std::timed_mutex` asks for them.

use libc::{c_int, clockid_t, pthread_mutex_t, timespec};

use super::call::Call;
use super::contended::{deadline, until_taken};
use super::holders::{Holder, as_holder, holder, is_own, taken};
use super::parts::Parts;
use super::pthread::try_lock;
use crate::sys::original;

/// Takes `mutex` until an absolute time, with `plain` for the C library's function, which refuses, and says of one that its own
/// holder asks for what its kind has for that.
///
/// # Safety
///
/// `mutex` must be one of the C library's, and `until` null or valid for reads.
unsafe fn take_until(
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    until: *const timespec,
    plain: impl FnOnce() -> c_int,
) -> c_int {
    let call = Call::enter(Parts::THREADS);
    // SAFETY: the caller's contract.
    let holder = call.map_or(Holder::Other, |call| unsafe { holder(call, mutex) });
    // SAFETY: as above.
    let plain = || unsafe { as_holder(mutex, plain) };
    // SAFETY: as above.
    let result = match (holder, unsafe { deadline(clock, until) }) {
        // The C library would take it for the caller's.
        (Holder::Neighbour, Err(())) => libc::EINVAL,
        (Holder::Other, Err(())) => plain(),
        _ if call.is_none() => plain(),
        // SAFETY: as above.
        (Holder::Other, Ok(_)) if unsafe { is_own(mutex) } => plain(),
        (_, Ok(deadline)) => {
            // SAFETY: as above.
            let attempt = || Some(unsafe { try_lock(call, mutex) }).filter(|result| *result != libc::EBUSY);
            until_taken(mutex.addr(), u32::MAX, Some(deadline), attempt).unwrap_or(libc::ETIMEDOUT)
        }
    };
    // SAFETY: as above.
    unsafe { taken(call, mutex, result) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_timedlock(mutex: *mut pthread_mutex_t, until: *const timespec) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::pthread_mutex_timedlock(mutex, until) };
    // SAFETY: as above.
    unsafe { take_until(mutex, libc::CLOCK_REALTIME, until, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_clocklock(
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    until: *const timespec,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::pthread_mutex_clocklock(mutex, clock, until) };
    // SAFETY: as above.
    unsafe { take_until(mutex, clock, until, plain) }
}
