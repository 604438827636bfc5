//! Worlds of tests: what a turn, a schedule and a timer take in real time.

use std::time::Duration;

use greenloop::testing::{self, Search, explore};
use greenloop::{joinall, sleep, spawn, spawn_later, yield_now};

use crate::support::arguments::Arguments;
use crate::support::clock::{Spent, Stopwatch};
use crate::support::output::Output;

/// Over which time those are spread that wait for one.
const HOUR: u64 = 3_600_000_000_000;

/// Runs the measure that the command line names, if it is one of these.
pub(crate) fn run(output: &Output, arguments: &Arguments) -> bool {
    let (tasks, iterations) = (arguments.get("tasks", 10), arguments.get("iters", 100_000));
    let (metric, spent, count) = match arguments.measure.as_str() {
        // Who runs next is chosen at random among so many.
        "world_turns" => {
            let clock = Stopwatch::start();
            explore(Search::random(1), |_| {
                let turns = iterations / tasks;
                let all: Vec<_> =
                    (0..tasks).map(|_| spawn(move || (0..turns).for_each(|_| yield_now()))).collect();
                joinall(&all);
            });
            (format!("world_turn.N={tasks}"), clock.stop(), iterations)
        }
        // Each is a run of a test with ten steps.
        "world_schedules" => {
            let clock = Stopwatch::start();
            explore(Search::random(iterations), |_| {
                let all: Vec<_> = (0..2).map(|_| spawn(|| (0..4).for_each(|_| yield_now()))).collect();
                joinall(&all);
            });
            ("world_schedule".to_owned(), clock.stop(), iterations)
        }
        "world_timers" => {
            let spent = in_world(|| {
                let all: Vec<_> = times(tasks).map(|time| spawn_later(time, || ())).collect();
                joinall(&all);
            });
            (format!("world_timer.N={tasks}"), spent, tasks)
        }
        // With a stack each.
        "world_sleeps" => {
            let spent = in_world(|| {
                let all: Vec<_> = times(tasks).map(|time| spawn(move || sleep(time))).collect();
                joinall(&all);
            });
            (format!("world_sleep.N={tasks}"), spent, tasks)
        }
        _ => return false,
    };
    output.metric(&metric, spent.wall / count as f64, "ns");
    output.metric(&format!("{metric}.cpu"), spent.processor / count as f64, "ns");
    true
}

fn in_world(test: impl FnOnce() + Send) -> Spent {
    let clock = Stopwatch::start();
    testing::run(|_| test());
    clock.stop()
}

/// In no order, all over an hour.
fn times(count: usize) -> impl Iterator<Item = Duration> {
    (0..count as u64).map(|number| Duration::from_nanos(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % HOUR))
}
