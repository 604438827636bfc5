//! Child processes: their ends, their output, who waits meanwhile, and what is left over.

#[path = "../support/mod.rs"]
mod support;

/// Waits that end early: kills, time limits, dropped handles.
mod interruption;
/// Output, all of it or what came in time.
mod output;
/// Exit statuses, and waiting for them in every way.
mod wait;

use std::time::Duration;

use greenloop::process::{Command, Stdio};
use support::until;

const LIMIT: Duration = Duration::from_secs(60);
/// Longer than any test lasts.
const LONG: Duration = Duration::from_secs(3600);

/// A shell that runs `script`.
fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// A child that runs until its standard input ends.
fn cat() -> Command {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command
}

/// Whether there is such a process, one that has ended and was not waited for included.
fn exists(process: u32) -> bool {
    std::fs::exists(format!("/proc/{process}")).expect("/proc is mounted")
}
