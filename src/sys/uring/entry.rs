//! Operations that the kernel does as a whole, as data.

use std::cell::Cell;
use std::ffi::CString;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use super::super::socket::Address;
use super::abi::{self, Submission};
use super::provided::{self, Provided};

/// The most that one read or write moves.
const LONGEST: usize = 1 << 30;
/// The most that one send copies.
const LONGEST_COPY: usize = 1 << 16;

/// One operation, and the memory that it needs, which is its own: that of a caller may be freed while the caller is parked, if
/// it is a thread-local variable's and the OS thread ends. Making one does nothing.
#[derive(Debug)]
pub(crate) struct Entry<'fd> {
    pub(super) submission: Submission,
    memory: Memory,
    fd: PhantomData<BorrowedFd<'fd>>,
}

/// What the kernel reads or writes: in the heap, so that it stays where it is when the entry is moved.
#[derive(Debug)]
enum Memory {
    None,
    Bytes(Vec<u8>),
    Path(#[expect(dead_code, reason = "the kernel reads it")] CString),
    Address(Rc<Cell<Address>>),
}

/// What an operation gave.
#[derive(Debug)]
pub(crate) enum Done {
    /// How many bytes were moved, 0 where none are.
    Count(usize),
    Opened(OwnedFd),
    Received(Provided),
}

impl<'fd> Entry<'fd> {
    /// pread(2) into `bytes`, all behind the first `from`, or at the file's own position read(2). That is moved, and two at once
    /// may read the same.
    pub(crate) fn read(fd: BorrowedFd<'fd>, bytes: Vec<u8>, from: usize, offset: Option<u64>) -> Entry<'fd> {
        Entry::transfer(abi::READ, fd, bytes, from, offset)
    }

    /// pwrite(2), or at the file's own position write(2). That is moved, and two at once may write over each other.
    pub(crate) fn write(fd: BorrowedFd<'fd>, bytes: Vec<u8>, offset: Option<u64>) -> Entry<'fd> {
        Entry::transfer(abi::WRITE, fd, bytes, 0, offset)
    }

    fn transfer(
        operation: u8,
        fd: BorrowedFd<'fd>,
        mut bytes: Vec<u8>,
        from: usize,
        offset: Option<u64>,
    ) -> Entry<'fd> {
        let part = &mut bytes[from..];
        let submission = Submission {
            operation,
            fd: fd.as_raw_fd(),
            offset: offset.unwrap_or(abi::AT_POSITION),
            address: part.as_mut_ptr().expose_provenance() as u64,
            length: part.len().min(LONGEST) as u32,
            ..Submission::default()
        };
        Entry { submission, memory: Memory::Bytes(bytes), fd: PhantomData }
    }

    /// fsync(2), or for the contents alone fdatasync(2).
    pub(crate) fn synchronize(fd: BorrowedFd<'fd>, contents_alone: bool) -> Entry<'fd> {
        let submission = Submission {
            operation: abi::SYNCHRONIZE,
            fd: fd.as_raw_fd(),
            options: if contents_alone { abi::DATA_ALONE } else { 0 },
            ..Submission::default()
        };
        Entry { submission, memory: Memory::None, fd: PhantomData }
    }

    /// open(2), in nonblocking mode: the kernel's threads are few, and one that waits for somebody keeps out reads and writes.
    pub(crate) fn open(path: CString, flags: i32, mode: u32) -> Entry<'fd> {
        debug_assert!(flags & libc::O_NONBLOCK != 0);
        let submission = Submission {
            operation: abi::OPEN,
            fd: libc::AT_FDCWD,
            address: path.as_ptr().expose_provenance() as u64,
            length: mode,
            options: flags as u32,
            ..Submission::default()
        };
        Entry { submission, memory: Memory::Path(path), fd: PhantomData }
    }

    /// recv(2), of `most` bytes, from a socket that had nothing just now. ENOBUFS if too much is received at once for all to be told.
    #[inline]
    pub(crate) fn receive(fd: BorrowedFd<'fd>, most: usize) -> Entry<'fd> {
        let submission = Submission {
            operation: abi::RECEIVE,
            flags: abi::TAKE_BUFFER,
            priority: abi::WAIT_FIRST,
            fd: fd.as_raw_fd(),
            length: most.min(provided::LENGTH) as u32,
            ..Submission::default()
        };
        Entry { submission, memory: Memory::None, fd: PhantomData }
    }

    /// send(2), of the beginning of `bytes`, to a stream that had no room just now.
    pub(crate) fn send(fd: BorrowedFd<'fd>, bytes: &[u8]) -> Entry<'fd> {
        let bytes = bytes[..bytes.len().min(LONGEST_COPY)].to_vec();
        let submission = Submission {
            operation: abi::SEND,
            priority: abi::WAIT_FIRST,
            fd: fd.as_raw_fd(),
            address: bytes.as_ptr().expose_provenance() as u64,
            length: bytes.len() as u32,
            options: libc::MSG_NOSIGNAL as u32,
            ..Submission::default()
        };
        Entry { submission, memory: Memory::Bytes(bytes), fd: PhantomData }
    }

    /// accept4(2). The address is the entry's in the end.
    pub(crate) fn accept(fd: BorrowedFd<'fd>) -> Entry<'fd> {
        let address = Rc::new(Cell::new(Address::room()));
        let (form, length) = Address::parts(&address);
        let submission = Submission {
            operation: abi::ACCEPT,
            fd: fd.as_raw_fd(),
            offset: length.expose_provenance() as u64,
            address: form.expose_provenance() as u64,
            options: libc::SOCK_CLOEXEC as u32,
            ..Submission::default()
        };
        Entry { submission, memory: Memory::Address(address), fd: PhantomData }
    }

    /// connect(2), of a stream of IP that does not connect yet.
    pub(crate) fn connect(fd: BorrowedFd<'fd>, address: Address) -> Entry<'fd> {
        let address = Rc::new(Cell::new(address));
        let (form, _) = Address::parts(&address);
        let submission = Submission {
            operation: abi::CONNECT,
            fd: fd.as_raw_fd(),
            offset: u64::from(address.get().length()),
            address: form.expose_provenance() as u64,
            ..Submission::default()
        };
        Entry { submission, memory: Memory::Address(address), fd: PhantomData }
    }

    /// Whether it makes a descriptor.
    pub(super) fn opens(&self) -> bool {
        matches!(self.submission.operation, abi::OPEN | abi::ACCEPT)
    }

    /// Whether it uses a buffer of the ring's.
    #[inline]
    pub(crate) fn takes_buffer(&self) -> bool {
        self.submission.flags & abi::TAKE_BUFFER != 0
    }

    /// The bytes that were read or written; none for another operation.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self.memory {
            Memory::Bytes(bytes) => bytes,
            _ => Vec::new(),
        }
    }

    /// How many bytes it moves at most.
    #[inline]
    pub(crate) fn length(&self) -> usize {
        self.submission.length as usize
    }

    /// Whom a connection is from.
    pub(crate) fn into_address(self) -> Address {
        match self.memory {
            Memory::Address(address) => address.get(),
            _ => Address::default(),
        }
    }
}

impl Done {
    /// From an answer of the kernel's to an operation that makes a descriptor, or does not, or used a buffer.
    pub(super) fn new(result: i32, opens: bool, provided: Option<Provided>) -> io::Result<Done> {
        match usize::try_from(result) {
            // SAFETY: the kernel has just made it for this operation, and nothing else owns it.
            Ok(_) if opens => Ok(Done::Opened(unsafe { OwnedFd::from_raw_fd(result) })),
            Ok(count) => Ok(provided.map_or(Done::Count(count), Done::Received)),
            // Not meant for programs: a system call would be made again, or say EINTR.
            Err(_) if abi::RESTART.contains(&-result) => Err(io::Error::from_raw_os_error(libc::EINTR)),
            Err(_) => Err(io::Error::from_raw_os_error(-result)),
        }
    }

    /// How many bytes were moved.
    pub(crate) fn count(self) -> usize {
        match self {
            Done::Count(count) => count,
            Done::Received(bytes) => bytes.len(),
            Done::Opened(_) => 0,
        }
    }

    /// Copies what was received, and tells how much that was.
    #[inline]
    pub(crate) fn received(self, buffer: &mut [u8]) -> usize {
        match self {
            Done::Received(bytes) => {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                bytes.len()
            }
            // The end: that uses no buffer.
            other => other.count(),
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
            _ => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }
}
