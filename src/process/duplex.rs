//! Both directions in one.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::line::Line;
use super::receiver::Receiver;
use super::sender::Sender;
use super::wire::{Codec, Incoming, Outgoing, Plain, Wire};
use crate::task::{Notice, Subscription, Waitable};

/// Makes two connected ends, each of which sends and receives. The first sends `A` and receives `B`.
///
/// This is Python's duplex `Pipe`. It is like two [channels](super::channel()), but an end is one thing to hand to a child.
///
/// # Errors
///
/// No descriptor is left.
///
/// # Examples
///
/// ```
/// use greenloop::process::{Process, pipe};
///
/// let (ours, theirs) = pipe::<u32, String>()?;
/// let child = Process::start(move || {
///     let number = theirs.recv().unwrap();
///     theirs.send(&format!("{number} from the parent")).unwrap();
/// })?;
/// ours.send(&11)?;
/// assert_eq!(ours.recv()?, "11 from the parent");
/// child.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pipe<A: Wire, B: Wire>() -> io::Result<(Pipe<A, B>, Pipe<B, A>)> {
    pipe_with::<A, B, Plain>()
}

/// Like [`pipe`], with a format of your own.
///
/// # Errors
///
/// As [`pipe`].
///
/// # Examples
///
/// ```
/// use greenloop::process::{Plain, pipe_with};
///
/// let (left, right) = pipe_with::<u8, u8, Plain>()?; // the default
/// left.send(&1)?;
/// assert_eq!(right.recv()?, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[expect(clippy::type_complexity, reason = "each end names what it sends, what it receives, and how")]
pub fn pipe_with<A, B, C: Codec<A> + Codec<B>>() -> io::Result<(Pipe<A, B, C>, Pipe<B, A, C>)> {
    let (left, right) = Line::pair()?;
    Ok((Pipe::new(left)?, Pipe::new(right)?))
}

/// One end of a [`pipe`]: sends `A`, receives `B`.
///
/// Several green threads may use it at a time, in both directions.
pub struct Pipe<A, B, C = Plain> {
    sender: Sender<A, C>,
    receiver: Receiver<B, C>,
}

impl<A, B, C: Codec<A> + Codec<B>> Pipe<A, B, C> {
    fn new(line: Line) -> io::Result<Pipe<A, B, C>> {
        // Two numbers of one socket, so that each half is what it is alone.
        Ok(Pipe { sender: Sender::new(line.try_clone()?), receiver: Receiver::new(line) })
    }

    /// Sends a value: see [`Sender::send`].
    ///
    /// # Errors
    ///
    /// As [`Sender::send`]: `BrokenPipe` if the other end is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = greenloop::process::pipe::<u8, u8>()?;
    /// left.send(&1)?;
    /// assert_eq!(right.recv()?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send(&self, value: &A) -> io::Result<()> {
        self.sender.send(value)
    }

    /// Receives a value: see [`Receiver::recv`].
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv`]: `UnexpectedEof` if the other end is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = greenloop::process::pipe::<u8, u8>()?;
    /// drop(left);
    /// assert_eq!(right.recv().unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv(&self) -> io::Result<B> {
        self.receiver.recv()
    }

    /// Like [`recv`](Pipe::recv), but waits at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Pipe::recv), and `TimedOut` when the time is over.
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, _right) = greenloop::process::pipe::<u8, u8>()?;
    /// let error = left.recv_timeout(std::time::Duration::from_millis(1)).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> io::Result<B> {
        self.receiver.recv_timeout(timeout)
    }

    /// Returns `true` if a message is there, or the end, within `timeout`. Takes nothing.
    ///
    /// # Errors
    ///
    /// As [`Receiver::poll`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = greenloop::process::pipe::<u8, u8>()?;
    /// assert!(!left.poll(std::time::Duration::ZERO)?);
    /// right.send(&1)?;
    /// assert!(left.poll(std::time::Duration::ZERO)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll(&self, timeout: Duration) -> io::Result<bool> {
        self.receiver.poll(timeout)
    }

    /// Whether the other end was closed, by death maybe, before it had received all that was sent there. Asked when that end has been seen.
    pub(crate) fn left_unread(&self) -> bool {
        self.receiver.line().left_unread() || self.sender.line().left_unread()
    }

    /// Ends the connection for both sides, as if both ends were closed. What has been sent can still be received.
    pub(crate) fn hang_up(&self) {
        self.sender.line().hang_up();
    }

    /// The two directions, each by itself.
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = greenloop::process::pipe::<u8, u8>()?;
    /// let (sender, receiver) = left.split();
    /// sender.send(&1)?;
    /// right.send(&right.recv()?)?;
    /// assert_eq!(receiver.recv()?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn split(self) -> (Sender<A, C>, Receiver<B, C>) {
        (self.sender, self.receiver)
    }
}

/// It is another end of the same pipe there; this one stays until it is dropped, with what it has received already.
impl<A, B, C: Codec<A> + Codec<B>> Wire for Pipe<A, B, C> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        self.receiver.put(into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<Self> {
        Pipe::new(Line::from(from.take_descriptor()?)).ok()
    }
}

/// Ready when a message is there, or the end.
impl<A, B, C: Codec<B>> Waitable for Pipe<A, B, C> {
    fn is_ready(&self) -> bool {
        self.receiver.is_ready()
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        self.receiver.subscribe(notice)
    }

    fn unsubscribe(&self, subscription: Subscription) {
        self.receiver.unsubscribe(subscription);
    }
}

impl<A, B, C> AsFd for Pipe<A, B, C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

impl<A, B, C> fmt::Debug for Pipe<A, B, C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pipe").finish_non_exhaustive()
    }
}
