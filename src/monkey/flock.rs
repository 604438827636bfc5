//! Locks on files, which processes have between them.
//!
//! A lock on a part of a file (POSIX's record lock) is its process's, and the kernel says EDEADLK to the one who would close a circle of
//! processes that wait for each other. It knows only of those who do wait in the call: so who has to, does it on another OS thread. Of the
//! locks that belong to an open file (flock(2), F_OFD_SETLKW) it finds no circle, and they are tried until they are free.

use std::ptr;

use libc::{c_int, c_void, off_t, off64_t};

use super::call::{Call, errno, failed, quietly};
use super::off_hub::interruptible;
use super::parts::Parts;
use super::pauses::Pauses;
use crate::sys::original;

/// Whether a call that does not wait has found the lock taken.
fn is_taken(result: c_int) -> bool {
    result == -1 && matches!(errno(), libc::EAGAIN | libc::EACCES)
}

/// Does `attempt`, which does not wait, until the lock is free: the kernel tells nobody who does not block.
fn until_free(call: Call, attempt: impl Fn() -> c_int) -> c_int {
    let mut pauses = Pauses::new();
    quietly(|| {
        loop {
            let result = attempt();
            if !is_taken(result) {
                return result;
            }
            if call.try_sleep_until(pauses.next(None)).is_err() {
                return failed(call.refuse_with(libc::ENOLCK));
            }
        }
    })
}

/// Does `wait` on another OS thread if `attempt`, which does not wait, finds the lock taken.
fn until_free_or_circle(
    call: Call,
    attempt: impl Fn() -> c_int,
    wait: impl FnOnce() -> c_int + Copy + Send + 'static,
) -> c_int {
    quietly(|| {
        let result = attempt();
        if !is_taken(result) {
            return result;
        }
        interruptible(call, "a part of a file", |call| call.refuse_with(libc::ENOLCK), wait)
            .unwrap_or_else(|| until_free(call, attempt))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn flock(fd: c_int, operation: c_int) -> c_int {
    // SAFETY: takes no pointers.
    let run = |operation| unsafe { original::flock(fd, operation) };
    match Call::enter(Parts::FILES) {
        Some(call) if operation & libc::LOCK_NB == 0 => {
            call.give_way_if_interrupted();
            until_free(call, || run(operation | libc::LOCK_NB))
        }
        _ => run(operation),
    }
}

/// `lockf`, with `run` for the C library's.
fn lock_part(operation: c_int, run: impl Fn(c_int) -> c_int + Copy + Send + 'static) -> c_int {
    match Call::enter(Parts::FILES) {
        Some(call) if operation == libc::F_LOCK => {
            call.give_way_if_interrupted();
            until_free_or_circle(call, || run(libc::F_TLOCK), move || run(operation))
        }
        _ => run(operation),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lockf(fd: c_int, operation: c_int, length: off_t) -> c_int {
    // SAFETY: takes no pointers.
    lock_part(operation, move |operation| unsafe { original::lockf(fd, operation, length) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lockf64(fd: c_int, operation: c_int, length: off64_t) -> c_int {
    // SAFETY: takes no pointers.
    lock_part(operation, move |operation| unsafe { original::lockf64(fd, operation, length) })
}

/// `fcntl`, with `run` for the C library's. All but two of its operations are of the moment.
#[inline]
fn control(
    operation: c_int,
    argument: *mut c_void,
    run: impl Fn(c_int, *mut c_void) -> c_int + Copy + Send + 'static,
) -> c_int {
    if !matches!(operation, libc::F_SETLKW | libc::F_OFD_SETLKW) {
        return run(operation, argument);
    }
    let Some(call) = Call::enter(Parts::FILES) else { return run(operation, argument) };
    call.give_way_if_interrupted();
    if operation == libc::F_OFD_SETLKW {
        return until_free(call, || run(libc::F_OFD_SETLK, argument));
    }
    let place = argument.expose_provenance();
    let wait = move || run(libc::F_SETLKW, ptr::with_exposed_provenance_mut(place));
    until_free_or_circle(call, || run(libc::F_SETLK, argument), wait)
}

/// In C it takes two or three arguments; see `syscall`.
#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl(fd: c_int, operation: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function; he waits until it has returned, so the argument is still there.
    let run = move |operation, argument| unsafe { original::fcntl(fd, operation, argument) };
    control(operation, argument, run)
}

/// See `fcntl`.
#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl64(fd: c_int, operation: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: as for `fcntl`.
    let run = move |operation, argument| unsafe { original::fcntl64(fd, operation, argument) };
    control(operation, argument, run)
}
