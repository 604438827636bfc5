//! Which signals a hub listens to, and which have come.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a door has to do with signals. Sets of signals are words, with signal 1 in the lowest bit.
#[derive(Debug)]
pub(super) struct Ear {
    /// Those that are listened to.
    pub(super) wanted: AtomicU64,
    /// Those that have come.
    pub(super) heard: AtomicU64,
}

impl Ear {
    pub(super) const fn new() -> Ear {
        Ear { wanted: AtomicU64::new(0), heard: AtomicU64::new(0) }
    }

    /// Those that have come since it was last asked.
    pub(super) fn take_heard(&self) -> u64 {
        self.heard.swap(0, Ordering::SeqCst)
    }

    /// Whether any signal is listened to.
    pub(super) fn listens(&self) -> bool {
        self.wanted.load(Ordering::SeqCst) != 0
    }

    /// Listens to nothing.
    pub(super) fn close(&self) {
        self.wanted.store(0, Ordering::SeqCst);
        self.heard.store(0, Ordering::SeqCst);
    }
}
