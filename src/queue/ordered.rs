//! The queue, in whatever order.

use std::fmt;
use std::iter::FusedIterator;
use std::mem;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use super::order::{Items, Order, Refused};
use crate::error::{GetError, PutError};
use crate::fiber::{self, UNDER_LOCK, assert_not_under_lock, guarded};
use crate::hub::handover::{self, Ended, Line};
use crate::hub::waiter::{Notify, Waiter, WaitingOn};
use crate::hub::waitlist::WaitList;
use crate::sys::clock::Time;
use crate::sys::lock::{Lock, LockGuard};

/// A queue of `T` that gives its items out in the order `O`.
///
/// [`Queue`](super::Queue), [`LifoQueue`](super::LifoQueue) and [`PriorityQueue`](super::PriorityQueue) are this type. It holds
/// any number of items, or up to a capacity: then [`put`](Ordered::put) waits for room.
///
/// The queue counts the items that were put but not yet marked done with [`task_done`](Ordered::task_done), and
/// [`join`](Ordered::join) waits for that count to reach zero. If you do not use `join`, you can ignore it.
///
/// # Examples
///
/// ```
/// use greenloop::queue::{PutError, Queue};
/// use greenloop::spawn;
/// use std::sync::Arc;
///
/// let queue = Arc::new(Queue::bounded(1));
/// queue.put("first").unwrap();
/// assert_eq!(queue.try_put("second"), Err(PutError::Full("second")));
/// let producer = spawn({ let queue = Arc::clone(&queue); move || queue.put("second") });
/// assert_eq!(queue.get(), Ok("first"));
/// assert_eq!(queue.get(), Ok("second"));
/// # producer.join().unwrap().unwrap();
/// ```
///
/// It is `Send` and `Sync` if `T` is `Send`:
///
/// ```compile_fail
/// fn is_sync<T: Sync>() {}
/// is_sync::<greenloop::queue::Queue<std::rc::Rc<u32>>>();
/// ```
pub struct Ordered<T, O: Order<T>> {
    state: Lock<Contents<O::Items>>,
    /// `usize::MAX` if there is no bound.
    capacity: usize,
}

/// A queue's state, locked.
type Locked<'a, T, O> = LockGuard<'a, Contents<<O as Order<T>>::Items>>;

struct Contents<I> {
    items: I,
    /// Each who was called is promised one of the items.
    getters: Line,
    /// Each who was called is promised room for one more.
    putters: Line,
    /// Woken when there is nothing unfinished.
    joiners: WaitList<Notify>,
    unfinished: usize,
    shut_down: bool,
}

// What is inside is seen only in whole steps, each under the lock.
impl<T, O: Order<T>> UnwindSafe for Ordered<T, O> {}
impl<T, O: Order<T>> RefUnwindSafe for Ordered<T, O> {}

impl<T, O: Order<T>> Ordered<T, O> {
    /// Makes a queue for any number of items. Putting never waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::queue::Queue;
    ///
    /// static LINES: Queue<String> = Queue::unbounded();
    /// LINES.put("one".to_owned()).unwrap();
    /// assert_eq!(LINES.get().unwrap(), "one");
    /// ```
    pub const fn unbounded() -> Ordered<T, O> {
        Ordered::bounded(usize::MAX)
    }

    /// Makes a queue for up to `capacity` items.
    ///
    /// An item that is reserved for a waiting caller does not count.
    ///
    /// # Panics
    ///
    /// Panics if `capacity` is 0. A [`channel::bounded(0)`](crate::channel::bounded) hands items over without a buffer.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::queue::Queue;
    ///
    /// let queue = Queue::bounded(2);
    /// queue.put(1).unwrap();
    /// assert!(!queue.is_full());
    /// queue.put(2).unwrap();
    /// assert!(queue.is_full());
    /// ```
    #[doc(alias = "maxsize")]
    #[track_caller]
    pub const fn bounded(capacity: usize) -> Ordered<T, O> {
        assert!(capacity > 0, "the capacity of a queue must not be 0");
        let state = Contents {
            items: O::Items::EMPTY,
            getters: Line::new(),
            putters: Line::new(),
            joiners: WaitList::new(),
            unfinished: 0,
            shut_down: false,
        };
        Ordered { state: Lock::new(state), capacity }
    }

    // ---- putting ----

