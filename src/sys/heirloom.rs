//! Descriptors that the child of a fork gives up, but for those that are handed to it.
//!
//! A descriptor that is inherited by accident keeps a peer waiting for an end that does not come. No exec closes it here, so the
//! library keeps a list of its own that matter to other processes.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::descriptor;
use super::lock::Lock;

/// All that are open in this process, by their names.
static ALL: Lock<BTreeMap<u64, Weak<Inner>>> = Lock::new(BTreeMap::new());

static NEXT: AtomicU64 = AtomicU64::new(0);

/// What an abandoned one has in place of its number: more than the kernel ever gives, so that each call on it says EBADF.
const NOWHERE: RawFd = RawFd::MAX;

/// A descriptor on that list.
#[derive(Debug)]
pub(crate) struct Heirloom(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: u64,
    /// Changed in the child of a fork alone.
    number: AtomicI32,
}

impl Heirloom {
    pub(crate) fn new(fd: OwnedFd) -> Heirloom {
        // Relaxed: a number that nobody else gets is all that is asked for.
        let name = NEXT.fetch_add(1, Ordering::Relaxed);
        let inner = Arc::new(Inner { name, number: AtomicI32::new(fd.into_raw_fd()) });
        ALL.lock().insert(name, Arc::downgrade(&inner));
        Heirloom(inner)
    }

    /// What it is called here and in the child of a fork.
    pub(crate) fn name(&self) -> u64 {
        self.0.name
    }

    /// Whether this process was not given it when it was forked.
    pub(crate) fn is_abandoned(&self) -> bool {
        // Relaxed: it changes while there is one OS thread.
        self.0.number.load(Ordering::Relaxed) == NOWHERE
    }
}

impl AsFd for Heirloom {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // Relaxed: it changes while there is one OS thread.
        let number = self.0.number.load(Ordering::Relaxed);
        // SAFETY: `Inner` owns the descriptor until it is dropped, and `abandon_others` closes it when nobody borrows it; the number
        // that is put in its place is nobody's, ever, and not -1.
        unsafe { BorrowedFd::borrow_raw(number) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        ALL.lock().remove(&self.name);
        // Relaxed: nobody else has it any more.
        close(self.number.load(Ordering::Relaxed));
    }
}

fn close(number: RawFd) {
    if number != NOWHERE {
        // SAFETY: the caller owns it, and gives it up.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
}

/// What those are called that name the same file as `fd`.
pub(crate) fn names_of(fd: BorrowedFd<'_>) -> Vec<u64> {
    // Dropped without the lock: the last one takes it.
    let all: Vec<Heirloom> = ALL.lock().values().filter_map(Weak::upgrade).map(Heirloom).collect();
    all.iter().filter(|one| descriptor::is_same_file(one.as_fd(), fd)).map(Heirloom::name).collect()
}

/// Closes all but those of these names.
///
/// # Safety
///
/// Nobody borrows one that is closed, nor ever will who has asked for its number before: called in the child of a fork, on its one OS
/// thread, before anything runs there that was not made for the child.
pub(crate) unsafe fn abandon_others(kept: &[u64]) {
    let kept: HashSet<&u64> = kept.iter().collect();
    let others: Vec<Arc<Inner>> = {
        let all = ALL.lock();
        all.iter().filter(|(name, _)| !kept.contains(name)).filter_map(|(_, inner)| inner.upgrade()).collect()
    };
    for inner in others {
        // Relaxed: there is one OS thread.
        close(inner.number.swap(NOWHERE, Ordering::Relaxed));
    }
}

/// Held over a fork.
pub(crate) fn hold_lock() {
    ALL.hold();
}

/// Ends [`hold_lock`].
///
/// # Safety
///
/// The caller has called that; in the child of a fork, before the fork.
pub(crate) unsafe fn release_lock() {
    // SAFETY: the caller's promise.
    unsafe { ALL.release() };
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::sys::descriptor::{is_bad_descriptor, pipe, write};

    #[test]
    fn an_abandoned_one_is_nobodys() {
        let (_reader, writer) = pipe().unwrap();
        let writer = Heirloom::new(writer);
        assert_eq!(write(writer.as_fd(), b"a").unwrap(), 1);
        // As the child does, but for this one alone.
        close(writer.0.number.swap(NOWHERE, Ordering::Relaxed));
        assert!(writer.is_abandoned());
        let error: io::Error = write(writer.as_fd(), b"a").unwrap_err();
        assert!(is_bad_descriptor(&error));
    }
}
