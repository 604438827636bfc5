//! Many readers or one writer.

#![expect(unsafe_code, reason = "the guards are the rights to the value in an UnsafeCell")]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LockResult, TryLockError, TryLockResult};
use std::time::{Duration, Instant};

use super::poison::{Before, Poison};
use crate::hub::handover::{self, Ended, Line, Standing};
use crate::hub::waiter::{Notify, Waiter, WaitingOn, Wake, current_greenlet};
use crate::sys::clock::Time;
use crate::sys::lock::{Lock, LockGuard};

/// A lock that many may hold to read, or one to write: [`std::sync::RwLock`], but a wait parks the calling green thread alone.
///
/// It works between green threads of one hub or of several, and with plain OS threads. You may hold the guards across anything
/// that yields.
///
/// Readers and writers wait in one queue, in the order of their arrival, and a newcomer goes to its end. So a stream of readers
/// does not keep a writer waiting for ever. It also means that a green thread that takes a second read guard while it holds one
/// may wait for ever, behind a writer, as with std's.
///
/// # Poisoning
///
/// As in std, the lock is poisoned when a [`RwLockWriteGuard`] is dropped by unwinding, and not when a read guard is. A kill and
/// an elapsed [`with_timeout`](crate::with_timeout) unwind as a panic does, and poison too: see
/// [`Mutex`](super::Mutex#poisoning).
///
/// # Examples
///
/// ```
/// use greenloop::sync::RwLock;
///
/// let lock = RwLock::new(5);
/// {
///     let (one, two) = (lock.read().unwrap(), lock.read().unwrap());
///     assert_eq!(*one + *two, 10);
/// }
/// *lock.write().unwrap() += 1;
/// assert_eq!(*lock.read().unwrap(), 6);
/// ```
///
/// It is `Send` if `T` is, and `Sync` if `T` is both, since several threads may read at once:
///
/// ```compile_fail
/// fn is_sync<T: Sync>() {}
/// is_sync::<greenloop::sync::RwLock<std::cell::Cell<u32>>>();
/// ```
pub struct RwLock<T: ?Sized> {
    turns: Turns,
    poison: Poison,
    value: UnsafeCell<T>,
}

/// Who has the lock and who waits for it, whatever the value is.
struct Turns {
    holders: Lock<Holders>,
    /// One of those who hold it, as [`WaitingOn::held`] wants it, for reports: who has locked it last, until it unlocks.
    holder: AtomicUsize,
}

// No user's value is inside.
impl UnwindSafe for Turns {}
impl RefUnwindSafe for Turns {}

struct Holders {
    readers: usize,
    writing: bool,
    /// Who is called holds it already.
    line: Line<(Wake, Access)>,
}

