//! The locks and conditions of C, waited for between green threads.
//!
//! To the C library all green threads of a hub are one thread, unless they are isolated: a lock that its owner may take
//! again, or that tells its owner of his mistake, it gives to any of them.

use std::convert::Infallible;
use std::ffi::c_void;
use std::time::Duration;

use libc::{c_int, clockid_t, pthread_cond_t, pthread_mutex_t, pthread_t, timespec};

use super::call::Call;
use super::futex::{Waited, deadline, wait_at, wake};
use super::off_hub::apart;
use super::parts::{Parts, patched};
use crate::hub::no_unwind::is_at_work;
use crate::sys::clock::Time;
use crate::sys::original;

/// How long a wait for a lock lasts at first, and at most, before it is tried again: inside the C library it is given back
/// in ways that lead past here, as by another thread's `pthread_cond_wait`.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_lock(mutex: *mut pthread_mutex_t) -> c_int {
    if Call::enter(Parts::THREADS).is_none() {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::pthread_mutex_lock(mutex) };
    }
    // SAFETY: as above.
    let attempt = || unsafe { libc::pthread_mutex_trylock(mutex) };
    let taken = || Some(attempt()).filter(|result| *result != libc::EBUSY);
    let mut pause = PAUSES[0];
    loop {
        if let Some(result) = taken() {
            return result;
        }
        if let Waited::Ready(result) = wait_at(mutex.addr(), u32::MAX, Some(Time::after(pause)), taken, || ())
        {
            return result;
        }
        pause = (2 * pause).min(PAUSES[1]);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let result = unsafe { original::pthread_mutex_unlock(mutex) };
    // Whoever has it now may have freed it: its address is but a number from here on. An allocator's lock may be given back amid work
    // of the hub's own; who waits for it looks again before long.
    if patched().contains(Parts::THREADS) && !is_at_work() {
        wake(mutex.addr(), 1);
    }
    result
}

/// Waits for the condition, without the lock meanwhile. A kill or a time limit wakes it for no reason, as POSIX allows.
///
/// # Safety
///
/// As for pthread_cond_wait(3).
unsafe fn wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, deadline: Option<Time>) -> c_int {
    let mut unlocked = 0;
    let waited = wait_at(
        condition.addr(),
        u32::MAX,
        deadline,
        || None::<Infallible>,
        // SAFETY: the caller's contract.
        || unlocked = unsafe { pthread_mutex_unlock(mutex) },
    );
    if unlocked != 0 {
        return unlocked;
    }
    // SAFETY: as above.
    match unsafe { pthread_mutex_lock(mutex) } {
        0 if matches!(waited, Waited::Late) => libc::ETIMEDOUT,
        result => result,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int {
    if Call::enter(Parts::THREADS).is_none() {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::pthread_cond_wait(condition, mutex) };
    }
    // SAFETY: as above.
    unsafe { wait(condition, mutex, None) }
}

/// Which clock the condition was made for only the C library knows. CLOCK_REALTIME counts from 1970 and CLOCK_MONOTONIC from
/// the machine's start, so that no time means a near one on both.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_timedwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    until: *const timespec,
) -> c_int {
    const YEARS: libc::time_t = 20 * 365 * 24 * 60 * 60;
    if Call::enter(Parts::THREADS).is_some() {
        // SAFETY: the caller's contract is that of the C library's function: the time is valid for reads.
        let realtime = unsafe { (*until).tv_sec } > YEARS;
        // SAFETY: as above.
        if let Ok(deadline) = unsafe { deadline(until, true, realtime) } {
            // SAFETY: as above.
            return unsafe { wait(condition, mutex, deadline) };
        }
    }
    // SAFETY: as above.
    unsafe { original::pthread_cond_timedwait(condition, mutex, until) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_clockwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    until: *const timespec,
) -> c_int {
    if Call::enter(Parts::THREADS).is_some() {
        let realtime = clock == libc::CLOCK_REALTIME;
        // SAFETY: the caller's contract is that of the C library's function: the time is valid for reads.
        if let Ok(deadline) = unsafe { deadline(until, true, realtime) } {
            // SAFETY: as above.
            return unsafe { wait(condition, mutex, deadline) };
        }
    }
    // SAFETY: as above.
    unsafe { original::pthread_cond_clockwait(condition, mutex, clock, until) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_signal(condition: *mut pthread_cond_t) -> c_int {
    if patched().contains(Parts::THREADS) && wake(condition.addr(), 1) == 1 {
        return 0;
    }
    // SAFETY: the caller's contract is that of the C library's function.
    unsafe { original::pthread_cond_signal(condition) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_broadcast(condition: *mut pthread_cond_t) -> c_int {
    if patched().contains(Parts::THREADS) {
        wake(condition.addr(), usize::MAX);
    }
    // SAFETY: the caller's contract is that of the C library's function.
    unsafe { original::pthread_cond_broadcast(condition) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_join(thread: pthread_t, result: *mut *mut c_void) -> c_int {
    let Some(_) = Call::enter(Parts::THREADS) else {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::pthread_join(thread, result) };
    };
    let result = result.expose_provenance();
    let join = move || {
        // SAFETY: as above; the caller waits, so `result` is still there.
        unsafe { original::pthread_join(thread, std::ptr::with_exposed_provenance_mut(result)) as isize }
    };
    apart(join) as c_int
}
