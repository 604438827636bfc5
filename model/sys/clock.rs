//! In the place of time: a deadline, whenever that is. It does not pass.

use std::time::Duration;

#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub(crate) struct Time;

impl Time {
    pub(crate) fn now() -> Time {
        Time
    }

    pub(crate) fn plus(self, _: Duration) -> Time {
        Time
    }

    pub(crate) fn until(self, _: Time) -> Duration {
        Duration::ZERO
    }
}
