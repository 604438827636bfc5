//! Which numbers are prime, by trying all divisors: one after another, on OS threads, in processes and on workers, in one table.
//!
//! Run it with `cargo run --release --example primes`, or up to other numbers: `cargo run --release --example primes -- 100000`.
//! In Rust OS threads compute at once; a process is for what may crash, leak or hang.
//!
//! Expected output:
//!
//!     numbers up to            1200     10000
//!     primes among them         196      1229
//!     serial              [..] s [..] s
//!     OS threads          [..] s [..] s
//!     process pool        [..] s [..] s
//!     workers             [..] s [..] s

use std::error::Error;
use std::fmt::Display;
use std::ops::Range;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use clap::Parser;
use greenloop::processes::ProcessPool;
use greenloop::threadpool::ThreadPool;
use greenloop::workers::Workers;
use tool::say;

mod tool;

/// Jobs that the numbers are dealt out in: those of large numbers take longer.
const JOBS: u64 = 100;

/// Counts primes in four ways, on all processors but in the first.
#[derive(Parser)]
struct Options {
    /// Up to which numbers
    #[arg(default_values_t = [1_200, 10_000], value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    limits: Vec<u64>,
}

type Counted = Result<usize, Box<dyn Error>>;

fn main() -> ExitCode {
    tool::run(|| compare(&Options::parse().limits))
}

fn compare(limits: &[u64]) -> Result<(), Box<dyn Error>> {
    let processors = available_parallelism()?.get();
    // It can be made before there are OS threads only: a process that has others is not forked.
    let processes = ProcessPool::new(processors, count)?;
    let (threads, workers) = (ThreadPool::new(processors), Workers::new());
    let serial = |limit| jobs(limit).map(count).sum::<usize>();
    let ways: [(&str, &dyn Fn(u64) -> Counted); 4] = [
        ("serial", &|limit| Ok(serial(limit))),
        ("OS threads", &|limit| Ok(threads.map(jobs(limit), count).into_iter().sum::<Result<_, _>>()?)),
        ("process pool", &|limit| Ok(processes.map(jobs(limit)).into_iter().sum::<Result<_, _>>()?)),
        ("workers", &|limit| Ok(workers.map(jobs(limit), count).into_iter().sum::<Result<_, _>>()?)),
    ];
    say_row("numbers up to", limits);
    say_row("primes among them", limits.iter().map(|limit| serial(*limit)));
    for (name, way) in ways {
        let times = limits.iter().map(|limit| timed(*limit, way)).collect::<Result<Vec<_>, _>>()?;
        say_row(name, times.iter().map(|time| format!("{:.4} s", time.as_secs_f64())));
    }
    workers.stop(Duration::from_secs(1));
    Ok(())
}

fn say_row(name: &str, columns: impl IntoIterator<Item: Display>) {
    let columns: String = columns.into_iter().map(|column| format!("{column:>10}")).collect();
    say!("{name:19}{columns}");
}

fn timed(limit: u64, way: &dyn Fn(u64) -> Counted) -> Result<Duration, Box<dyn Error>> {
    let begin = Instant::now();
    way(limit)?;
    Ok(begin.elapsed())
}

/// The numbers up to `limit`, in ranges.
fn jobs(limit: u64) -> impl Iterator<Item = Range<u64>> {
    let size = (limit + 1).div_ceil(JOBS);
    (0..JOBS).map(move |job| job * size..((job + 1) * size).min(limit + 1))
}

fn count(numbers: Range<u64>) -> usize {
    numbers.filter(|number| is_prime(*number)).count()
}

/// As the Python program does it, which does not stop at the root.
fn is_prime(number: u64) -> bool {
    number >= 2 && (2..number).all(|divisor| !number.is_multiple_of(divisor))
}
