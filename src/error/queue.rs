//! What puts and gets of queues fail with.

use std::fmt;

use thiserror::Error;

/// The error of [`Ordered::put`](crate::queue::Ordered::put) and its siblings: a queue did not take an item. It contains the
/// item.
#[doc(alias("Full", "QueueFull"))]
#[derive(Clone, Copy, PartialEq, Eq, Error)]
pub enum PutError<T> {
    /// There was no room, or none before the time was over. `put` without a time limit never returns it.
    #[error("putting into a full queue")]
    Full(T),
    /// The queue was shut down.
    #[error("putting into a queue that was shut down")]
    ShutDown(T),
}

impl<T> PutError<T> {
    /// Returns the item that was not put.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = greenloop::queue::Queue::unbounded();
    /// queue.shutdown();
    /// assert_eq!(queue.put("back").unwrap_err().into_inner(), "back");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            PutError::Full(item) | PutError::ShutDown(item) => item,
        }
    }

    /// Returns `true` if there was no room.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = greenloop::queue::Queue::bounded(1);
    /// queue.put(1).unwrap();
    /// assert!(queue.try_put(2).unwrap_err().is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        matches!(self, PutError::Full(_))
    }

    /// Returns `true` if the queue was shut down.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = greenloop::queue::Queue::unbounded();
    /// queue.shutdown();
    /// assert!(queue.put(1).unwrap_err().is_shut_down());
    /// ```
    pub fn is_shut_down(&self) -> bool {
        matches!(self, PutError::ShutDown(_))
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_full() { "Full(..)" } else { "ShutDown(..)" })
    }
}

/// The error of [`Ordered::get`](crate::queue::Ordered::get), [`Ordered::peek`](crate::queue::Ordered::peek) and their siblings:
/// a queue gave no item.
#[doc(alias("Empty", "QueueEmpty"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GetError {
    /// There was no item but those that are reserved for other callers, or none before the time was over. `get` without a time
    /// limit never returns it.
    #[error("getting from an empty queue")]
    Empty,
    /// The queue is empty and was shut down.
    #[error("getting from an empty queue that was shut down")]
    ShutDown,
}

impl GetError {
    /// Returns `true` if there was no item yet.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = greenloop::queue::Queue::<u32>::unbounded();
    /// assert!(queue.try_get().unwrap_err().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        matches!(self, GetError::Empty)
    }

    /// Returns `true` if the queue was empty and shut down.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = greenloop::queue::Queue::<u32>::unbounded();
    /// queue.shutdown();
    /// assert!(queue.get().unwrap_err().is_shut_down());
    /// ```
    pub fn is_shut_down(&self) -> bool {
        matches!(self, GetError::ShutDown)
    }
}
