//! A lock between processes.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::holder::{Holders, Taken, give_back, take_free};
use super::line::Line;
use super::memory::{Memory, invalid};
use crate::sys::bell::Bell;
use crate::sys::clock::Time;
use crate::sys::identity;

/// Where things are, in words: which process holds it; whether it was left; what the memory is.
const HOLDER: usize = 0;
const LEFT: usize = 1;
const KIND: usize = 2;
/// What is behind that is the data's, in words and in bytes.
pub(super) const DATA: usize = 8;
pub(super) const DATA_BYTES: usize = 64;

/// "grnlock", and a version.
const OF_A_LOCK: u64 = u64::from_be_bytes(*b"grnlock\x01");

/// A lock between processes, which one that is killed does not keep. Green threads that wait for it let others run.
///
/// Clones are the same lock, and so is what a child has after a fork. The holder is a process: if that ends, whichever way, the next gets
/// the lock, and is told by [`owner_died`](LockGuard::owner_died).
///
/// Green threads and OS threads of one process stand in line, in order of arrival. Between processes there is no order; one that comes back
/// for it leaves the others a moment. A guard may be held across a wait.
///
/// A lock that nobody holds costs two atomic operations. One takes two descriptors, and one more while it waits.
///
/// # Examples
///
/// A child is killed while it holds the lock:
///
/// ```
/// use greenloop::process::Process;
/// use greenloop::processes::shared::Lock;
///
/// let lock = Lock::new()?;
/// let child = Process::start(|| {
///     let _guard = lock.lock();
///     std::process::abort() as ()
/// })?;
/// assert!(child.join().is_err());
/// let guard = lock.lock();
/// assert!(guard.owner_died());
/// lock.clear_poison(); // what it guards is in order again
/// drop(guard);
/// assert!(!lock.lock().owner_died());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[doc(alias("multiprocessing.Lock", "SemLock"))]
pub struct Lock {
    inner: Arc<Inner>,
}

struct Inner {
    memory: Memory,
    bell: Bell,
    line: Line,
}

