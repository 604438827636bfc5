//! Green threads beyond what the conformance suite cites from gevent: what a user of this library relies on.

#[path = "../support/mod.rs"]
mod support;

/// Futures, in green threads and of green threads.
mod future;
/// Handles, builders, numbers, names.
mod handle;
/// Times that come again and again.
mod interval;
/// Kills at every moment of a green thread's life, from everywhere.
mod kill;
/// Callbacks at a green thread's end, and errors that nobody takes.
mod link;
/// Values per green thread.
mod local;
/// Waiting for many.
mod many;
/// Green threads that borrow.
mod scope;
/// Kills and time limits of who waits in a switch or for a generator.
mod switching;
/// Time limits: races, nesting, identity.
mod timeout;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The bound of a test that should take no time.
const LIMIT: Duration = Duration::from_secs(60);
/// Longer than any test lasts: for a wait that something else is to end.
const LONG: Duration = Duration::from_secs(3600);
/// A time that is over soon.
const SHORT: Duration = Duration::from_millis(2);

/// Raises `text`, past the panic hook.
fn raise(text: &'static str) -> ! {
    resume_unwind(Box::new(text))
}

/// The text that was raised.
fn text(payload: &(dyn Any + Send)) -> &str {
    payload.downcast_ref::<&'static str>().expect("a text was raised")
}

/// The text of what was raised.
fn raised<R>(outcome: Result<R, Box<dyn Any + Send>>) -> String {
    match outcome {
        Ok(_) => panic!("nothing was raised"),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => text(&*payload).to_owned(),
        },
    }
}

/// What happened, in order; shared by the greenlets of one thread.
#[derive(Default)]
struct Log<T>(Rc<RefCell<Vec<T>>>);

impl<T> Log<T> {
    fn new() -> Log<T> {
        Log(Rc::new(RefCell::new(Vec::new())))
    }

    fn push(&self, entry: T) {
        self.0.borrow_mut().push(entry);
    }

    fn take(&self) -> Vec<T> {
        self.0.take()
    }
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Log<T> {
        Log(self.0.clone())
    }
}

/// Counts itself when dropped.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Computes for as long, and lets nobody else run.
fn compute(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}
