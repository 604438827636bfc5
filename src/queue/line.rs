//! A line of waiters, each of whom is promised one item, or room for one, when it is called.

use crate::hub::line;
use crate::hub::waiter::{Notify, Wake};
use crate::hub::waitlist::{Ticket, WaitList};

pub(super) struct Line {
    waiters: WaitList<Wake>,
    /// How many were called and have not run since.
    called: usize,
}

impl Line {
    pub(super) const fn new() -> Line {
        Line { waiters: WaitList::new(), called: 0 }
    }

    pub(super) fn called(&self) -> usize {
        self.called
    }

    pub(super) fn stand(&mut self, wake: Wake) -> Ticket {
        self.waiters.push(wake)
    }

    /// Calls the first.
    pub(super) fn call(&mut self) -> Option<Notify> {
        let first = line::call_first(&mut self.waiters)?;
        self.called += 1;
        Some(Notify::Wake(first))
    }

    pub(super) fn is_called(&self, ticket: Ticket) -> bool {
        !self.waiters.contains(ticket)
    }

    /// Ends a wait. Returns whether it had been called; what it was promised is now nobody's.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        let called = self.waiters.remove(ticket).is_none();
        self.called -= usize::from(called);
        called
    }
}
