//! OS threads for blocking work: who waits, what comes back, and when threads come and go.

#[path = "../support/mod.rs"]
mod support;

/// A pool in the child of a fork.
mod fork;
/// Many items at a time.
mod map;
/// Pools of one's own: size, queue, jobs.
mod pool;
/// The pool that everybody shares.
mod unblock;

use std::fs;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use support::until;

const LIMIT: Duration = Duration::from_secs(60);

/// The state of each thread of a pool in this process, as the kernel shows it.
fn pool_threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let lines = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let states = lines.filter_map(|line| Some(line.split_once("(greenloop-pool) ")?.1[..1].to_owned()));
    states.collect()
}

/// A job that runs until it is told to end, with the sign that it has begun.
struct Gate {
    begun: Receiver<()>,
    go: Sender<()>,
}

fn gate() -> (Gate, impl FnOnce() + Send + 'static) {
    let (tell_begun, begun) = channel();
    let (go, gone) = channel::<()>();
    let job = move || {
        let _ = tell_begun.send(());
        // An error is the gate's end, which opens it too.
        let _ = gone.recv();
    };
    (Gate { begun, go }, job)
}

impl Gate {
    fn wait_until_begun(&self) {
        until(|| self.begun.try_recv().is_ok());
    }

    fn has_begun(&self) -> bool {
        self.begun.try_recv().is_ok()
    }

    fn open(self) {
        let _ = self.go.send(());
    }
}
