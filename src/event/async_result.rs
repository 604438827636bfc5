//! A value to wait for.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::link::Origin;
use crate::error::TimedOut;
use crate::hub::handover::{self, Ended};
use crate::hub::waiter::{Notify, Waiter, WaitingOn};
use crate::hub::waitlist::WaitList;
use crate::sys::clock::Time;
use crate::sys::lock::Lock;
use crate::task::{Link, Notice, Subscription, Waitable};

/// A value that any number of green threads and plain OS threads can wait for. This is gevent's `AsyncResult`.
///
/// [`set`](AsyncResult::set) stores the value and wakes all waiters, in the order of their arrival. Each of them gets a clone,
/// and so does every later caller. Setting it again replaces the value.
///
/// gevent keeps a value or an exception, which `get` raises. In Rust a result that may fail is an `AsyncResult<Result<V, E>>`.
/// gevent's `set_exception(error)` is [`set_error`](AsyncResult::set_error), and every [`get`](AsyncResult::get) returns that
/// same error. If your error is not `Clone`, put it in as `Arc<E>`.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use greenloop::event::AsyncResult;
/// use greenloop::spawn;
///
/// let port = Arc::new(AsyncResult::new());
/// let readers: Vec<_> = (0..2)
///     .map(|_| {
///         let port = Arc::clone(&port);
///         spawn(move || port.get())
///     })
///     .collect();
/// port.set("80".parse::<u16>());
/// for reader in readers {
///     assert_eq!(reader.join().unwrap(), Ok(80));
/// }
/// ```
///
/// It is `Send` and `Sync` if `T` is both, since several threads may clone the value at once:
///
/// ```compile_fail
/// fn is_sync<T: Sync>() {}
/// is_sync::<greenloop::event::AsyncResult<std::cell::Cell<u32>>>();
/// ```
#[doc(alias = "Future")]
pub struct AsyncResult<T> {
    state: Lock<Answer<T>>,
    origin: Origin,
}

struct Answer<T> {
    /// Shared, so that it can be cloned without the lock.
    value: Option<Arc<T>>,
    waiters: WaitList<Notify>,
}

// The value is only ever seen as a whole, and shared.
impl<T: RefUnwindSafe> UnwindSafe for AsyncResult<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for AsyncResult<T> {}

impl<T> AsyncResult<T> {
    /// Makes a result without a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::event::AsyncResult;
    ///
    /// assert!(!AsyncResult::<u32>::new().is_ready());
    /// ```
    pub const fn new() -> AsyncResult<T> {
        AsyncResult {
            state: Lock::new(Answer { value: None, waiters: WaitList::new() }),
            origin: Origin::new(),
        }
    }

    /// Stores the value, in place of an earlier one, and wakes all waiters.
    ///
    /// The call never yields: the waiters run when the caller yields.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::event::AsyncResult;
    ///
    /// let result = AsyncResult::new();
    /// result.set(Err("not yet"));
    /// result.set(Ok(1));
    /// assert_eq!(result.get(), Ok(1));
    /// ```
    #[doc(alias = "set_result")]
    pub fn set(&self, value: T) {
        let value = Arc::new(value);
        let mut state = self.state.lock();
        let replaced = state.value.replace(value);
        let mut left = state.waiters.len();
        handover::notify_all(&self.state, state, |state| {
            left = left.checked_sub(1)?;
            state.waiters.pop()
        });
        drop(replaced);
    }

    /// Returns `true` if there is a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::event::AsyncResult;
    ///
    /// let result = AsyncResult::new();
    /// result.set(());
    /// assert!(result.is_ready());
    /// ```
    #[doc(alias("ready", "done"))]
    pub fn is_ready(&self) -> bool {
        self.state.lock().value.is_some()
    }

    /// Waits until there is a value.
    ///
    /// If there is one, the call returns at once. Otherwise the calling green thread yields, and [`set`](AsyncResult::set) wakes
    /// it; waiters are woken in the order of their arrival. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the
    /// wait by unwinding, and leaves the result unchanged.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use greenloop::event::AsyncResult;
    /// use greenloop::spawn;
    ///
    /// let result = Arc::new(AsyncResult::new());
    /// let setter = spawn({ let result = Arc::clone(&result); move || result.set(1) });
    /// result.wait();
    /// assert!(result.is_ready());
    /// # setter.join().unwrap();
    /// ```
    pub fn wait(&self) {
        self.stand(None);
    }

