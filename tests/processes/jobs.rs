//! One job of a pool: its time limit, and its end by a kill.

use std::cell::Cell;
use std::time::Duration;

use greenloop::processes::shared::Value;
use greenloop::processes::{ProcessPool, WorkError};
use greenloop::sleep;

use crate::attacks::{SOON, ends};
use crate::support::Random;
use crate::{LONG, tests, until};

tests! {
    a_limit_of_its_own,
    a_kill_of_one_that_waits,
    a_kill_of_one_that_computes,
    a_kill_takes_no_other_job_along,
    a_kill_in_the_queue_and_after_the_end,
    kills_at_any_moment,
    as_much_stack_as_on_main,
}

fn a_limit_of_its_own() {
    let pool = ProcessPool::builder(1).limit(Duration::from_millis(5)).grace(SOON).build(sleep).unwrap();
    assert_eq!(pool.apply(LONG), Err(WorkError::TimedOut));
    let worker = pool.workers();
    assert_eq!(pool.submit_within(SOON, Duration::from_millis(10)).join(), Ok(()));
    assert_eq!(pool.submit_within(Duration::from_millis(1), LONG).join(), Err(WorkError::TimedOut));
    assert_eq!(pool.submit_within(Duration::MAX, Duration::ZERO).join(), Ok(()));
    assert_eq!(pool.workers(), worker);
    ends(&pool);
}

thread_local! {
    static TABLE: Cell<u32> = const { Cell::new(0) };
}

/// A pool whose function is told the initializer's table, once it has waited.
fn waiting() -> ProcessPool<Duration, u32> {
    let pool = ProcessPool::builder(1).grace(SOON).initializer(|| TABLE.set(TABLE.get() + 1));
    pool.build(|pause| {
        sleep(pause);
        TABLE.get()
    })
    .unwrap()
}

fn a_kill_of_one_that_waits() {
    let pool = waiting();
    assert_eq!(pool.apply(Duration::ZERO), Ok(1));
    let worker = pool.workers();
    for pause in 0..10 {
        let (job, next) = (pool.submit(LONG), pool.submit(Duration::ZERO));
        sleep(Duration::from_millis(pause));
        job.kill();
        job.kill();
        assert_eq!(job.join(), Err(WorkError::Killed));
        assert_eq!(next.join(), Ok(1));
    }
    assert_eq!(pool.workers(), worker, "the worker stopped it by itself");
    ends(&pool);
}

/// In a worker: it does not end by a signal that asks it to.
fn ignore_signals() {
    // SAFETY: takes no pointers.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
}

fn a_kill_of_one_that_computes() {
    let has_begun = Value::new(0_u32).unwrap();
    let pool = ProcessPool::builder(1)
        .grace(Duration::from_millis(5))
        .initializer(ignore_signals)
        .build(|flag: Option<Value<u32>>| {
            if let Some(flag) = flag {
                flag.set(1);
                std::thread::sleep(LONG);
            }
            std::process::id()
        })
        .unwrap();
    let worker = pool.apply(None).unwrap();
    let job = pool.submit(Some(has_begun.clone()));
    until("it has begun", || has_begun.get() == 1);
    job.kill();
    assert_eq!(job.join(), Err(WorkError::Killed));
    assert_ne!(pool.apply(None), Ok(worker));
    ends(&pool);
}

fn a_kill_takes_no_other_job_along() {
    let begun = Value::new(0_u32).unwrap();
    let pool = ProcessPool::builder(1)
        .retries(0)
        .grace(Duration::from_millis(50))
        .initializer(ignore_signals)
        .build(|(begun, milliseconds): (Value<u32>, u64)| {
            begun.update(|count| count + 1);
            std::thread::sleep(Duration::from_millis(milliseconds));
        })
        .unwrap();
    // It ends by itself, after it was told by a signal and before it is killed for that.
    let (first, second) = (pool.submit((begun.clone(), 80)), pool.submit((begun.clone(), 200)));
    until("it has begun", || begun.get() == 1);
    first.kill();
    assert!(matches!(first.join(), Ok(()) | Err(WorkError::Killed)));
    assert_eq!(second.join(), Ok(()));
    ends(&pool);
}

fn a_kill_in_the_queue_and_after_the_end() {
    let pool = waiting();
    let first = pool.submit(Duration::from_millis(20));
    let (second, third) = (pool.submit(LONG), pool.submit(Duration::ZERO));
    second.kill();
    assert!(second.is_finished() && !second.cancel());
    assert_eq!((first.join(), second.join()), (Ok(1), Err(WorkError::Killed)));
    assert!(third.join_timeout(SOON).is_ok_and(|joined| joined == Ok(1)));
    let ended = pool.submit(Duration::ZERO);
    while !ended.is_finished() {
        sleep(Duration::from_millis(1));
    }
    ended.kill();
    assert_eq!((ended.join(), pool.apply(Duration::ZERO)), (Ok(1), Ok(1)));
    ends(&pool);
}

fn kills_at_any_moment() {
    let pool = waiting();
    pool.apply(Duration::ZERO).unwrap();
    let worker = pool.workers();
    let mut random = Random::new(11);
    let mut moment = |end| Duration::from_micros(random.below(end) as u64);
    for _ in 0..200 {
        let (job, next) = (pool.submit(moment(300)), pool.submit(moment(300)));
        sleep(moment(600));
        job.kill();
        let ended = job.join();
        assert!(matches!(ended, Ok(1) | Err(WorkError::Killed)), "{ended:?}");
        assert_eq!(next.join(), Ok(1), "a kill is that of one job");
    }
    assert_eq!(pool.workers(), worker);
    ends(&pool);
}

fn as_much_stack_as_on_main() {
    fn deep(left: u32) -> u32 {
        let room = std::hint::black_box([left as u8; 4096]);
        if left == 0 { 0 } else { deep(left - 1) + u32::from(room[0] == left as u8) }
    }
    let pool = ProcessPool::new(1, deep).unwrap();
    assert_eq!(pool.apply(1000), Ok(1000));
    ends(&pool);
}
