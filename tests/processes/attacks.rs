//! Hostile use: values that panic wherever they are touched, signals ignored or without end, processes killed at any moment.

use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use greenloop::error::ProcessError;
use greenloop::process::{Incoming, Outgoing, Process, Wire, Zygote};
use greenloop::processes::{ProcessPool, WorkError};
use greenloop::{sleep, spawn, yield_now};

use crate::support::{Random, collect_uncaught};
use crate::{LIMIT, LONG, setting, tests};

tests! {
    values_whose_destructors_panic,
    values_that_panic_on_their_way,
    limits_without_an_end,
    terminate_while_a_worker_begins,
    terminate_while_no_worker_can_be_had,
    workers_that_die_before_each_job,
    sigchld_ignored,
    a_pool_of_the_parent_s tells "would block for ever",
    exits_in_a_worker,
    signals_all_the_time,
    everybody_killed_at_random,
}

/// When all that is to come has come, also on a busy machine.
pub(super) const SOON: Duration = Duration::from_secs(20);

pub(super) fn ends<A: 'static, T: 'static>(pool: &ProcessPool<A, T>) {
    pool.close();
    assert!(pool.join_timeout(SOON), "the pool ends");
}

fn raise(text: &str) -> ! {
    resume_unwind(Box::new(text.to_owned()))
}

/// Panics when it is dropped in the process of that number.
struct Sore(u32, u32);

const LASTS: u32 = 9;

impl Drop for Sore {
    fn drop(&mut self) {
        if std::process::id() == self.1 {
            raise("sore")
        }
    }
}

impl Wire for Sore {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        (self.0.put(into), self.1.put(into)).1
    }

    fn take(from: &mut Incoming<'_>) -> Option<Sore> {
        Some(Sore(u32::take(from)?, u32::take(from)?))
    }
}

fn values_whose_destructors_panic() {
    let told = collect_uncaught();
    let own = std::process::id();
    let pool = ProcessPool::new(1, move |Sore(kind, _): Sore| {
        if kind == LASTS {
            sleep(LONG);
        }
        Sore(kind, own)
    })
    .unwrap();
    std::mem::forget(pool.submit(Sore(1, own)).join_timeout(SOON).expect("it is told"));
    // Nobody takes its value.
    drop(pool.submit(Sore(2, own)));
    let jobs = [LASTS, 3, 4].map(|kind| pool.submit(Sore(kind, own)));
    assert!(jobs[2].cancel());
    pool.terminate();
    assert!(pool.join_timeout(SOON));
    for job in jobs {
        assert!(job.join_timeout(SOON).expect("it is told").is_err());
    }
    assert!(matches!(pool.submit(Sore(5, own)).join(), Err(WorkError::Closed)));
    let told = told.lock().unwrap();
    let arguments = told.iter().filter(|told| *told == "the destructor of a job's argument panicked: sore");
    assert_eq!(arguments.count(), 6);
}

/// Panics at one step, in the parent or in the worker.
#[derive(Debug, PartialEq)]
struct Touchy(u32, u32);

const PUT: u32 = 1;
const TAKE: u32 = 2;

impl Wire for Touchy {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        if self.0 == PUT {
            raise("put")
        }
        (self.0.put(into), self.1.put(into)).1
    }

    fn take(from: &mut Incoming<'_>) -> Option<Touchy> {
        let touchy = Touchy(u32::take(from)?, u32::take(from)?);
        if touchy.0 == TAKE {
            raise("take")
        }
        Some(touchy)
    }
}

fn values_that_panic_on_their_way() {
    let pool = ProcessPool::new(1, |Touchy(_, next): Touchy| Touchy(next, 0)).unwrap();
    assert_eq!(pool.apply(Touchy(0, 0)), Ok(Touchy(0, 0)));
    let worker = pool.workers();
    for (first, next) in [(PUT, 0), (TAKE, 0), (0, PUT), (0, TAKE)] {
        let job = pool.submit(Touchy(first, next));
        let result = job.join_timeout(SOON).expect("it is told");
        assert!(matches!(result, Err(WorkError::Undecodable(_))), "{first} {next} {result:?}");
        assert_eq!(pool.submit(Touchy(0, 0)).join_timeout(SOON).unwrap(), Ok(Touchy(0, 0)));
    }
    assert_eq!(pool.workers(), worker);
    ends(&pool);
}

