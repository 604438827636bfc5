//! Whether a green thread has ended, and how: in one word with whether anybody of other OS threads is to be told, so that an
//! end that nobody there follows takes no lock, and with the count of its owners, of which the hub ends with it.

use crate::sys::atomic::{Ordering, constant};
use crate::sys::shared::Count;

/// How a green thread ended.
///
/// # Examples
///
/// ```
/// use greenloop::{Outcome, channel, spawn};
///
/// let (sender, receiver) = channel::unbounded();
/// let killed = spawn(|| ());
/// killed.link(move |outcome| sender.send(outcome).unwrap());
/// killed.kill();
/// assert_eq!(receiver.recv(), Ok(Outcome::Killed));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It returned a value.
    Returned,
    /// It was killed, or its OS thread ended while it was parked.
    Killed,
    /// A panic, an uncaught timeout or another payload ended it.
    Panicked,
}

/// How a green thread ended, as its state has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum End {
    Returned = 1,
    Killed,
    Panicked,
    /// With its OS thread, parked: as if killed, but it has left no result.
    Leaked,
}

impl End {
    pub(super) fn outcome(self) -> Outcome {
        match self {
            End::Returned => Outcome::Returned,
            End::Killed | End::Leaked => Outcome::Killed,
            End::Panicked => Outcome::Panicked,
        }
    }
}

const ALIVE: u8 = 0;
const RETURNED: u8 = End::Returned as u8;
const KILLED: u8 = End::Killed as u8;
const PANICKED: u8 = End::Panicked as u8;
/// Added to any of those once somebody stands in the list of followers, for good.
const FOLLOWED: u8 = Count::WAIT;

/// The end of a green thread, told once, and the count of its owners. What is written before is seen by who sees the end.
#[repr(transparent)]
pub(super) struct Ending(Count);

impl Ending {
    constant! {
        pub(super) fn new() -> Ending {
            Ending(Count::of_pair())
        }
    }

    /// How it ended, if it has.
    #[inline]
    pub(super) fn get(&self) -> Option<End> {
        // Acquire: sees what was written before the Release store of an end.
        match self.0.marks(Ordering::Acquire) & !FOLLOWED {
            ALIVE => None,
            RETURNED => Some(End::Returned),
            KILLED => Some(End::Killed),
            PANICKED => Some(End::Panicked),
            _ => Some(End::Leaked),
        }
    }

    /// Whether [`follow`](Ending::follow) was called.
    #[inline]
    pub(super) fn is_followed(&self) -> bool {
        // Relaxed: only a hint, but for the home thread's own calls.
        self.0.marks(Ordering::Relaxed) & FOLLOWED != 0
    }

    /// Called with the list of followers locked, before it gets one; `false` if the end has come.
    pub(super) fn follow(&self) -> bool {
        // Acquire: as in `get`.
        let before = match self.0.marks(Ordering::Acquire) {
            ALIVE => self.0.mark(FOLLOWED, Ordering::Acquire),
            before => before,
        };
        before & !FOLLOWED == ALIVE
    }

    /// Tells the end if nobody stands in the list, and never will. Home thread only. Whose share ends with it has
    /// [`mark_and_end`](crate::sys::shared::Shared::mark_and_end).
    #[inline]
    pub(super) fn end_unfollowed(&self, how: End) -> bool {
        self.0.mark_unasked(how as u8)
    }

    /// Tells the end by the mark of an [`End`], with the list of followers locked. Home thread only.
    pub(super) fn end_followed(&self, mark: u8) {
        // Release: publishes the result.
        self.0.mark(mark, Ordering::Release);
    }
}
