//! Waiting for many things at once.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::join_handle::JoinHandle;
use crate::error::JoinError;
use crate::hub::waiter::Notify;
use crate::hub::waitlist::Ticket;
use crate::hub::waitset::WaitSet;
use crate::sys::clock::Time;

/// Something that [`wait`] and its siblings can wait for: a [`JoinHandle`], an event, a result, a semaphore, a receiver, and
/// types of your own.
///
/// A type that has one of those in it passes the calls on. Any other keeps the [`Notice`]s of those who wait for it and gives
/// each once, when it is ready.
///
/// # Examples
///
/// A gate that opens once:
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::{Arc, Mutex};
///
/// use greenloop::{Notice, Subscription, Waitable, spawn, wait, yield_now};
///
/// #[derive(Default)]
/// struct Gate(Mutex<State>);
///
/// #[derive(Default)]
/// struct State {
///     open: bool,
///     next: u64,
///     waiting: BTreeMap<u64, Notice>,
/// }
///
/// impl Gate {
///     fn open(&self) {
///         let mut state = self.0.lock().unwrap();
///         state.open = true;
///         let waiting = std::mem::take(&mut state.waiting);
///         drop(state); // a notice is given with no lock held
///         waiting.into_values().for_each(Notice::give);
///     }
/// }
///
/// impl Waitable for Gate {
///     fn is_ready(&self) -> bool {
///         self.0.lock().unwrap().open
///     }
///
///     fn subscribe(&self, notice: Notice) -> Subscription {
///         let mut state = self.0.lock().unwrap();
///         if state.open {
///             drop(state);
///             notice.give();
///             return Subscription::none();
///         }
///         state.next += 1;
///         let number = state.next;
///         state.waiting.insert(number, notice);
///         Subscription::with_number(number)
///     }
///
///     fn unsubscribe(&self, subscription: Subscription) {
///         if let Some(number) = subscription.number() {
///             self.0.lock().unwrap().waiting.remove(&number);
///         }
///     }
/// }
///
/// let gate = Arc::new(Gate::default());
/// let opener = spawn({ let gate = gate.clone(); move || gate.open() });
/// let objects: [&dyn Waitable; 2] = [&*gate, &opener];
/// assert_eq!(wait(objects).len(), 2);
/// ```
pub trait Waitable {
    /// Whether a wait for it would return at once. A wait takes nothing from it: no permit, no item.
    fn is_ready(&self) -> bool;

    /// Has `notice` given once it is ready: at once, if it is. A notice that is given too often or too early does no harm:
    /// who waits asks [`is_ready`](Waitable::is_ready), and subscribes again.
    fn subscribe(&self, notice: Notice) -> Subscription;

    /// Takes a notice back that may or may not have been given.
    fn unsubscribe(&self, subscription: Subscription);

    /// When it will be ready by the mere passing of time, so that nobody has to give a notice; asked after each subscription.
    fn ready_at(&self) -> Option<Instant> {
        None
    }
}

/// Wakes who waits: what a [`Waitable`] keeps and gives when it is ready. From any OS thread.
#[derive(Debug)]
pub struct Notice(pub(crate) Notify);

impl Notice {
    /// Gives it. This may run code of other crates (a future's waker), so hold no lock meanwhile.
    pub fn give(self) {
        self.0.notify();
    }
}

/// A notice's place at the [`Waitable`] that made it. To any other, and with a number that its maker did not give, it means nothing.
#[derive(Debug)]
pub struct Subscription(Place);

#[derive(Debug)]
enum Place {
    /// Nowhere: the notice was given at once.
    None,
    /// In a wait list.
    Listed(Ticket),
    /// The one place beside the list of the green thread with this number.
    Beside(u64),
    /// A number of somebody else's.
    Number(u64),
}

impl Subscription {
    /// A place in a wait list.
    pub(crate) fn new(ticket: Ticket) -> Subscription {
        Subscription(Place::Listed(ticket))
    }

    /// Beside the wait list of a green thread.
    pub(super) fn beside(id: u64) -> Subscription {
        Subscription(Place::Beside(id))
    }

    /// For a notice that was given at once.
    pub fn none() -> Subscription {
        Subscription(Place::None)
    }

