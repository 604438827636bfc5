//! The crate `rayon`, whose own OS threads do the work.

use std::rc::Rc;
use std::thread;
use std::time::Instant;

use ::rayon::prelude::*;
use ::rayon::{ThreadPool, ThreadPoolBuilder};
use clients::measure::{at_once, patched};
use greenloop::{spawn, with_timeout};

use crate::{DELAY, MANY};

fn pool() -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(MANY as usize).build().unwrap()
}

/// A sum, after [`DELAY`].
fn sum(up_to: u32) -> u32 {
    thread::sleep(DELAY);
    (0..=up_to).into_par_iter().sum()
}

#[test]
fn fifty_sums_at_once() {
    let pool = pool();
    at_once(
        "rayon",
        MANY,
        |_| (),
        move |number, ()| {
            assert_eq!(pool.install(|| sum(number)), number * (number + 1) / 2);
        },
    );
}

/// Who waits for it, waits as for a lock, and such a wait has no error to return. The hub runs on.
#[test]
fn an_interrupted_wait_goes_on_until_its_answer() {
    clients::page::assert_uninterrupted("rayon");
    patched(|| {
        let pool = Rc::new(pool());
        let for_limited = pool.clone();
        let start = Instant::now();
        let ticks = spawn(move || {
            (0..)
                .map(|tick| (tick, greenloop::sleep(DELAY / 50)))
                .find(|_| start.elapsed() >= DELAY)
                .unwrap()
                .0
        });
        let limited = spawn(move || with_timeout(DELAY / 10, || for_limited.install(|| sum(4))));
        assert_eq!(limited.join().unwrap(), Ok(10));
        assert!(start.elapsed() >= DELAY);
        assert!(ticks.join().unwrap() > 1, "the OS thread was stopped");

        let killed = spawn(move || pool.install(|| sum(4)));
        greenloop::yield_now();
        killed.kill();
        assert_eq!(killed.join().unwrap(), 10);
    });
}
