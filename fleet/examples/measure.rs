//! How many empty jobs a second one process does, how soon a dead worker's job is taken over, and how exact limits are.
//!
//! ```text
//! cargo run --release -p fleet --example measure -- /tmp/measure.db
//! cargo run --release -p fleet --example measure -- redis://127.0.0.1/ 100000
//! ```
//!
//! It removes what is in the queue `measure` of that broker.

use fleet::{Broker, Completion, NewJob, Worker};
use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many jobs are pushed in one call.
const BATCH: usize = 1_000;
/// Of the job that is taken over.
const LEASE: Duration = Duration::from_secs(2);
/// How many jobs have a limit at once, and which.
const LIMITED: usize = 2_000;
const LIMIT: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    greenloop::monkey::patch_all();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("an address of a broker is expected")?;
    let jobs = arguments.next().map_or(Ok(20_000), |jobs| jobs.parse())?;
    let broker = fleet::open(&address, "measure")?;
    broker.purge()?;
    empty_jobs(&broker, jobs)?;
    takeover(&broker)?;
    limits(&broker)?;
    Ok(broker.purge()?)
}

fn push(broker: &Arc<dyn Broker>, mut jobs: usize) -> Result<(), Box<dyn Error>> {
    while jobs > 0 {
        let batch = jobs.min(BATCH);
        broker.push(&vec![NewJob::new(""); batch])?;
        jobs -= batch;
    }
    Ok(())
}

fn empty_jobs(broker: &Arc<dyn Broker>, jobs: usize) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    push(broker, jobs)?;
    let pushed = start.elapsed();
    let start = Instant::now();
    Worker::new(broker.clone()).concurrency(500).until_idle().run(|_| Ok(Completion::new()))?;
    let done = start.elapsed();
    let rate = |time: Duration| jobs as f64 / time.as_secs_f64();
    println!("{jobs} empty jobs: {:.0} pushed a second, {:.0} done a second", rate(pushed), rate(done));
    Ok(())
}

fn takeover(broker: &Arc<dyn Broker>) -> Result<(), Box<dyn Error>> {
    push(broker, 1)?;
    let start = Instant::now();
    // By somebody who does no more.
    broker.take(1, LEASE)?;
    Worker::new(broker.clone()).until_idle().run(|_| Ok(Completion::new()))?;
    println!("a dead worker's job was done after {:.2} leases", start.elapsed().div_duration_f64(LEASE));
    Ok(())
}

fn limits(broker: &Arc<dyn Broker>) -> Result<(), Box<dyn Error>> {
    push(broker, LIMITED)?;
    let late = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&late);
    let worker = Worker::new(broker.clone()).concurrency(LIMITED).soft_limit(LIMIT).attempts(1).until_idle();
    worker.run(move |_| {
        let _noted = Noted(Instant::now(), seen.clone());
        greenloop::sleep(10 * LIMIT);
        Ok(Completion::new())
    })?;
    let latest = late.borrow().iter().max().copied().unwrap_or_default();
    println!("{} jobs at once ended at most {latest:.1?} after their soft limit", late.borrow().len());
    Ok(())
}

/// Notes how long after its limit a job ends.
struct Noted(Instant, Rc<RefCell<Vec<Duration>>>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0.elapsed().saturating_sub(LIMIT));
    }
}
