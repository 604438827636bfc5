//! What sends and receives of channels fail with.

use std::fmt;

use thiserror::Error;

/// The error of [`Sender::send`](crate::channel::Sender::send) if all receivers have gone. It contains the value.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[error("sending on a disconnected channel")]
pub struct SendError<T>(pub T);

impl<T> SendError<T> {
    /// Returns the value that was not sent.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenloop::channel::unbounded();
    /// drop(receiver);
    /// assert_eq!(sender.send("back").unwrap_err().into_inner(), "back");
    /// ```
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SendError(..)")
    }
}

/// The error of [`Sender::try_send`](crate::channel::Sender::try_send). It contains the value that was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
pub enum TrySendError<T> {
    /// There is no room, and no receiver waits.
    #[error("sending on a full channel")]
    Full(T),
    /// All receivers have gone.
    #[error("sending on a disconnected channel")]
    Disconnected(T),
}

impl<T> TrySendError<T> {
    /// Returns the value that was not sent.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = greenloop::channel::bounded(0);
    /// assert_eq!(sender.try_send("back").unwrap_err().into_inner(), "back");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(value) | TrySendError::Disconnected(value) => value,
        }
    }

    /// Returns `true` if there was no room.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = greenloop::channel::bounded(0);
    /// assert!(sender.try_send(1).unwrap_err().is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        matches!(self, TrySendError::Full(_))
    }

    /// Returns `true` if all receivers have gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenloop::channel::bounded(0);
    /// drop(receiver);
    /// assert!(sender.try_send(1).unwrap_err().is_disconnected());
    /// ```
    pub fn is_disconnected(&self) -> bool {
        matches!(self, TrySendError::Disconnected(_))
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_full() { "Full(..)" } else { "Disconnected(..)" })
    }
}

impl<T> From<SendError<T>> for TrySendError<T> {
    fn from(error: SendError<T>) -> TrySendError<T> {
        TrySendError::Disconnected(error.0)
    }
}

/// The error of [`Sender::send_timeout`](crate::channel::Sender::send_timeout). It contains the value that was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
pub enum SendTimeoutError<T> {
    /// The time was over before there was room, or at a rendezvous a receiver.
    #[error("timed out waiting on send operation")]
    Timeout(T),
    /// All receivers have gone.
    #[error("sending on a disconnected channel")]
    Disconnected(T),
}

impl<T> SendTimeoutError<T> {
    /// Returns the value that was not sent.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = greenloop::channel::bounded(0);
    /// let late = sender.send_timeout("back", std::time::Duration::from_millis(1));
    /// assert_eq!(late.unwrap_err().into_inner(), "back");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            SendTimeoutError::Timeout(value) | SendTimeoutError::Disconnected(value) => value,
        }
    }

    /// Returns `true` if the time was over.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = greenloop::channel::bounded(0);
    /// let late = sender.send_timeout(1, std::time::Duration::from_millis(1));
    /// assert!(late.unwrap_err().is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, SendTimeoutError::Timeout(_))
    }

    /// Returns `true` if all receivers have gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenloop::channel::bounded(0);
    /// drop(receiver);
    /// let late = sender.send_timeout(1, std::time::Duration::from_millis(1));
    /// assert!(late.unwrap_err().is_disconnected());
    /// ```
    pub fn is_disconnected(&self) -> bool {
        matches!(self, SendTimeoutError::Disconnected(_))
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SendTimeoutError(..)")
    }
}

impl<T> From<SendError<T>> for SendTimeoutError<T> {
    fn from(error: SendError<T>) -> SendTimeoutError<T> {
        SendTimeoutError::Disconnected(error.0)
    }
}

/// The error of [`Receiver::recv`](crate::channel::Receiver::recv) if the channel is empty and all senders have gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("receiving on an empty and disconnected channel")]
pub struct RecvError;

/// The error of [`Receiver::try_recv`](crate::channel::Receiver::try_recv).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TryRecvError {
    /// There is no value but those that are reserved for other receivers.
    #[error("receiving on an empty channel")]
    Empty,
    /// The channel is empty, and all senders have gone.
    #[error("receiving on an empty and disconnected channel")]
    Disconnected,
}

impl TryRecvError {
    /// Returns `true` if there was no value yet.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_sender, receiver) = greenloop::channel::unbounded::<u32>();
    /// assert!(receiver.try_recv().unwrap_err().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        matches!(self, TryRecvError::Empty)
    }

    /// Returns `true` if the channel was empty and all senders have gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenloop::channel::unbounded::<u32>();
    /// drop(sender);
    /// assert!(receiver.try_recv().unwrap_err().is_disconnected());
    /// ```
    pub fn is_disconnected(&self) -> bool {
        matches!(self, TryRecvError::Disconnected)
    }
}

impl From<RecvError> for TryRecvError {
    fn from(_: RecvError) -> TryRecvError {
        TryRecvError::Disconnected
    }
}

/// The error of [`Receiver::recv_timeout`](crate::channel::Receiver::recv_timeout).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecvTimeoutError {
    /// The time was over before a value came.
    #[error("timed out waiting on receive operation")]
    Timeout,
    /// The channel is empty, and all senders have gone.
    #[error("channel is empty and disconnected")]
    Disconnected,
}

impl RecvTimeoutError {
    /// Returns `true` if the time was over.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_sender, receiver) = greenloop::channel::unbounded::<u32>();
    /// let late = receiver.recv_timeout(std::time::Duration::from_millis(1));
    /// assert!(late.unwrap_err().is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, RecvTimeoutError::Timeout)
    }

    /// Returns `true` if the channel was empty and all senders have gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenloop::channel::unbounded::<u32>();
    /// drop(sender);
    /// let late = receiver.recv_timeout(std::time::Duration::from_millis(1));
    /// assert!(late.unwrap_err().is_disconnected());
    /// ```
    pub fn is_disconnected(&self) -> bool {
        matches!(self, RecvTimeoutError::Disconnected)
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(_: RecvError) -> RecvTimeoutError {
        RecvTimeoutError::Disconnected
    }
}
