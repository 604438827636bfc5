//! Who waits at a channel for one of several things: those who stand in line, those who were called, those who have met.
//!
//! At a rendezvous a receiver that chooses is chosen by a sender: one that comes tells one of the choosing senders to look again, and
//! that engages the receiver, which waits from then on for this sender's value. Only a receiver that looks, and stands in no line
//! meanwhile, chooses a sender that waits: two that look at each other could each see the other one busy.

use std::sync::Arc;

use super::choice::Choice;
use crate::hub::waiter::{Notify, Wake};
use crate::hub::waitlist::{Ticket, WaitList};

pub(super) struct Chooser {
    pub(super) choice: Arc<Choice>,
    pub(super) arm: usize,
    /// What the next in the line of those who do not choose had for a ticket when it came.
    pub(super) since: Ticket,
}

/// A receiver that a sender has chosen, or that has chosen a sender. The value is on its way.
pub(super) struct Engaged {
    pub(super) number: u64,
    pub(super) receiver: Called,
    pub(super) sender: Sending,
    /// The place of the value among the offers.
    pub(super) place: Ticket,
}

/// Who is to send a value.
pub(super) enum Sending {
    /// One that has chosen the receiver. The wake is of nobody: it tells whether the sender is living.
    Choosing(Wake),
    /// One that was chosen by the receiver, and may not know yet.
    Chosen(Arc<Choice>),
}

impl Sending {
    pub(super) fn is_living(&self) -> bool {
        match self {
            Sending::Choosing(wake) => wake.is_living(),
            Sending::Chosen(choice) => choice.wake.is_living(),
        }
    }

    pub(super) fn is(&self, choice: &Arc<Choice>) -> bool {
        matches!(self, Sending::Chosen(own) if Arc::ptr_eq(own, choice))
    }
}

/// What a chooser that was called and has not run since is promised.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    Value,
    Room,
}

/// Who was popped from a line of receivers.
pub(super) enum Called {
    Plain(Ticket, Wake),
    Chooser(Arc<Choice>),
}

impl Called {
    pub(super) fn wake(&self) -> Wake {
        match self {
            Called::Plain(_, wake) => *wake,
            Called::Chooser(choice) => choice.wake,
        }
    }
}

/// What a channel knows of those who choose.
pub(super) struct Choosers<T> {
    pub(super) receivers: WaitList<Chooser>,
    pub(super) senders: WaitList<Chooser>,
    /// Those who only want to hear that there is a value.
    pub(super) watchers: WaitList<Notify>,
    /// Those who were called and have not run since.
    pub(super) called: Vec<(Arc<Choice>, Promise)>,
    pub(super) engaged: Vec<Engaged>,
    /// Values that were chosen, and belong to the channel no more unless they are given back.
    pub(super) aside: Vec<(u64, T)>,
    next_number: u64,
    /// The departures of which it has taken notice.
    pub(super) noticed: u64,
}

impl<T> Default for Choosers<T> {
    fn default() -> Choosers<T> {
        Choosers {
            receivers: WaitList::new(),
            senders: WaitList::new(),
            watchers: WaitList::new(),
            called: Vec::new(),
            engaged: Vec::new(),
            aside: Vec::new(),
            next_number: 0,
            noticed: 0,
        }
    }
}

impl<T> Choosers<T> {
    /// A number for what is engaged or set aside.
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// One that was called runs. Returns whether there is a promise of that kind for it.
    pub(super) fn claim(&mut self, choice: &Arc<Choice>, promise: Promise) -> bool {
        let own = |(other, kind): &(Arc<Choice>, Promise)| Arc::ptr_eq(other, choice) && *kind == promise;
        let place = self.called.iter().position(own);
        place.map(|place| self.called.swap_remove(place)).is_some()
    }

    /// Takes the promise of a value back from one that was called and has not run since: it looks again.
    pub(super) fn recall_receiver(&mut self) -> bool {
        let place = self.called.iter().rposition(|&(_, promise)| promise == Promise::Value);
        let recalled = place.map(|place| self.called.swap_remove(place));
        recalled.inspect(|(choice, _)| choice.recall()).is_some()
    }

    /// Whether a sender that chooses waits.
    pub(super) fn has_sender(&mut self) -> bool {
        self.senders.iter_mut().any(|sender| sender.choice.is_open())
    }

    /// Calls the sender that chooses and has waited longest.
    pub(super) fn pop_sender(&mut self) -> Option<Arc<Choice>> {
        let called = |chooser: Chooser| chooser.choice.decide(chooser.arm).then_some(chooser.choice);
        std::iter::from_fn(|| self.senders.pop()).find_map(called)
    }

    /// One of those who are to hear that there are no senders any more.
    pub(super) fn next_receiver_to_look(&mut self) -> Option<Notify> {
        let told = |chooser: Chooser| chooser.choice.decide(Choice::CLOSED).then_some(chooser.choice.wake);
        let chooser = std::iter::from_fn(|| self.receivers.pop()).find_map(told);
        chooser.map(Notify::Wake).or_else(|| self.watchers.pop())
    }

    /// All who are to hear that there are no receivers any more.
    pub(super) fn senders_to_look(&mut self) -> Vec<Wake> {
        let told = |chooser: Chooser| chooser.choice.decide(Choice::CLOSED).then_some(chooser.choice.wake);
        self.senders.drain().filter_map(told).collect()
    }

    /// A sender to look again, because there is a receiver that it could engage.
    pub(super) fn sender_to_look(&mut self, any_plain: bool) -> Option<Wake> {
        let Choosers { receivers, senders, .. } = self;
        let told = senders.iter_mut().find(|sender| {
            let other = |receiver: &mut Chooser| receiver.is_open_beside(&sender.choice);
            (any_plain || receivers.iter_mut().any(other)) && sender.choice.decide(Choice::CLOSED)
        });
        told.map(|sender| sender.choice.wake)
    }

    /// Ends an engagement.
    pub(super) fn disengage(&mut self, number: u64) -> Option<Engaged> {
        let index = self.engaged.iter().position(|engaged| engaged.number == number)?;
        Some(self.engaged.swap_remove(index))
    }
}

impl Chooser {
    /// Whether it could be called by somebody who waits for `choice`: nobody meets himself.
    pub(super) fn is_open_beside(&self, choice: &Arc<Choice>) -> bool {
        !Arc::ptr_eq(&self.choice, choice) && self.choice.is_open()
    }
}