    /// Waits for at most `timeout` until there is a value. Returns `true` if there is one.
    ///
    /// Apart from that, it is like [`wait`](AsyncResult::wait).
    ///
    /// # Panics
    ///
    /// As [`wait`](AsyncResult::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::event::AsyncResult;
    ///
    /// assert!(!AsyncResult::<u32>::new().wait_timeout(Duration::from_millis(1)));
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.stand(Some(Time::after(timeout))).is_some()
    }

    /// Waits until `deadline` at the latest until there is a value. Returns `true` if there is one.
    ///
    /// Apart from that, it is like [`wait`](AsyncResult::wait).
    ///
    /// # Panics
    ///
    /// As [`wait`](AsyncResult::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use greenloop::event::AsyncResult;
    ///
    /// assert!(!AsyncResult::<u32>::new().wait_deadline(Instant::now()));
    /// ```
    pub fn wait_deadline(&self, deadline: Instant) -> bool {
        self.stand(Some(Time::from_instant(deadline))).is_some()
    }

    /// Calls `function` once there is a value, in a green thread of its own.
    ///
    /// If there is a value already, the call is due at the caller's next yield. `function` is called once, for one `set`. It runs
    /// in the hub of the OS thread that linked it, whichever OS thread sets the value; if that thread has ended, it is not
    /// called. Several functions are called in the order in which they were linked.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::unbounded;
    /// use greenloop::event::AsyncResult;
    ///
    /// let (linked, (sender, receiver)) = (AsyncResult::new(), unbounded());
    /// linked.link(move || sender.send("ready").unwrap());
    /// linked.set(7);
    /// assert_eq!(receiver.recv(), Ok("ready"));
    /// ```
    #[doc(alias = "add_done_callback")]
    pub fn link(&self, function: impl FnOnce() + Send + 'static) -> Link {
        self.origin.link(false, function, |notice| self.subscribe(notice))
    }

    /// Calls `function` once there is a value, in the hub itself.
    ///
    /// This costs no green thread. `function` runs as a [hub callback](crate::hub#callbacks): a wait or a switch in it panics,
    /// and the panic goes to the [hook for uncaught errors](crate::hub::set_uncaught_hook). Apart from that, it is like
    /// [`link`](AsyncResult::link).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::unbounded;
    /// use greenloop::event::AsyncResult;
    ///
    /// let (linked, (sender, receiver)) = (AsyncResult::new(), unbounded());
    /// linked.rawlink(move || sender.try_send("ready").unwrap());
    /// linked.set(7);
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
    /// use greenloop::event::AsyncResult;
    ///
    /// let linked = AsyncResult::new();
    /// let link = linked.link(|| unreachable!());
    /// assert!(linked.unlink(link));
    /// linked.set(7);
    /// # greenloop::yield_now();
    /// ```
    pub fn unlink(&self, link: Link) -> bool {
        link.take_back(self.origin.number(), |ticket| self.state.lock().waiters.remove(ticket))
    }

    /// Consumes the result, and returns its value, if it was set. Never waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::event::AsyncResult;
    ///
    /// let result = AsyncResult::new();
    /// result.set(1);
    /// assert_eq!(result.into_inner(), Some(1));
    /// ```
    pub fn into_inner(self) -> Option<T> {
        // Who clones the value does so within a borrow of the result, so this is its only owner.
        self.state.into_inner().value.and_then(Arc::into_inner)
    }

    /// Waits for a value; `None` if the deadline has passed.
    fn stand(&self, deadline: Option<Time>) -> Option<Arc<T>> {
        let mut state = self.state.lock();
        if state.value.is_some() {
            return state.value.clone();
        }
        let waiter = Waiter::new(WaitingOn::Other("AsyncResult::get"));
        let ticket = state.waiters.push(waiter.notify());
        drop(state);
        // A value is never taken away again: if there is one, the wait is over.
        let settle = |state: &mut Answer<T>| {
            let value = state.value.clone()?;
            state.waiters.remove(ticket);
            Some(value)
        };
        let (mut state, ended) = waiter.stand(&self.state, deadline, settle, drop);
        match ended {
            Ok(value) => Some(value),
            Err(Ended::TimedOut) => {
                state.waiters.remove(ticket);
                state.value.clone()
            }
            Err(Ended::Interrupted(interrupt)) => {
                state.waiters.remove(ticket);
                drop(state);
                interrupt.raise()
            }
        }
    }
}

