//! What any file descriptor can do: bytes in and out, its mode, and being closed while others still hold its number.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::poll::check;
use super::readiness::Interest;
use super::{SystemCall, mode, original};

/// The largest number of slices that the kernel takes in one call.
const SLICES: usize = 1024;

/// A pipe whose ends do not block and are not inherited over an exec: reader, writer.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` is valid for the two numbers that are written to it.
    unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) }.check()?;
    // SAFETY: the kernel has just made it, and nothing else owns it.
    let reader = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as for the reader.
    let writer = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((reader, writer))
}

/// read(2).
#[inline]
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `buffer` is valid for its length of bytes to be written.
    let count = unsafe { original::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    count.check().map(|count| count as usize)
}

/// pread(2).
pub(crate) fn read_at(fd: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    // SAFETY: what is written there are bytes, as it holds.
    let buffer = unsafe { &mut *(ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) };
    read_at_into(fd, buffer, offset)
}

/// pread(2) into new memory: so many bytes of it hold something then.
pub(crate) fn read_at_into(
    fd: BorrowedFd<'_>,
    buffer: &mut [MaybeUninit<u8>],
    offset: u64,
) -> io::Result<usize> {
    let offset = offset_of(offset)?;
    // SAFETY: `buffer` is valid for its length of bytes to be written.
    let count =
        unsafe { original::pread64(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), offset) };
    count.check().map(|count| count as usize)
}

/// pwrite(2).
pub(crate) fn write_at(fd: BorrowedFd<'_>, buffer: &[u8], offset: u64) -> io::Result<usize> {
    let offset = offset_of(offset)?;
    // SAFETY: `buffer` is valid for its length of bytes to be read.
    let count = unsafe { original::pwrite64(fd.as_raw_fd(), buffer.as_ptr().cast(), buffer.len(), offset) };
    count.check().map(|count| count as usize)
}

/// fsync(2), or for the contents alone fdatasync(2).
pub(crate) fn synchronize(fd: BorrowedFd<'_>, contents_alone: bool) -> io::Result<()> {
    let synchronized = if contents_alone {
        // SAFETY: takes no pointers.
        unsafe { original::fdatasync(fd.as_raw_fd()) }
    } else {
        // SAFETY: takes no pointers.
        unsafe { original::fsync(fd.as_raw_fd()) }
    };
    synchronized.check().map(drop)
}

/// Whether there can be such a place in a file.
pub(crate) fn is_offset(offset: u64) -> bool {
    offset_of(offset).is_ok()
}

