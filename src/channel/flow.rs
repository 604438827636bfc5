//! What the lock of a channel guards: the values on their way, who waits for them, and whom a change concerns.
//!
//! Values wait in `queue` up to the capacity. A sender that finds no room waits in `offers` with its value; so does every sender of a
//! rendezvous, whose capacity is zero, until a receiver takes it. A receiver that finds nothing waits in `receivers`. For each value
//! that comes, one of them is called, and the value is promised to it: others leave it alone until it has run. No value belongs to a
//! parked receiver, so there is nothing to give back when one is killed: the promise alone goes to the next in line.
//!
//! Who waits for several things at once stands in lines of its own, see [`Choosers`], which most channels never have.

use std::collections::VecDeque;
use std::sync::Arc;

use super::choice::{Choice, Grant};
use super::choosers::{Called, Choosers, Engaged, Promise};
use super::clock::Clock;
use super::notices::Notices;
use crate::hub::handover::Line;
use crate::hub::waiter::{Notify, Wake, departures};
use crate::hub::waitlist::{Ticket, WaitList};
use crate::sys::clock::instant_now;

/// A channel's values, and its lines.
pub(super) struct Flow<T> {
    /// Older than all `offers`. At most the capacity and `called`, but for values that were promised to a receiver that
    /// was killed.
    pub(super) queue: VecDeque<T>,
    /// Senders that wait, with their values, in order of arrival.
    pub(super) offers: WaitList<Offer<T>>,
    pub(super) receivers: Line,
    /// Receivers that were called and have not run since, those that choose included: each is promised one of the oldest values.
    pub(super) called: usize,
    /// The capacity, less the room that is kept.
    pub(super) limit: usize,
    /// For how many values room is kept, because a sender has chosen to send them.
    pub(super) kept: usize,
    pub(super) has_senders: bool,
    pub(super) has_receivers: bool,
    /// Makes the values, in a channel without senders; `queue` and the lines stay empty then.
    pub(super) clock: Option<Box<Clock<T>>>,
    /// Made by the first that chooses among several things.
    pub(super) choosers: Option<Box<Choosers<T>>>,
}

/// A value whose sender waits in `offers`; popped, it has been sent.
pub(super) struct Offer<T> {
    /// `None` only when nobody will look: the last receiver has gone, and the sender does not wait.
    pub(super) value: Option<T>,
    /// `None` if the sender does not wait: it met a waiting receiver, which was called. Or if it was told that the last
    /// receiver has gone.
    pub(super) sender: Option<Wake>,
}

impl<T> Flow<T> {
    /// Nothing yet, in a channel of one sender and one receiver.
    pub(super) fn new(capacity: usize) -> Flow<T> {
        Flow {
            queue: VecDeque::new(),
            offers: WaitList::new(),
            receivers: Line::new(),
            called: 0,
            limit: capacity,
            kept: 0,
            has_senders: true,
            has_receivers: true,
            clock: None,
            choosers: None,
        }
    }

    #[inline]
    pub(super) fn available(&self) -> usize {
        self.queue.len() + self.offers.len()
    }

    /// Calls the first receiver in line, if there is a value that is promised to nobody.
    #[inline]
    pub(super) fn call_receiver(&mut self) -> Option<Wake> {
        if self.receivers.is_empty() || self.available() <= self.called {
            return None;
        }
        let receiver = self.receivers.call()?;
        self.called += 1;
        Some(receiver)
    }

    /// Whether there is a value that is promised to nobody. Without senders there will be no other: promises do not count.
    #[inline]
    pub(super) fn has_free(&self) -> bool {
        self.queue.len() > self.called || self.available() > self.called || !self.has_senders
    }

    /// Whether the values, without those that were promised to receivers or would be, are less than the capacity.
    pub(super) fn has_room_beyond(&self, capacity: usize) -> bool {
        self.available() + self.kept < capacity.saturating_add(self.called + self.receivers.waiting())
    }

    /// [`has_free`](Flow::has_free), also if it was promised to one that never runs again.
    #[inline]
    pub(super) fn has_free_now(&mut self, capacity: usize) -> bool {
        self.has_free()
            || self.called > 0 && {
                self.forget_gone(capacity);
                self.has_free()
            }
    }

