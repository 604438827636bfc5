//! Tests that run again as worlds, each in many orders of its green threads.

#![allow(unexpected_cfgs, reason = "examples have this file too, but no such feature, and ask for no orders")]

use std::any::type_name;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use greenloop::testing::{self, Search, World, explore};

use super::bounds::within;

/// In how many orders each test runs; without it once, in the order of arrival and in real time.
const SEEDS: &str = "GREENLOOP_SEEDS";

/// How long each of them may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often the workers of a hammer look whether it has fallen long enough, in a world.
const LOOKS: usize = 400;

/// Why a test runs only once, and in real time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LeftOut {
    /// It has OS threads that end, or block, or it asserts what std knows of one: a world is one OS thread, and those that are made in it are
    /// its green threads.
    OsThreads,
    /// It asserts in which order those run who are ready at once, or who runs before it parks.
    HubOrder,
    /// It blocks the OS thread until several times have passed, which its hub is to find at once, in their order.
    BlockedThread,
}

/// How many orders are asked for.
fn seeds() -> Option<usize> {
    let seeds = std::env::var(SEEDS).ok()?;
    Some(seeds.parse().unwrap_or_else(|_| panic!("{SEEDS}: `{seeds}` is no number")))
}

/// Runs `run` as [`within`] does. With `GREENLOOP_SEEDS` in so many orders instead, half of them at random and half by priorities, each in
/// a world, where std's clocks are that world's and what is made as an OS thread is a green thread. At the end nobody may be left.
pub(crate) fn in_any_order(limit: Duration, run: impl Fn() + Send + Sync + 'static) {
    match seeds() {
        None => within(limit, run),
        Some(seeds) => explored(limit, seeds, move |_| run()),
    }
}

/// Runs `test` in a world: once, or with `GREENLOOP_SEEDS` in so many orders.
pub(crate) fn in_a_world(limit: Duration, test: impl Fn(&World) + Send + Sync + 'static) {
    match seeds() {
        None => within(limit, move || testing::run(test)),
        Some(seeds) => explored(limit, seeds, test),
    }
}

/// Runs `run` as [`within`] does, and not in other orders: there it does nothing.
pub(crate) fn once(why: LeftOut, limit: Duration, run: impl FnOnce() + Send + 'static) {
    match seeds() {
        None => within(limit, run),
        Some(_) => println!("left out: {why:?}"),
    }
}

/// What those did who were ready at once, in the order in which they became so. Where a schedule chooses, any of them may be first, and it is
/// sorted.
pub(crate) fn ready_at_once<T: Ord>(mut done: Vec<T>) -> Vec<T> {
    if seeds().is_some() {
        done.sort();
    }
    done
}

fn explored<F: Fn(&World) + Send + Sync + 'static>(limit: Duration, seeds: usize, test: F) {
    patch();
    let again = Again { test: type_name::<F>(), runs: Arc::default() };
    let runs = again.runs.clone();
    within(limit + PATIENCE * seeds as u32, move || {
        let test = |world: &World| {
            runs.fetch_add(1, SeqCst);
            test(world);
        };
        explore(Search::random(seeds.div_ceil(2)), test);
        explore(Search::priorities(3, seeds / 2), test);
    });
    println!("{again}");
}

#[cfg(feature = "monkey")]
fn patch() {
    use greenloop::monkey::{Parts, patch};
    // Who patches has a hub from then on, and that is not to be who runs a test.
    std::thread::spawn(|| patch(Parts::TIME | Parts::THREADS | Parts::SPAWN)).join().expect("no panic");
}

#[cfg(not(feature = "monkey"))]
fn patch() {
    panic!("{SEEDS} needs the feature `monkey`: std's clocks are to be those of the worlds")
}

/// Tells how many runs there were, and if the last has failed, how to see it again.
struct Again {
    test: &'static str,
    runs: Arc<AtomicUsize>,
}

impl fmt::Display for Again {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} runs of {}", self.runs.load(SeqCst), self.test)
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("It failed after {self}. Set {SEEDS}=1 and what is said above, or {SEEDS} as it was.");
        }
    }
}

/// A time for which a hammer falls, or in a world, where no time passes while somebody can run, a number of blows.
#[derive(Debug, Clone)]
pub(crate) enum Span {
    Until(Instant),
    Looks(Arc<AtomicUsize>),
}

impl Span {
    /// It begins now.
    pub(crate) fn of(duration: Duration) -> Span {
        match seeds() {
            None => Span::Until(Instant::now() + duration),
            Some(_) => Span::Looks(Arc::new(AtomicUsize::new(LOOKS))),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        match self {
            Span::Until(end) => Instant::now() >= *end,
            Span::Looks(left) => left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_err(),
        }
    }
}
