//! Many jobs for one worker: at a time, or in one message.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use greenloop::processes::shared::Value;
use greenloop::processes::{ProcessPool, WorkError};
use greenloop::sleep;

use crate::attacks::{SOON, ends};
use crate::pools::kill;
use crate::shortage::all_but;
use crate::support::Random;
use crate::{LONG, setting, tests, until};

tests! {
    n73_chunks_of_all_sizes,
    n74_no_chunk_is_nothing_at_once,
    n75_an_iterator_that_panics_in_a_chunk,
    n77_terminate_with_ten_thousand_in_chunks,
    n78_chunks_count_as_many_tasks_as_they_have,
    n82_a_worker_killed_in_the_middle_of_a_chunk,
    what_fails_in_a_chunk_fails_alone,
    jobs_of_one_worker_meet,
    idle_workers_have_the_jobs_in_turn,
    a_kill_of_one_of_several,
    one_that_computes_takes_those_beside_it_to_another_worker,
    a_worker_with_several_jobs_killed,
    tasks_per_child_with_several_at_a_time,
    no_threads_are_refused,
    a_value_of_several_that_does_not_come_over,
    everybody_killed_at_random_with_several_jobs,
}

fn n73_chunks_of_all_sizes() {
    let pool = ProcessPool::new(2, |number: u64| number * number).unwrap();
    for count in [1, 2, 99, 100] {
        let squares: Vec<u64> = (0..count).map(|number| number * number).collect();
        for size in [0, 1, 2, 7, 99, 100, 101, usize::MAX] {
            let chunked = pool.chunked(size);
            assert_eq!(chunked.map(0..count).into_iter().flatten().collect::<Vec<_>>(), squares);
            assert_eq!(chunked.imap(0..count).flatten().collect::<Vec<_>>(), squares);
            let mut unordered: Vec<_> = chunked.imap_unordered(0..count).flatten().collect();
            unordered.sort_unstable();
            assert_eq!(unordered, squares);
        }
    }
    assert_eq!(pool.chunked(5).imap(0..).flatten().nth(23), Some(23 * 23));
    ends(&pool);
}

fn n74_no_chunk_is_nothing_at_once() {
    let pool = ProcessPool::new(1, |number: u64| number).unwrap();
    let chunked = pool.chunked(3);
    assert!(chunked.map([]).is_empty());
    assert!(chunked.imap([]).next().is_none() && chunked.imap_unordered([]).next().is_none());
    ends(&pool);
}

fn n75_an_iterator_that_panics_in_a_chunk() {
    let pool = ProcessPool::new(2, |number: u64| number).unwrap();
    for end in [0, 1, 3, 4, 5, 40] {
        let items =
            || (0..).map(move |number| if number < end { number } else { resume_unwind(Box::new("none")) });
        assert!(catch_unwind(AssertUnwindSafe(|| pool.chunked(4).map(items()))).is_err());
        let got = Cell::new(0);
        let taken = catch_unwind(AssertUnwindSafe(|| {
            pool.chunked(4).imap(items()).for_each(|value| got.set(value.unwrap() + 1));
        }));
        assert!(taken.is_err() && got.get() <= end);
    }
    assert_eq!(pool.apply(7), Ok(7));
    ends(&pool);
}

fn n77_terminate_with_ten_thousand_in_chunks() {
    let pool = ProcessPool::new(2, sleep).unwrap();
    let mut results = pool.chunked(100).imap([Duration::ZERO; 1].into_iter().chain([LONG; 10_000]));
    until("a job is given", || pool.workers().len() == 2);
    pool.terminate();
    assert_eq!(results.next(), Some(Err(WorkError::Closed)));
    assert!(pool.join_timeout(SOON));
}

fn n78_chunks_count_as_many_tasks_as_they_have() {
    let pool = ProcessPool::builder(1).tasks_per_child(10).build(|()| std::process::id()).unwrap();
    let mut workers: Vec<u32> = pool.chunked(5).map([(); 40]).into_iter().flatten().collect();
    assert_eq!(workers.len(), 40);
    workers.dedup();
    assert_eq!(workers.len(), 4);
    ends(&pool);
}

