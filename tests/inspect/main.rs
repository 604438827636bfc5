//! Insight: what a dump tells, of whom, from where. What a report of a deadlock tells is in `tests/hub/scenarios.rs`.

#[path = "../support/mod.rs"]
mod support;

/// The detector and dumps at once, amid all that can disturb them.
mod amid_everything;
/// In which calls each waits.
mod backtraces;
/// gdb's commands.
mod debugger;
/// Who keeps a hub.
mod detector;
/// What a dump says of each green thread, and how it puts them together.
mod dump;
/// Dumps of other hubs, from other OS threads, and where nothing may wait.
mod elsewhere;
/// What the environment asks for.
mod environment;
/// What the guide says of dumps.
mod guide;
/// Since when each waits, and who has spawned it.
mod history;
/// Metrics and dumps over HTTP.
mod http;
/// A Unix socket for who attaches.
mod listen;
/// How much hubs have done.
mod metrics;
/// Dumps that a signal asks for.
mod on_signal;
/// How long hubs run whom, and what they did of late.
mod recorder;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use greenloop::inspect::{Dump, GreenThread};

/// The bound of a test that should take no time.
const LIMIT: Duration = Duration::from_secs(60);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

/// Held by who asks all hubs of the process to take times, or to stop: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The only one of that name.
fn named<'a>(dump: &'a Dump, name: &str) -> &'a GreenThread {
    let found: Vec<_> = dump.green_threads().filter(|thread| thread.name() == name).collect();
    let [only] = found[..] else { panic!("{} are named {name}", found.len()) };
    only
}

/// The dump as a program reads it.
fn parsed(dump: &Dump) -> serde_json::Value {
    let mut json = Vec::new();
    dump.write_json(&mut json).expect("room in memory");
    serde_json::from_slice(&json).expect("JSON")
}
