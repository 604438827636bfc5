//! Memory that nobody can change any more, for what no packet has room for.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;

use super::{SystemCall, descriptor, original, uninterrupted};

/// What nobody can take back.
const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

/// A file in memory that has no name, with these contents, which nobody can change any more.
pub(crate) fn create(contents: &[u8]) -> io::Result<OwnedFd> {
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
    let seals = ptr::without_provenance_mut::<libc::c_void>((SEALS | libc::F_SEAL_SEAL) as usize);
    // SAFETY: takes no pointers, but a number in the place of one.
    unsafe { original::fcntl(memory.as_raw_fd(), libc::F_ADD_SEALS, seals) }.check()?;
    Ok(memory)
}

/// The contents of such a file, where the kernel has them.
#[derive(Debug)]
pub(crate) struct Sealed {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: nobody writes to it, and it stays mapped until the drop, which is by the last owner.
unsafe impl Send for Sealed {}
// SAFETY: as above.
unsafe impl Sync for Sealed {}

impl Sealed {
    /// Maps such a file, which has to have so many bytes.
    ///
    /// # Errors
    ///
    /// `InvalidData` if it is another one. `OutOfMemory`.
    pub(crate) fn new(memory: BorrowedFd<'_>, length: u64) -> io::Result<Sealed> {
        // A part that has no room yet would have to be given some when it is read, and where there is none, that is a fault.
        // Seals come first, after which neither changes.
        let is_whole = || descriptor::size(memory) == length && descriptor::room(memory) >= length;
        if length == 0 || !is_sealed(memory) || !is_whole() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // Private, since kernels before 6.7 refuse what is sealed otherwise. All of it at once, since a fault for each page takes longer.
        let flags = libc::MAP_PRIVATE | libc::MAP_POPULATE;
        // SAFETY: without MAP_FIXED the kernel chooses a place that is free, so no memory in use is touched.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ, flags, memory.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Sealed { start, length })
    }
}

impl Deref for Sealed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: mapped by `new`, for so many bytes, until the drop; the file has as many, and keeps them, and what is in them, for ever:
        // that is what the seals say, and no mapping that can be written to outlives the sealing.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        // SAFETY: a mapping of its own, which nobody borrows any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// Whether a file is one in memory that nobody can change.
fn is_sealed(memory: BorrowedFd<'_>) -> bool {
    let nothing = ptr::null_mut::<libc::c_void>();
    // SAFETY: takes no pointers.
    let seals = unsafe { original::fcntl(memory.as_raw_fd(), libc::F_GET_SEALS, nothing) }.check();
    seals.is_ok_and(|seals| seals & SEALS == SEALS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_changes_what_is_sealed_and_nothing_else_is_mapped() {
        let memory = create(b"contents").unwrap();
        assert_eq!(&*Sealed::new(memory.as_fd(), 8).unwrap(), b"contents");
        assert_eq!(descriptor::write(memory.as_fd(), b"x").unwrap_err().raw_os_error(), Some(libc::EPERM));
        let kind = |memory: BorrowedFd<'_>, length| Sealed::new(memory, length).unwrap_err().kind();
        assert_eq!(kind(memory.as_fd(), 9), io::ErrorKind::InvalidData);
        assert_eq!(kind(create(b"").unwrap().as_fd(), 0), io::ErrorKind::InvalidData);
        let (left, _right) = super::super::packet::pair().unwrap();
        assert_eq!(kind(left.as_fd(), 0), io::ErrorKind::InvalidData);
        // It keeps its size, but others may write to it.
        let writable = super::super::mapping::create(4096).unwrap();
        descriptor::write(writable.as_fd(), &[1; 4096]).unwrap();
        assert_eq!(kind(writable.as_fd(), 4096), io::ErrorKind::InvalidData);
    }
}
