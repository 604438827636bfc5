//! Channels between processes.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::handover;
use super::line::{Kind, LARGEST, Limit, Line, Packet, explain};
use super::wire::{Codec, Incoming, Outgoing, Plain, Wire, undecodable};
use crate::io::{Interest, Watches};
use crate::sync::Semaphore;
use crate::sys::clock::Time;
use crate::sys::lock::Lock;
use crate::sys::poll;
use crate::task::{Notice, Subscription, Waitable};

/// How many bytes of small messages are put into one packet: eight such are in a socket's buffer.
const BATCH: usize = 24 * 1024;

/// Makes a channel whose ends may be in different processes.
///
/// Give an end to a child by moving it into the closure of [`Process::start`](super::Process::start): the parent's copy is closed then,
/// and the child closes all other ends. An end can also be sent over another channel. There may be any number of ends on both sides, in any
/// number of processes; each message goes to one receiver.
///
/// A message is in the channel whole or not at all, whoever is killed at whatever moment. The channel holds some 200 KB, a sender waits
/// for room.
///
/// # Errors
///
/// No descriptor is left.
///
/// # Examples
///
/// ```
/// use greenloop::process::{Process, channel};
///
/// let (sender, receiver) = channel::<String>()?;
/// let child = Process::start(move || sender.send(&"from the child".to_owned()).is_ok())?;
/// assert_eq!(receiver.recv()?, "from the child");
/// assert!(receiver.recv().is_err()); // the child was the only sender
/// assert!(child.join()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn channel<T: Wire>() -> io::Result<(Sender<T>, Receiver<T>)> {
    channel_with()
}

/// Like [`channel`], with a format of your own.
///
/// # Errors
///
/// As [`channel`].
///
/// # Examples
///
/// See [`Codec`].
///
/// ```
/// use greenloop::process::{Plain, channel_with};
///
/// let (sender, receiver) = channel_with::<u8, Plain>()?; // the default
/// sender.send(&1)?;
/// assert_eq!(receiver.recv()?, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn channel_with<T, C: Codec<T>>() -> io::Result<(Sender<T, C>, Receiver<T, C>)> {
    let (left, right) = Line::pair()?;
    Ok((Sender::new(left), Receiver::new(right)))
}

/// The sending end of a [`channel`].
///
/// A clone is another handle of the same end. The receiver is told of the end when all senders in all processes are gone.
pub struct Sender<T, C = Plain> {
    line: Arc<Line>,
    types: PhantomData<fn(T, C)>,
}

/// The receiving end of a [`channel`].
///
/// It can be waited for together with other things, by [`wait`](crate::wait) and its siblings, and is an iterator when borrowed.
pub struct Receiver<T, C = Plain> {
    line: Line,
    /// What came together with others, and nobody has taken yet.
    early: Lock<VecDeque<Vec<u8>>>,
    /// One at a time is at the socket, so that nobody waits there for what another has brought along.
    turn: Semaphore,
    watches: Watches,
    types: PhantomData<fn(C) -> T>,
}

