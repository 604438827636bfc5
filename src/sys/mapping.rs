//! Memory that processes have in common: a file without a name, mapped by each of them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

use super::memory::page_size;
use super::{SystemCall, original};

/// Bytes in a word, by which everything is read and written: a part of a word is, too, so that no two accesses differ in size.
const WORD: usize = size_of::<AtomicU64>();

/// Makes a file of so many bytes, all zero, which has no name, takes no room until it is written, and keeps its size.
pub(crate) fn create(length: usize) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"greenloop".as_ptr(), flags) }.check()?;
    // SAFETY: the kernel has just made `fd`, and nothing else owns it.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    let length = libc::off64_t::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: takes no pointers.
    unsafe { libc::ftruncate64(file.as_raw_fd(), length) }.check()?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    let seals = ptr::without_provenance_mut::<libc::c_void>(seals as usize);
    // SAFETY: takes no pointers, but a number in the place of one.
    unsafe { original::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) }.check()?;
    Ok(file)
}

/// Whether nobody can make the file smaller, which would make each touch of what is lost a fault.
pub(crate) fn keeps_its_size(fd: BorrowedFd<'_>) -> bool {
    let nothing = ptr::null_mut::<libc::c_void>();
    // SAFETY: takes no pointers.
    let seals = unsafe { original::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS, nothing) }.check();
    seals.is_ok_and(|seals| seals & libc::F_SEAL_SHRINK != 0)
}

/// The least number of bytes in whole pages that is no less than `length`.
pub(crate) fn in_pages(length: usize) -> Option<usize> {
    length.checked_next_multiple_of(page_size())
}

/// A file in the memory of this process. Other processes may change it at any moment, so it is words that are read and written whole.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<AtomicU64>,
    length: usize,
}

// SAFETY: the words are atomic, and stay mapped until the drop, which is by the last owner.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `length` bytes of a file that has them: whole pages, of a file that keeps its size.
    pub(crate) fn new(fd: BorrowedFd<'_>, length: usize) -> io::Result<Mapping> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: without MAP_FIXED the kernel chooses a place that is free, so no memory in use is touched.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), length, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, length })
    }

    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// All of it.
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped by `new`, aligned to a page, for so many bytes, until the drop; all zero or written as words, each of which is
        // a valid value; everybody has them as atomics.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length / WORD) }
    }

    /// Copies bytes out, from `offset` on; a word at a time.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub(crate) fn read(&self, offset: usize, into: &mut [u8]) {
        self.by_words(offset, into.len(), |word, first, range| {
            // Relaxed: who wants an order has a lock.
            let bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            let length = range.len();
            into[range].copy_from_slice(&bytes[first..first + length]);
        });
    }

    /// Copies bytes in, from `offset` on; a word at a time.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub(crate) fn write(&self, offset: usize, from: &[u8]) {
        self.by_words(offset, from.len(), |word, first, range| {
            let part = &from[range];
            if let Ok(whole) = part.try_into() {
                // Relaxed: who wants an order has a lock.
                return word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
            }
            let with_part = |value: u64| {
                let mut bytes = value.to_ne_bytes();
                bytes[first..first + part.len()].copy_from_slice(part);
                Some(u64::from_ne_bytes(bytes))
            };
            // Relaxed: as above. What others write beside it stays.
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_part);
        });
    }

    /// Hands out each word that has some of the bytes: which is the first there, and which they are of all.
    fn by_words(
        &self,
        offset: usize,
        length: usize,
        mut each: impl FnMut(&AtomicU64, usize, std::ops::Range<usize>),
    ) {
        let mut done = 0;
        while done < length {
            let at = offset + done;
            let first = at % WORD;
            let count = (WORD - first).min(length - done);
            each(&self.words()[at / WORD], first, done..done + count);
            done += count;
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: a mapping of its own, which nobody borrows any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn bytes_come_back_at_any_offset_and_their_neighbours_stay() {
        let length = in_pages(1).unwrap();
        let file = create(length).unwrap();
        assert!(keeps_its_size(file.as_fd()));
        let one = Mapping::new(file.as_fd(), length).unwrap();
        let other = Mapping::new(file.as_fd(), length).unwrap();
        one.write(0, &[0xFF; 64]);
        for offset in 0..16 {
            for length in 0..32 {
                let bytes: Vec<u8> = (0..length).collect();
                one.write(offset, &bytes);
                let mut back = vec![0; bytes.len()];
                other.read(offset, &mut back);
                assert_eq!(back, bytes);
                let mut after = [0];
                other.read(offset + bytes.len(), &mut after);
                assert_eq!(after, [0xFF]);
                one.write(0, &[0xFF; 64]);
            }
        }
    }

    #[test]
    fn a_file_of_its_own_accord_does_not_keep_its_size() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(!keeps_its_size(file.as_fd()));
    }
}
