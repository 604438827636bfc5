//! An event between processes.

use std::time::Duration;

use super::message::{kind, verb};
use super::owner::Manager;
use super::proxy::proxy;
use crate::error::ManagerError;
use crate::process::Wire;
use crate::sys::clock::Time;

proxy! {
    /// An event in a [`Manager`](super::Manager), made by [`Manager::event`](super::Manager::event).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let manager = greenloop::processes::Manager::new()?;
    /// let ready = manager.event()?;
    /// let theirs = ready.clone();
    /// let child = Process::start(move || theirs.wait().is_ok())?;
    /// ready.set()?;
    /// assert!(child.join()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Event
}

impl Manager {
    /// Makes an event that is not set. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert!(!manager.event()?.is_set()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn event(&self) -> Result<Event, ManagerError> {
        self.create::<()>(kind::EVENT, 0, &[]).map(Event::new)
    }
}

impl Event {
    /// Sets it, which wakes all that wait. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let event = manager.event()?;
    /// event.set()?;
    /// assert!(event.is_set()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn set(&self) -> Result<(), ManagerError> {
        self.access.ask(verb::SET)
    }

    /// Takes that back: who waits from now on waits until it is set again. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let event = manager.event()?;
    /// event.set()?;
    /// event.clear()?;
    /// assert!(!event.is_set()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.access.ask(verb::CLEAR)
    }

    /// Returns `true` if it is set. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert!(!manager.event()?.is_set()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn is_set(&self) -> Result<bool, ManagerError> {
        self.access.ask(verb::GET)
    }

    /// Waits until it is set.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let event = manager.event()?;
    /// event.set()?;
    /// assert_eq!(event.wait(), Ok(()));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn wait(&self) -> Result<(), ManagerError> {
        self.access.ask::<bool>(verb::WAIT).map(drop)
    }

    /// Waits until it is set, at most `timeout`. Returns `true` if it was set.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let event = manager.event()?;
    /// assert!(!event.wait_timeout(std::time::Duration::from_millis(1))?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        let (request, deadline) = (self.access.request(verb::WAIT), Time::after(timeout));
        let (is_set, connection) = self.access.call_until(&request, Some(deadline), bool::take)?;
        connection.give_back();
        Ok(is_set)
    }
}
