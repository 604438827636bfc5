//! Forks: the child's hub is empty, and the parent's as it was. Each test in a process of its own.

#![expect(unsafe_code, reason = "fork has no safe form")]

#[path = "../support/mod.rs"]
mod support;

/// Forks in a green thread.
mod heir;
/// What the child does not run, and what does not wake.
mod nothing;
/// Servers of the parent.
mod servers;
/// What works in the child, and beside it in the parent.
mod works;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;
use std::time::Duration;

use greenloop::process::{Fork, fork, wait_pid};

const LIMIT: Duration = Duration::from_secs(60);
/// Longer than any test lasts.
const LONG: Duration = Duration::from_secs(3600);

/// Runs `scenario` in a process of its own, which has to end well.
fn alone<S: FnOnce()>(scenario: S) {
    if let Some(child) = support::run_child(LIMIT, scenario) {
        assert!(child.status.success(), "{child:?}");
    }
}

/// Runs `run` in a forked child, which then ends with status 0, or 1 if it panicked. The child's number.
fn forked(run: impl FnOnce()) -> u32 {
    // SAFETY: what other threads of this process hold, the harness's, the child does not use.
    match unsafe { fork() }.expect("a child") {
        Fork::Parent { child } => child,
        Fork::Child => {
            let failed = catch_unwind(AssertUnwindSafe(run)).is_err();
            end(i32::from(failed))
        }
    }
}

/// Ends the process here and now.
fn end(status: i32) -> ! {
    // SAFETY: takes no pointers, and runs nothing of the parent's.
    unsafe { libc::_exit(status) }
}

/// Waits for a child that has to end well.
fn succeeds(child: u32) {
    let status: ExitStatus = wait_pid(child).expect("a child");
    assert_eq!(status.code(), Some(0), "{status}");
}

/// Writes one byte, of which a pipe has room for many.
fn tell(mut writer: &std::io::PipeWriter, byte: u8) {
    writer.write_all(&[byte]).expect("room in the pipe");
}