impl<T, C: Codec<T>> Sender<T, C> {
    pub(super) fn new(line: Line) -> Sender<T, C> {
        Sender { line: Arc::new(line), types: PhantomData }
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    /// Sends a value. When this returns `Ok`, the message is in the channel, whatever happens to this process.
    ///
    /// Yields while there is no room. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and nothing
    /// is sent then. A message of more than 128 KiB travels in memory of its own, which is copied twice and takes next to no room in the
    /// channel.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if all receivers are gone; `NotConnected` if this end belongs to the parent process. `InvalidInput` for more than 64
    /// descriptors. The codec's own error.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenloop::process::channel::<(u32, String)>()?;
    /// sender.send(&(7, "seven".to_owned()))?;
    /// assert_eq!(receiver.recv()?, (7, "seven".to_owned()));
    /// drop(receiver);
    /// assert_eq!(sender.send(&(8, String::new())).unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "put")]
    pub fn send(&self, value: &T) -> io::Result<()> {
        send::<T, C>(&self.line, value, Limit::Until(None))
    }

    /// Sends a value if there is room for it now. Does not yield.
    ///
    /// # Errors
    ///
    /// As [`send`](Sender::send), and `WouldBlock` if there is no room.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, _receiver) = greenloop::process::channel::<u64>()?;
    /// let full = loop {
    ///     if let Err(error) = sender.try_send(&7) {
    ///         break error;
    ///     }
    /// };
    /// assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "put_nowait")]
    pub fn try_send(&self, value: &T) -> io::Result<()> {
        send::<T, C>(&self.line, value, Limit::Now)
    }

    /// Like [`send`](Sender::send), but waits at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`send`](Sender::send), and `TimedOut` when the time is over.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (sender, _receiver) = greenloop::process::channel::<u64>()?;
    /// while sender.try_send(&7).is_ok() {}
    /// let error = sender.send_timeout(&7, Duration::from_millis(1)).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_timeout(&self, value: &T, timeout: Duration) -> io::Result<()> {
        send::<T, C>(&self.line, value, Limit::Until(Some(Time::after(timeout))))
    }

    /// Sends many values, as many in a packet as there is room for: small ones take a tenth of the time of one [`send`](Sender::send) each.
    ///
    /// The values of a packet go to one receiver. They are in the channel, in order, when this returns `Ok`.
    ///
    /// # Errors
    ///
    /// As [`send`](Sender::send). Values that came before the one that failed may have been sent.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenloop::process::channel::<u64>()?;
    /// sender.send_all(&[1, 2, 3])?;
    /// drop(sender);
    /// assert_eq!(receiver.iter().map(Result::unwrap).sum::<u64>(), 6);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_all<'a>(&self, values: impl IntoIterator<Item = &'a T>) -> io::Result<()>
    where
        T: 'a,
    {
        let limit = Limit::Until(None);
        let mut batch = Outgoing::new();
        for value in values {
            let place = batch.bytes.len();
            batch.put_bytes(&[0; 4]);
            C::put(value, &mut batch)?;
            let length = batch.bytes.len() - place - 4;
            if !batch.descriptors.is_empty() || length > BATCH {
                // One that goes alone; what came before goes first.
                batch.bytes.truncate(place);
                batch.descriptors.clear();
                self.send_batch(&mut batch, limit)?;
                send::<T, C>(&self.line, value, limit)?;
                continue;
            }
            batch.bytes[place..place + 4].copy_from_slice(&(length as u32).to_le_bytes());
            if batch.bytes.len() > BATCH {
                self.send_batch(&mut batch, limit)?;
            }
        }
        self.send_batch(&mut batch, limit)
    }

    fn send_batch(&self, batch: &mut Outgoing<'_>, limit: Limit) -> io::Result<()> {
        if !batch.bytes.is_empty() {
            const { assert!(2 * BATCH + 4 <= LARGEST) };
            self.line.send(Kind::Batch, batch, limit).map_err(|error| explain(error, &self.line))?;
            batch.bytes.clear();
        }
        Ok(())
    }
}

impl<T, C: Codec<T>> Receiver<T, C> {
    pub(super) fn new(line: Line) -> Receiver<T, C> {
        Receiver {
            line,
            early: Lock::new(VecDeque::new()),
            turn: Semaphore::new(1),
            watches: Watches::new(),
            types: PhantomData,
        }
    }

    /// Receives a value.
    ///
    /// Yields until there is one. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and no message
    /// is lost. Several green threads may receive: they take turns.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when all senders in all processes are gone, and everything has been received. `InvalidData` if what came is no such
    /// value, or the codec's own error: then that message is gone, and the next is as good as ever. `NotConnected` if this end belongs to
    /// the parent process.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenloop::process::channel::<u8>()?;
    /// sender.send(&7)?;
    /// drop(sender);
    /// assert_eq!(receiver.recv()?, 7);
    /// assert_eq!(receiver.recv().unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "get")]
    pub fn recv(&self) -> io::Result<T> {
        self.receive(Limit::Until(None))
    }

