//! Waiting for what the kernel tells nobody, and only trying again shows: room in a Unix socket that is not one's own, the end of
//! a lock on a file, the other end of a named pipe.

use std::time::Duration;

use crate::hub::in_world::looking;
use crate::hub::waiter::may_wait;
use crate::sys::clock::Time;
use crate::task::sleep;

const FIRST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

/// The pauses between attempts, each twice as long as the one before.
pub(crate) struct Pauses {
    next: Duration,
    deadline: Time,
}

impl Pauses {
    pub(crate) fn until(deadline: Time) -> Pauses {
        Pauses { next: FIRST, deadline }
    }

    /// Sleeps for the next pause; `false` at once if the deadline has passed. To one that may
    /// not wait, as it unwinds or its OS thread ends, every deadline has passed.
    pub(crate) fn pause(&mut self) -> bool {
        let left = Time::now().until(self.deadline);
        if left.is_zero() || !may_wait() {
            return false;
        }
        let _looking = looking();
        sleep(self.next().min(left));
        true
    }

    /// How long the next pause is, for who waits for something else meanwhile.
    pub(crate) fn next(&mut self) -> Duration {
        let next = self.next;
        self.next = (next * 2).min(LONGEST);
        next
    }
}
