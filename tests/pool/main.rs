//! Groups and pools of green threads, beyond what the conformance suite cites from gevent.

#[path = "../support/mod.rs"]
mod support;

/// Members: who is one, and how they end.
mod group;
/// Spawns, maps, kills and time limits at random, and what must hold throughout.
mod hammer;
/// One result after another.
mod imap;
/// Members that borrow.
mod scoped;

use std::time::Duration;

/// The bound of a test that should take no time.
const LIMIT: Duration = Duration::from_secs(60);
/// Longer than any test lasts: for a wait that something else is to end.
const LONG: Duration = Duration::from_secs(3600);
/// A time that is over soon.
const SHORT: Duration = Duration::from_millis(2);
