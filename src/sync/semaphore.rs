//! A number of permits.

use std::fmt;
use std::mem;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use crate::error::TimedOut;
use crate::hub::handover::{self, Ended, Line, Standing};
use crate::hub::waiter::{Notify, Waiter, WaitingOn, Wake};
use crate::hub::waitlist::WaitList;
use crate::sys::clock::Time;
use crate::sys::lock::{Lock, LockGuard};
use crate::task::{Notice, Subscription, Waitable};

/// A number of permits, which are taken and given back. This is gevent's `Semaphore`.
///
/// It works between green threads of one hub or of several, and with plain OS threads. Taking a permit when one is free never
/// yields. Otherwise the caller waits, and permits go to the waiters in the order of their arrival.
///
/// A permit that is given back wakes the first waiter, and stays free until that waiter runs. Another caller, for instance the
/// one that has just given the permit back, may take it first. That happens to each waiter at most once: it keeps its place in
/// front, and the next permit is kept for it alone. So newcomers cannot hold up a waiter for ever.
///
/// If a permit was kept for a green thread whose OS thread ends, it goes to the next waiter. A permit that such a green thread
/// has taken is not given back.
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
    state: Lock<Permits>,
}

struct Permits {
    permits: usize,
    /// There are never more permits than this.
    bound: usize,
    /// For each who was called there is a permit.
    line: Line<Waiting>,
    /// How many of those who were called have been overtaken before: their permits are not free.
    kept: usize,
    /// Told when there is a permit for which nobody has been called. They take none, and look again themselves.
    watchers: WaitList<Notify>,
}

#[derive(Clone, Copy)]
struct Waiting {
    wake: Wake,
    /// Somebody else took the permit for which it had been called.
    overtaken: bool,
}

impl Standing for Waiting {
    fn wake(&self) -> Wake {
        self.wake
    }
}

/// What is done with a permit that is free: it is taken, or left. Returns whether there was one.
type Attempt = fn(&mut Permits) -> bool;

// No user's value is inside.
impl UnwindSafe for Semaphore {}
impl RefUnwindSafe for Semaphore {}

