//! Memory that processes share.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::sys::descriptor;
use crate::sys::mapping::{self, Mapping};

/// Memory that several processes share: bytes, all zero at first. This is Python's `SharedMemory`, without a name.
///
/// Clones are the same memory, and so is what a child has after a fork. To hand it over to another process, send its descriptor, from which
/// [`from_descriptor`](Memory::from_descriptor) makes the same memory there. It goes when the last process that has it ends or drops it.
///
/// Reads and writes take a word of eight bytes at a time. A number that lies within such a word is always whole; of what is longer a part
/// may be from before another's write, unless all take a [`Lock`](super::Lock).
///
/// # Examples
///
/// ```
/// use greenloop::processes::shared::Memory;
///
/// let memory = Memory::new(1000)?;
/// assert_eq!(memory.len() % 4096, 0); // whole pages
/// memory.write_at(10, b"hello")?;
/// let mut bytes = [0; 7];
/// memory.clone().read_at(9, &mut bytes)?;
/// assert_eq!(&bytes, b"\0hello\0");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias("SharedMemory", "mmap", "memfd_create"))]
pub struct Memory {
    shared: Arc<File>,
}

struct File {
    mapping: Mapping,
    descriptor: OwnedFd,
}

impl Memory {
    /// Makes memory for `length` bytes at least: whole pages. Does not yield. It takes room only where it is written.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a length of zero, or beyond what there can be. That no descriptor is left, or no address space.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::shared::Memory;
    ///
    /// assert!(Memory::new(1)?.len() >= 4096);
    /// assert!(Memory::new(0).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(length: usize) -> io::Result<Memory> {
        let length = mapping::in_pages(length).filter(|length| *length > 0).ok_or_else(invalid)?;
        let descriptor = mapping::create(length)?;
        Memory::of(descriptor, length)
    }

    /// Makes the same memory from its descriptor, which has come from another process. Does not yield.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is no such memory: somebody could make it smaller, or it has no whole pages. Those of mmap(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::shared::Memory;
    /// use std::os::fd::AsFd;
    ///
    /// let memory = Memory::new(1)?;
    /// let same = Memory::from_descriptor(memory.as_fd().try_clone_to_owned()?)?;
    /// same.write_at(0, b"x")?;
    /// let mut byte = [0];
    /// memory.read_at(0, &mut byte)?;
    /// assert_eq!(&byte, b"x");
    /// assert!(Memory::from_descriptor(std::fs::File::open("/proc/self/exe")?.into()).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn from_descriptor(descriptor: OwnedFd) -> io::Result<Memory> {
        let length = usize::try_from(descriptor::size(descriptor.as_fd())).map_err(|_| invalid())?;
        let is_whole = length > 0 && mapping::in_pages(length) == Some(length);
        if !is_whole || !mapping::keeps_its_size(descriptor.as_fd()) {
            return Err(invalid());
        }
        Memory::of(descriptor, length)
    }

    fn of(descriptor: OwnedFd, length: usize) -> io::Result<Memory> {
        let mapping = Mapping::new(descriptor.as_fd(), length)?;
        Ok(Memory { shared: Arc::new(File { mapping, descriptor }) })
    }

    /// Returns the number of bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::shared::Memory;
    ///
    /// assert!(Memory::new(100_000)?.len() >= 100_000);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "size")]
    #[expect(clippy::len_without_is_empty, reason = "there is no empty memory")]
    pub fn len(&self) -> usize {
        self.shared.mapping.len()
    }

    /// Fills `buffer` with the bytes from `offset` on. Does not yield.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there are not so many. Then nothing has been read.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::shared::Memory;
    ///
    /// let memory = Memory::new(1)?;
    /// assert!(memory.read_at(memory.len() - 1, &mut [0]).is_ok());
    /// assert!(memory.read_at(memory.len(), &mut [0]).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_at(&self, offset: usize, buffer: &mut [u8]) -> io::Result<()> {
        self.check(offset, buffer.len())?;
        self.shared.mapping.read(offset, buffer);
        Ok(())
    }

    /// Writes `bytes` from `offset` on. Does not yield.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is no room for so many. Then nothing has been written.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::shared::Memory;
    ///
    /// let memory = Memory::new(1)?;
    /// assert!(memory.write_at(memory.len() - 1, b"ab").is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_at(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.check(offset, bytes.len())?;
        self.shared.mapping.write(offset, bytes);
        Ok(())
    }

    fn check(&self, offset: usize, length: usize) -> io::Result<()> {
        let is_inside = offset.checked_add(length).is_some_and(|end| end <= self.len());
        if is_inside { Ok(()) } else { Err(invalid()) }
    }

    /// The words of it, for who lays something out in them.
    #[inline]
    pub(in crate::processes) fn words(&self) -> &[AtomicU64] {
        self.shared.mapping.words()
    }
}

pub(super) fn invalid() -> io::Error {
    io::ErrorKind::InvalidInput.into()
}

/// The descriptor, to be sent to another process.
impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.descriptor.as_fd()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Memory").field("len", &self.len()).finish_non_exhaustive()
    }
}
