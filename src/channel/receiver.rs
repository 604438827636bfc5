//! The end that receives.

use std::fmt;
use std::iter::FusedIterator;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::choice::{Arm, Choice, Grant};
use super::shared::Channel;
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::hub::waitlist::Ticket;
use crate::sys::clock::Time;
use crate::task::{Notice, Subscription, Waitable};

/// The end of a channel that receives. When the last clone is dropped, the channel disconnects.
///
/// Each value goes to one of the clones. An iteration waits for values, and ends when the last [`Sender`](super::Sender) has gone
/// and the channel is empty.
///
/// # Examples
///
/// ```
/// use greenloop::channel::bounded;
/// use greenloop::spawn;
///
/// let (jobs, queue) = bounded(4);
/// let workers: Vec<_> = (0..3)
///     .map(|_| {
///         let queue = queue.clone();
///         spawn(move || queue.iter().sum::<u32>())
///     })
///     .collect();
/// for job in 1..=10 {
///     jobs.send(job).unwrap();
/// }
/// drop(jobs);
/// let total: u32 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
/// assert_eq!(total, 55);
/// ```
///
/// It is `Send` and `Sync` if `T` is `Send`:
///
/// ```compile_fail
/// fn is_send<T: Send>() {}
/// is_send::<greenloop::channel::Receiver<std::rc::Rc<u32>>>();
/// ```
pub struct Receiver<T> {
    pub(super) channel: Arc<Channel<T>>,
}

// What is inside is seen only in whole steps, each under the lock.
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Receiver<T> {
    pub(super) fn new(channel: Arc<Channel<T>>) -> Receiver<T> {
        Receiver { channel }
    }

    /// Receives the oldest value, and waits for one if there is none.
    ///
    /// If there is a value that is not reserved for another receiver, the call does not yield. Otherwise the calling green thread
    /// yields, and a sender wakes it; receivers are woken in the order of their arrival. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding. If a value was reserved for this receiver at that
    /// moment, it goes to the next one.
    ///
    /// # Errors
    ///
    /// Returns [`RecvError`] if the channel is empty and all senders have gone.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::{RecvError, unbounded};
    ///
    /// let (sender, receiver) = unbounded();
    /// sender.send(1).unwrap();
    /// drop(sender);
    /// assert_eq!(receiver.recv(), Ok(1));
    /// assert_eq!(receiver.recv(), Err(RecvError));
    /// ```
    #[doc(alias = "get")]
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.channel.recv(None).map_err(|_| RecvError)
    }

    /// Receives the oldest value that is not reserved for another receiver, if there is one. Does not wait for a value.
    ///
    /// At a rendezvous the call takes the value of a sender that waits. A sender that waits in [`select!`](crate::select!) makes
    /// its value only when it is chosen: the calling green thread then yields until it has done so, and neither a kill nor a time
    /// limit ends that. In a [hub callback](crate::hub#callbacks), which may not wait, such a sender is left alone.
    ///
    /// # Errors
    ///
    /// Returns [`TryRecvError::Empty`] if there is no value, and [`TryRecvError::Disconnected`] if the channel is empty and all
    /// senders have gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::{TryRecvError, unbounded};
    ///
    /// let (sender, receiver) = unbounded();
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.send(1).unwrap();
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    #[doc(alias = "get_nowait")]
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.channel.try_recv()
    }

    /// Receives the oldest value, and waits for one for at most `timeout`.
    ///
    /// Apart from that, it is like [`recv`](Receiver::recv).
    ///
    /// # Errors
    ///
    /// Returns [`RecvTimeoutError::Timeout`] if the time is over, and [`RecvTimeoutError::Disconnected`] if the channel is empty
    /// and all senders have gone.
    ///
    /// # Panics
    ///
    /// As [`recv`](Receiver::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::channel::{RecvTimeoutError, unbounded};
    ///
    /// let (_sender, receiver) = unbounded::<u32>();
    /// assert_eq!(receiver.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.channel.recv(Some(Time::after(timeout)))
    }

    /// Receives the oldest value, and waits for one until `deadline` at the latest.
    ///
    /// Apart from that, it is like [`recv`](Receiver::recv).
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Receiver::recv_timeout).
    ///
    /// # Panics
    ///
    /// As [`recv`](Receiver::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use greenloop::channel::unbounded;
    ///
    /// let (_sender, receiver) = unbounded::<u32>();
    /// assert!(receiver.recv_deadline(Instant::now()).unwrap_err().is_timeout());
    /// ```
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.channel.recv(Some(Time::from_instant(deadline)))
    }

    /// Returns an iterator that receives values, and waits for each, until the channel is empty and all senders have gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenloop::channel::unbounded();
    /// sender.send(1).unwrap();
    /// sender.send(2).unwrap();
    /// drop(sender);
    /// assert_eq!(receiver.iter().collect::<Vec<_>>(), [1, 2]);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// Returns an iterator that receives the values that are there, and ends where it would have to wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenloop::channel::unbounded();
    /// sender.send(1).unwrap();
    /// sender.send(2).unwrap();
    /// assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 2]);
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }

    /// Returns how many values are in the channel, without those that are reserved for waiting receivers. A rendezvous has 0.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenloop::channel::unbounded();
    /// sender.send(1).unwrap();
    /// assert_eq!(receiver.len(), 1);
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
    /// let (sender, receiver) = greenloop::channel::bounded(0);
    /// assert!(receiver.is_empty());
    /// # drop::<greenloop::channel::Sender<u32>>(sender);
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `true` if the channel holds as many values as it can. A rendezvous is always full.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_sender, receiver) = greenloop::channel::bounded::<u32>(1);
    /// assert!(!receiver.is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        self.channel.is_full()
    }

    /// Returns how many values the channel can hold. `None` means any number.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::channel::bounded::<u32>(5).1.capacity(), Some(5));
    /// ```
    pub fn capacity(&self) -> Option<usize> {
        self.channel.capacity()
    }

    /// Returns `true` if both receivers belong to the same channel. All that [`never`](crate::channel::never) makes do.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::unbounded;
    ///
    /// let (_sender, receiver) = unbounded::<u32>();
    /// assert!(receiver.same_channel(&receiver.clone()));
    /// assert!(!receiver.same_channel(&unbounded().1));
    /// ```
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Arc::ptr_eq(&self.channel, &other.channel) || self.channel.is_never && other.channel.is_never
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.channel.add_receiver();
        Receiver { channel: Arc::clone(&self.channel) }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.channel.remove_receiver();
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Receiver").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// An iterator over the values of a channel, which waits for each. [`Receiver::iter`] returns it.
#[derive(Clone)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

