//! What both ends of a channel share: the values on their way, and two lines.
//!
//! One set of rules serves all three kinds. Values wait in `queue` up to the capacity. A sender that finds no room waits
//! in `offers` with its value; so does every sender of a rendezvous, whose capacity is zero, until a receiver takes it.
//! A receiver that finds nothing waits in `receivers`. For each value that comes, one of them is called, and the value is
//! promised to it: others leave it alone until it has run. No value belongs to a parked receiver, so there is nothing to
//! give back when one is killed: the promise alone goes to the next in line.
//!
//! Who waits for several things at once stands in lines of its own, see `choosers`, which most channels never have.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::choosers::Choosers;
use super::clock::Clock;
use crate::error::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use crate::hub::handover::{self, Ended, Line};
use crate::hub::waiter::{Notify, Waiter, WaitingOn, Wake, Wakeup};
use crate::hub::waitlist::{Ticket, WaitList};
use crate::sys::clock::Time;
use crate::sys::lock::{Lock, LockGuard};

/// A channel, as both of its ends see it.
pub(super) struct Core<T> {
    pub(super) state: Lock<State<T>>,
    /// How many values `queue` takes; `usize::MAX` if there is no bound, 0 for a rendezvous.
    pub(super) capacity: usize,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

pub(super) struct State<T> {
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

impl<T> State<T> {
    #[inline]
    pub(super) fn available(&self) -> usize {
        self.queue.len() + self.offers.len()
    }

    /// Calls the first receiver in line, if there is a value that is promised to nobody.
    #[inline]
    fn call_receiver(&mut self) -> Option<Wake> {
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

    /// [`has_free`](State::has_free), also if it was promised to one that never runs again.
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
        self.clock.as_mut()?.take(Instant::now())
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
}

impl<T> Core<T> {
    /// For one sender and one receiver.
    pub(super) fn new(capacity: usize) -> Core<T> {
        let state = State {
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
        };
        Core {
            state: Lock::new(state),
            capacity,
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
        }
    }

    /// For one receiver, and no sender but `clock`.
    pub(super) fn with_clock(clock: Clock<T>) -> Core<T> {
        let core = Core::new(1);
        core.state.lock().clock = Some(Box::new(clock));
        core
    }

    // ---- sending ----

    #[inline]
    pub(super) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.send_at_once(value, false) {
            Ok(()) => Ok(()),
            Err((state, value)) if state.has_receivers => {
                self.meet_chooser(state, value).map_err(TrySendError::Full)
            }
            Err((_, value)) => Err(TrySendError::Disconnected(value)),
        }
    }

    /// Without a deadline the only error is that of a disconnected channel.
    #[inline]
    pub(super) fn send(&self, value: T, deadline: Option<Time>) -> Result<(), SendTimeoutError<T>> {
        match self.send_at_once(value, true) {
            Ok(()) => Ok(()),
            Err((state, value)) if state.has_receivers => self.offer(value, state, deadline),
            Err((_, value)) => Err(SendTimeoutError::Disconnected(value)),
        }
    }

    /// Sends if there is room or a receiver waits. Who `may_wait` meets a receiver of a rendezvous only by waiting: it is to
    /// know that the value was taken.
    #[inline]
    fn send_at_once(&self, value: T, may_wait: bool) -> Result<(), (LockGuard<'_, State<T>>, T)> {
        let mut state = self.state.lock();
        if state.queue.len() >= state.limit && !self.has_room_beyond(&mut state, may_wait)
            || !state.has_receivers
        {
            return Err((state, value));
        }
        if self.capacity == 0 {
            state.offers.push(Offer { value: Some(value), sender: None });
        } else {
            state.queue.push_back(value);
        }
        self.announce(state);
        Ok(())
    }

