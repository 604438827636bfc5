use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenloop::event::Event;
use greenloop::workers::Scope;
use greenloop::{GreenletExit, sleep, spawn, with_timeout, yield_now};

use crate::support::{OnDrop, within};
use crate::{Gate, LIMIT, until, workers};

#[test]
fn children_borrow_on_all_workers() {
    within(LIMIT, || {
        let workers = workers(3);
        let mut numbers: Vec<u64> = (0..1_000).collect();
        let sum = workers.scope(|scope| {
            let parts: Vec<_> =
                numbers.chunks(10).map(|part| scope.spawn(|| part.iter().sum::<u64>())).collect();
            parts.into_iter().map(|part| part.join().unwrap()).sum::<u64>()
        });
        assert_eq!(sum, 499_500);
        workers.scope(|scope| {
            for (place, part) in numbers.chunks_mut(100).enumerate() {
                scope.spawn_on(place % 3, move || part.fill(1));
            }
        });
        assert_eq!(numbers, [1; 1_000]);
    });
}

#[test]
fn children_spawn_in_the_scope() {
    fn count<'scope>(scope: &'scope Scope<'scope, '_>, total: &'scope AtomicUsize, depth: u32) {
        total.fetch_add(1, Ordering::SeqCst);
        if depth > 0 {
            for _ in 0..2 {
                scope.spawn(move || count(scope, total, depth - 1));
            }
        }
    }
    within(LIMIT, || {
        let total = AtomicUsize::new(0);
        workers(4).scope(|scope| count(scope, &total, 9));
        assert_eq!(total.load(Ordering::SeqCst), (1 << 10) - 1);
    });
}

#[test]
fn a_panic_that_nobody_joins_is_the_scopes() {
    within(LIMIT, || {
        let workers = workers(2);
        let others = AtomicUsize::new(0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            workers.scope(|scope| {
                scope.spawn(|| std::panic::resume_unwind(Box::new("lost")));
                for _ in 0..10 {
                    scope.spawn(|| others.fetch_add(1, Ordering::SeqCst));
                }
            });
        }));
        assert!(outcome.is_err());
        assert_eq!(others.load(Ordering::SeqCst), 10, "the others went on");
        let joined =
            workers.scope(|scope| scope.spawn(|| std::panic::resume_unwind(Box::new("seen"))).join());
        let error: Result<(), _> = joined;
        assert!(error.unwrap_err().is_panic());
    });
}

#[test]
fn a_panic_of_the_body_ends_the_children_first() {
    within(LIMIT, || {
        let workers = workers(2);
        let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            workers.scope(|scope| {
                for _ in 0..10 {
                    scope.spawn(|| {
                        let _ended = OnDrop(|| {
                            ended.fetch_add(1, Ordering::SeqCst);
                        });
                        begun.fetch_add(1, Ordering::SeqCst);
                        Event::new().wait();
                    });
                }
                until(|| begun.load(Ordering::SeqCst) == 10);
                std::panic::resume_unwind(Box::new("body"));
            })
        }));
        let payload: Box<dyn std::any::Any + Send> = match outcome {
            Ok(()) => unreachable!("it panicked"),
            Err(payload) => payload,
        };
        assert_eq!(payload.downcast_ref(), Some(&"body"));
        assert_eq!(ended.load(Ordering::SeqCst), 10);
    });
}

#[test]
fn a_kill_and_a_time_limit_end_the_children_first() {
    within(LIMIT, || {
        let workers = Arc::new(workers(2));
        let ended = Arc::new(AtomicUsize::new(0));
        let run = {
            let (workers, ended) = (workers.clone(), ended.clone());
            move || {
                workers.scope(|scope| {
                    for _ in 0..5 {
                        scope.spawn(|| {
                            let _ended = OnDrop(|| {
                                ended.fetch_add(1, Ordering::SeqCst);
                            });
                            Event::new().wait();
                        });
                    }
                });
            }
        };
        let task = spawn(run.clone());
        yield_now();
        task.kill();
        assert!(task.join().unwrap_err().is_killed());
        let after_kill = ended.load(Ordering::SeqCst);
        assert!(after_kill <= 5, "those that had not begun never do");
        assert!(with_timeout(Duration::from_millis(20), run).is_err());
        // Nothing of the scopes is left: all their values are free to be changed.
        assert!(ended.load(Ordering::SeqCst) <= 10);
    });
}

