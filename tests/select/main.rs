//! Waiting for the first of several things.

#[path = "../support/mod.rs"]
mod support;

/// What is chosen, and how fairly.
mod choosing;
/// Arms that wait for descriptors.
mod descriptors;
/// Two hubs and plain threads at once, with kills and time limits at random.
mod hammer;
/// Kill and time limit at every moment of a wait.
mod interruption;
/// poll(2).
mod poll;
/// Channels that hold nothing: those who choose meet each other.
mod rendezvous;
/// The event loop of one's own.
mod selector;
/// What the macro takes.
mod syntax;
/// Receivers among the things that one waits for.
mod waiting;

use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(2);
/// Longer than any test lasts: for a wait that something else is to end.
const LONG: Duration = Duration::from_secs(3600);
