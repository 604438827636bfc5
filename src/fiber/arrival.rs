//! What comes to a fiber beside the value of a switch, to be looked at where it leaves its stack and where it comes back.

use std::any::Any;
use std::cell::Cell;
#[cfg(feature = "monkey")]
use std::time::Duration;

#[cfg(feature = "monkey")]
use crate::sys::clock::Time;

/// How many kills that have not been raised may stand before a green thread: gevent raises each, and one that is killed for ever
/// while it does not run is not to take memory for ever.
pub(crate) const MOST_KILLS: usize = 16;

/// Something that raises at the next park: a kill, or a time limit.
pub(crate) struct Pending {
    /// What to unwind with.
    pub(crate) payload: Box<dyn Any + Send>,
    /// Which time limit it comes from, so that its end can take it back; 0 for a kill.
    pub(crate) timeout: u64,
    /// Calls in which nothing may unwind have failed for it.
    #[cfg(feature = "monkey")]
    pub(crate) refusals: Refusals,
}

/// The calls that have failed for one interrupt, while it could not be raised.
#[cfg(feature = "monkey")]
#[derive(Default)]
pub(crate) struct Refusals {
    count: u32,
    /// When the first failed.
    since: Option<Time>,
    reported: bool,
}

#[cfg(feature = "monkey")]
impl Refusals {
    /// How long a green thread may go on in this way before that is reported.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// One more call fails. Returns how many have, this one included, and whether that is to be reported, which it is once.
    pub(crate) fn count(&mut self, now: Time) -> (u32, bool) {
        self.count = self.count.saturating_add(1);
        let since = *self.since.get_or_insert(now);
        let overdue = !self.reported && since.until(now) >= Refusals::PATIENCE;
        self.reported |= overdue;
        (self.count, overdue)
    }

    /// How many calls have failed.
    pub(crate) fn so_far(&self) -> u32 {
        self.count
    }
}

impl Pending {
    /// An interrupt that raises `payload`, and comes from the time limit of this number, or with 0 from a kill.
    pub(crate) fn new(payload: Box<dyn Any + Send>, timeout: u64) -> Pending {
        Pending {
            payload,
            timeout,
            #[cfg(feature = "monkey")]
            refusals: Refusals::default(),
        }
    }

    pub(crate) fn is_kill(&self) -> bool {
        self.timeout == 0
    }
}

/// Whether a fiber has to look about where it leaves its stack, and where it comes back to it.
///
/// One byte for all reasons, so that a switch asks once.
#[derive(Default)]
pub(crate) struct Disturbance(Cell<u8>);

impl Disturbance {
    /// There is an interrupt, or an arrival or a value was brought by hand.
    const BROUGHT: u8 = 1;
    /// A [callback](super::guard) runs in its place: it must not leave.
    const HELD: u8 = 2;
    /// The last handle to the greenlet that runs here has gone: a switch leaves it for good. It may wait in the hub.
    const ORPHANED: u8 = 4;
    /// A wake came for the wait before it parked.
    const WOKEN: u8 = 8;

    /// Whether a wait has to look about.
    #[inline]
    pub(crate) fn get(&self) -> bool {
        self.0.get() & (Disturbance::BROUGHT | Disturbance::HELD) != 0
    }

    /// Whether a wait has to look about before it leaves: the same, or its wake has come.
    #[inline]
    pub(crate) fn concerns_parks(&self) -> bool {
        self.0.get() & !Disturbance::ORPHANED != 0
    }

    /// Whether a switch has to look about before it leaves.
    #[inline]
    pub(crate) fn concerns_switches(&self) -> bool {
        self.0.get() & !Disturbance::WOKEN != 0
    }

    pub(crate) fn set_woken(&self) {
        self.0.set(self.0.get() | Disturbance::WOKEN);
    }

    /// Whether a wake came, which is over by this.
    #[inline]
    pub(crate) fn take_woken(&self) -> bool {
        let before = self.0.get();
        self.0.set(before & !Disturbance::WOKEN);
        before & Disturbance::WOKEN != 0
    }

    pub(crate) fn is_orphaned(&self) -> bool {
        self.0.get() & Disturbance::ORPHANED != 0
    }

    pub(crate) fn set_orphaned(&self, orphaned: bool) {
        let others = self.0.get() & !Disturbance::ORPHANED;
        self.0.set(others | if orphaned { Disturbance::ORPHANED } else { 0 });
    }

    /// Says whether something was brought.
    #[inline]
    pub(crate) fn set(&self, brought: bool) {
        self.0.set(self.0.get() & !Disturbance::BROUGHT | u8::from(brought));
    }

    /// Whether something has come, and not only a callback holds.
    #[inline]
    pub(super) fn is_brought(&self) -> bool {
        self.0.get() & Disturbance::BROUGHT != 0
    }

    /// Returns whether it was held before.
    pub(crate) fn hold(&self) -> bool {
        let before = self.0.replace(self.0.get() | Disturbance::HELD);
        before & Disturbance::HELD != 0
    }

    pub(crate) fn release(&self) {
        self.0.set(self.0.get() & !Disturbance::HELD);
    }
}
