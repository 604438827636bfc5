//! The fork that is safe: no OS thread is left behind, and the child never returns to the frames of its parent.

#![expect(unsafe_code, reason = "a fork, and giving up what was inherited, are contracts")]

use std::io;
use std::thread;
use std::time::Duration;

use super::door::BYSTANDERS;
use crate::sys::{heirloom, process};

/// How often threads are counted before they count as staying: one of a pool's that ends is there for a moment after it was idle.
const COUNTS: u32 = 10;
const PAUSE: Duration = Duration::from_micros(500);

/// Why there is no child.
#[derive(Debug)]
pub(crate) enum Childless {
    /// The process has so many OS threads beside the calling one and the idle ones of pools.
    ForeignThreads(usize),
    System(io::Error),
}

/// Forks, if the child needs nobody who is not in it, and returns its number.
///
/// The child calls `inherit`, gives up each [heirloom](heirloom) but those whose names that returns, then calls `run`, and ends with what
/// that returns. Neither may unwind.
pub(crate) fn fork_alone(
    inherit: impl FnOnce() -> Vec<u64>,
    run: impl FnOnce() -> i32,
) -> Result<u32, Childless> {
    fork_whole(|| {
        let kept = inherit();
        // SAFETY: this is the child of a fork. `inherit` is the library's, and leaves nothing that is borrowed; no other greenlet of
        // this process has run, and the frames below this one never go on.
        unsafe { heirloom::abandon_others(&kept) };
        run()
    })
}

/// The same for a child that gives up nothing.
pub(crate) fn fork_whole(run: impl FnOnce() -> i32) -> Result<u32, Childless> {
    let mut foreign = foreign_threads().map_err(Childless::System)?;
    for _ in 1..COUNTS {
        if foreign == 0 {
            break;
        }
        thread::sleep(PAUSE);
        foreign = foreign_threads().map_err(Childless::System)?;
    }
    if foreign > 0 {
        return Err(Childless::ForeignThreads(foreign));
    }
    // SAFETY: there are no other OS threads but idle ones of pools, which hold nothing; and nobody can call those up but this one.
    let child = unsafe { process::fork() }.map_err(Childless::System)?;
    if child != 0 {
        return Ok(child);
    }
    process::end_now(run())
}

/// How many OS threads there are that may hold something.
fn foreign_threads() -> io::Result<usize> {
    let idle = BYSTANDERS.count();
    let all = process::thread_count().ok_or(io::ErrorKind::Unsupported)?;
    Ok(all.saturating_sub(idle + 1))
}
