//! What makes the values of a channel that has no senders: the time.

use std::time::{Duration, Instant};

/// What a channel without senders takes its values from.
pub(super) struct Clock<T> {
    /// When the next value comes; `None` if there will be no more.
    due: Option<Instant>,
    period: Option<Duration>,
    value: fn(Instant) -> T,
}

impl<T> Clock<T> {
    /// One whose first value is `due`, and each other one `period` after that before it was taken.
    pub(super) fn new(due: Option<Instant>, period: Option<Duration>, value: fn(Instant) -> T) -> Clock<T> {
        Clock { due, period, value }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The value that is due, if one is. What else has become due meanwhile is left out.
    pub(super) fn take(&mut self, now: Instant) -> Option<T> {
        let due = self.due.filter(|&due| due <= now)?;
        self.due = self.period.and_then(|period| now.checked_add(period));
        Some((self.value)(due))
    }
}
