//! Events and results that many can wait for. This is gevent's `event`.
//!
//! - [`Event`] is a flag. A wait for it ends when it is set.
//! - [`AsyncResult`] holds one value, which is set once or more, and read by any number of waiters.
//!
//! You can wait for both beside other things with [`wait`](crate::wait), and link a function to them that is called once. Both
//! work between green threads of one hub, between hubs on several OS threads, and with plain OS threads.
//!
//! # Examples
//!
//! ```
//! use std::sync::Arc;
//! use greenloop::event::{AsyncResult, Event};
//! use greenloop::spawn;
//!
//! let (go, answer) = (Arc::new(Event::new()), Arc::new(AsyncResult::new()));
//! let worker = spawn({
//!     let (go, answer) = (Arc::clone(&go), Arc::clone(&answer));
//!     move || {
//!         go.wait();
//!         answer.set(6 * 7);
//!     }
//! });
//! go.set();
//! assert_eq!(answer.get(), 42);
//! # worker.join().unwrap();
//! ```

mod async_result;
#[expect(clippy::module_inception, reason = "named for the type in it")]
mod event;
mod link;

pub use async_result::AsyncResult;
pub use event::Event;

#[doc(no_inline)]
pub use crate::error::TimedOut;
