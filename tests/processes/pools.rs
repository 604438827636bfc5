use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::process::{Incoming, Outgoing, Process, Wire, channel, current, pipe};
use greenloop::processes::{Manager, ProcessPool, WorkError};
use greenloop::{iwait, sleep, spawn, with_timeout, yield_now};

use crate::support::Random;
use crate::{LIMIT, LONG, tests, until};

tests! {
    n73_apply_map_imap_and_callbacks,
    n74_nothing_to_map_is_nothing_at_once,
    n75_an_iterator_that_panics tells "no more items",
    n76_what_cannot_be_sent_fails_alone,
    n77_terminate_with_ten_thousand_queued,
    n78_workers_are_replaced_after_their_tasks,
    n79_arguments_and_results_are_dropped_when_done,
    n80_the_initializer_runs_once_in_each_worker,
    n80_an_initializer_that_panics_is_reported_once tells "no database",
    n81_idle_workers_killed_do_not_stop_it,
    n82_a_worker_killed_in_the_middle,
    n83_a_worker_dies_at_each_step,
    n84_a_thousand_jobs_while_workers_are_killed,
    jobs_are_cancelled_before_they_begin,
    soft_and_hard_limits,
    kills_and_time_limits_of_who_waits,
    a_job_s_panic_is_its_own tells "unlucky",
    a_dropped_pool_does_what_it_was_given,
    ctrl_c_is_for_its_owner_to_hear,
    ctrl_c_ends_a_program_that_does_not_hear_it,
    an_open_pool_cannot_be_joined tells "call `close` before",
    its_nursery_may_be_killed,
    it_serves_beside_foreign_threads,
    workers_are_named_daemons,
    what_is_passed_works_in_its_function,
    a_pool_in_a_worker,
    many_green_threads_share_it,
}

fn ends<A: 'static, T: 'static>(pool: &ProcessPool<A, T>) {
    pool.close();
    pool.join();
    assert!(pool.workers().is_empty());
}

pub(super) fn kill(id: u32) {
    // SAFETY: takes no pointers; the number is that of a worker of this test's.
    unsafe { libc::kill(id as libc::pid_t, libc::SIGKILL) };
}

fn n73_apply_map_imap_and_callbacks() {
    let pool = ProcessPool::new(3, |number: u64| number * number).unwrap();
    assert_eq!(pool.apply(7), Ok(49));
    let squares: Vec<u64> = (0..100).map(|number| number * number).collect();
    let all =
        |results: Vec<Result<u64, WorkError>>| results.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(all(pool.map(0..100)), squares);
    assert_eq!(all(pool.imap(0..100).collect()), squares);
    for most in [1, 2, 7, 1000] {
        let mut unordered = all(pool.imap_unordered(0..100).maxsize(most).collect());
        unordered.sort_unstable();
        assert_eq!(unordered, squares);
    }
    let seen = Rc::new(RefCell::new(Vec::new()));
    let tasks: Vec<_> = (0..10)
        .map(|number| {
            let seen = seen.clone();
            pool.apply_async(number, move |value| seen.borrow_mut().push(*value))
        })
        .collect();
    assert!(tasks.into_iter().all(|task| task.join().unwrap().is_ok()));
    seen.borrow_mut().sort_unstable();
    assert_eq!(*seen.borrow(), squares[..10]);
    let jobs: Vec<_> = (0..10).map(|number| pool.submit(number)).collect();
    assert_eq!(iwait(&jobs).count(), 10);
    assert!(jobs.into_iter().map(|job| job.join().unwrap()).eq(squares[..10].iter().copied()));
    ends(&pool);
}

fn n74_nothing_to_map_is_nothing_at_once() {
    let pool = ProcessPool::new(1, |number: u64| number).unwrap();
    assert!(pool.map([]).is_empty());
    assert!(pool.imap([]).next().is_none() && pool.imap_unordered([]).next().is_none());
    ends(&pool);
}

