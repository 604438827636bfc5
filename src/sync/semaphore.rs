//! A number of permits.

use std::fmt;
use std::mem;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use crate::error::TimedOut;
use crate::hub::line::{self, Ended};
use crate::hub::waiter::{Notify, Waiter, WaitingOn, Wake};
use crate::hub::waitlist::WaitList;
use crate::sys::clock::Time;
use crate::sys::lock::{Lock, LockGuard};
use crate::task::{Notice, Subscription, Waitable};

/// Permits that green threads, in one hub or in several, and plain OS threads take and give back: gevent's `Semaphore`.
///
/// Taking a permit when there is one never yields. Who finds none waits in line, and each permit that is given back calls
/// the first in line. A permit is free until somebody takes it: who gives one back may take it again before the called one
/// runs. The called one then keeps its place in front of the line, and no permit is lost.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
/// use greenloop::sync::Semaphore;
/// use greenloop::{spawn, yield_now};
///
/// let two_at_a_time = Arc::new(Semaphore::new(2));
/// let inside = Arc::new(AtomicUsize::new(0));
/// let workers: Vec<_> = (0..10)
///     .map(|_| {
///         let (two_at_a_time, inside) = (Arc::clone(&two_at_a_time), Arc::clone(&inside));
///         spawn(move || {
///             let _permit = two_at_a_time.acquire();
///             assert!(inside.fetch_add(1, SeqCst) < 2);
///             yield_now();
///             inside.fetch_sub(1, SeqCst);
///         })
///     })
///     .collect();
/// for worker in workers {
///     worker.join().unwrap();
/// }
/// assert_eq!(two_at_a_time.available_permits(), 2);
/// ```
pub struct Semaphore {
    state: Lock<State>,
}

struct State {
    permits: usize,
    /// There are never more permits than this.
    bound: usize,
    /// How many have been popped from `waiters` and have not run since. Never more than there are permits when one is
    /// popped, so that each permit calls one.
    called: usize,
    waiters: WaitList<Wake>,
    /// Told when there is a permit for which nobody has been called. They take none, and look again themselves.
    watchers: WaitList<Notify>,
}

// No user's value is inside.
impl UnwindSafe for Semaphore {}
impl RefUnwindSafe for Semaphore {}

