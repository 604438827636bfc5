//! Switching, starting and ending: the costs of a task that does nothing.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::clock::{Spent, Stopwatch};
use super::output::Output;
use super::runtime::Runtime;

/// What the tasks of [`switch`] share.
#[derive(Default)]
struct Race {
    warm: AtomicUsize,
    done: AtomicUsize,
    started: Mutex<Option<Stopwatch>>,
    spent: Mutex<Option<Spent>>,
}

/// `tasks` ready tasks yield, `iterations` times in all. The clock starts when each has yielded once, so that their
/// first page faults are over, and stops when the last has ended.
pub(crate) fn switch<R: Runtime>(output: &Output, tasks: usize, iterations: usize, depth: usize) {
    let turns = (iterations / tasks).max(8);
    let race = Arc::new(Race::default());
    let handles: Vec<_> = (0..tasks)
        .map(|number| {
            let race = race.clone();
            R::spawn(move || {
                R::yield_now();
                if race.warm.fetch_add(1, Ordering::SeqCst) == tasks - 1 {
                    *race.started.lock().unwrap() = Some(Stopwatch::start());
                }
                while race.warm.load(Ordering::SeqCst) < tasks {
                    R::yield_now();
                }
                yield_repeatedly::<R>(number, turns, depth);
                if race.done.fetch_add(1, Ordering::SeqCst) == tasks - 1 {
                    *race.spent.lock().unwrap() =
                        race.started.lock().unwrap().as_ref().map(|started| started.stop());
                }
            })
        })
        .collect();
    handles.into_iter().for_each(R::join);
    let spent = race.spent.lock().unwrap().take().expect("the last task has stopped the clock");
    let yields = (tasks * turns) as f64;
    let depth = if depth > 0 { format!("_d{depth}") } else { String::new() };
    output.metric(&format!("switch{depth}.K={tasks}"), spent.wall / yields, "ns");
    output.metric(&format!("switch{depth}_cpu.K={tasks}"), spent.processor / yields, "ns");
}

#[inline(always)]
fn yield_repeatedly<R: Runtime>(number: usize, turns: usize, depth: usize) {
    for _ in 0..turns {
        match (depth, number % 2) {
            (0, _) => R::yield_now(),
            (_, 0) => drop(black_box(yield_below::<R, 1>(depth))),
            _ => drop(black_box(yield_below::<R, 2>(depth))),
        }
    }
}

/// Yields `depth` calls further down. `COPY` makes two copies of the code, for odd and even tasks: then no return
/// address that the task before left on the processor's return stack is right by chance.
#[inline(never)]
fn yield_below<R: Runtime, const COPY: usize>(depth: usize) -> usize {
    if depth <= 1 {
        R::yield_now();
        return black_box(COPY);
    }
    black_box(yield_below::<R, COPY>(black_box(depth - 1))) + COPY
}

/// Direct switches between two tasks, without a ready queue.
pub(crate) fn pingpong<R: Runtime>(output: &Output, iterations: usize) {
    let clock = Stopwatch::start();
    if !R::pingpong(iterations) {
        output.unsupported("pingpong");
    }
    output.metric("pingpong", clock.stop().wall / iterations as f64, "ns");
}

/// Rounds of: spawn `batch` trivial tasks, join them all.
pub(crate) fn spawn<R: Runtime>(output: &Output, batch: usize, iterations: usize) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let mut handles = Vec::with_capacity(batch);
    let mut round = || {
        for _ in 0..batch {
            // Relaxed: counts what joins order.
            handles.push(R::spawn(|| {
                COUNT.fetch_add(1, Ordering::Relaxed);
            }));
        }
        handles.drain(..).for_each(R::join);
    };
    let clock = Stopwatch::start();
    round();
    let cold = clock.stop();
    let rounds = (iterations / batch).max(2);
    let clock = Stopwatch::start();
    for _ in 0..rounds {
        round();
    }
    let warm = clock.stop();
    let tasks = (rounds * batch) as f64;
    assert_eq!(COUNT.load(Ordering::SeqCst), (rounds + 1) * batch);
    output.metric(&format!("spawn.B={batch}"), warm.wall / tasks, "ns");
    output.metric(&format!("spawn_cpu.B={batch}"), warm.processor / tasks, "ns");
    output.metric(&format!("spawn_cold.B={batch}"), cold.wall / batch as f64, "ns");
}
