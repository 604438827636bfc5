//! Programs at random over the whole public API, each of which must end with nothing lost and nothing held.
//!
//! A seed makes a program: a tree of operations, see `program.rs`. Children of this process run them, so that a crash is a
//! result like any other; what fails is made smaller and printed. `tests/README.md` says how to run it and how to replay.

#[path = "../support/mod.rs"]
mod support;

/// What a program makes, and what becomes of it.
mod account;
/// The end of a program.
mod check;
/// Programs at random.
mod generate;
/// Sockets, files, processes.
mod kernel;
/// Locks and events.
mod locks;
/// Bytes and files that the process has.
mod memory;
/// Programs and their text.
mod program;
/// Blocks, and what steers them.
mod run;
/// Smaller programs.
mod shrink;
/// Greenlets, generators, hooks.
mod stacks;
/// Green threads and OS threads.
mod tasks;
/// Children.
mod trial;
/// Channels and queues.
mod values;
/// The operations.
mod verb;
/// Programs that do not end.
mod watchdog;
/// What the actors of a program share.
mod world;

use std::ops::Range;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use program::{Program, parse};
use trial::{BATCH, Failure, Setting, try_program, try_seeds};
use world::locked;

/// How many programs are run among the other tests.
const SHORT: u64 = 3_200;

const USAGE: &str = "\
usage: random                        run programs for some seconds
       random programs COUNT [SEED]  run so many programs, in whole batches, from this seed on
       random run SECONDS [SEED]     run programs for so long, from this seed on
       random replay SEED [TIMES]    run the program of a seed
       random replay FILE [TIMES]    run a program
       random shrink SEED|FILE       make a program that fails smaller
       random show SEED              print the program of a seed";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(code) = trial::child(&arguments) {
        return code;
    }
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["programs", count] => programs(count, "0"),
        ["programs", count, seed] => programs(count, seed),
        ["run", seconds] => run_for(seconds, "0"),
        ["run", seconds, seed] => run_for(seconds, seed),
        ["replay", what] => replay(what, 20),
        ["replay", what, times] => number(times).and_then(|times| replay(what, times as usize)),
        ["shrink", what] => load(what).and_then(|program| shrink(&program)),
        ["show", seed] => number(seed).map(|seed| print!("{}", Setting::new().program(seed))),
        ["help"] => {
            println!("{USAGE}");
            Ok(())
        }
        // What the test harness understands, and a filter, which is for other tests.
        _ if !support::is_chosen(&arguments, "random") => Ok(()),
        _ => soak(0..SHORT, Duration::MAX),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word} is no number\n{USAGE}"))
}

fn text(error: io::Error) -> String {
    error.to_string()
}

/// A seed's program, or a file's.
fn load(what: &str) -> Result<Program, String> {
    match what.parse() {
        Ok(seed) => Ok(Setting::new().program(seed)),
        Err(_) => {
            fs::read_to_string(what).map_err(|error| format!("{what}: {error}")).and_then(|text| parse(&text))
        }
    }
}

fn programs(count: &str, seed: &str) -> Result<(), String> {
    let (count, first) = (number(count)?, number(seed)?);
    soak(first..first.saturating_add(count), Duration::MAX)
}

fn run_for(seconds: &str, seed: &str) -> Result<(), String> {
    soak(number(seed)?..u64::MAX, Duration::from_secs(number(seconds)?))
}

/// Runs the programs of the seeds, until they or the time are at an end, or one fails.
fn soak(seeds: Range<u64>, time: Duration) -> Result<(), String> {
    let start = Instant::now();
    let first = seeds.start;
    let batches = Mutex::new(first / BATCH..seeds.end.div_ceil(BATCH));
    let outcome = Mutex::new(Ok(()));
    let outcome = || outcome.lock().unwrap_or_else(PoisonError::into_inner);
    // A function of its own, so that the lock is not held over the loop's body.
    let next = || locked(&batches).next();
    let work = || {
        while start.elapsed() < time
            && outcome().is_ok()
            && let Some(batch) = next()
        {
            let trial = try_seeds(first.max(batch * BATCH)).map_err(text);
            // Of those that fail at once, one is made smaller, and the others wait for it.
            let mut outcome = outcome();
            if outcome.is_ok() {
                *outcome = trial.and_then(|trial| trial.map_err(describe));
            }
        }
    };
    // Programs wait most of their time.
    let workers = 3 * thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    outcome().clone()?;
    let end = locked(&batches).start;
    println!("{} programs, from seed {first} on: nothing lost, nothing held", end * BATCH - first);
    Ok(())
}

/// Makes a failure's program smaller, and says how to see it again.
fn describe(failure: Failure) -> String {
    let Some(seed) = failure.seed else { return format!("{}\n{}", failure.kind, failure.report) };
    let program = Setting::new().program(seed);
    let mut said = format!(
        "seed {seed}: {}\n{}\nagain: cargo test --test random -- replay {seed}\n",
        failure.kind, failure.report
    );
    said += &match shrink::shrink(&program, Some(&failure.kind)) {
        Ok(Some((program, failure))) => {
            format!("the smallest program found:\n\n{program}\n{}", failure.report)
        }
        Ok(None) => format!(
            "alone it did not fail again; with those before it in one process, from seed {}:\n\n{program}",
            seed / BATCH * BATCH
        ),
        Err(error) => text(error),
    };
    said
}

fn replay(what: &str, times: usize) -> Result<(), String> {
    let program = load(what)?;
    println!("{program}");
    match try_program(&program, times, None).map_err(text)? {
        Ok(()) => {
            println!("{times} times: nothing lost, nothing held");
            Ok(())
        }
        Err(failure) => Err(format!("{}\n{}", failure.kind, failure.report)),
    }
}

fn shrink(program: &Program) -> Result<(), String> {
    match shrink::shrink(program, None).map_err(text)? {
        Some((program, failure)) => println!("{program}\n{}\n{}", failure.kind, failure.report),
        None => println!("it does not fail"),
    }
    Ok(())
}