impl Semaphore {
    /// Makes a semaphore with that many permits; none is as good a number as any.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Semaphore;
    ///
    /// static SLOTS: Semaphore = Semaphore::new(3);
    /// assert_eq!(SLOTS.available_permits(), 3);
    /// ```
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore::with_bound(permits, usize::MAX)
    }

    pub(super) const fn with_bound(permits: usize, bound: usize) -> Semaphore {
        Semaphore {
            state: Lock::new(State {
                permits,
                bound,
                called: 0,
                waiters: WaitList::new(),
                watchers: WaitList::new(),
            }),
        }
    }

    pub(super) fn bound(&self) -> usize {
        self.state.lock().bound
    }

    /// Takes a permit, and waits for one if it must.
    ///
    /// If one is free, this does not yield. Otherwise the calling green thread yields, and [`release`](Semaphore::release)
    /// or the end of a [`SemaphorePermit`] wakes it, in order of arrival. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding and takes no permit.
    ///
    /// # Panics
    ///
    /// Panics if it must wait inside a hub callback, where nothing may wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(1);
    /// let permit = semaphore.acquire();
    /// assert_eq!(semaphore.available_permits(), 0);
    /// drop(permit);
    /// assert_eq!(semaphore.available_permits(), 1);
    /// ```
    #[inline]
    pub fn acquire(&self) -> SemaphorePermit<'_> {
        let mut state = self.state.lock();
        if state.take().is_none() {
            self.stand(state, None, State::take);
        }
        SemaphorePermit { semaphore: self }
    }

    /// Takes a permit if one is free. Never waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(1);
    /// let permit = semaphore.try_acquire();
    /// assert!(permit.is_some());
    /// assert!(semaphore.try_acquire().is_none());
    /// ```
    #[inline]
    pub fn try_acquire(&self) -> Option<SemaphorePermit<'_>> {
        let taken = self.state.lock().take();
        taken.map(|()| SemaphorePermit { semaphore: self })
    }

    /// Like [`acquire`](Semaphore::acquire), but waits no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// If the time is over; no permit is taken then.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::sync::{Semaphore, TimedOut};
    ///
    /// let semaphore = Semaphore::new(0);
    /// assert_eq!(semaphore.acquire_timeout(Duration::from_millis(1)).unwrap_err(), TimedOut);
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<SemaphorePermit<'_>, TimedOut> {
        self.acquire_until(|| Time::after(timeout))
    }

    /// Like [`acquire`](Semaphore::acquire), but waits no longer than until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`acquire_timeout`](Semaphore::acquire_timeout).
    ///
    /// # Panics
    ///
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use greenloop::sync::Semaphore;
    ///
    /// let soon = Instant::now() + Duration::from_millis(1);
    /// assert!(Semaphore::new(1).acquire_deadline(soon).is_ok());
    /// assert!(Semaphore::new(0).acquire_deadline(soon).is_err());
    /// ```
    pub fn acquire_deadline(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, TimedOut> {
        self.acquire_until(|| Time::from_instant(deadline))
    }

    fn acquire_until(&self, deadline: impl FnOnce() -> Time) -> Result<SemaphorePermit<'_>, TimedOut> {
        if self.pass(deadline, State::take) { Ok(SemaphorePermit { semaphore: self }) } else { Err(TimedOut) }
    }

    /// Gives that many permits, more than there were at first if need be, and calls as many of those who wait. Never yields.
    ///
    /// A [`SemaphorePermit`] gives its own back when it is dropped; this is for others.
    ///
    /// # Panics
    ///
    /// Panics if there would be more than `usize::MAX` permits, or more than a
    /// [`BoundedSemaphore`](super::BoundedSemaphore) began with; none is given then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(0);
    /// semaphore.release(2);
    /// assert_eq!(semaphore.available_permits(), 2);
    /// ```
    #[doc(alias = "add_permits")]
    #[inline]
    pub fn release(&self, permits: usize) {
        let mut state = self.state.lock();
        let sum = state.permits.checked_add(permits).filter(|&sum| sum <= state.bound);
        state.permits = sum.expect("more permits than there may be");
        line::notify_all(&self.state, state, State::call);
    }

    /// Takes back a permit that was lent: unless somebody has made up for it, there is room for it.
    #[inline]
    fn take_back(&self) {
        let mut state = self.state.lock();
        state.permits += usize::from(state.permits < state.bound);
        line::notify_all(&self.state, state, State::call);
    }

    /// The permits that are free at this moment: none, if gevent would call it `locked`.
    ///
    /// # Examples
    ///
    /// See [`acquire`](Semaphore::acquire).
    #[doc(alias = "counter")]
    #[doc(alias = "locked")]
    pub fn available_permits(&self) -> usize {
        self.state.lock().permits
    }

    /// Waits until a permit is free, and leaves it. Somebody may have taken it when the caller goes on.
    ///
    /// If one is free now, this does not yield. Otherwise it waits in the line of [`acquire`](Semaphore::acquire); a kill
    /// or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(1);
    /// semaphore.wait();
    /// assert_eq!(semaphore.available_permits(), 1);
    /// ```
    pub fn wait(&self) {
        let state = self.state.lock();
        if state.look().is_none() {
            self.stand(state, None, |state| state.look());
        }
    }

    /// Like [`wait`](Semaphore::wait), but no longer than `timeout`. Returns whether a permit was free.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::sync::Semaphore;
    ///
    /// assert!(!Semaphore::new(0).wait_timeout(Duration::from_millis(1)));
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.pass(|| Time::after(timeout), |state| state.look())
    }

    /// Like [`wait`](Semaphore::wait), but no longer than until `deadline`. Returns whether a permit was free.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use greenloop::sync::Semaphore;
    ///
    /// assert!(Semaphore::new(1).wait_deadline(Instant::now()));
    /// ```
    pub fn wait_deadline(&self, deadline: Instant) -> bool {
        self.pass(|| Time::from_instant(deadline), |state| state.look())
    }

    /// Gets by `attempt` what it can, now or in its turn before the deadline.
    fn pass(&self, deadline: impl FnOnce() -> Time, attempt: fn(&mut State) -> Option<()>) -> bool {
        let mut state = self.state.lock();
        if attempt(&mut state).is_some() {
            return true;
        }
        drop(state);
        let deadline = deadline();
        let mut state = self.state.lock();
        attempt(&mut state).is_some() || self.stand(state, Some(deadline), attempt)
    }

    /// Waits in line for its turn to `attempt`; `false` if the deadline has passed without success.
    #[cold]
    fn stand(
        &self,
        mut state: LockGuard<'_, State>,
        deadline: Option<Time>,
        attempt: fn(&mut State) -> Option<()>,
    ) -> bool {
        let waiter = Waiter::new(WaitingOn::Other("Semaphore::acquire"));
        let ticket = state.waiters.push(waiter.wake());
        drop(state);
        let settle = |state: &mut State| {
            if state.waiters.contains(ticket) {
                return None;
            }
            state.called -= 1;
            let success = attempt(state);
            if success.is_none() {
                state.waiters.restore(ticket, waiter.wake());
            }
            success
        };
        let (mut state, ended) = waiter.stand(&self.state, deadline, settle);
        // None: called before its wait ended for another reason.
        let called = ended.is_err() && state.waiters.remove(ticket).is_none();
        state.called -= usize::from(called);
        let (success, interrupt) = match ended {
            Ok(()) => (true, None),
            Err(Ended::TimedOut) => (called && attempt(&mut state).is_some(), None),
            Err(Ended::Interrupted(interrupt)) => (false, Some(interrupt)),
        };
        line::notify_all(&self.state, state, State::call);
        if let Some(interrupt) = interrupt {
            interrupt.raise();
        }
        success
    }
}

