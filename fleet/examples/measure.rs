//! What one worker does: how many empty jobs a second, how soon a dead one's jobs are taken over, and how exact limits are.
//!
//! ```text
//! cargo run --release -p fleet --example measure -- /tmp/measure.db
//! cargo run --release -p fleet --example measure -- redis://127.0.0.1/ 100000
//! ```
//!
//! It removes what is in the queue `measure` of that broker. A second of processor time is one of this process, without the server's.

use fleet::{Broker, Completion, NewJob, Worker};
use rustix::time::{ClockId, clock_gettime};
use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many jobs are pushed in one call.
const BATCH: usize = 1_000;
/// How many are done at once, where they are empty.
const CONCURRENCY: usize = 1_000;
/// Of the job that is taken over.
const LEASE: Duration = Duration::from_secs(2);
/// How many jobs have a limit at once, and which.
const LIMITED: usize = 2_000;
const LIMIT: Duration = Duration::from_secs(2);
/// From the limit of one to that of the next.
const APART: Duration = Duration::from_micros(500);

fn main() -> Result<(), Box<dyn Error>> {
    greenloop::monkey::patch_all();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("an address of a broker is expected")?;
    let jobs = arguments.next().map_or(Ok(20_000), |jobs| jobs.parse())?;
    let broker = fleet::open(&address, "measure")?;
    broker.purge()?;
    empty_jobs(&broker, jobs)?;
    takeover(&broker)?;
    soft_limits(&broker)?;
    hard_limits(&broker)?;
    Ok(broker.purge()?)
}

fn row(what: &str, goal: &str, measured: String) {
    println!("| {what:<58} | {goal:>13} | {measured:>16} |");
}

fn push(broker: &Arc<dyn Broker>, mut jobs: usize) -> Result<(), Box<dyn Error>> {
    while jobs > 0 {
        let batch = jobs.min(BATCH);
        broker.push(&vec![NewJob::new(""); batch])?;
        jobs -= batch;
    }
    Ok(())
}

/// Of this process.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn empty_jobs(broker: &Arc<dyn Broker>, jobs: usize) -> Result<(), Box<dyn Error>> {
    let rate = |time: Duration| format!("{:.0}", jobs as f64 / time.as_secs_f64());
    let start = Instant::now();
    push(broker, jobs)?;
    row("jobs pushed a second, 1,000 in a call", "", rate(start.elapsed()));
    let (start, before) = (Instant::now(), processor_time());
    Worker::new(broker.clone()).concurrency(CONCURRENCY).until_idle().run(|_| Ok(Completion::new()))?;
    row("empty jobs done a second", "20,000", rate(start.elapsed()));
    row("empty jobs done in a second of processor time", "20,000", rate(processor_time() - before));
    Ok(())
}

fn takeover(broker: &Arc<dyn Broker>) -> Result<(), Box<dyn Error>> {
    push(broker, 1)?;
    let start = Instant::now();
    // By somebody who does no more.
    broker.take(1, LEASE)?;
    Worker::new(broker.clone()).until_idle().run(|_| Ok(Completion::new()))?;
    let leases = start.elapsed().div_duration_f64(LEASE);
    row("leases until a dead worker's job is done", "1.5", format!("{leases:.2}"));
    Ok(())
}

fn soft_limits(broker: &Arc<dyn Broker>) -> Result<(), Box<dyn Error>> {
    push(broker, LIMITED)?;
    let late = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&late);
    let worker = Worker::new(broker.clone()).concurrency(LIMITED).attempts(1).until_idle();
    let count = Rc::new(std::cell::Cell::new(0));
    worker.run(move |_| {
        // As they would come that were not all begun at once.
        let limit = LIMIT + count.replace(count.get() + 1) * APART;
        let _noted = Noted(Instant::now() + limit, seen.clone());
        let _ = greenloop::with_timeout(limit, || greenloop::sleep(10 * limit));
        Ok(Completion::new())
    })?;
    let (half, most) = middle_and_last(&mut late.borrow_mut());
    row("a soft limit is late, of 2,000 running jobs: half of them", "", format!("{half:.1?}"));
    row("a soft limit is late, of 2,000 running jobs: at most", "5 ms", format!("{most:.1?}"));
    Ok(())
}

/// Twice as many jobs as there is room for: the second half begins when the hard limit ends the first.
fn hard_limits(broker: &Arc<dyn Broker>) -> Result<(), Box<dyn Error>> {
    push(broker, 2 * LIMITED)?;
    let (begun, late) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
    let (seen, ended) = (Rc::clone(&begun), Rc::clone(&late));
    let worker = Worker::new(broker.clone()).concurrency(LIMITED).hard_limit(LIMIT).attempts(1).until_idle();
    worker.run(move |_| {
        seen.borrow_mut().push(Instant::now());
        if seen.borrow().len() <= LIMITED {
            let _noted = Noted(Instant::now() + LIMIT, ended.clone());
            greenloop::sleep(10 * LIMIT);
        }
        Ok(Completion::new())
    })?;
    let begun = begun.borrow();
    let (first, second) = begun.split_at(LIMITED);
    let (half, most) = middle_and_last(&mut late.borrow_mut());
    row("a hard limit frees a place late, of 2,000: half of them", "", format!("{half:.1?}"));
    row("a hard limit frees a place late, of 2,000: at most", "50 ms", format!("{most:.1?}"));
    let next = first.iter().zip(second).map(|(first, second)| (*second - *first).saturating_sub(LIMIT));
    let (half, _) = middle_and_last(&mut next.collect::<Vec<_>>());
    row("another job has begun there: half of them", "", format!("{half:.1?}"));
    Ok(())
}

fn middle_and_last(late: &mut [Duration]) -> (Duration, Duration) {
    late.sort_unstable();
    (late[late.len() / 2], late[late.len() - 1])
}

/// Notes how long after a time a job ends.
struct Noted(Instant, Rc<RefCell<Vec<Duration>>>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0.elapsed());
    }
}
