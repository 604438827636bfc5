//! `read` and `write` and their vectored forms, on whatever a descriptor names.
//!
//! The kernel is asked for what does not wait (RWF_NOWAIT); where it cannot promise that, as for terminals, it is asked
//! first whether the descriptor is ready. Where readiness does not tell, as of a terminal with a time for its reads or little room,
//! another OS thread asks and waits. A regular file makes nobody wait for readiness, only for the disk: that is done on
//! another OS thread.

use std::os::fd::RawFd;
use std::ptr;
use std::slice;

use libc::{c_int, c_void, iovec, size_t, ssize_t};

use super::call::{Call, Miss, answer, errno, failed, is_nonblocking, is_ready};
use super::file::{is_regular_file, read_from_disk, read_on, write_to_disk};
use super::interruption::is_eventfd;
use super::off_hub::interruptible;
use super::parts::Parts;
use super::slices;
use super::terminal::{Awaited, awaited, is_terminal};
use crate::io::Interest;
use crate::sys::clock::Time;
use crate::sys::original;

/// The descriptors of standard output and error. A green thread that is in the midst of a line holds std's lock on them.
fn is_exempt(fd: RawFd) -> bool {
    fd == libc::STDOUT_FILENO || fd == libc::STDERR_FILENO
}

/// `readv` or `writev`, whichever `interest` means.
///
/// # Safety
///
/// What the slices name must be valid for writes or for reads.
unsafe fn wait_in_kernel(fd: RawFd, slices: &[iovec], interest: Interest) -> ssize_t {
    match interest.is_readable() {
        // SAFETY: the caller's contract.
        true => unsafe { original::readv(fd, slices.as_ptr(), slices::count(slices)) },
        // SAFETY: as above.
        false => unsafe { original::writev(fd, slices.as_ptr(), slices::count(slices)) },
    }
}

/// [`wait_in_kernel`], on another OS thread; `None` if there is none for it.
///
/// # Safety
///
/// As for that.
unsafe fn wait_elsewhere(call: Call, fd: RawFd, slices: &[iovec], interest: Interest) -> Option<ssize_t> {
    let (first, count) = (slices.as_ptr().expose_provenance(), slices.len());
    let run = move || {
        // SAFETY: the caller's, who waits until this has returned.
        let slices = unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(first), count) };
        // SAFETY: the caller's contract. No call moves more bytes than a `c_int` counts.
        unsafe { wait_in_kernel(fd, slices, interest) as c_int }
    };
    let refuse = |call: Call| call.hub.hindrance().map_or(libc::EINTR, |hindrance| call.refuse(hindrance));
    interruptible(call, "a terminal or a counter", refuse, run).map(|count| count as ssize_t)
}

/// A try to read what the kernel does not promise to give at once.
///
/// # Safety
///
/// As for `readv`.
#[cold]
unsafe fn read_unpromised(call: Call, fd: RawFd, slices: &[iovec]) -> ssize_t {
    match awaited(fd) {
        Awaited::Readiness if !is_ready(fd, libc::POLLIN) => return failed(libc::EAGAIN) as ssize_t,
        Awaited::Readiness | Awaited::Nothing => {}
        Awaited::Within(limit) => match call.wait_for(fd, Interest::READABLE, Some(Time::after(limit))) {
            Err(Miss::Late) => return 0,
            Err(Miss::Failed(errno)) => return failed(errno) as ssize_t,
            Ok(()) | Err(Miss::Unwaitable) => {}
        },
        Awaited::Several => {
            // SAFETY: the caller's contract.
            if let Some(come) = unsafe { wait_elsewhere(call, fd, slices, Interest::READABLE) } {
                return come;
            }
            if !is_ready(fd, libc::POLLIN) {
                return failed(libc::EAGAIN) as ssize_t;
            }
        }
    }
    // SAFETY: as above.
    unsafe { wait_in_kernel(fd, slices, Interest::READABLE) }
}

/// A try to write what the kernel does not promise to take at once, to what has some room.
///
/// # Safety
///
/// As for `writev`.
#[cold]
unsafe fn write_unpromised(call: Call, fd: RawFd, slices: &[iovec]) -> ssize_t {
    let Some(first) = slices.iter().find(|slice| slice.iov_len > 0) else { return 0 };
    // SAFETY: the caller's contract.
    let adds_one = || first.iov_len == 8 && unsafe { first.iov_base.cast::<u64>().read_unaligned() } == 1;
    // How much room a terminal has nobody tells, nor a counter, save for one.
    if (is_terminal(fd) || !adds_one() && is_eventfd(fd))
        && !is_nonblocking(fd)
        // SAFETY: as above.
        && let Some(gone) = unsafe { wait_elsewhere(call, fd, slices, Interest::WRITABLE) }
    {
        return gone;
    }
    // SAFETY: a part of a slice of the caller's.
    unsafe { original::write(fd, first.iov_base, first.iov_len.min(libc::PIPE_BUF)) }
}

/// A try to read, which waits at most for a disk, or for what readiness does not tell of.
///
/// # Safety
///
/// As for `readv`.
unsafe fn read_now(call: Call, fd: RawFd, slices: &[iovec]) -> ssize_t {
    // SAFETY: the caller's contract.
    let come = unsafe { libc::preadv2(fd, slices.as_ptr(), slices::count(slices), -1, libc::RWF_NOWAIT) };
    if come > 0 && (come as usize) < slices::length(slices) && is_regular_file(fd) {
        // SAFETY: as above.
        return unsafe { read_on(fd, slices, come) };
    }
    match errno() {
        // SAFETY: as above.
        libc::EAGAIN | libc::EOPNOTSUPP if come == -1 && is_regular_file(fd) => unsafe {
            read_from_disk(fd, slices)
        },
        // SAFETY: as above.
        libc::EOPNOTSUPP if come == -1 => unsafe { read_unpromised(call, fd, slices) },
        _ => come,
    }
}

