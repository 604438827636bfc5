//! Generators as sources and sinks, inside each other, dropped and failing.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use greenloop::greenlet::{AnyGreenlet, Generator, Greenlet, Trace, Yielder, current, settrace};
use greenloop::{sleep, spawn, with_timeout};

use crate::LIMIT;
use crate::support::within;

#[test]
fn an_iterator_that_ends_stays_ended() {
    within(LIMIT, || {
        let mut three = Generator::new(|generator, ()| (1..=3).for_each(|number| generator.yield_(number)));
        assert_eq!(three.by_ref().collect::<Vec<u32>>(), [1, 2, 3]);
        assert!(three.is_done());
        assert_eq!(three.next(), None);
        assert_eq!(three.next(), None);
    });
}

#[test]
fn what_is_sent_is_what_yield_returns() {
    within(LIMIT, || {
        let mut echo = Generator::new(|generator, mut text: String| {
            while text != "stop" {
                text = generator.yield_(text.len());
            }
        });
        assert_eq!(echo.send("one".to_owned()), Some(3));
        assert_eq!(echo.send("three".to_owned()), Some(5));
        assert_eq!(echo.send("stop".to_owned()), None);
        assert_eq!(echo.send("more".to_owned()), None);
    });
}

/// A tree walked in order, the yields coming from the depth of the recursion.
struct Tree(Option<Box<(Tree, u32, Tree)>>);

impl Tree {
    fn of(numbers: std::ops::Range<u32>) -> Tree {
        if numbers.is_empty() {
            return Tree(None);
        }
        let middle = numbers.start.midpoint(numbers.end);
        Tree(Some(Box::new((Tree::of(numbers.start..middle), middle, Tree::of(middle + 1..numbers.end)))))
    }

    fn walk(&self, generator: &Yielder<(), u32>) {
        if let Some(node) = &self.0 {
            node.0.walk(generator);
            generator.yield_(node.1);
            node.2.walk(generator);
        }
    }
}

#[test]
fn a_yield_may_come_from_any_depth() {
    within(LIMIT, || {
        let walk = Generator::new(|generator, ()| Tree::of(0..1000).walk(generator));
        assert!(walk.eq(0..1000));
    });
}

