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
mod locks;
mod no_stack;
mod scopes;
mod semaphores;
mod thread_end;
mod threads;
mod values;

use std::any::Any;
use std::panic::resume_unwind;
use std::time::Duration;

use support::OnDrop;

/// The bound of a test that should take no time.
#[allow(dead_code, reason = "the modules take what they need")]
const LIMIT: Duration = Duration::from_secs(60);

/// Longer than any test lasts: for a wait that something else is to end.
const LONG: Duration = Duration::from_secs(3600);

/// Raises its text when it is dropped, but amid an unwinding.
#[derive(Debug)]
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            resume_unwind(Box::new(self.0));
        }
    }
}

/// The text that was raised.
fn text(payload: &(dyn Any + Send)) -> &str {
    let owned = || payload.downcast_ref::<String>().map(String::as_str);
    payload.downcast_ref::<&'static str>().copied().or_else(owned).expect("a text was raised")
}
