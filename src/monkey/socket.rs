//! `recv` and `send`, and all their siblings.

use std::mem;
use std::os::fd::RawFd;
use std::ptr;
use std::slice;

use libc::{c_int, c_uint, c_void, iovec, mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t, timespec};

use super::call::{Call, Count, answer};
use super::connect::option;
use super::interruption::{Side, side};
use super::parts::Parts;
use super::slices;
use crate::io::Interest;
use crate::sys::errno::Kept;
use crate::sys::original;

/// Whether a stream stands at urgent data.
const SIOCATMARK: libc::Ioctl = 0x8905;

/// Unless the caller has said himself that he does not wait; then he is told if that must fail in any case.
fn enter(fd: RawFd, flags: c_int) -> Option<Call> {
    let may_wait = flags & libc::MSG_DONTWAIT == 0 && !is_of_now(fd, flags);
    Call::enter(Parts::SOCKET).filter(|call| may_wait || (call.is_interrupted() && side(fd) == Side::Far))
}

/// Whether that is asked for which is there or is not: what is urgent in a stream, or tells of errors.
#[inline]
fn is_of_now(fd: RawFd, flags: c_int) -> bool {
    if flags & (libc::MSG_OOB | libc::MSG_ERRQUEUE) == 0 {
        return false;
    }
    let _errno = Kept::now();
    // Where there is no such thing, the flag says nothing.
    flags & libc::MSG_OOB != 0 && option(fd, libc::SO_TYPE) == libc::SOCK_STREAM
        || flags & libc::MSG_ERRQUEUE != 0 && option(fd, libc::SO_DOMAIN) != libc::AF_UNIX
}

/// Receives into a buffer of `length` bytes: once, or with MSG_WAITALL until it is full. `attempt` is given how many bytes
/// have come, and the flags.
fn receive(
    call: Call,
    fd: RawFd,
    length: usize,
    flags: c_int,
    mut attempt: impl FnMut(usize, c_int) -> ssize_t,
) -> ssize_t {
    let flags = flags | libc::MSG_DONTWAIT;
    // A peek takes nothing, and readiness does not tell how much is there: it gets what there is.
    let whole = flags & libc::MSG_WAITALL != 0 && flags & libc::MSG_PEEK == 0;
    let mut come = 0;
    loop {
        let what = if flags & libc::MSG_PEEK == 0 { Count::Moved } else { Count::Peeked };
        match call.until_done_with(what, fd, Interest::READABLE, || attempt(come, flags)) {
            Ok(count) => {
                come += count as usize;
                if count == 0 || !whole || come >= length || has_ended(fd) {
                    return come as ssize_t;
                }
            }
            Err(_) if come > 0 => return come as ssize_t,
            Err(ended) => return answer(Err(ended), || -1),
        }
    }
}

