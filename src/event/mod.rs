//! Events and results that many can wait for: gevent's `event`.
//!
//! - [`Event`]: a flag. Who waits for it goes on when it is set.
//! - [`AsyncResult`]: a place for one value that is set once or more, and read by any number.
//!
//! Both can be waited for beside other things ([`wait`](crate::wait)), and linked to a function that is called once.
//!
//! Both hold between green threads of one hub, between hubs on several OS threads, and with plain OS threads.
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
mod flag;
mod link;

pub use async_result::AsyncResult;
pub use flag::Event;

#[doc(no_inline)]
pub use crate::error::TimedOut;
