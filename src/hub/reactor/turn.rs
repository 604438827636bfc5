//! The wait of one operation at a descriptor of greenloop's own.

use std::io;

use super::super::notify::Notify;
use super::super::waiter::Waiter;
use super::Reactor;
use super::completion::Loan;
use super::descriptor::{Direction, Half, Key, Place};
use crate::sys::clock::Time;
use crate::sys::uring::{Done, Entry};

/// An operation's stay in the line at its descriptor. However it ends, what it leaves goes to the next one.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    reactor: &'a Reactor,
    key: Key,
    direction: Direction,
    place: Place,
    /// Whether its result showed that nothing is left.
    drained: bool,
}

impl<'a> Turn<'a> {
    /// An operation that has to wait gets in line, and parks next: `notify` is called when its turn has come and it may try,
    /// or when nothing more will be heard of the descriptor. `None` if the key names nothing.
    ///
    /// Unless the driver [tells edges](Reactor::tells_edges), it calls [`wait_again`](Turn::wait_again) before it parks.
    #[inline]
    pub(crate) fn begin(
        reactor: &'a Reactor,
        key: Key,
        direction: Direction,
        notify: impl FnOnce() -> Notify,
    ) -> Option<Turn<'a>> {
        let core = &mut *reactor.core.borrow_mut();
        let id = core.next_id();
        let place = core.half(key, direction)?.enter(id, notify);
        reactor.waiting.update(|waiting| waiting + 1);
        Some(Turn { reactor, key, direction, place, drained: false })
    }

    /// Whether the kernel may do the operation as a whole: the driver can, it is this one's turn, and a try would be in vain.
    pub(crate) fn may_perform(&self) -> bool {
        self.reactor.performs() && self.with_half(|half| half.may_be_performed(&self.place)) == Some(true)
    }

    /// Has the kernel do an operation that [may](Turn::may_perform) be done so, as [`Reactor::perform`] does. `None` if it has not been
    /// done: because that does not pay, at the deadline, at an interrupt, which is left for the next park, or when nothing more will be
    /// heard of the descriptor.
    pub(crate) fn perform(
        &self,
        entry: &Entry<'_>,
        waiter: &Waiter,
        deadline: Option<Time>,
    ) -> Option<io::Result<Done>> {
        if !self.reactor.pays(entry) {
            return None;
        }
        let loan = Loan::begin(self.reactor, entry, waiter)?;
        self.with_half(|half| half.begin_performed(loan.token()));
        // Dropped before the loan, which the token names.
        let mut performing = Performing { turn: self, succeeded: false };
        let performed = loan.wait(waiter, deadline);
        performing.succeeded = matches!(performed, Some(Ok(_)));
        performed
    }

    #[inline]
    fn with_half<R>(&self, look: impl FnOnce(&mut Half) -> R) -> Option<R> {
        self.reactor.core.borrow_mut().half(self.key, self.direction).map(look)
    }

    /// Whether its turn has come and it may try; `None` if the key names nothing any more.
    #[inline]
    pub(crate) fn may_try(&self) -> Option<bool> {
        self.with_half(|half| half.may_try(&self.place))
    }

    /// It has tried and was told EAGAIN if `blocked`, or it was woken for nothing; it parks next.
    pub(crate) fn wait_again(&self, blocked: bool, notify: impl FnOnce() -> Notify) {
        let core = &mut *self.reactor.core.borrow_mut();
        if let Some(half) = core.half(self.key, self.direction) {
            half.wait_again(&self.place, blocked, notify);
            core.refresh_owned(self.key);
        }
    }

    /// It is done.
    #[inline]
    pub(crate) fn finish(mut self, drained: bool) {
        self.drained = drained;
    }
}

/// The time during which the kernel does an operation.
struct Performing<'a, 'b> {
    turn: &'a Turn<'b>,
    succeeded: bool,
}

impl Drop for Performing<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        self.turn.with_half(|half| half.end_performed(self.succeeded));
    }
}

impl Drop for Turn<'_> {
    #[inline]
    fn drop(&mut self) {
        let reactor = self.reactor;
        reactor.waiting.update(|waiting| waiting - 1);
        let mut next = None;
        {
            let core = &mut *reactor.core.borrow_mut();
            if let Some(half) = core.half(self.key, self.direction) {
                if self.drained {
                    half.note_drained();
                }
                next = half.leave(&self.place);
                core.refresh_left(self.key);
            }
        }
        if let Some(notify) = next {
            notify.notify();
        }
    }
}
