//! The receiving end of a channel.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::early::{Early, Message};
use super::handover;
use super::line::{Limit, Line, Packet, explain};
use super::wire::{Codec, Incoming, Outgoing, Plain, Wire, undecodable};
use crate::io::{Interest, Watches};
use crate::sync::Semaphore;
use crate::sys::clock::Time;
use crate::sys::lock::Lock;
use crate::sys::poll;
use crate::task::{Notice, Subscription, Waitable};

/// The receiving end of a [`channel`](super::channel()).
///
/// It can be waited for together with other things, by [`wait`](crate::wait) and its siblings, and is an iterator when borrowed.
///
/// It receives, and nothing else:
///
/// ```compile_fail,E0599
/// let (sender, receiver) = greenloop::process::channel::<u8>()?;
/// receiver.send(&7)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Receiver<T, C = Plain> {
    line: Line,
    /// What came together with others, and nobody has taken yet.
    early: Lock<Early>,
    /// One at a time is at the socket, so that nobody waits there for what another has brought along.
    turn: Semaphore,
    watches: Watches,
    types: PhantomData<fn(C) -> T>,
}

impl<T, C: Codec<T>> Receiver<T, C> {
    pub(super) fn new(line: Line) -> Receiver<T, C> {
        Receiver {
            line,
            early: Lock::new(Early::default()),
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
        let (message, descriptors) = self.next(limit)?;
        C::take(&mut message.incoming(descriptors)).map_err(|error| {
            // A codec's own kinds of errors must not be taken for what a channel says.
            match error.kind() {
                io::ErrorKind::InvalidData => error,
                _ => io::Error::new(io::ErrorKind::InvalidData, error),
            }
        })
    }

    /// The next message as it is.
    fn next(&self, limit: Limit) -> io::Result<(Message, Vec<OwnedFd>)> {
        loop {
            if let Some(message) = self.take_early() {
                return Ok((message, Vec::new()));
            }
            let turn = match limit {
                Limit::Now => self.turn.try_acquire().ok_or(io::ErrorKind::WouldBlock)?,
                Limit::Until(None) => self.turn.acquire(),
                Limit::Until(Some(deadline)) => {
                    let left = Time::now().until(deadline);
                    self.turn.acquire_timeout(left).map_err(|_| io::ErrorKind::TimedOut)?
                }
            };
            if let Some(message) = self.take_early() {
                return Ok((message, Vec::new()));
            }
            let packet = self.line.receive(limit).map_err(|error| explain(error, &self.line))?;
            let Packet { is_batch, bytes, descriptors } = packet.ok_or(io::ErrorKind::UnexpectedEof)?;
            if !is_batch {
                drop(turn);
                return Ok((Message::Long(bytes), descriptors));
            }
            self.early.lock().fill(bytes).ok_or_else(undecodable)?;
        }
    }

    fn take_early(&self) -> Option<Message> {
        // What the parent has received is the parent's.
        if self.line.is_abandoned() { None } else { self.early.lock().take() }
    }
}

impl Receiver<Vec<u8>> {
    /// Receives bytes into a buffer, and returns how many they are.
    ///
    /// Yields, and ends, as [`recv`](Receiver::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv). `InvalidInput` if the buffer is shorter than the message, which stays in place of the next one then.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenloop::process::channel::<Vec<u8>>()?;
    /// sender.send(&b"abc".to_vec())?;
    /// let mut buffer = [0; 5];
    /// assert_eq!(receiver.recv_into(&mut buffer[..2]).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    /// assert_eq!(receiver.recv_into(&mut buffer[1..])?, 3);
    /// assert_eq!(&buffer, b"\0abc\0");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("recv_bytes_into", "BufferTooShort"))]
    pub fn recv_into(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (message, descriptors) = self.next(Limit::Until(None))?;
        let mut from = message.incoming(descriptors);
        let length = usize::take(&mut from).ok_or_else(undecodable)?;
        if length != from.length() {
            return Err(undecodable());
        }
        let Some(place) = buffer.get_mut(..length) else {
            let whole = message.to_vec().ok_or_else(undecodable)?;
            self.early.lock().put_back(whole);
            let text = format!("the message has {length} bytes, and the buffer {}", buffer.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        place.copy_from_slice(from.take_bytes(length).ok_or_else(undecodable)?);
        Ok(length)
    }
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

/// It is another end of the same channel there; this one stays until it is dropped, with what it has received already.
impl<T, C: Codec<T>> Wire for Receiver<T, C> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        into.put_descriptor(self.line.as_fd());
    }

    fn take(from: &mut Incoming<'_>) -> Option<Self> {
        from.take_descriptor().map(|fd| Receiver::new(Line::from(fd)))
    }
}

impl<T, C> Drop for Receiver<T, C> {
    fn drop(&mut self) {
        handover::note(self.line.name());
    }
}

impl<T, C> AsFd for Receiver<T, C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}

impl<T, C> fmt::Debug for Receiver<T, C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Receiver").finish_non_exhaustive()
    }
}
