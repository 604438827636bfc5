//! The locks and conditions of C, waited for between green threads.
//!
//! A mutex is waited for here only if another green thread of this hub holds it. In every other case its holder runs, and the C
//! library's own function is called: an allocator's locks are of this kind too, and who is inside one must not be switched out.
//! But a holder on another hub may wait, for somebody of this one in the end. No allocator's does, so that one which takes that long is
//! none: whoever has variables of its own, and so an allocator's, waits here after a while.

use std::convert::Infallible;
use std::time::Duration;

use libc::{c_int, clockid_t, pthread_cond_t, pthread_mutex_t, timespec};

use super::call::Call;
use super::contended::{deadline, until_taken};
use super::futex::{Waited, wait_at, wake};
use super::holders::{Giving, Holder, as_holder, forget, giving, holder, taken};
use super::parts::{Parts, patched};
use super::stand_ins::{PTHREAD_CANCELED, ends_cancelled};
use crate::fiber::isolation::is_isolated;
use crate::hub::in_world::looking;
use crate::hub::no_unwind::is_at_work;
use crate::sys::clock::Time;
use crate::sys::condition;
use crate::sys::mutex::lock_for;
use crate::sys::original;

/// How long a wait for a lock lasts at first, and at most, before it is tried again: inside the C library it is given back
/// in ways that lead past here, as by another thread's `pthread_cond_wait`.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

/// As often, and each time as long, an isolated green thread stops its OS thread for a mutex before it lets others run. More than one time:
/// a process that was stopped, by a signal or a debugger, finds the time over, and has not run.
const STOPS: usize = 10;
const STOP: Duration = Duration::from_millis(50);

/// After how long the caller looks again at what another process may have changed.
const AMONG_PROCESSES: Duration = Duration::from_millis(20);

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_lock(mutex: *mut pthread_mutex_t) -> c_int {
    let call = Call::enter(Parts::THREADS);
    if let Some(call) = call
        // SAFETY: the caller's contract is that of the C library's function.
        && unsafe { holder(call, mutex) } == Holder::Neighbour
    {
        // SAFETY: as above.
        unsafe { wait_for_neighbour(call, mutex) };
    }
    let result = match call {
        // SAFETY: as above.
        Some(call) if is_isolated() => unsafe { lock_isolated(call, mutex) },
        _ => {
            // SAFETY: as above.
            let lock = || unsafe { original::pthread_mutex_lock(mutex) };
            // SAFETY: as above.
            unsafe { as_holder(mutex, lock) }
        }
    };
    // SAFETY: as above.
    unsafe { taken(call, mutex, result) }
}

/// `pthread_mutex_lock` for an isolated green thread, for a mutex that is no neighbour's.
///
/// # Safety
///
/// As for that.
unsafe fn lock_isolated(call: Call, mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller's contract.
    let try_lock_now = || unsafe { original::pthread_mutex_trylock(mutex) };
    // SAFETY: as above.
    match unsafe { as_holder(mutex, try_lock_now) } {
        // SAFETY: as above.
        libc::EBUSY => unsafe { lock_contended(call, mutex) },
        result => result,
    }
}

/// # Safety
///
/// As for `lock_isolated`.
#[cold]
unsafe fn lock_contended(call: Call, mutex: *mut pthread_mutex_t) -> c_int {
    for _ in 0..STOPS {
        // SAFETY: the caller's contract.
        let lock = || unsafe { lock_for(mutex, STOP) };
        // SAFETY: as above.
        match unsafe { as_holder(mutex, lock) } {
            libc::ETIMEDOUT => {}
            result => return result,
        }
    }
    // SAFETY: as above.
    let attempt = || Some(unsafe { try_lock(Some(call), mutex) }).filter(|result| *result != libc::EBUSY);
    until_taken(mutex.addr(), u32::MAX, None, attempt).expect("there is no time limit")
}