    /// Takes back what was promised to those who never run again.
    #[inline]
    pub(super) fn forget_gone(&mut self, capacity: usize) {
        while self.receivers.take_gone().is_some() {
            self.called -= 1;
        }
        if self.choosers.is_some() {
            self.forget_gone_choosers(capacity);
        }
    }

    /// Takes the value of the clock that is due.
    #[cold]
    pub(super) fn take_time(&mut self) -> Option<T> {
        self.clock.as_mut()?.take(instant_now())
    }

    /// The oldest value where there are offers, and the sender who goes on: that of the value, or of the one that takes its
    /// place in the queue.
    pub(super) fn take_beside_offers(&mut self, capacity: usize) -> (Option<T>, Option<Wake>) {
        let Some(value) = self.queue.pop_front() else {
            let offer = self.offers.pop();
            return offer.map_or((None, None), |offer| (offer.value, offer.sender));
        };
        let room = self.choosers.is_none() && self.queue.len() < capacity.saturating_add(self.called);
        let offer = if room { self.offers.pop() } else { None };
        let sender = offer.and_then(|offer| {
            self.queue.extend(offer.value);
            offer.sender
        });
        (Some(value), sender)
    }

    // ---- beside those who choose ----

    pub(super) fn choosers(&mut self) -> &mut Choosers<T> {
        self.choosers.get_or_insert_default()
    }

    /// Whether a sender that chose the receiver of `ticket` has not sent yet.
    pub(super) fn is_engaged(&self, ticket: Ticket) -> bool {
        let is_engaged = |choosers: &Choosers<T>| {
            let plain =
                |engaged: &Engaged| matches!(engaged.receiver, Called::Plain(other, _) if other == ticket);
            choosers.engaged.iter().any(plain)
        };
        self.choosers.as_deref().is_some_and(is_engaged)
    }

    pub(super) fn set_aside(&mut self, value: T) -> Grant {
        let choosers = self.choosers();
        let number = choosers.number();
        choosers.aside.push((number, value));
        Grant::Value(number)
    }

    pub(super) fn take_aside(&mut self, number: u64) -> Option<T> {
        let aside = &mut self.choosers().aside;
        let index = aside.iter().position(|&(other, _)| other == number)?;
        Some(aside.swap_remove(index).1)
    }

    /// Promises a value to one that was popped.
    pub(super) fn promise_value(&mut self, receiver: &Called) {
        self.called += 1;
        match receiver {
            Called::Plain(ticket, wake) => self.receivers.call_dismissed(*ticket, *wake),
            Called::Chooser(choice) => self.choosers().called.push((Arc::clone(choice), Promise::Value)),
        }
    }

    /// Takes back what was promised to choosers that never run again, and frees receivers from senders that never send.
    pub(super) fn forget_gone_choosers(&mut self, capacity: usize) {
        let departures = departures();
        if self.choosers().noticed == departures {
            return;
        }
        self.choosers().noticed = departures;
        let gone = |(choice, _): &mut (Arc<Choice>, Promise)| !choice.wake.is_living();
        let called: Vec<_> = self.choosers().called.extract_if(.., gone).collect();
        for (_, promise) in called {
            match promise {
                Promise::Value => self.called -= 1,
                Promise::Room => self.keep(-1, capacity),
            }
        }
        let gone = |engaged: &mut Engaged| !engaged.sender.is_living();
        let engaged: Vec<_> = self.choosers().engaged.extract_if(.., gone).collect();
        // They have been woken by the departure.
        engaged.iter().for_each(|engaged| self.free(&engaged.receiver));
    }

    /// An offer was withdrawn: takes the call back from a receiver that was promised a value which is not there.
    pub(super) fn recall_receiver(&mut self) {
        if !self.has_senders || self.called <= self.available() {
            return;
        }
        let plain = self.receivers.recall(|_| true, |_| ());
        let recalled = plain || self.choosers.as_mut().is_some_and(|choosers| choosers.recall_receiver());
        self.called -= usize::from(recalled);
    }

