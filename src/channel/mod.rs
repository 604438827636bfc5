//! Channels between green threads: many senders, many receivers, and each value goes to one of them.
//!
//! - [`bounded`]`(n)` holds up to `n` values. A sender that finds it full waits for room.
//! - [`bounded`]`(0)` is a rendezvous. It holds no value: a sender waits until a receiver has taken its value.
//! - [`unbounded`]`()` holds what memory holds. Sending never waits.
//! - [`after`], [`at`] and [`tick`] give times as values, when those times have come. [`never`](never()) gives nothing.
//!
//! Both ends can be cloned, and shared by reference. They work between green threads of one hub, between hubs on several OS
//! threads, and with plain OS threads, which get a hub of their own when they first wait. Names and errors are those of the crate
//! crossbeam-channel. The difference is that a wait parks the calling green thread alone, and the hub runs the others.
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
//! When the last sender is dropped, receivers get the values that are left, and then an error. A [`Receiver`]'s iteration ends
//! there.
//!
//! When the last receiver is dropped, the values that are left are dropped. Senders get an error with their value in it, and so
//! do those that are waiting.
//!
//! # Order
//!
//! Values are received in the order in which they were sent. Waiting senders and waiting receivers are served in the order of
//! their arrival. A value that is sent while a receiver waits is *reserved* for it: no other receiver gets it in between.
//!
//! # Kill and time limit
//!
//! A kill or an enclosing [`with_timeout`](crate::with_timeout) ends a wait by unwinding. If a value was reserved for the
//! receiver at that moment, it stays in the channel and goes to the next receiver. If a sender was waiting, its value is dropped,
//! unless a receiver has taken it. When `send` returns, its result is exact: a value that was taken is never reported as not
//! taken.
//!
//! # The end of an OS thread
//!
//! If a value was reserved for a receiver whose OS thread ends before it runs, the value goes to the next receiver. If the OS
//! thread of a waiting sender ends, its value is received like any other.

mod any_arm;
mod choice;
mod choosers;
mod clock;
mod flow;
mod notices;
mod receiver;
mod selecting;
mod sender;
mod shared;
mod times;

use std::sync::Arc;

pub(crate) use any_arm::AnyArm;
pub(crate) use choice::{Choice, Grant};
pub use receiver::{IntoIter, Iter, Receiver, TryIter};
pub use sender::Sender;
pub use times::{after, at, never, tick};

#[doc(no_inline)]
pub use crate::error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};

/// Makes a channel that holds up to `capacity` values. With 0, each value is handed from a sender to a receiver.
///
/// A value that is reserved for a waiting receiver does not count against the capacity.
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
#[doc(alias("rendezvous", "Channel"))]
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
    let channel = Arc::new(shared::Channel::new(capacity));
    (Sender::new(Arc::clone(&channel)), Receiver::new(channel))
}