    /// Receives a value that is there. Does not yield.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv), and `WouldBlock` if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenloop::process::channel::<u8>()?;
    /// assert_eq!(receiver.try_recv().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    /// sender.send(&7)?;
    /// assert_eq!(receiver.try_recv()?, 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "get_nowait")]
    pub fn try_recv(&self) -> io::Result<T> {
        self.receive(Limit::Now)
    }

    /// Like [`recv`](Receiver::recv), but waits at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv), and `TimedOut` when the time is over.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (_sender, receiver) = greenloop::process::channel::<u8>()?;
    /// let error = receiver.recv_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> io::Result<T> {
        self.receive(Limit::Until(Some(Time::after(timeout))))
    }

    /// Returns `true` if a message is there, or the end, within `timeout`. Takes nothing.
    ///
    /// # Errors
    ///
    /// Those of waiting for a descriptor.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (sender, receiver) = greenloop::process::channel::<u8>()?;
    /// assert!(!receiver.poll(Duration::ZERO)?);
    /// sender.send(&7)?;
    /// assert!(receiver.poll(Duration::from_secs(60))?);
    /// assert_eq!(receiver.recv()?, 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll(&self, timeout: Duration) -> io::Result<bool> {
        if !self.early.lock().is_empty() {
            return Ok(true);
        }
        match crate::io::wait_fd(&self.line, Interest::READABLE, Some(timeout)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(explain(error, &self.line)),
        }
    }

    /// Returns an iterator over what comes, until all senders are gone. It yields while nothing is there.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenloop::process::channel::<u8>()?;
    /// sender.send_all(&[1, 2])?;
    /// drop(sender);
    /// assert_eq!(receiver.iter().collect::<Result<Vec<_>, _>>()?, [1, 2]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, T, C> {
        Iter { receiver: self, is_over: false }
    }

    /// Another receiving end of the same channel: a message goes to whoever comes first.
    ///
    /// What has come in one packet with a message that was received stays with this one.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenloop::process::channel::<u8>()?;
    /// let other = receiver.try_clone()?;
    /// sender.send(&7)?;
    /// assert_eq!(other.recv()?, 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<Receiver<T, C>> {
        self.line.try_clone().map(Receiver::new)
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    fn receive(&self, limit: Limit) -> io::Result<T> {
        loop {
            if let Some(value) = self.take_early() {
                return value;
            }
            let turn = match limit {
                Limit::Now => self.turn.try_acquire().ok_or(io::ErrorKind::WouldBlock)?,
                Limit::Until(None) => self.turn.acquire(),
                Limit::Until(Some(deadline)) => {
                    let left = Time::now().until(deadline);
                    self.turn.acquire_timeout(left).map_err(|_| io::ErrorKind::TimedOut)?
                }
            };
            if let Some(value) = self.take_early() {
                return value;
            }
            let packet = self.line.receive(limit).map_err(|error| explain(error, &self.line))?;
            let Packet { is_batch, bytes, descriptors } = packet.ok_or(io::ErrorKind::UnexpectedEof)?;
            if !is_batch {
                drop(turn);
                return decode::<T, C>(Incoming::with_descriptors(&bytes, descriptors));
            }
            self.early.lock().extend(unpack(&bytes).ok_or_else(undecodable)?);
        }
    }

    fn take_early(&self) -> Option<io::Result<T>> {
        if self.line.is_abandoned() {
            // What the parent has received is the parent's.
            return None;
        }
        let bytes = self.early.lock().pop_front()?;
        Some(decode::<T, C>(Incoming::new(&bytes)))
    }
}

/// The messages of a batch; `None` if it is none.
fn unpack(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (message, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        messages.push(message.to_vec());
        bytes = rest;
    }
    bytes.is_empty().then_some(messages)
}

