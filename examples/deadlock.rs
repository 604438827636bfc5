//! A deadlock that explains itself: two green threads take two locks in opposite order.
//!
//! Run it with `cargo run --example deadlock`. When nothing is left that could wake the main greenlet, its wait ends with a
//! `LoopExit`, which names every parked green thread and what it waits on. Here it is caught and printed, and then everybody
//! takes the locks in the same order. Caught or not, standard error gets a dump: who holds what the others wait for, and who
//! waits for one another.
//!
//! Expected output:
//!
//!     opposite order:
//!     this wait would block for ever: nothing can wake the hub
//!       green thread 'main' waits on wait
//!       green thread 'left', spawned at examples/deadlock.rs:31:18, waits on Mutex::lock
//!       green thread 'right', spawned at examples/deadlock.rs:31:47, waits on Mutex::lock
//!     same order:
//!     left and right have eaten

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use greenloop::sync::Mutex;
use greenloop::{Builder, JoinHandle, LoopExit, joinall, killall, yield_now};
use tool::say;

mod tool;

fn main() -> std::io::Result<()> {
    tool::takes_no_arguments(include_str!("deadlock.rs"));
    say!("opposite order:");
    let (fork, knife) = tools();
    let table = [eat("left", &fork, &knife)?, eat("right", &knife, &fork)?];
    match catch_unwind(AssertUnwindSafe(|| joinall(&table).len())) {
        Ok(ended) => unreachable!("{ended} of them ended"),
        Err(payload) => say!("{}", payload.downcast::<LoopExit>().expect("a report")),
    }
    // A deadlock stays one: both are still parked.
    killall(&table);

    say!("same order:");
    let (fork, knife) = tools();
    let table = [eat("left", &fork, &knife)?, eat("right", &fork, &knife)?];
    let eaten = table.map(|guest| guest.join().expect("nobody hinders it"));
    say!("{} have eaten", eaten.join(" and "));
    Ok(())
}

/// A fork and a knife. (The killed guests leave theirs poisoned, as with std: they held them while they unwound.)
fn tools() -> (Arc<Mutex<()>>, Arc<Mutex<()>>) {
    Default::default()
}

/// A green thread that takes both tools and eats. The report names the place where this is called.
#[track_caller]
fn eat(
    name: &'static str,
    first: &Arc<Mutex<()>>,
    second: &Arc<Mutex<()>>,
) -> std::io::Result<JoinHandle<&'static str>> {
    let (first, second) = (Arc::clone(first), Arc::clone(second));
    Builder::new().name(name).spawn(move || {
        let _first = first.lock().unwrap();
        yield_now(); // Meanwhile the other one takes its first.
        let _second = second.lock().unwrap();
        name
    })
}