impl Standing for (Wake, Access) {
    fn wake(&self) -> Wake {
        self.0
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

// SAFETY: a lock that is sent takes its value along: `T: Send` is what that needs.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: a `&RwLock` gives `&mut T` and `T`, to one thread at a time, for which `T: Send` is needed, and `&T` to several at
// once, for which `T: Sync` is.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

// A value that unwinding left half changed is behind the poison flag.
impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

impl<T> RwLock<T> {
    /// Makes an unlocked lock.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::RwLock;
    ///
    /// static LIMIT: RwLock<u32> = RwLock::new(7);
    /// assert_eq!(*LIMIT.read().unwrap(), 7);
    /// ```
    pub const fn new(value: T) -> RwLock<T> {
        let state = Holders { readers: 0, writing: false, line: Line::new() };
        RwLock {
            turns: Turns { holders: Lock::new(state), holder: AtomicUsize::new(0) },
            poison: Poison::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// Consumes the lock, and returns its value. Never waits.
    ///
    /// # Errors
    ///
    /// Returns an error, with the value in it, if the lock is poisoned.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::sync::RwLock::new(1).into_inner().unwrap(), 1);
    /// ```
    pub fn into_inner(self) -> LockResult<T> {
        self.poison.wrap(self.value.into_inner())
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Locks to read, together with other readers, and waits until that is possible.
    ///
    /// If there is neither a writer nor a waiter, the call does not yield. Otherwise the calling green thread yields until all
    /// that came before it have had their turn. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by
    /// unwinding. If the lock was given to it at that moment, the lock goes to the next waiter.
    ///
    /// # Errors
    ///
    /// Returns an error, with the guard in it, if the lock is poisoned.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::RwLock;
    ///
    /// let lock = RwLock::new(5);
    /// let (one, two) = (lock.read().unwrap(), lock.read().unwrap());
    /// assert_eq!(*one + *two, 10);
    /// ```
    #[inline]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.turns.lock(Access::Read, || None);
        RwLockReadGuard::new(self)
    }

    /// Locks to read if there is neither a writer nor a waiter. Never waits.
    ///
    /// # Errors
    ///
    /// - [`TryLockError::WouldBlock`] if there is a writer or a waiter.
    /// - [`TryLockError::Poisoned`], with the guard, if the lock is poisoned.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::RwLock;
    ///
    /// let lock = RwLock::new(1);
    /// let one = lock.try_read().unwrap();
    /// assert!(lock.try_read().is_ok());
    /// assert!(lock.try_write().is_err());
    /// # drop(one);
    /// ```
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        let locked = self.turns.holders.lock().try_lock(Access::Read);
        if locked { Ok(RwLockReadGuard::new(self)?) } else { Err(TryLockError::WouldBlock) }
    }

    /// Locks to read, and waits for at most `timeout` until that is possible.
    ///
    /// Apart from that, it is like [`read`](RwLock::read).
    ///
    /// # Errors
    ///
    /// - [`TryLockError::WouldBlock`] if the time is over.
    /// - [`TryLockError::Poisoned`], with the guard, if the lock is poisoned.
    ///
    /// # Panics
    ///
    /// As [`read`](RwLock::read).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::sync::RwLock;
    ///
    /// let lock = RwLock::new(1);
    /// let _writer = lock.write().unwrap();
    /// assert!(lock.read_timeout(Duration::from_millis(1)).is_err());
    /// ```
    pub fn read_timeout(&self, timeout: Duration) -> TryLockResult<RwLockReadGuard<'_, T>> {
        self.read_until(|| Some(Time::after(timeout)))
    }

    /// Locks to read, and waits until `deadline` at the latest until that is possible.
    ///
    /// Apart from that, it is like [`read`](RwLock::read).
    ///
    /// # Errors
    ///
    /// As [`read_timeout`](RwLock::read_timeout).
    ///
    /// # Panics
    ///
    /// As [`read`](RwLock::read).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// assert!(greenloop::sync::RwLock::new(1).read_deadline(Instant::now()).is_ok());
    /// ```
    pub fn read_deadline(&self, deadline: Instant) -> TryLockResult<RwLockReadGuard<'_, T>> {
        self.read_until(|| Some(Time::from_instant(deadline)))
    }

    fn read_until(&self, deadline: impl FnOnce() -> Option<Time>) -> TryLockResult<RwLockReadGuard<'_, T>> {
        let locked = self.turns.lock(Access::Read, deadline);
        if locked { Ok(RwLockReadGuard::new(self)?) } else { Err(TryLockError::WouldBlock) }
    }

    /// Locks to write, alone, and waits until that is possible.
    ///
    /// If there is no reader, no writer and no waiter, the call does not yield. Otherwise it waits as [`read`](RwLock::read)
    /// does.
    ///
    /// # Errors
    ///
    /// Returns an error, with the guard in it, if the lock is poisoned.
    ///
    /// # Panics
    ///
    /// As [`read`](RwLock::read).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::RwLock;
    ///
    /// let lock = RwLock::new(5);
    /// *lock.write().unwrap() += 1;
    /// assert_eq!(*lock.read().unwrap(), 6);
    /// ```
    #[inline]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.turns.lock(Access::Write, || None);
        RwLockWriteGuard::new(self)
    }

    /// Locks to write if there is no reader, no writer and no waiter. Never waits.
    ///
    /// # Errors
    ///
    /// As [`try_read`](RwLock::try_read).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::RwLock;
    ///
    /// let lock = RwLock::new(1);
    /// *lock.try_write().unwrap() = 2;
    /// assert_eq!(*lock.read().unwrap(), 2);
    /// ```
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        let locked = self.turns.holders.lock().try_lock(Access::Write);
        if locked { Ok(RwLockWriteGuard::new(self)?) } else { Err(TryLockError::WouldBlock) }
    }

    /// Locks to write, and waits for at most `timeout` until that is possible.
    ///
    /// Apart from that, it is like [`write`](RwLock::write).
    ///
    /// # Errors
    ///
    /// As [`read_timeout`](RwLock::read_timeout).
    ///
    /// # Panics
    ///
    /// As [`read`](RwLock::read).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::sync::RwLock;
    ///
    /// let lock = RwLock::new(1);
    /// let _reader = lock.read().unwrap();
    /// assert!(lock.write_timeout(Duration::from_millis(1)).is_err());
    /// ```
    pub fn write_timeout(&self, timeout: Duration) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        self.write_until(|| Some(Time::after(timeout)))
    }

    /// Locks to write, and waits until `deadline` at the latest until that is possible.
    ///
    /// Apart from that, it is like [`write`](RwLock::write).
    ///
    /// # Errors
    ///
    /// As [`read_timeout`](RwLock::read_timeout).
    ///
    /// # Panics
    ///
    /// As [`read`](RwLock::read).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// assert!(greenloop::sync::RwLock::new(1).write_deadline(Instant::now()).is_ok());
    /// ```
    pub fn write_deadline(&self, deadline: Instant) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        self.write_until(|| Some(Time::from_instant(deadline)))
    }

    fn write_until(&self, deadline: impl FnOnce() -> Option<Time>) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        let locked = self.turns.lock(Access::Write, deadline);
        if locked { Ok(RwLockWriteGuard::new(self)?) } else { Err(TryLockError::WouldBlock) }
    }

    /// Returns `true` if a write guard was dropped by unwinding.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!greenloop::sync::RwLock::new(1).is_poisoned());
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
    /// use greenloop::sync::RwLock;
    ///
    /// let lock = RwLock::new(1);
    /// let _ = catch_unwind(|| {
    ///     let _guard = lock.write().unwrap();
    ///     resume_unwind(Box::new("half done"));
    /// });
    /// assert!(lock.read().is_err());
    /// lock.clear_poison();
    /// assert!(lock.read().is_ok());
    /// ```
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// Returns a mutable reference to the value.
    ///
    /// Nothing need be locked: `&mut self` proves that no other green thread has the lock.
    ///
    /// # Errors
    ///
    /// Returns an error, with the reference in it, if the lock is poisoned.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut lock = greenloop::sync::RwLock::new(1);
    /// *lock.get_mut().unwrap() += 1;
    /// assert_eq!(lock.into_inner().unwrap(), 2);
    /// ```
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.wrap(self.value.get_mut())
    }
}

