//! The hub: who runs when, and what ends it. Beside this program are two of their own:
//!
//! - `scenarios.rs`: deadlocks and the end of `main`, which need a process with a single OS thread.
//! - `scale.rs`: large numbers, and long sequences of accidents.
//!
//! What gevent's own tests of its hub hold is in `tests/conformance/hub.rs`; turns at a descriptor are in `tests/io/turns.rs`.

#[path = "../support/mod.rs"]
mod support;

/// Nobody who is always served keeps others waiting.
mod fairness;
/// Greenlets switched by hand and green threads under the hub, mixed.
mod greenlets;

use std::time::Duration;

/// The bound of a test that should take no time.
const LIMIT: Duration = Duration::from_secs(60);
