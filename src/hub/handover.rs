//! Standing in line: how a primitive lets its callers wait, and calls them.
//!
//! The protocol of every primitive: its [`Lock`] guards its state and its lines. Who must wait stands in a [`Line`] and parks; who
//! is called has something set aside for it. A wake is two steps, so the called one may be killed, or time out, before it runs: it
//! then finds that it was called, and passes on what was set aside.
//!
//! Its OS thread may also end before it runs, and then nobody is left who could. Therefore a line keeps who was called until that
//! one has run. A hub that ends while somebody stands in a line counts as a [departure](departures), and has all who stand in a line
//! in any hub look again: whoever comes to a primitive first passes on what was set aside for those who are [gone](Line::take_gone).
//! Nobody has to reach the primitive from the hub that ends, whose frames may refer to what is no longer there.

use super::waiter::{Interrupt, Notify, Waiter, Wake, Wakeup, departures};
use super::waitlist::{Drain, Ticket, WaitList};
use crate::sys::clock::Time;
use crate::sys::lock::{Lock, LockGuard};

/// Wakes that are collected under a lock before they are sent without it.
const BATCH: usize = 32;

/// Why a wait ended without what it was for. Something may have been set aside all the same: the line tells.
#[derive(Debug)]
pub(crate) enum Ended {
    TimedOut,
    Interrupted(Interrupt),
}

impl Waiter {
    /// Parks until `settle`, asked under `lock` after each wake, has an answer. Returns it, or why the wait ended
    /// without one, with the lock held, so that the caller can leave its line in the same breath. After a wake in vain `look_again`
    /// releases the lock: somebody else may be gone, and something left to be passed on.
    #[inline(always)]
    pub(crate) fn stand<'a, S, R>(
        &self,
        lock: &'a Lock<S>,
        deadline: Option<Time>,
        mut settle: impl FnMut(&mut S) -> Option<R>,
        look_again: impl Fn(LockGuard<'a, S>),
    ) -> (LockGuard<'a, S>, Result<R, Ended>) {
        loop {
            let wakeup = self.park(deadline);
            let mut state = lock.lock();
            match wakeup {
                Wakeup::Woken => {
                    if let Some(answer) = settle(&mut state) {
                        return (state, Ok(answer));
                    }
                    look_again(state);
                }
                Wakeup::TimedOut => return (state, Err(Ended::TimedOut)),
                Wakeup::Interrupted(interrupt) => return (state, Err(Ended::Interrupted(interrupt))),
            }
        }
    }
}

/// What stands in a [`Line`].
pub(crate) trait Standing: Copy {
    /// Whom to wake.
    fn wake(&self) -> Wake;
}

impl Standing for Wake {
    #[inline]
    fn wake(&self) -> Wake {
        *self
    }
}

/// Who waits for a primitive, in order of arrival, and who has been called and has not run since.
#[derive(Debug)]
pub(crate) struct Line<E = Wake> {
    waiting: WaitList<E>,
    /// One of those who were called, mostly the only one.
    called_one: Option<(Ticket, E)>,
    /// The others, under the tickets of `waiting`.
    called_rest: WaitList<E>,
    /// The departures of which it has taken notice.
    noticed: u64,
}

impl<E: Standing> Line<E> {
    pub(crate) const fn new() -> Line<E> {
        Line { waiting: WaitList::new(), called_one: None, called_rest: WaitList::new(), noticed: 0 }
    }

    /// Whether nobody waits to be called.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait to be called.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many have been called and have not run since.
    #[inline]
    pub(crate) fn called(&self) -> usize {
        usize::from(self.called_one.is_some()) + self.called_rest.len()
    }

    /// Gets in line.
    #[inline]
    pub(crate) fn stand(&mut self, entry: E) -> Ticket {
        self.waiting.push(entry)
    }

    /// The ticket of the first that waits.
    #[inline]
    pub(crate) fn front(&self) -> Option<Ticket> {
        self.waiting.front()
    }

    /// A ticket for one that comes into the line later.
    pub(crate) fn reserve(&mut self) -> Ticket {
        self.waiting.reserve()
    }

    /// The ticket that the next one gets.
    #[inline]
    pub(crate) fn next_ticket(&self) -> Ticket {
        self.waiting.next_ticket()
    }

    /// Calls the first whose hub is still there: something is set aside for it until it [leaves](Line::leave).
    #[inline]
    pub(crate) fn call(&mut self) -> Option<E> {
        let (ticket, entry) = self.dismiss()?;
        self.call_dismissed(ticket, entry);
        Some(entry)
    }

    /// The same, if the first `fits`.
    #[inline]
    pub(crate) fn call_if(&mut self, fits: impl FnOnce(&E) -> bool) -> Option<E> {
        let (ticket, entry) = self.dismiss()?;
        if fits(&entry) {
            self.call_dismissed(ticket, entry);
            Some(entry)
        } else {
            self.waiting.restore(ticket, entry);
            None
        }
    }

