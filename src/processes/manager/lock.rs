//! A lock between processes, given out by the manager.

use std::fmt;
use std::time::Duration;

use super::hall::Connection;
use super::message::{Grant, kind, verb};
use super::owner::Manager;
use super::proxy::proxy;
use crate::error::ManagerError;
use crate::process::Outgoing;
use crate::sys::clock::Time;

proxy! {
    /// A lock in a [`Manager`](super::Manager), made by [`Manager::lock`](super::Manager::lock).
    ///
    /// Those who wait are served in order of arrival, in whichever process they are. If a process is killed while it holds the lock, the
    /// next gets it, and learns that by [`owner_died`](LockGuard::owner_died). Each lock and unlock is a call, of tens of microseconds: a
    /// [`shared::Lock`](crate::processes::shared::Lock) takes nanoseconds, and knows no order between processes.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let manager = greenloop::processes::Manager::new()?;
    /// let lock = manager.lock()?;
    /// let theirs = lock.clone();
    /// let child = Process::start(move || -> () {
    ///     std::mem::forget(theirs.lock().unwrap());
    ///     std::process::abort(); // while it holds the lock
    /// })?;
    /// child.wait()?;
    /// let guard = lock.lock()?;
    /// assert!(guard.owner_died());
    /// lock.clear_poison()?; // what it guards is in order again
    /// drop(guard);
    /// assert!(!lock.lock()?.owner_died());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Lock
}

impl Manager {
    /// Makes a lock that nobody holds. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let lock = manager.lock()?;
    /// assert!(lock.try_lock()?.is_some());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn lock(&self) -> Result<Lock, ManagerError> {
        self.create::<()>(kind::LOCK, 0, &[]).map(Lock::new)
    }
}

impl Lock {
    /// Locks, and waits until nobody else holds it.
    ///
    /// Who holds it and locks it again waits for ever.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let lock = manager.lock()?;
    /// let guard = lock.lock()?;
    /// assert!(lock.try_lock()?.is_none());
    /// drop(guard);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn lock(&self) -> Result<LockGuard<'_>, ManagerError> {
        self.lock_until(verb::ACQUIRE, None)
            .map(|guard| guard.expect("without a deadline it waits for the lock"))
    }

    /// Locks if nobody holds it. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let lock = manager.lock()?;
    /// let guard = lock.try_lock()?;
    /// assert!(guard.is_some() && lock.try_lock()?.is_none());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn try_lock(&self) -> Result<Option<LockGuard<'_>>, ManagerError> {
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
    /// let lock = manager.lock()?;
    /// let _guard = lock.lock()?;
    /// assert!(lock.lock_timeout(std::time::Duration::from_millis(1))?.is_none());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<LockGuard<'_>>, ManagerError> {
        self.lock_until(verb::ACQUIRE, Some(Time::after(timeout)))
    }

    fn lock_until(&self, verb: u8, deadline: Option<Time>) -> Result<Option<LockGuard<'_>>, ManagerError> {
        let request = self.access.request(verb);
        let (grant, connection) = self.access.call_until(&request, deadline, Grant::take)?;
        if !grant.is_locked {
            connection.give_back();
            return Ok(None);
        }
        Ok(Some(LockGuard { lock: self, connection: Some(connection), owner_died: grant.owner_died }))
    }

    /// Returns `true` if a process has ended while it held the lock, and nobody has said since that all is in order.
    /// Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert!(!manager.lock()?.is_poisoned()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn is_poisoned(&self) -> Result<bool, ManagerError> {
        self.access.ask(verb::IS_LEFT)
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
    /// let lock = manager.lock()?;
    /// lock.clear_poison()?;
    /// assert!(!lock.is_poisoned()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn clear_poison(&self) -> Result<(), ManagerError> {
        self.access.ask(verb::CLEAR_LEFT)
    }
}

/// That the lock is held. Dropping it unlocks.
///
/// A drop does not wait: the manager hears of it a moment later. A child that is forked meanwhile does not hold the lock.
#[must_use = "a guard that is dropped unlocks at once"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
    /// The manager gives the lock to the next when this ends.
    connection: Option<Connection>,
    owner_died: bool,
}

impl<'a> LockGuard<'a> {
    /// Returns `true` if a process had ended while it held the lock, when this guard got it, so that what it guards may be half changed. It
    /// stays so for all who lock, until [`Lock::clear_poison`]. Does not yield.
    ///
    /// A panic or a kill of a green thread does not count: its guard unlocks as it is dropped. Nor does the end of a process that had not
    /// read yet that it has the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert!(!manager.lock()?.lock()?.owner_died());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn owner_died(&self) -> bool {
        self.owner_died
    }

    /// Unlocks, and waits until the manager has heard of it. Yields.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let lock = manager.lock()?;
    /// lock.lock()?.unlock()?;
    /// assert!(lock.try_lock()?.is_some());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn unlock(mut self) -> Result<(), ManagerError> {
        let connection = self.connection.take().ok_or(ManagerError::NotHeld)?;
        connection.finish(&self.lock.access, verb::RELEASE)
    }

    pub(super) fn manager(&self) -> u64 {
        self.lock.access.manager()
    }

    /// Gives the lock up for what `request` asks for, until the answer to that, which is the lock again.
    pub(super) fn wait(
        mut self,
        request: &Outgoing<'_>,
        object: u64,
        deadline: Option<Time>,
    ) -> Result<(LockGuard<'a>, bool), ManagerError> {
        let connection = self.connection.take().filter(Connection::is_own).ok_or(ManagerError::NotHeld)?;
        connection.send_at_once(request)?;
        let grant = connection.answer(object, deadline, Grant::take)??;
        let guard = LockGuard { lock: self.lock, connection: Some(connection), owner_died: grant.owner_died };
        Ok((guard, grant.is_notified))
    }
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.tell(&self.lock.access.request(verb::DROP));
        }
    }
}

impl fmt::Debug for LockGuard<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LockGuard").field("owner_died", &self.owner_died).finish_non_exhaustive()
    }
}
