//! Crates, a C library and std that know nothing of greenloop, unmodified under `patch_all`: many green threads of one OS
//! thread at once, beside the same work one after another. Each test prints both times.
//!
//! Some need servers, which they start for themselves: redis-server and PostgreSQL. `.ci/run` installs them.

#[path = "../../support/mod.rs"]
mod support;

mod curl;
mod http;
mod interrupted;
mod library;
mod per_thread;
mod postgres;
mod program;
mod redis;
mod sqlite;
mod standard;
mod tokio;
mod zmq;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use greenloop::Builder;
use greenloop::monkey::patch_all;
use support::within;

/// For each half of a comparison.
const LIMIT: Duration = Duration::from_secs(120);

/// How many times the work is done one after another. More would tell no more.
const SERIAL: u32 = 5;

/// What a server takes to answer. Without optimisation its clients take the processor for long, but waiting is what counts.
const DELAY: Duration = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 100 });

/// Does `work` in `count` green threads of one OS thread, as it is after `patch_all`, and on a thread without a hub, where
/// nothing is patched, [`SERIAL`] times one after another. The latter get the numbers from `count` on.
///
/// # Panics
///
/// Panics unless all at once take less than a third of the time that they would take one after another.
fn compare(what: &str, count: u32, work: impl Fn(u32) + Send + Sync + 'static) {
    assert_cooperative(measure(what, count, Builder::new, work));
}

/// [`compare`], with thread-local variables that all have in common.
fn compare_shared(what: &str, count: u32, work: impl Fn(u32) + Send + Sync + 'static) {
    assert_cooperative(measure(what, count, || Builder::new().isolated(false), work));
}

fn assert_cooperative((together, serial): (Duration, Duration)) {
    assert!(together < serial / 3, "{together:?} at once, {serial:?} one after another");
}

/// What [`compare`] compares: the time of `count` at once, and of as many one after another.
fn measure(
    what: &str,
    count: u32,
    builder: fn() -> Builder,
    work: impl Fn(u32) + Send + Sync + 'static,
) -> (Duration, Duration) {
    let work = Arc::new(work);
    let again = Arc::clone(&work);
    let serial = within(LIMIT, move || timed(|| (count..count + SERIAL).for_each(|number| again(number))));
    let serial = serial * count / SERIAL;
    let together = patched(move || {
        timed(|| {
            let task = |number| {
                let work = Arc::clone(&work);
                builder().spawn(move || work(number)).expect("a green thread")
            };
            let tasks: Vec<_> = (0..count).map(task).collect();
            tasks.into_iter().for_each(|task| task.join().expect("it does its work"));
        })
    });
    let ratio = serial.as_secs_f64() / together.as_secs_f64();
    println!("{what}: {count} at once {together:.2?}, one after another {serial:.2?}, {ratio:.1} times that");
    (together, serial)
}

/// Runs `run` on an OS thread of its own, patched.
fn patched<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    patch_all();
    within(LIMIT, run)
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

/// A folder of a test's own, which goes with it.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new(name: &str) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("greenloop-clients-{name}-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // One of this number may have been left behind.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a new folder");
        Folder { path }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
