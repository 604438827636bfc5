//! Children that were forked.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::ending::Ending;
use crate::io::{Pauses, wait_readable};
use crate::sys::clock::Time;
use crate::sys::{descriptor, process};

/// Waits until a child of this process has ended, for instance one of [`fork`](super::fork), and returns its exit status, which nobody
/// can wait for again. gevent's `waitpid`; a [`Command`](super::Command)'s child is waited for by [`Child`](super::Child).
///
/// The calling green thread yields unless it has ended. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait,
/// and leaves the process alone.
///
/// # Errors
///
/// ECHILD if there is no such child, or somebody else has waited for it. `InvalidInput` for what cannot be a process's number.
///
/// # Examples
///
/// See [`fork`](super::fork).
#[doc(alias = "waitpid")]
pub fn wait_pid(child: u32) -> io::Result<ExitStatus> {
    let mut pauses = Pauses::until(Time::NEVER);
    loop {
        if let Some(status) = process::try_wait(child)? {
            return Ok(ExitStatus::from_raw(status));
        }
        match Ending::of(child).and_then(wait_readable) {
            // No descriptor is left for that.
            Err(error) if descriptor::is_shortage(&error) && pauses.pause() => {}
            waited => waited?,
        }
    }
}
