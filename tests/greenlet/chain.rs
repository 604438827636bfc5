//! Greenlets that have each resumed the next: what happens to those in between.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use greenloop::error::{Elapsed, InvalidSwitch};
use greenloop::event::Event;
use greenloop::greenlet::{AnyGreenlet, Generator, Greenlet, Trace, current, main, settrace};
use greenloop::{spawn, with_timeout, yield_now};

use crate::LIMIT;
use crate::support::within;

/// Far longer than any test.
const LONG: Duration = Duration::from_secs(3600);

/// Each gets the next value from the one that it has made, and adds one.
fn pipeline(stages: usize, source: impl Fn() -> u32 + 'static) -> Generator<(), u32> {
    let first = Generator::new(move |generator, ()| {
        loop {
            generator.yield_(source());
        }
    });
    (0..stages).fold(first, |inner, _| {
        Generator::new(move |generator, ()| {
            for number in inner {
                generator.yield_(number + 1);
            }
        })
    })
}

#[test]
fn the_last_of_a_long_chain_waits_and_the_hub_runs_others() {
    within(LIMIT, || {
        let steps = Rc::new(Cell::new(0));
        let others = steps.clone();
        let other = spawn(move || {
            for _ in 0..40 {
                others.set(others.get() + 1);
                yield_now();
            }
        });
        let seen = steps.clone();
        let mut numbers = pipeline(300, move || {
            let before = seen.get();
            yield_now();
            assert_eq!(seen.get(), before + 1);
            before
        });
        for round in 0..20 {
            assert_eq!(numbers.next(), Some(round + 300));
        }
        other.kill();
        assert!(other.join().is_err());
    });
}

#[test]
fn each_of_a_chain_may_be_gone_to_from_its_end() {
    within(LIMIT, || {
        const LINKS: usize = 50;
        let links: Rc<RefCell<Vec<Greenlet<usize>>>> = Rc::default();
        let visits = Rc::new(Cell::new([0; LINKS]));
        // Each goes up to the next, so that the last one stands on all others, and answers whoever goes to it.
        for place in 0..LINKS {
            let (all, visits) = (links.clone(), visits.clone());
            links.borrow_mut().push(Greenlet::new(move |mut value| {
                if place + 1 < LINKS {
                    let next = all.borrow()[place + 1].clone();
                    value = next.switch(value).unwrap();
                } else {
                    for target in (0..LINKS - 1).rev() {
                        let target = all.borrow()[target].clone();
                        value = target.switch(value).unwrap();
                    }
                    return value;
                }
                let last = all.borrow()[LINKS - 1].clone();
                let mut counts = visits.get();
                counts[place] += 1;
                visits.set(counts);
                last.switch(value + 1).unwrap()
            }));
        }
        let first = links.borrow()[0].clone();
        // The last one's result goes to main.
        assert_eq!(first.switch(0).unwrap(), LINKS - 1);
        assert_eq!(visits.get(), std::array::from_fn(|place| usize::from(place + 1 < LINKS)));
        for greenlet in links.take().into_iter().take(LINKS - 1) {
            assert!(greenlet.is_active());
            assert_eq!(greenlet.switch(7).unwrap(), 7);
        }
    });
}

#[test]
fn who_is_passed_by_is_no_event_of_the_trace() {
    within(LIMIT, || {
        let last = Greenlet::new(|value: u32| main().switch(value).unwrap());
        let to_last = last.clone();
        let middle = Greenlet::new(move |value| to_last.switch(value).unwrap());
        let to_middle = middle.clone();
        let first = Greenlet::new(move |value| to_middle.switch(value).unwrap());
        let seen: Rc<RefCell<Vec<(AnyGreenlet, AnyGreenlet)>>> = Rc::default();
        let log = seen.clone();
        settrace(Some(Rc::new(move |trace: &Trace| {
            assert_eq!(trace.target, current());
            log.borrow_mut().push((trace.origin.clone(), trace.target.clone()));
        })));
        assert_eq!(first.switch(1).unwrap(), 1);
        // Its result goes to main.
        assert_eq!(middle.switch(2).unwrap(), 2);
        settrace(None);
        let greenlets = [main(), (*first).clone(), (*middle).clone(), (*last).clone()];
        let number = |greenlet: &AnyGreenlet| greenlets.iter().position(|other| other == greenlet).unwrap();
        let passings: Vec<_> =
            seen.borrow().iter().map(|(origin, target)| (number(origin), number(target))).collect();
        assert_eq!(passings, [(0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (2, 0)]);
        seen.take();
    });
}

#[test]
fn a_kill_ends_one_that_has_resumed_another() {
    within(LIMIT, || {
        let go = Rc::new(Event::new());
        let (wait, ended) = (go.clone(), Rc::new(Cell::new(false)));
        let end = ended.clone();
        let waits = Greenlet::new(move |value: u32| {
            wait.wait();
            end.set(true);
            value
        });
        let resumed = waits.clone();
        let resumer = spawn(move || resumed.switch(1).unwrap());
        yield_now();
        resumer.kill();
        assert!(resumer.join().unwrap_err().is_killed());
        // Who was resumed waits on, and cannot be switched to.
        assert!(waits.is_active() && !ended.get());
        let refused = catch_unwind(AssertUnwindSafe(|| waits.switch(2))).unwrap_err();
        assert!(refused.is::<InvalidSwitch>() && waits.is_dead() && !ended.get());
        go.set();
    });
}

#[test]
fn a_time_limit_ends_the_first_of_a_chain_and_the_last_goes_on() {
    within(LIMIT, || {
        let (go, waits) = (Rc::new(Event::new()), Rc::new(Cell::new(0)));
        let (ready, count) = (go.clone(), waits.clone());
        let mut numbers = pipeline(3, move || {
            count.set(count.get() + 1);
            ready.wait();
            40
        });
        assert!(matches!(with_timeout(Duration::from_millis(1), || numbers.next()), Err(Elapsed { .. })));
        go.set();
        // What was asked for is what comes.
        assert_eq!((with_timeout(LONG, || numbers.next()).unwrap(), waits.get()), (Some(43), 1));
        assert_eq!((numbers.next(), waits.get()), (Some(43), 2));
    });
}

#[test]
fn green_threads_pull_through_chains_of_their_own() {
    within(LIMIT, || {
        let pull = |thread: u32| {
            spawn(move || {
                let number = Rc::new(Cell::new(1000 * thread));
                let mut numbers = pipeline(thread as usize, move || {
                    yield_now();
                    number.replace(number.get() + 1)
                });
                (0..100).map(|_| numbers.next().unwrap()).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..10).map(pull).collect();
        for (thread, handle) in (0..).zip(threads) {
            let first = 1001 * thread;
            assert_eq!(handle.join().unwrap(), (first..first + 100).collect::<Vec<_>>());
        }
    });
}
