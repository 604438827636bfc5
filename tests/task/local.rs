use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;

use greenloop::greenlet::{Generator, Greenlet, main};
use greenloop::hub::Hub;
use greenloop::{Builder, block_on, greenlet_local, joinall, scope, sleep, spawn, spawn_later, yield_now};

use crate::support::within;
use crate::{CountsDrops, LIMIT, LONG, SHORT, raise, raised};

greenlet_local! {
    static NUMBER: Cell<u32> = Cell::new(0);
    static KEPT: RefCell<Vec<CountsDrops>> = RefCell::new(Vec::new());
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
    KEPT.with(|kept| kept.borrow_mut().push(CountsDrops(dropped.clone())));
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

greenlet_local! {
    inherited static REQUEST: RefCell<Vec<&'static str>> = RefCell::default();
    static PRIVATE: Cell<u32> = Cell::new(0);
    inherited static DEPTH: Cell<u32> = Cell::new(0) => |spawners| Cell::new(spawners.get() + 1);
}

#[test]
fn one_that_is_inherited_is_handed_down_a_spawn_tree() {
    within(LIMIT, || {
        REQUEST.set(vec!["main"]);
        PRIVATE.set(5);
        let outer = spawn(|| {
            REQUEST.with_borrow_mut(|path| path.push("outer"));
            let inner = spawn(|| (REQUEST.take(), DEPTH.get(), PRIVATE.get()));
            // After the spawn: no longer seen.
            REQUEST.with_borrow_mut(|path| path.push("late"));
            (inner.join().unwrap(), REQUEST.take())
        });
        let (inner, outer) = outer.join().unwrap();
        assert_eq!(inner, (vec!["main", "outer"], 0, 0));
        assert_eq!(outer, ["main", "outer", "late"]);
        assert_eq!(REQUEST.take(), ["main"], "the spawner keeps its own");
    });
}

#[test]
fn it_is_derived_at_every_kind_of_spawn() {
    within(LIMIT, || {
        assert_eq!(spawn(|| DEPTH.get()).join().unwrap(), 0, "the spawner has none");
        DEPTH.set(10);
        let depth = || DEPTH.get();
        let later = spawn_later(SHORT, depth);
        let built = Builder::new().name("built").spawn(depth).unwrap();
        let scoped = scope(|scope| scope.spawn(|| spawn(depth).join().unwrap()).join().unwrap());
        DEPTH.set(20);
        assert_eq!((later.join().unwrap(), built.join().unwrap(), scoped), (11, 11, 12));
        // Neither greenlets nor other OS threads.
        assert_eq!(Greenlet::new(move |()| assert_eq!(DEPTH.get(), 0)).switch(()).ok(), Some(()));
        assert_eq!(thread::spawn(depth).join().unwrap(), 0);
        assert_eq!(DEPTH.get(), 20);
    });
}

#[test]
fn what_was_inherited_is_freed_though_the_green_thread_never_ran() {
    greenlet_local! {
        inherited static SHARED: Option<Rc<()>> = None => Option::clone;
        inherited static MINE: RefCell<Option<Rc<()>>> = RefCell::default();
    }
    within(LIMIT, || {
        let value = Rc::new(());
        MINE.set(Some(value.clone()));
        assert!(SHARED.with(Option::is_none));
        let [never, ran] = [(); 2].map(|()| spawn(|| MINE.with_borrow(Option::is_some)));
        assert_eq!(Rc::strong_count(&value), 4);
        never.kill();
        assert_eq!(Rc::strong_count(&value), 3);
        ran.wait();
        assert_eq!(Rc::strong_count(&value), 2);
        assert!(ran.join().unwrap());
    });
}

#[test]
fn what_derives_may_use_locals_and_panic() {
    greenlet_local! {
        inherited static ODD: Cell<u32> = Cell::new(0) => |spawners| {
            PRIVATE.set(PRIVATE.get() + 1);
            if spawners.get() == 3 { raise("derived") } else { Cell::new(spawners.get()) }
        };
    }
    within(LIMIT, || {
        ODD.set(1);
        assert_eq!(spawn(|| ODD.get()).join().unwrap(), 1);
        assert_eq!(PRIVATE.get(), 1);
        ODD.set(3);
        assert_eq!(raised(catch_unwind(AssertUnwindSafe(|| spawn(|| ())))), "derived");
        ODD.set(4);
        assert_eq!(spawn(|| ODD.get()).join().unwrap(), 4);
        // What was not spawned is not waited for.
        Hub::current().join();
    });
}
