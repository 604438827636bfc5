//! Waiting for a change of what a mutex guards.

use std::fmt;
use std::mem;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant};

use super::mutex::MutexGuard;
use crate::hub::handover::{self, Ended, Line};
use crate::hub::waiter::{Notify, Waiter, WaitingOn};
use crate::hub::waitlist::Ticket;
use crate::sys::clock::Time;
use crate::sys::lock::{Lock, LockGuard};

/// A condition variable for green threads: [`std::sync::Condvar`], but a wait parks the calling green thread alone.
///
/// It works between green threads of one hub or of several, and with plain OS threads. A wait releases the
/// [`Mutex`](super::Mutex). A notification wakes waiters in the order of their arrival; if there is none, the notification has no
/// effect. As with std's, the condition may be false again when the mutex is locked again, so wait in a loop, or with
/// [`wait_while`](Condvar::wait_while).
///
/// # Kill and time limit
///
/// A kill or an enclosing [`with_timeout`](crate::with_timeout) ends a wait by unwinding, *without* locking the mutex again. The
/// guard was given to `wait`, so no frame that unwinds holds one: no wait for the mutex delays the end, and the mutex is not
/// poisoned. If a notification was given to the waiter, it goes to the next one.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use greenloop::spawn;
/// use greenloop::sync::{Condvar, Mutex};
///
/// let pair = Arc::new((Mutex::new(false), Condvar::new()));
/// let starter = spawn({
///     let pair = Arc::clone(&pair);
///     move || {
///         *pair.0.lock().unwrap() = true;
///         pair.1.notify_one();
///     }
/// });
/// let (started, changed) = &*pair;
/// let mut guard = started.lock().unwrap();
/// while !*guard {
///     guard = changed.wait(guard).unwrap();
/// }
/// assert!(*guard);
/// # starter.join().unwrap();
/// ```
#[doc(alias = "Condition")]
pub struct Condvar {
    /// Who is called has been notified, and has not locked the mutex since.
    waiters: Lock<Line>,
}

// No user's value is inside.
impl UnwindSafe for Condvar {}
impl RefUnwindSafe for Condvar {}