fn n75_an_iterator_that_panics() {
    let pool = ProcessPool::new(2, |number: u64| number).unwrap();
    let mut told = 0;
    for end in [0, 1, 5, 40] {
        let items = || {
            (0..).map(
                move |number| if number < end { number } else { std::panic::resume_unwind(Box::new("none")) },
            )
        };
        assert!(catch_unwind(AssertUnwindSafe(|| pool.map(items()))).is_err());
        let got = Cell::new(0);
        let taken = catch_unwind(AssertUnwindSafe(|| {
            pool.imap(items()).for_each(|value| got.set(value.unwrap() + 1))
        }));
        assert!(taken.is_err() && got.get() <= end);
        told += 1;
    }
    assert_eq!(told, 4);
    let named = catch_unwind(AssertUnwindSafe(|| pool.map((0..2).map(|_| panic!("no more items")))));
    assert_eq!(named.unwrap_err().downcast_ref(), Some(&"no more items"));
    assert_eq!(pool.apply(3), Ok(3));
    ends(&pool);
}

/// Travels out, and comes to nothing there if its number says so.
#[derive(Debug, PartialEq, Clone)]
struct Brittle(u32);

impl Wire for Brittle {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        self.0.put(into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<Brittle> {
        u32::take(from).filter(|number| number % 3 != 0).map(Brittle)
    }
}

fn n76_what_cannot_be_sent_fails_alone() {
    let pool = ProcessPool::new(2, |Brittle(number): Brittle| Brittle(number + 1)).unwrap();
    let workers = {
        // Once both are there.
        until("two workers", || {
            pool.map((1..20).map(|_| Brittle(4))).len() == 19 && pool.workers().len() == 2
        });
        pool.workers()
    };
    for _ in 0..20 {
        assert!(matches!(pool.apply(Brittle(3)), Err(WorkError::Undecodable(_))), "as an argument");
        assert!(matches!(pool.apply(Brittle(2)), Err(WorkError::Undecodable(_))), "as a value");
        assert_eq!(pool.apply(Brittle(4)), Ok(Brittle(5)));
    }
    assert_eq!(pool.workers(), workers);
    ends(&pool);
    let files = |count: u32| {
        (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect::<Vec<OwnedFd>>()
    };
    let pool =
        ProcessPool::new(1, move |(given, count): (Vec<OwnedFd>, u32)| (given.len() as u32, files(count)))
            .unwrap();
    let worker = {
        pool.apply((Vec::new(), 0)).unwrap();
        pool.workers()
    };
    assert!(matches!(pool.apply((files(65), 0)), Err(WorkError::Undecodable(_))));
    assert!(matches!(pool.apply((files(1), 65)), Err(WorkError::Undecodable(_))));
    let (count, back) = pool.apply((files(64), 64)).unwrap();
    assert_eq!((count, back.len()), (64, 64));
    assert_eq!(pool.workers(), worker);
    ends(&pool);
}

fn n77_terminate_with_ten_thousand_queued() {
    let pool = ProcessPool::new(3, sleep).unwrap();
    let jobs: Vec<_> = (0..10_000).map(|_| pool.submit(LONG)).collect();
    sleep(Duration::from_millis(5));
    let begin = Instant::now();
    pool.terminate();
    pool.join();
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert!(jobs.into_iter().all(|job| job.join() == Err(WorkError::Closed)));
    assert_eq!(pool.apply(Duration::ZERO), Err(WorkError::Closed));
}

fn n78_workers_are_replaced_after_their_tasks() {
    let pool = ProcessPool::builder(2).tasks_per_child(3).build(|()| std::process::id()).unwrap();
    let jobs: Vec<_> = (0..30).map(|_| pool.submit(())).collect();
    pool.close();
    let mut counts = std::collections::BTreeMap::<u32, u32>::new();
    jobs.into_iter().for_each(|job| *counts.entry(job.join().unwrap()).or_default() += 1);
    assert!(counts.values().all(|&count| count <= 3), "{counts:?}");
    assert!(counts.len() >= 10);
    pool.join();
    for builder in [ProcessPool::builder(2).tasks_per_child(0), ProcessPool::builder(0)] {
        assert!(builder.build(|()| ()).is_err());
    }
}

thread_local! {
    static ALIVE: Cell<i32> = const { Cell::new(0) };
}

#[derive(Debug)]
struct Counted(u32);

impl Counted {
    fn new(number: u32) -> Counted {
        ALIVE.set(ALIVE.get() + 1);
        Counted(number)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
    }
}

impl Wire for Counted {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        self.0.put(into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<Counted> {
        u32::take(from).map(Counted::new)
    }
}

fn n79_arguments_and_results_are_dropped_when_done() {
    let pool = ProcessPool::new(1, |Counted(number): Counted| {
        // In the worker too there is one, at each call.
        assert_eq!(ALIVE.get(), 1);
        Counted::new(number)
    })
    .unwrap();
    for number in 0..10 {
        let value = pool.apply(Counted::new(number)).unwrap();
        assert_eq!((value.0, ALIVE.get()), (number, 1));
    }
    assert_eq!(ALIVE.get(), 0);
    pool.map((0..10).map(Counted::new)).into_iter().for_each(|value| drop(value.unwrap()));
    drop(pool.submit(Counted::new(1)));
    ends(&pool);
    assert_eq!(ALIVE.get(), 0);
}

fn n80_the_initializer_runs_once_in_each_worker() {
    static BEGUN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = || BEGUN.load(std::sync::atomic::Ordering::SeqCst);
    let begin = move || BEGUN.store(count() + 1, std::sync::atomic::Ordering::SeqCst);
    let pool =
        ProcessPool::builder(2).initializer(begin).tasks_per_child(5).build(move |()| count()).unwrap();
    assert!(pool.map([(); 40]).into_iter().all(|told| told == Ok(1)));
    assert_eq!(count(), 0);
    ends(&pool);
}

fn n80_an_initializer_that_panics_is_reported_once() {
    let pool = ProcessPool::builder(1).initializer(|| panic!("no database")).build(|()| ()).unwrap();
    let refused = Err(WorkError::Initializer("no database".to_owned()));
    assert!(pool.map([(); 10]).into_iter().all(|told| told == refused));
    assert_eq!(pool.apply(()), refused);
    pool.close();
    pool.join();
}

fn n81_idle_workers_killed_do_not_stop_it() {
    for _ in 0..5 {
        let pool = ProcessPool::new(2, |number: u32| number).unwrap();
        until("two workers", || pool.map(0..20).len() == 20 && pool.workers().len() == 2);
        pool.workers().into_iter().for_each(kill);
        assert_eq!(with_timeout(LIMIT, || pool.apply(7)).unwrap(), Ok(7));
        ends(&pool);
    }
    // And they are replaced though nobody asks for anything.
    let pool = ProcessPool::builder(1).retries(0).build(|number: u32| number).unwrap();
    pool.apply(1).unwrap();
    let before = pool.workers();
    before.iter().copied().for_each(kill);
    until("another worker", || pool.workers().len() == 1 && pool.workers() != before);
    assert_eq!(pool.apply(2), Ok(2));
    ends(&pool);
}

fn n82_a_worker_killed_in_the_middle() {
    let dies = |number: u32| {
        if number == 0 {
            kill(std::process::id());
            sleep(LONG);
        }
        number
    };
    for retries in [0, 1, 3] {
        let pool = ProcessPool::builder(2).retries(retries).build(dies).unwrap();
        let results = pool.map([1, 2, 0, 3, 4]);
        for (place, number) in [(0, 1), (1, 2), (3, 3), (4, 4)] {
            // The worker of a job that kills had no other.
            assert_eq!(results[place], Ok(number));
        }
        let Err(error @ WorkError::WorkerDied { id, signal, attempts }) = &results[2] else {
            panic!("{results:?}")
        };
        assert_eq!((*signal, *attempts), (Some(libc::SIGKILL), retries + 1));
        let text =
            format!("worker {id} was killed by signal 9 in the middle of the job, at attempt {attempts}");
        assert_eq!(error.to_string(), text);
        assert_eq!(pool.apply(5), Ok(5));
        ends(&pool);
    }
}

/// Dies in the process that is not `home`, where its number says so.
#[derive(Debug)]
struct Deadly {
    home: u32,
    at: u32,
    bytes: Vec<u8>,
}

const DECODES: u32 = 1;
const RUNS: u32 = 2;
const ENCODES: u32 = 3;
const LARGE: u32 = 4;

impl Deadly {
    fn dies(&self, at: u32) {
        if self.at == at && self.home != std::process::id() {
            kill(std::process::id());
            sleep(LONG);
        }
    }
}

impl Wire for Deadly {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        self.dies(ENCODES);
        self.home.put(into);
        self.at.put(into);
        self.bytes.put(into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<Deadly> {
        let deadly = Deadly { home: u32::take(from)?, at: u32::take(from)?, bytes: Vec::take(from)? };
        deadly.dies(DECODES);
        Some(deadly)
    }
}

fn n83_a_worker_dies_at_each_step() {
    let run = |mut deadly: Deadly| {
        deadly.dies(RUNS);
        if deadly.at == LARGE {
            deadly.bytes = vec![1; 1 << 20];
            spawn(|| kill(std::process::id()));
        }
        deadly
    };
    let pool = ProcessPool::new(2, run).unwrap();
    let home = std::process::id();
    for at in [DECODES, RUNS, ENCODES] {
        for size in [1, 1 << 20] {
            let died = pool.apply(Deadly { home, at, bytes: vec![0; size] });
            assert!(
                matches!(died, Err(WorkError::WorkerDied { signal: Some(libc::SIGKILL), attempts: 2, .. })),
                "{died:?}"
            );
            assert!(pool.apply(Deadly { home, at: 0, bytes: Vec::new() }).is_ok());
        }
    }
    // Killed about when it sends: all of it, or nothing.
    for _ in 0..20 {
        match pool.apply(Deadly { home, at: LARGE, bytes: Vec::new() }) {
            Ok(value) => assert!(value.bytes == vec![1; 1 << 20]),
            Err(error) => assert!(matches!(error, WorkError::WorkerDied { .. })),
        }
    }
    ends(&pool);
}

// A kill for each ten jobs, however fast the machine is.
fn n84_a_thousand_jobs_while_workers_are_killed() {
    let slow = |number: u64| {
        sleep(Duration::from_millis(3));
        number
    };
    let pool = ProcessPool::builder(4).retries(2).build(slow).unwrap();
    let mut random = Random::new(84);
    let (mut sum, mut killed, mut died, mut lost) = (0, 0, 0, 0);
    for (number, result) in pool.imap(0..1000).enumerate() {
        match result {
            Ok(value) => sum += value,
            Err(WorkError::WorkerDied { attempts: 3, .. }) => {
                died += 1;
                lost += number as u64;
            }
            Err(error) => panic!("{error}"),
        }
        let workers = pool.workers();
        if number % 10 == 0 && !workers.is_empty() {
            kill(workers[random.below(workers.len())]);
            killed += 1;
        }
    }
    assert!(killed > 10, "{killed}");
    assert_eq!(sum, (0..1000).sum::<u64>() - lost);
    assert!(3 * died <= killed, "{died} of {killed}");
    ends(&pool);
}

fn jobs_are_cancelled_before_they_begin() {
    let pool = ProcessPool::new(1, |pause: Duration| (sleep(pause), 7).1).unwrap();
    let first = pool.submit(Duration::from_millis(20));
    let (second, third) = (pool.submit(Duration::ZERO), pool.submit(Duration::ZERO));
    assert!(second.cancel() && !second.cancel());
    assert_eq!((first.join(), second.join(), third.join()), (Ok(7), Err(WorkError::Cancelled), Ok(7)));
    ends(&pool);
}

fn soft_and_hard_limits() {
    let pool = ProcessPool::builder(1)
        .limit(Duration::from_millis(30))
        .grace(Duration::from_millis(30))
        .build(|kind: u32| {
            match kind {
                0 => {}
                1 => sleep(LONG),
                2 => std::thread::sleep(LONG),
                _ => {
                    // SAFETY: takes no pointers.
                    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
                    std::thread::sleep(LONG);
                }
            }
            kind
        })
        .unwrap();
    assert_eq!(pool.apply(0), Ok(0));
    let worker = pool.workers();
    assert_eq!(pool.apply(1), Err(WorkError::TimedOut));
    assert_eq!(pool.workers(), worker, "the worker stopped it by itself");
    for kind in [2, 3] {
        assert_eq!(pool.apply(kind), Err(WorkError::TimedOut));
        assert_eq!(pool.apply(0), Ok(0));
        assert_ne!(pool.workers(), worker);
    }
    ends(&pool);
}

fn kills_and_time_limits_of_who_waits() {
    let pool = Rc::new(ProcessPool::new(1, |pause: Duration| (sleep(pause), std::process::id()).1).unwrap());
    let worker = pool.apply(Duration::ZERO).unwrap();
    assert!(with_timeout(Duration::from_millis(1), || pool.apply(Duration::from_millis(20))).is_err());
    let waits = spawn({
        let pool = pool.clone();
        move || pool.apply(Duration::from_millis(5))
    });
    yield_now();
    waits.kill();
    assert!(waits.join().unwrap_err().is_killed());
    // Their jobs went on, and so does the worker.
    assert_eq!(pool.apply(Duration::ZERO), Ok(worker));
    ends(&pool);
}

fn a_job_s_panic_is_its_own() {
    let pool =
        ProcessPool::new(1, |number: u32| if number == 13 { panic!("unlucky") } else { number }).unwrap();
    let results = pool.map(12..15);
    assert_eq!((&results[0], &results[2]), (&Ok(12), &Ok(14)));
    let Err(WorkError::Panicked { message, backtrace }) = &results[1] else { panic!("{results:?}") };
    assert_eq!(message, "unlucky");
    assert!(backtrace.starts_with("at tests/processes/pools.rs:"), "{backtrace}");
    let seen = Rc::new(Cell::new(false));
    let sees = seen.clone();
    let task = pool.apply_async_or(12, |value| assert_eq!(*value, 12), move |_| sees.set(true));
    assert_eq!(task.join().unwrap(), Ok(12));
    assert!(!seen.get());
    ends(&pool);
}

fn a_dropped_pool_does_what_it_was_given() {
    let pool = ProcessPool::new(2, |number: u32| number).unwrap();
    let jobs: Vec<_> = (0..20).map(|number| pool.submit(number)).collect();
    drop(pool);
    assert!(jobs.into_iter().map(|job| job.join().unwrap()).eq(0..20));
    // Nothing asks for that.
    until("its nursery is waited for", || children().is_empty());
}

/// The numbers of this process's children, those that have ended and are not waited for included.
fn children() -> String {
    std::fs::read_to_string("/proc/thread-self/children").unwrap()
}

/// What a terminal does to this process and those below it.
pub(super) fn press_ctrl_c() {
    // SAFETY: takes no pointers; the group is this process's own.
    assert_eq!(unsafe { libc::kill(0, libc::SIGINT) }, 0);
}

/// Has a group of processes of its own from now on, as what a shell starts.
pub(super) fn begin_group() {
    // SAFETY: takes no pointers.
    assert_eq!(unsafe { libc::setpgid(0, 0) }, 0);
}

fn ctrl_c_is_for_its_owner_to_hear() {
    begin_group();
    let heard = Rc::new(Cell::new(0));
    let hears = heard.clone();
    let _handler =
        greenloop::signal::on(greenloop::signal::SIGINT, move || hears.set(hears.get() + 1)).unwrap();
    let (open, gate) = channel::<()>().unwrap();
    let (tell, begun) = channel::<u32>().unwrap();
    let pool = ProcessPool::builder(2)
        .pass(&gate)
        .pass(&tell)
        .build(move |number: u32| {
            tell.send(&number).unwrap();
            gate.recv().unwrap();
            number
        })
        .unwrap();
    let jobs: Vec<_> = (0..4).map(|number| pool.submit(number)).collect();
    (0..2).for_each(|_| assert!(begun.recv().is_ok()));
    let before = (pool.workers(), children());
    for presses in 1..=3 {
        press_ctrl_c();
        until("it is heard", || heard.get() == presses);
    }
    (0..4).for_each(|_| open.send(&()).unwrap());
    assert!(jobs.into_iter().map(|job| job.join().unwrap()).eq(0..4));
    assert_eq!((pool.workers(), children()), before);
    ends(&pool);
}

fn ctrl_c_ends_a_program_that_does_not_hear_it() {
    let (tell, told) = channel::<Vec<u32>>().unwrap();
    let program = Process::start(move || {
        begin_group();
        let pool = ProcessPool::new(2, |()| sleep(LONG)).unwrap();
        let _jobs: Vec<_> = (0..4).map(|_| pool.submit(())).collect();
        until("its workers are there", || pool.workers().len() == 2);
        let nursery = children().trim().parse().unwrap();
        tell.send(&pool.workers().into_iter().chain([nursery]).collect()).unwrap();
        press_ctrl_c();
        sleep(LONG);
    })
    .unwrap();
    let all = told.recv().unwrap();
    program.wait().unwrap();
    assert_eq!(program.exit_code(), Some(-libc::SIGINT));
    until("all have ended", || all.iter().all(|&id| has_ended(id)));
}

/// Whether it is gone, or nothing of it is left but what a parent would ask for.
fn has_ended(id: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{id}/stat"));
    state.map_or(true, |line| line.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

fn an_open_pool_cannot_be_joined() {
    let pool = ProcessPool::new(1, |()| ()).unwrap();
    let joined = catch_unwind(AssertUnwindSafe(|| pool.join())).unwrap_err();
    let text = "the pool is neither closed nor terminated, so its workers do not end: call `close` before";
    assert_eq!(joined.downcast_ref::<&str>(), Some(&text));
    ends(&pool);
}

fn its_nursery_may_be_killed() {
    let pool = ProcessPool::new(1, |number: u32| number).unwrap();
    pool.apply(1).unwrap();
    // The nursery is this process's one child.
    kill(children().trim().parse().unwrap());
    assert_eq!(pool.apply(2), Ok(2));
    kill(pool.workers()[0]);
    until("another nursery and worker", || pool.apply(3) == Ok(3) && !children().is_empty());
    ends(&pool);
}

fn it_serves_beside_foreign_threads() {
    let pool = ProcessPool::builder(2).tasks_per_child(2).build(|number: u32| number).unwrap();
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    assert!(pool.map(0..20).into_iter().map(Result::unwrap).eq(0..20));
    drop(release);
    drop(thread.join());
    ends(&pool);
}

fn workers_are_named_daemons() {
    let pool = ProcessPool::builder(1)
        .name("indexer")
        .build(|()| (current().name().to_owned(), current().is_daemon()));
    let pool = pool.unwrap();
    assert_eq!(pool.apply(()), Ok(("indexer".to_owned(), true)));
    ends(&pool);
}

fn a_pool_in_a_worker() {
    let pool = ProcessPool::new(2, |end: u64| {
        let inner = ProcessPool::new(2, |number: u64| number * 2).unwrap();
        let sum = inner.imap_unordered(0..end).map(Result::unwrap).sum::<u64>();
        inner.close();
        inner.join();
        sum
    })
    .unwrap();
    assert_eq!(pool.map([3, 4, 5]), [Ok(6), Ok(12), Ok(20)]);
    ends(&pool);
}

fn many_green_threads_share_it() {
    let pool = Rc::new(ProcessPool::new(3, |number: u64| number + 1).unwrap());
    let tasks: Vec<_> = (0..50_u64)
        .map(|number| {
            let pool = pool.clone();
            spawn(move || (0..10).fold(number, |number, _| pool.apply(number).unwrap()))
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.join().unwrap(), number as u64 + 10);
    }
    ends(&pool);
}

/// In the function and in the initializer, by whichever worker, and after the process that forks them was killed.
fn what_is_passed_works_in_its_function() {
    let manager = Manager::new().unwrap();
    let (counts, lock) = (manager.dict::<u32, u32>().unwrap(), manager.lock().unwrap());
    let (sender, receiver) = channel::<u32>().unwrap();
    let (ours, theirs) = pipe::<u32, u32>().unwrap();
    let (begun, forgotten) = (sender.clone(), sender.clone());
    let builder = ProcessPool::builder(2).tasks_per_child(2).pass(&counts).pass(&lock);
    let (there, within) = (counts.clone(), lock.clone());
    let builder = builder.pass(&Some(sender.clone())).pass(&theirs);
    let pool = builder.initializer(move || begun.send(&0).unwrap()).build(move |number: u32| {
        let guard = within.lock().unwrap();
        let count = there.get(&0).unwrap().unwrap_or(0);
        there.insert(&0, &(count + 1)).unwrap();
        drop(guard);
        theirs.send(&number).unwrap();
        (theirs.recv().unwrap(), std::os::unix::process::parent_id())
    });
    let pool = pool.unwrap();
    for number in 1..=6 {
        let job = pool.submit(number);
        assert_eq!(ours.recv().unwrap(), number);
        ours.send(&(10 * number)).unwrap();
        let (told, forks) = job.join().unwrap();
        assert_eq!(told, 10 * number);
        if number % 3 == 0 {
            kill(forks);
        }
    }
    assert_eq!(counts.get(&0).unwrap(), Some(6));
    assert!(receiver.recv().is_ok_and(|begun| begun == 0));
    // What is not passed is the parent's own.
    let other = ProcessPool::builder(1).build(move |()| forgotten.send(&1));
    let error = other.unwrap().apply(()).unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
    pool.close();
    pool.join();
}
