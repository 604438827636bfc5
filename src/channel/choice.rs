//! A wait for several things at once, as a channel sees it: a [`Choice`] stands in line at each, an [`Arm`] of it at one.
//!
//! Whoever calls a choice has to win it first, so it is called by one channel only. Called, it has what others who are called have, a
//! promise: one of the values, or in a bounded channel room for one. It claims that when it runs, and gives it back if it is killed.
//!
//! What an arm sends or receives is typed and an arm is not, so what was claimed is a [`Grant`]: a value that was set aside, or room
//! that is kept, until [`Receiver::take_granted`](super::Receiver) or [`Sender::send_granted`](super::Sender).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use crate::hub::waiter::Wake;
use crate::hub::waitlist::Ticket;

/// One wait for several things, as those see it.
#[derive(Debug)]
pub(crate) struct Choice {
    /// The number of the arm that was called, or one of the two below.
    called: AtomicUsize,
    pub(super) wake: Wake,
}

impl Choice {
    const OPEN: usize = usize::MAX;
    /// No arm can be called any more: the arms are to be looked at again.
    pub(super) const CLOSED: usize = usize::MAX - 1;

    pub(crate) fn new(wake: Wake) -> Choice {
        Choice { called: AtomicUsize::new(Choice::OPEN), wake }
    }

    /// Ends it by `outcome`, an arm or [`CLOSED`](Choice::CLOSED), unless it has ended.
    pub(super) fn decide(&self, outcome: usize) -> bool {
        self.wake.is_living() && self.called.compare_exchange(Choice::OPEN, outcome, SeqCst, SeqCst).is_ok()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.wake.is_living() && self.called.load(SeqCst) == Choice::OPEN
    }

    /// Ends it, if it has not ended. Returns the arm that was called.
    pub(crate) fn close(&self) -> Option<usize> {
        self.decide(Choice::CLOSED);
        self.called()
    }

    pub(crate) fn called(&self) -> Option<usize> {
        let called = self.called.load(SeqCst);
        (called < Choice::CLOSED).then_some(called)
    }

    /// Takes back that it was called.
    pub(super) fn recall(&self) {
        self.called.store(Choice::CLOSED, SeqCst);
    }
}

/// A choice of an arm that was made, and is to be carried out or given back.
#[must_use]
#[derive(Debug)]
pub(crate) enum Grant {
    /// The value that was set aside under this number.
    Value(u64),
    /// Room for a value.
    Room,
    /// The receiver that was engaged under this number.
    Engaged(u64),
    /// The other side has gone.
    Disconnected,
}

/// One end of a channel as something that can be chosen.
pub(crate) trait Arm {
    /// Chooses it if that is possible now.
    fn attempt(&self) -> Option<Grant>;

    /// Whether it could be chosen now.
    fn is_ready(&self) -> bool;

    /// Gets in line as arm number `arm` of `choice`; `None` if it is worth looking at first.
    fn register(&self, choice: &Arc<Choice>, arm: usize) -> Option<Ticket>;

    fn unregister(&self, ticket: Ticket);

    /// When it is to be looked at again without being called.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Whether what it was called for is still on its way: `choice` is woken when it is there, or called back.
    fn is_engaged(&self, choice: &Arc<Choice>) -> bool;

    /// Claims what `choice` was called for; `None` if that has been withdrawn.
    fn accept(&self, choice: &Arc<Choice>) -> Option<Grant>;

    /// Passes on what `choice` was called for.
    fn refuse(&self, choice: &Arc<Choice>);

    /// Passes on what was granted.
    fn give_back(&self, grant: Grant);
}
