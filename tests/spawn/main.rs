//! std's threads and C's as green threads of their maker's hub: `Parts::SPAWN`.

#![expect(unsafe_code, reason = "C calls, as a C library makes them")]

#[path = "../support/shared_library.rs"]
mod shared_library;
#[path = "../support/mod.rs"]
mod support;

mod cplusplus;
mod ends;
mod pthreads;
mod standard;

use std::thread;
use std::time::Duration;

use greenloop::monkey::{Parts, patch};
use support::within;

const LIMIT: Duration = Duration::from_secs(60);

/// Runs `run` on an OS thread of its own with a hub, patched.
fn patched<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    patch_threads();
    within(LIMIT, || {
        greenloop::yield_now();
        run()
    })
}

/// Without a hub for the caller.
fn patch_threads() {
    let coverage = thread::spawn(|| patch(Parts::ALL | Parts::SPAWN)).join().unwrap();
    assert!(coverage.is_complete() && coverage.parts().contains(Parts::SPAWN), "{coverage}");
}

/// The number of the OS thread that runs this.
fn os_thread() -> i32 {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() }
}