fn offset_of(offset: u64) -> io::Result<libc::off64_t> {
    libc::off64_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// readv(2).
pub(crate) fn read_vectored(fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let count = buffers.len().min(SLICES) as libc::c_int;
    // SAFETY: an IoSliceMut is guaranteed to be an iovec that is valid for writes, and there are at least `count` of them.
    let count = unsafe { original::readv(fd.as_raw_fd(), buffers.as_mut_ptr().cast(), count) };
    count.check().map(|count| count as usize)
}

/// write(2).
#[inline]
pub(crate) fn write(fd: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<usize> {
    // SAFETY: `buffer` is valid for its length of bytes to be read.
    let count = unsafe { original::write(fd.as_raw_fd(), buffer.as_ptr().cast(), buffer.len()) };
    count.check().map(|count| count as usize)
}

/// writev(2).
pub(crate) fn write_vectored(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let count = buffers.len().min(SLICES) as libc::c_int;
    // SAFETY: an IoSlice is guaranteed to be an iovec that is valid for reads, and there are at least `count` of them.
    let count = unsafe { original::writev(fd.as_raw_fd(), buffers.as_ptr().cast(), count) };
    count.check().map(|count| count as usize)
}

/// Reads from a descriptor in blocking mode without waiting: EAGAIN if there is nothing.
///
/// Where the kernel cannot promise that (pipes before Linux 6.4, terminals), the descriptor is asked first, and only another
/// process that takes the bytes in between can make it wait.
pub(crate) fn read_now(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `slice` is one iovec over `buffer`, which is valid for its length of bytes to be written.
    match unsafe { libc::preadv2(fd.as_raw_fd(), &slice, 1, -1, libc::RWF_NOWAIT) }.check() {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
        count => return count.map(|count| count as usize),
    }
    if check(fd, Interest::READABLE)?.is_none() { Err(would_block()) } else { read(fd, buffer) }
}

/// Reads what the kernel has of a file in memory, at its position or at `offset`: EAGAIN if that is nothing, EOPNOTSUPP where it cannot
/// tell.
pub(crate) fn read_from_memory(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    offset: Option<u64>,
) -> io::Result<usize> {
    let offset = offset.map_or(Ok(-1), offset_of)?;
    let slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `slice` is one iovec over `buffer`, which is valid for its length of bytes to be written.
    let count = unsafe { libc::preadv2(fd.as_raw_fd(), &slice, 1, offset, libc::RWF_NOWAIT) };
    count.check().map(|count| count as usize)
}

/// Writes to a descriptor in blocking mode without waiting: EAGAIN if there is no room.
///
/// Where the kernel cannot promise that, see [`read_now`], it writes no more than a pipe with any room takes.
pub(crate) fn write_now(fd: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<usize> {
    let slice = libc::iovec { iov_base: buffer.as_ptr().cast_mut().cast(), iov_len: buffer.len() };
    // SAFETY: `slice` is one iovec over `buffer`, which is valid for its length of bytes to be read; nothing writes to it.
    match unsafe { libc::pwritev2(fd.as_raw_fd(), &slice, 1, -1, libc::RWF_NOWAIT) }.check() {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
        count => return count.map(|count| count as usize),
    }
    if check(fd, Interest::WRITABLE)?.is_none() {
        return Err(would_block());
    }
    write(fd, &buffer[..buffer.len().min(libc::PIPE_BUF)])
}

/// Whether reads and writes of the open file go past the kernel's memory.
pub(crate) fn is_direct(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(flags(fd)? & libc::O_DIRECT != 0)
}

/// Whether its owner wants calls on the open file to return EAGAIN where they would block.
pub(crate) fn is_nonblocking(fd: BorrowedFd<'_>) -> bool {
    mode::is_nonblocking(fd.as_raw_fd())
}

/// Makes calls on the open file, which all its duplicates share, return EAGAIN where they would block, or not.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
    let before = flags(fd)?;
    let after = if nonblocking { before | libc::O_NONBLOCK } else { before & !libc::O_NONBLOCK };
    if after != before {
        let after = ptr::without_provenance_mut::<libc::c_void>(after as usize);
        // SAFETY: takes no pointers, but a number in the place of one.
        unsafe { original::fcntl(fd.as_raw_fd(), libc::F_SETFL, after) }.check()?;
    }
    Ok(())
}

fn flags(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    // SAFETY: takes no pointers.
    unsafe { original::fcntl(fd.as_raw_fd(), libc::F_GETFL, ptr::null_mut::<libc::c_void>()) }.check()
}

/// A descriptor on which every call fails with EBADF: it names a place in the file system and opens nothing.
pub(crate) fn closed() -> io::Result<OwnedFd> {
    // SAFETY: the path is a C string.
    let fd = unsafe { original::open(c"/".as_ptr(), libc::O_PATH | libc::O_CLOEXEC, 0) }.check()?;
    // SAFETY: the kernel has just made `fd`, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether it is such a descriptor.
pub(crate) fn opens_nothing(fd: BorrowedFd<'_>) -> bool {
    flags(fd).is_ok_and(|flags| flags & libc::O_PATH != 0)
}

/// Closes what `fd` names and puts `substitute` in its place, in one step: nobody else can get the number in between, and
/// its owner still has a descriptor to close.
pub(crate) fn close_over(fd: BorrowedFd<'_>, substitute: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointers. The number stays open, so whoever borrows or owns it still has a descriptor.
    unsafe { original::dup3(substitute.as_raw_fd(), fd.as_raw_fd(), libc::O_CLOEXEC) }.check()?;
    Ok(())
}

/// The error of a call that would block.
#[cold]
pub(crate) fn would_block() -> io::Error {
    io::Error::from_raw_os_error(libc::EAGAIN)
}

/// The error of a call on a connection that the other end, or somebody between, has ended.
pub(crate) fn reset() -> io::Error {
    io::Error::from_raw_os_error(libc::ECONNRESET)
}

/// The error of a connection to where nobody listens.
pub(crate) fn refused() -> io::Error {
    io::Error::from_raw_os_error(libc::ECONNREFUSED)
}

/// The error of a connection to somebody who does not answer.
pub(crate) fn unreachable() -> io::Error {
    io::Error::from_raw_os_error(libc::ETIMEDOUT)
}

/// The error of a disk that fails.
pub(crate) fn disk_error() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

/// The error of a call on a descriptor that is not open.
#[cold]
pub(crate) fn bad_descriptor() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

/// Whether `error` says that the descriptor is not open.
pub(crate) fn is_bad_descriptor(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBADF)
}

/// Whether `error` of a wait says that what the process waits with is not what it was: somebody else has closed it.
pub(crate) fn is_lost(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADF | libc::EINVAL | libc::EOPNOTSUPP))
}

