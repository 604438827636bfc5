//! Processes by greenloop: channels, a pool, a zygote.

use std::hint::black_box;

use greenloop::process::{Pipe, Process, Zygote, channel, pipe};
use greenloop::processes::ProcessPool;
use greenloop::processes::shared::Value;
use rustix::process::{Signal, getpid, kill_process};

use crate::support::arguments::Arguments;
use crate::support::clock::{Stopwatch, now};
use crate::support::output::Output;
use crate::table::median;

/// Runs the measure that the command line names, if it is one of these.
pub(crate) fn run(output: &Output, arguments: &Arguments) -> bool {
    let count = arguments.get("iters", 1_000);
    match arguments.measure.as_str() {
        "round_trip" => {
            let each = round_trips(vec![7; 64], count);
            output.metric("round_trip", each / 1e3, "us");
        }
        "large" => {
            let each = round_trips(vec![7; 16 << 20], count);
            output.metric("large", each / 1e6, "ms");
        }
        "job" => jobs(output, count),
        "batch" => batches(output, count),
        "start" => starts(output, count, arguments.get("mebibytes", 0)),
        "death" => deaths(output, count),
        _ => return false,
    }
    true
}

/// Nanoseconds of one.
fn round_trips(message: Vec<u8>, count: usize) -> f64 {
    type Bytes = Pipe<Vec<u8>, Vec<u8>>;
    let (ours, theirs): (Bytes, Bytes) = pipe().expect("a pipe");
    let child = Process::start(move || {
        while let Ok(message) = theirs.recv() {
            theirs.send(&message).expect("a parent that reads");
        }
    });
    let child = child.expect("a process");
    let round_trip = || {
        ours.send(&message).expect("a child that reads");
        assert_eq!(ours.recv().expect("a child that answers").last(), Some(&7));
    };
    // The child is there then.
    round_trip();
    let clock = Stopwatch::start();
    (0..count).for_each(|_| round_trip());
    let spent = clock.stop().wall;
    drop(ours);
    child.join().expect("no panic");
    spent / count as f64
}

fn jobs(output: &Output, count: usize) {
    let pool = |size| {
        let pool = ProcessPool::new(size, |number: u64| number + 1).expect("a pool");
        // Its workers are there then.
        assert!(pool.map(0..16).into_iter().all(|value| value.is_ok()));
        pool
    };
    let one = pool(1);
    let clock = Stopwatch::start();
    for number in 0..count as u64 {
        assert_eq!(one.apply(number), Ok(number + 1));
    }
    output.metric("job", clock.stop().wall / count as f64 / 1e3, "us");
    let two = pool(2);
    let clock = Stopwatch::start();
    let values = two.map(0..count as u64);
    output.metric("job_map", clock.stop().wall / count as f64 / 1e3, "us");
    assert!(values.into_iter().zip(1..).all(|(value, number)| value == Ok(number)));
}

fn batches(output: &Output, count: usize) {
    let (sender, receiver) = channel::<u64>().expect("a channel");
    let numbers: Vec<u64> = (0..count as u64).collect();
    let child = Process::start(move || {
        sender.send_all(&numbers[..1]).expect("a parent that reads");
        sender.send_all(&numbers[1..]).expect("a parent that reads");
    });
    let child = child.expect("a process");
    // The child is there then.
    assert_eq!(receiver.recv().ok(), Some(0));
    let clock = Stopwatch::start();
    let sum: u64 = receiver.iter().map(|number| number.expect("a number")).sum();
    output.metric("batch", clock.stop().wall / count as f64, "ns");
    assert_eq!(sum, (0..count as u64).sum());
    child.join().expect("no panic");
}

fn starts(output: &Output, count: usize, mebibytes: usize) {
    let zygote = Zygote::start().expect("a zygote");
    let ballast = black_box(vec![1_u8; mebibytes << 20]);
    let mut started = 0.0;
    let clock = Stopwatch::start();
    for _ in 0..count {
        let clock = Stopwatch::start();
        let child = zygote.run(|()| (), ()).expect("a process");
        started += clock.stop().wall;
        child.join().expect("no panic");
    }
    output.metric("start_join", clock.stop().wall / count as f64 / 1e3, "us");
    output.metric("start", started / count as f64 / 1e3, "us");
    drop(ballast);
}

/// A job that kills its worker; and one that does so once, and then tells when it begins.
fn deaths(output: &Output, count: usize) {
    let (mut told, mut begun) = (Vec::new(), Vec::new());
    for (retries, times) in [(0, &mut told), (1, &mut begun)] {
        let died = Value::new(0_u64).expect("shared memory");
        let dies = died.clone();
        let job = move |()| {
            if dies.get() != 0 {
                return now();
            }
            dies.set(now());
            kill_process(getpid(), Signal::KILL).expect("a signal");
            unreachable!("nobody survives that");
        };
        let pool = ProcessPool::builder(1).retries(retries).build(job).expect("a pool");
        for _ in 0..count {
            died.set(1);
            // A worker is there then.
            pool.apply(()).expect("a time");
            died.set(0);
            let end = pool.apply(()).unwrap_or_else(|_| now());
            times.push((end - died.get()) as f64 / 1e3);
        }
    }
    output.metric("death_told", median(&mut told).unwrap_or(f64::NAN), "us");
    output.metric("death_again", median(&mut begun).unwrap_or(f64::NAN), "us");
}
