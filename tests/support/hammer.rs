//! Two hubs and plain OS threads at once, with kills and time limits at random.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use greenloop::{JoinHandle, sleep, spawn, with_timeout, yield_now};

use super::{Random, Span};

/// How long each hammer falls.
const DURATION: Duration = Duration::from_millis(300);
/// Green threads of each of the two hubs.
const GREEN_THREADS: usize = 12;
/// Chooses other random numbers than those of every run.
const SEED: &str = "GREENLOOP_TEST_SEED";

/// Tells with which seed a test failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("with {SEED}={}", self.0);
        }
    }
}

/// Lets `blow` be repeated until the time is over by all workers of [`hammer_with`].
pub(crate) fn hammer(blow: impl Fn(&mut Random) + Send + Sync + 'static) {
    hammer_with(move |_, random, end| {
        while !end.is_over() {
            blow(random);
            yield_now();
        }
    });
}

/// Lets `work` be done by workers who end at the time that they are told: two plain threads, numbers 0 and 1, and some green
/// threads, numbered from 0, of each of two hubs, which are killed and replaced all the time. Returns when all have ended.
pub(crate) fn hammer_with(work: impl Fn(usize, &mut Random, &Span) + Send + Sync + 'static) {
    let seed = Seed(std::env::var(SEED).map_or(1, |seed| seed.parse().expect("a number")));
    let mut seeds = Random::new(seed.0);
    let work = Arc::new(work);
    let end = Span::of(DURATION);
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let (work, mut random, end) = (work.clone(), Random::new(seeds.next()), end.clone());
            thread::spawn(move || match number {
                0 | 1 => work(number, &mut random, &end),
                _ => supervise(&work, random, &end),
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn supervise(work: &Arc<impl Fn(usize, &mut Random, &Span) + 'static>, mut random: Random, end: &Span) {
    let start = |number, seed| {
        let (work, end) = (work.clone(), end.clone());
        spawn(move || work(number, &mut Random::new(seed), &end))
    };
    let mut tasks: Vec<JoinHandle<()>> =
        (0..GREEN_THREADS).map(|number| start(number, random.next())).collect();
    let mut killed = Vec::new();
    while !end.is_over() {
        let victim = random.below(tasks.len());
        let victim = std::mem::replace(&mut tasks[victim], start(victim, random.next()));
        victim.try_kill();
        killed.push(victim);
        match random.below(4) {
            0 => sleep(short(&mut random)),
            _ => yield_now(),
        }
    }
    for task in tasks.into_iter().chain(killed) {
        let ended = task.join();
        assert!(ended.as_ref().err().is_none_or(|error| error.is_killed()), "{ended:?}");
    }
}

/// Runs `wait` under a limit that is over sooner or later than it, or under none.
pub(crate) fn perhaps_limited(random: &mut Random, wait: impl FnOnce()) {
    match random.below(3) {
        0 => _ = with_timeout(short(random), wait),
        _ => wait(),
    }
}

/// About as long as the waits of a hammered primitive.
pub(crate) fn short(random: &mut Random) -> Duration {
    Duration::from_micros(random.below(300) as u64)
}
