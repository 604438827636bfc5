//! What both ends of a channel share: its values behind a lock, and how many ends there are.
//!
//! One set of rules serves all three kinds, see [`Flow`].

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::choosers::{Called, Engaged, Sending};
use super::clock::Clock;
use super::flow::{Flow, Offer};
use super::notices::Notices;
use crate::error::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use crate::fiber::may_wait;
use crate::hub::handover::{self, Ended};
use crate::hub::waiter::{Notify, Waiter, WaitingOn, Wake, Wakeup};
use crate::hub::waitlist::Ticket;
use crate::sys::clock::{Time, instant_now};
use crate::sys::lock::{Lock, LockGuard};

/// A channel, as both of its ends see it.
pub(super) struct Channel<T> {
    pub(super) flow: Lock<Flow<T>>,
    /// How many values `queue` takes; `usize::MAX` if there is no bound, 0 for a rendezvous.
    pub(super) capacity: usize,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    /// Whether it is one that [`never`](super::never) makes, which are all the same.
    pub(super) is_never: bool,
    /// Whether the values are a clock's.
    has_clock: bool,
}

impl<T> Channel<T> {
    /// For one sender and one receiver.
    pub(super) fn new(capacity: usize) -> Channel<T> {
        Channel {
            flow: Lock::new(Flow::new(capacity)),
            capacity,
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
            is_never: false,
            has_clock: false,
        }
    }

    /// For one receiver, and nobody else.
    pub(super) fn never() -> Channel<T> {
        Channel { is_never: true, senders: AtomicUsize::new(0), ..Channel::new(0) }
    }

    /// For one receiver, and no sender but `clock`.
    pub(super) fn with_clock(clock: Clock<T>) -> Channel<T> {
        let channel = Channel { has_clock: true, senders: AtomicUsize::new(0), ..Channel::new(1) };
        channel.flow.lock().clock = Some(Box::new(clock));
        channel
    }

    // ---- sending ----

