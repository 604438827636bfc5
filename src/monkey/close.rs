//! Descriptors that are closed while green threads wait for them: those get EBADF.
//!
//! The kernel tells nobody: in its epoll sets the number just vanishes.

use std::os::fd::RawFd;

use libc::c_int;

use super::parts::patched;
use crate::hub::local_hub;
use crate::hub::no_unwind::in_handler;
use crate::sys::original;

#[inline]
fn closing(fd: RawFd) {
    if !patched().is_empty()
        && fd >= 0
        && let Some(hub) = local_hub()
        && let Some(reactor) = hub.made_reactor()
        && !in_handler()
    {
        reactor.closing(fd);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn close(fd: c_int) -> c_int {
    closing(fd);
    // SAFETY: the caller's contract is that of the C library's function.
    unsafe { original::close(fd) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dup2(from: c_int, to: c_int) -> c_int {
    if from != to {
        closing(to);
    }
    // SAFETY: the caller's contract is that of the C library's function.
    unsafe { original::dup2(from, to) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int {
    if from != to {
        closing(to);
    }
    // SAFETY: the caller's contract is that of the C library's function.
    unsafe { original::dup3(from, to, flags) }
}
