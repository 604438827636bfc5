//! Waiting for many things at once.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::hub::waiter::Notify;
use crate::hub::waitlist::Ticket;
use crate::hub::waitset::WaitSet;
use crate::sys::clock::Time;

/// Something that [`wait`] and its siblings can wait for.
///
/// A [`JoinHandle`](crate::JoinHandle), an event, a result, a semaphore and a receiver are such things, and a type of your own can be
/// one. If your type contains one of those, pass the calls on. Otherwise keep the [`Notice`]s of the waiters, and give each notice
/// once when your type is ready.
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
    /// Returns `true` if a wait for it would return at once.
    ///
    /// A wait takes nothing from the object: no permit, no item.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Waitable, event::Event};
    ///
    /// let event = Event::new();
    /// assert!(!Waitable::is_ready(&event));
    /// event.set();
    /// assert!(Waitable::is_ready(&event));
    /// ```
    fn is_ready(&self) -> bool;

    /// Has `notice` given when the object is ready. If it is ready now, the notice is given at once.
    ///
    /// A notice that is given too often or too early does no harm: the waiting green thread asks
    /// [`is_ready`](Waitable::is_ready), and subscribes again if it must.
    ///
    /// # Examples
    ///
    /// A type that contains an event passes the calls on:
    ///
    /// ```
    /// use greenloop::{Notice, Subscription, Waitable, event::Event, wait};
    ///
    /// struct Ready(Event);
    ///
    /// impl Waitable for Ready {
    ///     fn is_ready(&self) -> bool {
    ///         self.0.is_ready()
    ///     }
    ///
    ///     fn subscribe(&self, notice: Notice) -> Subscription {
    ///         self.0.subscribe(notice)
    ///     }
    ///
    ///     fn unsubscribe(&self, subscription: Subscription) {
    ///         self.0.unsubscribe(subscription)
    ///     }
    /// }
    ///
    /// let ready = Ready(Event::new());
    /// ready.0.set();
    /// assert_eq!(wait([&ready]).len(), 1);
    /// ```
    fn subscribe(&self, notice: Notice) -> Subscription;

    /// Takes a notice back, which may or may not have been given.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Notice, Subscription, Waitable, wait_timeout};
    /// use std::sync::Mutex;
    /// use std::time::Duration;
    ///
    /// struct Never(Mutex<Option<Notice>>);
    ///
    /// impl Waitable for Never {
    ///     fn is_ready(&self) -> bool {
    ///         false
    ///     }
    ///
    ///     fn subscribe(&self, notice: Notice) -> Subscription {
    ///         *self.0.lock().unwrap() = Some(notice);
    ///         Subscription::with_number(1)
    ///     }
    ///
    ///     fn unsubscribe(&self, _: Subscription) {
    ///         drop(self.0.lock().unwrap().take());
    ///     }
    /// }
    ///
    /// let never = Never(Mutex::default());
    /// assert!(wait_timeout([&never], Duration::from_millis(1)).is_empty());
    /// assert!(never.0.lock().unwrap().is_none()); // taken back at the end of the wait
    /// ```
    fn unsubscribe(&self, subscription: Subscription);

    /// Returns the time at which the object becomes ready without a notice, by the passing of time alone.
    ///
    /// It is asked after each subscription. The default is `None`: a notice tells when the object is ready.
    ///
    /// # Examples
    ///
    /// A type that is ready at a given time needs no notices:
    ///
    /// ```
    /// use greenloop::{Notice, Subscription, Waitable, wait};
    /// use std::time::{Duration, Instant};
    ///
    /// struct Alarm(Instant);
    ///
    /// impl Waitable for Alarm {
    ///     fn is_ready(&self) -> bool {
    ///         Instant::now() >= self.0
    ///     }
    ///
    ///     fn subscribe(&self, _: Notice) -> Subscription {
    ///         Subscription::none()
    ///     }
    ///
    ///     fn unsubscribe(&self, _: Subscription) {}
    ///
    ///     fn ready_at(&self) -> Option<Instant> {
    ///         Some(self.0)
    ///     }
    /// }
    ///
    /// let alarm = Alarm(Instant::now() + Duration::from_millis(2));
    /// wait([&alarm]);
    /// assert!(alarm.is_ready());
    /// ```
    fn ready_at(&self) -> Option<Instant> {
        None
    }
}

/// A notice that wakes a waiting green thread or OS thread. A [`Waitable`] keeps it, and gives it when it is ready.
///
/// It may be given from any OS thread.
///
/// # Examples
///
/// See [`Waitable`].
#[derive(Debug)]
pub struct Notice(pub(crate) Notify);

impl Notice {
    /// Gives the notice.
    ///
    /// This may run code of other crates, such as a future's waker. Hold no lock meanwhile.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Notice, Subscription, Waitable, wait};
    ///
    /// struct Always;
    ///
    /// impl Waitable for Always {
    ///     fn is_ready(&self) -> bool {
    ///         true
    ///     }
    ///
    ///     fn subscribe(&self, notice: Notice) -> Subscription {
    ///         notice.give();
    ///         Subscription::none()
    ///     }
    ///
    ///     fn unsubscribe(&self, _: Subscription) {}
    /// }
    ///
    /// assert_eq!(wait([&Always]).len(), 1);
    /// ```
    pub fn give(self) {
        self.0.notify();
    }
}

