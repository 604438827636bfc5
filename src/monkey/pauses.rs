//! The pauses between two looks at what the kernel, or the C library, tells nobody who does not block.

use std::time::Duration;

use crate::hub::in_world::{Looking, looking};
use crate::sys::clock::Time;

const FIRST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(20);

/// Each twice as long as the one before, up to [`LONGEST`].
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
    taken: u32,
    /// As long as it lives, its owner pauses.
    _looking: Looking,
}

impl Pauses {
    pub(super) fn new() -> Pauses {
        Pauses { next: FIRST, taken: 0, _looking: looking() }
    }

    /// When the next pause ends: at the deadline at the latest.
    pub(super) fn next(&mut self, deadline: Option<Time>) -> Time {
        let end = Time::after(self.next);
        self.next = (2 * self.next).min(LONGEST);
        self.taken = self.taken.saturating_add(1);
        deadline.map_or(end, |deadline| deadline.min(end))
    }

    /// Whether the pause that was taken last was the first one.
    pub(super) fn is_first(&self) -> bool {
        self.taken == 1
    }
}
