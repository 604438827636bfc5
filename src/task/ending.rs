//! Whether a green thread has ended, and how: in one word with whether anybody of other OS threads is to be told, so that an
//! end that nobody there follows takes no lock.

use crate::sys::atomic::{AtomicU8, Ordering, constant};

/// How a green thread ended.
pub(super) const RETURNED: u8 = 1;
pub(super) const KILLED: u8 = 2;
pub(super) const PANICKED: u8 = 3;
/// With its OS thread, parked: as if killed, but it has left no result.
pub(super) const LEAKED: u8 = 4;

const ALIVE: u8 = 0;
/// Added to any of those once somebody stands in the list of followers, for good.
const FOLLOWED: u8 = 1 << 7;

/// The end of a green thread, told once. What is written before is seen by who sees the end.
pub(super) struct Ending(AtomicU8);

impl Ending {
    constant! {
        pub(super) fn new() -> Ending {
            Ending(AtomicU8::new(ALIVE))
        }
    }

    /// How it ended, if it has.
    #[inline]
    pub(super) fn get(&self) -> Option<u8> {
        // Acquire: sees what was written before the Release store of an end.
        let ending = self.0.load(Ordering::Acquire) & !FOLLOWED;
        (ending != ALIVE).then_some(ending)
    }

    /// Whether [`follow`](Ending::follow) was called.
    #[inline]
    pub(super) fn is_followed(&self) -> bool {
        // Relaxed: only a hint, but for the home thread's own calls.
        self.0.load(Ordering::Relaxed) & FOLLOWED != 0
    }

    /// Called with the list of followers locked, before it gets one; `false` if the end has come.
    pub(super) fn follow(&self) -> bool {
        // Acquire: as in `get`.
        let before = match self.0.load(Ordering::Acquire) {
            ALIVE => self.0.fetch_or(FOLLOWED, Ordering::Acquire),
            before => before,
        };
        before & !FOLLOWED == ALIVE
    }

    /// Tells the end if nobody stands in the list, and never will. Home thread only.
    #[inline]
    pub(super) fn end_unfollowed(&self, how: u8) -> bool {
        // Release: publishes the result. Relaxed: nothing is seen.
        self.0.compare_exchange(ALIVE, how, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Tells the end, with the list of followers locked. Home thread only.
    pub(super) fn end_followed(&self, how: u8) {
        // Release: publishes the result.
        self.0.store(how | FOLLOWED, Ordering::Release);
    }
}
