//! Time limits that end any wait inside.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use crate::error::Elapsed;
use crate::hub::waiter::{ArmedTimeout, arm_timeout, disarm_timeout, end_unwinding};
use crate::sys::clock::Time;

/// Runs `function`; if it has not returned after `limit`, the wait in which it is then is ended by unwinding, and the
/// result is `Err(Elapsed)`.
///
/// It ends *any* wait inside, in other crates' code too, at the moment when the green thread is parked or next parks; code
/// that computes is not interrupted. Destructors run. Limits nest: each is told apart, and an outer one passes through the
/// inner. `Duration::MAX` never ends. Zero ends at the first wait that has to look at the clock. gevent's `with_timeout`.
///
/// # Errors
///
/// [`Elapsed`] if this limit, and not another one, ended `function`.
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
pub fn with_timeout<R>(limit: Duration, function: impl FnOnce() -> R) -> Result<R, Elapsed> {
    let mut timeout = Timeout::new(limit);
    timeout.arm();
    match panic::catch_unwind(AssertUnwindSafe(function)) {
        // A C call inside has failed for it; what the code made of that is not the value that was asked for.
        #[cfg(feature = "monkey")]
        Ok(_) if timeout.was_told() => Err(Elapsed { limit, id: timeout.id }),
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

/// A time limit as an object: for limits that start and end otherwise than with a closure. gevent's `Timeout`.
///
/// Once started, it unwinds the green thread that started it, at its next wait after the limit, with an [`Elapsed`] payload
/// that [`owns`](Timeout::owns) recognises. Dropping or cancelling it ends it. A leaked one is harmless: it ends with its
/// green thread.
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

/// [`Timeout::start`] was called twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the timeout has been started already")]
pub struct AlreadyStarted;

impl Timeout {
    /// A limit that has not started.
    pub fn new(limit: Duration) -> Timeout {
        Timeout { limit, armed: None, id: 0, here: PhantomData }
    }

    /// Starts the time. May be called again after [`cancel`](Timeout::cancel).
    ///
    /// # Errors
    ///
    /// [`AlreadyStarted`] if it runs.
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

    /// Ends it: it will not unwind anything any more, even if its time is over. Another green thread than the one that
    /// started it may do that.
    pub fn cancel(&mut self) {
        if let Some(armed) = self.armed.take() {
            disarm_timeout(armed);
        }
    }

    /// Whether it has been started, and not cancelled since.
    pub fn is_started(&self) -> bool {
        self.armed.is_some()
    }

    #[cfg(feature = "monkey")]
    fn was_told(&self) -> bool {
        self.armed.as_ref().is_some_and(crate::hub::foreign::was_told)
    }

    /// Whether `payload` is what this limit unwound with.
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