fn n82_a_worker_killed_in_the_middle_of_a_chunk() {
    let calls = Value::new(0_u64).unwrap();
    let counted = calls.clone();
    let pool = ProcessPool::builder(1)
        .build(move |number: u64| {
            counted.update(|calls| calls + 1);
            if number == 3 {
                kill(std::process::id());
            }
            number
        })
        .unwrap();
    let results = pool.chunked(3).map(0..9);
    for (number, result) in (0..).zip(results) {
        match number / 3 {
            1 => assert!(matches!(result, Err(WorkError::WorkerDied { signal: Some(9), attempts: 2, .. }))),
            _ => assert_eq!(result, Ok(number)),
        }
    }
    // The chunk ended twice at its first item.
    assert_eq!(calls.get(), 8);
    ends(&pool);
}

fn what_fails_in_a_chunk_fails_alone() {
    let pool = ProcessPool::builder(1).limit(Duration::from_millis(20)).grace(SOON);
    let pool = pool
        .build(|number: u64| match number {
            1 => resume_unwind(Box::new("one".to_owned())),
            2 => sleep(LONG),
            _ => {}
        })
        .unwrap();
    let results = pool.chunked(10).map(0..4);
    assert!(matches!(&results[1], Err(WorkError::Panicked { message, .. }) if message == "one"));
    assert_eq!([&results[0], &results[2], &results[3]], [&Ok(()), &Err(WorkError::TimedOut), &Ok(())]);
    ends(&pool);
}

/// A pool of one worker whose jobs wait until so many of them are there, and are told the worker's number.
fn meeting(threads: usize, number: u64) -> ProcessPool<(), u32> {
    let come = Cell::new(0);
    ProcessPool::builder(1)
        .threads(threads)
        .build(move |()| {
            come.set(come.get() + 1);
            until("all have come", || come.get() >= number);
            std::process::id()
        })
        .unwrap()
}

fn jobs_of_one_worker_meet() {
    for threads in [1, 2, 50] {
        let pool = meeting(threads, threads as u64);
        let workers = pool.map(vec![(); threads]);
        assert!(workers.iter().all(|worker| *worker == workers[0]));
        assert_eq!(pool.apply(()), workers[0].clone());
        ends(&pool);
    }
}

fn idle_workers_have_the_jobs_in_turn() {
    let pool = ProcessPool::builder(2).threads(10).build(|()| {
        sleep(Duration::from_millis(200));
        std::process::id()
    });
    let pool = pool.unwrap();
    until("two workers", || pool.workers().len() == 2 && pool.map([(); 20]).iter().all(Result::is_ok));
    let mut workers: Vec<u32> = pool.map([(); 2]).into_iter().flatten().collect();
    workers.dedup();
    assert_eq!(workers.len(), 2);
    ends(&pool);
}

fn a_kill_of_one_of_several() {
    let pool = ProcessPool::builder(1).threads(3).grace(SOON).build(sleep).unwrap();
    assert_eq!(pool.apply(Duration::ZERO), Ok(()));
    let worker = pool.workers();
    for pause in 0..10 {
        let others = [pool.submit(Duration::from_millis(30)), pool.submit(Duration::from_millis(30))];
        let killed = pool.submit(LONG);
        sleep(Duration::from_millis(pause));
        killed.kill();
        assert_eq!(killed.join(), Err(WorkError::Killed));
        assert_eq!(others.map(|job| job.join()), [Ok(()), Ok(())]);
    }
    assert_eq!(pool.workers(), worker);
    ends(&pool);
}

fn one_that_computes_takes_those_beside_it_to_another_worker() {
    let calls = Value::new(0_u64).unwrap();
    let counted = calls.clone();
    let pool =
        ProcessPool::builder(1).threads(2).grace(Duration::from_millis(5)).build(move |computes: bool| {
            counted.update(|calls| calls + 1);
            if computes {
                loop {
                    std::hint::spin_loop();
                }
            }
            // Both are begun.
            until("the other is begun", || counted.get() >= 2);
        });
    let pool = pool.unwrap();
    let beside = pool.submit(false);
    until("it is begun", || calls.get() == 1);
    assert_eq!(pool.submit_within(Duration::from_millis(5), true).join(), Err(WorkError::TimedOut));
    assert_eq!(beside.join(), Ok(()));
    ends(&pool);
}

