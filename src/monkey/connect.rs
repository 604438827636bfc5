//! `connect` and `accept`.

use std::os::fd::RawFd;
use std::time::Duration;

use libc::{c_int, sockaddr, socklen_t, ssize_t};

use super::call::{
    Call, Count, Errno, Miss, answer, errno, failed, is_nonblocking, is_ready, quietly, set_errno,
    time_limit, without_waiting,
};
use super::parts::{Parts, patched};
use crate::hub::in_world::looking;
use crate::io::Interest;
use crate::sys::clock::Time;
use crate::sys::original;

#[unsafe(no_mangle)]
unsafe extern "C" fn connect(fd: c_int, address: *const sockaddr, address_length: socklen_t) -> c_int {
    let entered = Call::enter(Parts::SOCKET);
    if let Some(call) = entered
        && let Some(faults) = call.hub.faults()
        // SAFETY: the caller's contract is that of the C library's function.
        && let Err(errno) = unsafe { call.before_connect(faults, fd, address, address_length) }
    {
        return failed(errno);
    }
    let call = match entered {
        Some(call) if !is_nonblocking(fd) || call.is_interrupted() => call,
        // SAFETY: the caller's contract is that of the C library's function.
        _ => return unsafe { original::connect(fd, address, address_length) },
    };
    if let Err(errno) = call.spend_budget() {
        return failed(errno);
    }
    if !is_stream(fd) {
        // It names a peer, and makes nobody wait.
        // SAFETY: as above.
        return unsafe { original::connect(fd, address, address_length) };
    }
    let attempt = || {
        // SAFETY: the caller's contract.
        without_waiting(fd, || unsafe { original::connect(fd, address, address_length) } as ssize_t) as c_int
    };
    quietly(|| {
        if attempt() == 0 {
            return 0;
        }
        let deadline = time_limit(fd, Interest::WRITABLE).map(Time::after);
        match errno() {
            // Begun here, or before by a call that did not wait, or whose time has passed.
            begun @ (libc::EINPROGRESS | libc::EALREADY) => {
                finish_connecting(call, fd, deadline, begun, attempt)
            }
            // A Unix listener's backlog is full, and the kernel tells nobody when there is room.
            libc::EAGAIN => retry(call, deadline, attempt),
            other => failed(other),
        }
    })
}

/// Asks once more when there is an end of it, as the kernel's own wait does: so the socket is left as that leaves it, whether connected or
/// free for the next try.
fn finish_connecting(
    call: Call,
    fd: RawFd,
    deadline: Option<Time>,
    begun: Errno,
    attempt: impl Fn() -> c_int,
) -> c_int {
    loop {
        match call.wait_for(fd, Interest::WRITABLE, deadline) {
            Ok(()) => {}
            // What the kernel says when SO_SNDTIMEO has passed.
            Err(Miss::Late) => return failed(begun),
            Err(Miss::Unwaitable) => return failed(libc::ENOTSOCK),
            Err(Miss::Failed(errno)) => return failed(errno),
        }
        if attempt() == 0 {
            return 0;
        }
        match errno() {
            libc::EISCONN => return 0,
            libc::EINPROGRESS | libc::EALREADY => {}
            other => return failed(other),
        }
    }
}

fn retry(call: Call, deadline: Option<Time>, attempt: impl Fn() -> c_int) -> c_int {
    let _looking = looking();
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

/// A number that getsockopt(2) tells of a socket, or zero.
pub(super) fn option(fd: RawFd, option: c_int) -> c_int {
    let mut value: c_int = 0;
    let mut length = size_of::<c_int>() as socklen_t;
    // SAFETY: `value` is valid for writes of `length` bytes.
    unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, option, (&raw mut value).cast(), &mut length) };
    value
}

fn is_stream(fd: RawFd) -> bool {
    matches!(option(fd, libc::SO_TYPE), libc::SOCK_STREAM | libc::SOCK_SEQPACKET)
}

/// `accept`, with `run` for the C library's.
fn accept_with(fd: RawFd, run: impl Fn() -> c_int) -> c_int {
    let call = match Call::enter(Parts::SOCKET) {
        Some(call) if !is_nonblocking(fd) || call.is_interrupted() => call,
        _ if patched().contains(Parts::SOCKET) => return accept_beside_others(fd, run),
        _ => return run(),
    };
    if patched().contains(Parts::SPAWN) {
        // A server that hands connections to threads which wait for them counts on these to come for one before the next is there:
        // tiny_http makes more threads only if none waits.
        call.hub.yield_in_call();
    }
    let attempt = || {
        if !is_ready(fd, libc::POLLIN) && option(fd, libc::SO_ACCEPTCONN) != 0 {
            return failed(libc::EAGAIN) as ssize_t;
        }
        without_waiting(fd, || run() as ssize_t)
    };
    answer(call.until_done_with(Count::Other, fd, Interest::READABLE, attempt), || -1) as c_int
}

/// The C library's `accept`, on a file that hubs of this process may have made O_NONBLOCK meanwhile.
fn accept_beside_others(fd: RawFd, run: impl Fn() -> c_int) -> c_int {
    let kept = errno();
    loop {
        let accepted = run();
        if accepted != -1 || errno() != libc::EAGAIN {
            return accepted;
        }
        // Its owner's wish, or his time limit.
        if is_nonblocking(fd) || time_limit(fd, Interest::READABLE).is_some() {
            return failed(libc::EAGAIN);
        }
        let mut asked = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: `asked` is valid for reads and writes as the one element that it is said to be.
        if unsafe { original::poll(&mut asked, 1, -1) } == -1 {
            return -1;
        }
        set_errno(kept);
    }
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
    let run = || unsafe { original::accept4(fd, address, address_length, flags) };
    // Others are refused before there is a connection.
    if flags & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) == 0 { accept_with(fd, run) } else { run() }
}
