//! The jobs of the comparison, as fleet does them: each counts in Redis that it ran.
//!
//! ```text
//! fleet_jobs push redis://127.0.0.1:6379/ JOBS SECONDS
//! fleet_jobs work redis://127.0.0.1:6379/ CONCURRENCY
//! fleet_jobs records redis://127.0.0.1:6379/
//! ```

use fleet::{Completion, NewJob, Worker};
use std::cell::RefCell;
use std::collections::HashSet;
use std::error::Error;
use std::time::Duration;

/// How many jobs are pushed in one call.
const BATCH: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    greenloop::monkey::patch_all();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["push", url, jobs, seconds] => push(url, jobs.parse()?, seconds),
        ["work", url, concurrency] => work(url, concurrency.parse()?),
        ["records", url] => records(url),
        _ => Err("expected push, work or records, as the head of this file says".into()),
    }
}

fn push(url: &str, jobs: usize, seconds: &str) -> Result<(), Box<dyn Error>> {
    let broker = fleet::open(url, "comparison")?;
    let jobs: Vec<_> = (0..jobs).map(|number| NewJob::new(format!("{number} {seconds}"))).collect();
    for batch in jobs.chunks(BATCH) {
        broker.push(batch)?;
    }
    Ok(())
}

fn work(url: &str, concurrency: usize) -> Result<(), Box<dyn Error>> {
    let broker = fleet::open(url, "comparison")?;
    let client = redis::Client::open(url)?;
    // Of one process; each has one at a time, as those of Python have it.
    let connections: RefCell<Vec<redis::Connection>> = RefCell::default();
    let worker = Worker::new(broker).concurrency(concurrency).lease(Duration::from_secs(5));
    worker.run(move |job| {
        let (number, seconds) = job.payload.split_once(' ').unwrap_or_default();
        let seconds: f64 = seconds.parse()?;
        if seconds > 0.0 {
            std::thread::sleep(Duration::from_secs_f64(seconds));
        }
        let idle = connections.borrow_mut().pop();
        let mut connection = idle.map_or_else(|| client.get_connection(), Ok)?;
        redis::cmd("HINCRBY").arg("runs").arg(number).arg(1).exec(&mut connection)?;
        connections.borrow_mut().push(connection);
        Ok(Completion::new().record(number))
    })?;
    Ok(())
}

/// How many jobs are recorded, and how many records there are.
fn records(url: &str) -> Result<(), Box<dyn Error>> {
    let broker = fleet::open(url, "comparison")?;
    let (mut after, mut count, mut jobs) = (0, 0, HashSet::new());
    while let records = broker.records(after, BATCH)?
        && let Some(last) = records.last()
    {
        (after, count) = (last.number, count + records.len());
        jobs.extend(records.iter().map(|record| record.text.clone()));
    }
    println!("{} {count}", jobs.len());
    Ok(())
}
