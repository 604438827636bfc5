//! C's read-write locks, waited for between green threads.
//!
//! The C library grants and refuses; only that who asks has the lock for writing is known here. Who has to wait stands in the table of
//! `futex.rs`, readers and writers with a bit each, so that who unlocks wakes all readers, and one writer.

use libc::{c_int, clockid_t, pthread_rwlock_t, timespec};

use super::call::Call;
use super::contended::{deadline, until_taken};
use super::futex::wake_some;
use super::holders::{forget_writer, is_writer, note_writer};
use super::parts::{Parts, patched};
use crate::hub::no_unwind::is_at_work;
use crate::sys::clock::Time;
use crate::sys::original;

/// What is asked for, as the bit by which its waiters are woken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read = 1,
    Write = 2,
}

/// Takes the lock from a greenlet's code.
///
/// # Safety
///
/// `lock` must be one of the C library's.
unsafe fn take(call: Call, lock: *mut pthread_rwlock_t, access: Access, deadline: Option<Time>) -> c_int {
    let attempt = || {
        let result = match access {
            // SAFETY: the caller's contract.
            Access::Read => unsafe { libc::pthread_rwlock_tryrdlock(lock) },
            // SAFETY: as above.
            Access::Write => unsafe { libc::pthread_rwlock_trywrlock(lock) },
        };
        (result != libc::EBUSY).then_some(result)
    };
    // SAFETY: the caller's contract.
    if unsafe { is_writer(call, lock) } {
        return libc::EDEADLK;
    }
    let result = until_taken(lock.addr(), access as u32, deadline, attempt).unwrap_or(libc::ETIMEDOUT);
    if result == 0 && access == Access::Write {
        note_writer(call, lock);
    }
    result
}

/// [`take`] until an absolute time, with `plain` for the C library's, which is left to refuse what it does not know.
///
/// # Safety
///
/// As for `take`; `until` must be null or valid for reads.
unsafe fn take_until(
    lock: *mut pthread_rwlock_t,
    access: Access,
    clock: clockid_t,
    until: *const timespec,
    plain: impl FnOnce() -> c_int,
) -> c_int {
    // SAFETY: the caller's contract.
    match (Call::enter(Parts::THREADS), unsafe { deadline(clock, until) }) {
        // SAFETY: as above.
        (Some(call), Ok(deadline)) => unsafe { take(call, lock, access, Some(deadline)) },
        _ => plain(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_rdlock(lock: *mut pthread_rwlock_t) -> c_int {
    match Call::enter(Parts::THREADS) {
        // SAFETY: the caller's contract is that of the C library's function.
        Some(call) => unsafe { take(call, lock, Access::Read, None) },
        // SAFETY: as above.
        None => unsafe { original::pthread_rwlock_rdlock(lock) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_wrlock(lock: *mut pthread_rwlock_t) -> c_int {
    match Call::enter(Parts::THREADS) {
        // SAFETY: the caller's contract is that of the C library's function.
        Some(call) => unsafe { take(call, lock, Access::Write, None) },
        // SAFETY: as above.
        None => unsafe { original::pthread_rwlock_wrlock(lock) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_timedrdlock(
    lock: *mut pthread_rwlock_t,
    until: *const timespec,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::pthread_rwlock_timedrdlock(lock, until) };
    // SAFETY: as above.
    unsafe { take_until(lock, Access::Read, libc::CLOCK_REALTIME, until, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_timedwrlock(
    lock: *mut pthread_rwlock_t,
    until: *const timespec,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::pthread_rwlock_timedwrlock(lock, until) };
    // SAFETY: as above.
    unsafe { take_until(lock, Access::Write, libc::CLOCK_REALTIME, until, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_clockrdlock(
    lock: *mut pthread_rwlock_t,
    clock: clockid_t,
    until: *const timespec,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::pthread_rwlock_clockrdlock(lock, clock, until) };
    // SAFETY: as above.
    unsafe { take_until(lock, Access::Read, clock, until, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_clockwrlock(
    lock: *mut pthread_rwlock_t,
    clock: clockid_t,
    until: *const timespec,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::pthread_rwlock_clockwrlock(lock, clock, until) };
    // SAFETY: as above.
    unsafe { take_until(lock, Access::Write, clock, until, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_unlock(lock: *mut pthread_rwlock_t) -> c_int {
    if Call::enter(Parts::THREADS).is_some() {
        // SAFETY: the caller's contract is that of the C library's function.
        unsafe { forget_writer(lock) };
    }
    // SAFETY: the caller's contract is that of the C library's function.
    let result = unsafe { original::pthread_rwlock_unlock(lock) };
    // As for `pthread_mutex_unlock`: the lock may be gone by now, and only its address is looked at.
    if patched().contains(Parts::THREADS) && !is_at_work() {
        wake_some(lock.addr(), Access::Read as u32, usize::MAX);
        wake_some(lock.addr(), Access::Write as u32, 1);
    }
    result
}
