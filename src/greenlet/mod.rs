//! Explicit coroutines with stacks of their own.
//!
//! A [`Greenlet`] runs until it switches to another one with a value; nothing schedules it. This is Python's greenlet, with
//! types. Green threads are greenlets that the hub schedules, so the two mix: when a greenlet blocks on greenloop's IO it
//! parks, and the hub runs the next that is ready.
//!
//! ```
//! use greenloop::greenlet::{self, Greenlet};
//!
//! let greeter = Greenlet::new(|name: String| {
//!     let next = greenlet::main().switch(format!("hello, {name}")).unwrap();
//!     format!("goodbye, {next}")
//! });
//! assert_eq!(greeter.switch("Ada".to_string()).unwrap(), "hello, Ada");
//! assert_eq!(greeter.switch("Bob".to_string()).unwrap(), "goodbye, Bob");
//! assert!(greeter.is_dead());
//! ```
//!
//! A greenlet learns of another one by capturing its handle, or by getting it as a value. So two can switch to each other:
//!
//! ```
//! use greenloop::greenlet::{AnyGreenlet, Greenlet, current};
//!
//! let pong = Greenlet::new(|(mut ping, mut ball): (AnyGreenlet, u32)| loop {
//!     (ping, ball) = ping.switch((current(), ball + 1)).unwrap();
//! });
//! let ping = Greenlet::new(move |(caller, mut ball): (AnyGreenlet, u32)| {
//!     while ball < 6 {
//!         (_, ball) = pong.switch((current(), ball + 1)).unwrap();
//!     }
//!     (caller, ball) // goes to the parent
//! });
//! assert_eq!(ping.switch((current(), 0)).unwrap().1, 6);
//! ```

#![expect(unsafe_code, reason = "values that cross a switch")]

mod any;
mod dropping;
mod generator;
mod orphans;
mod parcel;
mod switching;
mod trace;
mod typed;

pub use any::AnyGreenlet;
pub use generator::{Generator, Yielder};
pub use trace::{Event, Trace, Tracer, settrace};
pub use typed::Greenlet;

use crate::fiber::thread;
pub use crate::fiber::{set_default_stack_size, stack_high_water};

/// Returns the greenlet that is running: one made by hand, a green thread, or the thread's own stack.
///
/// [`greenloop::current`](crate::current) is another function: it describes the running green thread.
///
/// # Examples
///
/// ```
/// use greenloop::greenlet::{self, Greenlet, current};
///
/// assert!(current().is_main());
/// let inside = Greenlet::new(|_: bool| current() == greenlet::main());
/// assert_eq!(inside.switch(true).unwrap(), false);
/// ```
#[doc(alias = "getcurrent")]
pub fn current() -> AnyGreenlet {
    let thread = thread();
    AnyGreenlet::of_fiber(thread.current(), &thread)
}

/// Returns the main greenlet: the calling OS thread's own stack. It is the ancestor of all other greenlets but green threads, which have
/// no parent, and those that these have made.
///
/// # Examples
///
/// ```
/// use greenloop::greenlet::{self, Greenlet};
///
/// assert!(greenlet::main().is_current());
/// let inside = Greenlet::new(|_: bool| greenlet::main().is_current());
/// assert_eq!(inside.switch(true).unwrap(), false);
/// ```
#[doc(alias = "main_thread")]
pub fn main() -> AnyGreenlet {
    let thread = thread();
    AnyGreenlet::of_fiber(thread.main(), &thread)
}