impl State {
    fn take(&mut self) -> Option<()> {
        self.permits = self.permits.checked_sub(1)?;
        Some(())
    }

    fn look(&self) -> Option<()> {
        (self.permits > 0).then_some(())
    }

    /// Calls the next in line if there is a permit for which nobody has been called.
    fn call(&mut self) -> Option<Notify> {
        if self.called >= self.permits {
            return None;
        }
        let Some(next) = line::call_first(&mut self.waiters) else { return self.watchers.pop() };
        self.called += 1;
        Some(Notify::Wake(next))
    }
}

/// Ready while a permit is free; a wait takes none.
impl Waitable for Semaphore {
    fn is_ready(&self) -> bool {
        self.available_permits() > 0
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        let mut state = self.state.lock();
        if state.permits == 0 {
            return Subscription::new(state.watchers.push_for_others(notice.0));
        }
        drop(state);
        notice.give();
        Subscription::none()
    }

    fn unsubscribe(&self, subscription: Subscription) {
        let ticket = subscription.ticket();
        // Dropped after the lock: a notice may own other code.
        let _notice = ticket.and_then(|ticket| self.state.lock().watchers.remove(ticket));
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let (permits, waiting) = (state.permits, state.waiters.len() + state.called);
        drop(state);
        formatter.debug_struct("Semaphore").field("permits", &permits).field("waiting", &waiting).finish()
    }
}

/// A permit of a [`Semaphore`], given back when dropped.
///
/// # Examples
///
/// ```
/// use greenloop::sync::Semaphore;
///
/// let semaphore = Semaphore::new(1);
/// {
///     let _permit = semaphore.acquire();
///     assert_eq!(semaphore.available_permits(), 0);
/// }
/// assert_eq!(semaphore.available_permits(), 1);
/// ```
#[must_use = "if unused the permit is given back at once"]
#[derive(Debug)]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
}

impl SemaphorePermit<'_> {
    /// Keeps the permit from the semaphore for good; [`release`](Semaphore::release) may make up for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(2);
    /// semaphore.acquire().forget();
    /// assert_eq!(semaphore.available_permits(), 1);
    /// ```
    pub fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for SemaphorePermit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.take_back();
    }
}
