//! `sendfile` and `splice`.

use std::os::fd::RawFd;

use libc::{c_int, c_uint, loff_t, off_t, off64_t, size_t, ssize_t};

use super::call::{Call, Miss, answer, errno, failed, is_nonblocking, is_ready, without_waiting};
use super::parts::Parts;
use crate::io::Interest;
use crate::sys::original;

/// `sendfile`, with `run` for the C library's, which is given how much is left.
fn send_file(to: RawFd, length: size_t, run: impl Fn(size_t) -> ssize_t) -> ssize_t {
    let call = match Call::enter(Parts::SOCKET) {
        Some(call) if !is_nonblocking(to) || call.is_interrupted() => call,
        _ => return run(length),
    };
    let sent = call.until_all_gone(to, length, |sent| without_waiting(to, || run(length - sent)));
    answer(sent, || run(length))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendfile(to: c_int, from: c_int, offset: *mut off_t, length: size_t) -> ssize_t {
    // SAFETY: the caller's contract is that of the C library's function, which moves the offset on.
    send_file(to, length, |left| unsafe { original::sendfile(to, from, offset, left) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendfile64(to: c_int, from: c_int, offset: *mut off64_t, length: size_t) -> ssize_t {
    // SAFETY: as for `sendfile`.
    send_file(to, length, |left| unsafe { original::sendfile64(to, from, offset, left) })
}

/// Moves what there is, as natively; which of the two ends is waited for is found out by asking.
#[unsafe(no_mangle)]
unsafe extern "C" fn splice(
    from: c_int,
    from_offset: *mut loff_t,
    to: c_int,
    to_offset: *mut loff_t,
    length: size_t,
    flags: c_uint,
) -> ssize_t {
    // SAFETY: the caller's contract is that of the C library's function.
    let run = |flags| unsafe { original::splice(from, from_offset, to, to_offset, length, flags) };
    let call = match Call::enter(Parts::SOCKET) {
        Some(call) if flags & libc::SPLICE_F_NONBLOCK == 0 => call,
        _ => return run(flags),
    };
    if let Err(errno) = call.spend_budget() {
        return failed(errno) as ssize_t;
    }
    loop {
        let moved = without_waiting(from, || without_waiting(to, || run(flags | libc::SPLICE_F_NONBLOCK)));
        if moved != -1 || errno() != libc::EAGAIN {
            return moved;
        }
        if is_nonblocking(from) || is_nonblocking(to) {
            return failed(libc::EAGAIN) as ssize_t;
        }
        let waited = match is_ready(from, libc::POLLIN) {
            true => call.wait_for(to, Interest::WRITABLE, None),
            false => call.wait_for(from, Interest::READABLE, None),
        };
        if let Err(Miss::Failed(errno)) = waited {
            return failed(errno) as ssize_t;
        }
    }
}