impl Turns {
    /// Locks; `false` if the deadline has passed.
    #[inline]
    fn lock(&self, access: Access, deadline: impl FnOnce() -> Option<Time>) -> bool {
        // A look at the clock takes too long for the lock, so it is locked twice if need be.
        self.holders.lock().lock(access) || self.stand(access, deadline())
    }

    /// Waits in line; `false` if the deadline has passed.
    #[cold]
    fn stand(&self, access: Access, deadline: Option<Time>) -> bool {
        let mut state = self.holders.lock();
        if state.try_lock(access) {
            return true;
        }
        let call = match access {
            Access::Read => "RwLock::read",
            Access::Write => "RwLock::write",
        };
        let waiter = Waiter::new(WaitingOn::held(call, &self.holder));
        let ticket = state.line.stand((waiter.wake(), access));
        drop(state);
        let locked = |state: &mut Holders| state.line.is_called(ticket).then_some(());
        let (mut state, ended) = waiter.stand(&self.holders, deadline, locked, |state| self.call(state));
        let locked = state.line.leave(ticket).is_some();
        match ended {
            Ok(()) => return true,
            Err(Ended::TimedOut) if locked => return true,
            // Who stood behind may have waited for this one alone.
            Err(Ended::TimedOut) => self.call(state),
            Err(Ended::Interrupted(interrupt)) => {
                if locked {
                    state.unlock(access);
                }
                self.call(state);
                interrupt.raise();
            }
        }
        false
    }

    /// The caller has locked it. Returns who that is.
    #[inline]
    fn tell_holder(&self) -> usize {
        let holder = current_greenlet();
        // Relaxed, here and below: for reports alone.
        self.holder.store(holder, Ordering::Relaxed);
        holder
    }

    /// By who was told as `holder`.
    #[inline]
    fn unlock_by(&self, holder: usize, access: Access) {
        if self.holder.load(Ordering::Relaxed) == holder {
            self.holder.store(0, Ordering::Relaxed);
        }
        self.unlock(access);
    }

    #[inline]
    fn unlock(&self, access: Access) {
        let mut state = self.holders.lock();
        state.unlock(access);
        self.call(state);
    }

    /// Gives it to the first in line, as far as that goes.
    #[inline]
    fn call<'a>(&'a self, state: LockGuard<'a, Holders>) {
        handover::notify_all(&self.holders, state, Holders::call);
    }
}

impl Holders {
    /// Locks if nobody who has come before is against it.
    #[inline]
    fn lock(&mut self, access: Access) -> bool {
        self.line.is_empty() && take(&mut self.readers, &mut self.writing, access)
    }

    /// The same, also if those who have come before are gone.
    #[inline]
    fn try_lock(&mut self, access: Access) -> bool {
        self.lock(access) || {
            self.unlock_for_gone();
            self.lock(access)
        }
    }

    #[inline]
    fn unlock_for_gone(&mut self) {
        while let Some((_, access)) = self.line.take_gone() {
            self.unlock(access);
        }
    }

    #[inline]
    fn unlock(&mut self, access: Access) {
        match access {
            Access::Read => self.readers -= 1,
            Access::Write => self.writing = false,
        }
    }