    #[inline]
    pub(super) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.send_at_once(value, false) {
            Ok(()) => Ok(()),
            Err((flow, value)) if flow.has_receivers => {
                self.meet_chooser(flow, value).map_err(TrySendError::Full)
            }
            Err((_, value)) => Err(TrySendError::Disconnected(value)),
        }
    }

    /// Without a deadline the only error is that of a disconnected channel.
    #[inline]
    pub(super) fn send(&self, value: T, deadline: Option<Time>) -> Result<(), SendTimeoutError<T>> {
        match self.send_at_once(value, true) {
            Ok(()) => Ok(()),
            Err((flow, value)) if flow.has_receivers => self.offer(value, flow, deadline),
            Err((_, value)) => Err(SendTimeoutError::Disconnected(value)),
        }
    }

    /// Sends if there is room or a receiver waits. Who `may_wait` meets a receiver of a rendezvous only by waiting: it is to
    /// know that the value was taken.
    #[inline]
    fn send_at_once(&self, value: T, may_wait: bool) -> Result<(), (LockGuard<'_, Flow<T>>, T)> {
        let mut flow = self.flow.lock();
        if flow.queue.len() >= flow.limit && !self.has_room_beyond(&mut flow, may_wait) || !flow.has_receivers
        {
            return Err((flow, value));
        }
        if self.capacity == 0 {
            flow.offers.push(Offer { value: Some(value), sender: None });
        } else {
            flow.queue.push_back(value);
        }
        self.announce(flow);
        Ok(())
    }

    /// Releases the lock, and calls whom the change that was made under it concerns.
    #[inline]
    pub(super) fn announce(&self, mut flow: LockGuard<'_, Flow<T>>) {
        if flow.choosers.is_some() {
            return self.announce_to_choosers(flow);
        }
        let receiver = flow.call_receiver();
        drop(flow);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    /// Whether there is room in a channel that is full: what was promised to receivers, or would be, does not count.
    #[cold]
    fn has_room_beyond(&self, flow: &mut Flow<T>, may_wait: bool) -> bool {
        if may_wait && self.capacity == 0 {
            return false;
        }
        flow.forget_gone(self.capacity);
        flow.has_room_beyond(self.capacity)
    }

    /// Waits with the value in `offers`. If the wait is refused, the lock goes first: the value's destructor may do anything.
    fn offer(
        &self,
        value: T,
        mut flow: LockGuard<'_, Flow<T>>,
        deadline: Option<Time>,
    ) -> Result<(), SendTimeoutError<T>> {
        let waiter = Waiter::new(WaitingOn::others("Sender::send", &self.receivers));
        let ticket = flow.offers.push(Offer { value: Some(value), sender: Some(waiter.wake()) });
        self.announce(flow);
        let settle = |flow: &mut Flow<T>| {
            let over = !flow.has_receivers || !flow.offers.contains(ticket);
            over.then(|| flow.offers.remove(ticket))
        };
        let (mut flow, ended) = waiter.stand(&self.flow, deadline, settle, |flow| self.look_again(flow));
        let (refused, ended) = match ended {
            Ok(refused) => (refused, None),
            Err(ended) => {
                let refused = flow.offers.remove(ticket);
                flow.recall_receiver();
                (refused, Some(ended))
            }
        };
        let disconnected = !flow.has_receivers;
        drop(flow);
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
        let flow = self.flow.lock();
        if !flow.has_free() {
            return self.try_recv_otherwise(flow).ok_or(TryRecvError::Empty);
        }
        // With senders there is one.
        self.take(flow).map_err(|_| TryRecvError::Disconnected)
    }

    /// Receives what is not free at first sight: a value of the clock, one that was promised to somebody who is gone, or that of a
    /// sender that chooses.
    #[cold]
    pub(super) fn try_recv_otherwise<'a>(&'a self, mut flow: LockGuard<'a, Flow<T>>) -> Option<T> {
        if flow.clock.is_some() {
            return flow.take_time();
        }
        if flow.has_free_now(self.capacity) {
            return self.take(flow).ok();
        }
        if self.capacity == 0 { self.meet_sender(flow) } else { None }
    }

    /// Without a deadline the only error is that of a disconnected channel.
    #[inline(always)]
    pub(super) fn recv(&self, deadline: Option<Time>) -> Result<T, RecvTimeoutError> {
        let flow = self.flow.lock();
        if !flow.has_free() {
            return self.stand(flow, deadline);
        }
        // With senders there is one.
        self.take(flow).map_err(|_| RecvTimeoutError::Disconnected)
    }

    /// Takes the oldest value, promised or not, and tells the sender whom that lets go on. Without one gives the lock back.
    #[inline]
    pub(super) fn take<'a>(&'a self, mut flow: LockGuard<'a, Flow<T>>) -> Result<T, LockGuard<'a, Flow<T>>> {
        if flow.offers.is_empty() && flow.choosers.is_none() {
            return flow.queue.pop_front().ok_or(flow);
        }
        self.take_beside_offers(flow)
    }

    #[cold]
    fn take_beside_offers<'a>(
        &'a self,
        mut flow: LockGuard<'a, Flow<T>>,
    ) -> Result<T, LockGuard<'a, Flow<T>>> {
        let (value, sender) = flow.take_beside_offers(self.capacity);
        let Some(value) = value else { return Err(flow) };
        if flow.choosers.is_some() {
            self.announce_to_choosers(flow);
        } else {
            drop(flow);
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
        mut flow: LockGuard<'a, Flow<T>>,
        deadline: Option<Time>,
    ) -> Result<T, RecvTimeoutError> {
        let waiter = Waiter::new(WaitingOn::others("Receiver::recv", &self.senders));
        if flow.clock.is_some() {
            drop(flow);
            return self.await_time(&waiter, deadline);
        }
        let ticket = flow.receivers.stand(waiter.wake());
        self.admit_receiver(flow);
        loop {
            let called = |flow: &mut Flow<T>| flow.receivers.leave_if_called(ticket).map(drop);
            let (mut flow, ended) = waiter.stand(&self.flow, deadline, called, |flow| self.look_again(flow));
            if let Err(ended) = ended {
                return self.leave(&waiter, flow, ticket, ended);
            }
            flow.called -= 1;
            flow = match self.take(flow) {
                Ok(value) => return Ok(value),
                Err(flow) => flow,
            };
            if !flow.has_senders {
                return Err(RecvTimeoutError::Disconnected);
            }
            // The offer that it was called for has been withdrawn.
            flow.receivers.stand_again(ticket, waiter.wake());
            self.admit_receiver(flow);
        }
    }

    /// Releases the lock after a receiver has come into the line.
    #[inline]
    fn admit_receiver(&self, flow: LockGuard<'_, Flow<T>>) {
        if flow.called > 0 || flow.choosers.is_some() {
            self.look_again(flow);
        }
    }

    /// Releases the lock, and calls whom it concerns if somebody is gone.
    #[cold]
    pub(super) fn look_again(&self, mut flow: LockGuard<'_, Flow<T>>) {
        flow.forget_gone(self.capacity);
        self.announce(flow);
    }

    /// Ends a wait in `receivers` for another reason than a call, which may have come all the same.
    #[cold]
    fn leave<'a>(
        &'a self,
        waiter: &Waiter,
        mut flow: LockGuard<'a, Flow<T>>,
        ticket: Ticket,
        ended: Ended,
    ) -> Result<T, RecvTimeoutError> {
        flow = self.await_engaged(waiter, flow, ticket);
        let called = flow.receivers.leave(ticket).is_some();
        flow.called -= usize::from(called);
        if called && matches!(ended, Ended::TimedOut) {
            flow = match self.take(flow) {
                Ok(value) => return Ok(value),
                Err(flow) => flow,
            };
        }
        let disconnected = !flow.has_senders;
        self.announce(flow);
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
            if let Some(value) = self.flow.lock().take_time() {
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

    // ---- those who choose ----

    /// [`announce`](Channel::announce) where somebody chooses.
    #[cold]
    fn announce_to_choosers(&self, mut flow: LockGuard<'_, Flow<T>>) {
        let mut notices = Notices::default();
        flow.call_all(self.capacity, &mut notices);
        drop(flow);
        notices.give();
    }

    /// Hands `value` to a receiver that chooses, at a rendezvous where no other waits. Gives it back if there is none.
    #[cold]
    fn meet_chooser(&self, mut flow: LockGuard<'_, Flow<T>>, value: T) -> Result<(), T> {
        let receiver = if self.capacity == 0 { flow.pop_receiver() } else { None };
        let Some(receiver) = receiver else { return Err(value) };
        flow.promise_value(&receiver);
        flow.offers.push(Offer { value: Some(value), sender: None });
        drop(flow);
        receiver.wake().wake();
        Ok(())
    }

    /// At a rendezvous: the value of a sender that waits and chooses, for which this waits, however long that sender takes to make it.
    /// `None` if there is no such sender, or where nothing may wait.
    #[cold]
    fn meet_sender<'a>(&'a self, mut flow: LockGuard<'a, Flow<T>>) -> Option<T> {
        loop {
            let choosers = flow.choosers.as_mut()?;
            if !choosers.has_sender() || !may_wait() {
                return None;
            }
            let sender = choosers.pop_sender()?;
            let number = choosers.number();
            let waiter = Waiter::new(WaitingOn::others("Receiver::try_recv", &self.senders));
            let ticket = flow.receivers.reserve();
            let place = flow.offers.reserve();
            let receiver = Called::Plain(ticket, waiter.wake());
            let wake = sender.wake;
            let sender = Sending::Chosen(sender);
            flow.choosers().engaged.push(Engaged { number, receiver, sender, place });
            drop(flow);
            wake.wake();
            flow = self.await_engaged(&waiter, self.flow.lock(), ticket);
            if flow.receivers.leave(ticket).is_some() {
                flow.called -= 1;
                match self.take(flow) {
                    Ok(value) => return Some(value),
                    Err(left) => flow = left,
                }
            }
        }
    }

    /// Waits until what the receiver of `ticket` is engaged for is there, or will not come.
    fn await_engaged<'a>(
        &'a self,
        waiter: &Waiter,
        mut flow: LockGuard<'a, Flow<T>>,
        ticket: Ticket,
    ) -> LockGuard<'a, Flow<T>> {
        loop {
            if flow.is_engaged(ticket) {
                flow.forget_gone(self.capacity);
            }
            if !flow.is_engaged(ticket) {
                return flow;
            }
            drop(flow);
            waiter.park_uninterrupted();
            flow = self.flow.lock();
        }
    }

    // ---- looking ----

    /// When the clock's next value comes, in a channel that has a clock.
    #[inline]
    pub(super) fn due(&self) -> Option<Instant> {
        if self.has_clock { self.flow.lock().clock.as_ref()?.due() } else { None }
    }

    /// The values that can be received at once.
    pub(super) fn len(&self) -> usize {
        let mut flow = self.flow.lock();
        flow.forget_gone(self.capacity);
        match &flow.clock {
            Some(clock) => usize::from(clock.due().is_some_and(|due| due <= instant_now())),
            None if self.capacity == 0 => 0,
            None => flow.queue.len().saturating_sub(flow.called),
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
        let mut flow = self.flow.lock();
        flow.has_senders = false;
        handover::notify_all(&self.flow, flow, |flow| {
            let Some(receiver) = flow.receivers.call() else {
                return flow.choosers.as_mut()?.next_receiver_to_look();
            };
            flow.called += 1;
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
        let mut flow = self.flow.lock();
        flow.has_receivers = false;
        let queue = mem::take(&mut flow.queue);
        let mut senders = flow.choosers.as_mut().map_or_else(Vec::new, |choosers| choosers.senders_to_look());
        let mut unattended = Vec::new();
        for offer in flow.offers.iter_mut() {
            match offer.sender.take() {
                Some(sender) => senders.push(sender),
                None => unattended.push(offer.value.take()),
            }
        }
        drop(flow);
        senders.into_iter().for_each(Wake::wake);
        // Values, dropped outside the lock.
        drop((queue, unattended));
    }
}
