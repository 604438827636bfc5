//! Green threads that belong together, and limits on how many of them run at a time. This is gevent's `gevent.pool`.
//!
//! - [`Group`]: green threads that are waited for and killed together.
//! - [`Pool`]: a group with a number of slots, for instance so that at most ten downloads run at a time.
//! - [`scope`]: a pool whose members borrow from the caller's frame.
//!
//! All of them can map a function over many items. The results come in the order of the items or as they are ready, and each may
//! be a failure of its own. For work that computes or blocks in the kernel, on several processors, a
//! [`ThreadPool`](crate::threadpool::ThreadPool) has the same methods.
//!
//! # Examples
//!
//! ```
//! use greenloop::pool::Pool;
//! use std::time::{Duration, Instant};
//!
//! let pool = Pool::new(50);
//! let start = Instant::now();
//! for number in 0..100 {
//!     pool.spawn(move || greenloop::sleep(Duration::from_millis(number % 10)));
//! }
//! pool.join();
//! assert!(start.elapsed() < Duration::from_secs(10));
//! ```

mod group;
#[expect(clippy::module_inception, reason = "named for the type in it")]
mod pool;
mod scoped;
mod slots;

pub use group::Group;
pub use pool::Pool;
pub use scoped::{ScopedPool, scope};

#[doc(no_inline)]
pub use crate::error::PoolFull;
pub use crate::task::Imap;
