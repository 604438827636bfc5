//! Whether a hub must be woken by ringing: the flags of its door.

use crate::sys::atomic::{AtomicBool, Ordering};

/// Told by who leaves letters, asked by the hub before it sleeps. Neither may miss the other.
///
/// Both change `sleeping` by swaps only, which happen one after another. If the hub's comes first, the other one sees that it
/// sleeps, and rings. If it comes second, it reads what the other one has written there, and so sees what that one did before:
/// that there are letters. AcqRel is enough for that, and for `pending` likewise.
#[derive(Debug)]
pub(crate) struct Doorbell {
    /// Whether there are letters.
    pending: AtomicBool,
    /// Whether the hub sleeps, or is about to, and nobody has rung yet.
    sleeping: AtomicBool,
}

impl Doorbell {
    pub(crate) fn new() -> Doorbell {
        Doorbell { pending: AtomicBool::new(false), sleeping: AtomicBool::new(false) }
    }

    /// Called when a letter lies there. Whether to ring.
    #[inline]
    pub(crate) fn announce(&self) -> bool {
        // Release: the letter is there for who sees this.
        self.pending.store(true, Ordering::Release);
        self.sleeping.swap(false, Ordering::AcqRel)
    }

    /// Whether there are letters.
    #[inline]
    pub(crate) fn is_announced(&self) -> bool {
        // Acquire: pairs with the store in `announce`, so that the letters are there; those of a later one come later.
        self.pending.load(Ordering::Acquire)
    }

    /// Called before all letters are taken.
    pub(crate) fn answer(&self) {
        self.pending.swap(false, Ordering::AcqRel);
    }

    /// Called by the hub before it sleeps: from now on a letter rings. `false` if there is one already.
    pub(crate) fn prepare_to_sleep(&self) -> bool {
        self.sleeping.swap(true, Ordering::AcqRel);
        if self.is_announced() {
            self.end_sleep();
            return false;
        }
        true
    }

    /// Whether the hub sleeps, and nobody has rung.
    pub(crate) fn is_asleep(&self) -> bool {
        // Acquire: pairs with the swaps: what the hub did before it slept is seen.
        self.sleeping.load(Ordering::Acquire) && !self.is_announced()
    }

    /// Called by the hub when it has slept. Who has seen it asleep may ring even after this.
    pub(crate) fn end_sleep(&self) {
        self.sleeping.swap(false, Ordering::AcqRel);
    }
}
