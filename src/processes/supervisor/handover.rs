//! Starting the program anew, with its listeners.
//!
//! They have the numbers from 3 on, and the environment says how many, for which process: LISTEN_FDS and LISTEN_PID, as systemd has it. One
//! more is the end of a pipe, by which the new program says that it is ready.

#![expect(unsafe_code, reason = "descriptors whose numbers the environment tells")]

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::sys::descriptor;

const COUNT: &str = "LISTEN_FDS";
const PROCESS: &str = "LISTEN_PID";
/// At which of the numbers the pipe is.
const READY: &str = "GREENLOOP_READY";
const GENERATION: &str = "GREENLOOP_GENERATION";
/// Begins what the pipe says of a program that could not be begun.
pub(super) const FAILED: &str = "not executed: ";

/// How to start this program again: where it was when it began, for it may be replaced by then.
#[derive(Debug, Clone)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    pub(super) fn this() -> Program {
        let mut arguments = std::env::args_os();
        let name = PathBuf::from(arguments.next().unwrap_or_default());
        Program { path: std::env::current_exe().unwrap_or(name), arguments: arguments.collect() }
    }

    /// Becomes that program, in a child that ends if this returns: the error stands in the pipe then.
    pub(super) fn become_it(&self, listeners: &[BorrowedFd<'_>], ready: BorrowedFd<'_>, generation: u64) {
        let fds: Vec<_> = listeners.iter().copied().chain([ready]).collect();
        if descriptor::place_for_exec(&fds).is_err() {
            return;
        }
        let error = Command::new(&self.path)
            .args(&self.arguments)
            .env(COUNT, listeners.len().to_string())
            .env(PROCESS, std::process::id().to_string())
            .env(READY, listeners.len().to_string())
            .env(GENERATION, generation.to_string())
            .exec();
        // SAFETY: it was put there above, and is taken once, here.
        let ready = unsafe { descriptor::handed_over(listeners.len() as u32) };
        if let Ok(ready) = ready {
            // Where nobody hears it, nobody waits for it.
            let _ = File::from(ready).write_all(format!("{FAILED}{error}").as_bytes());
        }
    }
}

/// What the environment says of a number, if it is meant for this process.
fn told(name: &str) -> Option<u64> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    (number(PROCESS)? == u64::from(std::process::id())).then(|| number(name))?
}

/// The next listener that whoever started this program has handed over, if there is one.
pub(super) fn next_listener() -> Option<OwnedFd> {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let count = u32::try_from(told(COUNT)?).ok()?;
    let place =
        TAKEN.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |taken| (taken < count).then_some(taken + 1));
    // SAFETY: the environment says that there are so many for this very process, and each is taken once.
    unsafe { descriptor::handed_over(place.ok()?) }.ok()
}

/// The generation that was told, or 0.
pub(super) fn generation() -> u64 {
    told(GENERATION).unwrap_or(0)
}

/// The pipe into which this program is to say that it is ready, if somebody wants to know. Once.
pub(super) fn ready_pipe() -> Option<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let place = u32::try_from(told(READY)?).ok()?;
    if TAKEN.swap(true, Ordering::SeqCst) {
        return None;
    }
    // SAFETY: the environment says that it is there for this very process; it is no listener's, and is taken once.
    unsafe { descriptor::handed_over(place) }.ok()
}
