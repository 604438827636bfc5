//! Waiting for signals that are blocked.
//!
//! A signalfd tells that there is one; which it is, and taking it, stay the C library's affair.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::{c_int, siginfo_t, sigset_t, timespec};

use super::call::{Call, Errno, Miss, errno, failed, set_errno};
use super::futex::deadline;
use super::parts::Parts;
use super::pauses::Pauses;
use crate::hub::waiter::WaitingOn;
use crate::io::Interest;
use crate::sys::clock::Time;
use crate::sys::original;

/// A descriptor that is readable while the calling thread could take one of the signals.
///
/// # Safety
///
/// `set` must be valid for reads.
unsafe fn descriptor(set: *const sigset_t) -> Option<OwnedFd> {
    // SAFETY: the caller's contract.
    let fd = unsafe { libc::signalfd(-1, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    // SAFETY: the kernel has just made it, and nothing else owns it.
    (fd != -1).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `sigtimedwait`. Says with `later` what a call says that has failed for a kill or a time limit before.
///
/// # Safety
///
/// As for sigtimedwait(2).
unsafe fn take(
    call: Call,
    set: *const sigset_t,
    information: *mut siginfo_t,
    deadline: Option<Time>,
    later: Errno,
) -> c_int {
    const AT_ONCE: timespec = timespec { tv_sec: 0, tv_nsec: 0 };
    call.give_way_if_interrupted();
    let mut pauses = Pauses::new();
    let mut pending = None;
    loop {
        // SAFETY: the caller's contract.
        let signal = unsafe { original::sigtimedwait(set, information, &AT_ONCE) };
        if signal != -1 || errno() != libc::EAGAIN || deadline.is_some_and(|deadline| deadline <= Time::now())
        {
            return signal;
        }
        // SAFETY: as above; the kernel has just read it.
        let waited = match pending.get_or_insert_with(|| unsafe { descriptor(set) }) {
            Some(fd) => {
                let fd = fd.as_raw_fd();
                call.try_wait_for_any(WaitingOn::Readable(fd), &[(fd, Interest::READABLE)], deadline)
            }
            None => Ok(Err(Miss::Unwaitable)),
        };
        let waited = match waited {
            Ok(Ok(()) | Err(Miss::Late)) => Ok(()),
            Ok(Err(_)) => call.try_sleep_until(pauses.next(deadline)),
            Err(hindrance) => Err(hindrance),
        };
        if waited.is_err() {
            return failed(call.refuse_with(later));
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigtimedwait(
    set: *const sigset_t,
    information: *mut siginfo_t,
    timeout: *const timespec,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    match (Call::enter(Parts::PROCESS), unsafe { deadline(timeout, false, false) }) {
        // SAFETY: as above.
        (Some(call), Ok(deadline)) => unsafe { take(call, set, information, deadline, libc::EAGAIN) },
        // SAFETY: as above.
        _ => unsafe { original::sigtimedwait(set, information, timeout) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigwaitinfo(set: *const sigset_t, information: *mut siginfo_t) -> c_int {
    match Call::enter(Parts::PROCESS) {
        // SAFETY: the caller's contract is that of the C library's function.
        Some(call) => unsafe { take(call, set, information, None, libc::EINTR) },
        // SAFETY: as above.
        None => unsafe { original::sigwaitinfo(set, information) },
    }
}

/// Returns what the others say by errno.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigwait(set: *const sigset_t, signal: *mut c_int) -> c_int {
    let Some(call) = Call::enter(Parts::PROCESS) else {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::sigwait(set, signal) };
    };
    let before = errno();
    // SAFETY: as above.
    let taken = unsafe { take(call, set, ptr::null_mut(), None, libc::EINVAL) };
    if taken == -1 {
        return errno();
    }
    set_errno(before);
    // SAFETY: as above.
    unsafe { *signal = taken };
    0
}
