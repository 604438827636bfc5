//! Signals: each test in a process of its own, which sends them to itself.

#![expect(unsafe_code, reason = "a signal to a thread, and another library's handler, have no safe form")]

#[path = "../support/mod.rs"]
mod support;

/// Closures that run when a signal comes.
mod handler;
/// What was there before, and what is there afterwards.
mod neighbours;
/// Signals as an iterator.
mod signals;

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, kill_process};
use support::until;

const LIMIT: Duration = Duration::from_secs(60);
/// Longer than any test lasts.
const LONG: Duration = Duration::from_secs(3600);

/// Sends a signal to the calling thread: its handler has run when this returns.
fn raise(signal: i32) {
    // SAFETY: takes no pointers.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

/// Runs `scenario` in a process of its own, which has to end well.
fn alone<S: FnOnce()>(scenario: S) {
    if let Some(child) = support::run_child(LIMIT, scenario) {
        assert!(child.status.success(), "{child:?}");
    }
}

/// Runs `scenario` in a process of its own, which has to end by `signal`.
fn dies<S: FnOnce()>(signal: i32, scenario: S) {
    if let Some(child) = support::run_child(LIMIT, scenario) {
        assert_eq!(child.status.signal(), Some(signal), "{child:?}");
    }
}

/// Sends a signal to the process some milliseconds later, from another thread.
fn raise_soon(signal: i32) -> std::thread::JoinHandle<()> {
    let process: Pid = getpid();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        kill_process(process, Signal::from_named_raw(signal).expect("a signal")).expect("a signal sent");
    })
}