/// Whether what has come is all that a receive gives, however much was asked for: a message, or what stands before urgent data.
#[cold]
fn has_ended(fd: RawFd) -> bool {
    let _errno = Kept::now();
    let mut marked: c_int = 0;
    // SAFETY: `marked` is valid for writes.
    unsafe { libc::ioctl(fd, SIOCATMARK, &mut marked) };
    marked != 0 || option(fd, libc::SO_TYPE) != libc::SOCK_STREAM
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t {
    let Some(call) = enter(fd, flags) else {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::recv(fd, buffer, length, flags) };
    };
    receive(call, fd, length, flags, |come, flags| {
        // SAFETY: the caller gave `length` bytes, of which `come` are filled.
        unsafe { original::recv(fd, buffer.wrapping_byte_add(come), call.at_most(length - come), flags) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recvfrom(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    flags: c_int,
    address: *mut sockaddr,
    address_length: *mut socklen_t,
) -> ssize_t {
    let Some(call) = enter(fd, flags) else {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::recvfrom(fd, buffer, length, flags, address, address_length) };
    };
    receive(call, fd, length, flags, |come, flags| {
        // SAFETY: the caller gave `length` bytes, of which `come` are filled, and room for the address or null.
        unsafe {
            original::recvfrom(
                fd,
                buffer.wrapping_byte_add(come),
                call.at_most(length - come),
                flags,
                address,
                address_length,
            )
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    let call = match enter(fd, flags) {
        Some(call) if !message.is_null() => call,
        // SAFETY: the caller's contract is that of the C library's function.
        _ => return unsafe { original::recvmsg(fd, message, flags) },
    };
    // SAFETY: not null, and the caller's to read by the contract of `recvmsg`.
    let whole = unsafe { *message };
    // SAFETY: a message has as many slices as it says, until the call returns.
    let Some(all) = (unsafe { slices::named(whole.msg_iov, whole.msg_iovlen) }) else {
        // SAFETY: as above.
        return unsafe { original::recvmsg(fd, message, flags) };
    };
    let mut passed = false;
    receive(call, fd, slices::length(all), flags, |come, flags| {
        if passed {
            return 0;
        }
        let received = if come == 0 {
            match call.first_of(all) {
                // SAFETY: the caller's contract.
                None => unsafe { original::recvmsg(fd, message, flags) },
                // SAFETY: as above, with a part of one of the caller's slices.
                Some(first) => unsafe { receive_first(fd, message, first, flags) },
            }
        } else {
            // SAFETY: as above. Control memory that nothing came for is there for what follows.
            let is_free = unsafe { (*message).msg_controllen } == 0;
            let mut rest = slices::rest(all, come);
            if let Some(first) = call.first_of(&rest) {
                rest = vec![first];
            }
            let control =
                if is_free { (whole.msg_control, whole.msg_controllen) } else { (ptr::null_mut(), 0) };
            let mut part = msghdr {
                msg_iov: rest.as_mut_ptr(),
                msg_iovlen: rest.len() as _,
                msg_control: control.0,
                msg_controllen: control.1,
                ..nameless()
            };
            // SAFETY: what is left of the caller's slices, and his control memory or none; no name.
            let received = unsafe { original::recvmsg(fd, &mut part, flags) };
            if received > 0 && is_free {
                // SAFETY: as above.
                unsafe { (*message).msg_controllen = part.msg_controllen };
            }
            received
        };
        // The kernel ends a receive there, so that they can be told from those that follow.
        // SAFETY: as above; the call has written it.
        passed = received > 0 && unsafe { passes_descriptors(message) };
        received
    })
}

/// `recvmsg`, into `first` in place of the message's slices.
///
/// # Safety
///
/// As for `recvmsg`; `first` must be valid for writes.
#[cold]
unsafe fn receive_first(fd: RawFd, message: *mut msghdr, mut first: iovec, flags: c_int) -> ssize_t {
    // SAFETY: the caller's contract.
    let whole = unsafe { *message };
    let mut part = msghdr { msg_iov: &raw mut first, msg_iovlen: 1, ..whole };
    // SAFETY: as above.
    let received = unsafe { original::recvmsg(fd, &mut part, flags) };
    // What the kernel has written, or the same as before.
    // SAFETY: as above.
    unsafe { *message = msghdr { msg_iov: whole.msg_iov, msg_iovlen: whole.msg_iovlen, ..part } };
    received
}

/// Whether descriptors have come with a message.
///
/// # Safety
///
/// `message` must be valid for reads, with the control memory that it names.
unsafe fn passes_descriptors(message: *const msghdr) -> bool {
    // SAFETY: the caller's contract.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: null, or a header in the control memory.
    while let Some(found) = unsafe { header.as_ref() } {
        if (found.cmsg_level, found.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            return true;
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    false
}

/// A message header that points to nothing.
fn nameless() -> msghdr {
    // SAFETY: zeros are a valid msghdr: null pointers with no lengths.
    unsafe { mem::zeroed() }
}

/// All of a buffer that is only read.
fn whole(buffer: *const c_void, length: size_t) -> iovec {
    iovec { iov_base: buffer.cast_mut(), iov_len: length }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn send(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t {
    let Some(call) = enter(fd, flags) else {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::send(fd, buffer, length, flags) };
    };
    let length = call.few(fd, length);
    let sent = call.until_all_gone(fd, length, |sent| {
        // SAFETY: the caller gave `length` bytes.
        if let Some(taken) = unsafe { call.taken(fd, &[whole(buffer, length)], ptr::null(), 0) } {
            return taken;
        }
        // SAFETY: the caller gave `length` bytes, of which `sent` are gone.
        unsafe {
            original::send(fd, buffer.wrapping_byte_add(sent), length - sent, flags | libc::MSG_DONTWAIT)
        }
    });
    answer(sent, || -1)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendto(
    fd: c_int,
    buffer: *const c_void,
    length: size_t,
    flags: c_int,
    address: *const sockaddr,
    address_length: socklen_t,
) -> ssize_t {
    let Some(call) = enter(fd, flags) else {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::sendto(fd, buffer, length, flags, address, address_length) };
    };
    let (flags, length) = (flags | libc::MSG_DONTWAIT, call.few(fd, length));
    let sent = call.until_all_gone(fd, length, |sent| {
        // SAFETY: the caller gave at least `length` bytes, and an address or null.
        if let Some(taken) = unsafe { call.taken(fd, &[whole(buffer, length)], address, address_length) } {
            return taken;
        }
        // SAFETY: the caller gave at least `length` bytes, of which `sent` are gone, and an address or null.
        unsafe {
            original::sendto(
                fd,
                buffer.wrapping_byte_add(sent),
                length - sent,
                flags,
                address,
                address_length,
            )
        }
    });
    answer(sent, || -1)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    let call = match enter(fd, flags) {
        Some(call) if !message.is_null() => call,
        // SAFETY: the caller's contract is that of the C library's function.
        _ => return unsafe { original::sendmsg(fd, message, flags) },
    };
    let flags = flags | libc::MSG_DONTWAIT;
    // SAFETY: not null, and the caller's to read by the contract of `sendmsg`.
    let whole = unsafe { *message };
    // SAFETY: a message has as many slices as it says, until the call returns.
    let Some(all) = (unsafe { slices::named(whole.msg_iov, whole.msg_iovlen) }) else {
        // SAFETY: as above.
        return unsafe { original::sendmsg(fd, message, flags) };
    };
    let few = call.few_of(fd, all);
    let is_whole = few.is_none();
    let all = few.as_ref().map_or(all, slice::from_ref);
    let sent = call.until_all_gone(fd, slices::length(all), |sent| {
        if sent == 0 && is_whole {
            // What goes with control data is sent in any case.
            let taken = match whole.msg_controllen {
                // SAFETY: the caller's slices, and his name or null.
                0 => unsafe { call.taken(fd, all, whole.msg_name.cast(), whole.msg_namelen) },
                _ => None,
            };
            if let Some(taken) = taken {
                return taken;
            }
            // SAFETY: the caller's contract.
            return unsafe { original::sendmsg(fd, message, flags) };
        }
        let mut rest = slices::rest(all, sent);
        // Control data goes with the first bytes. A name is for those that need one with each call.
        let control =
            if sent == 0 { (whole.msg_control, whole.msg_controllen) } else { (ptr::null_mut(), 0) };
        let part = msghdr {
            msg_name: whole.msg_name,
            msg_namelen: whole.msg_namelen,
            msg_iov: rest.as_mut_ptr(),
            msg_iovlen: rest.len() as _,
            msg_control: control.0,
            msg_controllen: control.1,
            ..nameless()
        };
        // SAFETY: what is left of the caller's slices, and his name.
        unsafe { original::sendmsg(fd, &part, flags) }
    });
    answer(sent, || -1)
}

/// Receives into several messages, until all have come, or with MSG_WAITFORONE the first few.
#[unsafe(no_mangle)]
unsafe extern "C" fn recvmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    timeout: *mut timespec,
) -> c_int {
    let call = match enter(fd, flags) {
        // The kernel looks at a time limit only when a message has come, which programs do not rely on.
        Some(call) if timeout.is_null() => call,
        // SAFETY: the caller's contract is that of the C library's function.
        _ => return unsafe { original::recvmmsg(fd, messages, count, flags, timeout) },
    };
    let first_few = flags & libc::MSG_WAITFORONE != 0;
    several(call, fd, Interest::READABLE, count, first_few, |done| {
        // SAFETY: the caller gave `count` messages, of which `done` have come.
        unsafe {
            original::recvmmsg(
                fd,
                messages.wrapping_add(done as usize),
                count.min(slices::MOST as c_uint) - done,
                flags | libc::MSG_DONTWAIT,
                timeout,
            )
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int {
    let Some(call) = enter(fd, flags) else {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::sendmmsg(fd, messages, count, flags) };
    };
    several(call, fd, Interest::WRITABLE, count, false, |done| {
        let rest = messages.wrapping_add(done as usize);
        // SAFETY: the caller gave `count` messages, of which `done` are gone.
        unsafe {
            original::sendmmsg(fd, rest, count.min(slices::MOST as c_uint) - done, flags | libc::MSG_DONTWAIT)
        }
    })
}

/// Does `attempt`, which is given how many messages are done, until all `count` are, or some, if the first few are enough.
fn several(
    call: Call,
    fd: RawFd,
    interest: Interest,
    count: c_uint,
    first_few: bool,
    attempt: impl Fn(c_uint) -> c_int,
) -> c_int {
    let count = count.min(slices::MOST as c_uint);
    let mut done = 0;
    loop {
        match call.until_done_with(Count::Other, fd, interest, || attempt(done) as ssize_t) {
            Ok(more) => {
                done += more as c_uint;
                if more == 0 || first_few || done >= count {
                    return done as c_int;
                }
            }
            Err(_) if done > 0 => return done as c_int,
            Err(ended) => return answer(Err(ended), || -1) as c_int,
        }
    }
}

/// A length that is larger than the room is what the C library ends the program for: it is left to do so.
#[unsafe(no_mangle)]
unsafe extern "C" fn __recv_chk(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    room: size_t,
    flags: c_int,
) -> ssize_t {
    if length > room {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::__recv_chk(fd, buffer, length, room, flags) };
    }
    // SAFETY: as above; the length is in bounds.
    unsafe { recv(fd, buffer, length, flags) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __recvfrom_chk(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    room: size_t,
    flags: c_int,
    address: *mut sockaddr,
    address_length: *mut socklen_t,
) -> ssize_t {
    if length > room {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::__recvfrom_chk(fd, buffer, length, room, flags, address, address_length) };
    }
    // SAFETY: as above; the length is in bounds.
    unsafe { recvfrom(fd, buffer, length, flags, address, address_length) }
}
