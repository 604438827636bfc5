//! Waiting for the first of several things, and doing that one.
//!
//! - [`select!`](crate::select!): one of several receives, sends and descriptors, written like a `match`. crossbeam's macro.
//! - [`Select`]: the same with a list that is made at run time.
//!
//! For code that is written as an event loop:
//!
//! - [`poll()`]: poll(2), which parks the calling green thread alone.
//! - [`Selector`]: what Python's `selectors.DefaultSelector` is on Linux.
//!
//! ```
//! use greenloop::channel::{after, unbounded};
//! use greenloop::{select, spawn};
//! use std::time::Duration;
//!
//! let (sender, words) = unbounded();
//! let (_quit, quitting) = unbounded::<()>();
//! let speaker = spawn(move || sender.send("hello"));
//! let limit = after(Duration::from_secs(60));
//! select! {
//!     recv(words) -> word => assert_eq!(word, Ok("hello")),
//!     recv(quitting) -> _ => unreachable!(),
//!     recv(limit) -> _ => panic!("nobody spoke for a minute"),
//! }
//! # speaker.join().unwrap().unwrap();
//! ```
//!
//! # Which one
//!
//! If several can be done at once, one of them is taken at random, each as likely as the others. Otherwise the green thread
//! waits in all lines, and the first that calls it is the one. An operation that was not chosen has not been done: a value is
//! received, or sent, by the chosen one alone.
//!
//! # Kill and time limit
//!
//! A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding. What the green thread was called for
//! at that moment goes to the next in line, as in a [channel](crate::channel).

mod builder;
mod macros;
mod poll;
mod selector;

pub use builder::{Select, SelectedOperation};
pub use poll::poll;
pub use selector::{Key, Selector};

pub use crate::sys::poll::{PollFd, PollFlags};

#[doc(no_inline)]
pub use crate::error::{ReadyTimeoutError, SelectTimeoutError, TryReadyError, TrySelectError};
