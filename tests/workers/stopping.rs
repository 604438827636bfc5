use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use greenloop::event::Event;
use greenloop::{GreenletExit, joinall, sleep, spawn, yield_now};

use crate::support::{leaves_nothing_open, within};
use crate::{GRACE, Gate, LIMIT, until, until_alone, workers};

#[test]
fn what_was_accepted_ends_within_the_grace() {
    within(LIMIT, || {
        let workers = workers(2);
        let jobs: Vec<_> = (0..100_u32)
            .map(|number| {
                workers.spawn(move || {
                    sleep(Duration::from_millis(1));
                    number
                })
            })
            .collect();
        workers.stop(GRACE);
        assert!(jobs.iter().all(|job| job.is_finished()));
        assert!(jobs.into_iter().map(|job| job.join().unwrap()).eq(0..100));
    });
}

#[test]
fn what_is_left_after_the_grace_is_killed_begun_or_not() {
    within(LIMIT, || {
        let workers = workers(1);
        let unwound = Arc::new(AtomicUsize::new(0));
        let begun = Arc::new(AtomicUsize::new(0));
        let job = |_| {
            let (unwound, begun) = (unwound.clone(), begun.clone());
            workers.spawn(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                let killed = catch_unwind(|| Event::new().wait()).unwrap_err();
                assert!(killed.is::<GreenletExit>());
                unwound.fetch_add(1, Ordering::SeqCst);
                std::panic::resume_unwind(killed)
            })
        };
        let jobs: Vec<_> = (0..10).map(job).collect();
        until(|| begun.load(Ordering::SeqCst) == 10);
        let delayed = workers.spawn(|| drop(greenloop::spawn_later(Duration::from_secs(3600), || ())));
        joinall([&delayed]);
        let gate = Gate::on(&workers, 0);
        let waiting: Vec<_> = (0..10).map(|_| workers.spawn(|| unreachable!("it comes too late"))).collect();
        let stopper = workers.clone();
        let stopping = spawn(move || stopper.stop(Duration::ZERO));
        joinall(&waiting);
        gate.open();
        stopping.join().unwrap();
        assert_eq!(unwound.load(Ordering::SeqCst), 10);
        assert!(jobs.into_iter().all(|job| job.join().unwrap_err().is_killed()));
        assert!(waiting.into_iter().all(|job| {
            let job: Result<(), _> = job.join();
            job.unwrap_err().is_killed()
        }));
    });
}

#[test]
fn what_goes_on_in_spite_of_a_kill_is_killed_again() {
    within(LIMIT, || {
        let workers = workers(1);
        let begun = Arc::new(Event::new());
        let job = workers.spawn({
            let begun = begun.clone();
            move || {
                begun.set();
                let first = catch_unwind(|| Event::new().wait());
                assert!(first.unwrap_err().is::<GreenletExit>());
                Event::new().wait();
            }
        });
        begun.wait();
        workers.stop(Duration::ZERO);
        assert!(job.join().unwrap_err().is_killed());
    });
}

#[test]
fn after_the_end_nothing_begins_and_all_say_so() {
    within(LIMIT, || {
        let workers = workers(2);
        workers.stop(GRACE);
        workers.stop(GRACE);
        assert!(workers.spawn(|| 1).join().unwrap_err().is_killed());
        assert!(workers.spawn_on(1, || 1).join().unwrap_err().is_killed());
        assert!(workers.resize(3).is_err());
        assert!(workers.map([1], |number: u32| number).remove(0).unwrap_err().is_killed());
        assert!(workers.imap([1], |number: u32| number).next().unwrap().unwrap_err().is_killed());
    });
}

#[test]
fn a_job_that_stops_its_workers_is_killed_itself() {
    within(LIMIT, || {
        let workers = workers(2);
        let inner = workers.clone();
        let job = workers.spawn(move || inner.stop(Duration::ZERO));
        assert!(job.join().unwrap_err().is_killed());
        workers.stop(GRACE);
    });
}

#[test]
fn what_is_spawned_while_all_ends_ends_in_one_way() {
    within(LIMIT, || {
        for _ in 0..100 {
            let workers = workers(2);
            let over = Arc::new(AtomicBool::new(false));
            let spawning = [(); 2].map(|()| {
                let (workers, over) = (workers.clone(), over.clone());
                thread::spawn(move || {
                    let mut jobs = Vec::new();
                    while !over.load(Ordering::SeqCst) {
                        jobs.push(workers.spawn(|| ()));
                        jobs.push(workers.spawn_on(1, || ()));
                        jobs.retain(|job| !job.is_finished());
                    }
                    jobs
                })
            });
            yield_now();
            workers.stop(GRACE);
            over.store(true, Ordering::SeqCst);
            for spawning in spawning {
                spawning.join().unwrap().into_iter().for_each(|job| drop(job.join()));
            }
        }
    });
}

