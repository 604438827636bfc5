//! Greenlets and generators beyond what the conformance suite cites from greenlet.

#[path = "../support/mod.rs"]
mod support;

mod chain;
mod generator;
mod switching;

use std::time::Duration;

/// The bound of a test that should take no time.
const LIMIT: Duration = Duration::from_secs(60);
