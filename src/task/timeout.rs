//! Time limits that end any wait inside.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe, RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use crate::error::Elapsed;
use crate::hub::time_limit::{ArmedTimeout, arm_timeout, disarm_timeout};
use crate::hub::waiter::end_unwinding;
use crate::sys::clock::Time;

/// Runs `function` with a time limit. This is gevent's `with_timeout`.
///
/// If `function` has not returned after `limit`, the wait in which it is then ends by unwinding, and the result is
/// `Err(Elapsed)`. Destructors run.
///
/// The limit ends *any* wait inside, in the code of other crates too. It does so when the green thread is parked, or when it next
/// parks: code that computes is not interrupted. Limits nest. Each is told apart from the others, and an outer limit passes
/// through the inner ones. A limit of `Duration::MAX` never ends. A limit of zero ends the first wait that has to look at the
/// clock.
///
/// # What the limit does not end
///
/// - **Code that catches it.** The limit unwinds, so a [`catch_unwind`](std::panic::catch_unwind) inside of `function` catches it, as
///   web frameworks, thread pools and test harnesses do. Then `function` goes on without a limit, and its value is returned as if it
///   had come in time. If you catch an [`Elapsed`], pass it on with [`resume_unwind`](std::panic::resume_unwind).
/// - **Green threads that `function` has spawned.** The limit ends a `join`, but the green thread that was to be joined goes on,
///   detached. In a [`scope`](crate::scope()) it ends with the limit:
///
/// ```
/// use greenloop::hub::Hub;
/// use greenloop::{scope, sleep, spawn, with_timeout};
/// use std::time::Duration;
///
/// let (limit, long) = (Duration::from_millis(1), Duration::from_secs(60));
/// let scoped = with_timeout(limit, || scope(|scope| scope.spawn(|| sleep(long)).join()));
/// assert!(scoped.is_err());
/// assert_eq!(Hub::current().alive(), 0);
///
/// let detached = with_timeout(limit, || spawn(move || sleep(long)).join());
/// assert!(detached.is_err());
/// assert_eq!(Hub::current().alive(), 1); // it sleeps on
/// ```
///
/// Calls of C under `monkey::patch_all` cannot unwind. They fail instead, and `Elapsed` is returned whatever `function` made of that.
///
/// # Errors
///
/// Returns [`Elapsed`] if this limit, and not another one, ended `function`.
///
/// # Examples
///
/// ```
/// use greenloop::{sleep, with_timeout};
/// use std::time::Duration;
///
/// assert_eq!(with_timeout(Duration::from_secs(60), || "in time"), Ok("in time"));
/// let late = with_timeout(Duration::from_millis(1), || sleep(Duration::from_secs(60)));
/// assert_eq!(late.unwrap_err().limit(), Duration::from_millis(1));
/// ```
///
/// `function` may return a `Result` of its own:
///
/// ```
/// use greenloop::{net::TcpListener, with_timeout};
/// use std::{io, time::Duration};
///
/// fn first_caller(listener: &TcpListener) -> io::Result<std::net::SocketAddr> {
///     let (_, address) = with_timeout(Duration::from_millis(1), || listener.accept())??;
///     Ok(address)
/// }
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// assert_eq!(first_caller(&listener).unwrap_err().kind(), io::ErrorKind::TimedOut);
/// # Ok::<(), io::Error>(())
/// ```
#[doc(alias("timeout", "wait_for", "timeout_at"))]
pub fn with_timeout<R>(limit: Duration, function: impl FnOnce() -> R) -> Result<R, Elapsed> {
    let mut timeout = Timeout::new(limit);
    timeout.arm();
    match panic::catch_unwind(AssertUnwindSafe(function)) {
        // A C call inside has failed for it; what the code made of that is not the value that was asked for.
        #[cfg(feature = "monkey")]
        Ok(_) if timeout.was_told() => Err(Elapsed { limit, id: timeout.id }),
        #[cfg(feature = "monkey")]
        Err(payload) if crate::hub::no_unwind::is_of_a_panic(&*payload) && timeout.was_told() => {
            Err(Elapsed { limit, id: timeout.id })
        }
        Ok(value) => Ok(value),
        Err(payload) => match payload.downcast::<Elapsed>() {
            Ok(elapsed) if timeout.owns(&*elapsed) => {
                end_unwinding();
                Err(*elapsed)
            }
            Ok(elapsed) => panic::resume_unwind(elapsed),
            Err(payload) => panic::resume_unwind(payload),
        },
    }
}

