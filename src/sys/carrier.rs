//! Memory in which travels what no packet has room for, again and again.
//!
//! New memory takes longer than a copy: a page at a time has to be found, and given back. So who sends keeps it, and uses it for the next
//! message once the reader has said in it that it is done. The reader copies what is there, and nothing in this process refers to it: whatever
//! others write to it meanwhile is at worst another message.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::heirloom::Heirloom;
use super::{SystemCall, descriptor, memory, original, uninterrupted};

/// So that nobody can have a reader find less than it was told of.
const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;
/// Where the contents begin: at a page of most systems.
const HEAD: u64 = 4096;
/// What is at the beginning: whether somebody is to read it yet.
const FREE: &[u8] = &[0];
const ON_THE_WAY: &[u8] = &[1];
/// Lengths are rounded up to this, for the next message may be a bit longer.
const STEP: usize = 64 * 1024;
/// How much is kept in this process, in bytes.
const KEPT_AT_MOST: usize = 64 << 20;

static KEPT: AtomicUsize = AtomicUsize::new(0);

/// Such memory, a file without a name.
#[derive(Debug)]
pub(crate) struct Carrier {
    file: Heirloom,
    capacity: usize,
    /// The process that writes to it. The child of a fork may have it too.
    owner: u32,
}

impl Carrier {
    /// # Errors
    ///
    /// No descriptor or no memory is left.
    pub(crate) fn new(length: usize) -> io::Result<Carrier> {
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"greenloop-message".as_ptr(), flags) }.check()?;
        // SAFETY: the kernel has just made `fd`, and nothing else owns it.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        let capacity = length.checked_next_multiple_of(STEP).ok_or(io::ErrorKind::OutOfMemory)?;
        let size =
            libc::off64_t::try_from(capacity).ok().and_then(|size| size.checked_add(HEAD as libc::off64_t));
        // SAFETY: takes no pointers.
        unsafe { libc::ftruncate64(fd, size.ok_or(io::ErrorKind::OutOfMemory)?) }.check()?;
        let seals = ptr::without_provenance_mut::<libc::c_void>((SEALS | libc::F_SEAL_SEAL) as usize);
        // SAFETY: takes no pointers, but a number in the place of one.
        unsafe { original::fcntl(fd, libc::F_ADD_SEALS, seals) }.check()?;
        Ok(Carrier { file: Heirloom::new(file), capacity, owner: std::process::id() })
    }

    /// Whether a message of that length may be written to it.
    pub(crate) fn is_free_for(&self, length: usize) -> bool {
        let mut state = [1];
        self.owner == std::process::id()
            && length <= self.capacity
            && descriptor::read_at(self.as_fd(), &mut state, 0).is_ok_and(|count| count == 1)
            && state == FREE
    }

    /// Writes a message, which is on its way from here on.
    ///
    /// # Errors
    ///
    /// No memory is left.
    pub(crate) fn fill<'a>(&self, message: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        write_all(self.as_fd(), ON_THE_WAY, 0)?;
        let mut place = HEAD;
        for piece in message {
            write_all(self.as_fd(), piece, place)?;
            place += piece.len() as u64;
        }
        Ok(())
    }

    /// It has not been sent.
    pub(crate) fn take_back(&self) -> io::Result<()> {
        write_all(self.as_fd(), FREE, 0)
    }

    /// Keeps it for the next message, if not too much is kept.
    pub(crate) fn keep(self) -> Option<Kept> {
        let add = |kept: usize| kept.checked_add(self.capacity).filter(|sum| *sum <= KEPT_AT_MOST);
        // Relaxed: it counts, and orders nothing.
        let is_counted = KEPT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok();
        is_counted.then(|| Kept(self))
    }
}

impl AsFd for Carrier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// One that counts among those that are kept. What the parent of a fork has kept counts in the child too.
#[derive(Debug)]
pub(crate) struct Kept(Carrier);

impl Deref for Kept {
    type Target = Carrier;

    fn deref(&self) -> &Carrier {
        &self.0
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Relaxed: as above.
        KEPT.fetch_sub(self.0.capacity, Ordering::Relaxed);
    }
}

/// A message of another process that is to be read, maybe piece by piece. Dropped, it says there that it is done.
#[derive(Debug)]
pub(crate) struct Source {
    file: OwnedFd,
    length: usize,
}