/// Whether `error` says that a named pipe has no reader, or a device no driver.
pub(crate) fn is_nobody_there(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENXIO)
}

/// Whether `error` says that there is no more of something: descriptors, memory, threads, room in an epoll set.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    matches!(number, Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN | libc::ENOSPC))
}

/// Whether an empty pipe has a writer, or a pipe has something to be read; `scratch` is the writing end of another one, which gets a
/// copy of that.
pub(crate) fn has_writer(pipe: BorrowedFd<'_>, scratch: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: takes no pointers.
    let copied = unsafe { libc::tee(pipe.as_raw_fd(), scratch.as_raw_fd(), 1, libc::SPLICE_F_NONBLOCK) };
    match copied.check() {
        Ok(count) => Ok(count > 0),
        // There might be something some time.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether `error` says that an operation has not been done: the kernel has given it up, as it was asked to, or a signal came.
pub(crate) fn is_given_up(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EINTR))
}

/// Whether `error` says that the kernel could not do an operation as a whole, but another time may.
pub(crate) fn is_not_now(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS))
}

/// How many bytes a file says that it has.
pub(crate) fn size(fd: BorrowedFd<'_>) -> u64 {
    status(fd).map_or(0, |status| u64::try_from(status.st_size).unwrap_or(0))
}

/// Whether two descriptors name the same file, or socket.
pub(crate) fn is_same_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let id = |fd| status(fd).map(|status| (status.st_dev, status.st_ino));
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}

/// How many bytes of a file have room in memory or on a disk: fewer than its size, if it has holes.
pub(crate) fn room(fd: BorrowedFd<'_>) -> u64 {
    status(fd).map_or(0, |status| u64::try_from(status.st_blocks).unwrap_or(0).saturating_mul(512))
}

/// Whether a descriptor may have to be waited for, and can be: not a regular file, a folder, or a disk.
pub(crate) fn tells_readiness(fd: BorrowedFd<'_>) -> bool {
    let kind = status(fd).map(|status| status.st_mode & libc::S_IFMT);
    // If it is not open, a call says so at once.
    !matches!(kind, Ok(libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK))
}

fn status(fd: BorrowedFd<'_>) -> io::Result<libc::stat64> {
    let mut status = MaybeUninit::<libc::stat64>::uninit();
    // SAFETY: `status` is valid to be written to.
    unsafe { libc::fstat64(fd.as_raw_fd(), status.as_mut_ptr()) }.check()?;
    // SAFETY: the call has succeeded, so it is written.
    Ok(unsafe { status.assume_init() })
}

