//! The sets of descriptors of a `select`: as long as the highest number says, whatever the type `fd_set` holds.

use std::os::fd::RawFd;

use libc::{c_int, fd_set};

use crate::sys::original;

/// The unit in which the kernel reads and writes them.
type Word = libc::c_ulong;

pub(super) const BITS: usize = Word::BITS as usize;

/// What the type `fd_set` holds.
pub(super) const FD_SETSIZE: c_int = libc::FD_SETSIZE as c_int;

const FEW: usize = FD_SETSIZE as usize / BITS;

/// A set, copied; without an allocation where it is no longer than usual, since `select` may be called by the handler of a signal.
pub(super) enum Words {
    Few([Word; FEW], usize),
    Many(Vec<Word>),
}

impl Words {
    /// # Safety
    ///
    /// `set` must be valid for reads of so many words.
    pub(super) unsafe fn copied(set: *const fd_set, words: usize) -> Words {
        // SAFETY: the caller's contract; a set is aligned for its words.
        let given = unsafe { std::slice::from_raw_parts(set.cast::<Word>(), words) };
        let mut few = [0; FEW];
        match few.get_mut(..words) {
            Some(place) => {
                place.copy_from_slice(given);
                Words::Few(few, words)
            }
            None => Words::Many(given.to_vec()),
        }
    }

    pub(super) fn as_slice(&self) -> &[Word] {
        match self {
            Words::Few(words, count) => &words[..*count],
            Words::Many(words) => words,
        }
    }

    /// # Safety
    ///
    /// `set` must be valid for writes of as many words.
    pub(super) unsafe fn write_to(&self, set: *mut fd_set) {
        let words = self.as_slice();
        // SAFETY: the caller's contract; this copy is nobody else's.
        unsafe { set.cast::<Word>().copy_from_nonoverlapping(words.as_ptr(), words.len()) };
    }

    /// How many descriptors it has room for.
    pub(super) fn room(&self) -> c_int {
        c_int::try_from(self.as_slice().len() * BITS).unwrap_or(c_int::MAX)
    }

    /// Adds `fd`, for which it has room.
    pub(super) fn insert(&mut self, fd: RawFd) {
        let words = match self {
            Words::Few(words, count) => &mut words[..*count],
            Words::Many(words) => words,
        };
        words[fd as usize / BITS] |= 1 << (fd as usize % BITS);
    }

    pub(super) fn contains(&self, fd: RawFd) -> bool {
        let fd = fd as usize;
        self.as_slice().get(fd / BITS).is_some_and(|word| word >> (fd % BITS) & 1 == 1)
    }
}

/// For how many descriptors the process's table has room now, which is as far as the kernel looks into a set.
pub(super) fn size_of_table() -> Option<c_int> {
    // SAFETY: a C string.
    let fd = unsafe { original::open(c"/proc/self/status".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC, 0) };
    if fd == -1 {
        return None;
    }
    let mut text = [0; 4096];
    // SAFETY: as many bytes are valid for writes.
    let length = unsafe { original::read(fd, text.as_mut_ptr().cast(), text.len()) };
    // SAFETY: it was made above, and nobody else has it.
    unsafe { original::close(fd) };
    let text = str::from_utf8(&text[..usize::try_from(length).ok()?]).ok()?;
    text.lines().find_map(|line| line.strip_prefix("FDSize:"))?.trim().parse().ok()
}
