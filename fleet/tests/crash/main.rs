//! A worker that is killed, with SIGKILL, at each point of a job's life, and another one that goes on: each job is recorded once.
//!
//! The worker is this program again, in a process of its own, over each engine. Which calls of the broker's are the last ones is told by
//! the variable, so that nothing of the kind is in the crate.

#[macro_use]
#[path = "../support/passes_on.rs"]
mod passes_on;

use clients::folder::Folder;
use clients::measure::patched;
use clients::postgresql::Server;
use clients::program::{Program, Stop};
use fleet::{
    Backoff, Broker, BrokerError, Completion, Failure, Job, Lease, NewJob, Priority, Settlement, Status,
    Worker,
};
use rustix::process::{Signal, getpid, kill_process};
use std::collections::BTreeSet;
use std::env::{current_exe, var};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

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
    passes_on!();

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
    overflows(&folder.file("overflow"));
    at_random(&folder.file("random"));
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
    let address = format!("redis://127.0.0.1:{}/", server.port);
    at_each_point(|_| address.clone());
    overflows(&address);
    at_random(&address);
}

#[test]
fn each_job_is_recorded_once_wherever_its_worker_was_killed_on_postgresql() {
    if !Path::new("/usr/lib/postgresql").exists() {
        return println!("left out: there is no PostgreSQL here, see `.ci/run`");
    }
    let server = Server::start();
    at_each_point(|_| server.url());
    overflows(&server.url());
    at_random(&server.url());
}

/// Which kind of worker it is.
const KIND: &str = "FLEET_TEST_KIND";

/// How many jobs run beside one that ends their process.
const BESIDE: u32 = 8;

/// A stack that is too small for what is to be done.
#[inline(never)]
fn overflow(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 512]);
    if depth == u64::MAX { 0 } else { overflow(depth + 1) + room[depth as usize % room.len()] }
}

/// What a process does that is ended by its jobs, or at random.
#[test]
fn worker_that_ends() {
    let (Ok(kind), Ok(address), Ok(queue)) = (var(KIND), var(ADDRESS), var(QUEUE)) else { return };
    patched(move || match kind.as_str() {
        "overflow" => run_beside_an_overflow(fleet::open(&address, &queue).unwrap()),
        _ => run_at_random(fleet::open(&address, &queue).unwrap()),
    });
}

fn run_beside_an_overflow(broker: Arc<dyn Broker>) {
    let worker = Worker::new(broker).lease(LEASE).attempts(2).until_idle();
    let run = worker.run(|job| {
        if job.payload == "overflows" {
            // When all have begun.
            greenloop::sleep(Duration::from_millis(10));
            overflow(0);
        }
        greenloop::sleep(LEASE / 10);
        Ok(Completion::new().record(&job.payload))
    });
    run.unwrap();
}