/// Puts copies of these at the numbers from 3 on, where the program that is started next finds them. Only for a process that is about to
/// become another program: whatever was at those numbers is closed.
pub(crate) fn place_for_exec(fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let end = FIRST_HANDED_OVER + fds.len() as RawFd;
    // Out of the way first, so that none is overwritten before its turn.
    let copy = |fd: &BorrowedFd<'_>| {
        let end = ptr::without_provenance_mut::<libc::c_void>(end as usize);
        // SAFETY: takes no pointers, but a number in the place of one.
        unsafe { original::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, end) }.check()
    };
    let copies = fds.iter().map(copy).collect::<io::Result<Vec<_>>>()?;
    for (copy, place) in copies.into_iter().zip(FIRST_HANDED_OVER..) {
        // SAFETY: takes no pointers; what is closed by it is nobody's any more in a process that becomes another program.
        unsafe { original::dup2(copy, place) }.check()?;
    }
    Ok(())
}

/// The number of the first descriptor that is handed over to a program, as systemd has it.
const FIRST_HANDED_OVER: RawFd = 3;

/// Takes the descriptor over that was handed to this program as the one of this place, from 0 on; it is closed over an exec from now on.
///
/// # Errors
///
/// EBADF if there is none.
///
/// # Safety
///
/// Whoever started this program has handed over so many, and this one is taken once.
pub(crate) unsafe fn handed_over(place: u32) -> io::Result<OwnedFd> {
    let number = FIRST_HANDED_OVER + place as RawFd;
    let closed = ptr::without_provenance_mut::<libc::c_void>(libc::FD_CLOEXEC as usize);
    // SAFETY: takes no pointers, but a number in the place of one.
    unsafe { original::fcntl(number, libc::F_SETFD, closed) }.check()?;
    // SAFETY: it is open, and this program's by the caller's promise.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether `error` says that a descriptor cannot be waited for, because it is always ready: a regular file.
pub(crate) fn is_always_ready(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EPERM)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_mode_can_be_changed_and_asked() {
        let (reader, _writer) = pipe().unwrap();
        assert!(is_nonblocking(reader.as_fd()));
        assert_eq!(read(reader.as_fd(), &mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        set_nonblocking(reader.as_fd(), false).unwrap();
        assert!(!is_nonblocking(reader.as_fd()));
    }

    #[test]
    fn nothing_waits_in_blocking_mode() {
        let (reader, writer) = pipe().unwrap();
        set_nonblocking(reader.as_fd(), false).unwrap();
        set_nonblocking(writer.as_fd(), false).unwrap();
        assert_eq!(read_now(reader.as_fd(), &mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        while write_now(writer.as_fd(), &[7; 10_000]).is_ok() {}
        assert_eq!(write_now(writer.as_fd(), b"a").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(read_now(reader.as_fd(), &mut [0; 100]).unwrap(), 100);
        drop(writer);
        while read_now(reader.as_fd(), &mut [0; 100_000]).unwrap() > 0 {}
    }

    #[test]
    fn a_closed_over_descriptor_gives_ebadf_and_hangs_up() {
        let (reader, writer) = pipe().unwrap();
        close_over(writer.as_fd(), closed().unwrap().as_fd()).unwrap();
        assert_eq!(read(reader.as_fd(), &mut [0]).unwrap(), 0);
        let error = write(writer.as_fd(), b"a").unwrap_err();
        assert_eq!(error.raw_os_error(), bad_descriptor().raw_os_error());
    }

    #[test]
    fn bytes_go_through_in_slices() {
        let (reader, writer) = pipe().unwrap();
        assert_eq!(write_vectored(writer.as_fd(), &[IoSlice::new(b"abc"), IoSlice::new(b"de")]).unwrap(), 5);
        let (mut one, mut other) = ([0; 2], [0; 9]);
        let slices = &mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
        assert_eq!(read_vectored(reader.as_fd(), slices).unwrap(), 5);
        assert_eq!((&one, &other[..3]), (b"ab", &b"cde"[..]));
    }
}
