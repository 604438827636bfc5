//! Safe code that does its worst at the edges: hooks that switch, scopes that end while something goes wrong, OS threads that
//! end too early, destructors that misbehave, and no memory, descriptor or thread to be had. Each module is a kind of fault.

#[path = "../support/mod.rs"]
mod support;

mod callbacks;
mod choices;
mod descriptors;
mod destructors;
mod growth;
mod guards;
mod handed_over;
#[cfg(feature = "monkey")]
mod isolation;
mod limits;
mod links;
mod no_stack;
mod scopes;
mod semaphores;
mod thread_end;
mod threads;
mod values;
mod wakes;

use std::time::Duration;

/// The bound of a test that should take no time.
#[allow(dead_code, reason = "the modules take what they need")]
const LIMIT: Duration = Duration::from_secs(60);