    /// Locks for the first in line, if it can be.
    #[inline]
    fn call(&mut self) -> Option<Notify> {
        self.unlock_for_gone();
        let Holders { readers, writing, line } = self;
        let (wake, _) = line.call_if(|&(_, access)| take(readers, writing, access))?;
        Some(Notify::Wake(wake))
    }
}

#[inline]
fn take(readers: &mut usize, writing: &mut bool, access: Access) -> bool {
    match access {
        _ if *writing => return false,
        Access::Read => *readers += 1,
        Access::Write if *readers > 0 => return false,
        Access::Write => *writing = true,
    }
    true
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> RwLock<T> {
        RwLock::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => debug.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => debug.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => debug.field("data", &format_args!("<locked>")),
        };
        debug.field("poisoned", &self.is_poisoned()).finish_non_exhaustive()
    }
}

/// A guard that gives shared access to a [`RwLock`]'s value. Dropping it unlocks.
///
/// The guard stays in its OS thread, as std's does:
///
/// ```compile_fail
/// fn is_send<T: Send>() {}
/// is_send::<greenloop::sync::RwLockReadGuard<'static, u32>>();
/// ```
///
/// # Examples
///
/// ```
/// use greenloop::sync::RwLock;
///
/// let lock = RwLock::new(1);
/// let reader = lock.read().unwrap();
/// assert!(lock.try_write().is_err());
/// drop(reader);
/// assert!(lock.try_write().is_ok());
/// ```
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    /// A pointer, so that a guard of a longer life serves where one of a shorter is asked for: as a `&T` does, which is all that it gives.
    ///
    /// # Invariant
    /// The value of a lock that is borrowed for `'a` and locked to read.
    value: NonNull<T>,
    turns: &'a Turns,
    holder: usize,
}

/// A guard that gives exclusive access to a [`RwLock`]'s value. Dropping it unlocks.
///
/// The guard stays in its OS thread, as std's does:
///
/// ```compile_fail
/// fn is_send<T: Send>() {}
/// is_send::<greenloop::sync::RwLockWriteGuard<'static, u32>>();
/// ```
///
/// # Examples
///
/// ```
/// use greenloop::sync::RwLock;
///
/// let lock = RwLock::new(1);
/// let mut writer = lock.write().unwrap();
/// *writer = 2;
/// assert!(lock.try_read().is_err());
/// drop(writer);
/// assert_eq!(*lock.try_read().unwrap(), 2);
/// ```
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    holder: usize,
    before: Before,
    not_send: PhantomData<*const ()>,
}

// SAFETY: a `&RwLockReadGuard` gives `&T` and no more: `T: Sync` is what that needs. The pointer keeps it from being `Send`.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: as for `RwLockReadGuard`.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockReadGuard<'a, T> {
    /// For the one who has locked.
    #[inline]
    fn new(lock: &'a RwLock<T>) -> LockResult<RwLockReadGuard<'a, T>> {
        lock.poison.wrap(RwLockReadGuard::of(lock))
    }

    #[inline]
    fn of(lock: &'a RwLock<T>) -> RwLockReadGuard<'a, T> {
        // SAFETY: what an `UnsafeCell` points to is not null.
        let value = unsafe { NonNull::new_unchecked(lock.value.get()) };
        RwLockReadGuard { value, turns: &lock.turns, holder: lock.turns.tell_holder() }
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// For the one who has locked.
    #[inline]
    fn new(lock: &'a RwLock<T>) -> LockResult<RwLockWriteGuard<'a, T>> {
        let holder = lock.turns.tell_holder();
        lock.poison.wrap(RwLockWriteGuard { lock, holder, before: Before::now(), not_send: PhantomData })
    }

    /// Turns the write guard into a read guard, and lets in the readers that wait before the next writer.
    ///
    /// No other green thread writes in between.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{RwLock, RwLockWriteGuard};
    ///
    /// let lock = RwLock::new(1);
    /// let mut writer = lock.write().unwrap();
    /// *writer = 2;
    /// let reader = RwLockWriteGuard::downgrade(writer);
    /// assert_eq!((*reader, *lock.read().unwrap()), (2, 2));
    /// ```
    pub fn downgrade(s: RwLockWriteGuard<'a, T>) -> RwLockReadGuard<'a, T> {
        let lock = s.lock;
        mem::forget(s);
        let mut state = lock.turns.holders.lock();
        (state.writing, state.readers) = (false, 1);
        lock.turns.call(state);
        RwLockReadGuard::of(lock)
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: by the invariant the pointer is valid, as the lock is borrowed; while it is locked to read there is no `&mut`.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the pointer is valid while the lock is borrowed; it is locked for this guard alone, so there is no `&mut`
        // but by this guard, whose borrow forbids it now.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes it the only access by this guard.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.turns.unlock_by(self.holder, Access::Read);
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.end(&self.before);
        self.lock.turns.unlock_by(self.holder, Access::Write);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}
