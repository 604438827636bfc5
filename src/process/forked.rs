//! Children that were forked.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::end_watch::EndWatch;
use crate::io::{Pauses, wait_readable};
use crate::sys::clock::Time;
use crate::sys::{descriptor, process};

/// Waits until a child of this process has ended, for instance one of [`fork`](super::fork), and returns its exit status.
///
/// The kernel forgets the status then, so a child can be waited for once. This is gevent's `waitpid`. For the child of a
/// [`Command`](super::Command), use [`Child::wait`](super::Child::wait).
///
/// The calling green thread yields unless the child has ended. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the
/// wait, and leaves the process alone.
///
/// # Errors
///
/// ECHILD if there is no such child, or its status has been taken. `InvalidInput` if `child` cannot be the number of a process.
///
/// # Examples
///
/// ```
/// use greenloop::process::{Fork, fork, wait_pid};
///
/// // SAFETY: the child ends at once.
/// match unsafe { fork() }? {
///     Fork::Child => std::process::exit(7),
///     Fork::Parent { child } => {
///         assert_eq!(wait_pid(child)?.code(), Some(7));
///         assert!(wait_pid(child).is_err()); // the status has been taken
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "waitpid")]
pub fn wait_pid(child: u32) -> io::Result<ExitStatus> {
    let mut pauses = Pauses::until(Time::NEVER);
    loop {
        if let Some(status) = process::try_wait(child)? {
            return Ok(ExitStatus::from_raw(status));
        }
        match EndWatch::of(child).and_then(wait_readable) {
            // No descriptor is left for that.
            Err(error) if descriptor::is_shortage(&error) && pauses.pause() => {}
            waited => waited?,
        }
    }
}