fn limits_without_an_end() {
    let pool = ProcessPool::builder(1).limit(Duration::MAX).grace(Duration::MAX).build(|n: u32| n).unwrap();
    assert_eq!(pool.submit(1).join_timeout(SOON).expect("it is told"), Ok(1));
    ends(&pool);
}

fn terminate_while_a_worker_begins() {
    for yields in 0..8 {
        let pool = ProcessPool::builder(2).initializer(|| sleep(LONG)).build(|n: u32| n).unwrap();
        let job = pool.submit(1);
        (0..yields).for_each(|_| yield_now());
        pool.terminate();
        assert!(pool.join_timeout(SOON), "after {yields} yields");
        assert_eq!(job.join(), Err(WorkError::Closed));
    }
}

fn terminate_while_no_worker_can_be_had() {
    let ends_at_once = || {
        let exits = || std::process::exit(0);
        let pool = ProcessPool::builder(2).initializer(exits).build(|number: u32| number).unwrap();
        let result = pool.apply(1);
        assert!(matches!(result, Err(WorkError::NoWorker(_))), "{result:?}");
        let begin = Instant::now();
        pool.terminate();
        assert!(pool.join_timeout(SOON));
        // They would try again after 160 ms.
        begin.elapsed() < Duration::from_millis(100)
    };
    assert!((0..5).any(|_| ends_at_once()));
}

fn workers_that_die_before_each_job() {
    let pool = ProcessPool::builder(2)
        .initializer(|| drop(spawn(|| std::process::exit(0))))
        .build(|n: u32| n)
        .unwrap();
    let job = pool.submit(1);
    let result = job.join_timeout(SOON).expect("it is told");
    assert!(
        matches!(result, Err(WorkError::NoWorker(_) | WorkError::WorkerDied { .. }) | Ok(1)),
        "{result:?}"
    );
    pool.terminate();
    assert!(pool.join_timeout(SOON));
}

fn sigchld_ignored() {
    // SAFETY: takes no pointers.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    assert_eq!(Process::start(|| 7_u32).unwrap().join().unwrap(), 7);
    let child = Process::start(|| sleep(LONG)).unwrap();
    child.kill().unwrap();
    assert!(matches!(child.join(), Err(ProcessError::Unknown(_))));
    let zygote = Zygote::start().unwrap();
    let child = zygote.run(|n: u32| n, 7).unwrap();
    let joined = child.join_timeout(SOON).expect("it ends");
    assert_eq!(joined.unwrap(), 7);
    let child = zygote.run(|()| sleep(LONG), ()).unwrap();
    child.kill().unwrap();
    let joined = child.join_timeout(SOON).expect("it ends");
    assert!(matches!(joined, Err(ProcessError::Unknown(_))), "{joined:?}");
    let pool = ProcessPool::builder(2)
        .retries(1)
        .build(|n: u32| if n == 13 { std::process::abort() } else { n })
        .unwrap();
    assert_eq!(pool.apply(1), Ok(1));
    let job = pool.submit(13).join_timeout(SOON).expect("it is told");
    assert!(matches!(job, Err(WorkError::WorkerDied { signal: None, attempts: 2, .. })), "{job:?}");
    assert_eq!(pool.apply(1), Ok(1));
    ends(&pool);
}

fn a_pool_of_the_parent_s() {
    let pool = ProcessPool::new(1, |n: u32| n).unwrap();
    assert_eq!(pool.apply(1), Ok(1));
    let child = Process::start(|| pool.apply(1).is_err()).unwrap();
    let joined = child.join_timeout(SOON).expect("it ends");
    assert!(matches!(joined, Ok(true) | Err(_)), "{joined:?}");
    assert_eq!(pool.apply(1), Ok(1));
    ends(&pool);
}