fn process(kind: &str, address: &str, queue: &str) -> Command {
    let mut command = Command::new(current_exe().unwrap());
    command.args(["worker_that_ends", "--exact"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.env(KIND, kind).env(ADDRESS, address).env(QUEUE, queue);
    command
}

/// What ends its process each time takes none of those with it that run there.
fn overflows(address: &str) {
    let queue = "overflow";
    let broker = fleet::open(address, queue).unwrap();
    let beside = (0..BESIDE).map(|number| NewJob::new(number.to_string()));
    broker.push(&beside.chain([NewJob::new("overflows")]).collect::<Vec<_>>()).unwrap();
    let mut ended = 0;
    while !process("overflow", address, queue).status().unwrap().success() {
        ended += 1;
        assert!(ended < 20, "{:?}", broker.status());
    }
    // Each time it was tried, and once by itself; more often, if its lease was lost to a slow machine.
    assert!(ended >= 3, "{ended}");
    let mut records: Vec<_> = broker.records(0, 100).unwrap().into_iter().map(|record| record.text).collect();
    records.sort();
    assert_eq!(records, (0..BESIDE).map(|number| number.to_string()).collect::<Vec<_>>());
    let dead = broker.dead_jobs(9).unwrap();
    assert_eq!((dead.len(), dead[0].payload.as_str()), (1, "overflows"));
    assert!(dead[0].error.starts_with("its worker ended before it, "), "{dead:?}");
}

/// How many jobs there are while processes are killed at random, and how many processes at once.
const MANY: u32 = 120;
const PROCESSES: usize = 3;
/// Which random numbers, and how long they kill: to be set for longer runs.
const SEED: &str = "FLEET_TEST_SEED";
const SECONDS: &str = "FLEET_TEST_SECONDS";

fn run_at_random(broker: Arc<dyn Broker>) {
    let backoff = Backoff::full_jitter(Duration::ZERO, Duration::from_millis(50));
    let worker = Worker::new(broker.clone())
        .concurrency(10)
        .lease(LEASE)
        .attempts(1_000)
        .backoff(backoff)
        .until_idle();
    let run = worker.run(|job| {
        let number: u32 = job.payload.parse()?;
        let is_first = job.attempt <= 2;
        match number % 60 {
            0 | 30 if is_first => panic!("it panics"),
            1 | 31 if is_first => return Err(Failure::retry("a long error ".repeat(100_000))),
            2 if is_first => {
                // No lease is renewed meanwhile.
                let start = Instant::now();
                while start.elapsed() < LEASE + LEASE / 2 {
                    std::hint::spin_loop();
                }
            }
            3 | 33 => drop(std::hint::black_box(vec![1_u8; 30 << 20])),
            _ => greenloop::sleep(Duration::from_millis(number.into())),
        }
        let next = (number < MANY).then(|| NewJob::new((number + MANY).to_string()).priority(Priority::Low));
        Ok(Completion::new().record(&job.payload).result(&job.payload, 100 * LEASE).jobs(next))
    });
    run.unwrap();
}

/// Processes are killed whenever it comes to somebody's mind, on jobs of every kind: each is recorded once, and has its result.
fn at_random(address: &str) {
    let queue = "random";
    let number = |name: &str| var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seed, seconds) = (number(SEED).unwrap_or_else(|| fastrand::u64(..)), number(SECONDS).unwrap_or(3));
    println!("{SEED}={seed} {SECONDS}={seconds}");
    let mut random = fastrand::Rng::with_seed(seed);
    let broker = fleet::open(address, queue).unwrap();
    let jobs = (0..MANY).map(|number| {
        let job = NewJob::new(number.to_string()).unique(number.to_string());
        match number % 10 {
            4 => job.exclusive_lane("lane", Duration::from_millis(5)),
            5 => job.lane("spaced", Duration::from_millis(5)),
            6 => job.priority(Priority::High).later(Duration::from_millis(300)),
            _ => job,
        }
    });
    broker.push(&jobs.collect::<Vec<_>>()).unwrap();
    let start = || process("random", address, queue).spawn().unwrap();
    let mut processes: Vec<_> = (0..PROCESSES).map(|_| start()).collect();
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(random.u64(20..600)));
        let one = &mut processes[random.usize(..PROCESSES)];
        one.kill().unwrap();
        one.wait().unwrap();
        *one = start();
    }
    for mut process in processes {
        assert!(process.wait().unwrap().success(), "{SEED}={seed}: {:?}", broker.status());
    }
    let records = broker.records(0, 1_000).unwrap();
    let numbers: BTreeSet<u32> = records.iter().map(|record| record.text.parse().unwrap()).collect();
    assert_eq!((records.len() as u32, numbers), (2 * MANY, (0..2 * MANY).collect()), "{SEED}={seed}");
    let status = broker.status().unwrap();
    assert!(status.is_idle() && status.dead == 0, "{SEED}={seed}: {status:?}");
    for record in records {
        assert_eq!(broker.result(record.job).unwrap(), Some(record.text), "{SEED}={seed}");
    }
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
