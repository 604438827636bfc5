//! Workers: jobs that only compute, and jobs that do nothing, spread over a hub for each processor.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Duration;

use greenloop::workers::{Balance, Builder, Workers};

use crate::support::arguments::Arguments;
use crate::support::clock::{Stopwatch, now};
use crate::support::green::Green;
use crate::support::network::{http_connection, say_ready};
use crate::support::output::Output;
use crate::support::runtime::Runtime;

/// Jobs that one green thread spawns, the heavy one first: the metric, and microseconds.
struct Jobs {
    metric: &'static str,
    heavy: u64,
    count: u64,
    each: u64,
}

const JOBS: [Jobs; 3] = [
    Jobs { metric: "cores_even", heavy: 0, count: 1_000, each: 100 },
    Jobs { metric: "cores_uneven", heavy: 50_000, count: 10_000, each: 10 },
    Jobs { metric: "cores_tiny", heavy: 0, count: 100_000, each: 1 },
];

/// How many turns of [`turn`] take a microsecond.
static TURNS: OnceLock<u64> = OnceLock::new();

/// Runs the measure that the command line names, if it is one of these.
pub(crate) fn run(output: &Output, arguments: &Arguments) -> bool {
    let workers = arguments.get("workers", 0);
    match arguments.measure.as_str() {
        "cores" => computing(output, workers.max(1), arguments.get("part", 1)),
        "cores_spawn" => {
            let (batch, count) = (arguments.get("batch", 1_000), arguments.get("iters", 100_000));
            spawning(output, workers.max(1), batch, count);
        }
        "cores_map" => mapping(output, workers.max(1), arguments.get("iters", 1_000_000)),
        "cores_idle" => idling(output, arguments.get("milliseconds", 1_000)),
        "http" if workers > 0 => http(arguments.port(), workers),
        _ => return false,
    }
    true
}

fn workers(number: usize) -> Workers {
    Builder::new().number(number).build().expect("workers")
}

/// Wall time of each of [`JOBS`], as a multiple of the work that each worker has at best. A `part` of the jobs of each.
fn computing(output: &Output, number: usize, part: u64) {
    TURNS.get_or_init(turns_per_microsecond);
    let workers = workers(number);
    for Jobs { metric, heavy, count, each } in JOBS {
        let (heavy, count) = (heavy / part, count / part);
        let spawner = workers.clone();
        let clock = Stopwatch::start();
        let spawning = workers.spawn(move || {
            let first = (heavy > 0).then(|| spawner.spawn(move || compute(heavy)));
            let others = (0..count).map(|_| spawner.spawn(move || compute(each)));
            let jobs: Vec<_> = first.into_iter().chain(others).collect();
            jobs.into_iter().for_each(|job| job.join().unwrap());
        });
        spawning.join().unwrap();
        let ideal = (heavy + count * each) as f64 * 1e3 / number as f64;
        output.metric(metric, clock.stop().wall / ideal, "x");
    }
    workers.stop(Duration::from_secs(1));
}

/// Spawn and join of jobs that do nothing, from one of the workers: `count` in all, so many of them at a time.
fn spawning(output: &Output, number: usize, batch: usize, count: usize) {
    let workers = workers(number);
    let spawner = workers.clone();
    let rounds = (count / batch).max(2);
    let spent = workers.spawn(move || {
        let round = || {
            let jobs: Vec<_> = (0..batch).map(|_| spawner.spawn(|| ())).collect();
            jobs.into_iter().for_each(|job| job.join().unwrap());
        };
        // First page faults are over then.
        round();
        let clock = Stopwatch::start();
        (0..rounds).for_each(|_| round());
        clock.stop()
    });
    let (spent, jobs) = (spent.join().unwrap(), (rounds * batch) as f64);
    output.metric(&format!("cores_spawn.B={batch}"), spent.wall / jobs, "ns");
    output.metric(&format!("cores_spawn_cpu.B={batch}"), spent.processor / jobs, "ns");
    workers.stop(Duration::from_secs(1));
}

/// A map of numbers over the workers, and by one loop, which takes so many times as long.
fn mapping(output: &Output, number: usize, items: u64) {
    let item = |mut value: u64| {
        for _ in 0..64 {
            value = value.wrapping_mul(0xd134_2543_de82_ef95).rotate_left(17) ^ value;
        }
        value
    };
    let clock = Stopwatch::start();
    let alone: Vec<u64> = (0..items).map(item).collect();
    let serial = clock.stop();
    let workers = workers(number);
    let clock = Stopwatch::start();
    let together = workers.map(0..items, item);
    let spread = clock.stop();
    assert!(together.into_iter().map(Result::unwrap).eq(alone));
    output.metric("cores_map", serial.wall / spread.wall, "x");
    output.metric("cores_map_cpu", spread.processor / serial.processor, "x");
    workers.stop(Duration::from_secs(1));
}

/// Processor time of sixteen workers that have done something each, and then nothing for so many milliseconds.
fn idling(output: &Output, milliseconds: u64) {
    const NUMBER: usize = 16;
    let workers = workers(NUMBER);
    let work = || (0..NUMBER).map(|worker| workers.spawn_on(worker, || ())).collect::<Vec<_>>();
    work().into_iter().for_each(|job| job.join().unwrap());
    // Until they have given up to look for more.
    std::thread::sleep(Duration::from_millis(50));
    let clock = Stopwatch::start();
    std::thread::sleep(Duration::from_millis(milliseconds));
    output.metric("cores_idle", clock.stop().processor / milliseconds as f64, "ns");
    workers.stop(Duration::from_secs(1));
}

/// As [`http`](crate::support::network::http), on so many workers.
fn http(port: u16, number: usize) {
    let workers = workers(number);
    let listener = Green::listen(port);
    let port = Green::port(&listener);
    let servers = workers
        .serve(listener, Balance::LeastConnections, |mut stream: <Green as Runtime>::Stream, _| {
            stream.set_nodelay(true)?;
            http_connection(&mut stream);
            Ok(())
        })
        .expect("a listener that listens");
    say_ready(port);
    servers.wait();
}

fn turns_per_microsecond() -> u64 {
    const PROBE: u64 = 2_000_000;
    let fastest = (0..5).map(|_| {
        let start = now();
        turn(PROBE);
        now() - start
    });
    (PROBE * 1_000 / fastest.min().unwrap_or(1)).max(1)
}

/// Keeps the calling OS thread busy.
fn compute(microseconds: u64) {
    turn(TURNS.get().copied().unwrap_or(1) * microseconds);
}

fn turn(count: u64) {
    let mut value = black_box(0x9e37_79b9_7f4a_7c15_u64);
    for number in 0..count {
        value = value.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(number);
    }
    black_box(value);
}
