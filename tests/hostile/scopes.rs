//! Scopes that end while something goes wrong.

#![expect(unsafe_code, reason = "fork(2) is a contract")]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::time::Duration;

use greenloop::channel::unbounded;
use greenloop::event::Event;
use greenloop::hub::Hub;
use greenloop::process::{Fork, fork, wait_pid};
use greenloop::{Scope, pool, scope, sleep, spawn, with_timeout, yield_now};

use crate::LIMIT;
use crate::support::{OnDrop, run_child, within};

const LONG: Duration = Duration::from_secs(100);

/// A payload whose destructor panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a payload's destructor");
    }
}

/// Runs a scope that `hostile` is to leave, and asserts that it is not left before a child with a slow end.
fn is_not_left(hostile: impl for<'scope, 'env> FnOnce(&'scope Scope<'scope, 'env>)) {
    let ended = Cell::new(false);
    let (begins, begun) = unbounded();
    let left = catch_unwind(AssertUnwindSafe(|| {
        scope(|scope| {
            scope.spawn(|| {
                let _ends = OnDrop(|| ended.set(true));
                begins.send(()).unwrap();
                let _ = catch_unwind(|| sleep(LONG));
                yield_now();
            });
            // Not by a yield, which does nothing amid unwinding.
            begun.recv().unwrap();
            hostile(scope);
            resume_unwind(Box::new("the body"));
        });
    }));
    assert_eq!(left.unwrap_err().downcast_ref(), Some(&"the body"));
    assert!(ended.get(), "a child lives");
    assert_eq!(Hub::current().alive(), 0);
}

#[test]
fn a_payload_whose_destructor_panics_does_not_leave_it() {
    within(LIMIT, || {
        is_not_left(|scope| {
            let panics = OnDrop(|| panic_any(Bomb));
            drop(scope.spawn(move || drop(panics)));
        });
    });
}

#[test]
fn a_result_whose_destructor_panics_does_not_leave_it() {
    within(LIMIT, || {
        is_not_left(|scope| {
            drop(scope.spawn(|| OnDrop(|| panic_any(Bomb))));
            drop(scope.spawn(|| OnDrop(|| panic!("a result"))));
            yield_now();
        });
    });
}

#[test]
fn a_result_whose_destructor_panics_in_the_final_wait_ends_the_others_first() {
    within(LIMIT, || {
        let ended = Cell::new(false);
        let left = catch_unwind(AssertUnwindSafe(|| {
            scope(|scope| {
                scope.spawn(|| {
                    let _ends = OnDrop(|| ended.set(true));
                    sleep(LONG);
                });
                drop(scope.spawn(|| OnDrop(|| resume_unwind(Box::new("a result")))));
            });
        }));
        assert_eq!(left.unwrap_err().downcast_ref(), Some(&"a result"));
        assert!(ended.get());
    });
}

#[test]
fn a_destructor_that_spawns_while_it_ends_is_served() {
    within(LIMIT, || {
        let ran = Cell::new(0);
        let left = catch_unwind(AssertUnwindSafe(|| {
            scope(|scope| {
                let ran = &ran;
                let count = move || ran.set(ran.get() + 1);
                for _ in 0..100 {
                    let spawns = OnDrop(move || drop(scope.spawn(count)));
                    drop(scope.spawn(move || drop(spawns)));
                }
                resume_unwind(Box::new("the body"));
            });
        }));
        assert!(left.is_err());
        assert_eq!((ran.get(), Hub::current().alive()), (100, 0));
    });
}

#[test]
fn time_limits_and_kills_wait_until_it_has_ended() {
    within(LIMIT, || {
        let limited = with_timeout(Duration::from_millis(1), || {
            is_not_left(|scope| {
                drop(scope.spawn(|| {
                    let _ = catch_unwind(|| sleep(LONG));
                    sleep(Duration::from_millis(20));
                }));
                yield_now();
            });
            sleep(LONG);
        });
        assert!(limited.is_err());
    });
}

#[test]
fn one_in_a_destructor_amid_unwinding_waits_for_its_children() {
    within(LIMIT, || {
        let ended = Cell::new(0);
        let outer = catch_unwind(AssertUnwindSafe(|| {
            let _scopes = OnDrop(|| {
                scope(|scope| {
                    for _ in 0..3 {
                        scope.spawn(|| {
                            yield_now();
                            ended.set(ended.get() + 1);
                        });
                    }
                });
                is_not_left(|_| ());
            });
            resume_unwind(Box::new("outside"));
        }));
        assert!(outer.is_err());
        assert_eq!(ended.get(), 3);
    });
}

#[test]
fn one_in_a_hub_callback_ends_what_it_has_spawned() {
    within(LIMIT, || {
        let event = std::sync::Arc::new(Event::new());
        let (sender, told) = unbounded();
        let _link = event.rawlink(move || {
            let borrowed = Cell::new(0);
            let refused = catch_unwind(AssertUnwindSafe(|| {
                scope(|scope| {
                    let dropped = OnDrop(|| borrowed.set(borrowed.get() + 1));
                    drop(scope.spawn(move || drop(dropped)));
                });
            }));
            sender.send((refused.is_err(), borrowed.get())).unwrap();
        });
        event.set();
        assert_eq!(told.recv(), Ok((true, 1)));
    });
}

/// A kill ends what has not begun, so it needs no wait.
#[test]
fn one_in_a_hub_callback_ends_what_its_destructors_spawn() {
    let Some(child) = run_child(LIMIT, || {
        let event = Event::new();
        let (sender, told) = unbounded();
        event.rawlink(move || {
            let dropped = Cell::new(0);
            let refused = catch_unwind(AssertUnwindSafe(|| {
                scope(|scope| {
                    let inner = OnDrop(|| dropped.set(dropped.get() + 1));
                    let mut inner = Some(inner);
                    let outer = OnDrop(move || {
                        let inner = inner.take();
                        drop(scope.spawn(move || drop(inner)));
                    });
                    drop(scope.spawn(move || drop(outer)));
                });
            }));
            sender.send((refused.is_err(), dropped.get())).unwrap();
        });
        event.set();
        assert_eq!(told.recv(), Ok((true, 1)));
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn that_of_a_pool_is_not_left_either() {
    within(LIMIT, || {
        let ended = Cell::new(false);
        let left = catch_unwind(AssertUnwindSafe(|| {
            pool::scope(2, |pool| {
                pool.spawn(|| {
                    let _ends = OnDrop(|| ended.set(true));
                    let _ = catch_unwind(|| sleep(LONG));
                    yield_now();
                });
                yield_now();
                let panics = OnDrop(|| panic_any(Bomb));
                drop(pool.spawn(move || drop(panics)));
                resume_unwind(Box::new("the body"));
            });
        }));
        assert_eq!(left.unwrap_err().downcast_ref(), Some(&"the body"));
        assert!(ended.get());
    });
}

#[test]
fn the_child_of_a_fork_does_not_wait_for_the_parents_children() {
    let Some(child) = run_child(LIMIT, || {
        within(LIMIT, || {
            let mut number = 0;
            for unwinds in [false, true] {
                let left = catch_unwind(AssertUnwindSafe(|| {
                    scope(|scope| {
                        let waits = scope.spawn(|| sleep(LONG));
                        yield_now();
                        // SAFETY: what other threads of this process hold, the harness's, the child does not use.
                        match unsafe { fork() }.unwrap() {
                            Fork::Parent { child } => {
                                number = child;
                                waits.kill();
                            }
                            Fork::Child if unwinds => resume_unwind(Box::new(())),
                            Fork::Child => number = 0,
                        }
                    });
                }));
                if left.is_err() || number == 0 {
                    spawn(|| std::process::exit(7)).wait();
                }
                assert_eq!(wait_pid(number).unwrap().code(), Some(7));
            }
        });
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn payloads_without_end_are_let_go() {
    /// Each destructor panics with another one.
    struct Hydra;

    impl Drop for Hydra {
        fn drop(&mut self) {
            panic_any(Hydra);
        }
    }

    within(LIMIT, || {
        is_not_left(|scope| {
            let panics = OnDrop(|| panic_any(Hydra));
            drop(scope.spawn(move || drop(panics)));
        });
    });
}
