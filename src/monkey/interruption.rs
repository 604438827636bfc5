//! What calls that wait for many descriptors say when their green thread was killed, or is out of time.
//!
//! Their manual pages have no errno for that, and code that is right takes any other for a fault of its own: it panics, or ends the
//! process. They have EINTR, which comes first. Who asks again is told that all is ready, and that there are errors, so that his next
//! call on a descriptor is one that may fail. A bell, by which other OS threads wake an event loop, is only ever told of truly.

use std::ffi::CStr;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use libc::{c_char, c_int, epoll_event, pollfd, sockaddr_storage, socklen_t};

use super::fd_sets::Words;
use crate::sys::original;

/// Who is at the other side of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// Somebody else: a socket that has a name, or whose peer has one. Its failures are expected.
    Far,
    /// This or another process: a pipe, a pair of sockets, a terminal, what the kernel tells of.
    Near,
    /// This process: an eventfd.
    Own,
}

pub(super) fn side(fd: RawFd) -> Side {
    match family(fd) {
        Some(libc::AF_UNIX) if !has_name(fd, libc::getsockname) && !has_name(fd, libc::getpeername) => {
            Side::Near
        }
        Some(_) => Side::Far,
        None if is_eventfd(fd) => Side::Own,
        None => Side::Near,
    }
}

/// Whether it is a socket with somebody at its other side.
pub(super) fn is_connected(fd: RawFd) -> bool {
    let mut address = MaybeUninit::<sockaddr_storage>::uninit();
    let mut length = size_of::<sockaddr_storage>() as socklen_t;
    // SAFETY: `address` is valid for writes of `length` bytes.
    unsafe { libc::getpeername(fd, address.as_mut_ptr().cast(), &mut length) == 0 }
}

/// The address family of a socket.
fn family(fd: RawFd) -> Option<c_int> {
    let mut family: c_int = 0;
    let mut length = size_of::<c_int>() as socklen_t;
    // SAFETY: `family` is valid for writes of `length` bytes.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_DOMAIN, (&raw mut family).cast(), &mut length)
    };
    (result == 0).then_some(family)
}

/// Whether a Unix socket has a name at the side that `ask` asks for.
fn has_name(
    fd: RawFd,
    ask: unsafe extern "C" fn(c_int, *mut libc::sockaddr, *mut socklen_t) -> c_int,
) -> bool {
    let mut address = MaybeUninit::<sockaddr_storage>::uninit();
    let mut length = size_of::<sockaddr_storage>() as socklen_t;
    // SAFETY: `address` is valid for writes of `length` bytes.
    let result = unsafe { ask(fd, address.as_mut_ptr().cast(), &mut length) };
    result == 0 && length as usize > size_of::<libc::sa_family_t>()
}

/// `/proc/self/FOLDER/FD`.
fn path_in_proc(folder: &str, fd: RawFd) -> [u8; 40] {
    let mut path = [0; 40];
    write!(&mut path[..39], "/proc/self/{folder}/{fd}").expect("a number of at most 11 bytes");
    path
}

/// Whether it is a counter, by which OS threads wake an event loop.
pub(super) fn is_eventfd(fd: RawFd) -> bool {
    let mut target = [0_u8; 24];
    let path = path_in_proc("fd", fd);
    // SAFETY: a C string, and a buffer of the length that is given.
    let length =
        unsafe { libc::readlink(path.as_ptr().cast::<c_char>(), target.as_mut_ptr().cast(), target.len()) };
    usize::try_from(length).is_ok_and(|length| &target[..length] == b"anon_inode:[eventfd]")
}

/// Says of all that is waited for that it is ready, with errors. Returns of how many something is said.
pub(super) fn pretend_polled(set: &mut [pollfd]) -> c_int {
    const ASKED: i16 = libc::POLLIN | libc::POLLOUT | libc::POLLRDNORM | libc::POLLWRNORM;
    for asked in &mut *set {
        if asked.fd >= 0 && asked.revents & libc::POLLNVAL == 0 && side(asked.fd) != Side::Own {
            asked.revents |= asked.events & ASKED | libc::POLLERR | libc::POLLHUP;
        }
    }
    set.iter().filter(|asked| asked.revents != 0).count() as c_int
}

/// The same for what a `select` was asked for, of which `found` is told. Returns how many were added.
pub(super) fn pretend_selected(count: c_int, asked: &Words, found: &mut Words) -> c_int {
    let mut added = 0;
    for fd in 0..count.min(asked.room()) {
        if asked.contains(fd) && !found.contains(fd) && side(fd) != Side::Own {
            found.insert(fd);
            added += 1;
        }
    }
    added
}

/// The same for the epoll set `set`: what is in it is known to the kernel alone. `count` of `events` are told of truly. Returns of how
/// many something is said.
pub(super) fn pretend_awaited(set: RawFd, events: &mut [epoll_event], count: usize) -> c_int {
    // What asks for no event: how an entry is told, and once it was told and is not to be again, nothing else is left of it.
    const HOW: u32 = (libc::EPOLLET | libc::EPOLLONESHOT | libc::EPOLLWAKEUP | libc::EPOLLEXCLUSIVE) as u32;
    const ASKED: u32 = (libc::EPOLLIN | libc::EPOLLOUT) as u32;
    let mut told = count;
    let text = read_from_proc(&path_in_proc("fdinfo", set));
    for line in text.split(|byte| *byte == b'\n') {
        let Some((fd, asked, data)) = entry(line) else { continue };
        if told == events.len() {
            break;
        }
        if asked & !HOW == 0 || side(fd) == Side::Own || events[..count].iter().any(|event| event.u64 == data)
        {
            continue;
        }
        let errors = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
        events[told] = epoll_event { events: asked & ASKED | errors, u64: data };
        told += 1;
    }
    told as c_int
}

/// What a line of an epoll set's fdinfo tells of an entry: its descriptor, events and data.
fn entry(line: &[u8]) -> Option<(RawFd, u32, u64)> {
    let line = str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let mut next = |name| (words.next()? == name).then(|| words.next())?;
    let fd = next("tfd:")?.parse().ok()?;
    let events = u32::from_str_radix(next("events:")?, 16).ok()?;
    let data = u64::from_str_radix(next("data:")?, 16).ok()?;
    Some((fd, events, data))
}

/// What a file of the kernel's says; nothing if it cannot be read.
fn read_from_proc(path: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let Ok(path) = CStr::from_bytes_until_nul(path) else { return text };
    // SAFETY: a C string.
    let fd = unsafe { original::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC, 0) };
    if fd == -1 {
        return text;
    }
    loop {
        text.reserve(4096);
        let room = text.spare_capacity_mut();
        // SAFETY: the room is valid for writes of its length.
        let count = unsafe { original::read(fd, room.as_mut_ptr().cast(), room.len()) };
        let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else { break };
        // SAFETY: the kernel has filled so many more bytes.
        unsafe { text.set_len(text.len() + count) };
    }
    // SAFETY: it was opened above, and nobody else knows it.
    unsafe { original::close(fd) };
    text
}
