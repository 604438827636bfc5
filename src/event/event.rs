//! A flag to wait for.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::link::Origin;
use crate::hub::handover::{self, Ended};
use crate::hub::waiter::{Notify, Waiter, WaitingOn};
use crate::hub::waitlist::WaitList;
use crate::sys::clock::Time;
use crate::sys::lock::Lock;
use crate::task::{Link, Notice, Subscription, Waitable};

/// A flag that any number of green threads and plain OS threads can wait for. This is gevent's `Event`.
///
/// [`set`](Event::set) wakes all waiters, in the order of their arrival. From then on no wait blocks, until
/// [`clear`](Event::clear). A `set` counts for all that were waiting, even if the event is cleared before they run.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use greenloop::event::Event;
/// use greenloop::{spawn, yield_now};
///
/// let event = Arc::new(Event::new());
/// let waiters: Vec<_> = (0..3)
///     .map(|number| {
///         let event = Arc::clone(&event);
///         spawn(move || {
///             event.wait();
///             number
///         })
///     })
///     .collect();
/// yield_now();
/// event.set();
/// event.clear();
/// let woken: Vec<_> = waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect();
/// assert_eq!(woken, [0, 1, 2]);
/// ```
pub struct Event {
    /// Written only under the lock of `waiters`: who has found it false there is in line before it becomes true.
    set: AtomicBool,
    waiters: Lock<WaitList<Notify>>,
    origin: Origin,
}

// No user's value is inside.
impl UnwindSafe for Event {}
impl RefUnwindSafe for Event {}

impl Event {
    /// Makes an event that is not set.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::event::Event;
    ///
    /// static STOP: Event = Event::new();
    /// assert!(!STOP.is_set());
    /// ```
    pub const fn new() -> Event {
        Event { set: AtomicBool::new(false), waiters: Lock::new(WaitList::new()), origin: Origin::new() }
    }

    /// Returns `true` if the event is set at this moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::event::Event;
    ///
    /// let event = Event::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    #[doc(alias = "isSet")]
    #[inline]
    pub fn is_set(&self) -> bool {
        // Acquire: who sees the event set sees what was done before it was set.
        self.set.load(Ordering::Acquire)
    }

    /// Sets the event, and wakes all waiters.
    ///
    /// The call never yields: the waiters run when the caller yields. If the event is set already, nothing happens.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::event::Event;
    ///
    /// let event = Event::new();
    /// event.set();
    /// event.wait(); // returns at once
    /// assert!(event.is_set());
    /// ```
    pub fn set(&self) {
        let waiters = self.waiters.lock();
        // Release: pairs with the Acquire in `is_set`.
        self.set.store(true, Ordering::Release);
        // Only those: somebody may clear the event and wait again while we notify.
        let mut left = waiters.len();
        handover::notify_all(&self.waiters, waiters, |waiters| {
            left = left.checked_sub(1)?;
            waiters.pop()
        });
    }

    /// Clears the event: from now on [`wait`](Event::wait) waits. Never yields.
    ///
    /// A waiter that an earlier [`set`](Event::set) has woken stays woken, even if it has not run yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::event::Event;
    ///
    /// let event = Event::new();
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// ```
    pub fn clear(&self) {
        let waiters = self.waiters.lock();
        // Release: nothing is published by it; it is as strong as the other store so that the two can be read alike.
        self.set.store(false, Ordering::Release);
        drop(waiters);
    }

    /// Waits until the event is set.
    ///
    /// If it is set, the call returns at once. Otherwise the calling green thread yields, and [`set`](Event::set) wakes it;
    /// waiters are woken in the order of their arrival. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the
    /// wait by unwinding, and leaves the event unchanged.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use greenloop::event::Event;
    /// use greenloop::spawn;
    ///
    /// let ready = Arc::new(Event::new());
    /// let waiter = spawn({ let ready = Arc::clone(&ready); move || ready.wait() });
    /// ready.set();
    /// assert!(waiter.join().is_ok());
    /// ```
    #[inline]
    pub fn wait(&self) {
        if !self.is_set() {
            self.stand(None);
        }
    }

