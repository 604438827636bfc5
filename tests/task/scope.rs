use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use greenloop::hub::Hub;
use greenloop::{GreenletExit, scope, sleep, spawn, with_timeout, yield_now};

use crate::support::within;
use crate::{CountsDrops, LIMIT, LONG, SHORT, raise, raised, text};

#[test]
fn children_borrow_and_change_what_is_outside() {
    within(LIMIT, || {
        let mut numbers = vec![1, 2, 3, 4];
        let total = Cell::new(0);
        scope(|scope| {
            for number in &mut numbers {
                let total = &total;
                scope.spawn(move || {
                    yield_now();
                    *number *= 10;
                    total.set(total.get() + *number);
                });
            }
        });
        assert_eq!((numbers, total.get()), (vec![10, 20, 30, 40], 100));
    });
}

#[test]
fn values_that_borrow_come_back() {
    within(LIMIT, || {
        let text = String::from("one two three");
        let longest = scope(|scope| {
            let words: Vec<_> = text.split(' ').map(|word| scope.spawn(move || word)).collect();
            let words = words.into_iter().map(|word| word.join().unwrap());
            words.max_by_key(|word| word.len()).unwrap()
        });
        assert_eq!(longest, "three");
    });
}

#[test]
fn children_spawn_children_and_scopes_nest() {
    within(LIMIT, || {
        let count = Cell::new(0);
        let add = || count.set(count.get() + 1);
        scope(|outer| {
            outer.spawn(|| {
                yield_now();
                outer.spawn(|| {
                    yield_now();
                    add();
                });
                scope(|inner| {
                    inner.spawn(add);
                    inner.spawn(|| {
                        sleep(SHORT);
                        add();
                    });
                });
                assert_eq!(count.get(), 3);
                add();
            });
        });
        assert_eq!(count.get(), 4);
    });
}

#[test]
fn a_panic_of_a_child_comes_out_at_the_end() {
    within(LIMIT, || {
        let others_ended = Cell::new(false);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            scope(|scope| {
                scope.spawn(|| raise("a child fails"));
                scope.spawn(|| {
                    sleep(SHORT);
                    others_ended.set(true);
                });
                "the value of the body"
            })
        }));
        assert_eq!(raised(outcome), "a scoped green thread panicked");
        assert!(others_ended.get(), "the others are not killed");

        // Who joins the child has taken its failure.
        let value = scope(|scope| {
            let error = scope.spawn(|| raise("a child fails")).join();
            let error: Result<(), _> = error;
            assert_eq!(text(&*error.unwrap_err().into_payload()), "a child fails");
            7
        });
        assert_eq!(value, 7);
        // So has who kills it: that is no failure.
        scope(|scope| {
            let child = scope.spawn(|| sleep(LONG));
            yield_now();
            child.kill();
            assert!(child.is_finished());
        });
    });
}

#[test]
fn a_panic_of_the_body_kills_the_children_first() {
    within(LIMIT, || {
        let dropped = Rc::new(Cell::new(0));
        let borrowed = RefCell::new(Vec::new());
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            scope(|scope| {
                for number in 0..3 {
                    let counted = CountsDrops(dropped.clone());
                    let borrowed = &borrowed;
                    scope.spawn(move || {
                        let _counted = counted;
                        let end = catch_unwind(|| sleep(LONG)).unwrap_err();
                        assert!(end.is::<GreenletExit>());
                        // Cleanup that waits is waited for.
                        sleep(SHORT);
                        borrowed.borrow_mut().push(number);
                    });
                }
                yield_now();
                scope.spawn(|| unreachable!("it has not begun when the body fails"));
                raise("the body fails")
            })
        }));
        let outcome: Result<(), _> = outcome;
        assert_eq!(raised(outcome), "the body fails");
        assert_eq!(dropped.get(), 3);
        assert_eq!(borrowed.take(), [0, 1, 2]);
        assert_eq!(Hub::current().alive(), 0);
    });
}

