//! The end that sends.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::choice::{Arm, Choice, Grant};
use super::shared::Channel;
use crate::error::{SendError, SendTimeoutError, TrySendError};
use crate::hub::waitlist::Ticket;
use crate::sys::clock::Time;

/// The end of a channel that sends. When the last clone is dropped, the channel disconnects.
///
/// # Examples
///
/// ```
/// use greenloop::channel::unbounded;
/// use greenloop::spawn;
///
/// let (sender, receiver) = unbounded();
/// for name in ["Ada", "Bob"] {
///     let sender = sender.clone();
///     spawn(move || sender.send(name));
/// }
/// drop(sender);
/// assert_eq!(receiver.into_iter().collect::<Vec<_>>(), ["Ada", "Bob"]);
/// ```
///
/// It is `Send` and `Sync` if `T` is `Send`:
///
/// ```compile_fail
/// fn is_send<T: Send>() {}
/// is_send::<greenloop::channel::Sender<std::rc::Rc<u32>>>();
/// ```
pub struct Sender<T> {
    pub(super) channel: Arc<Channel<T>>,
}

// What is inside is seen only in whole steps, each under the lock.
impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}

impl<T> Sender<T> {
    pub(super) fn new(channel: Arc<Channel<T>>) -> Sender<T> {
        Sender { channel }
    }

    /// Sends a value, and waits for room if there is none.
    ///
    /// If there is room, or a receiver waits, the call does not yield. Otherwise the calling green thread yields. It is woken by
    /// the receiver that makes room, or, at a rendezvous, takes the value; senders are woken in the order of their arrival. A
    /// rendezvous always yields, even if a receiver waits: when the call returns, the value has been taken.
    ///
    /// A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding. The value is dropped then, unless
    /// it has been taken.
    ///
    /// # Errors
    ///
    /// Returns [`SendError`] with the value if all receivers have gone.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::{SendError, bounded};
    ///
    /// let (sender, receiver) = bounded(1);
    /// assert_eq!(sender.send(1), Ok(()));
    /// drop(receiver);
    /// assert_eq!(sender.send(2), Err(SendError(2)));
    /// ```
    #[doc(alias = "put")]
    #[inline]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.channel.send(value, None).map_err(|error| SendError(error.into_inner()))
    }

    /// Sends a value if there is room or a receiver waits. Never waits.
    ///
    /// At a rendezvous the value is handed to the channel for the waiting receiver. The call does not wait until that receiver
    /// has run.
    ///
    /// # Errors
    ///
    /// Returns the value in [`TrySendError::Full`] if there is no room, and in [`TrySendError::Disconnected`] if all receivers
    /// have gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::{TrySendError, bounded};
    ///
    /// let (sender, receiver) = bounded(1);
    /// assert_eq!(sender.try_send(1), Ok(()));
    /// assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    /// drop(receiver);
    /// assert_eq!(sender.try_send(3), Err(TrySendError::Disconnected(3)));
    /// ```
    #[doc(alias = "put_nowait")]
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.channel.try_send(value)
    }

    /// Sends a value, and waits for at most `timeout` if there is no room.
    ///
    /// Apart from that, it is like [`send`](Sender::send).
    ///
    /// # Errors
    ///
    /// Returns the value, which has not been taken, in [`SendTimeoutError::Timeout`] if the time is over, and in
    /// [`SendTimeoutError::Disconnected`] if all receivers have gone.
    ///
    /// # Panics
    ///
    /// As [`send`](Sender::send).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::channel::{SendTimeoutError, bounded};
    ///
    /// let (sender, _receiver) = bounded(0);
    /// let late = sender.send_timeout(1, Duration::from_millis(1));
    /// assert_eq!(late, Err(SendTimeoutError::Timeout(1)));
    /// ```
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.channel.send(value, Some(Time::after(timeout)))
    }

    /// Sends a value, and waits until `deadline` at the latest if there is no room.
    ///
    /// Apart from that, it is like [`send`](Sender::send).
    ///
    /// # Errors
    ///
    /// As [`send_timeout`](Sender::send_timeout).
    ///
    /// # Panics
    ///
    /// As [`send`](Sender::send).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use greenloop::channel::bounded;
    ///
    /// let (sender, _receiver) = bounded(0);
    /// assert!(sender.send_deadline(1, Instant::now()).unwrap_err().is_timeout());
    /// ```
    pub fn send_deadline(&self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.channel.send(value, Some(Time::from_instant(deadline)))
    }

    /// Returns how many values are in the channel, without those that are reserved for waiting receivers. A rendezvous has 0.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = greenloop::channel::unbounded();
    /// sender.send(1).unwrap();
    /// assert_eq!(sender.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.channel.len()
    }

    /// Returns `true` if the channel has no value but those that are reserved for waiting receivers. A rendezvous is always
    /// empty.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = greenloop::channel::unbounded();
    /// assert!(sender.is_empty());
    /// sender.send(1).unwrap();
    /// assert!(!sender.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `true` if the channel holds as many values as it can. A rendezvous is always full.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = greenloop::channel::bounded(1);
    /// assert!(!sender.is_full());
    /// sender.send(1).unwrap();
    /// assert!(sender.is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        self.channel.is_full()
    }

    /// Returns how many values the channel can hold. `None` means any number.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::{bounded, unbounded};
    ///
    /// assert_eq!(bounded::<u32>(5).0.capacity(), Some(5));
    /// assert_eq!(unbounded::<u32>().0.capacity(), None);
    /// ```
    pub fn capacity(&self) -> Option<usize> {
        self.channel.capacity()
    }

    /// Returns `true` if both senders belong to the same channel.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::unbounded;
    ///
    /// let (sender, _receiver) = unbounded::<u32>();
    /// assert!(sender.same_channel(&sender.clone()));
    /// assert!(!sender.same_channel(&unbounded().0));
    /// ```
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.channel, &other.channel)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.channel.add_sender();
        Sender { channel: Arc::clone(&self.channel) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.channel.remove_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sender").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T> Sender<T> {
    /// Carries out what was granted.
    pub(crate) fn send_granted(&self, grant: Grant, value: T) -> Result<(), SendError<T>> {
        self.channel.send_granted(grant, value)
    }
}

impl<T> Arm for Sender<T> {
    fn attempt(&self) -> Option<Grant> {
        self.channel.choose_room()
    }

    fn is_ready(&self) -> bool {
        self.channel.has_room()
    }

    fn register(&self, choice: &Arc<Choice>, arm: usize) -> Option<Ticket> {
        self.channel.register_for_room(choice, arm)
    }

    fn unregister(&self, ticket: Ticket) {
        self.channel.unregister_for_room(ticket);
    }

    fn is_engaged(&self, _: &Arc<Choice>) -> bool {
        false
    }

    fn accept(&self, choice: &Arc<Choice>) -> Option<Grant> {
        Some(self.channel.accept_room(choice))
    }

    fn refuse(&self, choice: &Arc<Choice>) {
        self.channel.give_room_back(self.channel.accept_room(choice));
    }

    fn give_back(&self, grant: Grant) {
        self.channel.give_room_back(grant);
    }
}