/// Waits until no other green thread of this hub holds the mutex. An OS thread that does is not waited for here, for it runs: an
/// allocator, whose callers must not be switched out, waits for no other.
///
/// # Safety
///
/// As for pthread_mutex_lock(3).
#[cold]
unsafe fn wait_for_neighbour(call: Call, mutex: *mut pthread_mutex_t) {
    // SAFETY: the caller's contract.
    let is_free = || (unsafe { holder(call, mutex) } == Holder::Other).then_some(());
    let _looking = looking();
    let mut pause = PAUSES[0];
    while is_free().is_none() {
        let deadline = Some(Time::after(pause));
        if let Waited::Ready(()) = wait_at(mutex.addr(), u32::MAX, deadline, is_free, || true) {
            return;
        }
        pause = (2 * pause).min(PAUSES[1]);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_trylock(mutex: *mut pthread_mutex_t) -> c_int {
    let call = Call::enter(Parts::THREADS);
    // SAFETY: the caller's contract is that of the C library's function.
    let result = unsafe { try_lock(call, mutex) };
    // SAFETY: as above.
    unsafe { taken(call, mutex, result) }
}

/// `pthread_mutex_trylock`, without a note of who has it then. It may run under the locks of the table, where a call by that name would
/// be the C library's.
///
/// # Safety
///
/// As for that.
pub(super) unsafe fn try_lock(call: Option<Call>, mutex: *mut pthread_mutex_t) -> c_int {
    let is_neighbour_s = |call| {
        // SAFETY: the caller's contract.
        unsafe { holder(call, mutex) == Holder::Neighbour }
    };
    if call.is_some_and(is_neighbour_s) {
        return libc::EBUSY;
    }
    // SAFETY: as above.
    let try_lock = || unsafe { original::pthread_mutex_trylock(mutex) };
    // SAFETY: as above.
    unsafe { as_holder(mutex, try_lock) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let giving = Call::enter(Parts::THREADS).map_or(Giving::Plain, |call| unsafe { giving(call, mutex) });
    if giving == Giving::Refused {
        return libc::EPERM;
    }
    // SAFETY: as above.
    let unlock = || unsafe { original::pthread_mutex_unlock(mutex) };
    // SAFETY: as above.
    let result = unsafe { as_holder(mutex, unlock) };
    if giving == Giving::Last && result == 0 {
        forget(mutex.addr());
    }
    // Whoever has it now may have freed it: its address is but a number from here on. An allocator's lock may be given back amid work
    // of the hub's own; who waits for it looks again before long.
    if patched().contains(Parts::THREADS) && !is_at_work() {
        wake(mutex.addr(), 1);
    }
    result
}

/// Waits for the condition, without the lock meanwhile. A kill or a time limit wakes it for no reason, as POSIX allows, and so does
/// the time where another process may signal, of which nobody here hears.
///
/// # Safety
///
/// As for pthread_cond_wait(3).
unsafe fn wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, deadline: Option<Time>) -> c_int {
    let mut unlocked = 0;
    let mut until = deadline;
    // SAFETY: the caller's contract.
    let is_shared = unsafe { condition::is_shared(condition) };
    let paused = is_shared.then(looking);
    if is_shared {
        let look_again = Time::after(AMONG_PROCESSES);
        until = Some(deadline.map_or(look_again, |deadline| deadline.min(look_again)));
    }
    let waited = wait_at(
        condition.addr(),
        u32::MAX,
        until,
        || None::<Infallible>,
        || {
            // SAFETY: the caller's contract.
            unlocked = unsafe { pthread_mutex_unlock(mutex) };
            unlocked == 0
        },
    );
    drop(paused);
    if unlocked != 0 {
        return unlocked;
    }
    // A pause may be the shorter one, and in a world ends before its time.
    let has_passed = || deadline.is_some_and(|deadline| !is_shared || deadline <= Time::now());
    // SAFETY: as above.
    match unsafe { pthread_mutex_lock(mutex) } {
        0 if matches!(waited, Waited::Late) && has_passed() => libc::ETIMEDOUT,
        result => result,
    }
}

/// Waits for a condition by the C library's function.
///
/// # Safety
///
/// `mutex` must be initialised; `wait` neither yields nor unwinds.
unsafe fn stop(mutex: *mut pthread_mutex_t, wait: impl FnOnce() -> c_int) -> c_int {
    // SAFETY: the caller's contract.
    let result = unsafe { as_holder(mutex, wait) };
    // SAFETY: as above.
    unsafe { taken(None, mutex, result) }
}

/// [`wait`] as the cancellation point that it is: a thread of `SPAWN` that was cancelled ends here, with the lock, which its handlers of
/// `pthread_cleanup_push` give back.
///
/// # Safety
///
/// As for `wait`.
unsafe fn wait_or_end(
    call: Call,
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    deadline: Option<Time>,
) -> c_int {
    let end_if_cancelled = || {
        if call.is_interrupted() && ends_cancelled() {
            // SAFETY: nothing in the frames up to the caller in C has a destructor.
            unsafe { original::pthread_exit(PTHREAD_CANCELED) };
        }
    };
    end_if_cancelled();
    // SAFETY: the caller's contract.
    let result = unsafe { wait(condition, mutex, deadline) };
    end_if_cancelled();
    result
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_cond_wait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
) -> c_int {
    if let Some(call) = Call::enter(Parts::THREADS) {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { wait_or_end(call, condition, mutex, None) };
    }
    // SAFETY: as above.
    let wait = || unsafe { original::pthread_cond_wait(condition, mutex) };
    // SAFETY: as above.
    unsafe { stop(mutex, wait) }
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_cond_timedwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    until: *const timespec,
) -> c_int {
    if let Some(call) = Call::enter(Parts::THREADS) {
        // SAFETY: the caller's contract is that of the C library's function.
        let clock = unsafe { condition::clock(condition) };
        // SAFETY: as above: the time is valid for reads.
        if let Ok(deadline) = unsafe { deadline(clock, until) } {
            // SAFETY: as above.
            return unsafe { wait_or_end(call, condition, mutex, Some(deadline)) };
        }
    }
    // SAFETY: as above.
    let wait = || unsafe { original::pthread_cond_timedwait(condition, mutex, until) };
    // SAFETY: as above.
    unsafe { stop(mutex, wait) }
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_cond_clockwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    until: *const timespec,
) -> c_int {
    if let Some(call) = Call::enter(Parts::THREADS) {
        // SAFETY: the caller's contract is that of the C library's function: the time is valid for reads.
        if let Ok(deadline) = unsafe { deadline(clock, until) } {
            // SAFETY: as above.
            return unsafe { wait_or_end(call, condition, mutex, Some(deadline)) };
        }
    }
    // SAFETY: as above.
    let wait = || unsafe { original::pthread_cond_clockwait(condition, mutex, clock, until) };
    // SAFETY: as above.
    unsafe { stop(mutex, wait) }
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