    /// Releases the lock, and calls whom the change that was made under it concerns.
    #[inline]
    pub(super) fn announce(&self, mut state: LockGuard<'_, State<T>>) {
        if state.choosers.is_some() {
            return self.announce_to_choosers(state);
        }
        let receiver = state.call_receiver();
        drop(state);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    /// Whether there is room in a channel that is full: what was promised to receivers, or would be, does not count.
    #[cold]
    fn has_room_beyond(&self, state: &mut State<T>, may_wait: bool) -> bool {
        if may_wait && self.capacity == 0 {
            return false;
        }
        state.forget_gone(self.capacity);
        state.has_room_beyond(self.capacity)
    }

    /// Waits with the value in `offers`. If the wait is refused, the lock goes first: the value's destructor may do anything.
    fn offer(
        &self,
        value: T,
        mut state: LockGuard<'_, State<T>>,
        deadline: Option<Time>,
    ) -> Result<(), SendTimeoutError<T>> {
        let waiter = Waiter::new(WaitingOn::Other("Sender::send"));
        let ticket = state.offers.push(Offer { value: Some(value), sender: Some(waiter.wake()) });
        self.announce(state);
        let settle = |state: &mut State<T>| {
            let over = !state.has_receivers || !state.offers.contains(ticket);
            over.then(|| state.offers.remove(ticket))
        };
        let (mut state, ended) = waiter.stand(&self.state, deadline, settle, |state| self.look_again(state));
        let (refused, ended) = match ended {
            Ok(refused) => (refused, None),
            Err(ended) => {
                let refused = state.offers.remove(ticket);
                state.recall_receiver();
                (refused, Some(ended))
            }
        };
        let disconnected = !state.has_receivers;
        drop(state);
        if let Some(Ended::Interrupted(interrupt)) = ended {
            drop(refused);
            interrupt.raise();
        }
        match refused.and_then(|offer| offer.value) {
            None => Ok(()),
            Some(value) if disconnected => Err(SendTimeoutError::Disconnected(value)),
            Some(value) => Err(SendTimeoutError::Timeout(value)),
        }
    }

    // ---- receiving ----

    #[inline]
    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        let state = self.state.lock();
        if !state.has_free() {
            return self.try_recv_otherwise(state).ok_or(TryRecvError::Empty);
        }
        // With senders there is one.
        self.take(state).map_err(|_| TryRecvError::Disconnected)
    }

    /// Receives what is not free at first sight: a value of the clock, one that was promised to somebody who is gone, or that of a
    /// sender that chooses.
    #[cold]
    pub(super) fn try_recv_otherwise<'a>(&'a self, mut state: LockGuard<'a, State<T>>) -> Option<T> {
        if state.clock.is_some() {
            return state.take_time();
        }
        if !state.has_free_now(self.capacity) {
            return self.meet_sender(state);
        }
        self.take(state).ok()
    }

    /// Without a deadline the only error is that of a disconnected channel.
    #[inline(always)]
    pub(super) fn recv(&self, deadline: Option<Time>) -> Result<T, RecvTimeoutError> {
        let state = self.state.lock();
        if !state.has_free() {
            return self.stand(state, deadline);
        }
        // With senders there is one.
        self.take(state).map_err(|_| RecvTimeoutError::Disconnected)
    }

