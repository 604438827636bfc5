//! Behaviours of Python's greenlet and gevent that greenloop holds, each a test of its own. `README.md` in this folder
//! lists them by number, with the tests that hold them.

#[path = "../support/mod.rs"]
mod support;

mod context;
mod event;
mod greenlet;
mod hub;
mod lock;
mod monitoring;
mod pool;
mod queue;
mod server;
mod sets;
mod table;
mod task;
mod timeout;
mod tracing;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use greenloop::error::SwitchError;
use support::{Log, collect_uncaught, raise, text};

/// The bound of a test that should take no time.
const LIMIT: Duration = Duration::from_secs(60);

/// Longer than any test lasts: for a wait that something else is to end.
const LONG: Duration = Duration::from_secs(3600);

/// What `run` raises.
fn raised<R>(run: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(_) => panic!("nothing was raised"),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => text(&*payload).to_owned(),
        },
    }
}

/// Whether a switch came back with an exit as its value.
fn is_exit<T>(result: Result<T, SwitchError>) -> bool {
    matches!(result, Err(SwitchError::Exit(_)))
}
