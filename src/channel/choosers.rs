//! Who waits at a channel for one of several things: the arms of a select, and the notices of a [`Waitable`].
//!
//! A chooser stands in a line of each of its channels, and its [`Choice`] is what they have in common: whoever calls it has to
//! win that first, so it is called by one of them. Called, it has what others who are called have, a promise: one of the
//! values, or in a bounded channel room for one. It claims it when it runs, and gives it back if it is killed.
//!
//! What it sends or receives is typed and its arms are not, so a choice that was made is a [`Grant`]: a value that was set
//! aside, or room that is kept, until [`Receiver::take_granted`] or [`Sender::send_granted`].
//!
//! At a rendezvous a receiver that chooses is chosen by a sender: one that comes tells one of the choosing senders to look again, and
//! that engages the receiver, which waits from then on for this sender's value. Only a receiver that looks, and stands in no line
//! meanwhile, [chooses](Core::meet_sender) a sender that waits: two that look at each other could each see the other one busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use super::core::{Core, Offer, State};
use super::{Receiver, Sender};
use crate::error::{RecvError, SendError};
use crate::fiber::may_wait;
use crate::hub::waiter::{Notify, Waiter, WaitingOn, Wake, departures};
use crate::hub::waitlist::{Ticket, WaitList};
use crate::sys::lock::LockGuard;
use crate::task::{Notice, Subscription, Waitable};

/// One wait for several things, as those see it.
#[derive(Debug)]
pub(crate) struct Choice {
    /// The number of the arm that was called, or one of the two below.
    called: AtomicUsize,
    wake: Wake,
}

impl Choice {
    const OPEN: usize = usize::MAX;
    /// No arm can be called any more: the arms are to be looked at again.
    const CLOSED: usize = usize::MAX - 1;

    pub(crate) fn new(wake: Wake) -> Choice {
        Choice { called: AtomicUsize::new(Choice::OPEN), wake }
    }

