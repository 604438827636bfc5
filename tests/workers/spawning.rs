use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use greenloop::event::Event;
use greenloop::{Outcome, channel, joinall, sleep, spawn, wait_any, yield_now};

use crate::support::within;
use crate::{Gate, LIMIT, counts_its_drop, until, workers};

#[test]
fn a_job_returns_to_who_joins_from_anywhere() {
    within(LIMIT, || {
        let workers = workers(2);
        assert_eq!(workers.spawn(|| 1).join().unwrap(), 1);
        let job = workers.spawn(|| "elsewhere".to_owned());
        assert_eq!(thread::spawn(move || job.join().unwrap()).join().unwrap(), "elsewhere");
        let job = workers.spawn(|| 3);
        assert_eq!(spawn(move || job.join().unwrap()).join().unwrap(), 3);
    });
}

#[test]
fn a_panic_comes_to_who_joins() {
    within(LIMIT, || {
        let workers = workers(2);
        let error =
            workers.spawn(|| -> u32 { std::panic::resume_unwind(Box::new("why")) }).join().unwrap_err();
        assert_eq!(error.into_panic().downcast_ref(), Some(&"why"));
        assert_eq!(workers.spawn(|| 1).join().unwrap(), 1, "the worker goes on");
    });
}

#[test]
fn what_has_not_begun_goes_to_who_is_idle() {
    within(LIMIT, || {
        let workers = workers(2);
        let inner = workers.clone();
        let places = workers.spawn_on(0, move || {
            let jobs: Vec<_> = (0..10)
                .map(|_| {
                    let workers = inner.clone();
                    inner.spawn(move || workers.current().unwrap())
                })
                .collect();
            // This worker is held until the other one has done all.
            while !jobs.iter().all(|job| job.is_finished()) {
                thread::yield_now();
            }
            jobs.into_iter().map(|job| job.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(places.join().unwrap(), [1; 10]);
    });
}

#[test]
fn what_has_begun_never_moves() {
    within(LIMIT, || {
        let workers = workers(4);
        let stay = |_| {
            workers.spawn(|| {
                let here = thread::current().id();
                let local = Rc::new(Cell::new(0));
                for round in 0..100 {
                    local.set(local.get() + 1);
                    yield_now();
                    if round % 10 == 0 {
                        sleep(std::time::Duration::from_micros(10));
                    }
                    assert_eq!(thread::current().id(), here);
                }
                local.get()
            })
        };
        let jobs: Vec<_> = (0..50).map(stay).collect();
        assert!(jobs.into_iter().all(|job| job.join().unwrap() == 100));
    });
}

#[test]
fn a_worker_begins_in_order_and_what_is_to_begin_there_first() {
    within(LIMIT, || {
        let workers = workers(1);
        let gate = Gate::on(&workers, 0);
        let (sender, order) = channel::unbounded();
        let tell = |number: u32| {
            let sender = sender.clone();
            move || sender.send(number).unwrap()
        };
        let outside: Vec<_> = (0..3).map(|number| workers.spawn(tell(number))).collect();
        let there: Vec<_> = (10..13).map(|number| workers.spawn_on(0, tell(number))).collect();
        gate.open();
        joinall(&outside);
        joinall(&there);
        drop(sender);
        assert_eq!(order.into_iter().collect::<Vec<_>>(), [10, 11, 12, 0, 1, 2]);
    });
}

#[test]
fn others_begin_too_where_there_is_always_something_to_begin_there() {
    fn again(workers: &greenloop::workers::Workers, enough: &Arc<Event>) {
        if !enough.is_set() {
            let (inner, enough) = (workers.clone(), enough.clone());
            drop(workers.spawn_on(0, move || again(&inner, &enough)));
        }
    }
    within(LIMIT, || {
        let workers = workers(1);
        let enough = Arc::new(Event::new());
        again(&workers, &enough);
        workers.spawn(move || enough.set()).join().unwrap();
    });
}

#[test]
fn here_is_the_worker_that_calls_and_elsewhere_there_is_none() {
    within(LIMIT, || {
        let workers = workers(3);
        let inner = workers.clone();
        let job = workers.spawn_on(2, move || {
            let value = Rc::new(7);
            let other = inner.here({
                let (value, inner) = (value.clone(), inner.clone());
                move || (*value, inner.current())
            });
            other.join().unwrap()
        });
        assert_eq!(job.join().unwrap(), (7, Some(2)));
        assert_eq!(workers.current(), None);
        let others = super::workers(1);
        let of_others = workers.clone();
        assert_eq!(others.spawn(move || of_others.current()).join().unwrap(), None, "of other workers");
        assert!(std::panic::catch_unwind(|| workers.here(|| ())).is_err());
        assert!(std::panic::catch_unwind(|| workers.spawn_on(3, || ())).is_err());
    });
}

#[test]
fn one_that_has_not_begun_is_killed_by_who_asks_and_never_begins() {
    within(LIMIT, || {
        let workers = workers(1);
        let gate = Gate::on(&workers, 0);
        let drops = Arc::new(AtomicUsize::new(0));
        let captured = counts_its_drop(&drops);
        let job = workers.spawn(move || {
            let _captured = captured;
            unreachable!("it was killed before")
        });
        let (sender, told) = channel::unbounded();
        job.link(move |outcome| sender.send(outcome).unwrap());
        assert!(job.try_kill());
        assert_eq!(drops.load(Ordering::SeqCst), 1, "its closure is gone at once");
        assert_eq!(told.recv(), Ok(Outcome::Killed));
        assert!(job.join().unwrap_err().is_killed());
        let other = workers.spawn_on(0, || ());
        assert!(thread::spawn(move || other.try_kill()).join().unwrap(), "from a plain OS thread too");
        gate.open();
        assert_eq!(workers.spawn(|| 5).join().unwrap(), 5);
    });
}

#[test]
fn one_that_runs_is_killed_from_another_hub() {
    within(LIMIT, || {
        let workers = workers(2);
        let begun = Arc::new(Event::new());
        let job = workers.spawn({
            let begun = begun.clone();
            move || {
                begun.set();
                Event::new().wait();
            }
        });
        begun.wait();
        job.kill();
        assert!(job.join().unwrap_err().is_killed());
    });
}

#[test]
fn jobs_can_be_waited_for_beside_other_things() {
    within(LIMIT, || {
        let workers = workers(2);
        let gate = Gate::on(&workers, 0);
        let quick = workers.spawn(|| 1);
        let blocked = workers.spawn_on(0, || 2);
        assert_eq!(wait_any([&blocked, &quick]).map(|job| job.id()), Some(quick.id()));
        gate.open();
        assert_eq!(blocked.join().unwrap(), 2);
    });
}

#[test]
fn locks_and_channels_work_between_workers() {
    within(LIMIT, || {
        let workers = workers(4);
        let total = Arc::new(greenloop::sync::Mutex::new(0_u32));
        let (sender, numbers) = channel::bounded(2);
        let producers: Vec<_> = (0..4)
            .map(|worker| {
                let sender = sender.clone();
                workers.spawn_on(worker, move || (0..250_u32).for_each(|number| sender.send(number).unwrap()))
            })
            .collect();
        drop(sender);
        let consumers: Vec<_> = (0..4)
            .map(|worker| {
                let (numbers, total) = (numbers.clone(), total.clone());
                workers.spawn_on(worker, move || {
                    for number in numbers {
                        *total.lock().unwrap() += number;
                    }
                })
            })
            .collect();
        joinall(&producers);
        joinall(&consumers);
        assert_eq!(*total.lock().unwrap(), 4 * (0..250).sum::<u32>());
    });
}

#[test]
fn idle_workers_use_no_processor_time_and_wake_for_work() {
    within(LIMIT, || {
        let workers = workers(16);
        for round in 0..200_u32 {
            // Each time all of them sleep, or are about to.
            assert_eq!(workers.spawn(move || round).join().unwrap(), round);
        }
        until(|| sleeping_workers() >= 16);
    });
}

/// How many workers sleep in the kernel.
fn sleeping_workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    stats.filter(|stat| stat.contains("(worker-") && stat.contains(") S ")).count()
}

#[test]
fn a_dropped_value_of_a_detached_job_is_dropped_once() {
    within(LIMIT, || {
        let workers = workers(2);
        let drops = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let value = counts_its_drop(&drops);
            drop(workers.spawn(move || value));
        }
        until(|| drops.load(Ordering::SeqCst) == 100);
    });
}

#[test]
fn jobs_spawn_jobs_without_end_of_depth() {
    within(LIMIT, || {
        fn count(workers: greenloop::workers::Workers, depth: u32) -> u32 {
            if depth == 0 {
                return 1;
            }
            let [left, right] = [(); 2].map(|()| {
                let inner = workers.clone();
                workers.spawn(move || count(inner, depth - 1))
            });
            left.join().unwrap() + right.join().unwrap()
        }
        let workers = workers(4);
        let inner = workers.clone();
        assert_eq!(workers.spawn(move || count(inner, 10)).join().unwrap(), 1 << 10);
    });
}

#[test]
fn a_green_thread_keeps_going_while_jobs_come_without_end() {
    within(LIMIT, || {
        let workers = workers(1);
        let inner = workers.clone();
        let rounds = workers.spawn(move || {
            let enough = Arc::new(Event::new());
            fn again(workers: &greenloop::workers::Workers, enough: &Arc<Event>) {
                if !enough.is_set() {
                    let (inner, enough) = (workers.clone(), enough.clone());
                    drop(workers.spawn(move || again(&inner, &enough)));
                }
            }
            again(&inner, &enough);
            (0..1_000).for_each(|_| yield_now());
            sleep(std::time::Duration::from_millis(1));
            enough.set();
            true
        });
        assert!(rounds.join().unwrap());
    });
}
