//! The kernel: the only room that speaks to it, and with `monkey` the only user of `libc`.

pub(crate) mod atomic;
pub(crate) mod bell;
pub(crate) mod blocks;
pub(crate) mod carrier;
pub(crate) mod clock;
#[cfg(feature = "monkey")]
pub(crate) mod condition;
#[cfg(feature = "monkey")]
pub(crate) mod control_block;
#[cfg(feature = "monkey")]
pub(crate) mod counted_threads;
pub(crate) mod credentials;
pub(crate) mod descriptor;
pub(crate) mod destructors;
pub(crate) mod epoll;
pub(crate) mod errno;
#[cfg(feature = "monkey")]
pub(crate) mod first_contents;
#[cfg(feature = "monkey")]
pub(crate) mod float_control;
pub(crate) mod futex;
#[cfg(feature = "monkey")]
pub(crate) mod handler;
pub(crate) mod heirloom;
pub(crate) mod identity;
pub(crate) mod inquiry;
#[cfg(feature = "monkey")]
pub(crate) mod interruptible;
pub(crate) mod lock;
pub(crate) mod mapping;
pub(crate) mod memory;
pub(crate) mod mode;
#[cfg(feature = "monkey")]
pub(crate) mod mutex;
pub(crate) mod named_frame;
#[cfg(feature = "monkey")]
#[expect(unreachable_pub, reason = "`monkey` makes it public under another name")]
pub mod original;
pub(crate) mod os_thread;
pub(crate) mod packet;
pub(crate) mod plain;
pub(crate) mod poll;
pub(crate) mod portable;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod readiness;
pub(crate) mod replaceable;
pub(crate) mod reuse_port;
#[cfg(feature = "monkey")]
pub(crate) mod robust;
#[cfg(feature = "monkey")]
pub(crate) mod rwlock;
pub(crate) mod section;
pub(crate) mod shared;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod surplus;
#[cfg(feature = "monkey")]
pub(crate) mod thread_attributes;
#[cfg(feature = "monkey")]
pub(crate) mod thread_end;
pub(crate) mod thread_local;
#[cfg(feature = "monkey")]
pub(crate) mod thread_start;
pub(crate) mod thread_state;
pub(crate) mod unwind;
pub(crate) mod uring;
pub(crate) mod virtual_clock;

use std::io;

/// Without `monkey` the names mean the C library's own functions.
#[cfg(not(feature = "monkey"))]
use libc as original;

/// Does a call until no signal interrupts it.
#[inline]
pub(crate) fn uninterrupted<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Turns the result of a system call into an `io::Result`: the one place where errno is read.
pub(crate) trait SystemCall: Sized {
    /// `Err` with errno when the call said -1.
    fn check(self) -> io::Result<Self>;
}

impl SystemCall for libc::c_int {
    #[inline]
    fn check(self) -> io::Result<Self> {
        if self == -1 { Err(io::Error::last_os_error()) } else { Ok(self) }
    }
}

impl SystemCall for libc::ssize_t {
    #[inline]
    fn check(self) -> io::Result<Self> {
        if self == -1 { Err(io::Error::last_os_error()) } else { Ok(self) }
    }
}