    /// Waits for at most `timeout` until the event is set. Returns `true` if it was.
    ///
    /// Apart from that, it is like [`wait`](Event::wait).
    ///
    /// # Panics
    ///
    /// As [`wait`](Event::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::event::Event;
    ///
    /// let event = Event::new();
    /// assert!(!event.wait_timeout(Duration::from_millis(1)));
    /// event.set();
    /// assert!(event.wait_timeout(Duration::from_millis(1)));
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.is_set() || self.stand(Some(Time::after(timeout)))
    }

    /// Waits until `deadline` at the latest until the event is set. Returns `true` if it was.
    ///
    /// Apart from that, it is like [`wait`](Event::wait).
    ///
    /// # Panics
    ///
    /// As [`wait`](Event::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use greenloop::event::Event;
    ///
    /// assert!(!Event::new().wait_deadline(Instant::now() + Duration::from_millis(1)));
    /// ```
    pub fn wait_deadline(&self, deadline: Instant) -> bool {
        self.is_set() || self.stand(Some(Time::from_instant(deadline)))
    }

    /// Calls `function` once the event is set, in a green thread of its own.
    ///
    /// If it is set already, the call is due at the caller's next yield. `function` is called once, for one `set`. It runs in the
    /// hub of the OS thread that linked it, whichever OS thread sets the event; if that thread has ended, it is not called.
    /// Several functions are called in the order in which they were linked.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::unbounded;
    /// use greenloop::event::Event;
    ///
    /// let (linked, (sender, receiver)) = (Event::new(), unbounded());
    /// linked.link(move || sender.send("ready").unwrap());
    /// linked.set();
    /// assert_eq!(receiver.recv(), Ok("ready"));
    /// ```
    pub fn link(&self, function: impl FnOnce() + Send + 'static) -> Link {
        self.origin.link(false, function, |notice| self.subscribe(notice))
    }

    /// Calls `function` once the event is set, in the hub itself.
    ///
    /// This costs no green thread. `function` runs as a [hub callback](crate::hub#callbacks): a wait or a switch in it panics,
    /// and the panic goes to the [hook for uncaught errors](crate::hub::set_uncaught_hook). Apart from that, it is like
    /// [`link`](Event::link).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::unbounded;
    /// use greenloop::event::Event;
    ///
    /// let (linked, (sender, receiver)) = (Event::new(), unbounded());
    /// linked.rawlink(move || sender.try_send("ready").unwrap());
    /// linked.set();
    /// assert_eq!(receiver.recv(), Ok("ready"));
    /// ```
    pub fn rawlink(&self, function: impl FnOnce() + Send + 'static) -> Link {
        self.origin.link(true, function, |notice| self.subscribe(notice))
    }

    /// Takes a linked function back. Returns `true` if it will not be called any more.
    ///
    /// This works until the function is called, also while others are being called.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::event::Event;
    ///
    /// let linked = Event::new();
    /// let link = linked.link(|| unreachable!());
    /// assert!(linked.unlink(link));
    /// linked.set();
    /// # greenloop::yield_now();
    /// ```
    pub fn unlink(&self, link: Link) -> bool {
        link.take_back(self.origin.number(), |ticket| self.waiters.lock().remove(ticket))
    }

    /// Waits in line; `false` if the deadline has passed.
    #[cold]
    fn stand(&self, deadline: Option<Time>) -> bool {
        let mut waiters = self.waiters.lock();
        if self.is_set() {
            return true;
        }
        let waiter = Waiter::new(WaitingOn::Other("Event::wait"));
        let ticket = waiters.push(waiter.notify());
        drop(waiters);
        let called = |waiters: &mut WaitList<Notify>| (!waiters.contains(ticket)).then_some(());
        let (mut waiters, ended) = waiter.stand(&self.waiters, deadline, called, drop);
        match ended {
            Ok(()) => true,
            Err(Ended::TimedOut) => waiters.remove(ticket).is_none(),
            Err(Ended::Interrupted(interrupt)) => {
                waiters.remove(ticket);
                drop(waiters);
                interrupt.raise()
            }
        }
    }
}

/// Ready while it is set.
impl Waitable for Event {
    fn is_ready(&self) -> bool {
        self.is_set()
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        let mut waiters = self.waiters.lock();
        if !self.is_set() {
            return Subscription::new(waiters.push_for_others(notice.0));
        }
        drop(waiters);
        notice.give();
        Subscription::none()
    }

    fn unsubscribe(&self, subscription: Subscription) {
        let ticket = subscription.ticket();
        // Dropped after the lock: a notice may own other code.
        let _notice = ticket.and_then(|ticket| self.waiters.lock().remove(ticket));
    }
}

impl Default for Event {
    fn default() -> Event {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.waiters.lock().len();
        formatter.debug_struct("Event").field("set", &self.is_set()).field("waiting", &waiting).finish()
    }
}