    /// Takes the first whose hub is still there out of the line. Nothing is set aside for it.
    #[inline]
    pub(crate) fn dismiss(&mut self) -> Option<(Ticket, E)> {
        loop {
            let (ticket, entry) = self.waiting.pop_with_ticket()?;
            if entry.wake().is_living() {
                return Some((ticket, entry));
            }
        }
    }

    /// Takes all that wait out of the line, as [`dismiss`](Line::dismiss) does.
    pub(crate) fn drain(&mut self) -> Drain<E> {
        self.waiting.drain()
    }

    /// Calls one that was dismissed.
    #[inline]
    pub(crate) fn call_dismissed(&mut self, ticket: Ticket, entry: E) {
        if self.called_one.is_none() {
            self.called_one = Some((ticket, entry));
        } else {
            self.called_rest.restore(ticket, entry);
        }
    }

    /// Lets one that has left wait again, in its old place.
    pub(crate) fn stand_again(&mut self, ticket: Ticket, entry: E) {
        self.waiting.restore(ticket, entry);
    }

    /// Takes the call back from the youngest that is `meant`, which waits again in its old place, after a `change`.
    pub(crate) fn recall(&mut self, meant: impl FnMut(&E) -> bool, change: impl FnOnce(&mut E)) -> bool {
        let Some((ticket, mut entry)) = self.take_called(meant) else { return false };
        change(&mut entry);
        self.waiting.restore(ticket, entry);
        true
    }

    /// Whether the one with this ticket, which has not left, was called.
    #[inline]
    pub(crate) fn is_called(&self, ticket: Ticket) -> bool {
        self.called_one.is_some_and(|(one, _)| one == ticket) || self.called_rest.contains(ticket)
    }

    /// Whether the one with this ticket waits to be called.
    #[inline]
    pub(crate) fn is_waiting(&self, ticket: Ticket) -> bool {
        self.waiting.contains(ticket)
    }

    /// Ends a wait. Returns the entry of one that had been called, for which something is set aside no more.
    #[inline]
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Option<E> {
        let called = self.leave_if_called(ticket);
        if called.is_none() {
            self.waiting.remove(ticket);
        }
        called
    }

    /// The same, for one that may only be called.
    #[inline]
    pub(crate) fn leave_if_called(&mut self, ticket: Ticket) -> Option<E> {
        match self.called_one.take_if(|&mut (one, _)| one == ticket) {
            Some((_, entry)) => Some(entry),
            None => self.called_rest.remove(ticket),
        }
    }

    /// Takes the youngest of those who were called and are `meant`.
    fn take_called(&mut self, mut meant: impl FnMut(&E) -> bool) -> Option<(Ticket, E)> {
        let one = self.called_one.filter(|(_, entry)| meant(entry)).map(|(ticket, _)| ticket);
        let ticket = one.max(self.called_rest.find_last(meant))?;
        self.leave_if_called(ticket).map(|entry| (ticket, entry))
    }

    /// Ends the wait of one that was called and never runs again, because its OS thread has ended. Those who only waited are forgotten.
    #[inline]
    pub(crate) fn take_gone(&mut self) -> Option<E> {
        if departures() == self.noticed { None } else { self.notice_departures() }
    }

    #[cold]
    fn notice_departures(&mut self) -> Option<E> {
        // Before it looks: of one that comes later it takes notice the next time.
        let departures = departures();
        let is_living = |entry: &E| entry.wake().is_living();
        if let Some((_, gone)) = self.take_called(|entry| !is_living(entry)) {
            return Some(gone);
        }
        self.waiting.retain(is_living);
        self.noticed = departures;
        None
    }
}

/// Releases the lock and sends all notices that `next` has: one or none in most cases, else a batch at a time, so that
/// the lock is never held while one is sent.
#[inline]
pub(crate) fn notify_all<'a, S>(
    lock: &'a Lock<S>,
    mut state: LockGuard<'a, S>,
    mut next: impl FnMut(&mut S) -> Option<Notify>,
) {
    let Some(first) = next(&mut state) else { return };
    match next(&mut state) {
        None => {
            drop(state);
            first.notify();
        }
        Some(second) => notify_many(lock, state, [first, second], next),
    }
}

#[cold]
fn notify_many<'a, S>(
    lock: &'a Lock<S>,
    mut state: LockGuard<'a, S>,
    begun: [Notify; 2],
    mut next: impl FnMut(&mut S) -> Option<Notify>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    batch.extend(begun);
    loop {
        batch.extend(std::iter::from_fn(|| next(&mut state)).take(BATCH - batch.len()));
        let last = batch.len() < BATCH;
        drop(state);
        batch.drain(..).for_each(Notify::notify);
        if last {
            return;
        }
        state = lock.lock();
    }
}
