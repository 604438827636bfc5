//! Where a source is found without its lock: the reactor that came to know it last.

use crate::sys::atomic::{AtomicU64, Ordering};

/// No reactor has this id.
const NOBODY: u64 = 0;
/// Nor this one: stands for an id while it is replaced.
const MOVING: u64 = u64::MAX;

/// The id of one reactor of those that know a source, and the key there.
///
/// Only the thread of a reactor stores its id, and only it looks for that. Whoever finds his own id has read his own key before: he
/// cannot have read an older one than he stored himself, and not a newer one either, since who stores another key has put `MOVING` in
/// the id's place before. Who reads the key then (Acquire, of a store that is Release) reads that or something newer as the id.
#[derive(Debug)]
pub(crate) struct Home {
    reactor: AtomicU64,
    key: AtomicU64,
}

/// What a [`Home`] tells a reactor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// It does not know the source: nobody does, or nobody but others.
    Nothing,
    /// Its key.
    Key(u64),
    /// Another one came to know it later: what is known stands under the lock.
    Elsewhere,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home { reactor: AtomicU64::new(NOBODY), key: AtomicU64::new(0) }
    }

    /// Looks for the calling thread's reactor.
    #[inline]
    pub(crate) fn find(&self, reactor: u64) -> Found {
        // Acquire: pairs with the store in `settle`, see there.
        let key = self.key.load(Ordering::Acquire);
        // Relaxed: what was stored before `key` is seen already, and nothing else is read for it.
        match self.reactor.load(Ordering::Relaxed) {
            found if found == reactor => Found::Key(key),
            NOBODY => Found::Nothing,
            _ => Found::Elsewhere,
        }
    }

    /// The calling thread's reactor has come to know the source. Under a lock, so that one does it at a time.
    pub(crate) fn settle(&self, reactor: u64, key: u64) {
        // Relaxed: told by the next.
        self.reactor.store(MOVING, Ordering::Relaxed);
        // Release: who reads it sees that the id before it is not its own any more.
        self.key.store(key, Ordering::Release);
        // Relaxed: only the calling thread looks for it.
        self.reactor.store(reactor, Ordering::Relaxed);
    }
}
