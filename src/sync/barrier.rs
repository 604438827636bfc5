//! Waiting for one another.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use crate::error::TimedOut;
use crate::hub::handover::{Ended, Line};
use crate::hub::waiter::{Waiter, WaitingOn, Wake};
use crate::sys::clock::Time;
use crate::sys::lock::Lock;

/// Lets a number of green threads wait for one another: [`std::sync::Barrier`], but a wait parks the calling green thread alone.
///
/// It works between green threads of one hub or of several, and with plain OS threads. If a green thread is killed while it
/// waits, or its time is over, or its OS thread ends, it has not arrived: the others wait for one more.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use greenloop::spawn;
/// use greenloop::sync::Barrier;
///
/// let barrier = Arc::new(Barrier::new(3));
/// let arrivals: Vec<_> = (0..3)
///     .map(|_| {
///         let barrier = Arc::clone(&barrier);
///         spawn(move || barrier.wait().is_leader())
///     })
///     .collect();
/// let leaders = arrivals.into_iter().map(|task| task.join().unwrap());
/// assert_eq!(leaders.collect::<Vec<_>>(), [false, false, true]);
/// ```
pub struct Barrier {
    waiters: Lock<Line>,
    count: usize,
}

// No user's value is inside.
impl UnwindSafe for Barrier {}
impl RefUnwindSafe for Barrier {}

/// The result of [`Barrier::wait`]. It is [`std::sync::BarrierWaitResult`], which only std can make.
///
/// # Examples
///
/// ```
/// assert!(greenloop::sync::Barrier::new(1).wait().is_leader());
/// ```
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// Returns `true` if this was the last to arrive, for which the others waited. One of them is.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Barrier;
    ///
    /// let single = Barrier::new(1);
    /// assert!(single.wait().is_leader());
    /// ```
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl Barrier {
    /// Makes a barrier for `n`. With 0 or 1 nobody waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Barrier;
    ///
    /// static START: Barrier = Barrier::new(1);
    /// assert!(START.wait().is_leader());
    /// ```
    #[must_use]
    pub const fn new(n: usize) -> Barrier {
        Barrier { waiters: Lock::new(Line::new()), count: n }
    }

    /// Waits until all have arrived. Afterwards the barrier can be used again.
    ///
    /// The last to arrive does not yield: it is the leader, and wakes the others, in the order of their arrival. A kill or an
    /// enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding; if all had arrived by then, that counts.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::spawn;
    /// use greenloop::sync::Barrier;
    /// use std::sync::Arc;
    ///
    /// let barrier = Arc::new(Barrier::new(2));
    /// let other = spawn({ let barrier = Arc::clone(&barrier); move || barrier.wait().is_leader() });
    /// assert!(!barrier.wait().is_leader()); // yields, and the other arrives last
    /// assert!(other.join().unwrap());
    /// ```
    pub fn wait(&self) -> BarrierWaitResult {
        self.wait_until(None).expect("a wait without a deadline ends when all have arrived")
    }

    /// Waits for at most `timeout` until all have arrived.
    ///
    /// Apart from that, it is like [`wait`](Barrier::wait).
    ///
    /// # Errors
    ///
    /// Returns [`TimedOut`] if the time is over. The others then wait for one more.
    ///
    /// # Panics
    ///
    /// As [`wait`](Barrier::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::sync::{Barrier, TimedOut};
    ///
    /// let late = Barrier::new(2).wait_timeout(Duration::from_millis(1));
    /// assert_eq!(late.unwrap_err(), TimedOut);
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, TimedOut> {
        self.wait_until(Some(Time::after(timeout)))
    }

    /// Waits until `deadline` at the latest until all have arrived.
    ///
    /// Apart from that, it is like [`wait`](Barrier::wait).
    ///
    /// # Errors
    ///
    /// As [`wait_timeout`](Barrier::wait_timeout).
    ///
    /// # Panics
    ///
    /// As [`wait`](Barrier::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// assert!(greenloop::sync::Barrier::new(2).wait_deadline(Instant::now()).is_err());
    /// ```
    pub fn wait_deadline(&self, deadline: Instant) -> Result<BarrierWaitResult, TimedOut> {
        self.wait_until(Some(Time::from_instant(deadline)))
    }

    fn wait_until(&self, deadline: Option<Time>) -> Result<BarrierWaitResult, TimedOut> {
        let mut waiters = self.waiters.lock();
        let gone = waiters.take_gone();
        debug_assert!(gone.is_none(), "nobody is called");
        if waiters.waiting() + 1 >= self.count {
            let others = waiters.drain();
            drop(waiters);
            others.for_each(Wake::wake);
            return Ok(BarrierWaitResult(true));
        }
        let waiter = Waiter::new(WaitingOn::Other("Barrier::wait"));
        let ticket = waiters.stand(waiter.wake());
        drop(waiters);
        let released = |waiters: &mut Line| (!waiters.is_waiting(ticket)).then_some(());
        let (mut waiters, ended) = waiter.stand(&self.waiters, deadline, released, drop);
        let released = !waiters.is_waiting(ticket);
        waiters.leave(ticket);
        drop(waiters);
        match ended {
            Err(Ended::Interrupted(interrupt)) => interrupt.raise(),
            _ if released => Ok(BarrierWaitResult(false)),
            _ => Err(TimedOut),
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.waiters.lock().waiting();
        formatter.debug_struct("Barrier").field("count", &self.count).field("waiting", &waiting).finish()
    }
}

impl fmt::Debug for BarrierWaitResult {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BarrierWaitResult").field("is_leader", &self.is_leader()).finish()
    }
}
