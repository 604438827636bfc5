//! What a new user meets first: errors and types do as those of std's and of other crates do.

mod errors;
mod identity;
mod misuse;
mod unwinding;

#[path = "../support/mod.rs"]
mod support;

use std::any::Any;
use std::time::Duration;

/// The bound of a test that should take no time.
const LIMIT: Duration = Duration::from_secs(60);

/// Calls a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn text(payload: &(dyn Any + Send)) -> &str {
    match payload.downcast_ref::<&str>() {
        Some(text) => text,
        None => payload.downcast_ref::<String>().expect("a text"),
    }
}
