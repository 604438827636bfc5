//! Channels between green threads: many senders, many receivers, each value to one of them.
//!
//! - [`bounded`]`(n)`: holds up to `n` values; a sender that finds it full waits for room.
//! - [`bounded`]`(0)`: a rendezvous. It holds none: a sender waits until a receiver has taken its value.
//! - [`unbounded`]`()`: holds what memory holds; sending never waits.
//! - [`after`], [`at`], [`tick`]: the values are times, and come when those have come; [`never`](never()): nothing comes.
//!
//! Both ends can be cloned, and shared by reference. They work between green threads of one hub, between hubs on several
//! OS threads, and with plain OS threads, which get a hub of their own when they first wait. Names and errors are those of
//! the crate crossbeam-channel, but who must wait parks alone, and the hub goes on with the others.
//!
//! ```
//! use greenloop::channel::bounded;
//! use greenloop::spawn;
//!
//! let (sender, receiver) = bounded(10);
//! spawn(move || {
//!     for number in 1..=3 {
//!         sender.send(number).unwrap();
//!     }
//! });
//! assert_eq!(receiver.iter().collect::<Vec<_>>(), [1, 2, 3]);
//! ```
//!
//! # Disconnection
//!
//! When the last sender is dropped, receivers get what is left and then an error; a [`Receiver`]'s iteration ends there.
//! When the last receiver is dropped, the values that it leaves behind are dropped, and senders get an error with their
//! value in it, those that wait as well.
//!
//! # Order
//!
//! Values are received in the order in which they were sent. Parked senders and parked receivers are served in order of
//! arrival: a value that is sent while a receiver waits is promised to it, and nobody gets it in between.
//!
//! # Kill and time limit
//!
//! A kill or an enclosing [`with_timeout`](crate::with_timeout) ends a wait by unwinding. A value that was promised to the
//! receiver at that moment stays where it is, for the next in line. A value that the sender was waiting with is dropped, if
//! no receiver has taken it. When `send` returns, no matter how, the value was either sent or not: a value that was taken is
//! never reported as not taken.
//!
//! # The end of an OS thread
//!
//! A value that was promised to a receiver whose OS thread ends before it runs goes to the next in line. A value whose sender
//! waits on an OS thread that ends is received as any other.

mod choosers;
mod clock;
mod core;
mod receiver;
mod sender;

use std::sync::Arc;

pub(crate) use choosers::{Arm, Choice, Grant};
pub use clock::{after, at, never, tick};
pub use receiver::{IntoIter, Iter, Receiver, TryIter};
pub use sender::Sender;

#[doc(no_inline)]
pub use crate::error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};

/// Makes a channel that holds up to `capacity` values; with 0, one where each value is handed from a sender to a receiver.
///
/// A value that is promised to a waiting receiver does not count against the capacity.
///
/// # Examples
///
/// ```
/// use greenloop::channel::{TrySendError, bounded};
///
/// let (sender, receiver) = bounded(1);
/// sender.send("first").unwrap();
/// assert_eq!(sender.try_send("second"), Err(TrySendError::Full("second")));
/// assert_eq!(receiver.recv(), Ok("first"));
/// ```
///
/// A rendezvous:
///
/// ```
/// use greenloop::channel::bounded;
/// use greenloop::spawn;
///
/// let (sender, receiver) = bounded(0);
/// let other = spawn(move || receiver.recv());
/// sender.send("over to you").unwrap();
/// assert_eq!(other.join().unwrap(), Ok("over to you"));
/// ```
#[doc(alias = "rendezvous")]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    ends(capacity)
}

/// Makes a channel that holds any number of values.
///
/// # Examples
///
/// ```
/// use greenloop::channel::unbounded;
///
/// let (sender, receiver) = unbounded();
/// for number in 0..1000 {
///     sender.send(number).unwrap();
/// }
/// assert_eq!(receiver.len(), 1000);
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    ends(usize::MAX)
}

fn ends<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let core = Arc::new(core::Core::new(capacity));
    (Sender::new(Arc::clone(&core)), Receiver::new(core))
}
