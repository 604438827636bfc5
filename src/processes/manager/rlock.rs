//! A lock that its holder may lock again.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use super::hall::Recursion;
use super::message::{Grant, kind, verb};
use super::owner::Manager;
use super::proxy::proxy;
use crate::error::ManagerError;
use crate::greenlet;
use crate::sys::clock::Time;
use crate::sys::identity;

proxy! {
    /// A lock in a [`Manager`](super::Manager) that the green thread that holds it may lock again, made by
    /// [`Manager::rlock`](super::Manager::rlock).
    ///
    /// It is unlocked when all guards are dropped. To lock it again takes no call. Otherwise it is as a [`Lock`](super::Lock).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let manager = greenloop::processes::Manager::new()?;
    /// let lock = manager.rlock()?;
    /// let outer = lock.lock()?;
    /// let inner = lock.lock()?;
    /// drop(outer);
    /// let theirs = lock.clone();
    /// assert!(!Process::start(move || theirs.try_lock().unwrap().is_some())?.join()?);
    /// drop(inner);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    RLock
}

impl Manager {
    /// Makes a lock that its holder may lock again. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let lock = manager.rlock()?;
    /// let guards = (lock.lock()?, lock.lock()?);
    /// assert!(!guards.0.owner_died());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn rlock(&self) -> Result<RLock, ManagerError> {
        self.create::<()>(kind::LOCK, 0, &[]).map(RLock::new)
    }
}

impl RLock {
    /// Locks, and waits until no other green thread, of whichever process, holds it.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let lock = manager.rlock()?;
    /// let guards = (lock.lock()?, lock.lock()?);
    /// assert!(!guards.1.owner_died());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn lock(&self) -> Result<RLockGuard<'_>, ManagerError> {
        self.lock_until(verb::ACQUIRE, None)
            .map(|guard| guard.expect("without a deadline it waits for the lock"))
    }

    /// Locks if no other green thread holds it. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let lock = manager.rlock()?;
    /// let _guard = lock.lock()?;
    /// assert!(lock.try_lock()?.is_some());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn try_lock(&self) -> Result<Option<RLockGuard<'_>>, ManagerError> {
        self.lock_until(verb::TRY_ACQUIRE, None)
    }

    /// Locks, and waits for that at most `timeout`, [by the manager's account](super#a-kill-or-a-time-limit). `None` if another still holds it
    /// then.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let lock = manager.rlock()?;
    /// let limit = std::time::Duration::from_millis(1);
    /// assert!(lock.lock_timeout(limit)?.is_some());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<RLockGuard<'_>>, ManagerError> {
        self.lock_until(verb::ACQUIRE, Some(Time::after(timeout)))
    }

    fn lock_until(&self, verb: u8, deadline: Option<Time>) -> Result<Option<RLockGuard<'_>>, ManagerError> {
        let me = greenlet::current().id();
        let owner_died = match self.access.lock_again(me) {
            Some(owner_died) => owner_died,
            None => {
                let request = self.access.request(verb);
                let (grant, connection) = self.access.call_until(&request, deadline, Grant::take)?;
                if !grant.is_locked {
                    connection.give_back();
                    return Ok(None);
                }
                let owner_died = grant.owner_died;
                self.access.lock_first(Recursion { owner: me, depth: 1, owner_died, connection });
                owner_died
            }
        };
        let process = identity::own();
        Ok(Some(RLockGuard { lock: self, owner_died, process, of_this_thread: PhantomData }))
    }

    /// Says that what the lock guards is in order again, though a process has ended while it held it. Yields until that is said.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let lock = manager.rlock()?;
    /// lock.clear_poison()?;
    /// assert!(!lock.lock()?.owner_died());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn clear_poison(&self) -> Result<(), ManagerError> {
        self.access.ask(verb::CLEAR_LEFT)
    }
}

/// That the lock is held once more. Dropping the last one unlocks.
///
/// A drop does not wait: the manager hears of it a moment later.
#[must_use = "a guard that is dropped unlocks at once"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    owner_died: bool,
    /// In the child of a fork it is no guard.
    process: u64,
    /// It is the green thread's that has locked.
    of_this_thread: PhantomData<*const ()>,
}

impl RLockGuard<'_> {
    /// Returns `true` if a process had ended while it held the lock, when the first guard got it. Does not yield.
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert!(!manager.rlock()?.lock()?.owner_died());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn owner_died(&self) -> bool {
        self.owner_died
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        if self.process == identity::own()
            && let Some(connection) = self.lock.access.unlock_once()
        {
            connection.tell(&self.lock.access.request(verb::DROP));
        }
    }
}

impl fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RLockGuard").field("owner_died", &self.owner_died).finish_non_exhaustive()
    }
}
