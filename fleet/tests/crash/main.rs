//! A worker that is killed, with SIGKILL, at each point of a job's life, and another one that goes on: each job is recorded once.
//!
//! The worker is this program again, in a process of its own, over a file of SQLite. Which calls of the broker's are the last ones is told
//! by the variable, so that nothing of the kind is in the crate.

use clients::folder::Folder;
use clients::measure::patched;
use fleet::{
    Backoff, Broker, BrokerError, Completion, DeadJob, Job, Lease, NewJob, Record, Settlement, Sqlite,
    Status, Worker,
};
use rustix::process::{Signal, getpid, kill_process};
use std::collections::BTreeSet;
use std::env::{current_exe, var};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Where, and in which file: set in the process that is to be killed.
const POINT: &str = "FLEET_TEST_POINT";
const FILE: &str = "FLEET_TEST_FILE";

/// How many jobs there are at first. Each has one that follows.
const JOBS: u32 = 20;
/// How soon what a killed worker had is taken over.
const LEASE: Duration = Duration::from_secs(1);

/// The points of a job's life, and how often each is passed before the end.
const POINTS: [(&str, u32); 7] = [
    ("before it is taken", 2),
    ("when it was taken", 2),
    ("while it runs", 7),
    ("when it has run", 7),
    ("before it is settled", 2),
    ("when it is settled", 2),
    ("while leases are renewed", 1),
];

/// Ends this process at a point of its life.
struct End {
    point: String,
    left: AtomicU32,
}

impl End {
    fn pass(&self, point: &str) {
        if self.point == point && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    }
}

/// A broker that ends its process before or after a call.
struct Ending {
    broker: Sqlite,
    end: Arc<End>,
}

impl Broker for Ending {
    fn push(&self, jobs: &[NewJob]) -> Result<usize, BrokerError> {
        self.broker.push(jobs)
    }

    fn take(&self, most: usize, lease: Duration) -> Result<Vec<Job>, BrokerError> {
        self.end.pass("before it is taken");
        let taken = self.broker.take(most, lease)?;
        if !taken.is_empty() {
            self.end.pass("when it was taken");
        }
        Ok(taken)
    }

    fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<Lease>, BrokerError> {
        let lost = self.broker.renew(leases, lease);
        self.end.pass("while leases are renewed");
        lost
    }

    fn settle(&self, settlements: &[Settlement]) -> Result<Vec<bool>, BrokerError> {
        self.end.pass("before it is settled");
        let held = self.broker.settle(settlements);
        self.end.pass("when it is settled");
        held
    }

    fn result(&self, job: u64) -> Result<Option<String>, BrokerError> {
        self.broker.result(job)
    }

    fn keep(&self, name: &str, text: &str, kept: Duration) -> Result<(), BrokerError> {
        self.broker.keep(name, text, kept)
    }

    fn kept(&self, name: &str) -> Result<Option<String>, BrokerError> {
        self.broker.kept(name)
    }

    fn records(&self, after: u64, most: usize) -> Result<Vec<Record>, BrokerError> {
        self.broker.records(after, most)
    }

    fn dead_jobs(&self, most: usize) -> Result<Vec<DeadJob>, BrokerError> {
        self.broker.dead_jobs(most)
    }

    fn requeue_dead(&self) -> Result<u64, BrokerError> {
        self.broker.requeue_dead()
    }

    fn purge(&self) -> Result<(), BrokerError> {
        self.broker.purge()
    }

    fn status(&self) -> Result<Status, BrokerError> {
        self.broker.status()
    }
}

fn work(broker: Arc<dyn Broker>, end: Arc<End>) {
    let backoff = Backoff::full_jitter(Duration::ZERO, Duration::ZERO);
    let worker =
        Worker::new(broker).concurrency(5).lease(LEASE).attempts(1_000).backoff(backoff).until_idle();
    let run = worker.run(move |job| {
        end.pass("while it runs");
        // Some longer than it takes until leases are renewed.
        let number: u32 = job.payload.parse()?;
        greenloop::sleep(if number % 10 == 3 { LEASE / 2 } else { Duration::from_millis(2) });
        end.pass("when it has run");
        let next = (number < JOBS).then(|| (number + JOBS).to_string());
        let next = next.map(|next| NewJob::new(&next).unique(next));
        Ok(Completion::new().record(&job.payload).jobs(next))
    });
    run.unwrap();
}

/// What the process that is to be killed does.
#[test]
fn worker_that_is_killed() {
    let (Ok(point), Ok(file)) = (var(POINT), var(FILE)) else { return };
    let times = POINTS.iter().find(|(name, _)| *name == point).unwrap().1;
    patched(move || {
        let end = Arc::new(End { point, left: AtomicU32::new(times) });
        work(Arc::new(Ending { broker: Sqlite::open(file).unwrap(), end: end.clone() }), end);
    });
}

#[test]
fn each_job_is_recorded_once_wherever_its_worker_was_killed() {
    std::thread::scope(|scope| {
        for (point, _) in POINTS {
            scope.spawn(move || is_recorded_once(point));
        }
    });
}

fn is_recorded_once(point: &str) {
    let folder = Folder::new("fleet-crash");
    let file = folder.file("queue.db");
    let broker = Arc::new(Sqlite::open(&file).unwrap());
    let jobs: Vec<_> = (0..JOBS).map(|number| NewJob::new(number.to_string())).collect();
    broker.push(&jobs).unwrap();
    let mut killed = Command::new(current_exe().unwrap());
    killed.args(["worker_that_is_killed", "--exact"]).env(POINT, point).env(FILE, &file);
    let output = killed.output().unwrap();
    assert_eq!(output.status.signal(), Some(Signal::KILL.as_raw()), "{point}: {output:?}");
    let left = broker.clone();
    patched(move || work(left, Arc::new(End { point: String::new(), left: AtomicU32::new(0) })));
    let records = broker.records(0, 1000).unwrap();
    let numbers: BTreeSet<u32> = records.iter().map(|record| record.text.parse().unwrap()).collect();
    assert_eq!((records.len() as u32, numbers), (2 * JOBS, (0..2 * JOBS).collect()), "{point}");
    let status = broker.status().unwrap();
    assert!(status.is_idle() && status.dead == 0, "{point}: {status:?}");
}
