//! The mark that a panic, a kill or a time limit leaves when it unwinds through a guard.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, PoisonError};

use crate::hub::waiter::is_unwinding;

pub(super) struct Poison(AtomicBool);

/// What a guard remembers of the moment in which it was made: whether its green thread was unwinding already, for then
/// the end of the guard does not poison.
pub(super) struct Before {
    unwinding: bool,
}

impl Poison {
    pub(super) const fn new() -> Poison {
        Poison(AtomicBool::new(false))
    }

    #[inline]
    pub(super) fn is_set(&self) -> bool {
        // Relaxed: a hint; who must know it locks, and the locking orders.
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn clear(&self) {
        // Relaxed: as in `is_set`.
        self.0.store(false, Ordering::Relaxed);
    }

    /// `access` by one who has locked.
    #[inline]
    pub(super) fn wrap<A>(&self, access: A) -> LockResult<A> {
        if self.is_set() { Err(PoisonError::new(access)) } else { Ok(access) }
    }

    /// Called by a guard when it ends, before it unlocks.
    #[inline]
    pub(super) fn end(&self, before: &Before) {
        if !before.unwinding && is_unwinding() {
            // Relaxed: the unlock that follows publishes it.
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

impl Before {
    #[inline]
    pub(super) fn now() -> Before {
        Before { unwinding: is_unwinding() }
    }
}
