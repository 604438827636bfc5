//! Work for every processor: primes are counted on one thread, and then by a pool that has a thread for each processor,
//! while a green thread of the main thread goes on ticking.
//!
//! Run it with `cargo run --release --example thread_pool_primes`, or with another limit:
//! `cargo run --release --example thread_pool_primes -- 20000000`.
//!
//! Expected output:
//!
//!     25997 primes below 300000
//!     on 1 thread: [..]
//!     on [..], a thread for each: [..]
//!     meanwhile the main thread ticked

use std::cell::Cell;
use std::error::Error;
use std::ops::Range;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use greenloop::threadpool::ThreadPool;
use greenloop::{sleep, spawn};
use tool::say;

mod tool;

/// Numbers that are looked at in one go.
const CHUNK: u64 = 10_000;

/// Counts primes, on one thread and on all processors.
#[derive(Parser)]
struct Options {
    /// Count those below this number
    #[arg(default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(..=1_000_000_000_000))]
    limit: u64,
}

fn main() -> ExitCode {
    tool::run(|| count(Options::parse().limit))
}

fn count(limit: u64) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let serial: usize = chunks(limit).map(count_primes).sum();
    let serial_time = start.elapsed();
    say!("{serial} primes below {limit}");
    say!("on 1 thread: {serial_time:.1?}");

    let ticks = Rc::new(Cell::new(0));
    let ticking = spawn({
        let ticks = ticks.clone();
        move || {
            loop {
                ticks.set(ticks.get() + 1);
                sleep(Duration::from_millis(1));
            }
        }
    });
    let pool = ThreadPool::default();
    let start = Instant::now();
    // The order of the counts does not matter, and an early one need not wait for a late one.
    let counts: Result<Vec<usize>, _> = pool.imap_unordered(chunks(limit), count_primes).collect();
    say!("on {} processors, a thread for each: {:.1?}", pool.size(), start.elapsed());
    ticking.kill();
    assert_eq!(counts?.into_iter().sum::<usize>(), serial);
    say!("meanwhile the main thread {}", if ticks.get() > 0 { "ticked" } else { "stood still" });
    Ok(())
}

/// The numbers below `limit`, in pieces.
fn chunks(limit: u64) -> impl Iterator<Item = Range<u64>> {
    (0..limit.div_ceil(CHUNK)).map(move |chunk| chunk * CHUNK..limit.min((chunk + 1) * CHUNK))
}

fn count_primes(numbers: Range<u64>) -> usize {
    numbers.filter(|number| is_prime(*number)).count()
}

fn is_prime(number: u64) -> bool {
    number >= 2
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}
