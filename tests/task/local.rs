use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;

use greenloop::greenlet::{Generator, Greenlet, main};
use greenloop::{block_on, greenlet_local, joinall, sleep, spawn, yield_now};

use crate::support::within;
use crate::{Counted, LIMIT, LONG, SHORT, raise, raised};

greenlet_local! {
    static NUMBER: Cell<u32> = Cell::new(0);
    static KEPT: RefCell<Vec<Counted>> = RefCell::new(Vec::new());
    /// Its initialiser uses another, and yields.
    static DERIVED: u32 = {
        yield_now();
        NUMBER.with(|number| number.get() + 1)
    };
}

thread_local! {
    static INITIALISED: Cell<u32> = const { Cell::new(0) };
}

greenlet_local! {
    static ONCE: u32 = INITIALISED.with(|count| {
        count.set(count.get() + 1);
        count.get()
    });
}

fn keep(dropped: &Rc<Cell<u32>>) {
    KEPT.with(|kept| kept.borrow_mut().push(Counted(dropped.clone())));
}

#[test]
fn each_green_thread_has_its_own_across_yields() {
    within(LIMIT, || {
        NUMBER.with(|number| number.set(1000));
        let tasks: Vec<_> = (0..10)
            .map(|own| {
                spawn(move || {
                    assert_eq!(NUMBER.with(Cell::get), 0);
                    for _ in 0..5 {
                        NUMBER.with(|number| number.set(number.get() + own));
                        yield_now();
                    }
                    NUMBER.with(Cell::get)
                })
            })
            .collect();
        for (own, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.join().unwrap() as usize, own * 5);
        }
        assert_eq!(NUMBER.with(Cell::get), 1000);
        assert_eq!(thread::spawn(|| NUMBER.with(Cell::get)).join().unwrap(), 0);
    });
}

#[test]
fn it_is_made_once_when_it_is_first_used() {
    within(LIMIT, || {
        let first = spawn(|| (ONCE.with(|once| *once), ONCE.with(|once| *once)));
        assert_eq!(first.join().unwrap(), (1, 1));
        assert_eq!(spawn(|| ONCE.with(|once| *once)).join().unwrap(), 2);
        assert_eq!(INITIALISED.get(), 2);
        assert_eq!(DERIVED.with(|derived| *derived), 1);
    });
}

#[test]
fn it_is_freed_at_the_end_though_the_handle_is_kept() {
    within(LIMIT, || {
        let dropped = Rc::new(Cell::new(0));
        let run = |end: fn()| {
            let dropped = dropped.clone();
            spawn(move || {
                keep(&dropped);
                yield_now();
                keep(&dropped);
                end();
            })
        };
        let returns = run(|| ());
        let panics = run(|| raise("broken"));
        let killed = run(|| sleep(LONG));
        joinall([&returns, &panics]);
        assert_eq!(dropped.replace(0), 4);
        killed.kill();
        assert_eq!(dropped.get(), 2);
    });
}

#[test]
fn the_next_on_the_same_stack_starts_afresh() {
    within(LIMIT, || {
        for _ in 0..10 {
            let task = spawn(|| {
                let found = NUMBER.with(Cell::get);
                NUMBER.with(|number| number.set(7));
                found
            });
            assert_eq!(task.join().unwrap(), 0);
        }
    });
}

#[test]
fn destructors_may_use_locals_and_wait() {
    within(LIMIT, || {
        greenlet_local! {
            static LAST: RefCell<Option<OnDrop>> = RefCell::new(None);
        }
        struct OnDrop(Rc<Cell<u32>>);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                sleep(SHORT);
                NUMBER.with(|number| number.set(number.get() + 1));
                self.0.set(NUMBER.with(Cell::get));
            }
        }
        let seen = Rc::new(Cell::new(0));
        let inside = seen.clone();
        let task = spawn(move || {
            NUMBER.with(|number| number.set(7));
            LAST.with(|last| *last.borrow_mut() = Some(OnDrop(inside)));
        });
        task.join().unwrap();
        // The number of the green thread may have been freed before: then a fresh one was made.
        assert!([1, 8].contains(&seen.get()), "{}", seen.get());
        assert_eq!(NUMBER.with(Cell::get), 0);
    });
}

#[test]
fn a_destructor_that_fails_harms_nobody() {
    within(LIMIT, || {
        greenlet_local! {
            static FAILS: Cell<Option<Fails>> = Cell::new(None);
        }
        struct Fails;
        impl Drop for Fails {
            fn drop(&mut self) {
                std::panic::resume_unwind(Box::new(greenloop::GreenletExit));
            }
        }
        let task = spawn(|| {
            FAILS.with(|fails| fails.set(Some(Fails)));
            7
        });
        assert_eq!(task.join().unwrap(), 7);
    });
}

#[test]
fn greenlets_generators_and_polls_see_whose_they_are() {
    within(LIMIT, || {
        NUMBER.with(|number| number.set(7));
        let greenlet = Greenlet::new(|_: u32| {
            NUMBER.with(|number| number.set(8));
            main().switch(NUMBER.with(Cell::get)).unwrap();
            NUMBER.with(Cell::get)
        });
        assert_eq!(greenlet.switch(0).unwrap(), 8);
        assert_eq!(NUMBER.with(Cell::get), 7);
        assert_eq!(greenlet.switch(0).unwrap(), 8);
        let mut generator = Generator::new(|generator, ()| generator.yield_(NUMBER.with(Cell::get)));
        assert_eq!(generator.next(), Some(0));
        // A future is polled by who blocks on it.
        assert_eq!(block_on(async { NUMBER.with(Cell::get) }), 7);
    });
}

#[test]
fn an_initialiser_that_fails_may_be_tried_again() {
    within(LIMIT, || {
        thread_local! {
            static FAIL: Cell<bool> = const { Cell::new(true) };
        }
        greenlet_local! {
            static FALLIBLE: u32 = {
                if FAIL.get() {
                    raise("the initialiser fails");
                }
                7
            };
        }
        let tried = catch_unwind(AssertUnwindSafe(|| FALLIBLE.with(|value| *value)));
        assert_eq!(raised(tried), "the initialiser fails");
        FAIL.set(false);
        assert_eq!(FALLIBLE.with(|value| *value), 7);
    });
}
