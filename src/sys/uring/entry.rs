//! Operations that the kernel does as a whole, as data.

use std::ffi::CStr;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::abi::{self, Submission};

/// The most that one read or write moves.
const LONGEST: usize = 1 << 30;

/// One operation, and a borrow of all that it needs: making one does nothing.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(super) submission: Submission,
    /// Whether it makes a descriptor.
    pub(super) opens: bool,
    borrowed: PhantomData<&'a mut [u8]>,
}

/// What an operation gave.
#[derive(Debug)]
pub(crate) enum Done {
    /// How many bytes were moved, 0 where none are.
    Count(usize),
    Opened(OwnedFd),
}

impl<'a> Entry<'a> {
    fn new(submission: Submission) -> Entry<'a> {
        Entry { submission, opens: false, borrowed: PhantomData }
    }

    /// pread(2), or at the file's own position read(2). That is moved, and two at once may read the same.
    pub(crate) fn read(fd: BorrowedFd<'a>, buffer: &'a mut [u8], offset: Option<u64>) -> Entry<'a> {
        Entry::new(Submission {
            operation: abi::READ,
            fd: fd.as_raw_fd(),
            offset: offset.unwrap_or(abi::AT_POSITION),
            address: buffer.as_mut_ptr().expose_provenance() as u64,
            length: buffer.len().min(LONGEST) as u32,
            ..Submission::default()
        })
    }

    /// pwrite(2), or at the file's own position write(2). That is moved, and two at once may write over each other.
    pub(crate) fn write(fd: BorrowedFd<'a>, buffer: &'a [u8], offset: Option<u64>) -> Entry<'a> {
        Entry::new(Submission {
            operation: abi::WRITE,
            fd: fd.as_raw_fd(),
            offset: offset.unwrap_or(abi::AT_POSITION),
            address: buffer.as_ptr().expose_provenance() as u64,
            length: buffer.len().min(LONGEST) as u32,
            ..Submission::default()
        })
    }

    /// fsync(2), or for the contents alone fdatasync(2).
    pub(crate) fn synchronize(fd: BorrowedFd<'a>, contents_alone: bool) -> Entry<'a> {
        let options = if contents_alone { abi::DATA_ALONE } else { 0 };
        Entry::new(Submission {
            operation: abi::SYNCHRONIZE,
            fd: fd.as_raw_fd(),
            options,
            ..Submission::default()
        })
    }

    /// open(2).
    pub(crate) fn open(path: &'a CStr, flags: i32, mode: u32) -> Entry<'a> {
        let submission = Submission {
            operation: abi::OPEN,
            // Otherwise the kernel tries it with O_NONBLOCK first, and a named pipe opens without its other end, or not at all.
            flags: abi::ELSEWHERE,
            fd: libc::AT_FDCWD,
            address: path.as_ptr().expose_provenance() as u64,
            length: mode,
            options: flags as u32,
            ..Submission::default()
        };
        Entry { opens: true, ..Entry::new(submission) }
    }
}

impl Done {
    /// From an answer of the kernel's to an operation that makes a descriptor, or does not.
    pub(super) fn new(result: i32, opens: bool) -> io::Result<Done> {
        match usize::try_from(result) {
            // SAFETY: the kernel has just made it for this operation, and nothing else owns it.
            Ok(_) if opens => Ok(Done::Opened(unsafe { OwnedFd::from_raw_fd(result) })),
            Ok(count) => Ok(Done::Count(count)),
            // Not meant for programs: a system call would be made again, or say EINTR.
            Err(_) if abi::RESTART.contains(&-result) => Err(io::Error::from_raw_os_error(libc::EINTR)),
            Err(_) => Err(io::Error::from_raw_os_error(-result)),
        }
    }

    /// How many bytes were moved.
    pub(crate) fn count(self) -> usize {
        match self {
            Done::Count(count) => count,
            Done::Opened(_) => 0,
        }
    }

    /// The descriptor that was made.
    ///
    /// # Errors
    ///
    /// EBADF if none was.
    pub(crate) fn opened(self) -> io::Result<OwnedFd> {
        match self {
            Done::Opened(fd) => Ok(fd),
            Done::Count(_) => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }
}