#[test]
fn a_kill_in_the_body_and_in_the_final_wait() {
    for in_the_body in [true, false] {
        within(LIMIT, move || {
            let dropped = Rc::new(Cell::new(0));
            let inside = dropped.clone();
            let task = spawn(move || {
                let own = CountsDrops(inside.clone());
                scope(|scope| {
                    for _ in 0..3 {
                        let (own, child) = (&own, CountsDrops(inside.clone()));
                        scope.spawn(move || {
                            let _child = child;
                            sleep(LONG);
                            own.0.get()
                        });
                    }
                    if in_the_body {
                        sleep(LONG);
                    }
                });
            });
            (0..3).for_each(|_| yield_now());
            task.kill();
            assert_eq!(dropped.get(), 4);
            assert!(task.join().unwrap_err().is_killed());
            assert_eq!(Hub::current().alive(), 0);
        });
    }
}

#[test]
fn a_time_limit_ends_it_with_its_children() {
    within(LIMIT, || {
        let numbers = vec![1, 2, 3];
        let seen = Cell::new(0);
        let late = with_timeout(SHORT, || {
            scope(|scope| {
                for number in &numbers {
                    let seen = &seen;
                    scope.spawn(move || {
                        sleep(LONG);
                        seen.set(*number);
                    });
                }
            })
        });
        assert_eq!(late.unwrap_err().limit(), SHORT);
        assert_eq!((seen.get(), Hub::current().alive()), (0, 0));
    });
}

#[test]
fn a_second_kill_does_not_free_the_frame_that_children_use() {
    within(LIMIT, || {
        let log = Rc::new(RefCell::new(Vec::new()));
        let inside = log.clone();
        let task = spawn(move || {
            let borrowed = [7; 64];
            scope(|scope| {
                scope.spawn(|| {
                    // Takes long to die, whatever comes.
                    for _ in 0..5 {
                        let _ = catch_unwind(|| sleep(SHORT));
                    }
                    inside.borrow_mut().push(borrowed.iter().sum::<i32>());
                });
                sleep(LONG);
            });
        });
        yield_now();
        yield_now();
        for _ in 0..4 {
            assert!(!task.try_kill());
            yield_now();
        }
        assert!(!task.is_finished());
        task.wait();
        assert_eq!(*log.borrow(), [7 * 64]);
    });
}

#[test]
fn it_works_on_main_with_nothing_in_it() {
    within(LIMIT, || {
        assert_eq!(scope(|_| 7), 7);
        let outcome = catch_unwind(|| scope(|_| resume_unwind(Box::new("nothing to kill"))));
        let outcome: Result<(), _> = outcome;
        assert_eq!(raised(outcome), "nothing to kill");
    });
}

#[test]
fn a_result_may_spawn_in_its_destructor() {
    struct Spawns<'scope, 'env>(&'scope greenloop::Scope<'scope, 'env>, &'env Cell<u32>);
    impl Drop for Spawns<'_, '_> {
        fn drop(&mut self) {
            let count = self.1;
            drop(self.0.spawn(|| count.set(count.get() + 1)));
        }
    }
    within(LIMIT, || {
        let count = Cell::new(0);
        scope(|scope| {
            for _ in 0..300 {
                // Dropped with its handle, with the scope's own record of it, or when that lets go of it.
                drop(scope.spawn(|| Spawns(scope, &count)));
                yield_now();
            }
        });
        assert_eq!(count.get(), 300);
    });
}

#[test]
fn one_that_lasts_keeps_nothing_of_children_that_have_ended() {
    within(LIMIT, || {
        let dropped = Rc::new(Cell::new(0));
        scope(|scope| {
            let mut most = 0;
            for round in 1..=2000 {
                let counted = CountsDrops(dropped.clone());
                // Whether its result is taken, its handle dropped, or its value never looked at.
                let child = scope.spawn(move || counted);
                match round % 2 {
                    0 => drop(child.join()),
                    _ => drop(child),
                }
                yield_now();
                most = most.max(round - dropped.get());
            }
            assert!(most < 500, "{most} results were kept");
        });
        assert_eq!(dropped.get(), 2000);
    });
}
