//! Queues that any number of green threads and OS threads put items into and get them from: gevent's `queue`.
//!
//! - [`Queue`]: first in, first out.
//! - [`LifoQueue`]: last in, first out.
//! - [`PriorityQueue`]: the smallest first.
//! - [`JoinableQueue`]: another name of `Queue`, since every one of them counts the items that were put and are not yet
//!   [done](Ordered::task_done), and can be [joined](Ordered::join).
//!
//! All are one type, [`Ordered`], whose parameter is the order. A queue is shared as it is, by reference or in an
//! [`Arc`](std::sync::Arc): between green threads of one hub, between hubs on several OS threads, and with plain OS
//! threads. It ends by [`shutdown`](Ordered::shutdown), not when an end of it is dropped; for that, and for a hand-over
//! without room in between, see [`channel`](crate::channel).
//!
//! ```
//! use std::sync::Arc;
//! use greenloop::queue::Queue;
//! use greenloop::spawn;
//!
//! let jobs = Arc::new(Queue::bounded(2));
//! let workers: Vec<_> = (0..3)
//!     .map(|_| {
//!         let jobs = Arc::clone(&jobs);
//!         spawn(move || jobs.iter().map(|job: u32| job * job).sum::<u32>())
//!     })
//!     .collect();
//! for job in 1..=10 {
//!     jobs.put(job).unwrap();
//! }
//! jobs.shutdown();
//! let total: u32 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
//! assert_eq!(total, 385);
//! ```
//!
//! # Order of service
//!
//! Who waits to put and who waits to get are each served in order of arrival. An item that comes while somebody waits to
//! get is promised to the first in line, and nobody gets it in between; so is room. What a promise stands for is chosen
//! when the called one runs: from a [`PriorityQueue`] it gets what is the smallest then.
//!
//! If the OS thread of a called one ends before that one runs, the item, or the room, goes to the next in line.
//!
//! # Kill and time limit
//!
//! A kill or an enclosing [`with_timeout`](crate::with_timeout) ends a wait by unwinding. What was promised to it at that
//! moment goes to the next in line; an item that it waited to put is dropped, and was not put.

mod order;
mod ordered;

pub use order::{Fifo, Lifo, Order, Priority};
pub use ordered::{Iter, Ordered, TryIter};

#[doc(no_inline)]
pub use crate::error::{GetError, PutError};

/// First in, first out; see [`Ordered`] for what it does.
///
/// # Examples
///
/// ```
/// use greenloop::queue::Queue;
///
/// let queue: Queue<u32> = [3, 1, 2].into_iter().collect();
/// assert_eq!(queue.try_iter().collect::<Vec<_>>(), [3, 1, 2]);
/// ```
#[doc(alias = "SimpleQueue")]
pub type Queue<T> = Ordered<T, Fifo>;

/// Last in, first out: a stack; see [`Ordered`] for what it does.
///
/// # Examples
///
/// ```
/// use greenloop::queue::LifoQueue;
///
/// let queue: LifoQueue<u32> = [3, 1, 2].into_iter().collect();
/// assert_eq!(queue.try_iter().collect::<Vec<_>>(), [2, 1, 3]);
/// ```
pub type LifoQueue<T> = Ordered<T, Lifo>;

/// The smallest first, and of equal ones the oldest, as in Python; see [`Ordered`] for what it does.
///
/// An item often is a tuple of a number and something else, which must be [`Ord`] too. For the largest first, put
/// [`Reverse`](std::cmp::Reverse)d ones.
///
/// Putting compares items under the queue's own lock: a comparison that waits panics, and so does one that uses the same queue, or
/// another one while that is in use. One that panics leaves the queue as it was, without the new item.
///
/// # Examples
///
/// ```
/// use greenloop::queue::PriorityQueue;
///
/// let queue: PriorityQueue<(u32, &str)> = [(2, "later"), (1, "now")].into_iter().collect();
/// assert_eq!(queue.get(), Ok((1, "now")));
/// ```
pub type PriorityQueue<T> = Ordered<T, Priority>;

/// A [`Queue`] by the name that gevent has for one with `task_done` and `join`; here all have them.
///
/// # Examples
///
/// See [`join`](Ordered::join).
pub type JoinableQueue<T> = Queue<T>;
