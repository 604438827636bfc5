//! The fork that is safe: no OS thread is left behind, and the child never returns to the frames of its parent.

#![expect(unsafe_code, reason = "a fork, and giving up what was inherited, are contracts")]

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::bystander::keep_at_rest;
use super::door::BYSTANDERS;
use crate::sys::{heirloom, process};

/// How often threads are counted before they count as staying: one that ends is there for a moment after it was joined, or was idle. The
/// first pause between two counts, of which each is twice as long as the one before.
const COUNTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_micros(500);
/// How long a thread of the library's own is waited for that is at work. One that looks up the names of calls for the first time takes a
/// second, and longer on a busy machine.
const LONGEST_WORK: Duration = Duration::from_secs(10);

/// Why there is no child.
#[derive(Debug)]
pub(crate) enum Childless {
    /// The process has so many OS threads that may hold something, beside the calling one.
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
    let (began, mut counts) = (Instant::now(), 0);
    let at_rest = loop {
        let at_rest = keep_at_rest();
        let (foreign, at_work) = (foreign_threads().map_err(Childless::System)?, at_rest.at_work());
        if foreign + at_work == 0 {
            break at_rest;
        }
        drop(at_rest);
        counts += u32::from(foreign > 0);
        if counts >= COUNTS || began.elapsed() >= LONGEST_WORK {
            return Err(Childless::ForeignThreads(foreign + at_work));
        }
        thread::sleep(FIRST_PAUSE * (1 << counts.saturating_sub(1)));
    };
    // SAFETY: there are no other OS threads but idle ones of pools, which hold nothing, and nobody can call those up but this one; and
    // the library's own, which hold nothing either while they are kept at rest.
    let child = unsafe { process::fork() }.map_err(Childless::System)?;
    if child != 0 {
        drop(at_rest);
        return Ok(child);
    }
    process::end_now(run())
}

/// How many OS threads there are that are none of the library's, nor of its pools' while they are idle.
fn foreign_threads() -> io::Result<usize> {
    let idle = BYSTANDERS.count();
    let all = process::thread_count().ok_or(io::ErrorKind::Unsupported)?;
    Ok(all.saturating_sub(idle + 1))
}