    /// Puts an item into the queue, and waits until there is room.
    ///
    /// If there is room, the call does not yield. Otherwise the calling green thread yields, and a caller that gets an item wakes
    /// it; waiters are woken in the order of their arrival. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the
    /// wait by unwinding. The item is dropped then.
    ///
    /// # Errors
    ///
    /// Returns the item in [`PutError::ShutDown`] if the queue is shut down, or becomes so during the wait.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait, and if a comparison of a
    /// [`PriorityQueue`](super::PriorityQueue) panics. The item was not put then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::queue::Queue;
    /// use greenloop::spawn;
    /// use std::sync::Arc;
    ///
    /// let queue = Arc::new(Queue::bounded(1));
    /// let reader = spawn({ let queue = Arc::clone(&queue); move || [queue.get(), queue.get()] });
    /// queue.put("first").unwrap();
    /// queue.put("second").unwrap(); // waits for the reader
    /// assert_eq!(reader.join().unwrap(), [Ok("first"), Ok("second")]);
    /// ```
    #[inline]
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_until(item, || None)
    }

    /// Puts an item into the queue if there is room. Never waits.
    ///
    /// # Errors
    ///
    /// Returns the item in [`PutError::Full`] if there is no room, and in [`PutError::ShutDown`] if the queue is shut down.
    ///
    /// # Panics
    ///
    /// Panics if a comparison of a [`PriorityQueue`](super::PriorityQueue) panics. The item was not put then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::queue::{PutError, Queue};
    ///
    /// let queue = Queue::bounded(1);
    /// assert_eq!(queue.try_put(1), Ok(()));
    /// assert_eq!(queue.try_put(2), Err(PutError::Full(2)));
    /// ```
    #[doc(alias = "put_nowait")]
    #[inline]
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_at_once(item).map_err(|(state, item)| {
            if state.shut_down { PutError::ShutDown(item) } else { PutError::Full(item) }
        })
    }

    /// Puts an item into the queue, and waits for at most `timeout` until there is room.
    ///
    /// Apart from that, it is like [`put`](Ordered::put).
    ///
    /// # Errors
    ///
    /// Returns the item in [`PutError::Full`] if the time is over, and in [`PutError::ShutDown`] if the queue is shut down.
    ///
    /// # Panics
    ///
    /// As [`put`](Ordered::put).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::queue::{PutError, Queue};
    ///
    /// let queue = Queue::bounded(1);
    /// queue.put(1).unwrap();
    /// assert_eq!(queue.put_timeout(2, Duration::from_millis(1)), Err(PutError::Full(2)));
    /// ```
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_until(item, || Some(Time::after(timeout)))
    }

    /// Puts an item into the queue, and waits until `deadline` at the latest until there is room.
    ///
    /// Apart from that, it is like [`put`](Ordered::put).
    ///
    /// # Errors
    ///
    /// As [`put_timeout`](Ordered::put_timeout).
    ///
    /// # Panics
    ///
    /// As [`put`](Ordered::put).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use greenloop::queue::Queue;
    ///
    /// let queue = Queue::bounded(1);
    /// assert!(queue.put_deadline(1, Instant::now()).is_ok());
    /// assert!(queue.put_deadline(2, Instant::now()).is_err());
    /// ```
    pub fn put_deadline(&self, item: T, deadline: Instant) -> Result<(), PutError<T>> {
        self.put_until(item, || Some(Time::from_instant(deadline)))
    }

    /// # Panics
    ///
    /// In a comparison or a clone that a queue makes, if this one is locked: by this OS thread, or by one that may wait for it.
    #[inline]
    fn lock(&self) -> Locked<'_, T, O> {
        self.state.lock_after(assert_not_under_lock)
    }

    #[inline]
    fn put_until(&self, item: T, deadline: impl FnOnce() -> Option<Time>) -> Result<(), PutError<T>> {
        match self.put_at_once(item) {
            Ok(()) => Ok(()),
            Err((state, item)) if state.shut_down => Err(PutError::ShutDown(item)),
            Err((state, item)) => {
                // A look at the clock takes too long for the lock.
                drop(state);
                self.put_in_turn(item, deadline())
            }
        }
    }

    #[inline]
    fn put_at_once(&self, item: T) -> Result<(), (Locked<'_, T, O>, T)> {
        let mut state = self.lock();
        state.forget_gone();
        if state.shut_down || !self.has_room(&state) {
            return Err((state, item));
        }
        self.push(state, item);
        Ok(())
    }

    /// Waits for its turn.
    #[cold]
    fn put_in_turn(&self, item: T, deadline: Option<Time>) -> Result<(), PutError<T>> {
        // In this order, so that the lock goes first if the wait is refused: the item's destructor may do anything.
        let (item, mut state) = match self.put_at_once(item) {
            Err((state, item)) if !state.shut_down => (item, state),
            done => return done.map_err(|(_, item)| PutError::ShutDown(item)),
        };
        let waiter = Waiter::new(WaitingOn::Other("Queue::put"));
        let ticket = state.putters.stand(waiter.wake());
        drop(state);
        let called = |state: &mut Contents<O::Items>| state.putters.is_called(ticket).then_some(());
        let (mut state, ended) = waiter.stand(&self.state, deadline, called, |state| self.call(state));
        let called = state.putters.leave(ticket).is_some();
        if let Err(Ended::Interrupted(interrupt)) = ended {
            self.call(state);
            drop(item);
            interrupt.raise();
        }
        if state.shut_down {
            return Err(PutError::ShutDown(item));
        }
        if !called {
            return Err(PutError::Full(item));
        }
        self.push(state, item);
        Ok(())
    }

    /// Whether there is room that is promised to nobody.
    #[inline]
    fn has_room(&self, state: &Contents<O::Items>) -> bool {
        state.items.len() + state.putters.called() < self.capacity.saturating_add(state.getters.called())
    }

    /// Takes an item in, and calls who is to have it.
    #[inline]
    fn push(&self, mut state: Locked<'_, T, O>, item: T) {
        let pushed = state.items.push(item);
        state.unfinished += usize::from(pushed.is_ok());
        self.call(state);
        if let Err(Refused { item, payload }) = pushed {
            fiber::catch("the destructor of an item that was not put", || drop(item));
            resume_unwind(payload);
        }
    }

    /// Calls everybody for whom there is something that is promised to nobody.
    #[inline]
    fn call<'a>(&'a self, state: Locked<'a, T, O>) {
        handover::notify_all(&self.state, state, |state| {
            state.forget_gone();
            if state.items.len() > state.getters.called()
                && let Some(getter) = state.getters.call()
            {
                return Some(Notify::Wake(getter));
            }
            if self.has_room(state) { state.putters.call().map(Notify::Wake) } else { None }
        });
    }

    // ---- getting ----

    /// Takes the next item out of the queue, and waits until there is one.
    ///
    /// If there is an item that is not reserved for another caller, the call does not yield. Otherwise the calling green thread
    /// yields, and a caller that puts an item wakes it; waiters are woken in the order of their arrival. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and takes nothing.
    ///
    /// # Errors
    ///
    /// Returns [`GetError::ShutDown`] if the queue is empty and shut down.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::queue::{GetError, Queue};
    ///
    /// let queue = Queue::unbounded();
    /// queue.put("item").unwrap();
    /// queue.shutdown();
    /// assert_eq!(queue.get(), Ok("item"));
    /// assert_eq!(queue.get(), Err(GetError::ShutDown));
    /// ```
    #[inline]
    pub fn get(&self) -> Result<T, GetError> {
        self.get_until(|| None, O::Items::pop)
    }

    /// Takes the next item out of the queue if there is one that is not reserved for another caller. Never waits.
    ///
    /// # Errors
    ///
    /// Returns [`GetError::Empty`] if there is no such item, and [`GetError::ShutDown`] if there will be none.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::queue::{GetError, Queue};
    ///
    /// let queue: Queue<u32> = [1].into_iter().collect();
    /// assert_eq!(queue.try_get(), Ok(1));
    /// assert_eq!(queue.try_get(), Err(GetError::Empty));
    /// queue.shutdown();
    /// assert_eq!(queue.try_get(), Err(GetError::ShutDown));
    /// ```
    #[doc(alias = "get_nowait")]
    #[inline]
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_at_once(O::Items::pop).map_err(|state| state.nothing())
    }

    /// Takes the next item out of the queue, and waits for at most `timeout` until there is one.
    ///
    /// Apart from that, it is like [`get`](Ordered::get).
    ///
    /// # Errors
    ///
    /// Returns [`GetError::Empty`] if the time is over, and [`GetError::ShutDown`] if the queue is empty and shut down.
    ///
    /// # Panics
    ///
    /// As [`get`](Ordered::get).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::queue::{GetError, LifoQueue};
    ///
    /// let queue = LifoQueue::<u32>::unbounded();
    /// assert_eq!(queue.get_timeout(Duration::from_millis(1)), Err(GetError::Empty));
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_until(|| Some(Time::after(timeout)), O::Items::pop)
    }

    /// Takes the next item out of the queue, and waits until `deadline` at the latest until there is one.
    ///
    /// Apart from that, it is like [`get`](Ordered::get).
    ///
    /// # Errors
    ///
    /// As [`get_timeout`](Ordered::get_timeout).
    ///
    /// # Panics
    ///
    /// As [`get`](Ordered::get).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use greenloop::queue::Queue;
    ///
    /// let queue: Queue<u32> = [1].into_iter().collect();
    /// assert_eq!(queue.get_deadline(Instant::now()), Ok(1));
    /// assert!(queue.get_deadline(Instant::now()).is_err());
    /// ```
    pub fn get_deadline(&self, deadline: Instant) -> Result<T, GetError> {
        self.get_until(|| Some(Time::from_instant(deadline)), O::Items::pop)
    }

    /// Returns a clone of the next item, which stays in the queue, and waits until there is one.
    ///
    /// It waits together with, and in the same order as, callers of [`get`](Ordered::get).
    ///
    /// # Errors
    ///
    /// As [`get`](Ordered::get).
    ///
    /// # Panics
    ///
    /// As [`get`](Ordered::get), and if the cloning panics. Items are cloned under the queue's own lock: a `clone` that waits
    /// panics, and one that uses the same queue never ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::queue::PriorityQueue;
    ///
    /// let queue: PriorityQueue<u32> = [2, 1].into_iter().collect();
    /// assert_eq!(queue.peek(), Ok(1));
    /// assert_eq!(queue.len(), 2);
    /// ```
    pub fn peek(&self) -> Result<T, GetError>
    where
        T: Clone,
    {
        self.get_until(|| None, look)
    }

    /// Returns a clone of the next item, which stays in the queue, if there is one. Never waits.
    ///
    /// # Errors
    ///
    /// As [`try_get`](Ordered::try_get).
    ///
    /// # Panics
    ///
    /// Panics if the cloning panics: see [`peek`](Ordered::peek).
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(greenloop::queue::Queue::<u32>::unbounded().try_peek().is_err());
    /// ```
    #[doc(alias = "peek_nowait")]
    pub fn try_peek(&self) -> Result<T, GetError>
    where
        T: Clone,
    {
        self.get_at_once(look).map_err(|state| state.nothing())
    }

    /// Returns a clone of the next item, which stays in the queue, and waits for at most `timeout` until there is one.
    ///
    /// Apart from that, it is like [`peek`](Ordered::peek).
    ///
    /// # Errors
    ///
    /// As [`get_timeout`](Ordered::get_timeout).
    ///
    /// # Panics
    ///
    /// As [`peek`](Ordered::peek).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let queue = greenloop::queue::Queue::<u32>::unbounded();
    /// assert!(queue.peek_timeout(Duration::from_millis(1)).is_err());
    /// ```
    pub fn peek_timeout(&self, timeout: Duration) -> Result<T, GetError>
    where
        T: Clone,
    {
        self.get_until(|| Some(Time::after(timeout)), look)
    }

    /// Returns a clone of the next item, which stays in the queue, and waits until `deadline` at the latest until there is one.
    ///
    /// Apart from that, it is like [`peek`](Ordered::peek).
    ///
    /// # Errors
    ///
    /// As [`get_timeout`](Ordered::get_timeout).
    ///
    /// # Panics
    ///
    /// As [`peek`](Ordered::peek).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// let queue = greenloop::queue::Queue::<u32>::unbounded();
    /// assert!(queue.peek_deadline(Instant::now()).is_err());
    /// ```
    pub fn peek_deadline(&self, deadline: Instant) -> Result<T, GetError>
    where
        T: Clone,
    {
        self.get_until(|| Some(Time::from_instant(deadline)), look)
    }

    #[inline]
    fn get_until(
        &self,
        deadline: impl FnOnce() -> Option<Time>,
        attempt: fn(&mut O::Items) -> Option<T>,
    ) -> Result<T, GetError> {
        match self.get_at_once(attempt) {
            Ok(item) => Ok(item),
            Err(state) if state.shut_down => Err(GetError::ShutDown),
            Err(state) => {
                // A look at the clock takes too long for the lock.
                drop(state);
                self.get_in_turn(deadline(), attempt)
            }
        }
    }

    #[inline]
    fn get_at_once(&self, attempt: fn(&mut O::Items) -> Option<T>) -> Result<T, Locked<'_, T, O>> {
        let mut state = self.lock();
        state.forget_gone();
        // After a shutdown nothing comes that a promise could stand for.
        if state.items.len() <= state.getters.called() && !state.shut_down {
            return Err(state);
        }
        let Some(item) = attempt(&mut state.items) else { return Err(state) };
        self.call(state);
        Ok(item)
    }

    /// Waits for its turn.
    #[cold]
    fn get_in_turn(
        &self,
        deadline: Option<Time>,
        attempt: fn(&mut O::Items) -> Option<T>,
    ) -> Result<T, GetError> {
        let mut state = match self.get_at_once(attempt) {
            Ok(item) => return Ok(item),
            Err(state) if state.shut_down => return Err(GetError::ShutDown),
            Err(state) => state,
        };
        let waiter = Waiter::new(WaitingOn::Other("Queue::get"));
        let ticket = state.getters.stand(waiter.wake());
        drop(state);
        let called = |state: &mut Contents<O::Items>| state.getters.is_called(ticket).then_some(());
        let (mut state, ended) = waiter.stand(&self.state, deadline, called, |state| self.call(state));
        let called = state.getters.leave(ticket).is_some();
        if let Err(Ended::Interrupted(interrupt)) = ended {
            self.call(state);
            interrupt.raise();
        }
        // Called by a shutdown, perhaps, with nothing left. Who fails to clone an item leaves it to the next.
        let attempt = || if called { attempt(&mut state.items) } else { None };
        let item = catch_unwind(AssertUnwindSafe(attempt));
        let nothing = state.nothing();
        self.call(state);
        item.unwrap_or_else(|payload| resume_unwind(payload)).ok_or(nothing)
    }

    // ---- finishing ----

    /// Marks one item that was got as done. Never yields.
    ///
    /// When this was the last, the callers of [`join`](Ordered::join) are woken.
    ///
    /// # Panics
    ///
    /// Panics if it is called more often than items were put.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::queue::Queue;
    ///
    /// let queue: Queue<u32> = [1].into_iter().collect();
    /// queue.get().unwrap();
    /// assert_eq!(queue.unfinished(), 1);
    /// queue.task_done();
    /// assert_eq!(queue.unfinished(), 0);
    /// ```
    #[track_caller]
    pub fn task_done(&self) {
        let mut state = self.lock();
        state.unfinished = state.unfinished.checked_sub(1).expect("more tasks done than items put");
        self.tell_joiners(state);
    }

    /// Returns how many items were put that are not yet marked done with [`task_done`](Ordered::task_done).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::queue::Queue;
    ///
    /// let queue: Queue<u32> = [1, 2].into_iter().collect();
    /// queue.get().unwrap();
    /// assert_eq!((queue.len(), queue.unfinished()), (1, 2)); // got, and not done
    /// ```
    #[doc(alias = "unfinished_tasks")]
    pub fn unfinished(&self) -> usize {
        self.lock().unfinished
    }

    /// Waits until every item that was put has been got and is marked [done](Ordered::task_done).
    ///
    /// If that is so, the call does not yield. Otherwise the calling green thread yields, and the last `task_done` wakes it. A
    /// kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use greenloop::queue::JoinableQueue;
    /// use greenloop::spawn;
    ///
    /// let jobs: Arc<JoinableQueue<u32>> = Arc::new((1..=3).collect());
    /// let worker = spawn({
    ///     let jobs = Arc::clone(&jobs);
    ///     move || {
    ///         for _job in jobs.iter() {
    ///             jobs.task_done();
    ///         }
    ///     }
    /// });
    /// assert_eq!(jobs.unfinished(), 3);
    /// jobs.join();
    /// assert_eq!(jobs.unfinished(), 0);
    /// # jobs.shutdown();
    /// # worker.join().unwrap();
    /// ```
    pub fn join(&self) {
        self.join_until(None);
    }

    /// Waits for at most `timeout` until every item is done. Returns `true` if that is so.
    ///
    /// Apart from that, it is like [`join`](Ordered::join).
    ///
    /// # Panics
    ///
    /// As [`join`](Ordered::join).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::queue::Queue;
    ///
    /// let queue: Queue<u32> = [1].into_iter().collect();
    /// assert!(!queue.join_timeout(Duration::from_millis(1)));
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        self.join_until(Some(Time::after(timeout)))
    }

    /// Waits until `deadline` at the latest until every item is done. Returns `true` if that is so.
    ///
    /// Apart from that, it is like [`join`](Ordered::join).
    ///
    /// # Panics
    ///
    /// As [`join`](Ordered::join).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use greenloop::queue::Queue;
    ///
    /// assert!(Queue::<u32>::unbounded().join_deadline(Instant::now()));
    /// ```
    pub fn join_deadline(&self, deadline: Instant) -> bool {
        self.join_until(Some(Time::from_instant(deadline)))
    }

    fn join_until(&self, deadline: Option<Time>) -> bool {
        let mut state = self.lock();
        if state.unfinished == 0 {
            return true;
        }
        let waiter = Waiter::new(WaitingOn::Other("Queue::join"));
        let ticket = state.joiners.push(waiter.notify());
        drop(state);
        let told = |state: &mut Contents<O::Items>| (!state.joiners.contains(ticket)).then_some(());
        let (mut state, ended) = waiter.stand(&self.state, deadline, told, drop);
        let told = state.joiners.remove(ticket).is_none();
        drop(state);
        match ended {
            Err(Ended::Interrupted(interrupt)) => interrupt.raise(),
            _ => told,
        }
    }

    fn tell_joiners<'a>(&'a self, state: Locked<'a, T, O>) {
        let mut left = if state.unfinished == 0 { state.joiners.len() } else { 0 };
        handover::notify_all(&self.state, state, |state| {
            left = left.checked_sub(1)?;
            state.joiners.pop()
        });
    }

    /// Ends the queue: from now on it takes no item, and gives out those that are left. Never yields.
    ///
    /// Callers that wait to put get their items back. Callers that wait to get an item, and find the queue empty, get an error,
    /// and iterations end.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::queue::{GetError, Queue};
    ///
    /// let queue: Queue<u32> = [1].into_iter().collect();
    /// queue.shutdown();
    /// assert!(queue.put(2).is_err());
    /// assert_eq!(queue.get(), Ok(1));
    /// assert_eq!(queue.get(), Err(GetError::ShutDown));
    /// ```
    pub fn shutdown(&self) {
        self.end(self.lock());
    }

    /// Ends the queue, and drops the items that are left. This is gevent's `shutdown(immediate=True)`.
    ///
    /// The dropped items count as [done](Ordered::task_done), so callers of [`join`](Ordered::join) wait only for those that were
    /// got. Apart from that, it is like [`shutdown`](Ordered::shutdown).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::queue::{GetError, Queue};
    ///
    /// let queue: Queue<u32> = [1, 2].into_iter().collect();
    /// queue.shutdown_now();
    /// assert_eq!(queue.get(), Err(GetError::ShutDown));
    /// queue.join(); // returns at once
    /// ```
    pub fn shutdown_now(&self) {
        let mut state = self.lock();
        let items = mem::replace(&mut state.items, O::Items::EMPTY);
        // Less than that if `task_done` was called for some that nobody had got.
        state.unfinished = state.unfinished.saturating_sub(items.len());
        self.end(state);
        self.tell_joiners(self.lock());
        drop(items);
    }

    fn end<'a>(&'a self, mut state: Locked<'a, T, O>) {
        state.shut_down = true;
        handover::notify_all(&self.state, state, |state| {
            let next = state.getters.call().or_else(|| state.putters.call());
            next.map(Notify::Wake)
        });
    }

    // ---- looking ----

    /// Returns `true` if the queue was shut down.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = greenloop::queue::Queue::<u32>::unbounded();
    /// queue.shutdown();
    /// assert!(queue.is_shut_down());
    /// ```
    #[doc(alias = "is_shutdown")]
    pub fn is_shut_down(&self) -> bool {
        self.lock().shut_down
    }

    /// Returns how many items are in the queue, without those that are reserved for waiting callers.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue: greenloop::queue::Queue<u32> = (0..3).collect();
    /// assert_eq!(queue.len(), 3);
    /// ```
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        let mut state = self.lock();
        state.forget_gone();
        state.items.len().saturating_sub(state.getters.called())
    }

    /// Returns `true` if the queue has no item but those that are reserved for waiting callers.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(greenloop::queue::Queue::<u32>::unbounded().is_empty());
    /// ```
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `true` if the queue has no room but that which is reserved for waiting callers.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = greenloop::queue::Queue::bounded(1);
    /// queue.put(1).unwrap();
    /// assert!(queue.is_full());
    /// ```
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        let mut state = self.lock();
        state.forget_gone();
        !self.has_room(&state)
    }

    /// Returns how many items the queue has room for in all. `None` means any number.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::queue::Queue;
    ///
    /// assert_eq!(Queue::<u32>::bounded(5).capacity(), Some(5));
    /// assert_eq!(Queue::<u32>::unbounded().capacity(), None);
    /// ```
    #[doc(alias = "maxsize")]
    pub fn capacity(&self) -> Option<usize> {
        (self.capacity != usize::MAX).then_some(self.capacity)
    }

    /// Returns an iterator that gets items, and waits for each, until the queue is shut down and empty.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue: greenloop::queue::Queue<u32> = (0..3).collect();
    /// queue.shutdown();
    /// assert_eq!(queue.iter().sum::<u32>(), 3);
    /// ```
    pub fn iter(&self) -> Iter<'_, T, O> {
        Iter { queue: self }
    }

    /// Returns an iterator that gets the items that are there, and ends where it would have to wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue: greenloop::queue::Queue<u32> = (0..3).collect();
    /// assert_eq!(queue.try_iter().sum::<u32>(), 3);
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T, O> {
        TryIter { queue: self }
    }
}