impl Lock {
    /// Makes a lock that nobody holds. Does not yield.
    ///
    /// # Errors
    ///
    /// For instance that no descriptor is left: it takes two.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = greenloop::processes::shared::Lock::new()?;
    /// assert!(lock.try_lock().is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> io::Result<Lock> {
        Lock::with_data(0, OF_A_LOCK)
    }

    /// With room for so many bytes behind it; `kind` tells what they are.
    pub(super) fn with_data(length: usize, kind: u64) -> io::Result<Lock> {
        let memory = Memory::new(length.checked_add(DATA_BYTES).ok_or_else(invalid)?)?;
        // Relaxed: nobody else has it yet.
        memory.words()[KIND].store(kind, Ordering::Relaxed);
        Ok(Lock::of(memory, Bell::new()?))
    }

    fn of(memory: Memory, bell: Bell) -> Lock {
        Lock { inner: Arc::new(Inner { memory, bell, line: Line::new() }) }
    }

    /// Returns the two descriptors that another process needs to make the same lock of.
    ///
    /// # Examples
    ///
    /// See [`from_descriptors`](Lock::from_descriptors).
    ///
    /// ```
    /// let lock = greenloop::processes::shared::Lock::new()?;
    /// assert_eq!(lock.descriptors().len(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.inner.memory.as_fd(), self.inner.bell.as_fd()]
    }

    /// Makes the same lock from its descriptors, which have come from another process. Does not yield.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if they are no lock's. Those of mmap(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::shared::Lock;
    ///
    /// let lock = Lock::new()?;
    /// let [memory, bell] = lock.descriptors();
    /// let same = Lock::from_descriptors([memory.try_clone_to_owned()?, bell.try_clone_to_owned()?])?;
    /// let guard = lock.lock();
    /// assert!(same.try_lock().is_none());
    /// drop(guard);
    /// assert!(same.try_lock().is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn from_descriptors(descriptors: [OwnedFd; 2]) -> io::Result<Lock> {
        Lock::with_kind(descriptors, OF_A_LOCK)
    }

    pub(super) fn with_kind([memory, bell]: [OwnedFd; 2], kind: u64) -> io::Result<Lock> {
        let memory = Memory::from_descriptor(memory)?;
        // Relaxed: it was written before the descriptor was sent.
        if memory.words()[KIND].load(Ordering::Relaxed) != kind {
            return Err(invalid());
        }
        Ok(Lock::of(memory, Bell::from_descriptor(bell)))
    }

    /// The memory, whose first [`DATA`] words are the lock's.
    #[inline]
    pub(super) fn memory(&self) -> &Memory {
        &self.inner.memory
    }

    /// Locks, and waits until nobody else holds it.
    ///
    /// The calling green thread yields if it must wait; the unlock of another, in whichever process, wakes it, or the end of the process
    /// that holds it. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and locks nothing. As with
    /// std's mutex, who holds it and locks it again waits for ever.
    ///
    /// # Panics
    ///
    /// If it must wait inside a hub callback, where nothing may wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = greenloop::processes::shared::Lock::new()?;
    /// let guard = lock.lock();
    /// let waiter = greenloop::spawn({ let lock = lock.clone(); move || drop(lock.lock()) });
    /// greenloop::yield_now();
    /// assert!(!waiter.is_finished());
    /// drop(guard);
    /// waiter.join().unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> LockGuard<'_> {
        match self.lock_at_once() {
            Some(guard) => guard,
            None => self.lock_contended(Time::NEVER).expect("there is no deadline"),
        }
    }

    /// Locks if nobody holds it. Does not yield.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = greenloop::processes::shared::Lock::new()?;
    /// let guard = lock.try_lock();
    /// assert!(guard.is_some() && lock.try_lock().is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Option<LockGuard<'_>> {
        self.lock_at_once().or_else(|| self.lock_left())
    }

    /// Locks, and waits for that at most `timeout`. `None` if another still holds it then.
    ///
    /// It yields, and ends, as [`lock`](Lock::lock).
    ///
    /// # Panics
    ///
    /// As [`lock`](Lock::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let lock = greenloop::processes::shared::Lock::new()?;
    /// let _guard = lock.lock();
    /// assert!(lock.lock_timeout(Duration::from_millis(1)).is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Option<LockGuard<'_>> {
        self.lock_at_once().or_else(|| self.lock_contended(Time::after(timeout)))
    }

    /// Like [`lock_timeout`](Lock::lock_timeout), but waits until `deadline` at most.
    ///
    /// # Panics
    ///
    /// As [`lock`](Lock::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = greenloop::processes::shared::Lock::new()?;
    /// assert!(lock.lock_deadline(std::time::Instant::now()).is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lock_deadline(&self, deadline: Instant) -> Option<LockGuard<'_>> {
        self.lock_at_once().or_else(|| self.lock_contended(Time::from_instant(deadline)))
    }

    /// Returns `true` if a process has ended while it held the lock, and [`clear_poison`](Lock::clear_poison) was not called since.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!greenloop::processes::shared::Lock::new()?.is_poisoned());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_poisoned(&self) -> bool {
        // Relaxed: who must know it holds the lock, which orders.
        self.inner.memory.words()[LEFT].load(Ordering::Relaxed) != 0
    }

    /// Says that what the lock guards is in order again, though a process has ended while it held it.
    ///
    /// # Examples
    ///
    /// See [`Lock`].
    ///
    /// ```
    /// let lock = greenloop::processes::shared::Lock::new()?;
    /// lock.clear_poison();
    /// assert!(!lock.is_poisoned());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn clear_poison(&self) {
        // Relaxed: as in `is_poisoned`.
        self.inner.memory.words()[LEFT].store(0, Ordering::Relaxed);
    }

    #[inline]
    fn holder(&self) -> &AtomicU64 {
        &self.inner.memory.words()[HOLDER]
    }

    #[inline]
    fn lock_at_once(&self) -> Option<LockGuard<'_>> {
        let is_alone = self.inner.line.is_empty();
        let own = identity::own();
        (is_alone && take_free(self.holder(), own)).then(|| LockGuard { lock: self, own })
    }

    /// Without a wait: it is free though others stand in line, or it was left.
    #[cold]
    fn lock_left(&self) -> Option<LockGuard<'_>> {
        self.inner.line.try_first(|holders| self.take(holders, Time::now()))
    }

    #[cold]
    fn lock_contended(&self, deadline: Time) -> Option<LockGuard<'_>> {
        self.inner.line.first(deadline, |holders| self.take(holders, deadline))
    }

    fn take(&self, holders: &mut Holders, deadline: Time) -> Option<LockGuard<'_>> {
        let own = identity::own();
        let taken = holders.take(self.holder(), own, &self.inner.bell, deadline)?;
        let guard = LockGuard { lock: self, own };
        if taken == Taken::Left {
            // Before anything of the data is seen; if this process ends before that, the next one comes here.
            // Relaxed: as in `is_poisoned`.
            self.inner.memory.words()[LEFT].store(1, Ordering::Relaxed);
        }
        Some(guard)
    }
}

/// That the lock is held. Dropping it unlocks.
///
/// A child that is forked meanwhile does not hold the lock, and does not unlock it by dropping its copy.
#[must_use = "a guard that is dropped unlocks at once"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
    own: u64,
}

impl LockGuard<'_> {
    /// Returns `true` if a process has ended while it held the lock, so that what it guards may be half changed. It stays so for all who
    /// lock, until [`Lock::clear_poison`].
    ///
    /// # Examples
    ///
    /// See [`Lock`].
    ///
    /// ```
    /// let lock = greenloop::processes::shared::Lock::new()?;
    /// assert!(!lock.lock().owner_died());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("EOWNERDEAD", "pthread_mutex_consistent"))]
    pub fn owner_died(&self) -> bool {
        self.lock.is_poisoned()
    }
}

impl Drop for LockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let inner = &self.lock.inner;
        if identity::own() == self.own && give_back(self.lock.holder(), self.own, &inner.bell) {
            inner.line.note_told();
        }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Relaxed: for a reader's eyes.
        let holder = identity::number(self.holder().load(Ordering::Relaxed));
        formatter
            .debug_struct("Lock")
            .field("holder", &(holder > 0).then_some(holder))
            .field("is_poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LockGuard<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LockGuard").field("owner_died", &self.owner_died()).finish_non_exhaustive()
    }
}
