//! Mutual exclusion that parks only the green thread that must wait.

#![expect(unsafe_code, reason = "the guard is the right to the value in an UnsafeCell")]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::{LockResult, TryLockError, TryLockResult};
use std::time::{Duration, Instant};

use super::poison::{Before, Poison};
use super::raw_mutex::RawMutex;
use crate::hub::waiter::current_greenlet;
use crate::sys::clock::Time;

/// What reports call a wait for a mutex.
const WAIT: &str = "Mutex::lock";

/// Mutual exclusion for green threads: [`std::sync::Mutex`], but a wait parks the calling green thread alone.
///
/// It works between green threads of one hub or of several, and with plain OS threads. You may hold the guard across anything
/// that yields.
///
/// Locking is fair: an unlock hands the mutex to the green thread that has waited longest, and no other gets it in between.
/// Without contention a lock and an unlock cost what std's do, and never yield.
///
/// # Poisoning
///
/// As in std, a mutex is poisoned when a guard is dropped by unwinding, since what the guard protects may then be half changed. A
/// kill and an elapsed [`with_timeout`](crate::with_timeout) unwind as a panic does, and at a place that the holder did not
/// choose: they poison too. If a green thread unwinds while it waits for a mutex, the mutex is not poisoned.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use greenloop::sync::Mutex;
/// use greenloop::{spawn, yield_now};
///
/// let count = Arc::new(Mutex::new(0));
/// let adders: Vec<_> = (0..10)
///     .map(|_| {
///         let count = Arc::clone(&count);
///         spawn(move || {
///             let mut count = count.lock().unwrap();
///             let before = *count;
///             yield_now();
///             *count = before + 1;
///         })
///     })
///     .collect();
/// for adder in adders {
///     adder.join().unwrap();
/// }
/// assert_eq!(*count.lock().unwrap(), 10);
/// ```
///
/// It is `Send` and `Sync` if `T` is `Send`:
///
/// ```compile_fail
/// fn is_sync<T: Sync>() {}
/// is_sync::<greenloop::sync::Mutex<std::rc::Rc<u32>>>();
/// ```
#[doc(alias("allocate_lock", "LockType", "Lock"))]
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    poison: Poison,
    value: UnsafeCell<T>,
}

// SAFETY: a mutex gives away its value or `&mut` to it, to one thread at a time: `T: Send` is what that needs.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as for `Send`; a `&Mutex` gives no more than that.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

// A value that unwinding left half changed is behind the poison flag.
impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

impl<T> Mutex<T> {
    /// Makes an unlocked mutex.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Mutex;
    ///
    /// static TOTAL: Mutex<u32> = Mutex::new(7);
    /// assert_eq!(*TOTAL.lock().unwrap(), 7);
    /// ```
    pub const fn new(value: T) -> Mutex<T> {
        Mutex { raw: RawMutex::new(), poison: Poison::new(), value: UnsafeCell::new(value) }
    }

    /// Consumes the mutex, and returns its value. Never waits.
    ///
    /// # Errors
    ///
    /// Returns an error, with the value in it, if the mutex is poisoned.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Mutex;
    ///
    /// assert_eq!(Mutex::new("all yours").into_inner().unwrap(), "all yours");
    /// ```
    pub fn into_inner(self) -> LockResult<T> {
        self.poison.wrap(self.value.into_inner())
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks the mutex, and waits until it is free.
    ///
    /// If the mutex is free, the call does not yield. Otherwise the calling green thread yields, and an unlock hands the mutex to
    /// it; waiters get it in the order of their arrival. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the
    /// wait by unwinding. If the mutex was handed over at that moment, it goes to the next waiter.
    ///
    /// If a green thread locks a mutex that it holds, it waits for itself, for ever.
    ///
    /// # Errors
    ///
    /// Returns an error, with the guard in it, if the mutex is poisoned.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Mutex;
    ///
    /// let words = Mutex::new(vec!["green"]);
    /// words.lock().unwrap().push("loop");
    /// assert_eq!(*words.lock().unwrap(), ["green", "loop"]);
    /// ```
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        if !self.raw.lock_at_once() {
            self.raw.lock_contended(WAIT, None);
        }
        MutexGuard::new(self)
    }

