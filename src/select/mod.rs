//! Waiting for the first of several things, and doing that one.
//!
//! - [`select!`](crate::select!): one of several receives, sends and descriptors, written like a `match`. It is crossbeam's
//!   macro.
//! - [`Select`]: the same with a list that is made at run time.
//!
//! [`select_biased!`](crate::select_biased!) and [`Select::new_biased`] prefer what is written first.
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
//! # Which one is chosen
//!
//! If several operations can be done at once, one of them is chosen at random, each with the same probability. A biased choice takes
//! the first of them. If none can be done, the green thread waits for all of them, and the first that becomes possible is chosen. The
//! others are not done: only the chosen operation receives or sends a value.
//!
//! # Channels that end
//!
//! A receive from a channel that is empty and disconnected can be done at once, with an `Err` as its result, and so can a send to a
//! channel without receivers. A loop that goes on after such an `Err` is given the same one again and again. It never waits, and no
//! other green thread runs. So leave the loop, or put [`never`](crate::channel::never()) in the place of the receiver:
//!
//! ```
//! use greenloop::channel::{never, unbounded};
//! use greenloop::{select, spawn};
//!
//! let (words, mut hear) = unbounded();
//! let (numbers, mut count) = unbounded();
//! spawn(move || words.send("hello"));
//! spawn(move || numbers.send(5));
//! let (mut open, mut log) = (2, Vec::new());
//! while open > 0 {
//!     select! {
//!         recv(hear) -> word => match word {
//!             Ok(word) => log.push(word.to_owned()),
//!             Err(_) => (hear, open) = (never(), open - 1),
//!         },
//!         recv(count) -> number => match number {
//!             Ok(number) => log.push(number.to_string()),
//!             Err(_) => (count, open) = (never(), open - 1),
//!         },
//!     }
//! }
//! log.sort();
//! assert_eq!(log, ["5", "hello"]);
//! ```
//!
//! # Kill and time limit
//!
//! A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and nothing is lost. If a value or a
//! place in a channel had just been given to the green thread, it goes to the next waiter, as in a [channel](crate::channel).

mod macros;
mod poll;
#[expect(clippy::module_inception, reason = "named for the type in it")]
mod select;
mod selector;

pub use poll::poll;
pub use select::{Select, SelectedOperation};
pub use selector::{Key, Selector};

pub use crate::sys::poll::{PollFd, PollFlags};

#[doc(no_inline)]
pub use crate::error::{ReadyTimeoutError, SelectTimeoutError, TryReadyError, TrySelectError};
