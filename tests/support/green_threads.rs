//! What tests do with green threads again and again.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Has the errors that no one can receive collected here, for the whole process: for a test that is a child process.
pub(crate) fn collect_uncaught() -> Arc<Mutex<Vec<String>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    greenloop::hub::set_uncaught_hook(Some(Arc::new(move |uncaught| {
        log.lock().unwrap().push(uncaught.to_string());
    })));
    told
}

/// Spawns, and lets it run until it waits.
pub(crate) fn spawn_parked<T: 'static>(run: impl FnOnce() -> T + 'static) -> greenloop::JoinHandle<T> {
    let task = greenloop::spawn(run);
    greenloop::idle();
    assert!(!task.is_finished(), "it was to wait");
    task
}

/// Keeps the OS thread until `deadline` is past, so that the hub finds all that was due before at once: also a time limit that was made
/// of it, somewhat later if the OS thread was kept from the processor meanwhile.
pub(crate) fn block_past(deadline: Instant) {
    thread::sleep(deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(50));
}

/// Two deadlines of which the first is due before the second, and both after everybody has parked, on a busy machine too.
pub(crate) fn two_deadlines() -> (Instant, Instant) {
    let first = Instant::now() + Duration::from_millis(250);
    (first, first + Duration::from_millis(5))
}

/// An OS thread that ends while a green thread of its waits; that one never runs again.
pub(crate) fn end_with_one_parked(wait: impl FnOnce() + Send + 'static) {
    thread::spawn(|| drop(spawn_parked(wait))).join().unwrap();
}

/// Lets the hub hear of every descriptor, and everybody run whom that concerns.
pub(crate) fn settle() {
    // Each sleep, however short, takes the hub to its timers and descriptors; what is woken there may cause more to hear.
    for _ in 0..3 {
        greenloop::sleep(Duration::from_nanos(1));
        greenloop::idle();
    }
}