    /// Locks the mutex if it is free. Never waits.
    ///
    /// # Errors
    ///
    /// - [`TryLockError::WouldBlock`] if the mutex is locked.
    /// - [`TryLockError::Poisoned`], with the guard, if it is poisoned.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Mutex;
    ///
    /// let mutex = Mutex::new(1);
    /// let guard = mutex.try_lock().unwrap();
    /// assert!(mutex.try_lock().is_err());
    /// drop(guard);
    /// assert!(mutex.try_lock().is_ok());
    /// ```
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if self.raw.try_lock() { Ok(MutexGuard::new(self)?) } else { Err(TryLockError::WouldBlock) }
    }

    /// Locks the mutex, and waits for at most `timeout` until it is free.
    ///
    /// Apart from that, it is like [`lock`](Mutex::lock).
    ///
    /// # Errors
    ///
    /// - [`TryLockError::WouldBlock`] if the time is over.
    /// - [`TryLockError::Poisoned`], with the guard, if the mutex is poisoned.
    ///
    /// # Panics
    ///
    /// As [`lock`](Mutex::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::TryLockError;
    /// use std::time::Duration;
    /// use greenloop::sync::Mutex;
    ///
    /// let mutex = Mutex::new(1);
    /// let guard = mutex.lock().unwrap();
    /// let late = mutex.lock_timeout(Duration::from_millis(5));
    /// assert!(matches!(late, Err(TryLockError::WouldBlock)));
    /// drop(guard);
    /// assert_eq!(*mutex.lock_timeout(Duration::from_millis(5)).unwrap(), 1);
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> TryLockResult<MutexGuard<'_, T>> {
        self.lock_until(|| Time::after(timeout))
    }

    /// Locks the mutex, and waits until `deadline` at the latest until it is free.
    ///
    /// Apart from that, it is like [`lock`](Mutex::lock).
    ///
    /// # Errors
    ///
    /// As [`lock_timeout`](Mutex::lock_timeout).
    ///
    /// # Panics
    ///
    /// As [`lock`](Mutex::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use greenloop::sync::Mutex;
    ///
    /// let mutex = Mutex::new(1);
    /// let _guard = mutex.lock().unwrap();
    /// assert!(mutex.lock_deadline(Instant::now() + Duration::from_millis(5)).is_err());
    /// ```
    pub fn lock_deadline(&self, deadline: Instant) -> TryLockResult<MutexGuard<'_, T>> {
        self.lock_until(|| Time::from_instant(deadline))
    }

    fn lock_until(&self, deadline: impl FnOnce() -> Time) -> TryLockResult<MutexGuard<'_, T>> {
        if self.raw.lock_at_once() || self.raw.lock_contended(WAIT, Some(deadline())) {
            Ok(MutexGuard::new(self)?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Returns `true` if a guard was dropped by unwinding.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use greenloop::sync::Mutex;
    /// use greenloop::{spawn, yield_now};
    ///
    /// let mutex = Arc::new(Mutex::new(()));
    /// let holder = spawn({
    ///     let mutex = Arc::clone(&mutex);
    ///     move || {
    ///         let _guard = mutex.lock().unwrap();
    ///         loop {
    ///             yield_now();
    ///         }
    ///     }
    /// });
    /// yield_now();
    /// holder.kill();
    /// assert!(mutex.is_poisoned());
    /// ```
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_set()
    }

    /// Clears the poison: from now on the value counts as consistent.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::panic::{catch_unwind, resume_unwind};
    /// use greenloop::sync::Mutex;
    ///
    /// let mutex = Mutex::new(1);
    /// let _ = catch_unwind(|| {
    ///     let _guard = mutex.lock().unwrap();
    ///     resume_unwind(Box::new("half done"));
    /// });
    /// let mut guard = mutex.lock().unwrap_err().into_inner();
    /// *guard = 2;
    /// mutex.clear_poison();
    /// drop(guard);
    /// assert_eq!(*mutex.lock().unwrap(), 2);
    /// ```
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// Returns a mutable reference to the value.
    ///
    /// The mutex need not be locked: `&mut self` proves that no other green thread has it.
    ///
    /// # Errors
    ///
    /// Returns an error, with the reference in it, if the mutex is poisoned.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Mutex;
    ///
    /// let mut mutex = Mutex::new(1);
    /// *mutex.get_mut().unwrap() += 1;
    /// assert_eq!(mutex.into_inner().unwrap(), 2);
    /// ```
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.wrap(self.value.get_mut())
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => debug.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => debug.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => debug.field("data", &format_args!("<locked>")),
        };
        debug.field("poisoned", &self.is_poisoned()).finish_non_exhaustive()
    }
}

/// A guard that gives access to a [`Mutex`]'s value. Dropping it unlocks the mutex, and hands it to the first waiter.
///
/// The guard stays in its OS thread, as std's does:
///
/// ```compile_fail
/// fn is_send<T: Send>() {}
/// is_send::<greenloop::sync::MutexGuard<'static, u32>>();
/// ```
///
/// # Examples
///
/// ```
/// use greenloop::sync::Mutex;
///
/// let mutex = Mutex::new(String::from("green"));
/// let mut guard = mutex.lock().unwrap();
/// guard.push_str("loop");
/// assert_eq!(*guard, "greenloop");
/// ```
#[must_use = "if unused the Mutex will immediately unlock"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    before: Before,
    not_send: PhantomData<*const ()>,
}

// SAFETY: a `&MutexGuard` gives `&T` and no more: `T: Sync` is what that needs. The marker only keeps it from being `Send`.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// For the one who has locked.
    #[inline]
    fn new(mutex: &'a Mutex<T>) -> LockResult<MutexGuard<'a, T>> {
        // Relaxed, here and below: for reports alone.
        mutex.raw.holder.store(current_greenlet(), Ordering::Relaxed);
        mutex.poison.wrap(MutexGuard { mutex, before: Before::now(), not_send: PhantomData })
    }

    /// The mutex that it unlocks: for `Condvar`.
    pub(super) fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the pointer is valid while the mutex is borrowed; the mutex is locked for this guard alone, so there is
        // no `&mut` but by this guard, whose borrow forbids it now.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes it the only access by this guard.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.poison.end(&self.before);
        self.mutex.raw.holder.store(0, Ordering::Relaxed);
        self.mutex.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}
