//! `sendfile`, `splice`, `tee` and `vmsplice`.

use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;

use libc::{c_int, c_uint, iovec, loff_t, off_t, off64_t, size_t, ssize_t};

use super::call::{Call, Miss, answer, errno, failed, is_nonblocking, is_ready, quietly, without_waiting};
use super::file::is_regular_file;
use super::parts::Parts;
use crate::io::Interest;
use crate::sys::original;

/// What a descriptor names, of what `sendfile` and `splice` treat apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Socket,
    Pipe,
    Other,
}

fn kind(fd: RawFd) -> Kind {
    let mut status = MaybeUninit::<libc::stat64>::zeroed();
    // SAFETY: `status` is valid to be written to.
    unsafe { libc::fstat64(fd, status.as_mut_ptr()) };
    // SAFETY: zeros are a valid value, and the call writes others.
    match unsafe { status.assume_init() }.st_mode & libc::S_IFMT {
        libc::S_IFSOCK => Kind::Socket,
        libc::S_IFIFO => Kind::Pipe,
        _ => Kind::Other,
    }
}

/// The most that is read at a time for a socket.
const PIECE: usize = 64 * 1024;

/// `sendfile`, with `run` for the C library's, which is given how much is left. `offset` is where to read, if not where the file stands,
/// and valid for reads and writes then.
fn send_file(
    to: RawFd,
    from: RawFd,
    offset: *mut off64_t,
    length: size_t,
    run: impl Fn(size_t) -> ssize_t,
) -> ssize_t {
    let call = match Call::enter(Parts::SOCKET) {
        Some(call) if !is_nonblocking(to) || call.is_interrupted() => call,
        _ => return run(length),
    };
    quietly(|| {
        let (from_kind, to_kind) = (kind(from), kind(to));
        // The kernel looks at the two, and waits for room in a pipe.
        let is_of_nothing = length == 0 || from_kind == Kind::Pipe;
        let refuses =
            || is_refused(from, libc::O_WRONLY, offset) || is_refused(to, libc::O_RDONLY, ptr::null());
        match to_kind {
            Kind::Other => run(length),
            _ if (is_of_nothing || to_kind == Kind::Pipe) && refuses() => run(length),
            _ if is_of_nothing => {
                let attempt = || match to_kind == Kind::Pipe && !is_ready(to, libc::POLLOUT) {
                    true => failed(libc::EAGAIN) as ssize_t,
                    false => run(length),
                };
                answer(call.until_done(to, Interest::WRITABLE, attempt), || run(length))
            }
            Kind::Socket => send_copies(call, to, from, offset, length, run),
            Kind::Pipe => {
                // A splice can be asked not to wait.
                let piece = |length, flags| {
                    // SAFETY: the caller's contract; no offset for the pipe.
                    let spliced =
                        unsafe { original::splice(from, offset, to, ptr::null_mut(), length, flags) };
                    match errno() {
                        libc::EAGAIN => spliced,
                        _ if spliced == -1 => without_waiting(to, || run(length)),
                        _ => spliced,
                    }
                };
                if !is_regular_file(from) {
                    // What is there now.
                    return until_moved(call, from, to, |flags| piece(length, flags));
                }
                let attempt = |sent| piece(length - sent, libc::SPLICE_F_NONBLOCK);
                answer(call.until_all_gone(to, length, attempt), || run(length))
            }
        }
    })
}