    /// The sender that it was engaged with does not send: it waits again.
    pub(super) fn free(&mut self, receiver: &Called) {
        match receiver {
            Called::Plain(ticket, wake) => self.receivers.stand_again(*ticket, *wake),
            Called::Chooser(choice) => choice.recall(),
        }
    }

    /// The receiver that has waited longest, whether it chooses or not, out of its line.
    pub(super) fn pop_receiver(&mut self) -> Option<Called> {
        loop {
            let plain = self.receivers.front();
            let line = &mut self.choosers.as_mut()?.receivers;
            let since = line.iter_mut().next().map(|chooser| chooser.since);
            match plain {
                Some(ticket) if since.is_none_or(|since| ticket < since) => {
                    if let Some((ticket, wake)) = self.receivers.dismiss() {
                        return Some(Called::Plain(ticket, wake));
                    }
                }
                _ => {
                    let chooser = line.pop()?;
                    if chooser.choice.decide(chooser.arm) {
                        return Some(Called::Chooser(chooser.choice));
                    }
                }
            }
        }
    }

    /// Whether at a rendezvous a sender that chooses waits.
    pub(super) fn has_sender(&mut self, capacity: usize) -> bool {
        capacity == 0 && self.choosers.as_mut().is_some_and(|choosers| choosers.has_sender())
    }

    /// Whether anybody waits to send, choosing or not.
    pub(super) fn has_waiting_senders(&self) -> bool {
        !self.offers.is_empty() || self.choosers.as_ref().is_some_and(|choosers| !choosers.senders.is_empty())
    }

    /// Gives the room that there is to the senders that have waited longest.
    pub(super) fn fill_room(&mut self, capacity: usize, notices: &mut Notices) {
        while self.has_receivers && self.queue.len() + self.kept < capacity.saturating_add(self.called) {
            let offer = self.offers.front();
            let Some(line) = self.choosers.as_mut().map(|choosers| &mut choosers.senders) else { return };
            let since = line.iter_mut().next().map(|chooser| chooser.since);
            if offer.is_some_and(|ticket| since.is_none_or(|since| ticket < since)) {
                let Some(Offer { value, sender }) = self.offers.pop() else { return };
                self.queue.extend(value);
                notices.extend(sender.map(Notify::Wake));
            } else {
                let Some(chooser) = line.pop() else { return };
                if chooser.choice.decide(chooser.arm) {
                    self.keep(1, capacity);
                    notices.push(Notify::Wake(chooser.choice.wake));
                    self.choosers().called.push((chooser.choice, Promise::Room));
                }
            }
        }
    }

    /// Keeps room for so many values more.
    pub(super) fn keep(&mut self, more: isize, capacity: usize) {
        self.kept = self.kept.saturating_add_signed(more);
        self.limit = capacity.saturating_sub(self.kept);
    }

    /// Calls everybody for whom there is something now.
    pub(super) fn call_all(&mut self, capacity: usize, notices: &mut Notices) {
        if capacity > 0 {
            self.fill_room(capacity, notices);
        }
        while self.available() > self.called
            && let Some(receiver) = self.pop_receiver()
        {
            self.promise_value(&receiver);
            notices.push(Notify::Wake(receiver.wake()));
        }
        let (has_free, any_plain) = (self.has_free(), !self.receivers.is_empty());
        let Some(choosers) = &mut self.choosers else { return };
        if capacity == 0 && !has_free {
            notices.extend(choosers.sender_to_look(any_plain).map(Notify::Wake));
        }
        if has_free || capacity == 0 && !choosers.watchers.is_empty() && choosers.has_sender() {
            notices.extend(choosers.watchers.drain());
        }
    }

    /// Whether a value could be sent without waiting, by somebody who waits for `choice`.
    pub(super) fn has_room(&mut self, capacity: usize, choice: Option<&Arc<Choice>>) -> bool {
        let free = self.queue.len() < self.limit || self.has_room_beyond(capacity);
        let choosing = |choosers: &mut Box<Choosers<T>>| {
            let mut receivers = choosers.receivers.iter_mut();
            receivers.any(|receiver| {
                choice.map_or_else(|| receiver.choice.is_open(), |choice| receiver.is_open_beside(choice))
            })
        };
        free || capacity == 0 && self.choosers.as_mut().is_some_and(choosing)
    }
}