impl<V, E> AsyncResult<Result<V, E>> {
    /// Stores an error. It is short for [`set`](AsyncResult::set)`(Err(error))`.
    ///
    /// # Examples
    ///
    /// ```
    /// let result = greenloop::event::AsyncResult::<Result<u32, &str>>::new();
    /// result.set_error("no such port");
    /// assert_eq!(result.get(), Err("no such port"));
    /// ```
    #[doc(alias = "set_exception")]
    pub fn set_error(&self, error: E) {
        self.set(Err(error));
    }
}

impl<T: Clone> AsyncResult<T> {
    /// Waits until there is a value, and returns a clone of it.
    ///
    /// The call waits as [`wait`](AsyncResult::wait) does. If the value was set more than once meanwhile, it returns the one that
    /// is there when the caller goes on, which is the last.
    ///
    /// # Panics
    ///
    /// As [`wait`](AsyncResult::wait), and if cloning the value panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::event::AsyncResult;
    ///
    /// let result = AsyncResult::new();
    /// result.set("ready");
    /// assert_eq!((result.get(), result.get()), ("ready", "ready"));
    /// ```
    #[doc(alias = "result")]
    pub fn get(&self) -> T {
        let value = self.stand(None).expect("a wait without a deadline ends with a value");
        T::clone(&value)
    }

    /// Waits for at most `timeout` until there is a value, and returns a clone of it.
    ///
    /// Apart from that, it is like [`get`](AsyncResult::get).
    ///
    /// # Errors
    ///
    /// Returns [`TimedOut`] if the time is over.
    ///
    /// # Panics
    ///
    /// As [`get`](AsyncResult::get).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::event::{AsyncResult, TimedOut};
    ///
    /// let result = AsyncResult::new();
    /// assert_eq!(result.get_timeout(Duration::from_millis(1)), Err(TimedOut));
    /// result.set(1);
    /// assert_eq!(result.get_timeout(Duration::from_millis(1)), Ok(1));
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, TimedOut> {
        self.stand(Some(Time::after(timeout))).map(|value| T::clone(&value)).ok_or(TimedOut)
    }

    /// Waits until `deadline` at the latest until there is a value, and returns a clone of it.
    ///
    /// Apart from that, it is like [`get`](AsyncResult::get).
    ///
    /// # Errors
    ///
    /// Returns [`TimedOut`] if the time is over.
    ///
    /// # Panics
    ///
    /// As [`get`](AsyncResult::get).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use greenloop::event::AsyncResult;
    ///
    /// assert!(AsyncResult::<u32>::new().get_deadline(Instant::now()).is_err());
    /// ```
    pub fn get_deadline(&self, deadline: Instant) -> Result<T, TimedOut> {
        self.stand(Some(Time::from_instant(deadline))).map(|value| T::clone(&value)).ok_or(TimedOut)
    }

    /// Returns a clone of the value, if there is one. Never waits.
    ///
    /// # Panics
    ///
    /// Panics if cloning the value panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::event::AsyncResult;
    ///
    /// let result = AsyncResult::new();
    /// assert_eq!(result.try_get(), None);
    /// result.set(1);
    /// assert_eq!(result.try_get(), Some(1));
    /// ```
    #[doc(alias("get_nowait", "value"))]
    pub fn try_get(&self) -> Option<T> {
        let value = self.state.lock().value.clone();
        value.map(|value| T::clone(&value))
    }
}

/// Ready once there is a value.
impl<T> Waitable for AsyncResult<T> {
    fn is_ready(&self) -> bool {
        AsyncResult::is_ready(self)
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        let mut state = self.state.lock();
        if state.value.is_none() {
            return Subscription::new(state.waiters.push_for_others(notice.0));
        }
        drop(state);
        notice.give();
        Subscription::none()
    }

    fn unsubscribe(&self, subscription: Subscription) {
        let ticket = subscription.ticket();
        // Dropped after the lock: a notice may own other code.
        let _notice = ticket.and_then(|ticket| self.state.lock().waiters.remove(ticket));
    }
}

impl<T> Default for AsyncResult<T> {
    fn default() -> AsyncResult<T> {
        AsyncResult::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.state.lock().value.clone();
        match value {
            Some(value) => formatter.debug_tuple("AsyncResult").field(&*value).finish(),
            None => formatter.write_str("AsyncResult(<not set>)"),
        }
    }
}