    /// Takes the oldest value, promised or not, and tells the sender whom that lets go on. Without one gives the lock back.
    #[inline]
    pub(super) fn take<'a>(
        &'a self,
        mut state: LockGuard<'a, State<T>>,
    ) -> Result<T, LockGuard<'a, State<T>>> {
        if state.offers.is_empty() && state.choosers.is_none() {
            return state.queue.pop_front().ok_or(state);
        }
        self.take_beside_offers(state)
    }

    #[cold]
    fn take_beside_offers<'a>(
        &'a self,
        mut state: LockGuard<'a, State<T>>,
    ) -> Result<T, LockGuard<'a, State<T>>> {
        let (value, sender) = state.take_beside_offers(self.capacity);
        let Some(value) = value else { return Err(state) };
        if state.choosers.is_some() {
            self.announce_to_choosers(state);
        } else {
            drop(state);
        }
        if let Some(sender) = sender {
            sender.wake();
        }
        Ok(value)
    }

    /// Waits in `receivers`.
    #[inline(always)]
    fn stand<'a>(
        &'a self,
        mut state: LockGuard<'a, State<T>>,
        deadline: Option<Time>,
    ) -> Result<T, RecvTimeoutError> {
        let waiter = Waiter::new(WaitingOn::Other("Receiver::recv"));
        if state.clock.is_some() {
            drop(state);
            return self.await_time(&waiter, deadline);
        }
        let ticket = state.receivers.stand(waiter.wake());
        self.admit_receiver(state);
        loop {
            let called = |state: &mut State<T>| state.receivers.leave_if_called(ticket).map(drop);
            let (mut state, ended) =
                waiter.stand(&self.state, deadline, called, |state| self.look_again(state));
            if let Err(ended) = ended {
                return self.leave(&waiter, state, ticket, ended);
            }
            state.called -= 1;
            state = match self.take(state) {
                Ok(value) => return Ok(value),
                Err(state) => state,
            };
            if !state.has_senders {
                return Err(RecvTimeoutError::Disconnected);
            }
            // The offer that it was called for has been withdrawn.
            state.receivers.stand_again(ticket, waiter.wake());
            self.admit_receiver(state);
        }
    }

    /// Releases the lock after a receiver has come into the line.
    #[inline]
    fn admit_receiver(&self, state: LockGuard<'_, State<T>>) {
        if state.called > 0 || state.choosers.is_some() {
            self.look_again(state);
        }
    }

    /// Releases the lock, and calls whom it concerns if somebody is gone.
    #[cold]
    pub(super) fn look_again(&self, mut state: LockGuard<'_, State<T>>) {
        state.forget_gone(self.capacity);
        self.announce(state);
    }

    /// Ends a wait in `receivers` for another reason than a call, which may have come all the same.
    #[cold]
    fn leave<'a>(
        &'a self,
        waiter: &Waiter,
        mut state: LockGuard<'a, State<T>>,
        ticket: Ticket,
        ended: Ended,
    ) -> Result<T, RecvTimeoutError> {
        state = self.await_engaged(waiter, state, ticket);
        let called = state.receivers.leave(ticket).is_some();
        state.called -= usize::from(called);
        if called && matches!(ended, Ended::TimedOut) {
            state = match self.take(state) {
                Ok(value) => return Ok(value),
                Err(state) => state,
            };
        }
        let disconnected = !state.has_senders;
        self.announce(state);
        match ended {
            Ended::Interrupted(interrupt) => interrupt.raise(),
            Ended::TimedOut if disconnected => Err(RecvTimeoutError::Disconnected),
            Ended::TimedOut => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Waits for the clock. Several may do so: each looks for itself when the time has come.
    #[cold]
    fn await_time(&self, waiter: &Waiter, deadline: Option<Time>) -> Result<T, RecvTimeoutError> {
        let mut is_late = false;
        loop {
            if let Some(value) = self.state.lock().take_time() {
                return Ok(value);
            }
            if is_late {
                return Err(RecvTimeoutError::Timeout);
            }
            let due = self.due().map(Time::from_instant);
            match waiter.park(due.into_iter().chain(deadline).min()) {
                Wakeup::Interrupted(interrupt) => interrupt.raise(),
                Wakeup::Woken | Wakeup::TimedOut => {
                    is_late = deadline.is_some_and(|deadline| deadline <= Time::now());
                }
            }
        }
    }

    // ---- looking ----

    /// When the clock's next value comes, in a channel that has a clock.
    pub(super) fn due(&self) -> Option<Instant> {
        self.state.lock().clock.as_ref()?.due()
    }

    /// The values that can be received at once.
    pub(super) fn len(&self) -> usize {
        let mut state = self.state.lock();
        state.forget_gone(self.capacity);
        match &state.clock {
            Some(clock) => usize::from(clock.due().is_some_and(|due| due <= Instant::now())),
            None if self.capacity == 0 => 0,
            None => state.queue.len().saturating_sub(state.called),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        (self.capacity != usize::MAX).then_some(self.capacity)
    }

    // ---- both ends ----

    pub(super) fn add_sender(&self) {
        // Relaxed: who adds holds one already, so the count is above zero, and nothing is published by it.
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_receiver(&self) {
        // Relaxed: as in `add_sender`.
        self.receivers.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a sender away; with the last one the channel disconnects, and all receivers that wait are told.
    pub(super) fn remove_sender(&self) {
        // Release: what this sender sent is before its end. Acquire: the last one sees the end of all others.
        if self.senders.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let mut state = self.state.lock();
        state.has_senders = false;
        handover::notify_all(&self.state, state, |state| {
            let Some(receiver) = state.receivers.call() else {
                return state.choosers.as_mut()?.next_receiver_to_look();
            };
            state.called += 1;
            Some(Notify::Wake(receiver))
        });
    }

    /// Takes a receiver away; with the last one the channel disconnects: all senders that wait are told, and get their values
    /// back; the others' values are dropped.
    pub(super) fn remove_receiver(&self) {
        // AcqRel: as in `remove_sender`.
        if self.receivers.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let mut state = self.state.lock();
        state.has_receivers = false;
        let queue = mem::take(&mut state.queue);
        let mut senders =
            state.choosers.as_mut().map_or_else(Vec::new, |choosers| choosers.senders_to_look());
        let mut unattended = Vec::new();
        for offer in state.offers.iter_mut() {
            match offer.sender.take() {
                Some(sender) => senders.push(sender),
                None => unattended.push(offer.value.take()),
            }
        }
        drop(state);
        senders.into_iter().for_each(Wake::wake);
        // Values, dropped outside the lock.
        drop((queue, unattended));
    }
}