    /// With a number by which the [`Waitable`] that makes it, a type of your own, finds the notice again. Greenloop's own types make
    /// theirs without, and ignore those with one.
    pub fn with_number(number: u64) -> Subscription {
        Subscription(Place::Number(number))
    }

    /// The number, if it was made with one.
    pub fn number(&self) -> Option<u64> {
        match self.0 {
            Place::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The ticket of a list.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        match self.0 {
            Place::Listed(ticket) => Some(ticket),
            _ => None,
        }
    }

    /// Whether it is the place beside the list of that green thread.
    pub(super) fn is_beside(&self, id: u64) -> bool {
        matches!(self.0, Place::Beside(other) if other == id)
    }
}

/// What [`iwait`] returns: the objects, as they become ready.
pub struct IterWait<'a, W: Waitable + ?Sized> {
    objects: Vec<&'a W>,
    /// `None` once it was given out.
    subscriptions: Vec<Option<Subscription>>,
    /// The numbers of those that time may make ready.
    timed: Vec<usize>,
    set: Arc<WaitSet>,
    left: usize,
    deadline: Option<Time>,
}

impl<'a, W: Waitable + ?Sized> IterWait<'a, W> {
    fn new(objects: impl IntoIterator<Item = &'a W>, deadline: Option<Time>) -> IterWait<'a, W> {
        let objects: Vec<_> = objects.into_iter().collect();
        let set = Arc::new(WaitSet::default());
        let subscribe =
            |(number, object): (usize, &&W)| Some(object.subscribe(Notice(Notify::Set(set.clone(), number))));
        let subscriptions = objects.iter().enumerate().map(subscribe).collect();
        let left = objects.len();
        let timed = (0..left).filter(|&number| objects[number].ready_at().is_some()).collect();
        IterWait { objects, subscriptions, timed, set, left, deadline }
    }

    /// Ends the iteration at this time, whatever is ready by then.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.deadline = Some(Time::after(limit));
        self
    }

    fn next_number(&self) -> Option<usize> {
        if let Some(number) = self.set.take() {
            return Some(number);
        }
        let timed = self.next_timed();
        let deadline = self.deadline.into_iter().chain(timed.map(|(due, _)| due)).min();
        let due = || timed.filter(|&(due, _)| due <= Time::now()).map(|(_, number)| number);
        let ready = || {
            let awaited = |&number: &usize| self.subscriptions[number].is_some();
            (0..self.objects.len()).filter(awaited).find(|&number| self.objects[number].is_ready())
        };
        self.set.wait_or_find("wait", deadline, ready).or_else(due)
    }

    /// The one that time makes ready first.
    fn next_timed(&self) -> Option<(Time, usize)> {
        let awaited = self.timed.iter().filter(|&&number| self.subscriptions[number].is_some());
        let due = awaited
            .filter_map(|&number| Some((Time::from_instant(self.objects[number].ready_at()?), number)));
        due.min()
    }
}

impl<'a, W: Waitable + ?Sized> Iterator for IterWait<'a, W> {
    type Item = &'a W;

    fn next(&mut self) -> Option<&'a W> {
        while self.left > 0 {
            let number = self.next_number()?;
            let object = self.objects[number];
            // None: it was given out before its notice was read.
            let Some(subscription) = self.subscriptions[number].take() else { continue };
            object.unsubscribe(subscription);
            if object.is_ready() {
                self.left -= 1;
                return Some(object);
            }
            // Ready and not any more, as an event that was set and cleared: wait for the next time.
            let again = object.subscribe(Notice(Notify::Set(self.set.clone(), number)));
            self.subscriptions[number] = Some(again);
        }
        None
    }
}

impl<W: Waitable + ?Sized> Drop for IterWait<'_, W> {
    fn drop(&mut self) {
        for (object, subscription) in self.objects.iter().zip(&mut self.subscriptions) {
            if let Some(subscription) = subscription.take() {
                object.unsubscribe(subscription);
            }
        }
    }
}

impl<W: Waitable + ?Sized> fmt::Debug for IterWait<'_, W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("IterWait").field("left", &self.left).finish_non_exhaustive()
    }
}

