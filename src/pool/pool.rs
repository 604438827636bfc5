//! A group with a limit.

use std::fmt;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use super::group::Group;
use super::slots::Slots;
use crate::error::PoolFull;
use crate::sys::clock::instant_now;
use crate::task::JoinHandle;

/// Green threads of which a limited number run at a time. This is gevent's `Pool`.
///
/// A pool is a [`Group`] with slots, and has all of its methods. Each member has a slot until it ends, however it ends. If no
/// slot is free, [`spawn`](Group::spawn) waits for one, in the order of arrival.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenloop::pool::Pool;
///
/// let pool = Pool::new(10);
/// let fetch = |page: u32| { greenloop::sleep(Duration::from_millis(1)); page.to_string() };
/// let pages: Vec<String> = pool.imap(1..=100, fetch).flatten().collect();
/// assert_eq!((pages.len(), &*pages[99]), (100, "100"));
/// ```
pub struct Pool {
    group: Group,
}

// What it stands for is kept whole by the library, whoever unwinds.
impl UnwindSafe for Pool {}
impl RefUnwindSafe for Pool {}

impl Pool {
    /// Makes a pool with `size` slots. With 0 it is always full.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::pool::Pool::new(2);
    /// assert_eq!((pool.size(), pool.free_count()), (2, 2));
    /// ```
    pub fn new(size: usize) -> Pool {
        Pool { group: Group::with(Slots::new(size)) }
    }

    /// Returns how many slots there are.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::pool::Pool::new(2).size(), 2);
    /// ```
    pub fn size(&self) -> usize {
        self.group.slots().size()
    }

    /// Returns how many slots are free.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::pool::Pool::new(2);
    /// let member = pool.spawn(|| ());
    /// assert_eq!(pool.free_count(), 1);
    /// member.join().unwrap();
    /// assert_eq!(pool.free_count(), 2);
    /// ```
    pub fn free_count(&self) -> usize {
        self.group.slots().free()
    }

    /// Returns `true` if no slot is free.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::pool::Pool::new(1);
    /// let member = pool.spawn(|| ());
    /// assert!(pool.is_full());
    /// member.join().unwrap();
    /// assert!(!pool.is_full());
    /// ```
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        self.free_count() == 0
    }

    /// Waits until a slot is free, and does not take it.
    ///
    /// When the caller goes on, the slot may have been taken. The call yields if none is free. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::pool::Pool::new(1);
    /// pool.spawn(|| greenloop::yield_now());
    /// pool.wait_available();
    /// assert_eq!(pool.free_count(), 1);
    /// ```
    pub fn wait_available(&self) {
        self.group.slots().wait(None);
    }

    /// Waits for at most `timeout` until a slot is free. Returns `true` if one is.
    ///
    /// Apart from that, it is like [`wait_available`](Pool::wait_available).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// assert!(!greenloop::pool::Pool::new(0).wait_available_timeout(Duration::from_millis(1)));
    /// ```
    pub fn wait_available_timeout(&self, timeout: Duration) -> bool {
        // Too far to be said is no deadline.
        self.group.slots().wait(instant_now().checked_add(timeout))
    }

    /// Spawns a member if a slot is free. Never waits.
    ///
    /// Apart from that, it is like [`spawn`](Group::spawn).
    ///
    /// # Errors
    ///
    /// Returns `function` in [`PoolFull`] if no slot is free.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::pool::Pool::new(1);
    /// let member = pool.try_spawn(|| 1).unwrap();
    /// assert!(pool.try_spawn(|| 2).is_err());
    /// assert_eq!(member.join().unwrap(), 1);
    /// ```
    #[track_caller]
    pub fn try_spawn<F, T>(&self, function: F) -> Result<JoinHandle<T>, PoolFull<F>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        match self.group.slots().try_take() {
            Some(slot) => Ok(self.group.spawn_in(slot, function)),
            None => Err(PoolFull(function)),
        }
    }

    /// Spawns a member, and waits for at most `timeout` until a slot is free.
    ///
    /// Apart from that, it is like [`spawn`](Group::spawn).
    ///
    /// # Errors
    ///
    /// Returns `function` in [`PoolFull`] if no slot was free until then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = greenloop::pool::Pool::new(0);
    /// assert!(pool.spawn_timeout(Duration::from_millis(1), || ()).is_err());
    /// ```
    #[track_caller]
    pub fn spawn_timeout<F, T>(&self, timeout: Duration, function: F) -> Result<JoinHandle<T>, PoolFull<F>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        match self.group.slots().take_timeout(timeout) {
            Some(slot) => Ok(self.group.spawn_in(slot, function)),
            None => Err(PoolFull(function)),
        }
    }

    /// Makes a green thread a member if a slot is free. Never waits.
    ///
    /// Apart from that, it is like [`add`](Group::add).
    ///
    /// # Errors
    ///
    /// Returns [`PoolFull`] if no slot is free.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::pool::Pool::new(0);
    /// assert!(pool.try_add(&greenloop::spawn(|| ())).is_err());
    /// ```
    pub fn try_add<T>(&self, handle: &JoinHandle<T>) -> Result<(), PoolFull> {
        if !self.contains(handle) {
            let slot = self.group.slots().try_take().ok_or(PoolFull(()))?;
            self.group.admit(slot, handle);
        }
        Ok(())
    }

    /// Makes a green thread a member, and waits for at most `timeout` until a slot is free.
    ///
    /// Apart from that, it is like [`add`](Group::add).
    ///
    /// # Errors
    ///
    /// Returns [`PoolFull`] if no slot was free until then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = greenloop::pool::Pool::new(1);
    /// let task = greenloop::spawn(|| ());
    /// assert!(pool.add_timeout(Duration::from_secs(10), &task).is_ok());
    /// ```
    pub fn add_timeout<T>(&self, timeout: Duration, handle: &JoinHandle<T>) -> Result<(), PoolFull> {
        if !self.contains(handle) {
            let slot = self.group.slots().take_timeout(timeout).ok_or(PoolFull(()))?;
            self.group.admit(slot, handle);
        }
        Ok(())
    }
}

/// A pool is a group in which slots are taken.
impl Deref for Pool {
    type Target = Group;

    fn deref(&self) -> &Group {
        &self.group
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pool").field("size", &self.size()).field("free", &self.free_count()).finish()
    }
}
