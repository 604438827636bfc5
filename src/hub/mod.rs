//! The hub: one run loop per OS thread, made on first use.
//!
//! A hub runs the green threads of its OS thread one after another, each until it waits. If none is ready, the hub blocks in the
//! kernel until a timer is due, a descriptor is ready, or another OS thread wakes it. There is no object to pass around:
//! [`spawn`](crate::spawn), [`sleep`](crate::sleep) and all the rest use the calling thread's hub.
//!
//! # Callbacks
//!
//! Some of your code runs outside of your green threads: in the hub, between two greenlets, or in the middle of a call that does
//! not yield. Such code is a *hub callback*:
//!
//! - functions given to `rawlink`, the hook of [`settrace`](crate::greenlet::settrace), and that of [`set_uncaught_hook`];
//! - the wakers of futures other than greenloop's;
//! - comparisons of a [`PriorityQueue`](crate::queue::PriorityQueue)'s items, and the `clone` of an item for `peek`;
//! - destructors of closures that never run, because they were killed first or there was no stack, and of values and payloads
//!   that nobody takes.
//!
//! One rule holds for all of them: **a callback may neither wait nor switch**. A sleep, a yield, a lock or a channel that would
//! have to wait, [`Greenlet::switch`](crate::greenlet::Greenlet::switch) and `throw`, and a pull from a
//! [`Generator`](crate::greenlet::Generator) panic there. A callback may spawn, wake, kill without waiting, and do all that need
//! not wait. If the last handle of a suspended greenlet goes in a callback, the greenlet is ended soon after, in a green thread.
//!
//! If a callback panics, the panic goes to the hook of [`set_uncaught_hook`], and so does a panic in the destructor of its
//! payload. Comparisons and clones panic in the call that made them.
//!
//! # The panic hook
//!
//! A panic is reported under the name of the OS thread, which all green threads of a hub share. After [`install_panic_hook`] a line
//! before the report names the green thread.
//!
//! std's panic hook ([`std::panic::set_hook`]) runs in the green thread that panics. It may not wait either, because std aborts
//! the process if another green thread panics meanwhile. In the hook sleeps and yields return at once, and IO that would have to
//! wait fails. A lock, a channel or a join that would have to wait leaves the hook, and raises an error that says so in place of
//! the panic. Use `try_lock` in the hook, or a queue without a limit.

pub(crate) mod amid_faults;
pub(crate) mod beat;
pub(crate) mod birth;
pub(crate) mod birth_of_first;
pub(crate) mod bystander;
pub(crate) mod census;
mod collecting;
mod configuration;
mod current;
pub(crate) mod deadlock;
pub(crate) mod door;
mod doorbell;
mod driver;
mod ear;
pub(crate) mod ended;
pub(crate) mod faults;
mod feed;
pub(crate) mod fork;
mod handle;
pub(crate) mod handover;
pub(crate) mod history;
pub(crate) mod in_world;
#[cfg(feature = "monkey")]
mod isolated;
mod jobs;
mod killing;
mod lifetime;
#[cfg(feature = "monkey")]
pub(crate) mod no_unwind;
mod notes;
mod notify;
mod panic_hook;
pub(crate) mod reactor;
mod ready;
pub(crate) mod residence;
mod run;
pub(crate) mod signals;
mod state;
mod steps;
pub(crate) mod tally;
pub(crate) mod time_limit;
pub(crate) mod timers;
pub(crate) mod wait;
pub(crate) mod waiter;
pub(crate) mod waitlist;
pub(crate) mod waitset;
mod wake;
pub(crate) mod watch;
pub(crate) mod witness;
pub(crate) mod witnessed;
pub(crate) mod world;
mod yielding;

pub use configuration::{AlreadyRunning, Config, configure};
pub(crate) use current::{HubRef, local_hub};
pub use driver::Driver;
pub use handle::Hub;
#[cfg(feature = "monkey")]
pub(crate) use lifetime::lend_hub;
pub(crate) use lifetime::{hub, make_own_hub};
pub use panic_hook::install_panic_hook;
pub(crate) use state::{Alarm, Ended, Feed, HubId, HubState, Job};
pub(crate) use yielding::{idle, leave, spend_budget, yield_now};

pub use crate::fiber::{Uncaught, UncaughtHook, set_uncaught_hook};
