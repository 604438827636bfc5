//! What a choice among several things does at one channel: it looks, claims what it was called for, carries that out, or passes it
//! on.

use std::sync::Arc;

use super::choice::{Choice, Grant};
use super::choosers::{Called, Chooser, Engaged, Promise, Sending};
use super::flow::Offer;
use super::shared::Channel;
use crate::error::{RecvError, SendError};
use crate::hub::waiter::Wake;
use crate::hub::waitlist::Ticket;
use crate::sys::clock::instant_now;
use crate::task::{Notice, Subscription};

impl<T> Channel<T> {
    // ---- receiving ----

    pub(super) fn choose_value(&self) -> Option<Grant> {
        let flow = self.flow.lock();
        let value = if flow.has_free() {
            match self.take(flow) {
                Ok(value) => value,
                Err(_) => return Some(Grant::Disconnected),
            }
        } else {
            self.try_recv_otherwise(flow)?
        };
        Some(self.flow.lock().set_aside(value))
    }

    pub(super) fn accept_value(&self, choice: &Arc<Choice>) -> Option<Grant> {
        let mut flow = self.flow.lock();
        flow.called -= usize::from(flow.choosers().claim(choice, Promise::Value));
        match self.take(flow) {
            Ok(value) => Some(self.flow.lock().set_aside(value)),
            Err(flow) => (!flow.has_senders).then_some(Grant::Disconnected),
        }
    }

    pub(super) fn refuse_value(&self, choice: &Arc<Choice>) {
        let mut flow = self.flow.lock();
        flow.called -= usize::from(flow.choosers().claim(choice, Promise::Value));
        self.announce(flow);
    }

    pub(super) fn give_value_back(&self, grant: Grant) {
        let Grant::Value(number) = grant else { return };
        let mut flow = self.flow.lock();
        if let Some(value) = flow.take_aside(number) {
            flow.queue.push_front(value);
        }
        self.announce(flow);
    }

    pub(super) fn has_value(&self) -> bool {
        let mut flow = self.flow.lock();
        if flow.has_free_now(self.capacity) || flow.has_sender(self.capacity) {
            return true;
        }
        drop(flow);
        self.due().is_some_and(|due| due <= instant_now())
    }

    pub(super) fn register_for_value(&self, choice: &Arc<Choice>, arm: usize) -> Option<Ticket> {
        if self.due().is_some_and(|due| due <= instant_now()) {
            return None;
        }
        let mut flow = self.flow.lock();
        if flow.has_free_now(self.capacity) {
            return None;
        }
        let since = flow.receivers.next_ticket();
        let choice = Arc::clone(choice);
        let ticket = flow.choosers().receivers.push(Chooser { choice, arm, since });
        if self.capacity == 0 || flow.has_waiting_senders() {
            // At a rendezvous a sender that chooses may meet this one. Elsewhere there may be room now that was kept for one who is gone.
            self.announce(flow);
        }
        Some(ticket)
    }

    pub(super) fn unregister_for_value(&self, ticket: Ticket) {
        let mut flow = self.flow.lock();
        let _chooser = flow.choosers().receivers.remove(ticket);
    }

    pub(super) fn is_engaged(&self, choice: &Arc<Choice>) -> bool {
        let mut flow = self.flow.lock();
        flow.forget_gone(self.capacity);
        let own = |engaged: &Engaged| matches!(&engaged.receiver, Called::Chooser(other) if Arc::ptr_eq(other, choice));
        flow.choosers().engaged.iter().any(own)
    }

    /// Carries out what was granted.
    pub(super) fn take_granted(&self, grant: Grant) -> Result<T, RecvError> {
        match grant {
            Grant::Value(number) => self.flow.lock().take_aside(number).ok_or(RecvError),
            _ => Err(RecvError),
        }
    }

    /// Has `notice` given when there is a value that is promised to nobody, or the channel is disconnected.
    pub(super) fn watch(&self, notice: Notice) -> Subscription {
        let mut flow = self.flow.lock();
        if !flow.has_free_now(self.capacity) && !flow.has_sender(self.capacity) {
            return Subscription::new(flow.choosers().watchers.push_for_others(notice.0));
        }
        drop(flow);
        notice.give();
        Subscription::none()
    }