/// A codec's own kinds of errors must not be taken for what a channel says.
fn decode<T, C: Codec<T>>(mut message: Incoming<'_>) -> io::Result<T> {
    C::take(&mut message).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => error,
        _ => io::Error::new(io::ErrorKind::InvalidData, error),
    })
}

fn send<T, C: Codec<T>>(line: &Line, value: &T, limit: Limit) -> io::Result<()> {
    let mut message = Outgoing::new();
    C::put(value, &mut message)?;
    message.check()?;
    line.send(Kind::One, &message, limit).map_err(|error| explain(error, line))
}

/// Ready when a message is there, or the end.
impl<T, C: Codec<T>> Waitable for Receiver<T, C> {
    fn is_ready(&self) -> bool {
        // If it cannot be found out, a receive returns at once too, with that error.
        !self.early.lock().is_empty()
            || poll::check(self.line.as_fd(), Interest::READABLE).map_or(true, |ready| !ready.is_none())
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        if self.is_ready() {
            notice.give();
            return Subscription::none();
        }
        self.watches.subscribe(self.line.as_fd(), Interest::READABLE, notice)
    }

    fn unsubscribe(&self, subscription: Subscription) {
        self.watches.unsubscribe(subscription);
    }
}

/// What [`Receiver::iter`] returns.
#[derive(Debug)]
pub struct Iter<'a, T, C> {
    receiver: &'a Receiver<T, C>,
    is_over: bool,
}

impl<T, C: Codec<T>> Iterator for Iter<'_, T, C> {
    type Item = io::Result<T>;

    fn next(&mut self) -> Option<io::Result<T>> {
        if self.is_over {
            return None;
        }
        match self.receiver.recv() {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.is_over = true;
                None
            }
            Err(error) => {
                // Undecodable is that message alone; what the socket says, it goes on saying.
                self.is_over = error.raw_os_error().is_some() || error.kind() == io::ErrorKind::NotConnected;
                Some(Err(error))
            }
            value => Some(value),
        }
    }
}

impl<T, C: Codec<T>> FusedIterator for Iter<'_, T, C> {}

impl<'a, T, C: Codec<T>> IntoIterator for &'a Receiver<T, C> {
    type Item = io::Result<T>;
    type IntoIter = Iter<'a, T, C>;

    fn into_iter(self) -> Iter<'a, T, C> {
        self.iter()
    }
}

/// It is another end of the same channel there; this one stays until it is dropped.
impl<T, C: Codec<T>> Wire for Sender<T, C> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        into.put_descriptor(self.line.as_fd());
    }

    fn take(from: &mut Incoming<'_>) -> Option<Self> {
        from.take_descriptor().map(|fd| Sender::new(Line::from(fd)))
    }
}

/// It is another end of the same channel there; this one stays until it is dropped, with what it has received already.
impl<T, C: Codec<T>> Wire for Receiver<T, C> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        into.put_descriptor(self.line.as_fd());
    }

    fn take(from: &mut Incoming<'_>) -> Option<Self> {
        from.take_descriptor().map(|fd| Receiver::new(Line::from(fd)))
    }
}

impl<T, C> Clone for Sender<T, C> {
    fn clone(&self) -> Sender<T, C> {
        Sender { line: self.line.clone(), types: PhantomData }
    }
}

impl<T, C> Drop for Sender<T, C> {
    fn drop(&mut self) {
        handover::note(self.line.name());
    }
}

impl<T, C> Drop for Receiver<T, C> {
    fn drop(&mut self) {
        handover::note(self.line.name());
    }
}

impl<T, C> AsFd for Sender<T, C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}

impl<T, C> AsFd for Receiver<T, C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}

impl<T, C> fmt::Debug for Sender<T, C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T, C> fmt::Debug for Receiver<T, C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Receiver").finish_non_exhaustive()
    }
}