/// The place of a [`Notice`] at the [`Waitable`] that made the subscription.
///
/// It means nothing to any other object, and neither does a number that the object did not give.
///
/// # Examples
///
/// See [`Waitable`].
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

    /// Makes a subscription for a notice that is not kept: it was given at once, or time makes the object ready.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Subscription;
    ///
    /// assert_eq!(Subscription::none().number(), None);
    /// ```
    pub fn none() -> Subscription {
        Subscription(Place::None)
    }

    /// Makes a subscription with a number by which a type of your own finds the notice again.
    ///
    /// greenloop's own types make theirs without a number, and ignore those with one.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Subscription;
    ///
    /// assert_eq!(Subscription::with_number(3).number(), Some(3));
    /// ```
    pub fn with_number(number: u64) -> Subscription {
        Subscription(Place::Number(number))
    }

    /// Returns the number, if the subscription was made with one.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Subscription, Waitable, event::Event, spawn};
    ///
    /// assert_eq!(Subscription::with_number(3).number(), Some(3));
    /// assert_eq!(Subscription::none().number(), None);
    /// ```
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

/// An iterator over objects in the order in which they become ready. [`iwait`] returns it.
///
/// # Examples
///
/// ```
/// use greenloop::event::Event;
/// use greenloop::iwait;
///
/// let (first, second) = (Event::new(), Event::new());
/// second.set();
/// let mut events = iwait([&first, &second]);
/// assert!(std::ptr::eq(events.next().unwrap(), &second));
/// first.set();
/// assert!(std::ptr::eq(events.next().unwrap(), &first));
/// assert!(events.next().is_none());
/// ```
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

    /// Ends the iteration after `limit`, counted from now, even if some objects are not ready.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::event::Event;
    /// use greenloop::iwait;
    /// use std::time::Duration;
    ///
    /// let (set, unset) = (Event::new(), Event::new());
    /// set.set();
    /// assert_eq!(iwait([&unset, &set]).timeout(Duration::from_millis(1)).count(), 1);
    /// ```
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

/// Returns an iterator over the objects in the order in which they become ready. This is gevent's `iwait`.
///
/// The iterator yields while none is ready. Objects that are ready already come first, in the order given. Dropping the iterator
/// ends the wait for the rest. To wait for some of the objects only, use `iwait(objects).take(count)`; for a time limit, use
/// [`IterWait::timeout`].
///
/// # Examples
///
/// ```
/// use greenloop::{iwait, spawn, yield_now};
///
/// let slow = spawn(|| (0..5).for_each(|_| yield_now()));
/// let fast = spawn(|| ());
/// let order: Vec<_> = iwait([&slow, &fast]).map(|task| task.id()).collect();
/// assert_eq!(order, [fast.id(), slow.id()]);
/// ```
#[doc(alias = "as_completed")]
pub fn iwait<'a, W: Waitable + ?Sized + 'a>(objects: impl IntoIterator<Item = &'a W>) -> IterWait<'a, W> {
    IterWait::new(objects, None)
}

/// Waits until all objects are ready, and returns them in the order in which they became so. This is gevent's `wait`.
///
/// The call yields while one of them is not ready. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by
/// unwinding. Objects of several types go in as `&dyn Waitable`.
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

/// Waits for at most `limit` until all objects are ready, and returns those that are.
///
/// Apart from that, it is like [`wait`].
///
/// # Examples
///
/// ```
/// use greenloop::event::Event;
/// use greenloop::wait_timeout;
/// use std::time::Duration;
///
/// let (set, unset) = (Event::new(), Event::new());
/// set.set();
/// let ready = wait_timeout([&set, &unset], Duration::from_millis(1));
/// assert_eq!(ready.len(), 1);
/// ```
pub fn wait_timeout<'a, W: Waitable + ?Sized + 'a>(
    objects: impl IntoIterator<Item = &'a W>,
    limit: Duration,
) -> Vec<&'a W> {
    iwait(objects).timeout(limit).collect()
}

/// Waits until one of the objects is ready, and returns it. Returns `None` if there are no objects.
///
/// Apart from that, it is like [`wait`].
///
/// # Examples
///
/// ```
/// use greenloop::event::Event;
/// use greenloop::wait_any;
///
/// let (set, unset) = (Event::new(), Event::new());
/// set.set();
/// assert!(wait_any([&unset, &set]).is_some_and(Event::is_set));
/// assert!(wait_any::<Event>([]).is_none());
/// ```
#[doc(alias = "FIRST_COMPLETED")]
pub fn wait_any<'a, W: Waitable + ?Sized + 'a>(objects: impl IntoIterator<Item = &'a W>) -> Option<&'a W> {
    iwait(objects).next()
}