impl<I> Contents<I> {
    /// Takes back what was promised to those who never run again.
    #[inline]
    fn forget_gone(&mut self) {
        while self.getters.take_gone().or_else(|| self.putters.take_gone()).is_some() {}
    }

    /// Why there is nothing to get.
    fn nothing(&self) -> GetError {
        if self.shut_down { GetError::ShutDown } else { GetError::Empty }
    }
}

fn look<T: Clone, I: Items<T>>(items: &mut I) -> Option<T> {
    items.peek().map(|item| guarded(UNDER_LOCK, || item.clone()))
}

impl<T, O: Order<T>> Default for Ordered<T, O> {
    fn default() -> Ordered<T, O> {
        Ordered::unbounded()
    }
}

/// An unbounded queue with these items.
impl<T, O: Order<T>> FromIterator<T> for Ordered<T, O> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Ordered<T, O> {
        let queue = Ordered::unbounded();
        for item in items {
            let put = queue.try_put(item);
            debug_assert!(put.is_ok(), "an unbounded queue has room");
        }
        queue
    }
}

impl<T, O: Order<T>> fmt::Debug for Ordered<T, O> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        let (len, unfinished, shut_down) = (state.items.len(), state.unfinished, state.shut_down);
        drop(state);
        let mut debug = formatter.debug_struct("Queue");
        debug.field("len", &len).field("unfinished", &unfinished).field("shut_down", &shut_down).finish()
    }
}

/// An iterator over the items of a queue, which waits for each. [`Ordered::iter`] returns it.
pub struct Iter<'a, T, O: Order<T>> {
    queue: &'a Ordered<T, O>,
}

/// An iterator over the items that are in a queue, which never waits. [`Ordered::try_iter`] returns it.
pub struct TryIter<'a, T, O: Order<T>> {
    queue: &'a Ordered<T, O>,
}

impl<T, O: Order<T>> Iterator for Iter<'_, T, O> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.queue.get().ok()
    }
}

// A queue that is empty and shut down stays so.
impl<T, O: Order<T>> FusedIterator for Iter<'_, T, O> {}

impl<T, O: Order<T>> Iterator for TryIter<'_, T, O> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.queue.try_get().ok()
    }
}

impl<'a, T, O: Order<T>> IntoIterator for &'a Ordered<T, O> {
    type Item = T;
    type IntoIter = Iter<'a, T, O>;

    fn into_iter(self) -> Iter<'a, T, O> {
        self.iter()
    }
}

impl<T, O: Order<T>> fmt::Debug for Iter<'_, T, O> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Iter { .. }")
    }
}

impl<T, O: Order<T>> fmt::Debug for TryIter<'_, T, O> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TryIter { .. }")
    }
}
