//! A worker that is killed, with SIGKILL, at each point of a job's life, and another one that goes on: each job is recorded once.
//!
//! The worker is this program again, in a process of its own, over each engine. Which calls of the broker's are the last ones is told by
//! the variable, so that nothing of the kind is in the crate.

use clients::folder::Folder;
use clients::measure::patched;
use clients::postgresql::Server;
use clients::program::{Program, Stop};
use fleet::{
    Backoff, Broker, BrokerError, Completion, DeadJob, Job, Lease, NewJob, Record, Settlement, Status, Worker,
};
use rustix::process::{Signal, getpid, kill_process};
use std::collections::BTreeSet;
use std::env::{current_exe, var};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Where, and of which broker and queue: set in the process that is to be killed.
const POINT: &str = "FLEET_TEST_POINT";
const ADDRESS: &str = "FLEET_TEST_ADDRESS";
const QUEUE: &str = "FLEET_TEST_QUEUE";

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
    broker: Arc<dyn Broker>,
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
    let (Ok(point), Ok(address), Ok(queue)) = (var(POINT), var(ADDRESS), var(QUEUE)) else { return };
    let times = POINTS.iter().find(|(name, _)| *name == point).unwrap().1;
    patched(move || {
        let end = Arc::new(End { point, left: AtomicU32::new(times) });
        work(Arc::new(Ending { broker: fleet::open(&address, &queue).unwrap(), end: end.clone() }), end);
    });
}

#[test]
fn each_job_is_recorded_once_wherever_its_worker_was_killed_on_sqlite() {
    let folder = Folder::new("fleet-crash");
    at_each_point(|queue| folder.file(queue));
}

#[test]
fn each_job_is_recorded_once_wherever_its_worker_was_killed_on_redis() {
    if Command::new("redis-server").arg("--version").output().is_err() {
        return println!("left out: there is no redis-server here, see `.ci/run`");
    }
    let server = Program::start(Stop::TERMINATE, "Ready to accept connections", |port| {
        let port = port.to_string();
        let arguments = ["redis-server", "--bind", "127.0.0.1", "--port", &port, "--save", ""];
        arguments.map(str::to_owned).to_vec()
    });
    at_each_point(|_| format!("redis://127.0.0.1:{}/", server.port));
}

#[test]
fn each_job_is_recorded_once_wherever_its_worker_was_killed_on_postgresql() {
    if !Path::new("/usr/lib/postgresql").exists() {
        return println!("left out: there is no PostgreSQL here, see `.ci/run`");
    }
    let server = Server::start();
    at_each_point(|_| server.url());
}

/// With a queue of its own for each, whose broker is at the address that it is given.
fn at_each_point(address: impl Fn(&str) -> String + Sync) {
    std::thread::scope(|scope| {
        for (place, (point, _)) in POINTS.into_iter().enumerate() {
            let address = &address;
            scope.spawn(move || {
                let queue = format!("point_{place}");
                is_recorded_once(point, &address(&queue), &queue);
            });
        }
    });
}

fn is_recorded_once(point: &str, address: &str, queue: &str) {
    let broker = fleet::open(address, queue).unwrap();
    let jobs: Vec<_> = (0..JOBS).map(|number| NewJob::new(number.to_string())).collect();
    broker.push(&jobs).unwrap();
    let mut killed = Command::new(current_exe().unwrap());
    killed.args(["worker_that_is_killed", "--exact"]);
    killed.env(POINT, point).env(ADDRESS, address).env(QUEUE, queue);
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
