//! Queues between any number of green threads and OS threads. This is gevent's `queue`.
//!
//! - [`Queue`]: first in, first out.
//! - [`LifoQueue`]: last in, first out.
//! - [`PriorityQueue`]: the smallest first.
//! - [`JoinableQueue`]: another name for `Queue`. Every queue here counts the items that were put and are not yet
//!   [done](Ordered::task_done), and can be [joined](Ordered::join).
//!
//! All are one type, [`Ordered`], whose parameter is the order. A queue is shared by reference or in an [`Arc`](std::sync::Arc):
//! between green threads of one hub, between hubs on several OS threads, and with plain OS threads. A queue ends by
//! [`shutdown`](Ordered::shutdown). If you want the end to come when all senders or all receivers are dropped, or each item to be
//! handed over without a buffer, use a [`channel`](crate::channel).
//!
//! # Examples
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
//! Callers that wait to put and callers that wait to get are each served in the order of their arrival. If an item comes while a
//! caller waits to get one, it is *reserved* for the first waiter, and no other gets it in between. So is room for a caller that
//! waits to put. Which item a waiter gets is decided when it runs: from a [`PriorityQueue`] it gets the smallest at that time.
//!
//! If the OS thread of such a waiter ends before the waiter runs, the item or the room goes to the next waiter.
//!
//! # Kill and time limit
//!
//! A kill or an enclosing [`with_timeout`](crate::with_timeout) ends a wait by unwinding. If an item or room was reserved for the
//! waiter at that moment, it goes to the next one. An item that it waited to put is dropped, and was not put.

mod order;
mod ordered;

pub use order::{Fifo, Lifo, Order, Priority};
pub use ordered::{Iter, Ordered, TryIter};

#[doc(no_inline)]
pub use crate::error::{GetError, PutError};

/// A queue that gives items out in the order in which they were put: first in, first out. See [`Ordered`].
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

/// A stack: last in, first out. See [`Ordered`].
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

/// A queue that gives out the smallest item first, and of equal ones the oldest, as in Python. See [`Ordered`].
///
/// An item is often a tuple of a number and something else, which must be [`Ord`] too. To get the largest first, put
/// [`Reverse`](std::cmp::Reverse)d items.
///
/// Items are compared under the queue's own lock when one is put. A comparison that waits panics, and so does one that uses the
/// same queue, or another one while that is in use. If a comparison panics, the queue is as it was before, without the new item.
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

/// Another name for [`Queue`], for code that comes from gevent. There only this one has `task_done` and `join`; here all have
/// them.
///
/// # Examples
///
/// See [`join`](Ordered::join).
pub type JoinableQueue<T> = Queue<T>;
