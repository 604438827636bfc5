//! What is to be done when a process has its first hub.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set before `main` begins, by a room above.
static AT_FIRST: OnceLock<fn()> = OnceLock::new();
static IS_DONE: AtomicBool = AtomicBool::new(false);

/// Has `begin` called when the first hub has been made, on its OS thread.
pub(crate) fn at_first_hub(begin: fn()) {
    AT_FIRST.get_or_init(|| begin);
}

/// The calling thread's hub has been made.
pub(super) fn born() {
    // What it calls may make hubs.
    if !IS_DONE.load(Ordering::SeqCst)
        && !IS_DONE.swap(true, Ordering::SeqCst)
        && let Some(begin) = AT_FIRST.get()
    {
        begin();
    }
}
