//! Mutual exclusion that its holder may enter again.

#![expect(unsafe_code, reason = "a value that is only Send is shared with one OS thread at a time")]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::raw_mutex::RawMutex;
use crate::error::TimedOut;
use crate::greenlet;
use crate::hub::waiter::current_greenlet;
use crate::sys::clock::Time;

/// What reports call a wait for it.
const WAIT: &str = "ReentrantLock::lock";
/// The number of no greenlet.
const NOBODY: u64 = 0;

/// Mutual exclusion that its holder may lock again. This is gevent's `RLock`, with the interface of `std::sync::ReentrantLock`.
///
/// It works between green threads of one hub or of several, and with plain OS threads. It is unlocked when all guards of its
/// holder have been dropped. Since there may be several guards, they give `&T` only. For more, put a [`Cell`](std::cell::Cell) or
/// a [`RefCell`](std::cell::RefCell) inside.
///
/// As in std, there is no poisoning: a guard gives no `&mut`, so the lock knows of no change that unwinding could leave half
/// done.
///
/// # Examples
///
/// ```
/// use greenloop::sync::ReentrantLock;
/// use std::cell::Cell;
///
/// let total = ReentrantLock::new(Cell::new(0));
/// let add = |amount| {
///     let total = total.lock();
///     total.set(total.get() + amount);
/// };
/// let all = total.lock();
/// add(1);
/// add(2);
/// assert_eq!(all.get(), 3);
/// ```
///
/// It is `Send` and `Sync` if `T` is `Send`:
///
/// ```compile_fail
/// fn is_sync<T: Sync>() {}
/// is_sync::<greenloop::sync::ReentrantLock<std::rc::Rc<u32>>>();
/// ```
#[doc(alias = "RLock")]
pub struct ReentrantLock<T: ?Sized> {
    raw: RawMutex,
    /// Written only by the holder, so that everybody can trust to find its own number there only while it is the holder.
    owner: AtomicU64,
    /// How many guards the holder has. Only the holder touches it.
    depth: AtomicUsize,
    value: T,
}

// SAFETY: a `&ReentrantLock` gives `&T` by guards only, which stay in the OS thread that holds the lock: so the value
// is handed from thread to thread and never used by two at once, for which `T: Send` is enough.
unsafe impl<T: ?Sized + Send> Sync for ReentrantLock<T> {}

impl<T: ?Sized + UnwindSafe> UnwindSafe for ReentrantLock<T> {}
impl<T: ?Sized + RefUnwindSafe> RefUnwindSafe for ReentrantLock<T> {}

impl<T> ReentrantLock<T> {
    /// Makes an unlocked lock.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::ReentrantLock;
    ///
    /// static TURN: ReentrantLock<u32> = ReentrantLock::new(7);
    /// assert_eq!(*TURN.lock(), 7);
    /// ```
    pub const fn new(value: T) -> ReentrantLock<T> {
        let (owner, depth) = (AtomicU64::new(NOBODY), AtomicUsize::new(0));
        ReentrantLock { raw: RawMutex::new(), owner, depth, value }
    }

    /// Consumes the lock, and returns its value. Never waits.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::sync::ReentrantLock::new(1).into_inner(), 1);
    /// ```
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T: ?Sized> ReentrantLock<T> {
    /// Locks, and waits until no other green thread holds the lock.
    ///
    /// If the lock is free, or the calling green thread holds it, the call does not yield. Otherwise the calling green thread
    /// yields, and an unlock hands the lock to it; waiters get it in the order of their arrival. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding. If the lock was handed over at that moment, it goes to
    /// the next waiter.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::ReentrantLock;
    ///
    /// let lock = ReentrantLock::new(1);
    /// let outer = lock.lock();
    /// let inner = lock.lock(); // does not wait for itself
    /// assert_eq!(*outer + *inner, 2);
    /// ```
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> ReentrantLockGuard<'_, T> {
        self.lock_or(|| self.raw.lock_at_once() || self.raw.lock_contended(WAIT, None))
            .expect("a wait without a deadline ends with the lock")
    }

