//! A queue.

use std::time::Duration;

use super::message::{pack, unpack, verb};
use super::proxy::proxy;
use crate::error::ManagerError;
use crate::process::Wire;
use crate::sys::clock::Time;

proxy! {
    /// A queue in a [`Manager`](super::Manager), made by [`Manager::queue`](super::Manager::queue).
    ///
    /// Those who wait are served in order of arrival, in whichever process they are.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.queue(0)?;
    /// let theirs = queue.clone();
    /// let child = Process::start(move || theirs.put(&11).unwrap())?;
    /// assert_eq!(queue.get()?, 11);
    /// child.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "QueueProxy")]
    Queue<T>
}

impl<T: Wire> Queue<T> {
    /// Puts an item in, and waits while the queue is full.
    ///
    /// When this returns, the manager has the item, whatever becomes of this process.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.queue(0)?;
    /// queue.put(&'a')?;
    /// assert_eq!(queue.get()?, 'a');
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn put(&self, item: &T) -> Result<(), ManagerError> {
        self.put_until(verb::PUT, item, None)
    }

    /// Puts an item in if there is room. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), [`ManagerError::Full`] and [`ManagerError::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.queue(1)?;
    /// queue.try_put(&'a')?;
    /// assert_eq!(queue.try_put(&'b'), Err(greenloop::error::ManagerError::Full));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn try_put(&self, item: &T) -> Result<(), ManagerError> {
        self.put_until(verb::TRY_PUT, item, None)
    }

    /// Like [`put`](Self::put), but waits at most `timeout`.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), [`ManagerError::TimedOut`] and [`ManagerError::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// use std::time::Duration;
    /// let queue = manager.queue(1)?;
    /// queue.put(&'a')?;
    /// assert!(queue.put_timeout(&'b', Duration::from_millis(1)).is_err());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn put_timeout(&self, item: &T, timeout: Duration) -> Result<(), ManagerError> {
        self.put_until(verb::PUT, item, Some(Time::after(timeout)))
    }

    fn put_until(&self, verb: u8, item: &T, deadline: Option<Time>) -> Result<(), ManagerError> {
        let mut request = self.access.request(verb);
        pack(item, &mut request);
        let ((), connection) = self.access.call_until(&request, deadline, <()>::take)?;
        connection.give_back();
        Ok(())
    }

    /// Takes the next item, and waits until there is one.
    ///
    /// If this process is killed before the item has come here, it is again the next of the queue.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::Closed`] if the queue is closed and empty.
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.queue(0)?;
    /// queue.put(&'a')?;
    /// assert_eq!(queue.get()?, 'a');
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn get(&self) -> Result<T, ManagerError> {
        self.get_until(verb::TAKE, None)
    }

    /// Takes the next item if there is one. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), [`ManagerError::Empty`] and [`ManagerError::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.queue::<char>(0)?;
    /// assert_eq!(queue.try_get(), Err(greenloop::error::ManagerError::Empty));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn try_get(&self) -> Result<T, ManagerError> {
        self.get_until(verb::TRY_TAKE, None)
    }

    /// Like [`get`](Self::get), but waits at most `timeout`.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), [`ManagerError::TimedOut`] and [`ManagerError::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// use std::time::Duration;
    /// let queue = manager.queue::<char>(0)?;
    /// assert!(queue.get_timeout(Duration::from_millis(1)).is_err());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, ManagerError> {
        self.get_until(verb::TAKE, Some(Time::after(timeout)))
    }

    fn get_until(&self, verb: u8, deadline: Option<Time>) -> Result<T, ManagerError> {
        let (item, connection) = self.access.call_until(&self.access.request(verb), deadline, unpack)?;
        connection.has_read(&self.access);
        Ok(item)
    }

    /// Returns how many items are in it. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.queue(0)?;
    /// queue.put(&'a')?;
    /// assert_eq!(queue.len()?, 1);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn len(&self) -> Result<usize, ManagerError> {
        self.access.ask(verb::LENGTH)
    }

    /// Returns `true` if no item is in it. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert!(manager.queue::<char>(0)?.is_empty()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|length| length == 0)
    }

    /// Closes it: nothing more is put in, and who gets takes what is there. Those who wait are told. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.queue(0)?;
    /// queue.put(&'a')?;
    /// queue.close()?;
    /// assert!(queue.put(&'b').is_err());
    /// assert_eq!(queue.get()?, 'a');
    /// assert_eq!(queue.get(), Err(greenloop::error::ManagerError::Closed));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn close(&self) -> Result<(), ManagerError> {
        self.access.ask(verb::CLOSE)
    }

    /// Returns `true` if it is closed. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert!(!manager.queue::<char>(0)?.is_closed()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn is_closed(&self) -> Result<bool, ManagerError> {
        self.access.ask(verb::IS_CLOSED)
    }
}
