//! `connect` and `accept`.

use std::os::fd::RawFd;
use std::time::Duration;

use libc::{c_int, sockaddr, socklen_t, ssize_t};

use super::call::{Call, Miss, answer, errno, failed, is_nonblocking, time_limit, without_waiting};
use super::parts::Parts;
use crate::io::Interest;
use crate::sys::clock::Time;
use crate::sys::original;

#[unsafe(no_mangle)]
unsafe extern "C" fn connect(fd: c_int, address: *const sockaddr, address_length: socklen_t) -> c_int {
    let call = match Call::enter(Parts::SOCKET) {
        Some(call) if !is_nonblocking(fd) || call.is_interrupted() => call,
        // SAFETY: the caller's contract is that of the C library's function.
        _ => return unsafe { original::connect(fd, address, address_length) },
    };
    if let Err(errno) = call.spend_budget() {
        return failed(errno);
    }
    let attempt = || {
        // SAFETY: the caller's contract.
        without_waiting(fd, || unsafe { original::connect(fd, address, address_length) } as ssize_t) as c_int
    };
    if attempt() == 0 {
        return 0;
    }
    let deadline = time_limit(fd, Interest::WRITABLE).map(Time::after);
    match errno() {
        libc::EINPROGRESS => finish_connecting(call, fd, deadline),
        // A Unix listener's backlog is full, and the kernel tells nobody when there is room.
        libc::EAGAIN => retry(call, deadline, attempt),
        other => failed(other),
    }
}

fn finish_connecting(call: Call, fd: RawFd, deadline: Option<Time>) -> c_int {
    match call.wait_for(fd, Interest::WRITABLE, deadline) {
        Ok(()) => {}
        // What the kernel says when SO_SNDTIMEO has passed.
        Err(Miss::Late) => return failed(libc::EINPROGRESS),
        Err(Miss::Unwaitable) => return failed(libc::ENOTSOCK),
        Err(Miss::Failed(errno)) => return failed(errno),
    }
    let mut error: c_int = 0;
    let mut length = size_of::<c_int>() as socklen_t;
    // SAFETY: `error` is valid for writes of `length` bytes.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut error).cast(), &mut length)
    };
    match (result, error) {
        (0, 0) => 0,
        (0, error) => failed(error),
        _ => -1,
    }
}

fn retry(call: Call, deadline: Option<Time>, attempt: impl Fn() -> c_int) -> c_int {
    let mut pause = Duration::from_millis(1);
    loop {
        let next = Time::after(pause);
        if deadline.is_some_and(|deadline| deadline <= next) {
            return failed(libc::EAGAIN);
        }
        if let Err(errno) = call.sleep_until(next) {
            return failed(errno);
        }
        if attempt() == 0 {
            return 0;
        }
        if errno() != libc::EAGAIN {
            return -1;
        }
        pause = (2 * pause).min(Duration::from_millis(50));
    }
}

/// `accept`, with `run` for the C library's.
fn accept_with(fd: RawFd, run: impl Fn() -> c_int) -> c_int {
    let call = match Call::enter(Parts::SOCKET) {
        Some(call) if !is_nonblocking(fd) || call.is_interrupted() => call,
        _ => return run(),
    };
    let accepted = call.until_done(fd, Interest::READABLE, || without_waiting(fd, || run() as ssize_t));
    answer(accepted, || -1) as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn accept(fd: c_int, address: *mut sockaddr, address_length: *mut socklen_t) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    accept_with(fd, || unsafe { original::accept(fd, address, address_length) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn accept4(
    fd: c_int,
    address: *mut sockaddr,
    address_length: *mut socklen_t,
    flags: c_int,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    accept_with(fd, || unsafe { original::accept4(fd, address, address_length, flags) })
}
