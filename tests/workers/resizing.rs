use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use greenloop::event::Event;
use greenloop::workers::{Builder, Workers};
use greenloop::{joinall, spawn};

use crate::support::within;
use crate::{GRACE, Gate, LIMIT, until, until_alone, worker_threads, workers};

#[test]
fn there_are_as_many_as_processors_or_as_asked_for() {
    within(LIMIT, || {
        assert_eq!(Workers::new().number(), std::thread::available_parallelism().unwrap().get());
        assert_eq!(workers(5).number(), 5);
        assert!(Builder::new().number(0).build().is_err());
        let workers = workers(2);
        assert!(workers.resize(0).is_err() && workers.resize(usize::MAX).is_err());
        assert_eq!(workers.number(), 2);
    });
}

#[test]
fn one_that_leaves_hands_over_what_nobody_has_begun_and_ends_what_has() {
    within(LIMIT, || {
        let workers = workers(2);
        let goes_on = Arc::new(Event::new());
        let first = Gate::on(&workers, 0);
        let inner = workers.clone();
        let (begun, gate) = (Arc::new(Event::new()), goes_on.clone());
        let jobs = workers.spawn_on(1, {
            let begun = begun.clone();
            move || {
                let places = |_| {
                    let workers = inner.clone();
                    inner.spawn(move || workers.current())
                };
                let jobs: Vec<_> = (0..10).map(places).collect();
                begun.set();
                // Without yielding, so that none of them begins here.
                while !gate.is_set() {
                    std::thread::yield_now();
                }
                jobs
            }
        });
        let pinned = workers.spawn_on(1, || "there all the same");
        begun.wait();
        workers.resize(1).unwrap();
        goes_on.set();
        first.open();
        assert!(jobs.join().unwrap().into_iter().all(|job| job.join().unwrap() == Some(0)));
        assert_eq!(pinned.join().unwrap(), "there all the same");
        assert_eq!(workers.number(), 1);
    });
}

#[test]
fn one_that_was_to_leave_may_stay() {
    within(LIMIT, || {
        let workers = workers(2);
        let gate = Arc::new(Event::new());
        let job = workers.spawn_on(1, {
            let gate = gate.clone();
            move || gate.wait()
        });
        until(|| !job.is_finished());
        workers.resize(1).unwrap();
        workers.resize(2).unwrap();
        assert_eq!(workers.spawn_on(1, || 3).join().unwrap(), 3);
        gate.set();
        job.join().unwrap();
        assert_eq!(workers.spawn_on(1, || 4).join().unwrap(), 4);
    });
}

#[test]
fn one_that_was_to_leave_and_sleeps_is_woken_for_work_if_it_stays() {
    within(LIMIT, || {
        let workers = workers(2);
        let gate = Arc::new(Event::new());
        let held = workers.spawn_on(1, {
            let gate = gate.clone();
            move || gate.wait()
        });
        // Time to fall asleep, each time: who does not has nothing to fail by.
        let pause = || greenloop::sleep(Duration::from_millis(20));
        pause();
        workers.resize(1).unwrap();
        pause();
        workers.resize(2).unwrap();
        pause();
        let both = Arc::new(std::sync::Barrier::new(2));
        let jobs = [(); 2].map(|()| {
            let both = both.clone();
            workers.spawn(move || both.wait().is_leader())
        });
        let leaders = jobs.map(|job| job.join().unwrap());
        assert_ne!(leaders[0], leaders[1]);
        gate.set();
        held.join().unwrap();
    });
}

#[test]
fn numbers_that_change_all_the_time_lose_nothing() {
    within(LIMIT, || {
        let workers = workers(2);
        let over = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicUsize::new(0));
        let spawner = {
            let (workers, over, done) = (workers.clone(), over.clone(), done.clone());
            spawn(move || {
                let mut spawned = 0;
                while !over.load(Ordering::SeqCst) {
                    let jobs: Vec<_> = (0..20)
                        .map(|_| {
                            let (done, inner) = (done.clone(), workers.clone());
                            workers.spawn(move || {
                                let nested = inner.spawn(|| ());
                                nested.join().unwrap();
                                done.fetch_add(1, Ordering::SeqCst);
                            })
                        })
                        .collect();
                    spawned += jobs.len();
                    joinall(&jobs);
                }
                spawned
            })
        };
        for round in 0..300_usize {
            workers.resize(1 + round % 5).unwrap();
            greenloop::yield_now();
        }
        over.store(true, Ordering::SeqCst);
        let spawned = spawner.join().unwrap();
        assert_eq!(done.load(Ordering::SeqCst), spawned);
        workers.stop(GRACE);
    });
}

#[test]
fn threads_of_those_that_left_end() {
    let run = || {
        until_alone();
        let workers = workers(8);
        workers.resize(1).unwrap();
        until(|| worker_threads() == 1);
        workers.stop(GRACE);
    };
    // Alone, since it counts what the process has.
    crate::support::leaves_nothing_open(LIMIT, run);
}
