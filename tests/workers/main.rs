//! All processors: who begins what, what comes back, and how it ends.

#![expect(unsafe_code, reason = "fork has no safe form")]

#[path = "../support/mod.rs"]
mod support;

/// Children of forks.
mod forking;
/// Many at once, at random, with kills.
mod hammer;
/// Many items.
mod map;
/// How many there are, and that it changes.
mod resizing;
/// Green threads that borrow.
mod scope;
/// One server on all workers.
mod serve;
/// State in parts.
mod sharded;
/// Where jobs begin, what they return, and who may kill them.
mod spawning;
/// The end of all.
mod stopping;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use greenloop::workers::{Builder, Workers};

use support::{OnDrop, until};

const LIMIT: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(60);

fn workers(number: usize) -> Workers {
    Builder::new().number(number).build().expect("OS threads")
}

/// Does something while there are more and less workers all the time.
fn while_they_come_and_go(workers: &Workers, act: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let rounds = (0..).take_while(|_| !over.load(Ordering::SeqCst));
        scope.spawn(|| rounds.for_each(|round: usize| workers.resize(1 + round % 6).unwrap()));
        let _end = OnDrop(|| over.store(true, Ordering::SeqCst));
        act();
    });
}

/// Blocks a worker's OS thread until it is told to go on, with the sign that it has begun.
struct Gate {
    begun: Receiver<()>,
    go: Sender<()>,
}

impl Gate {
    /// A worker that is blocked from when this returns.
    fn on(workers: &Workers, worker: usize) -> Gate {
        let (gate, job) = Gate::new();
        drop(workers.spawn_on(worker, job));
        gate.wait_until_begun();
        gate
    }

    fn new() -> (Gate, impl FnOnce() + Send + 'static) {
        let (tell_begun, begun) = channel();
        let (go, gone) = channel::<()>();
        let job = move || {
            let _ = tell_begun.send(());
            // An error is the gate's end, which opens it too.
            let _ = gone.recv();
        };
        (Gate { begun, go }, job)
    }

    fn wait_until_begun(&self) {
        until(|| self.begun.try_recv().is_ok());
    }

    fn open(self) {
        let _ = self.go.send(());
    }
}

/// Waits until those of other tests have ended, that were dropped and not stopped: for who counts what the whole process has.
fn until_alone() {
    until(|| worker_threads() == 0);
}

/// How many OS threads of the process are workers.
fn worker_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("worker-")).count()
}

/// A value that counts when it is dropped.
fn counts_its_drop(drops: &Arc<AtomicUsize>) -> OnDrop<impl FnMut() + Send + use<>> {
    let drops = Arc::clone(drops);
    OnDrop(move || {
        drops.fetch_add(1, Ordering::SeqCst);
    })
}