#[test]
fn generators_pull_from_generators() {
    fn naturals() -> Generator<(), u64> {
        Generator::new(|generator, ()| {
            for number in 2.. {
                generator.yield_(number);
            }
        })
    }
    /// Each prime is found by one more generator around the last.
    fn sieve(mut source: Generator<(), u64>) -> Generator<(), u64> {
        Generator::new(move |generator, ()| {
            let prime = source.next().expect("there is a next");
            generator.yield_(prime);
            let mut rest = sieve(Generator::new(move |generator, ()| {
                source
                    .by_ref()
                    .filter(|number| number % prime != 0)
                    .for_each(|number| generator.yield_(number));
            }));
            loop {
                generator.yield_(rest.next().expect("there is a next"));
            }
        })
    }
    within(LIMIT, || {
        let primes: Vec<u64> = sieve(naturals()).take(25).collect();
        assert_eq!(primes[..10], [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert_eq!(primes[24], 97);
    });
}

#[test]
fn dropping_one_ends_its_body_with_destructors() {
    struct Told(Rc<Cell<u32>>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    within(LIMIT, || {
        let ended = Rc::new(Cell::new(0));
        let endless = |ended: Rc<Cell<u32>>| {
            Generator::new(move |generator, ()| {
                let _told = Told(ended);
                for number in 0u32.. {
                    generator.yield_(number);
                }
            })
        };
        let mut outer = Generator::new({
            let ended = ended.clone();
            move |generator: &Yielder<(), u32>, ()| {
                let _told = Told(ended.clone());
                endless(ended).for_each(|number| generator.yield_(number));
            }
        });
        assert_eq!(outer.next(), Some(0));
        assert_eq!(outer.next(), Some(1));
        assert_eq!(ended.get(), 0);
        drop(outer);
        assert_eq!(ended.get(), 2);
        // One that has not begun owns its closure only.
        drop(endless(ended.clone()));
        assert_eq!(ended.get(), 2);
        assert_eq!(Rc::strong_count(&ended), 1);
    });
}

#[test]
fn a_panic_reaches_who_pulls() {
    within(LIMIT, || {
        let mut fails = Generator::new(|generator, ()| {
            generator.yield_(1u32);
            std::panic::resume_unwind(Box::new("no more"));
        });
        assert_eq!(fails.next(), Some(1));
        let raised = catch_unwind(AssertUnwindSafe(|| fails.next())).unwrap_err();
        assert_eq!(raised.downcast_ref::<&str>(), Some(&"no more"));
        assert!(fails.is_done());
        assert_eq!(fails.next(), None);
    });
}

#[test]
fn each_pull_may_come_from_another_greenlet() {
    within(LIMIT, || {
        let numbers = Rc::new(std::cell::RefCell::new(Generator::new(|generator, ()| {
            for number in 0u32.. {
                generator.yield_(number);
            }
        })));
        let pull = |numbers: &Rc<std::cell::RefCell<Generator<(), u32>>>| {
            let numbers = numbers.clone();
            Greenlet::new(move |_: u32| numbers.borrow_mut().next().unwrap())
        };
        assert_eq!(pull(&numbers).switch(0).unwrap(), 0);
        assert_eq!(numbers.borrow_mut().next(), Some(1));
        assert_eq!(pull(&numbers).switch(0).unwrap(), 2);
        assert!(current().is_main());
    });
}

#[test]
fn a_body_may_pull_from_another() {
    within(LIMIT, || {
        let inside = Generator::new(|generator, ()| {
            generator.yield_(1u32);
            let inner = Generator::new(|inner, ()| {
                inner.yield_(10u32);
                inner.yield_(20);
            });
            for number in inner {
                generator.yield_(number);
            }
            generator.yield_(2);
        });
        assert_eq!(inside.collect::<Vec<_>>(), [1, 10, 20, 2]);
    });
}

/// Counts itself when dropped.
struct Unwound(Rc<Cell<u32>>);

impl Drop for Unwound {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_generator_whose_body_is_in_a_switch_by_hand_may_be_dropped() {
    within(LIMIT, || {
        // It never switches back.
        let sleeps = Greenlet::new(|value: u32| {
            sleep(Duration::from_secs(3600));
            value
        });
        let asleep = sleeps.clone();
        let unwound = Rc::new(Cell::new(0));
        let counted = Unwound(unwound.clone());
        let mut generator = Generator::new(move |_: &Yielder<(), ()>, ()| {
            let _counted = &counted;
            asleep.switch(1).expect("nobody switches back");
        });
        assert!(with_timeout(Duration::from_millis(1), || generator.next()).is_err());
        assert_eq!(unwound.get(), 0);
        drop(generator);
        assert_eq!(unwound.get(), 1);
    });
}

#[test]
fn a_body_that_outlives_its_generator_takes_nobody_elses_pull() {
    within(LIMIT, || {
        let kept: Rc<RefCell<Option<AnyGreenlet>>> = Rc::default();
        let keep = kept.clone();
        let mut generator = Generator::new(move |generator, ()| {
            *keep.borrow_mut() = Some(current());
            for number in 0..3 {
                let _caught = catch_unwind(AssertUnwindSafe(|| generator.yield_(number)));
            }
        });
        assert_eq!(generator.next(), Some(0));
        // Dropped where it ends with who drops it, whose stack is then another one's. It goes on, and waits in the next yield.
        let dropper = Greenlet::new(move |value: u32| {
            drop(generator);
            value
        });
        assert_eq!(dropper.switch(7).unwrap(), 7);
        drop(dropper);
        let body = kept.take().unwrap();
        assert!(body.is_active());
        let puller = Greenlet::new(move |value: u32| {
            let mut other = Generator::new(move |generator, ()| {
                // Nobody waits for the body's end: the hub goes on then, and this one only by its limit.
                let limit = Duration::from_millis(1);
                assert!(with_timeout(limit, || body.throw::<u32>(Box::new(5))).is_err());
                assert!(body.is_dead());
                generator.yield_(77);
            });
            assert_eq!(other.next(), Some(77));
            assert_eq!(other.next(), None);
            value
        });
        assert_eq!(puller.switch(8).unwrap(), 8);
    });
}

#[test]
fn a_generator_dropped_in_a_callback_ends_soon_after() {
    within(LIMIT, || {
        let ended = Rc::new(Cell::new(0));
        let end = ended.clone();
        let mut generator = Generator::new(move |generator, ()| {
            // It is asked to end more than once.
            for number in 0..3 {
                let _caught = catch_unwind(AssertUnwindSafe(|| generator.yield_(number)));
                end.set(end.get() + 1);
            }
        });
        assert_eq!(generator.next(), Some(0));
        let dropped = Cell::new(Some(generator));
        settrace(Some(Rc::new(move |_: &Trace| drop(dropped.take()))));
        spawn(|| ()).join().unwrap();
        settrace(None);
        greenloop::idle();
        assert_eq!(ended.get(), 3);
    });
}
