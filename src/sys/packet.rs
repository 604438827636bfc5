//! Packets between processes: whole or not at all, with descriptors in them.

use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::{SystemCall, original};

/// How many descriptors the kernel takes in one packet (SCM_MAX_FD).
const MOST_DESCRIPTORS: usize = 253;

/// Room for that many, aligned as a `cmsghdr` wants it.
type Control = [u64; (16 + 4 * MOST_DESCRIPTORS).div_ceil(8)];

/// Two connected sockets of packets, close-on-exec.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `ends` is valid for the two numbers that are written to it.
    unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) }.check()?;
    // SAFETY: the kernel has just made it, and nothing else owns it.
    let left = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as for the left one.
    let right = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((left, right))
}

/// Sends one packet, with copies of the descriptors. Never waits: EAGAIN.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    // SAFETY: zeros are a valid msghdr: null pointers with no lengths.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len() as _;
    let mut control: Control = [0; _];
    if !descriptors.is_empty() {
        if descriptors.len() > MOST_DESCRIPTORS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let bytes = mem::size_of_val(&*numbers) as libc::c_uint;
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: plain arithmetic.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(bytes) } as _;
        // SAFETY: `message` is valid.
        let header = unsafe { libc::CMSG_FIRSTHDR(&message) };
        // SAFETY: `msg_control` has room for a header, as `msg_controllen` says.
        let header = unsafe { &mut *header };
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        // SAFETY: plain arithmetic.
        header.cmsg_len = unsafe { libc::CMSG_LEN(bytes) } as _;
        // SAFETY: `header` is one in `control`.
        let data = unsafe { libc::CMSG_DATA(header) };
        // SAFETY: `control` has room for at least so many bytes behind the header, see `Control`.
        unsafe { ptr::copy_nonoverlapping(numbers.as_ptr().cast::<u8>(), data, bytes as usize) };
    }
    // SAFETY: an `IoSlice` is an iovec (std guarantees it) of memory that is valid for reads, and `sendmsg` writes to none of it;
    // `msg_control` is valid for `msg_controllen` bytes, or both are zero.
    unsafe { original::sendmsg(socket.as_raw_fd(), &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) }
        .check()?;
    Ok(())
}

/// What [`receive`] has got.
#[derive(Debug)]
pub(crate) struct Received {
    /// Bytes in the buffer; none at the end.
    pub(crate) length: usize,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Whether some of it did not fit, or there was no room for a descriptor in this process, and is lost.
    pub(crate) is_truncated: bool,
}

/// Receives one packet. Never waits: EAGAIN.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control: Control = [0; _];
    // SAFETY: zeros are a valid msghdr: null pointers with no lengths.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &mut slice;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = mem::size_of::<Control>() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `slice` is `buffer`, and `msg_control` is `control`, both valid for writes of their lengths.
    let length = unsafe { original::recvmsg(socket.as_raw_fd(), &mut message, flags) }.check()?;
    let mut descriptors = Vec::new();
    // SAFETY: the kernel has filled `message` in.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&message) };
    while !next.is_null() {
        // SAFETY: it is one in `control`, which the kernel has written.
        let header = unsafe { &*next };
        if (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: plain arithmetic.
            let bytes = header.cmsg_len as usize - unsafe { libc::CMSG_LEN(0) } as usize;
            // SAFETY: `header` is one in `control`.
            let data = unsafe { libc::CMSG_DATA(next) }.cast::<RawFd>();
            for place in 0..bytes / mem::size_of::<RawFd>() {
                // SAFETY: the header says that so many numbers are there.
                let number = unsafe { data.add(place) };
                // SAFETY: as above; the kernel has written them.
                let number = unsafe { number.read_unaligned() };
                // SAFETY: the kernel has just made it for this call, and nothing else owns it.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        // SAFETY: `next` is a header in `message`.
        next = unsafe { libc::CMSG_NXTHDR(&message, next) };
    }
    let is_truncated = message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    Ok(Received { length: length as usize, descriptors, is_truncated })
}

/// Ends a connection for both sides.
pub(crate) fn shut_down(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointers.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) }.check()?;
    Ok(())
}

/// Whether `error` says that too many descriptors are on their way for now.
pub(crate) fn is_too_many_on_the_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ETOOMANYREFS)
}

/// Whether `error` says that the socket's buffer can never take a packet of that size.
pub(crate) fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_packet_takes_descriptors_along() {
        let (left, right) = pair().unwrap();
        send(left.as_fd(), &[IoSlice::new(b"ab"), IoSlice::new(b"c")], &[left.as_fd(); 3]).unwrap();
        let mut buffer = [0; 8];
        let received = receive(right.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..received.length], received.is_truncated), (&b"abc"[..], false));
        assert_eq!(received.descriptors.len(), 3);
        send(received.descriptors[2].as_fd(), &[IoSlice::new(b"d")], &[]).unwrap();
        assert_eq!(receive(right.as_fd(), &mut buffer).unwrap().length, 1);
    }

    #[test]
    fn the_end_is_no_packet_and_what_does_not_fit_is_told() {
        let (left, right) = pair().unwrap();
        send(left.as_fd(), &[IoSlice::new(b"abc")], &[]).unwrap();
        drop(left);
        assert!(receive(right.as_fd(), &mut [0; 2]).unwrap().is_truncated);
        assert_eq!(receive(right.as_fd(), &mut [0; 2]).unwrap().length, 0);
    }
}
