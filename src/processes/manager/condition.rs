//! A condition between processes.

use std::time::Duration;

use super::lock::LockGuard;
use super::message::{kind, verb};
use super::owner::Manager;
use super::proxy::proxy;
use crate::error::ManagerError;
use crate::process::Wire;
use crate::sys::clock::Time;

proxy! {
    /// A condition in a [`Manager`](super::Manager), made by [`Manager::condition`](super::Manager::condition).
    ///
    /// It is std's `Condvar` between processes: who waits gives up a [`Lock`](super::Lock) meanwhile. Nobody wakes who was not notified.
    /// If one that was notified is killed before it has the lock again, the next goes on in its place.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let manager = greenloop::processes::Manager::new()?;
    /// let (lock, changed, ready) = (manager.lock()?, manager.condition()?, manager.value(false)?);
    /// let theirs = (lock.clone(), changed.clone(), ready.clone());
    /// let child = Process::start(move || {
    ///     let (lock, changed, ready) = theirs;
    ///     let _guard = lock.lock().unwrap();
    ///     ready.set(&true).unwrap();
    ///     changed.notify_one().unwrap();
    /// })?;
    /// let mut guard = lock.lock()?;
    /// while !ready.get()? {
    ///     guard = changed.wait(guard)?;
    /// }
    /// drop(guard);
    /// child.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Condition
}

impl Manager {
    /// Makes a condition. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let condition = manager.condition()?;
    /// assert_eq!(condition.notify_all()?, 0);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn condition(&self) -> Result<Condition, ManagerError> {
        self.create::<()>(kind::CONDITION, 0, &[]).map(Condition::new)
    }
}

impl Condition {
    /// Gives the lock up, waits until somebody notifies, and locks again.
    ///
    /// A kill, or an enclosing [`with_timeout`](crate::with_timeout), ends the wait without the lock.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::NotHeld`] if the lock is of another manager, or the guard the parent process's.
    /// The lock is not held then.
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let (lock, condition) = (manager.lock()?, manager.condition()?);
    /// let waiter = greenloop::spawn({
    ///     let (lock, condition) = (lock.clone(), condition.clone());
    ///     move || condition.wait(lock.lock()?).map(drop)
    /// });
    /// while condition.notify_one()? == 0 {
    ///     greenloop::yield_now();
    /// }
    /// assert_eq!(waiter.join().unwrap(), Ok(()));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn wait<'a>(&self, guard: LockGuard<'a>) -> Result<LockGuard<'a>, ManagerError> {
        self.wait_until(guard, None).map(|(guard, _)| guard)
    }

    /// Like [`wait`](Condition::wait), but waits at most `timeout` for a notification. Returns `true` beside the guard if there was one.
    ///
    /// It locks again in any case, however long that takes.
    ///
    /// # Errors
    ///
    /// As [`wait`](Condition::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let (lock, condition) = (manager.lock()?, manager.condition()?);
    /// let limit = std::time::Duration::from_millis(1);
    /// let (_guard, is_notified) = condition.wait_timeout(lock.lock()?, limit)?;
    /// assert!(!is_notified);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn wait_timeout<'a>(
        &self,
        guard: LockGuard<'a>,
        timeout: Duration,
    ) -> Result<(LockGuard<'a>, bool), ManagerError> {
        self.wait_until(guard, Some(Time::after(timeout)))
    }

    /// Waits until `condition`, which runs under the lock, is false.
    ///
    /// # Errors
    ///
    /// As [`wait`](Condition::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let (lock, condition) = (manager.lock()?, manager.condition()?);
    /// let mut looks = 0;
    /// let _guard = condition.wait_while(lock.lock()?, || {
    ///     looks += 1;
    ///     false
    /// })?;
    /// assert_eq!(looks, 1);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn wait_while<'a>(
        &self,
        mut guard: LockGuard<'a>,
        mut condition: impl FnMut() -> bool,
    ) -> Result<LockGuard<'a>, ManagerError> {
        while condition() {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Like [`wait_while`](Condition::wait_while), but waits at most `timeout`. Returns beside the guard what `condition` was last.
    ///
    /// # Errors
    ///
    /// As [`wait`](Condition::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let (lock, condition) = (manager.lock()?, manager.condition()?);
    /// let limit = std::time::Duration::from_millis(1);
    /// let (_guard, still) = condition.wait_timeout_while(lock.lock()?, limit, || true)?;
    /// assert!(still);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn wait_timeout_while<'a>(
        &self,
        mut guard: LockGuard<'a>,
        timeout: Duration,
        mut condition: impl FnMut() -> bool,
    ) -> Result<(LockGuard<'a>, bool), ManagerError> {
        let deadline = Time::after(timeout);
        loop {
            if !condition() {
                return Ok((guard, false));
            }
            let (locked, is_notified) = self.wait_until(guard, Some(deadline))?;
            guard = locked;
            if !is_notified {
                let still = condition();
                return Ok((guard, still));
            }
        }
    }

    fn wait_until<'a>(
        &self,
        guard: LockGuard<'a>,
        deadline: Option<Time>,
    ) -> Result<(LockGuard<'a>, bool), ManagerError> {
        if guard.manager() != self.access.manager() {
            return Err(ManagerError::NotHeld);
        }
        guard.wait(&self.access.request(verb::WAIT), self.access.object(), deadline)
    }

    /// Wakes the one that has waited longest. Returns how many it was. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert_eq!(manager.condition()?.notify_one()?, 0);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn notify_one(&self) -> Result<usize, ManagerError> {
        self.notify(1)
    }

    /// Wakes at most so many of those that wait. Returns how many it was. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert_eq!(manager.condition()?.notify(3)?, 0);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn notify(&self, count: usize) -> Result<usize, ManagerError> {
        let mut request = self.access.request(verb::NOTIFY);
        request.put_bytes(&(count as u64).to_le_bytes());
        self.access.call(&request, usize::take)
    }

    /// Wakes all that wait. Returns how many it was. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert_eq!(manager.condition()?.notify_all()?, 0);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn notify_all(&self) -> Result<usize, ManagerError> {
        self.notify(usize::MAX)
    }
}
