//! Semaphores between processes.

use std::fmt;
use std::time::Duration;

use super::hall::Connection;
use super::message::{kind, verb};
use super::owner::Manager;
use super::proxy::{proxy, proxy_on};
use crate::error::ManagerError;
use crate::process::Wire;
use crate::sys::clock::Time;

proxy! {
    /// A semaphore in a [`Manager`](super::Manager), made by [`Manager::semaphore`](super::Manager::semaphore).
    ///
    /// Those who wait are served in order of arrival. A process that is killed gives its permits back.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let manager = greenloop::processes::Manager::new()?;
    /// let room = manager.semaphore(1)?;
    /// let theirs = room.clone();
    /// let child = Process::start(move || -> () {
    ///     std::mem::forget(theirs.acquire().unwrap());
    ///     std::process::abort(); // with the permit
    /// })?;
    /// child.wait()?;
    /// let _permit = room.acquire()?;
    /// assert_eq!(room.available_permits()?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Semaphore
}

proxy_on! {
    /// A semaphore that never has more permits than it began with, made by
    /// [`Manager::bounded_semaphore`](super::Manager::bounded_semaphore). It has the methods of a [`Semaphore`] too.
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let room = manager.bounded_semaphore(1)?;
    /// assert!(room.release(1).is_err());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    BoundedSemaphore on Semaphore
}

impl Manager {
    /// Makes a semaphore with so many permits. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let room = manager.semaphore(2)?;
    /// assert_eq!(room.available_permits()?, 2);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn semaphore(&self, permits: usize) -> Result<Semaphore, ManagerError> {
        self.create::<()>(kind::SEMAPHORE, permits as u64, &[]).map(Semaphore::new)
    }

    /// Makes a semaphore with so many permits, and never more. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let room = manager.bounded_semaphore(2)?;
    /// assert_eq!(room.release(1), Err(greenloop::error::ManagerError::TooMany));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn bounded_semaphore(&self, permits: usize) -> Result<BoundedSemaphore, ManagerError> {
        self.create::<()>(kind::BOUNDED_SEMAPHORE, permits as u64, &[]).map(BoundedSemaphore::new)
    }
}

impl Semaphore {
    /// Takes a permit, and waits until there is one.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let room = manager.semaphore(1)?;
    /// let permit = room.acquire()?;
    /// assert!(room.try_acquire()?.is_none());
    /// drop(permit);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn acquire(&self) -> Result<SemaphorePermit<'_>, ManagerError> {
        self.acquire_until(verb::ACQUIRE, None)
            .map(|permit| permit.expect("without a deadline it waits for one"))
    }

    /// Takes a permit if there is one. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let room = manager.semaphore(0)?;
    /// assert!(room.try_acquire()?.is_none());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn try_acquire(&self) -> Result<Option<SemaphorePermit<'_>>, ManagerError> {
        self.acquire_until(verb::TRY_ACQUIRE, None)
    }

    /// Takes a permit, and waits for that at most `timeout`, [by the manager's account](super#a-kill-or-a-time-limit). `None` if there is none
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
    /// let room = manager.semaphore(0)?;
    /// assert!(room.acquire_timeout(std::time::Duration::from_millis(1))?.is_none());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<SemaphorePermit<'_>>, ManagerError> {
        self.acquire_until(verb::ACQUIRE, Some(Time::after(timeout)))
    }

    fn acquire_until(
        &self,
        verb: u8,
        deadline: Option<Time>,
    ) -> Result<Option<SemaphorePermit<'_>>, ManagerError> {
        let request = self.access.request(verb);
        let (is_acquired, connection) = self.access.call_until(&request, deadline, bool::take)?;
        if !is_acquired {
            connection.give_back();
            return Ok(None);
        }
        Ok(Some(SemaphorePermit { semaphore: self, connection: Some(connection) }))
    }

    /// Adds permits, which nobody need have taken before. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::TooMany`] if there would be more than its bound.
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let room = manager.semaphore(0)?;
    /// room.release(2)?;
    /// assert_eq!(room.available_permits()?, 2);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn release(&self, permits: usize) -> Result<(), ManagerError> {
        let mut request = self.access.request(verb::ADD);
        request.put_bytes(&(permits as u64).to_le_bytes());
        self.access.call(&request, <()>::take)
    }

    /// Returns how many permits can be had. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert_eq!(manager.semaphore(3)?.available_permits()?, 3);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn available_permits(&self) -> Result<usize, ManagerError> {
        self.access.ask(verb::LENGTH)
    }
}

/// A permit of a [`Semaphore`]. Dropping it gives the permit back.
///
/// A drop does not wait: the manager hears of it a moment later.
#[must_use = "a permit that is dropped is given back at once"]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    connection: Option<Connection>,
}

impl SemaphorePermit<'_> {
    /// Gives the permit back, and waits until the manager has it. Yields.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::NotHeld`] if it is the parent process's. [`ManagerError::TooMany`] if somebody
    /// has [released](Semaphore::release) what nobody had taken, so that there would be more than the bound: the permit is gone then.
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let room = manager.semaphore(1)?;
    /// room.acquire()?.give_back()?;
    /// assert_eq!(room.available_permits()?, 1);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn give_back(mut self) -> Result<(), ManagerError> {
        let connection = self.connection.take().ok_or(ManagerError::NotHeld)?;
        connection.finish(&self.semaphore.access, verb::RELEASE)
    }

    /// Keeps the permit for good: it is not given back, also when this process ends, until somebody calls
    /// [`release`](Semaphore::release). Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::NotHeld`] if it is the parent process's.
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let room = manager.semaphore(1)?;
    /// room.acquire()?.forget()?;
    /// assert_eq!(room.available_permits()?, 0);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn forget(mut self) -> Result<(), ManagerError> {
        let connection = self.connection.take().ok_or(ManagerError::NotHeld)?;
        connection.finish(&self.semaphore.access, verb::FORGET)
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.tell(&self.semaphore.access.request(verb::DROP));
        }
    }
}

impl fmt::Debug for SemaphorePermit<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SemaphorePermit").finish_non_exhaustive()
    }
}