/// The objects one by one, as they become ready; the iterator yields while none is. gevent's `iwait`.
///
/// Those that are ready come first, in the order given. Dropping the iterator forgets the rest. For some of them,
/// `iwait(objects).take(count)`; for a time limit, [`IterWait::timeout`].
///
/// # Examples
///
/// ```
/// use greenloop::{iwait, sleep, spawn};
/// use std::time::Duration;
///
/// let slow = spawn(|| sleep(Duration::from_millis(20)));
/// let fast = spawn(|| sleep(Duration::from_millis(1)));
/// let order: Vec<_> = iwait([&slow, &fast]).map(|task| task.id()).collect();
/// assert_eq!(order, [fast.id(), slow.id()]);
/// ```
pub fn iwait<'a, W: Waitable + ?Sized + 'a>(objects: impl IntoIterator<Item = &'a W>) -> IterWait<'a, W> {
    IterWait::new(objects, None)
}

/// Waits until all objects are ready; they are returned in the order in which they became so. gevent's `wait`.
///
/// Yields while one is not. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding. Objects
/// of several kinds go in as `&dyn Waitable`.
///
/// # Examples
///
/// ```
/// use greenloop::event::Event;
/// use greenloop::{Waitable, spawn, wait};
/// use std::sync::Arc;
///
/// let event = Arc::new(Event::new());
/// let setter = spawn({ let event = event.clone(); move || event.set() });
/// let both: [&dyn Waitable; 2] = [&*event, &setter];
/// assert_eq!(wait(both).len(), 2);
/// ```
pub fn wait<'a, W: Waitable + ?Sized + 'a>(objects: impl IntoIterator<Item = &'a W>) -> Vec<&'a W> {
    iwait(objects).collect()
}

/// Like [`wait`], for at most `limit`: those that are ready by then.
pub fn wait_timeout<'a, W: Waitable + ?Sized + 'a>(
    objects: impl IntoIterator<Item = &'a W>,
    limit: Duration,
) -> Vec<&'a W> {
    iwait(objects).timeout(limit).collect()
}

/// Waits until one of the objects is ready; `None` if there are none.
pub fn wait_any<'a, W: Waitable + ?Sized + 'a>(objects: impl IntoIterator<Item = &'a W>) -> Option<&'a W> {
    iwait(objects).next()
}

/// Waits until all green threads have ended; they are returned in the order in which they did. gevent's `joinall`.
///
/// The results stay in the handles: [`join`](JoinHandle::join) returns each at once.
///
/// # Examples
///
/// ```
/// let squares: Vec<_> = (1..=3).map(|number| greenloop::spawn(move || number * number)).collect();
/// assert_eq!(greenloop::joinall(&squares).len(), 3);
/// let squares: Vec<u32> = squares.into_iter().map(|task| task.join().unwrap()).collect();
/// assert_eq!(squares, [1, 4, 9]);
/// ```
pub fn joinall<'a, T: 'a>(tasks: impl IntoIterator<Item = &'a JoinHandle<T>>) -> Vec<&'a JoinHandle<T>> {
    wait(tasks)
}

/// Like [`joinall`], for at most `limit`: those that have ended by then. The rest go on.
pub fn joinall_timeout<'a, T: 'a>(
    tasks: impl IntoIterator<Item = &'a JoinHandle<T>>,
    limit: Duration,
) -> Vec<&'a JoinHandle<T>> {
    wait_timeout(tasks, limit)
}

/// Waits until all green threads have ended and returns their values in the order given, or the first failure as soon as
/// it happens; the rest go on, detached. gevent's `joinall(raise_error=True)`.
///
/// # Errors
///
/// The [`JoinError`] of the first that fails.
///
/// # Examples
///
/// ```
/// use greenloop::{spawn, try_joinall};
///
/// assert_eq!(try_joinall([spawn(|| 1), spawn(|| 2)]).unwrap(), [1, 2]);
/// let failing = [spawn(|| 1), spawn(|| std::panic::resume_unwind(Box::new("broken")))];
/// assert!(try_joinall(failing).unwrap_err().is_panic());
/// ```
pub fn try_joinall<T>(tasks: impl IntoIterator<Item = JoinHandle<T>>) -> Result<Vec<T>, JoinError> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    let failed = iwait(&tasks).find(|task| task.has_failed()).map(|task| task.id());
    let mut values = Vec::with_capacity(tasks.len());
    for task in tasks {
        match failed {
            None => values.push(task.join()?),
            Some(id) if id == task.id() => return task.join().map(|_| values),
            Some(_) => {}
        }
    }
    Ok(values)
}
