//! The sending end of a channel.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::handover;
use super::line::{Kind, LARGEST, Limit, Line, explain};
use super::wire::{Codec, Incoming, Outgoing, Plain, Wire};
use crate::sys::clock::Time;

/// How many bytes of small messages are put into one packet: eight such are in a socket's buffer.
const BATCH: usize = 24 * 1024;

/// The sending end of a [`channel`](super::channel()).
///
/// A clone is another handle of the same end. The receiver is told of the end when all senders in all processes are gone.
///
/// It sends, and nothing else:
///
/// ```compile_fail,E0599
/// let (sender, receiver) = greenloop::process::channel::<u8>()?;
/// sender.recv()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// ```compile_fail,E0599
/// let (sender, receiver) = greenloop::process::channel::<u8>()?;
/// sender.poll(std::time::Duration::ZERO)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Sender<T, C = Plain> {
    line: Arc<Line>,
    types: PhantomData<fn(T, C)>,
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
    /// is sent then. A message of more than 128 KiB travels in memory that this end keeps for the next one, and takes next to no
    /// room in the channel.
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
        batch.bytes.reserve(BATCH);
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

fn send<T, C: Codec<T>>(line: &Line, value: &T, limit: Limit) -> io::Result<()> {
    let mut message = Outgoing::borrowing();
    C::put(value, &mut message)?;
    message.check()?;
    line.send(Kind::One, &message, limit).map_err(|error| explain(error, line))
}

/// It is another end of the same channel there; this one stays until it is dropped.
impl Sender<OwnedFd> {
    /// Sends a duplicate of a descriptor that stays the caller's.
    pub(crate) fn send_copy(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let mut message = Outgoing::new();
        message.put_descriptor(descriptor);
        let sent = self.line.send(Kind::One, &message, Limit::Until(None));
        sent.map_err(|error| explain(error, &self.line))
    }
}

impl<T, C: Codec<T>> Wire for Sender<T, C> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        into.put_descriptor(self.line.as_fd());
    }

    fn take(from: &mut Incoming<'_>) -> Option<Self> {
        from.take_descriptor().map(|fd| Sender::new(Line::from(fd)))
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

impl<T, C> AsFd for Sender<T, C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}

impl<T, C> fmt::Debug for Sender<T, C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sender").finish_non_exhaustive()
    }
}