/// The kernel's `sendfile` waits for a socket unless that is O_NONBLOCK, for all who share it: so what is read is sent, which can be
/// asked not to wait.
fn send_copies(
    call: Call,
    to: RawFd,
    from: RawFd,
    offset: *mut off64_t,
    length: size_t,
    run: impl Fn(size_t) -> ssize_t,
) -> ssize_t {
    // SAFETY: takes no pointers.
    let stands_at = || unsafe { libc::lseek64(from, 0, libc::SEEK_CUR) };
    // SAFETY: the caller's contract.
    let mut at = unsafe { offset.as_ref() }.copied().unwrap_or_else(stands_at);
    let mut buffer = vec![0_u8; length.min(PIECE)];
    let mut gone = 0;
    while gone < length {
        let piece = (length - gone).min(PIECE);
        // SAFETY: the buffer has as many bytes.
        let come = unsafe { super::file::pread64(from, buffer.as_mut_ptr().cast(), piece, at) };
        if come <= 0 {
            // What cannot be read so, the kernel is left to refuse.
            return if gone > 0 { gone as ssize_t } else { without_waiting(to, || run(length)) };
        }
        let sent = call.until_all_gone(to, come as usize, |sent| {
            let rest = &buffer[sent..come as usize];
            // SAFETY: valid for reads of its length.
            unsafe { original::send(to, rest.as_ptr().cast(), rest.len(), libc::MSG_DONTWAIT) }
        });
        let sent = match sent {
            Ok(sent) => sent,
            Err(_) if gone > 0 => return gone as ssize_t,
            Err(ended) => return answer(Err(ended), || -1),
        };
        gone += sent as usize;
        at += sent as off64_t;
        // SAFETY: the caller's contract.
        match unsafe { offset.as_mut() } {
            Some(offset) => *offset = at,
            // SAFETY: takes no pointers.
            None => drop(unsafe { libc::lseek64(from, at, libc::SEEK_SET) }),
        }
        if sent < come {
            break;
        }
    }
    gone as ssize_t
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendfile(to: c_int, from: c_int, offset: *mut off_t, length: size_t) -> ssize_t {
    // SAFETY: the caller's contract is that of the C library's function, which moves the offset on.
    send_file(to, from, offset, length, |left| unsafe { original::sendfile(to, from, offset, left) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendfile64(to: c_int, from: c_int, offset: *mut off64_t, length: size_t) -> ssize_t {
    // SAFETY: as for `sendfile`.
    send_file(to, from, offset, length, |left| unsafe { original::sendfile64(to, from, offset, left) })
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
    quietly(|| {
        let is_of_no_pipe = kind(from) != Kind::Pipe && kind(to) != Kind::Pipe;
        if length == 0
            || flags & !FLAGS != 0
            || is_of_no_pipe
            || is_refused(from, libc::O_WRONLY, from_offset)
            || is_refused(to, libc::O_RDONLY, to_offset)
        {
            call.give_way_if_interrupted();
            return run(flags);
        }
        until_moved(call, from, to, |more| run(flags | more))
    })
}

/// Copies what there is from pipe to pipe, and leaves it there.
#[unsafe(no_mangle)]
unsafe extern "C" fn tee(from: c_int, to: c_int, length: size_t, flags: c_uint) -> ssize_t {
    // SAFETY: the caller's contract is that of the C library's function.
    let run = |flags| unsafe { original::tee(from, to, length, flags) };
    let call = match Call::enter(Parts::SOCKET) {
        Some(call) if length > 0 && flags & libc::SPLICE_F_NONBLOCK == 0 => call,
        _ => return run(flags),
    };
    quietly(|| match kind(from) == Kind::Pipe && kind(to) == Kind::Pipe && flags & !FLAGS == 0 {
        true => until_moved(call, from, to, |more| run(flags | more)),
        false => run(flags),
    })
}

/// Gives memory to a pipe, as much as there is room for, or takes what there is from one. O_NONBLOCK is nothing to it.
#[unsafe(no_mangle)]
unsafe extern "C" fn vmsplice(pipe: c_int, slices: *const iovec, count: size_t, flags: c_uint) -> ssize_t {
    // SAFETY: the caller's contract is that of the C library's function.
    let run = |flags| unsafe { original::vmsplice(pipe, slices, count, flags) };
    let call = match Call::enter(Parts::SOCKET) {
        Some(call) if flags & libc::SPLICE_F_NONBLOCK == 0 => call,
        _ => return run(flags),
    };
    quietly(|| {
        if let Err(errno) = call.spend_budget() {
            return failed(errno) as ssize_t;
        }
        // SAFETY: takes no pointers.
        let mode = unsafe { original::fcntl(pipe, libc::F_GETFL, ptr::null_mut()) } & libc::O_ACCMODE;
        let interest = if mode == libc::O_RDONLY { Interest::READABLE } else { Interest::WRITABLE };
        loop {
            let moved = run(flags | libc::SPLICE_F_NONBLOCK);
            if moved != -1 || errno() != libc::EAGAIN {
                return moved;
            }
            if let Err(Miss::Failed(errno)) = call.wait_for(pipe, interest, None) {
                return failed(errno) as ssize_t;
            }
        }
    })
}

/// What splice(2) knows.
const FLAGS: c_uint =
    libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MORE | libc::SPLICE_F_GIFT;

/// Whether nothing can be moved there, or from there, whatever there is: the kernel says at once why. `unfit` is the way in which it must
/// not be open.
fn is_refused(fd: RawFd, unfit: c_int, offset: *const loff_t) -> bool {
    // SAFETY: takes no pointers.
    let flags = unsafe { original::fcntl(fd, libc::F_GETFL, ptr::null_mut()) };
    // SAFETY: as above.
    let has_offsets = || unsafe { libc::lseek64(fd, 0, libc::SEEK_CUR) } != -1;
    flags == -1 || flags & libc::O_ACCMODE == unfit || !offset.is_null() && !has_offsets()
}

fn until_moved(call: Call, from: RawFd, to: RawFd, run: impl Fn(c_uint) -> ssize_t) -> ssize_t {
    if let Err(errno) = call.spend_budget() {
        return failed(errno) as ssize_t;
    }
    loop {
        let attempt = || run(libc::SPLICE_F_NONBLOCK);
        let moved = match (kind(from), kind(to)) {
            // Others may be such as cannot be spliced, which is told at once.
            (Kind::Socket, _) if !is_ready(from, libc::POLLIN) && !is_ready(to, 0) => {
                failed(libc::EAGAIN) as ssize_t
            }
            (_, Kind::Socket) if is_ready(from, libc::POLLIN) && !is_ready(to, libc::POLLOUT) => {
                failed(libc::EAGAIN) as ssize_t
            }
            // A pipe is asked by the flag of the call.
            (Kind::Pipe, Kind::Pipe) => attempt(),
            (Kind::Pipe, _) => without_waiting(to, attempt),
            (_, Kind::Pipe) => without_waiting(from, attempt),
            _ => without_waiting(from, || without_waiting(to, attempt)),
        };
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