/// An iterator over the values that are in a channel, which never waits. [`Receiver::try_iter`] returns it.
#[derive(Clone)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct TryIter<'a, T> {
    receiver: &'a Receiver<T>,
}

/// An iterator over the values of a channel that owns the receiver.
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct IntoIter<T> {
    receiver: Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

// A channel that is empty and disconnected stays so.
impl<T> FusedIterator for Iter<'_, T> {}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> FusedIterator for IntoIter<T> {}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self }
    }
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Iter { .. }")
    }
}

impl<T> fmt::Debug for TryIter<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TryIter { .. }")
    }
}

impl<T> fmt::Debug for IntoIter<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("IntoIter { .. }")
    }
}

impl<T> Receiver<T> {
    /// Carries out what was granted.
    pub(crate) fn take_granted(&self, grant: Grant) -> Result<T, RecvError> {
        self.channel.take_granted(grant)
    }
}

impl<T> Arm for Receiver<T> {
    fn attempt(&self) -> Option<Grant> {
        self.channel.choose_value()
    }

    fn is_ready(&self) -> bool {
        self.channel.has_value()
    }

    fn register(&self, choice: &Arc<Choice>, arm: usize) -> Option<Ticket> {
        self.channel.register_for_value(choice, arm)
    }

    fn unregister(&self, ticket: Ticket) {
        self.channel.unregister_for_value(ticket);
    }

    fn deadline(&self) -> Option<Instant> {
        self.channel.due()
    }

    fn is_engaged(&self, choice: &Arc<Choice>) -> bool {
        self.channel.is_engaged(choice)
    }

    fn accept(&self, choice: &Arc<Choice>) -> Option<Grant> {
        self.channel.accept_value(choice)
    }

    fn refuse(&self, choice: &Arc<Choice>) {
        self.channel.refuse_value(choice);
    }

    fn give_back(&self, grant: Grant) {
        self.channel.give_value_back(grant);
    }
}

/// Ready when there is a value that is promised to nobody, or the channel is disconnected. A wait receives nothing.
impl<T> Waitable for Receiver<T> {
    fn is_ready(&self) -> bool {
        self.channel.has_value()
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        self.channel.watch(notice)
    }

    fn unsubscribe(&self, subscription: Subscription) {
        self.channel.unwatch(subscription);
    }

    fn ready_at(&self) -> Option<Instant> {
        self.channel.due()
    }
}
