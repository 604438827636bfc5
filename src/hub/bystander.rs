//! The library's OS threads that attend to the whole process.
//!
//! They wake no hub of their own accord. A fork takes none along, so none may be at work then.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use super::door::BYSTANDERS;
use crate::sys::atomic::yield_now;

/// The process, how many forks of it have them all stay at rest, and how many are at work: 32, 16 and 16 bits.
static AT_WORK: AtomicU64 = AtomicU64::new(0);
const FORK: u64 = 1 << 16;

/// What has been counted in this process.
fn own(state: u64) -> u64 {
    let process = u64::from(process::id()) << 32;
    if state & !u64::from(u32::MAX) == process { state } else { process }
}

fn change(change: impl Fn(u64) -> Option<u64>) -> bool {
    AT_WORK.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| change(own(state))).is_ok()
}

fn begin_work() {
    while !change(|state| (state as u32 >> 16 == 0).then_some(state + 1)) {
        yield_now();
    }
}

fn end_work() {
    change(|state| Some(state - 1));
}

/// The calling OS thread, while it is one of them. At work, but for [`rest`](Bystander::rest).
#[derive(Debug)]
pub(crate) struct Bystander(());

impl Bystander {
    pub(crate) fn begin() -> Bystander {
        begin_work();
        BYSTANDERS.add();
        Bystander(())
    }

    /// Calls `wait`, which only blocks: it holds no lock, and allocates nothing. Returns when no fork is under way.
    pub(crate) fn rest(&self, wait: impl FnOnce()) {
        end_work();
        wait();
        begin_work();
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        BYSTANDERS.remove();
        end_work();
    }
}

/// While this is there, those that rest go on doing so.
#[derive(Debug)]
pub(super) struct KeptAtRest(());

pub(super) fn keep_at_rest() -> KeptAtRest {
    change(|state| Some(state + FORK));
    KeptAtRest(())
}

impl KeptAtRest {
    /// How many do not rest.
    pub(super) fn at_work(&self) -> usize {
        own(AT_WORK.load(Ordering::SeqCst)) as u16 as usize
    }
}

impl Drop for KeptAtRest {
    fn drop(&mut self) {
        // In the child of the fork, nothing is counted.
        change(|state| (state as u32 >> 16 > 0).then(|| state - FORK));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_that_rests_gets_up_after_the_fork() {
        let (wake, wakes) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            let bystander = Bystander::begin();
            tell.send("begun").unwrap();
            bystander.rest(|| while wakes.recv().is_ok() {});
            tell.send("up").unwrap();
        });
        assert_eq!(told.recv(), Ok("begun"));
        let kept = loop {
            let kept = keep_at_rest();
            if kept.at_work() == 0 {
                break kept;
            }
            drop(kept);
            thread::yield_now();
        };
        drop(wake);
        assert_eq!(told.recv_timeout(Duration::from_millis(20)), Err(mpsc::RecvTimeoutError::Timeout));
        drop(kept);
        assert_eq!(told.recv(), Ok("up"));
        thread.join().unwrap();
    }
}
