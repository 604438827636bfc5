//! Green threads beyond what the conformance suite cites from gevent: what a user of this library relies on.

#[path = "../support/mod.rs"]
mod support;

/// Futures, in green threads and of green threads.
mod future;
/// Handles, builders, numbers, names.
mod handle;
/// Times that come again and again.
mod interval;
/// Kills at every moment of a green thread's life, from everywhere.
mod kill;
/// Callbacks at a green thread's end, and errors that nobody takes.
mod link;
/// Values per green thread.
mod local;
/// Waiting for many.
mod many;
/// Green threads that borrow.
mod scope;
/// Timers that may be late.
mod slack;
/// Kills and time limits of who waits in a switch or for a generator.
mod switching;
/// Time limits: races, nesting, identity.
mod timeout;

use std::any::Any;
use std::time::{Duration, Instant};

use support::{CountsDrops, Log, raise, text};

/// The bound of a test that should take no time.
const LIMIT: Duration = Duration::from_secs(60);
/// Longer than any test lasts: for a wait that something else is to end.
const LONG: Duration = Duration::from_secs(3600);
/// A time that is over soon.
const SHORT: Duration = Duration::from_millis(2);

/// The text of what was raised.
fn raised<R>(outcome: Result<R, Box<dyn Any + Send>>) -> String {
    match outcome {
        Ok(_) => panic!("nothing was raised"),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => text(&*payload).to_owned(),
        },
    }
}

/// Computes for as long, and lets nobody else run.
fn compute(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}