#[test]
fn who_makes_more_meanwhile_brings_nobody_back() {
    leaves_nothing_open(LIMIT, || {
        until_alone();
        for round in 0..50 {
            let workers = workers(1);
            let inner = workers.clone();
            let resizing = thread::spawn(move || {
                // An error says that all have been stopped.
                let _ = (0..100).try_for_each(|number| inner.resize(1 + number % 3));
            });
            (0..round % 10).for_each(|_| thread::yield_now());
            workers.stop(GRACE);
            assert!(workers.resize(2).is_err());
            resizing.join().unwrap();
            // The handles are here still.
            until_alone();
        }
    });
}

#[test]
fn whoever_stops_them_waits_for_their_threads() {
    struct Slow(Arc<AtomicUsize>);
    impl Drop for Slow {
        fn drop(&mut self) {
            thread::sleep(Duration::from_millis(50));
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    thread_local!(static SLOW: RefCell<Option<Slow>> = const { RefCell::new(None) });
    within(LIMIT, || {
        let workers = workers(2);
        let ended = Arc::new(AtomicUsize::new(0));
        for worker in 0..2 {
            let slow = Slow(ended.clone());
            workers.spawn_on(worker, || SLOW.set(Some(slow))).join().unwrap();
        }
        let stopping = [(); 3].map(|()| {
            let (workers, ended) = (workers.clone(), ended.clone());
            thread::spawn(move || {
                workers.stop(GRACE);
                ended.load(Ordering::SeqCst)
            })
        });
        assert_eq!(stopping.map(|stopping| stopping.join().unwrap()), [2; 3]);
    });
}

#[test]
fn what_is_thrown_at_the_main_greenlet_of_a_worker_ends_no_worker() {
    within(LIMIT, || {
        let workers = workers(1);
        let thrown = workers.spawn(|| {
            let main = greenloop::greenlet::main();
            drop(main.throw::<()>(Box::new("thrown at main")));
        });
        until(|| workers.spawn(|| 1).join().unwrap() == 1);
        workers.stop(Duration::ZERO);
        assert!(thrown.is_finished());
    });
}

#[test]
fn the_last_handle_lets_all_be_done_that_was_accepted() {
    within(LIMIT, || {
        let workers = workers(2);
        let gates = [0, 1].map(|worker| Gate::on(&workers, worker));
        let jobs: Vec<_> = (0..50_u32).map(|number| workers.spawn(move || number)).collect();
        let there = workers.spawn_on(1, || "there");
        drop(workers);
        gates.into_iter().for_each(Gate::open);
        assert!(jobs.into_iter().map(|job| job.join().unwrap()).eq(0..50));
        assert_eq!(there.join().unwrap(), "there");
    });
}

#[test]
fn the_last_handle_may_go_in_a_job() {
    within(LIMIT, || {
        let workers = workers(2);
        let (inner, gate) = (workers.clone(), Arc::new(Event::new()));
        let job = workers.spawn({
            let gate = gate.clone();
            move || {
                gate.wait();
                let late = inner.spawn(|| 2);
                drop(inner);
                yield_now();
                late.join().unwrap()
            }
        });
        drop(workers);
        gate.set();
        assert_eq!(job.join().unwrap(), 2);
    });
}

#[test]
fn a_stop_that_is_given_up_leaves_the_workers_to_end_by_themselves() {
    within(LIMIT, || {
        let workers = workers(1);
        let gate = Arc::new(Event::new());
        let job = workers.spawn({
            let gate = gate.clone();
            move || gate.wait()
        });
        assert!(greenloop::with_timeout(Duration::from_millis(5), || workers.stop(GRACE)).is_err());
        gate.set();
        assert!(job.join().is_ok());
        workers.stop(GRACE);
    });
}

#[test]
fn nothing_is_left_open() {
    leaves_nothing_open(LIMIT, || {
        until_alone();
        let workers = workers(3);
        let jobs: Vec<_> = (0..30).map(|_| workers.spawn(|| sleep(Duration::from_micros(100)))).collect();
        joinall(&jobs);
        workers.stop(GRACE);
    });
}

#[test]
fn a_thousand_crews_come_and_go() {
    within(LIMIT, || {
        for round in 0..300_usize {
            let workers = workers(1 + round % 3);
            let job = workers.spawn(move || round);
            if round % 2 == 0 {
                workers.stop(GRACE);
            }
            drop(workers);
            assert_eq!(catch_unwind(AssertUnwindSafe(|| job.join().unwrap())).unwrap(), round);
        }
    });
}
