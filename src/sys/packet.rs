//! Packets between processes: whole or not at all, with descriptors in them; and memory for what no packet has room for.

use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::{SystemCall, descriptor, original, uninterrupted};

/// How many descriptors the kernel takes in one packet (SCM_MAX_FD).
const MOST_DESCRIPTORS: usize = 253;

/// What is read at once of a file in memory.
const READ_AT_ONCE: usize = 256 * 1024;

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

/// A file in memory that has no name, with these contents, which nobody can change any more.
pub(crate) fn sealed_memory(contents: &[u8]) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"greenloop-message".as_ptr(), flags) }.check()?;
    // SAFETY: the kernel has just made `fd`, and nothing else owns it.
    let memory = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut left = contents;
    while !left.is_empty() {
        let written = uninterrupted(|| descriptor::write(memory.as_fd(), left))?;
        left = &left[written..];
    }
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
    let seals = ptr::without_provenance_mut::<libc::c_void>(seals as usize);
    // SAFETY: takes no pointers, but a number in the place of one.
    unsafe { original::fcntl(memory.as_raw_fd(), libc::F_ADD_SEALS, seals) }.check()?;
    Ok(memory)
}

/// The contents of such a file, which has to have so many bytes.
pub(crate) fn read_memory(memory: BorrowedFd<'_>, length: u64) -> io::Result<Vec<u8>> {
    let is_whole = descriptor::size(memory) == length && descriptor::room(memory) >= length;
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?;
    // The sender says how much is allocated here, so it must have so much itself, and must not change it any more.
    if !is_whole || !is_sealed(memory) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut contents = Vec::new();
    contents.try_reserve_exact(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut done = 0;
    while done < length {
        // In parts, so that the zeros are still in the cache when they are written over.
        contents.resize(length.min(done + READ_AT_ONCE), 0);
        match uninterrupted(|| descriptor::read_at(memory, &mut contents[done..], done as u64))? {
            0 => return Err(io::ErrorKind::InvalidData.into()),
            count => done += count,
        }
        contents.truncate(done);
    }
    Ok(contents)
}

/// Whether a file is one in memory that nobody can change.
fn is_sealed(memory: BorrowedFd<'_>) -> bool {
    let wanted = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    let nothing = ptr::null_mut::<libc::c_void>();
    // SAFETY: takes no pointers.
    let seals = unsafe { original::fcntl(memory.as_raw_fd(), libc::F_GET_SEALS, nothing) }.check();
    seals.is_ok_and(|seals| seals & wanted == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_takes_descriptors_along() {
        let (left, right) = pair().unwrap();
        let memory = sealed_memory(b"contents").unwrap();
        send(left.as_fd(), &[IoSlice::new(b"ab"), IoSlice::new(b"c")], &[memory.as_fd(); 3]).unwrap();
        let mut buffer = [0; 8];
        let received = receive(right.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..received.length], received.is_truncated), (&b"abc"[..], false));
        assert_eq!(received.descriptors.len(), 3);
        assert_eq!(read_memory(received.descriptors[2].as_fd(), 8).unwrap(), b"contents");
        assert!(read_memory(received.descriptors[2].as_fd(), 9).is_err());
        assert!(read_memory(left.as_fd(), 8).is_err());
        assert_eq!(
            descriptor::write(received.descriptors[0].as_fd(), b"x").unwrap_err().raw_os_error(),
            Some(libc::EPERM)
        );
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