    pub(super) fn unwatch(&self, subscription: Subscription) {
        let Some(ticket) = subscription.ticket() else { return };
        // Dropped after the lock: a notice may own other code.
        let _notice = self.flow.lock().choosers().watchers.remove(ticket);
    }

    // ---- sending ----

    pub(super) fn choose_room(&self) -> Option<Grant> {
        let mut flow = self.flow.lock();
        if !flow.has_receivers {
            return Some(Grant::Disconnected);
        }
        // Who waits is served with regard to the room that is kept as soon as there are choosers.
        flow.choosers();
        flow.forget_gone(self.capacity);
        if self.capacity > 0 {
            return flow.has_room(self.capacity, None).then(|| {
                flow.keep(1, self.capacity);
                Grant::Room
            });
        }
        let receiver = flow.pop_receiver()?;
        let place = flow.offers.reserve();
        let choosers = flow.choosers();
        let number = choosers.number();
        let sender = Sending::Choosing(Wake::of_nobody());
        choosers.engaged.push(Engaged { number, receiver, sender, place });
        Some(Grant::Engaged(number))
    }

    pub(super) fn accept_room(&self, choice: &Arc<Choice>) -> Grant {
        let mut flow = self.flow.lock();
        let choosers = flow.choosers();
        choosers.claim(choice, Promise::Room);
        let engaged = choosers.engaged.iter().find(|engaged| engaged.sender.is(choice));
        engaged.map_or(Grant::Room, |engaged| Grant::Engaged(engaged.number))
    }

    /// Carries out what was granted.
    pub(super) fn send_granted(&self, grant: Grant, value: T) -> Result<(), SendError<T>> {
        let mut flow = self.flow.lock();
        if let Grant::Room = grant {
            flow.keep(-1, self.capacity);
        }
        if !flow.has_receivers {
            return Err(SendError(value));
        }
        let Grant::Engaged(number) = grant else {
            flow.queue.push_back(value);
            self.announce(flow);
            return Ok(());
        };
        let Some(engaged) = flow.choosers().disengage(number) else { return Err(SendError(value)) };
        flow.offers.restore(engaged.place, Offer { value: Some(value), sender: None });
        flow.promise_value(&engaged.receiver);
        drop(flow);
        engaged.receiver.wake().wake();
        Ok(())
    }

    pub(super) fn give_room_back(&self, grant: Grant) {
        let mut flow = self.flow.lock();
        let receiver = match grant {
            Grant::Engaged(number) => flow.choosers().disengage(number).map(|engaged| engaged.receiver),
            Grant::Room => {
                flow.keep(-1, self.capacity);
                None
            }
            Grant::Value(_) | Grant::Disconnected => return,
        };
        if let Some(receiver) = &receiver {
            flow.free(receiver);
        }
        self.announce(flow);
        if let Some(receiver) = receiver {
            receiver.wake().wake();
        }
    }

    pub(super) fn has_room(&self) -> bool {
        let mut flow = self.flow.lock();
        flow.forget_gone(self.capacity);
        !flow.has_receivers || flow.has_room(self.capacity, None)
    }

    pub(super) fn register_for_room(&self, choice: &Arc<Choice>, arm: usize) -> Option<Ticket> {
        let mut flow = self.flow.lock();
        flow.forget_gone(self.capacity);
        if !flow.has_receivers || flow.has_room(self.capacity, Some(choice)) {
            return None;
        }
        let since = flow.offers.next_ticket();
        let choice = Arc::clone(choice);
        let ticket = flow.choosers().senders.push(Chooser { choice, arm, since });
        if self.capacity == 0 {
            // Who watches for a value may meet this one.
            self.announce(flow);
        }
        Some(ticket)
    }

    /// At a rendezvous it may have been told of a receiver: somebody else is told then.
    pub(super) fn unregister_for_room(&self, ticket: Ticket) {
        let mut flow = self.flow.lock();
        let _chooser = flow.choosers().senders.remove(ticket);
        if self.capacity == 0 {
            self.announce(flow);
        }
    }
}