    fn decide(&self, outcome: usize) -> bool {
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
    fn recall(&self) {
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
    fn due(&self) -> Option<Instant> {
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

struct Chooser {
    choice: Arc<Choice>,
    arm: usize,
    /// What the next in the line of those who do not choose had for a ticket when it came.
    since: Ticket,
}

/// A receiver that a sender has chosen, or that has chosen a sender. The value is on its way.
struct Engaged {
    number: u64,
    receiver: Called,
    sender: Sending,
    /// The place of the value among the offers.
    place: Ticket,
}

/// Who is to send a value.
enum Sending {
    /// One that has chosen the receiver. The wake is of nobody: it tells whether the sender is living.
    Choosing(Wake),
    /// One that was chosen by the receiver, and may not know yet.
    Chosen(Arc<Choice>),
}

impl Sending {
    fn is_living(&self) -> bool {
        match self {
            Sending::Choosing(wake) => wake.is_living(),
            Sending::Chosen(choice) => choice.wake.is_living(),
        }
    }

    fn is(&self, choice: &Arc<Choice>) -> bool {
        matches!(self, Sending::Chosen(own) if Arc::ptr_eq(own, choice))
    }
}

/// What a chooser that was called and has not run since is promised.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Promise {
    Value,
    Room,
}

/// Who was popped from a line of receivers.
enum Called {
    Plain(Ticket, Wake),
    Chooser(Arc<Choice>),
}

impl Called {
    fn wake(&self) -> Wake {
        match self {
            Called::Plain(_, wake) => *wake,
            Called::Chooser(choice) => choice.wake,
        }
    }
}

/// What a channel knows of those who choose.
pub(super) struct Choosers<T> {
    receivers: WaitList<Chooser>,
    senders: WaitList<Chooser>,
    /// Those who only want to hear that there is a value.
    watchers: WaitList<Notify>,
    /// Those who were called and have not run since.
    called: Vec<(Arc<Choice>, Promise)>,
    engaged: Vec<Engaged>,
    /// Values that were chosen, and belong to the channel no more unless they are given back.
    aside: Vec<(u64, T)>,
    next_number: u64,
    /// The departures of which it has taken notice.
    noticed: u64,
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
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// One that was called runs. Returns whether there is a promise of that kind for it.
    fn claim(&mut self, choice: &Arc<Choice>, promise: Promise) -> bool {
        let own = |(other, kind): &(Arc<Choice>, Promise)| Arc::ptr_eq(other, choice) && *kind == promise;
        let place = self.called.iter().position(own);
        place.map(|place| self.called.swap_remove(place)).is_some()
    }

    /// Takes the promise of a value back from one that was called and has not run since: it looks again.
    fn recall_receiver(&mut self) -> bool {
        let place = self.called.iter().rposition(|&(_, promise)| promise == Promise::Value);
        let recalled = place.map(|place| self.called.swap_remove(place));
        recalled.inspect(|(choice, _)| choice.recall()).is_some()
    }

    /// Whether a sender that chooses waits.
    fn has_sender(&mut self) -> bool {
        self.senders.iter_mut().any(|sender| sender.choice.is_open())
    }

    /// Calls the sender that chooses and has waited longest.
    fn pop_sender(&mut self) -> Option<Arc<Choice>> {
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
    fn sender_to_look(&mut self, any_plain: bool) -> Option<Wake> {
        let Choosers { receivers, senders, .. } = self;
        let told = senders.iter_mut().find(|sender| {
            let other = |receiver: &mut Chooser| receiver.is_open_beside(&sender.choice);
            (any_plain || receivers.iter_mut().any(other)) && sender.choice.decide(Choice::CLOSED)
        });
        told.map(|sender| sender.choice.wake)
    }
}

impl Chooser {
    /// Whether it could be called by somebody who waits for `choice`: nobody meets himself.
    fn is_open_beside(&self, choice: &Arc<Choice>) -> bool {
        !Arc::ptr_eq(&self.choice, choice) && self.choice.is_open()
    }
}

impl<T> State<T> {
    fn choosers(&mut self) -> &mut Choosers<T> {
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

    fn set_aside(&mut self, value: T) -> Grant {
        let choosers = self.choosers();
        let number = choosers.number();
        choosers.aside.push((number, value));
        Grant::Value(number)
    }

    fn take_aside(&mut self, number: u64) -> Option<T> {
        let aside = &mut self.choosers().aside;
        let index = aside.iter().position(|&(other, _)| other == number)?;
        Some(aside.swap_remove(index).1)
    }

    /// Promises a value to one that was popped.
    fn promise_value(&mut self, receiver: &Called) {
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
    fn free(&mut self, receiver: &Called) {
        match receiver {
            Called::Plain(ticket, wake) => self.receivers.stand_again(*ticket, *wake),
            Called::Chooser(choice) => choice.recall(),
        }
    }

    /// The receiver that has waited longest, whether it chooses or not, out of its line.
    fn pop_receiver(&mut self) -> Option<Called> {
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
    fn has_sender(&mut self, capacity: usize) -> bool {
        capacity == 0 && self.choosers.as_mut().is_some_and(|choosers| choosers.has_sender())
    }

    /// Gives the room that there is to the senders that have waited longest.
    fn fill_room(&mut self, capacity: usize, notices: &mut Vec<Notify>) {
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
    fn keep(&mut self, more: isize, capacity: usize) {
        self.kept = self.kept.saturating_add_signed(more);
        self.limit = capacity.saturating_sub(self.kept);
    }

    /// Calls everybody for whom there is something now.
    fn call_all(&mut self, capacity: usize, notices: &mut Vec<Notify>) {
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
    fn has_room(&mut self, capacity: usize, choice: Option<&Arc<Choice>>) -> bool {
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

impl<T> Core<T> {
    /// [`announce`](Core::announce) where somebody chooses.
    #[cold]
    pub(super) fn announce_to_choosers(&self, mut state: LockGuard<'_, State<T>>) {
        let mut notices = Vec::new();
        state.call_all(self.capacity, &mut notices);
        drop(state);
        notices.into_iter().for_each(Notify::notify);
    }

    /// Hands `value` to a receiver that chooses, at a rendezvous where no other waits. Gives it back if there is none.
    #[cold]
    pub(super) fn meet_chooser(&self, mut state: LockGuard<'_, State<T>>, value: T) -> Result<(), T> {
        let receiver = if self.capacity == 0 { state.pop_receiver() } else { None };
        let Some(receiver) = receiver else { return Err(value) };
        state.promise_value(&receiver);
        state.offers.push(Offer { value: Some(value), sender: None });
        drop(state);
        receiver.wake().wake();
        Ok(())
    }

    // ---- receiving ----

    /// At a rendezvous: the value of a sender that waits and chooses, for which this waits, however long that sender takes to make it.
    /// `None` if there is no such sender, or where nothing may wait.
    #[cold]
    pub(super) fn meet_sender<'a>(&'a self, mut state: LockGuard<'a, State<T>>) -> Option<T> {
        loop {
            let choosers = state.choosers.as_mut().filter(|_| self.capacity == 0)?;
            if !choosers.has_sender() || !may_wait() {
                return None;
            }
            let sender = choosers.pop_sender()?;
            let number = choosers.number();
            let waiter = Waiter::new(WaitingOn::Other("Receiver::try_recv"));
            let ticket = state.receivers.reserve();
            let place = state.offers.reserve();
            let receiver = Called::Plain(ticket, waiter.wake());
            let wake = sender.wake;
            let sender = Sending::Chosen(sender);
            state.choosers().engaged.push(Engaged { number, receiver, sender, place });
            drop(state);
            wake.wake();
            state = self.await_engaged(&waiter, self.state.lock(), ticket);
            if state.receivers.leave(ticket).is_some() {
                state.called -= 1;
                match self.take(state) {
                    Ok(value) => return Some(value),
                    Err(left) => state = left,
                }
            }
        }
    }

    /// Waits until what the receiver of `ticket` is engaged for is there, or will not come.
    pub(super) fn await_engaged<'a>(
        &'a self,
        waiter: &Waiter,
        mut state: LockGuard<'a, State<T>>,
        ticket: Ticket,
    ) -> LockGuard<'a, State<T>> {
        loop {
            if state.is_engaged(ticket) {
                state.forget_gone(self.capacity);
            }
            if !state.is_engaged(ticket) {
                return state;
            }
            drop(state);
            waiter.park_uninterrupted();
            state = self.state.lock();
        }
    }

    fn choose_value(&self) -> Option<Grant> {
        let state = self.state.lock();
        let value = if state.has_free() {
            match self.take(state) {
                Ok(value) => value,
                Err(_) => return Some(Grant::Disconnected),
            }
        } else {
            self.try_recv_otherwise(state)?
        };
        Some(self.state.lock().set_aside(value))
    }

    fn accept_value(&self, choice: &Arc<Choice>) -> Option<Grant> {
        let mut state = self.state.lock();
        state.called -= usize::from(state.choosers().claim(choice, Promise::Value));
        match self.take(state) {
            Ok(value) => Some(self.state.lock().set_aside(value)),
            Err(state) => (!state.has_senders).then_some(Grant::Disconnected),
        }
    }

    fn refuse_value(&self, choice: &Arc<Choice>) {
        let mut state = self.state.lock();
        state.called -= usize::from(state.choosers().claim(choice, Promise::Value));
        self.announce(state);
    }

    fn give_value_back(&self, grant: Grant) {
        let Grant::Value(number) = grant else { return };
        let mut state = self.state.lock();
        if let Some(value) = state.take_aside(number) {
            state.queue.push_front(value);
        }
        self.announce(state);
    }

    fn has_value(&self) -> bool {
        let mut state = self.state.lock();
        if state.has_free_now(self.capacity) || state.has_sender(self.capacity) {
            return true;
        }
        drop(state);
        self.due().is_some_and(|due| due <= Instant::now())
    }

    // ---- sending ----

    fn choose_room(&self) -> Option<Grant> {
        let mut state = self.state.lock();
        if !state.has_receivers {
            return Some(Grant::Disconnected);
        }
        // Who waits is served with regard to the room that is kept as soon as there are choosers.
        state.choosers();
        state.forget_gone(self.capacity);
        if self.capacity > 0 {
            return state.has_room(self.capacity, None).then(|| {
                state.keep(1, self.capacity);
                Grant::Room
            });
        }
        let receiver = state.pop_receiver()?;
        let place = state.offers.reserve();
        let choosers = state.choosers();
        let number = choosers.number();
        let sender = Sending::Choosing(Wake::of_nobody());
        choosers.engaged.push(Engaged { number, receiver, sender, place });
        Some(Grant::Engaged(number))
    }

    fn accept_room(&self, choice: &Arc<Choice>) -> Grant {
        let mut state = self.state.lock();
        let choosers = state.choosers();
        choosers.claim(choice, Promise::Room);
        let engaged = choosers.engaged.iter().find(|engaged| engaged.sender.is(choice));
        engaged.map_or(Grant::Room, |engaged| Grant::Engaged(engaged.number))
    }

    /// Carries out what was granted.
    fn send_granted(&self, grant: Grant, value: T) -> Result<(), SendError<T>> {
        let mut state = self.state.lock();
        if let Grant::Room = grant {
            state.keep(-1, self.capacity);
        }
        if !state.has_receivers {
            return Err(SendError(value));
        }
        let Grant::Engaged(number) = grant else {
            state.queue.push_back(value);
            self.announce(state);
            return Ok(());
        };
        let Some(engaged) = state.choosers().disengage(number) else { return Err(SendError(value)) };
        state.offers.restore(engaged.place, Offer { value: Some(value), sender: None });
        state.promise_value(&engaged.receiver);
        drop(state);
        engaged.receiver.wake().wake();
        Ok(())
    }

    fn give_room_back(&self, grant: Grant) {
        let mut state = self.state.lock();
        let receiver = match grant {
            Grant::Engaged(number) => state.choosers().disengage(number).map(|engaged| engaged.receiver),
            Grant::Room => {
                state.keep(-1, self.capacity);
                None
            }
            Grant::Value(_) | Grant::Disconnected => return,
        };
        if let Some(receiver) = &receiver {
            state.free(receiver);
        }
        self.announce(state);
        if let Some(receiver) = receiver {
            receiver.wake().wake();
        }
    }
}

impl<T> Choosers<T> {
    fn disengage(&mut self, number: u64) -> Option<Engaged> {
        let index = self.engaged.iter().position(|engaged| engaged.number == number)?;
        Some(self.engaged.swap_remove(index))
    }
}

impl<T> Receiver<T> {
    /// Carries out what was granted.
    pub(crate) fn take_granted(&self, grant: Grant) -> Result<T, RecvError> {
        match grant {
            Grant::Value(number) => self.core.state.lock().take_aside(number).ok_or(RecvError),
            _ => Err(RecvError),
        }
    }
}

impl<T> Sender<T> {
    /// Carries out what was granted.
    pub(crate) fn send_granted(&self, grant: Grant, value: T) -> Result<(), SendError<T>> {
        self.core.send_granted(grant, value)
    }
}

impl<T> Arm for Receiver<T> {
    fn attempt(&self) -> Option<Grant> {
        self.core.choose_value()
    }

    fn is_ready(&self) -> bool {
        self.core.has_value()
    }

    fn register(&self, choice: &Arc<Choice>, arm: usize) -> Option<Ticket> {
        if self.core.has_value() && self.core.due().is_some() {
            return None;
        }
        let mut state = self.core.state.lock();
        if state.has_free_now(self.core.capacity) {
            return None;
        }
        let since = state.receivers.next_ticket();
        let choice = Arc::clone(choice);
        let ticket = state.choosers().receivers.push(Chooser { choice, arm, since });
        self.core.announce(state);
        Some(ticket)
    }

    fn unregister(&self, ticket: Ticket) {
        let mut state = self.core.state.lock();
        let _chooser = state.choosers().receivers.remove(ticket);
    }

    fn due(&self) -> Option<Instant> {
        self.core.due()
    }

    fn is_engaged(&self, choice: &Arc<Choice>) -> bool {
        let mut state = self.core.state.lock();
        state.forget_gone(self.core.capacity);
        let own = |engaged: &Engaged| matches!(&engaged.receiver, Called::Chooser(other) if Arc::ptr_eq(other, choice));
        state.choosers().engaged.iter().any(own)
    }

    fn accept(&self, choice: &Arc<Choice>) -> Option<Grant> {
        self.core.accept_value(choice)
    }

    fn refuse(&self, choice: &Arc<Choice>) {
        self.core.refuse_value(choice);
    }

    fn give_back(&self, grant: Grant) {
        self.core.give_value_back(grant);
    }
}

impl<T> Arm for Sender<T> {
    fn attempt(&self) -> Option<Grant> {
        self.core.choose_room()
    }

    fn is_ready(&self) -> bool {
        let mut state = self.core.state.lock();
        state.forget_gone(self.core.capacity);
        !state.has_receivers || state.has_room(self.core.capacity, None)
    }

    fn register(&self, choice: &Arc<Choice>, arm: usize) -> Option<Ticket> {
        let mut state = self.core.state.lock();
        state.forget_gone(self.core.capacity);
        if !state.has_receivers || state.has_room(self.core.capacity, Some(choice)) {
            return None;
        }
        let since = state.offers.next_ticket();
        let choice = Arc::clone(choice);
        let ticket = state.choosers().senders.push(Chooser { choice, arm, since });
        if self.core.capacity == 0 {
            // Who watches for a value may meet this one.
            self.core.announce(state);
        }
        Some(ticket)
    }

    /// At a rendezvous it may have been told of a receiver: somebody else is told then.
    fn unregister(&self, ticket: Ticket) {
        let mut state = self.core.state.lock();
        let _chooser = state.choosers().senders.remove(ticket);
        if self.core.capacity == 0 {
            self.core.announce(state);
        }
    }

    fn is_engaged(&self, _: &Arc<Choice>) -> bool {
        false
    }

    fn accept(&self, choice: &Arc<Choice>) -> Option<Grant> {
        Some(self.core.accept_room(choice))
    }

    fn refuse(&self, choice: &Arc<Choice>) {
        self.core.give_room_back(self.core.accept_room(choice));
    }

    fn give_back(&self, grant: Grant) {
        self.core.give_room_back(grant);
    }
}

/// Ready when there is a value that is promised to nobody, or the channel is disconnected. A wait receives nothing.
impl<T> Waitable for Receiver<T> {
    fn is_ready(&self) -> bool {
        self.core.has_value()
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        let (mut state, capacity) = (self.core.state.lock(), self.core.capacity);
        if !state.has_free_now(capacity) && !state.has_sender(capacity) {
            return Subscription::new(state.choosers().watchers.push_for_others(notice.0));
        }
        drop(state);
        notice.give();
        Subscription::none()
    }

    fn unsubscribe(&self, subscription: Subscription) {
        let Some(ticket) = subscription.ticket() else { return };
        // Dropped after the lock: a notice may own other code.
        let _notice = self.core.state.lock().choosers().watchers.remove(ticket);
    }

    fn ready_at(&self) -> Option<Instant> {
        self.core.due()
    }
}