fn a_worker_with_several_jobs_killed() {
    let calls = Value::new(0_u64).unwrap();
    let counted = calls.clone();
    let pool = ProcessPool::builder(1).threads(4).build(move |number: u64| {
        // Four of the first worker wait, those of the second go on.
        if counted.update(|calls| calls + 1) <= 4 {
            sleep(LONG);
        }
        number
    });
    let pool = pool.unwrap();
    let jobs: Vec<_> = (0..8).map(|number| pool.submit(number)).collect();
    until("four are begun", || calls.get() == 4);
    pool.workers().into_iter().for_each(kill);
    let values: Vec<_> = jobs.into_iter().map(|job| job.join()).collect();
    assert_eq!(values, (0..8).map(Ok).collect::<Vec<_>>());
    assert_eq!(calls.get(), 12);
    ends(&pool);
}

fn tasks_per_child_with_several_at_a_time() {
    let pool = ProcessPool::builder(1).threads(4).tasks_per_child(6).build(|()| {
        sleep(Duration::from_millis(1));
        std::process::id()
    });
    let pool = pool.unwrap();
    let mut workers: Vec<u32> = pool.map([(); 24]).into_iter().flatten().collect();
    assert_eq!(workers.len(), 24);
    workers.dedup();
    assert_eq!(workers.len(), 4);
    ends(&pool);
}

fn no_threads_are_refused() {
    assert!(ProcessPool::builder(1).threads(0).build(|()| ()).is_err());
}

fn a_value_of_several_that_does_not_come_over() {
    let gate = Value::new(0_u64).unwrap();
    let opened = gate.clone();
    let begun = Value::new(0_u64).unwrap();
    let counted = begun.clone();
    let pool = ProcessPool::builder(1).threads(2).retries(5).build(move |()| {
        counted.update(|begun| begun + 1);
        until("the gate is open", || opened.get() > 0);
        OwnedFd::from(File::open("/dev/null").unwrap())
    });
    let pool = pool.unwrap();
    until("a worker", || pool.workers().len() == 1);
    let jobs = [pool.submit(()), pool.submit(())];
    until("both are begun", || begun.get() == 2);
    let held = all_but(0);
    gate.set(1);
    // Its values cannot come: the worker is given up, and there is none until there are descriptors again.
    until("the worker goes", || pool.workers().is_empty());
    drop(held);
    assert!(jobs.into_iter().all(|job| job.join().is_ok()));
    ends(&pool);
}

fn everybody_killed_at_random_with_several_jobs() {
    let mut random = Random::new(setting("SEED", 1));
    for _ in 0..setting("ROUNDS", 3) {
        let pool = ProcessPool::builder(1 + random.below(3))
            .threads(1 + random.below(5))
            .tasks_per_child(1 + random.below(60) as u32)
            .retries(random.below(3) as u32)
            .limit(Duration::from_millis(200))
            .grace(Duration::from_millis(20))
            .build(|(number, pause): (u64, Duration)| {
                sleep(pause);
                number
            })
            .unwrap();
        let arguments: Vec<_> =
            (0..200).map(|number| (number, Duration::from_micros(random.below(3000) as u64))).collect();
        let single: Vec<_> = arguments.iter().map(|argument| pool.submit(*argument)).collect();
        let mut chunks = pool.chunked(1 + random.below(20)).imap_unordered(arguments);
        let mut told = [0; 2];
        for _ in 0..15 {
            sleep(Duration::from_millis(random.below(6) as u64));
            let workers = pool.workers();
            if !workers.is_empty() {
                kill(workers[random.below(workers.len())]);
            }
            single[random.below(single.len())].kill();
            told[0] += usize::from(chunks.next().is_some());
        }
        told[0] += chunks.count();
        for (number, job) in (0..).zip(single) {
            match job.join() {
                Ok(value) => assert_eq!(value, number),
                Err(
                    WorkError::WorkerDied { .. }
                    | WorkError::Killed
                    | WorkError::TimedOut
                    | WorkError::NoWorker(_),
                ) => {}
                Err(error) => panic!("{error}"),
            }
            told[1] += 1;
        }
        assert_eq!(told, [200, 200]);
        ends(&pool);
    }
}