/// A time limit that you start and cancel yourself, where the closure of [`with_timeout`] does not fit. This is gevent's
/// `Timeout`.
///
/// After the limit, the green thread that started the timeout unwinds at its next wait. The payload is an [`Elapsed`], which
/// [`owns`](Timeout::owns) recognises. Catch it, also in main: it travels by [`std::panic::resume_unwind`], so what ends by it ends without
/// a message.
///
/// A `catch_unwind` on the way catches the payload, and green threads that were spawned meanwhile go on: see
/// [`with_timeout`](with_timeout#what-the-limit-does-not-end).
///
/// To end the timeout, cancel or drop it. A leaked timeout is harmless: it ends with its green thread.
///
/// # Examples
///
/// ```
/// use greenloop::{Timeout, sleep};
/// use std::panic::catch_unwind;
/// use std::time::Duration;
///
/// let mut timeout = Timeout::new(Duration::from_millis(1));
/// timeout.start().unwrap();
/// let payload = catch_unwind(|| sleep(Duration::from_secs(60))).unwrap_err();
/// assert!(timeout.owns(&*payload));
/// ```
pub struct Timeout {
    limit: Duration,
    armed: Option<ArmedTimeout>,
    /// The last start's number.
    id: u64,
    /// It belongs to one green thread.
    here: PhantomData<*mut ()>,
}

// What it stands for is kept whole by the library, whoever unwinds.
impl UnwindSafe for Timeout {}
impl RefUnwindSafe for Timeout {}

/// The error of [`Timeout::start`] if the timeout has been started already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the timeout has been started already")]
pub struct AlreadyStarted;

impl Timeout {
    /// Makes a timeout that has not started.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Timeout;
    /// use std::time::Duration;
    ///
    /// let timeout = Timeout::new(Duration::from_secs(1));
    /// assert!(!timeout.is_started());
    /// ```
    pub fn new(limit: Duration) -> Timeout {
        Timeout { limit, armed: None, id: 0, here: PhantomData }
    }

    /// Starts the timeout for the calling green thread.
    ///
    /// After [`cancel`](Timeout::cancel) it can be started again.
    ///
    /// # Errors
    ///
    /// Returns [`AlreadyStarted`] if it has been started and not cancelled since.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{AlreadyStarted, Timeout};
    /// use std::time::Duration;
    ///
    /// let mut timeout = Timeout::new(Duration::from_secs(60));
    /// assert_eq!(timeout.start(), Ok(()));
    /// assert_eq!(timeout.start(), Err(AlreadyStarted));
    /// ```
    #[doc(alias = "start_new")]
    pub fn start(&mut self) -> Result<(), AlreadyStarted> {
        if self.is_started() {
            return Err(AlreadyStarted);
        }
        self.arm();
        Ok(())
    }

    fn arm(&mut self) {
        let deadline = Time::after(self.limit);
        if deadline != Time::NEVER {
            let armed = arm_timeout(deadline, self.limit);
            self.id = armed.id;
            self.armed = Some(armed);
        }
    }

    /// Cancels the timeout: it unwinds nothing any more, even if its time is over.
    ///
    /// A green thread other than the one that started the timeout may cancel it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Timeout, sleep};
    /// use std::time::Duration;
    ///
    /// let mut timeout = Timeout::new(Duration::from_millis(1));
    /// timeout.start().unwrap();
    /// timeout.cancel();
    /// sleep(Duration::from_millis(2)); // not ended by the timeout
    /// assert!(!timeout.is_started());
    /// ```
    #[doc(alias = "close")]
    pub fn cancel(&mut self) {
        if let Some(armed) = self.armed.take() {
            disarm_timeout(armed);
        }
    }

    /// Returns `true` if the timeout has been started and not cancelled since.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Timeout;
    /// use std::time::Duration;
    ///
    /// let mut timeout = Timeout::new(Duration::from_secs(60));
    /// timeout.start().unwrap();
    /// assert!(timeout.is_started());
    /// timeout.cancel();
    /// assert!(!timeout.is_started());
    /// ```
    #[doc(alias = "pending")]
    pub fn is_started(&self) -> bool {
        self.armed.is_some()
    }

    #[cfg(feature = "monkey")]
    fn was_told(&self) -> bool {
        self.armed.as_ref().is_some_and(crate::hub::no_unwind::was_told)
    }

    /// Returns `true` if `payload` is the one with which this timeout unwound.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Timeout, sleep};
    /// use std::panic::catch_unwind;
    /// use std::time::Duration;
    ///
    /// let (mut short, long) = (Timeout::new(Duration::from_millis(1)), Timeout::new(Duration::from_secs(60)));
    /// short.start().unwrap();
    /// let payload = catch_unwind(|| sleep(Duration::from_secs(60))).unwrap_err();
    /// assert!(short.owns(&*payload));
    /// assert!(!long.owns(&*payload));
    /// ```
    pub fn owns(&self, payload: &(dyn Any + Send)) -> bool {
        self.id != 0 && payload.downcast_ref::<Elapsed>().is_some_and(|elapsed| elapsed.id == self.id)
    }
}

impl Drop for Timeout {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl fmt::Debug for Timeout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Timeout")
            .field("limit", &self.limit)
            .field("started", &self.is_started())
            .finish()
    }
}
