//! What a worker makes of jobs that end in every way there is.

#[macro_use]
#[path = "../support/passes_on.rs"]
mod passes_on;

mod ends;
mod failing;
mod leases;
mod restart;
mod watch;

use clients::measure::patched;
use fleet::{Backoff, Broker, NewJob, Sqlite, Worker};
use std::sync::Arc;
use std::time::Duration;

/// A worker that tries each job twice, and returns when all are done or dead, and its broker with these jobs.
fn with_jobs(payloads: &[&str]) -> (Arc<Sqlite>, Worker) {
    let broker = Arc::new(Sqlite::in_memory().unwrap());
    let jobs: Vec<_> = payloads.iter().map(|payload| NewJob::new(*payload)).collect();
    broker.push(&jobs).unwrap();
    let backoff = Backoff::full_jitter(Duration::from_millis(1), Duration::from_millis(2));
    let worker = Worker::new(broker.clone()).attempts(2).backoff(backoff).until_idle();
    (broker, worker)
}

/// The records, sorted.
fn records(broker: &dyn Broker) -> Vec<String> {
    let mut texts: Vec<_> =
        broker.records(0, 10_000).unwrap().into_iter().map(|record| record.text).collect();
    texts.sort();
    texts
}

/// What the dead have failed for.
fn errors(broker: &dyn Broker) -> Vec<String> {
    broker.dead_jobs(100).unwrap().into_iter().map(|dead| dead.error).collect()
}
