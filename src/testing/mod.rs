//! Tests of code that waits: time that is virtual, ends of green threads that are checked, and orders that are searched for bugs.
//!
//! [`run`](fn@run) runs a test in a *world*: an OS thread with a hub whose time passes only when nobody in it can run. Then it jumps to the next
//! deadline. So a test of an hour takes a millisecond, gives the same result each time, and may compare times exactly.
//!
//! ```
//! use greenloop::{sleep, spawn, testing, with_timeout};
//! use std::time::Duration;
//!
//! testing::run(|world| {
//!     let slow = spawn(|| sleep(Duration::from_secs(3600)));
//!     assert!(with_timeout(Duration::from_secs(30), || slow.wait()).is_err());
//!     assert_eq!(world.elapsed(), Duration::from_secs(30)); // exactly
//!     slow.join().unwrap();
//!     assert_eq!(world.elapsed(), Duration::from_secs(3600));
//! });
//! ```
//!
//! # What the time of a world is for
//!
//! For every wait of this crate on the world's OS thread, and every time limit, [`Interval`](crate::Interval) and channel of times.
//! Sockets are real: what is written to one is at the other end at once, so both ends may lie in the world.
#![cfg_attr(
    feature = "monkey",
    doc = "With [`Parts::TIME`](crate::monkey::Parts::TIME) patched it is also what std and C libraries are told: `Instant::now`, `SystemTime::now`,"
)]
#![cfg_attr(
    feature = "monkey",
    doc = "`thread::sleep` and, with the other parts, the time limits of std's sockets and locks. So the limits of unmodified crates are exact."
)]
#![cfg_attr(
    not(feature = "monkey"),
    doc = "With the cargo feature `monkey`, and what that patches, it is also what std and C libraries are told: `Instant::now`,"
)]
#![cfg_attr(
    not(feature = "monkey"),
    doc = "`SystemTime::now`, `thread::sleep`, and the time limits of std's sockets and locks."
)]
//! Without that, std's clocks tell real time: ask [`World::now`].
//!
//! # What stops it
//!
//! Work of a [thread pool](crate::threadpool) that was begun in the world, files and look-ups of names included: until it has ended, time
//! stands, and the world waits in real time.
//!
//! With the cargo feature `monkey`, so does the work of OS threads that were made in the world, as ureq makes one to look up a name within
//! a limit of the whole call, and of those that they make: time passes while each of them has ended, waits for another thread without a
//! limit, or has waited so for a descriptor for some 300 ms. They live in real time, and sleep in it. `World::deny_threads` has their
//! making fail; with `monkey::Parts::SPAWN` patched they are green threads of the world. When the test has returned, nobody waits for them.
//!
//! What stops the time for ten seconds is told to the [hook for what nobody can receive](crate::hub::set_uncaught_hook).
//!
//! What other OS threads and processes do, a world cannot see, and without `monkey` none: [`World::hold`] stops its time while they are to
//! do something.
//!
//! # What is random
//!
//! With the cargo feature `monkey`, what `getrandom` gives in a world is the same in each run: so are the order of a `HashMap`, and what the
//! crates `rand` and `getrandom` draw. Under [`explore`](fn@explore), and by `GREENLOOP_SEED`, each seed has its own, which comes again with
//! what a failure tells. So a name of a file that is drawn may be taken, by the run before. What other OS threads draw is not the world's,
//! nor what is read from `/dev/urandom`.
//!
//! # Ends
//!
//! When the test returns, each of its green threads must have ended. Those that have not are named with their places of spawn in the panic of
//! [`run`](fn@run), and killed. Time does not pass for that. One that yields without end keeps `run` from returning.
//!
//! If nobody can run and no timer is armed, the main greenlet is told at once, by [`LoopExit`](crate::LoopExit); if somebody waits for a
//! descriptor, after a fifth of a second, and for a lock of std's or C's, which an OS thread outside of the world may have, after two.
//!
//! # Orders
//!
//! [`explore`](fn@explore) runs a test many times, each time in another order of its green threads, and tells how to see a failure again: by a text in
//! the environment variable `GREENLOOP_SCHEDULE`. With a number in `GREENLOOP_SEED`, `run` does not run who is ready in order of arrival, but
//! in one at random, the same each time for the same number.
//!
//! # Faults
//!
//! [`World::faults`] has connections be refused, reset, short, late or cut, disks fail, and green threads be killed; a [`Host`] crashes. Which
//! of it happens when is part of a schedule, as the order is.
//!
//! # Limits
//!
//! A world is one OS thread: [`Workers`](crate::workers), the hubs of other threads and child processes live in real time. Its hub uses epoll,
//! or poll(2), whatever `GREENLOOP_DRIVER` says. The kernel's own timers, such as the delayed acknowledgement of TCP, run in real time.
//! So does the clock of code that asks neither this crate nor the C library: the processor's counter, or the kernel's page by itself, as
//! rustix does by default.

mod explore;
mod faults;
mod guide;
mod host;
mod run;
mod schedule;
mod script;
mod search;
mod world;

pub use explore::{Explored, explore};
pub use faults::{Cut, Faults};
pub use host::Host;
pub use run::run;
pub use search::Search;
pub use world::{Hold, World};