impl Semaphore {
    /// Makes a semaphore with that many permits, which may be 0.
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
            state: Lock::new(Permits {
                permits,
                bound,
                line: Line::new(),
                kept: 0,
                watchers: WaitList::new(),
            }),
        }
    }

    pub(super) fn bound(&self) -> usize {
        self.state.lock().bound
    }

    /// Takes a permit, and waits until one is free.
    ///
    /// If one is free, the call does not yield. Otherwise the calling green thread yields, and [`release`](Semaphore::release) or
    /// the end of a [`SemaphorePermit`] wakes it; waiters are woken in the order of their arrival. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and takes no permit.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
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
        if !state.take() {
            self.stand(state, None, Permits::take);
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
        taken.then(|| SemaphorePermit { semaphore: self })
    }

    /// Takes a permit, and waits for at most `timeout` until one is free.
    ///
    /// Apart from that, it is like [`acquire`](Semaphore::acquire).
    ///
    /// # Errors
    ///
    /// Returns [`TimedOut`] if the time is over. No permit is taken then.
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

    /// Takes a permit, and waits until `deadline` at the latest until one is free.
    ///
    /// Apart from that, it is like [`acquire`](Semaphore::acquire).
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
        if self.pass(deadline, Permits::take) {
            Ok(SemaphorePermit { semaphore: self })
        } else {
            Err(TimedOut)
        }
    }

    /// Gives `permits` permits, and wakes as many waiters. Never yields.
    ///
    /// There may be more permits afterwards than there were at first. You need not call this for a [`SemaphorePermit`], which
    /// gives its permit back when it is dropped.
    ///
    /// # Panics
    ///
    /// Panics if there would be more than `usize::MAX` permits, or more than a [`BoundedSemaphore`](super::BoundedSemaphore)
    /// began with. No permit is given then.
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
    #[track_caller]
    pub fn release(&self, permits: usize) {
        let mut state = self.state.lock();
        let sum = state.permits.checked_add(permits).filter(|&sum| sum <= state.bound);
        state.permits = sum.expect("more permits than there may be");
        self.call(state);
    }

    /// Takes back a permit that was lent: unless somebody has made up for it, there is room for it.
    #[inline]
    fn take_back(&self) {
        let mut state = self.state.lock();
        state.permits += usize::from(state.permits < state.bound);
        self.call(state);
    }

    /// Returns how many permits are free at this moment.
    ///
    /// If it is 0, gevent would call the semaphore `locked`. A permit that is kept for a waiter is not free.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(2);
    /// let _permit = semaphore.acquire();
    /// assert_eq!(semaphore.available_permits(), 1);
    /// ```
    #[doc(alias = "counter")]
    #[doc(alias = "locked")]
    pub fn available_permits(&self) -> usize {
        self.state.lock().free()
    }

    /// Waits until a permit is free, and does not take it.
    ///
    /// When the caller goes on, the permit may have been taken. If one is free now, the call does not yield. Otherwise it waits
    /// in the same queue as [`acquire`](Semaphore::acquire). A kill or an enclosing [`with_timeout`](crate::with_timeout) ends
    /// the wait by unwinding.
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
        let mut state = self.state.lock();
        if !state.look() {
            self.stand(state, None, Permits::look);
        }
    }

    /// Waits for at most `timeout` until a permit is free. Returns `true` if one was.
    ///
    /// Apart from that, it is like [`wait`](Semaphore::wait).
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
        self.pass(|| Time::after(timeout), Permits::look)
    }

    /// Waits until `deadline` at the latest until a permit is free. Returns `true` if one was.
    ///
    /// Apart from that, it is like [`wait`](Semaphore::wait).
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
        self.pass(|| Time::from_instant(deadline), Permits::look)
    }

    /// Gets by `attempt` what it can, now or in its turn before the deadline.
    fn pass(&self, deadline: impl FnOnce() -> Time, attempt: Attempt) -> bool {
        if attempt(&mut self.state.lock()) {
            return true;
        }
        let deadline = deadline();
        let mut state = self.state.lock();
        attempt(&mut state) || self.stand(state, Some(deadline), attempt)
    }

    /// Waits in line for its turn to `attempt`; `false` if the deadline has passed without success.
    #[cold]
    fn stand(&self, mut state: LockGuard<'_, Permits>, deadline: Option<Time>, attempt: Attempt) -> bool {
        let waiter = Waiter::new(WaitingOn::Other("Semaphore::acquire"));
        let ticket = state.line.stand(Waiting { wake: waiter.wake(), overtaken: false });
        // Who is gone may have left a permit, to somebody before this one.
        self.call(state);
        let called = |state: &mut Permits| state.line.is_called(ticket).then_some(());
        let (mut state, ended) = waiter.stand(&self.state, deadline, called, |state| self.call(state));
        let called = state.line.leave(ticket);
        state.kept -= usize::from(called.is_some_and(|called| called.overtaken));
        let interrupt = match ended {
            Err(Ended::Interrupted(interrupt)) => Some(interrupt),
            Ok(()) | Err(Ended::TimedOut) => None,
        };
        // Nobody has taken the permit of one that is called.
        let success = interrupt.is_none() && called.is_some() && attempt(&mut state);
        self.call(state);
        if let Some(interrupt) = interrupt {
            interrupt.raise();
        }
        success
    }

    /// Releases the lock, and calls as many as there are permits for.
    #[inline]
    fn call<'a>(&'a self, state: LockGuard<'a, Permits>) {
        handover::notify_all(&self.state, state, Permits::call);
    }
}

impl Permits {
    #[inline]
    fn free(&self) -> usize {
        self.permits - self.kept
    }

    /// Takes a permit, from one that was called and has not run, if need be.
    #[inline]
    fn take(&mut self) -> bool {
        if self.permits > self.line.called() {
            self.permits -= 1;
            return true;
        }
        self.overtake()
    }

    #[cold]
    fn overtake(&mut self) -> bool {
        self.forget_gone();
        let taken = self.permits > self.line.called()
            || self.line.recall(|waiting| !waiting.overtaken, |waiting| waiting.overtaken = true);
        self.permits -= usize::from(taken);
        taken
    }

    fn look(&mut self) -> bool {
        self.forget_gone();
        self.free() > 0
    }

    fn forget_gone(&mut self) {
        while let Some(gone) = self.line.take_gone() {
            self.kept -= usize::from(gone.overtaken);
        }
    }

    /// Calls the next in line if there is a permit for which nobody has been called.
    #[inline]
    fn call(&mut self) -> Option<Notify> {
        self.forget_gone();
        if self.line.called() >= self.permits {
            return None;
        }
        let Some(next) = self.line.call() else { return self.watchers.pop() };
        self.kept += usize::from(next.overtaken);
        Some(Notify::Wake(next.wake))
    }
}

/// Ready while a permit is free; a wait takes none.
impl Waitable for Semaphore {
    fn is_ready(&self) -> bool {
        self.state.lock().look()
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        let mut state = self.state.lock();
        if !state.look() {
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
        let mut state = self.state.lock();
        state.forget_gone();
        let (permits, waiting) = (state.free(), state.line.waiting() + state.line.called());
        drop(state);
        formatter.debug_struct("Semaphore").field("permits", &permits).field("waiting", &waiting).finish()
    }
}

/// A permit of a [`Semaphore`]. Dropping it gives it back.
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
    /// Keeps the permit from the semaphore for good. [`release`](Semaphore::release) can make up for it.
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
