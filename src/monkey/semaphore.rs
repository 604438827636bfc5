//! POSIX's semaphores, waited for between green threads.

use libc::{c_int, clockid_t, sem_t, timespec};

use super::call::{Call, errno, failed, quietly, set_errno};
use super::contended::{deadline, until_taken_in_call};
use super::futex::{may_be_awaited, wake};
use super::parts::{Parts, patched};
use crate::hub::no_unwind::is_at_work;
use crate::sys::clock::Time;
use crate::sys::original;

/// # Safety
///
/// `semaphore` must be one of the C library's.
unsafe fn take(call: Call, semaphore: *mut sem_t, deadline: Option<Time>) -> c_int {
    if call.hub.spend_budget_in_call().is_err() {
        // It may be taken all the same: who was interrupted tries again.
        call.hub.yield_in_call();
    }
    let attempt = || {
        // SAFETY: the caller's contract.
        let result = unsafe { libc::sem_trywait(semaphore) };
        (result == 0 || errno() != libc::EAGAIN).then_some(result)
    };
    quietly(|| match until_taken_in_call(semaphore.addr(), deadline, attempt) {
        Ok(Some(result)) => result,
        Ok(None) => failed(libc::ETIMEDOUT),
        Err(_) => failed(call.refuse_with(libc::EINTR)),
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sem_wait(semaphore: *mut sem_t) -> c_int {
    match Call::enter(Parts::THREADS) {
        // SAFETY: the caller's contract is that of the C library's function.
        Some(call) => unsafe { take(call, semaphore, None) },
        // SAFETY: as above.
        None => unsafe { original::sem_wait(semaphore) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sem_timedwait(semaphore: *mut sem_t, until: *const timespec) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    match (Call::enter(Parts::THREADS), unsafe { deadline(libc::CLOCK_REALTIME, until) }) {
        // SAFETY: as above.
        (Some(call), Ok(deadline)) => unsafe { take(call, semaphore, Some(deadline)) },
        // SAFETY: as above.
        _ => unsafe { original::sem_timedwait(semaphore, until) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sem_clockwait(semaphore: *mut sem_t, clock: clockid_t, until: *const timespec) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    match (Call::enter(Parts::THREADS), unsafe { deadline(clock, until) }) {
        // SAFETY: as above.
        (Some(call), Ok(deadline)) => unsafe { take(call, semaphore, Some(deadline)) },
        // SAFETY: as above.
        _ => unsafe { original::sem_clockwait(semaphore, clock, until) },
    }
}

/// In the handler of a signal, which may call this, nobody is woken: who waits looks again before long.
#[unsafe(no_mangle)]
unsafe extern "C" fn sem_post(semaphore: *mut sem_t) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let result = unsafe { original::sem_post(semaphore) };
    // The semaphore may be gone by now: only its address is looked at.
    if result == 0 && patched().contains(Parts::THREADS) && may_be_awaited(semaphore.addr()) && !is_at_work()
    {
        let before = errno();
        wake(semaphore.addr(), 1);
        set_errno(before);
    }
    result
}