impl Source {
    /// # Errors
    ///
    /// `InvalidData` if there is no message of such a length. `OutOfMemory`.
    pub(crate) fn new(file: OwnedFd, length: u64) -> io::Result<Source> {
        // Somebody may tell of a length that is not there, but nobody can have it read without having as much memory.
        let is_whole = || {
            let end = length.saturating_add(HEAD);
            descriptor::size(file.as_fd()) >= end && descriptor::room(file.as_fd()) >= length
        };
        if length == 0 || !is_sealed(file.as_fd()) || !is_whole() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        Ok(Source { file, length })
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Reads so many bytes from that place on.
    pub(crate) fn append_to(&self, bytes: &mut Vec<u8>, place: usize, count: usize) -> io::Result<()> {
        memory::make_room(bytes, count)?;
        let mut done = 0;
        while done < count {
            let room = &mut bytes.spare_capacity_mut()[..count - done];
            let offset = HEAD + (place + done) as u64;
            let read = uninterrupted(|| descriptor::read_at_into(self.file.as_fd(), room, offset))?;
            if read == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            // SAFETY: the call has written so many bytes behind those that are there, within the capacity.
            unsafe { bytes.set_len(bytes.len() + read) };
            done += read;
        }
        Ok(())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // If it cannot be told, its owner takes other memory next time.
        let _ = write_all(self.file.as_fd(), FREE, 0);
    }
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = uninterrupted(|| descriptor::write_at(file, bytes, offset))?;
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

/// Whether a file is one in memory that stays as long as it is.
fn is_sealed(file: BorrowedFd<'_>) -> bool {
    let nothing = ptr::null_mut::<libc::c_void>();
    // SAFETY: takes no pointers.
    let seals = unsafe { original::fcntl(file.as_raw_fd(), libc::F_GET_SEALS, nothing) }.check();
    seals.is_ok_and(|seals| seals & SEALS == SEALS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: BorrowedFd<'_>, length: u64) -> io::Result<Vec<u8>> {
        let source = Source::new(file.try_clone_to_owned()?, length)?;
        let mut message = Vec::new();
        source.append_to(&mut message, 0, 1)?;
        source.append_to(&mut message, 1, source.length() - 1).map(|()| message)
    }

    #[test]
    fn it_is_free_again_when_it_has_been_read() {
        let carrier = Carrier::new(8).unwrap();
        assert!(carrier.is_free_for(STEP) && !carrier.is_free_for(STEP + 1));
        for (message, whole) in
            [([&b"con"[..], b"", b"tents"], &b"contents"[..]), ([b"", b"m", b"ore"], b"more")]
        {
            carrier.fill(message.into_iter()).unwrap();
            assert!(!carrier.is_free_for(1));
            assert_eq!(read(carrier.as_fd(), whole.len() as u64).unwrap(), whole);
            assert!(carrier.is_free_for(1));
        }
        carrier.fill([&b"unsent"[..]].into_iter()).unwrap();
        carrier.take_back().unwrap();
        assert!(carrier.is_free_for(6));
        let of_another = Carrier { owner: 0, ..carrier };
        assert!(!of_another.is_free_for(6));
    }

    #[test]
    fn nothing_is_read_that_is_not_there() {
        let carrier = Carrier::new(8).unwrap();
        carrier.fill([&[7; 10][..]].into_iter()).unwrap();
        let kind = |file: BorrowedFd<'_>, length| read(file, length).unwrap_err().kind();
        for length in [0, 1 << 20, u64::MAX] {
            assert_eq!(kind(carrier.as_fd(), length), io::ErrorKind::InvalidData, "{length}");
        }
        // A hole is no memory.
        assert_eq!(kind(Carrier::new(STEP).unwrap().as_fd(), STEP as u64), io::ErrorKind::InvalidData);
        let (left, _right) = super::super::packet::pair().unwrap();
        assert_eq!(kind(left.as_fd(), 1), io::ErrorKind::InvalidData);
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(kind(file.as_fd(), 4096), io::ErrorKind::InvalidData);
    }

    #[test]
    fn so_much_is_kept_and_no_more() {
        let keep = |length| Carrier::new(length).unwrap().keep();
        assert!(keep(KEPT_AT_MOST + 1).is_none());
        let half = keep(KEPT_AT_MOST / 2);
        assert!(half.is_some() && keep(KEPT_AT_MOST / 2 + 1).is_none());
        drop(half);
        assert!(keep(KEPT_AT_MOST / 2 + 1).is_some());
    }
}