/// Tells whether a wait ended because its time was over. It is [`std::sync::WaitTimeoutResult`], which only std can make.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenloop::sync::{Condvar, Mutex};
///
/// let mutex = Mutex::new(());
/// let (_guard, result) =
///     Condvar::new().wait_timeout(mutex.lock().unwrap(), Duration::from_millis(1)).unwrap();
/// assert!(result.timed_out());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Returns `true` if the time was over before a notification came.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::sync::{Condvar, Mutex};
    ///
    /// let mutex = Mutex::new(());
    /// let waited = Condvar::new().wait_timeout(mutex.lock().unwrap(), Duration::from_millis(1));
    /// assert!(waited.unwrap().1.timed_out());
    /// ```
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// Makes a condition variable without waiters.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// static CHANGED: Condvar = Condvar::new();
    /// CHANGED.notify_all(); // nobody waits: it has no effect
    /// let mutex = Mutex::new(());
    /// let (_guard, result) = CHANGED.wait_timeout(mutex.lock().unwrap(), Duration::from_millis(1)).unwrap();
    /// assert!(result.timed_out());
    /// ```
    pub const fn new() -> Condvar {
        Condvar { waiters: Lock::new(Line::new()) }
    }

    /// Unlocks the mutex of `guard`, waits for a notification, and locks the mutex again.
    ///
    /// Unlocking and beginning to wait are one step, so no notification is lost in between. The calling green thread yields, and
    /// [`notify_one`](Condvar::notify_one) or [`notify_all`](Condvar::notify_all) wakes it. [The type's
    /// page](Condvar#kill-and-time-limit) tells what a kill and a time limit do.
    ///
    /// # Errors
    ///
    /// Returns an error, with the guard in it, if the mutex is poisoned when it is locked again.
    ///
    /// # Panics
    ///
    /// Panics if called in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use greenloop::spawn;
    /// use greenloop::sync::{Condvar, Mutex};
    ///
    /// let pair = Arc::new((Mutex::new(false), Condvar::new()));
    /// let starter = spawn({
    ///     let pair = Arc::clone(&pair);
    ///     move || {
    ///         *pair.0.lock().unwrap() = true;
    ///         pair.1.notify_one();
    ///     }
    /// });
    /// let mut started = pair.0.lock().unwrap();
    /// while !*started {
    ///     started = pair.1.wait(started).unwrap();
    /// }
    /// assert!(starter.is_finished());
    /// ```
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.stand(guard, None).map(|(guard, _)| guard).map_err(without_result)
    }

    /// Waits as long as `condition` is true.
    ///
    /// `condition` is asked with the mutex locked: first before any wait, then after each notification.
    ///
    /// # Errors
    ///
    /// As [`wait`](Condvar::wait).
    ///
    /// # Panics
    ///
    /// As [`wait`](Condvar::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use greenloop::spawn;
    /// use greenloop::sync::{Condvar, Mutex};
    ///
    /// let pair = Arc::new((Mutex::new(3), Condvar::new()));
    /// let worker = spawn({
    ///     let pair = Arc::clone(&pair);
    ///     move || {
    ///         for _ in 0..3 {
    ///             *pair.0.lock().unwrap() -= 1;
    ///             pair.1.notify_all();
    ///         }
    ///     }
    /// });
    /// let left = pair.1.wait_while(pair.0.lock().unwrap(), |left| *left > 0).unwrap();
    /// assert_eq!(*left, 0);
    /// # worker.join().unwrap();
    /// ```
    #[doc(alias = "wait_for")]
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Like [`wait`](Condvar::wait), but waits for a notification for at most `timeout`.
    ///
    /// Locking the mutex again may take longer.
    ///
    /// # Errors
    ///
    /// As [`wait`](Condvar::wait).
    ///
    /// # Panics
    ///
    /// As [`wait`](Condvar::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::sync::{Condvar, Mutex};
    ///
    /// let mutex = Mutex::new(1);
    /// let (guard, result) = Condvar::new().wait_timeout(mutex.lock().unwrap(), Duration::from_millis(1)).unwrap();
    /// assert!(result.timed_out());
    /// assert_eq!(*guard, 1); // locked again
    /// ```
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.stand(guard, Some(Time::after(timeout)))
    }

    /// Like [`wait_while`](Condvar::wait_while), but waits for at most `timeout` in all.
    ///
    /// The result has timed out if `condition` is still true.
    ///
    /// # Errors
    ///
    /// As [`wait`](Condvar::wait).
    ///
    /// # Panics
    ///
    /// As [`wait`](Condvar::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::sync::{Condvar, Mutex};
    ///
    /// let left = Mutex::new(3);
    /// let (guard, result) = Condvar::new()
    ///     .wait_timeout_while(left.lock().unwrap(), Duration::from_millis(1), |left| *left > 0)
    ///     .unwrap();
    /// assert!(result.timed_out());
    /// assert_eq!(*guard, 3);
    /// ```
    pub fn wait_timeout_while<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.wait_while_until(guard, Time::after(timeout), condition)
    }

    /// Like [`wait`](Condvar::wait), but waits for a notification until `deadline` at the latest.
    ///
    /// Locking the mutex again may take longer.
    ///
    /// # Errors
    ///
    /// As [`wait`](Condvar::wait).
    ///
    /// # Panics
    ///
    /// As [`wait`](Condvar::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use greenloop::sync::{Condvar, Mutex};
    ///
    /// let mutex = Mutex::new(());
    /// let (_guard, result) = Condvar::new().wait_deadline(mutex.lock().unwrap(), Instant::now()).unwrap();
    /// assert!(result.timed_out());
    /// ```
    pub fn wait_deadline<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Instant,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.stand(guard, Some(Time::from_instant(deadline)))
    }

    /// Wakes the waiter that has waited longest, if there is one. Never yields.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use greenloop::sync::{Condvar, Mutex};
    /// use greenloop::{spawn, yield_now};
    ///
    /// let pair = Arc::new((Mutex::new(()), Condvar::new()));
    /// let waiters = [(); 2].map(|()| {
    ///     let pair = Arc::clone(&pair);
    ///     spawn(move || drop(pair.1.wait(pair.0.lock().unwrap())))
    /// });
    /// yield_now(); // both wait
    /// pair.1.notify_one();
    /// yield_now();
    /// assert_eq!(waiters.each_ref().map(|waiter| waiter.is_finished()), [true, false]);
    /// ```
    #[doc(alias = "notify")]
    pub fn notify_one(&self) {
        let first = self.waiters.lock().call();
        if let Some(first) = first {
            first.wake();
        }
    }

    /// Wakes all that wait now. Never yields.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use greenloop::sync::{Condvar, Mutex};
    /// use greenloop::{joinall, spawn, yield_now};
    ///
    /// let pair = Arc::new((Mutex::new(()), Condvar::new()));
    /// let waiters = [(); 2].map(|()| {
    ///     let pair = Arc::clone(&pair);
    ///     spawn(move || drop(pair.1.wait(pair.0.lock().unwrap())))
    /// });
    /// yield_now(); // both wait
    /// pair.1.notify_all();
    /// assert_eq!(joinall(&waiters).len(), 2);
    /// ```
    #[doc(alias = "notifyAll")]
    pub fn notify_all(&self) {
        let waiters = self.waiters.lock();
        let mut left = waiters.waiting();
        handover::notify_all(&self.waiters, waiters, |waiters| {
            left = left.checked_sub(1)?;
            waiters.dismiss().map(|(_, waiter)| Notify::Wake(waiter))
        });
    }

    fn stand<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Time>,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let mutex = guard.mutex();
        let notified = self.stand_unlocked(guard, deadline);
        let timed_out = notified.is_none();
        let locked = mutex.lock();
        if let Some(notified) = notified {
            notified.receive();
        }
        match locked {
            Ok(guard) => Ok((guard, WaitTimeoutResult(timed_out))),
            Err(poisoned) => Err(PoisonError::new((poisoned.into_inner(), WaitTimeoutResult(timed_out)))),
        }
    }

    /// Waits with the mutex unlocked. Returns the notification; none, if the deadline passed before.
    fn stand_unlocked<T: ?Sized>(
        &self,
        guard: MutexGuard<'_, T>,
        deadline: Option<Time>,
    ) -> Option<Notified<'_>> {
        let waiter = Waiter::new(WaitingOn::Other("Condvar::wait"));
        // In line first: a notification after the unlocking finds us there.
        let ticket = self.waiters.lock().stand(waiter.wake());
        drop(guard);
        let told = |waiters: &mut Line| (!waiters.is_waiting(ticket)).then_some(());
        let pass_on = |waiters| self.pass_on_from_gone(waiters);
        let (mut waiters, ended) = waiter.stand(&self.waiters, deadline, told, pass_on);
        let notified = !waiters.is_waiting(ticket);
        if !notified {
            waiters.leave(ticket);
        }
        drop(waiters);
        let notified = notified.then_some(Notified { condition: self, ticket });
        match ended {
            Err(Ended::Interrupted(interrupt)) => {
                drop(notified);
                interrupt.raise()
            }
            _ => notified,
        }
    }

    /// Releases the lock, and notifies somebody else for each that was notified and never runs again.
    fn pass_on_from_gone<'a>(&'a self, waiters: LockGuard<'a, Line>) {
        handover::notify_all(&self.waiters, waiters, |waiters| {
            waiters.take_gone()?;
            waiters.call().map(Notify::Wake)
        });
    }

    fn wait_while_until<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        deadline: Time,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let mut timed_out = false;
        loop {
            if !condition(&mut guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            if timed_out {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            let (again, result) = self.stand(guard, Some(deadline))?;
            guard = again;
            timed_out = result.timed_out();
        }
    }
}

/// A notification that has had no effect yet. Dropped, by one that unwinds, it goes to somebody else, unless that was for all.
struct Notified<'a> {
    condition: &'a Condvar,
    ticket: Ticket,
}

impl Notified<'_> {
    /// It has had its effect.
    fn receive(self) {
        self.condition.waiters.lock().leave(self.ticket);
        mem::forget(self);
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let notified = self.condition.waiters.lock().leave(self.ticket);
        if notified.is_some() {
            self.condition.notify_one();
        }
    }
}

fn without_result<'a, T: ?Sized>(
    poisoned: PoisonError<(MutexGuard<'a, T>, WaitTimeoutResult)>,
) -> PoisonError<MutexGuard<'a, T>> {
    PoisonError::new(poisoned.into_inner().0)
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Condvar").field("waiting", &self.waiters.lock().waiting()).finish()
    }
}
