//! Mutex, condition variable and semaphore: order, kill and time limit at every moment of a wait, several hubs at once.

#[path = "../support/mod.rs"]
mod support;

mod condvar;
/// Green threads that never run again, because their OS thread has ended.
mod ended_threads;
/// Two hubs and plain threads at once, with kills and time limits at random.
mod hammer;
mod mutex;
mod semaphore;
/// What is `Send`, `Sync` and unwind-safe.
mod traits;

use std::cell::RefCell;
use std::hint::spin_loop;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::{JoinHandle, idle, spawn};

const LIMIT: Duration = Duration::from_secs(20);

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn add(&self, what: impl ToString) {
        self.0.borrow_mut().push(what.to_string());
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// Spawns, and lets it run until it waits.
fn spawn_parked<T: 'static>(run: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    let task = spawn(run);
    idle();
    assert!(!task.is_finished(), "it was to wait");
    task
}

/// Uses the processor until `deadline` is well past, so that the hub finds all that was due before at once.
fn spin_past(deadline: Instant) {
    while Instant::now() < deadline + Duration::from_millis(2) {
        spin_loop();
    }
}

/// Two deadlines of which the first is due before the second, both soon.
fn two_deadlines() -> (Instant, Instant) {
    let second = Instant::now() + Duration::from_millis(20);
    (second - Duration::from_millis(5), second)
}
