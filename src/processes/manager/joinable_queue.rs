//! A queue whose items are marked done.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use super::hall::{Access, Connection};
use super::message::{unpack, verb};
use super::proxy::proxy_on;
use super::queue::Queue;
use crate::error::ManagerError;
use crate::process::Wire;
use crate::sys::clock::Time;

proxy_on! {
    /// A queue whose items are marked done, made by
    /// [`Manager::joinable_queue`](super::Manager::joinable_queue). It has the methods of a [`Queue`] too.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.joinable_queue(0)?;
    /// queue.put(&11)?;
    /// let theirs = queue.clone();
    /// let child = Process::start(move || {
    ///     let lease = theirs.lease().unwrap();
    ///     let item = *lease;
    ///     lease.done().unwrap();
    ///     item
    /// })?;
    /// queue.join()?;
    /// assert_eq!(child.join()?, 11);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    JoinableQueue<T> on Queue
}

impl<T: Wire> JoinableQueue<T> {
    /// Marks an item as done that was got with [`get`](Queue::get). Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::TooMany`] if all that was put is done.
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.joinable_queue(0)?;
    /// queue.put(&'a')?;
    /// queue.get()?;
    /// queue.task_done()?;
    /// assert!(queue.task_done().is_err());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn task_done(&self) -> Result<(), ManagerError> {
        self.access().ask(verb::TASK_DONE)
    }

    /// Waits until all items that were put are done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.joinable_queue(0)?;
    /// queue.put(&'a')?;
    /// queue.lease()?.done()?;
    /// assert_eq!(queue.join(), Ok(()));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn join(&self) -> Result<(), ManagerError> {
        self.access().ask(verb::JOIN)
    }

    /// Like [`join`](JoinableQueue::join), but waits at most `timeout`.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::TimedOut`].
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// use std::time::Duration;
    /// let queue = manager.joinable_queue(0)?;
    /// queue.put(&'a')?;
    /// assert!(queue.join_timeout(Duration::from_millis(1)).is_err());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), ManagerError> {
        let (request, deadline) = (self.access().request(verb::JOIN), Time::after(timeout));
        let ((), connection) = self.access().call_until(&request, Some(deadline), <()>::take)?;
        connection.give_back();
        Ok(())
    }

    /// Returns how many items were put and are not done. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.joinable_queue(0)?;
    /// queue.put(&'a')?;
    /// queue.get()?;
    /// assert_eq!(queue.unfinished()?, 1);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn unfinished(&self) -> Result<usize, ManagerError> {
        self.access().ask(verb::UNFINISHED)
    }

    /// Takes the next item until it is marked done, and waits until there is one.
    ///
    /// If this process ends before that, whichever way, or the [`Lease`] is dropped, the item is again the next of the queue: it is worked
    /// on at least once, and [`join`](JoinableQueue::join) waits for it. So is an item that does not decode here.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::Closed`] if the queue is closed and empty.
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.joinable_queue(0)?;
    /// queue.put(&'a')?;
    /// drop(queue.lease()?); // given up
    /// let lease = queue.lease()?;
    /// assert_eq!(*lease, 'a');
    /// lease.done()?;
    /// assert!(queue.is_empty()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn lease(&self) -> Result<Lease<T>, ManagerError> {
        self.lease_until(verb::LEASE, None)
    }

    /// Like [`lease`](JoinableQueue::lease), if there is an item. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), [`ManagerError::Empty`] and [`ManagerError::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.joinable_queue::<char>(0)?;
    /// assert!(queue.try_lease().is_err());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn try_lease(&self) -> Result<Lease<T>, ManagerError> {
        self.lease_until(verb::TRY_LEASE, None)
    }

    /// Like [`lease`](JoinableQueue::lease), but waits at most `timeout`.
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
    /// let queue = manager.joinable_queue::<char>(0)?;
    /// assert!(queue.lease_timeout(Duration::from_millis(1)).is_err());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn lease_timeout(&self, timeout: Duration) -> Result<Lease<T>, ManagerError> {
        self.lease_until(verb::LEASE, Some(Time::after(timeout)))
    }

    fn lease_until(&self, verb: u8, deadline: Option<Time>) -> Result<Lease<T>, ManagerError> {
        let request = self.access().request(verb);
        let (item, connection) = self.access().call_until(&request, deadline, unpack)?;
        Ok(Lease { item, connection: Some(connection), access: self.access().clone() })
    }
}

/// An item of a [`JoinableQueue`] that is being worked on. Dropping it gives the item back.
#[must_use = "a lease that is dropped gives the item back"]
pub struct Lease<T> {
    item: T,
    /// Until it is done.
    connection: Option<Connection>,
    access: Access,
}

impl<T> Lease<T> {
    /// Marks the item as done. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::NotHeld`] if the lease is the parent process's. [`ManagerError::TooMany`] if
    /// [`task_done`](JoinableQueue::task_done) has been called for it: the lease has ended then.
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.joinable_queue(0)?;
    /// queue.put(&'a')?;
    /// queue.lease()?.done()?;
    /// assert_eq!(queue.unfinished()?, 0);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn done(mut self) -> Result<(), ManagerError> {
        let connection = self.connection.take().ok_or(ManagerError::NotHeld)?;
        connection.finish(&self.access, verb::LEASE_DONE)
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.tell(&self.access.request(verb::LEASE_BACK));
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Lease<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lease").field("item", &self.item).finish_non_exhaustive()
    }
}
