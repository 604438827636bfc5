//! The address of a wait, from anywhere.

use std::sync::atomic::Ordering;

use super::door::{DEPARTURES, Door};
use super::wait::Wait;

/// The address of one wait, from anywhere: wakes it, or does nothing once it is over.
///
/// Two words, so that it moves in registers: a larger one is written to memory in parts and read back as a whole, which
/// stalls the processor on the way of every message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wake {
    pub(super) door: &'static Door,
    pub(super) wait: Wait,
}

impl Wake {
    /// Whether both are of the same wait.
    pub(super) fn is(self, other: Wake) -> bool {
        self.door.is(other.door) && self.wait == other.wait
    }

    /// Whether its hub is still there. One that parked on an OS thread that has ended never runs again: what would be set
    /// aside for it would be lost.
    #[inline]
    pub(crate) fn is_living(self) -> bool {
        self.wait.epoch() == self.door.epoch() & Wait::EPOCH
    }
}

/// How many hubs have ended while somebody stood in a line there. Read before the lines are looked at, it tells whether they are to be
/// looked at again.
#[inline]
pub(crate) fn departures() -> u64 {
    // Acquire: who sees the departure sees the hub gone.
    DEPARTURES.load(Ordering::Acquire)
}
