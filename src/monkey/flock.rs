//! Locks on files, which processes have between them.

use libc::{c_int, c_void, off_t, off64_t};

use super::call::{Call, errno, failed, quietly};
use super::parts::Parts;
use super::pauses::Pauses;
use crate::sys::original;

/// Does `attempt`, which does not wait, until the lock is free: the kernel tells nobody who does not block.
fn until_free(call: Call, attempt: impl Fn() -> c_int) -> c_int {
    call.give_way_if_interrupted();
    let mut pauses = Pauses::new();
    quietly(|| {
        loop {
            let result = attempt();
            if result != -1 || !matches!(errno(), libc::EAGAIN | libc::EACCES) {
                return result;
            }
            if call.try_sleep_until(pauses.next(None)).is_err() {
                return failed(call.refuse_with(libc::ENOLCK));
            }
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn flock(fd: c_int, operation: c_int) -> c_int {
    // SAFETY: takes no pointers.
    let run = |operation| unsafe { original::flock(fd, operation) };
    match Call::enter(Parts::FILES) {
        Some(call) if operation & libc::LOCK_NB == 0 => until_free(call, || run(operation | libc::LOCK_NB)),
        _ => run(operation),
    }
}

/// `lockf`, with `run` for the C library's.
fn lock_part(operation: c_int, run: impl Fn(c_int) -> c_int) -> c_int {
    match Call::enter(Parts::FILES) {
        Some(call) if operation == libc::F_LOCK => until_free(call, || run(libc::F_TLOCK)),
        _ => run(operation),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lockf(fd: c_int, operation: c_int, length: off_t) -> c_int {
    // SAFETY: takes no pointers.
    lock_part(operation, |operation| unsafe { original::lockf(fd, operation, length) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lockf64(fd: c_int, operation: c_int, length: off64_t) -> c_int {
    // SAFETY: takes no pointers.
    lock_part(operation, |operation| unsafe { original::lockf64(fd, operation, length) })
}

/// `fcntl`, with `run` for the C library's. All but two of its operations are of the moment.
#[inline]
fn control(operation: c_int, run: impl Fn(c_int) -> c_int) -> c_int {
    let without_waiting = match operation {
        libc::F_SETLKW => libc::F_SETLK,
        libc::F_OFD_SETLKW => libc::F_OFD_SETLK,
        _ => return run(operation),
    };
    match Call::enter(Parts::FILES) {
        Some(call) => until_free(call, || run(without_waiting)),
        None => run(operation),
    }
}

/// In C it takes two or three arguments; see `syscall`.
#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl(fd: c_int, operation: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    control(operation, |operation| unsafe { original::fcntl(fd, operation, argument) })
}

/// See `fcntl`.
#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl64(fd: c_int, operation: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    control(operation, |operation| unsafe { original::fcntl64(fd, operation, argument) })
}