    /// Locks if no other green thread holds the lock. Never waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::spawn;
    /// use greenloop::sync::ReentrantLock;
    /// use std::sync::Arc;
    ///
    /// let lock = Arc::new(ReentrantLock::new(()));
    /// let _guard = lock.lock();
    /// assert!(lock.try_lock().is_some());
    /// let other = spawn({ let lock = Arc::clone(&lock); move || lock.try_lock().is_some() });
    /// assert!(!other.join().unwrap());
    /// ```
    pub fn try_lock(&self) -> Option<ReentrantLockGuard<'_, T>> {
        self.lock_or(|| self.raw.try_lock())
    }

    /// Locks, and waits for at most `timeout` until no other green thread holds the lock.
    ///
    /// Apart from that, it is like [`lock`](ReentrantLock::lock).
    ///
    /// # Errors
    ///
    /// Returns [`TimedOut`] if the time is over.
    ///
    /// # Panics
    ///
    /// As [`lock`](ReentrantLock::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// assert!(greenloop::sync::ReentrantLock::new(1).lock_timeout(Duration::from_millis(1)).is_ok());
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ReentrantLockGuard<'_, T>, TimedOut> {
        self.lock_until(|| Time::after(timeout))
    }

    /// Locks, and waits until `deadline` at the latest until no other green thread holds the lock.
    ///
    /// Apart from that, it is like [`lock`](ReentrantLock::lock).
    ///
    /// # Errors
    ///
    /// Returns [`TimedOut`] if the time is over.
    ///
    /// # Panics
    ///
    /// As [`lock`](ReentrantLock::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// assert!(greenloop::sync::ReentrantLock::new(1).lock_deadline(Instant::now()).is_ok());
    /// ```
    pub fn lock_deadline(&self, deadline: Instant) -> Result<ReentrantLockGuard<'_, T>, TimedOut> {
        self.lock_until(|| Time::from_instant(deadline))
    }

    fn lock_until(&self, deadline: impl FnOnce() -> Time) -> Result<ReentrantLockGuard<'_, T>, TimedOut> {
        self.lock_or(|| self.raw.lock_at_once() || self.raw.lock_contended(WAIT, Some(deadline())))
            .ok_or(TimedOut)
    }

    /// Returns a mutable reference to the value.
    ///
    /// Nothing need be locked: `&mut self` proves that no other green thread has the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut lock = greenloop::sync::ReentrantLock::new(1);
    /// *lock.get_mut() += 1;
    /// assert_eq!(*lock.lock(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.value
    }

    /// Locks again, or by `lock` if the caller does not hold it yet.
    fn lock_or(&self, lock: impl FnOnce() -> bool) -> Option<ReentrantLockGuard<'_, T>> {
        let me = greenlet::current().id();
        // Relaxed, here and below: what is there is one's own number only if one has put it there oneself, and the depth is
        // touched by the holder alone, to whom the locking shows what the last one left.
        if self.owner.load(Ordering::Relaxed) != me {
            if !lock() {
                return None;
            }
            self.owner.store(me, Ordering::Relaxed);
            // Relaxed: for reports alone.
            self.raw.holder.store(current_greenlet(), Ordering::Relaxed);
        }
        let depth = self.depth.load(Ordering::Relaxed).checked_add(1);
        self.depth.store(depth.expect("fewer guards than fit into memory"), Ordering::Relaxed);
        Some(ReentrantLockGuard { lock: self, not_send: PhantomData })
    }
}

impl<T: Default> Default for ReentrantLock<T> {
    fn default() -> ReentrantLock<T> {
        ReentrantLock::new(T::default())
    }
}

impl<T> From<T> for ReentrantLock<T> {
    fn from(value: T) -> ReentrantLock<T> {
        ReentrantLock::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReentrantLock<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("ReentrantLock");
        match self.try_lock() {
            Some(guard) => debug.field("data", &&*guard),
            None => debug.field("data", &format_args!("<locked>")),
        };
        debug.finish_non_exhaustive()
    }
}

/// A guard that gives shared access to a [`ReentrantLock`]'s value. Dropping the last one of its green thread unlocks.
///
/// The guard stays in its OS thread:
///
/// ```compile_fail
/// fn is_send<T: Send>() {}
/// is_send::<greenloop::sync::ReentrantLockGuard<'static, u32>>();
/// ```
///
/// # Examples
///
/// ```
/// use greenloop::{spawn, sync::ReentrantLock};
///
/// static LOCK: ReentrantLock<()> = ReentrantLock::new(());
/// let (outer, inner) = (LOCK.lock(), LOCK.lock());
/// drop(outer); // still locked, by the other guard
/// assert!(!spawn(|| LOCK.try_lock().is_some()).join().unwrap());
/// drop(inner);
/// assert!(spawn(|| LOCK.try_lock().is_some()).join().unwrap());
/// ```
#[must_use = "if unused the ReentrantLock will immediately unlock"]
pub struct ReentrantLockGuard<'a, T: ?Sized> {
    lock: &'a ReentrantLock<T>,
    not_send: PhantomData<*const ()>,
}

impl<T: ?Sized> Deref for ReentrantLockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.lock.value
    }
}

impl<T: ?Sized> Drop for ReentrantLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Relaxed: as in `lock_or`.
        let depth = self.lock.depth.load(Ordering::Relaxed) - 1;
        self.lock.depth.store(depth, Ordering::Relaxed);
        if depth == 0 {
            self.lock.owner.store(NOBODY, Ordering::Relaxed);
            self.lock.raw.holder.store(0, Ordering::Relaxed);
            self.lock.raw.unlock();
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReentrantLockGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for ReentrantLockGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}