fn exits_in_a_worker() {
    let pool =
        ProcessPool::builder(1).retries(0).build(|code: i32| -> u32 { std::process::exit(code) }).unwrap();
    for code in [0, 1, 101] {
        let result = pool.submit(code).join_timeout(SOON).expect("it is told");
        assert!(matches!(result, Err(WorkError::WorkerDied { signal: None, attempts: 1, .. })), "{result:?}");
    }
    ends(&pool);
}

extern "C" fn nothing(_: i32) {}

/// Has this process interrupted again and again; 0 for no more.
fn interrupt_each(microseconds: libc::suseconds_t) {
    let handler = nothing as extern "C" fn(i32);
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGALRM, handler as libc::sighandler_t) };
    let often = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    let often = libc::itimerval { it_interval: often, it_value: often };
    // SAFETY: the pointers are to a valid value and to none.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &often, std::ptr::null_mut()) };
}

fn signals_all_the_time() {
    interrupt_each(500);
    let interrupted = |bytes: Vec<u8>| {
        interrupt_each(500);
        bytes
    };
    let pool = ProcessPool::builder(2).tasks_per_child(20).build(interrupted).unwrap();
    for round in 0..60_usize {
        let bytes = vec![round as u8; round * 7000];
        assert_eq!(pool.apply(bytes.clone()), Ok(bytes));
    }
    Process::start(|| sleep(Duration::from_millis(20))).unwrap().join().unwrap();
    ends(&pool);
    interrupt_each(0);
}

fn children_of(id: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    text.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

fn send(id: u32, signal: i32) {
    // SAFETY: takes no pointers.
    unsafe { libc::kill(id as i32, signal) };
}

/// For longer, or others: see `tests/README.md`.
fn everybody_killed_at_random() {
    let mut random = Random::new(setting("SEED", 1));
    let end = Instant::now() + Duration::from_secs(setting("SECONDS", 1));
    while Instant::now() < end {
        let pool = ProcessPool::builder(1 + random.below(4))
            .tasks_per_child(1 + random.below(30) as u32)
            .retries(random.below(3) as u32)
            .limit(Duration::from_millis(200))
            .grace(Duration::from_millis(20))
            .build(|(number, pause, bytes): (u64, Duration, Vec<u8>)| {
                sleep(pause);
                (number, bytes)
            })
            .unwrap();
        let jobs: Vec<_> = (0..100)
            .map(|number: u64| {
                let bytes = vec![number as u8; random.below(300) * random.below(1000)];
                let pause = Duration::from_micros(random.below(2000) as u64);
                (number, bytes.clone(), pool.submit((number, pause, bytes)))
            })
            .collect();
        let last = Instant::now() + LIMIT / 2;
        while !jobs.iter().all(|(.., job)| job.is_finished()) {
            assert!(Instant::now() < last, "a job is never told: {jobs:?}");
            hurt_somebody(&mut random);
            sleep(Duration::from_micros(random.below(3000) as u64));
        }
        for (number, bytes, job) in jobs {
            match job.join() {
                Ok(value) => assert!(value == (number, bytes)),
                Err(WorkError::WorkerDied { attempts, .. }) => assert!(attempts <= 3),
                Err(WorkError::TimedOut | WorkError::NoWorker(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        if random.below(2) == 0 {
            pool.close()
        } else {
            pool.terminate()
        }
        assert!(pool.join_timeout(SOON));
    }
}

/// A signal for a worker, or now and then for the process that forks them.
fn hurt_somebody(random: &mut Random) {
    let nurseries = children_of(std::process::id());
    let workers: Vec<u32> = nurseries.iter().flat_map(|id| children_of(*id)).collect();
    let all = if random.below(30) == 0 { nurseries } else { workers };
    if all.is_empty() {
        return;
    }
    let victim = all[random.below(all.len())];
    match random.below(20) {
        0 => send(victim, libc::SIGTERM),
        1 => send(victim, libc::SIGABRT),
        2 => {
            send(victim, libc::SIGSTOP);
            sleep(Duration::from_micros(300));
            send(victim, libc::SIGCONT);
        }
        3..12 => send(victim, libc::SIGKILL),
        _ => {}
    }
}