#[test]
fn children_that_have_not_begun_never_do_when_the_body_panics() {
    within(LIMIT, || {
        let workers = workers(1);
        let gate = RefCell::new(Some(Gate::on(&workers, 0)));
        let run = AtomicUsize::new(0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            workers.scope(|scope| {
                for _ in 0..100 {
                    scope.spawn(|| run.fetch_add(1, Ordering::SeqCst));
                }
                std::panic::resume_unwind(Box::new("body"));
            })
        }));
        // It did not wait for the worker that is blocked.
        assert!(outcome.is_err());
        assert_eq!(run.load(Ordering::SeqCst), 0);
        gate.take().unwrap().open();
    });
}

#[test]
fn a_child_that_catches_its_kill_is_waited_for() {
    within(LIMIT, || {
        let workers = workers(2);
        let (begun, done) = (Event::new(), AtomicUsize::new(0));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            workers.scope(|scope| {
                scope.spawn(|| {
                    begun.set();
                    let killed = catch_unwind(AssertUnwindSafe(|| Event::new().wait())).unwrap_err();
                    assert!(killed.is::<GreenletExit>());
                    sleep(Duration::from_millis(20));
                    done.store(1, Ordering::SeqCst);
                });
                begun.wait();
                std::panic::resume_unwind(Box::new("body"));
            })
        }));
        assert!(outcome.is_err());
        assert_eq!(done.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn results_that_borrow_are_dropped_before_the_scope_is_left() {
    struct Touches<'a>(&'a AtomicUsize);
    impl Drop for Touches<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    within(LIMIT, || {
        let workers = workers(2);
        for round in 0..100 {
            let touched = AtomicUsize::new(0);
            let children = 3 * (round % 50);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                workers.scope(|scope| {
                    for _ in 0..children {
                        scope.spawn(|| Touches(&touched));
                    }
                    if round % 2 == 0 {
                        std::panic::resume_unwind(Box::new("body"));
                    }
                });
            }));
            assert_eq!(outcome.is_err(), round % 2 == 0);
            let count = touched.into_inner();
            assert!(if round % 2 == 0 { count <= children } else { count == children });
        }
    });
}

#[test]
fn a_child_is_killed_alone_begun_or_not() {
    within(LIMIT, || {
        let workers = workers(2);
        let gate = Gate::on(&workers, 0);
        let (begun, run) = (Event::new(), AtomicUsize::new(0));
        workers.scope(|scope| {
            let waits = scope.spawn_on(1, || {
                begun.set();
                Event::new().wait();
            });
            let unbegun = scope.spawn_on(0, || run.fetch_add(1, Ordering::SeqCst));
            begun.wait();
            waits.kill();
            // It does not wait for the worker that is blocked.
            unbegun.kill();
            assert!(waits.is_finished() && unbegun.is_finished());
            assert!(waits.join().unwrap_err().is_killed() && unbegun.join().unwrap_err().is_killed());
            let ended = scope.spawn_on(1, || 5);
            until(|| ended.is_finished());
            ended.kill();
            assert_eq!(ended.join().unwrap(), 5);
        });
        assert_eq!(run.load(Ordering::SeqCst), 0);
        gate.open();
    });
}

#[test]
fn results_of_the_killed_are_dropped_before_the_scope_is_left() {
    within(LIMIT, || {
        let workers = workers(2);
        let (made, dropped) = (AtomicUsize::new(0), AtomicUsize::new(0));
        workers.scope(|scope| {
            for round in 0..500 {
                let child = scope.spawn(|| {
                    made.fetch_add(1, Ordering::SeqCst);
                    OnDrop(|| {
                        dropped.fetch_add(1, Ordering::SeqCst);
                    })
                });
                (0..round % 7).for_each(|_| yield_now());
                child.kill();
            }
        });
        assert_eq!(made.into_inner(), dropped.into_inner());
    });
}

#[test]
fn a_scope_of_stopped_workers_ends() {
    within(LIMIT, || {
        let workers = workers(1);
        workers.stop(Duration::ZERO);
        let joined = workers.scope(|scope| {
            scope.spawn(|| 1);
            scope.spawn_on(0, || 2).join()
        });
        assert!(joined.unwrap_err().is_killed());
    });
}
