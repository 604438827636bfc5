//! What every example that is a tool does: it helps, refuses, and minds what becomes of its output.

#![allow(dead_code, reason = "each test binary takes what it needs")]

use std::fs::File;
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Finished, example, finish, within};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs a tool with these arguments.
pub(crate) fn run(name: &str, arguments: &[&str]) -> Finished {
    finish(Command::new(example(name)).args(arguments), LIMIT)
}

/// Runs a tool with no more than so many files open at a time.
pub(crate) fn run_with_few_files(files: u32, name: &str, arguments: &[&str]) -> Finished {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]).arg(example(name));
    finish(command.args(arguments), LIMIT)
}

/// Asserts that it tells how to use it, and refuses what it does not know.
pub(crate) fn helps_and_refuses(name: &str) {
    let helped = run(name, &["--help"]);
    assert!(helped.status.success() && helped.stdout.len() > 100 && helped.stderr.is_empty(), "{helped:?}");
    refuses(name, &["--no-such-argument"], "unexpected argument");
}

/// Asserts that it refuses these arguments, and tells why.
pub(crate) fn refuses(name: &str, arguments: &[&str], reason: &str) {
    let run = run(name, arguments);
    assert_eq!((run.status.code(), run.stdout.as_str()), (Some(2), ""), "{name} {arguments:?}: {run:?}");
    assert!(run.stderr.contains(reason), "{name} {arguments:?}: {}", run.stderr);
}

/// Asserts that it ends well when whoever reads its standard output has gone.
pub(crate) fn ends_quietly_when_nobody_reads(name: &str, arguments: &[&str]) {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(run_into(writer, name, arguments), (Some(0), String::new()), "{name} {arguments:?}");
}

/// Asserts that it tells in a line that its standard output cannot be written.
pub(crate) fn says_when_it_cannot_write(name: &str, arguments: &[&str]) {
    let full = File::options().write(true).open("/dev/full").expect("a device that is always full");
    let line = format!("{name}: cannot write the results: No space left on device (os error 28)\n");
    assert_eq!(run_into(full, name, arguments), (Some(1), line), "{name} {arguments:?}");
}

/// Runs a tool into `stdout`: its exit code, and what it says to standard error.
fn run_into(stdout: impl Into<Stdio>, name: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(example(name));
    command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    let output = within(LIMIT, move || command.output().expect("it starts and ends"));
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}
