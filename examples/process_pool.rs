//! A pool of three processes: ten jobs with a callback in the parent, and a worker that is killed and stops nothing.
//!
//! Run it with `cargo run --example process_pool`.
//!
//! Expected output:
//!
//!     -->exec done: 100, 101, 102, 103, 104, 105, 106, 107, 108, 109
//!     callbacks ran in the parent: true
//!     jobs ran in 3 other processes
//!     three at a time: 10 jobs of 100 ms took less than 0.9 s: true
//!     one after another: 100, 101, 102
//!     a worker that was killed while it waited: its pool answers 107
//!     a job that kills its worker: died at attempt 2 by signal 9
//!     and the next: 108

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::process::{Command, id};
use greenloop::processes::{ProcessPool, WorkError};
use greenloop::{joinall, sleep};
use tool::say;

mod tool;

/// Kills the process that works on it.
const DEADLY: u64 = 13;

fn main() -> Result<(), Box<dyn Error>> {
    tool::takes_no_arguments(include_str!("process_pool.rs"));
    let pool = ProcessPool::new(3, job)?;
    with_callbacks(&pool)?;
    let values = (0..3).map(|number| pool.apply(number).map(|(value, _)| value.to_string()));
    say!("one after another: {}", values.collect::<Result<Vec<_>, _>>()?.join(", "));
    killed(&pool)?;
    pool.close();
    pool.join();
    Ok(())
}

fn job(number: u64) -> (u64, u32) {
    if number == DEADLY {
        kill(id());
    }
    sleep(Duration::from_millis(100));
    (number + 100, id())
}

fn with_callbacks(pool: &ProcessPool<u64, (u64, u32)>) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let done = Rc::new(RefCell::new(Vec::new()));
    let tasks: Vec<_> = (0..10)
        .map(|number| {
            let done = done.clone();
            pool.apply_async(number, move |(value, worker)| done.borrow_mut().push((*value, *worker, id())))
        })
        .collect();
    joinall(&tasks);
    let took = begin.elapsed();
    let mut done = done.take();
    done.sort();
    let values: Vec<String> = done.iter().map(|(value, ..)| value.to_string()).collect();
    say!("-->exec done: {}", values.join(", "));
    say!("callbacks ran in the parent: {}", done.iter().all(|(.., here)| *here == id()));
    let workers: BTreeSet<u32> = done.iter().map(|(_, worker, _)| *worker).collect();
    say!("jobs ran in {} other processes", workers.len());
    say!("three at a time: 10 jobs of 100 ms took less than 0.9 s: {}", took < Duration::from_millis(900));
    Ok(())
}

fn killed(pool: &ProcessPool<u64, (u64, u32)>) -> Result<(), Box<dyn Error>> {
    pool.workers().into_iter().for_each(kill);
    say!("a worker that was killed while it waited: its pool answers {}", pool.apply(7)?.0);
    if let Err(WorkError::WorkerDied { signal: Some(signal), attempts, .. }) = pool.apply(DEADLY) {
        say!("a job that kills its worker: died at attempt {attempts} by signal {signal}");
    }
    say!("and the next: {}", pool.apply(8)?.0);
    Ok(())
}

/// By the program of that name, so that this one needs no C.
fn kill(process: u32) {
    let _ = Command::new("sh").args(["-c", &format!("kill -9 {process}")]).status();
}
