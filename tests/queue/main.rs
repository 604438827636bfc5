//! Queues: kill and time limit at every moment of a wait, several hubs at once. What gevent's tests hold is in
//! `tests/conformance/queue.rs`.

#[path = "../support/mod.rs"]
mod support;

/// Two hubs and plain threads at once, with kills and time limits at random.
mod hammer;
/// What ends a wait before its time.
mod interruption;
/// What is `Send`, `Sync` and unwind-safe; what errors and queues say of themselves.
mod traits;

use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