/// A try to write, which waits at most for a disk, or for what readiness does not tell of. Where the kernel cannot promise not to wait, it
/// writes no more than a pipe with any room takes.
///
/// # Safety
///
/// As for `writev`.
unsafe fn write_now(call: Call, fd: RawFd, slices: &[iovec]) -> ssize_t {
    // SAFETY: the caller's contract.
    let gone = unsafe { libc::pwritev2(fd, slices.as_ptr(), slices::count(slices), -1, libc::RWF_NOWAIT) };
    match errno() {
        // SAFETY: the caller's contract.
        libc::EAGAIN | libc::EOPNOTSUPP if gone == -1 && is_regular_file(fd) => unsafe {
            write_to_disk(fd, slices)
        },
        libc::EOPNOTSUPP if gone == -1 && !is_ready(fd, libc::POLLOUT) => failed(libc::EAGAIN) as ssize_t,
        // SAFETY: as above.
        libc::EOPNOTSUPP if gone == -1 => unsafe { write_unpromised(call, fd, slices) },
        _ => gone,
    }
}

/// `readv`.
///
/// # Safety
///
/// As for `readv`.
unsafe fn read_slices(call: Call, fd: RawFd, slices: &[iovec]) -> ssize_t {
    // SAFETY: the caller's contract.
    let come = call.until_done(fd, Interest::READABLE, || match call.first_of(slices) {
        // SAFETY: the caller's contract.
        None => unsafe { read_now(call, fd, slices) },
        // SAFETY: a part of a slice of the caller's.
        Some(first) => unsafe { read_now(call, fd, &[first]) },
    });
    // SAFETY: as above.
    answer(come, || unsafe { wait_in_kernel(fd, slices, Interest::READABLE) })
}

/// `writev`.
///
/// # Safety
///
/// As for `writev`.
unsafe fn write_slices(call: Call, fd: RawFd, slices: &[iovec]) -> ssize_t {
    let gone = call.until_all_gone(fd, slices::length(slices), |gone| match gone {
        // SAFETY: the caller's contract.
        0 => unsafe { write_now(call, fd, slices) },
        // SAFETY: what is left of the caller's slices.
        _ => unsafe { write_now(call, fd, &slices::rest(slices, gone)) },
    });
    // SAFETY: the caller's contract.
    answer(gone, || unsafe { wait_in_kernel(fd, slices, Interest::WRITABLE) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn read(fd: c_int, buffer: *mut c_void, length: size_t) -> ssize_t {
    let Some(call) = Call::enter(Parts::SOCKET) else {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::read(fd, buffer, length) };
    };
    if length == 0 {
        // What makes nobody wait, and is refused in a way that the vectored calls do not have.
        call.give_way_if_interrupted();
        // SAFETY: as above.
        return unsafe { original::read(fd, buffer, length) };
    }
    let slice = iovec { iov_base: buffer, iov_len: length };
    // SAFETY: one slice, which is the caller's buffer.
    unsafe { read_slices(call, fd, &[slice]) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn readv(fd: c_int, slices: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: the caller's contract is that of the C library's function, and the call returns before he goes on.
    match (Call::enter(Parts::SOCKET), unsafe { slices::named(slices, count as usize) }) {
        // SAFETY: as above, twice.
        (Some(call), Some(slices)) => unsafe { read_slices(call, fd, slices) },
        // SAFETY: as above.
        _ => unsafe { original::readv(fd, slices, count) },
    }
}

/// A message without contents to a socket that has such; of anything else the C library's function says what it does.
///
/// # Safety
///
/// As for `write`.
unsafe fn write_nothing(call: Call, fd: RawFd, buffer: *const c_void) -> ssize_t {
    let attempt = || {
        // SAFETY: the caller's contract.
        let sent = unsafe { original::send(fd, buffer, 0, libc::MSG_DONTWAIT) };
        if sent != -1 || errno() != libc::ENOTSOCK {
            return sent;
        }
        // SAFETY: as above.
        unsafe { original::write(fd, buffer, 0) }
    };
    answer(call.until_done(fd, Interest::WRITABLE, attempt), || 0)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t {
    match Call::enter(Parts::SOCKET) {
        // SAFETY: as above.
        Some(call) if !is_exempt(fd) && length == 0 => unsafe { write_nothing(call, fd, buffer) },
        Some(call) if !is_exempt(fd) => {
            let slice = iovec { iov_base: buffer.cast_mut(), iov_len: call.few(fd, length) };
            // SAFETY: one slice, which is the caller's buffer, and nothing writes to it.
            unsafe { write_slices(call, fd, &[slice]) }
        }
        // SAFETY: the caller's contract is that of the C library's function.
        _ => unsafe { original::write(fd, buffer, length) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, slices: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: the caller's contract is that of the C library's function, and the call returns before he goes on.
    match (Call::enter(Parts::SOCKET), unsafe { slices::named(slices, count as usize) }) {
        (Some(call), Some(slices)) if !is_exempt(fd) => {
            let few = call.few_of(fd, slices);
            // SAFETY: as above; what is short is a part of one of them.
            unsafe { write_slices(call, fd, few.as_ref().map_or(slices, slice::from_ref)) }
        }
        // SAFETY: as above.
        _ => unsafe { original::writev(fd, slices, count) },
    }
}

/// See `__recv_chk`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __read_chk(fd: c_int, buffer: *mut c_void, length: size_t, room: size_t) -> ssize_t {
    if length > room {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::__read_chk(fd, buffer, length, room) };
    }
    // SAFETY: as above; the length is in bounds.
    unsafe { read(fd, buffer, length) }
}
