//! A descriptor in whose place another one can be put.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use super::original;

/// An owned descriptor that other code may have closed: then another one takes its place, for all who share it.
///
/// # Invariant
///
/// The number was an `OwnedFd`'s, and is closed by nobody else, but for code that closes what it does not own.
#[derive(Debug)]
pub(crate) struct Replaceable(AtomicI32);

impl Replaceable {
    pub(crate) fn new(fd: OwnedFd) -> Replaceable {
        Replaceable(AtomicI32::new(fd.into_raw_fd()))
    }

    /// Puts `fd` in the place of one that was lost. That is not closed: its number may be somebody else's by now.
    pub(crate) fn replace(&self, fd: OwnedFd) {
        self.0.store(fd.into_raw_fd(), Ordering::SeqCst);
    }
}

impl AsRawFd for Replaceable {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        // Relaxed: a number orders nothing; who reads the former one makes a call in vain.
        self.0.load(Ordering::Relaxed)
    }
}

impl AsFd for Replaceable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: by the invariant it is open while `self` lives, as far as this process keeps to who owns what; nothing here relies on
        // what it means.
        unsafe { BorrowedFd::borrow_raw(self.as_raw_fd()) }
    }
}

impl Drop for Replaceable {
    fn drop(&mut self) {
        // Not an `OwnedFd`'s drop, which aborts if the number was closed.
        // SAFETY: takes no pointers; by the invariant nobody else owns it.
        unsafe { original::close(*self.0.get_mut()) };
    }
}
