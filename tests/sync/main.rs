//! Locks and what else waits for one another: order, kill and time limit at every moment of a wait, several hubs at once.

#[path = "../support/mod.rs"]
mod support;

mod barrier;
mod condvar;
/// Green threads that never run again, because their OS thread has ended.
mod ended_threads;
/// Two hubs and plain threads at once, with kills and time limits at random.
mod hammer;
mod mutex;
/// What is done once: `Once`, `OnceLock`, `LazyLock`.
mod once;
mod reentrant_lock;
mod rwlock;
mod semaphore;
/// What is `Send`, `Sync` and unwind-safe.
mod traits;
mod wait_group;

use std::time::Duration;

use support::Log;

const LIMIT: Duration = Duration::from_secs(120);
