use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use greenloop::error::{GreenletExit, InvalidSwitch};
use greenloop::greenlet::{Generator, Greenlet, current};
use greenloop::{sleep, spawn, with_timeout, yield_now};

use crate::LIMIT;
use crate::support::within;

const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_greenlet_that_sleeps_parks_and_the_hub_goes_on() {
    within(LIMIT, || {
        let log = Rc::new(RefCell::new(Vec::new()));
        let (mine, other) = (log.clone(), log.clone());
        let neighbour = spawn(move || {
            for _ in 0..2 {
                other.borrow_mut().push("neighbour");
                yield_now();
            }
        });
        let greenlet = Greenlet::new(move |value: u32| {
            mine.borrow_mut().push("before");
            sleep(SHORT);
            mine.borrow_mut().push("after");
            value + 1
        });
        assert_eq!(greenlet.switch(1).unwrap(), 2);
        assert_eq!(*log.borrow(), ["before", "neighbour", "neighbour", "after"]);
        neighbour.join().unwrap();
    });
}

#[test]
fn green_threads_have_greenlets_of_their_own() {
    within(LIMIT, || {
        let workers: Vec<_> = (0..10u32)
            .map(|number| {
                spawn(move || {
                    let maker = current();
                    assert!(maker.parent().is_none());
                    let child = Greenlet::new(move |value: u32| {
                        yield_now();
                        let value = maker.switch(value + 1).unwrap();
                        yield_now();
                        value * 2
                    });
                    let value = child.switch(number).unwrap();
                    yield_now();
                    child.switch(value).unwrap()
                })
            })
            .collect();
        let results: Vec<u32> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        assert_eq!(results, (0..10).map(|number| (number + 1) * 2).collect::<Vec<_>>());
    });
}

#[test]
fn a_green_thread_that_waits_in_the_hub_cannot_be_switched_to() {
    within(LIMIT, || {
        let handle = Rc::new(RefCell::new(None));
        let own = handle.clone();
        let sleeper = spawn(move || {
            own.replace(Some(current()));
            let raised = catch_unwind(|| sleep(LONG)).unwrap_err();
            raised.is::<InvalidSwitch>()
        });
        yield_now();
        let target = handle.take().unwrap();
        let meddler = spawn(move || target.switch(7u32).is_ok());
        assert!(sleeper.join().unwrap());
        meddler.kill();
    });
}

#[test]
fn a_time_limit_ends_a_switch_and_leaves_the_other_where_it_is() {
    within(LIMIT, || {
        let parked = Greenlet::new(|value: u32| {
            sleep(SHORT);
            value + 1
        });
        let late = with_timeout(Duration::ZERO, || parked.switch(1));
        assert!(late.is_err());
        assert!(parked.is_active());
    });
}

#[test]
fn a_generator_may_wait() {
    within(LIMIT, || {
        let ticks = Generator::new(|generator, ()| {
            for tick in 0..3u32 {
                sleep(SHORT);
                generator.yield_(tick);
            }
        });
        let counter = spawn(move || ticks.map(|tick| tick * 10).collect::<Vec<_>>());
        assert_eq!(counter.join().unwrap(), [0, 10, 20]);
    });
}

#[test]
fn a_pull_that_timed_out_can_be_made_again() {
    within(LIMIT, || {
        let mut slow = Generator::new(|generator, ()| {
            for tick in 0..3u32 {
                sleep(SHORT);
                generator.yield_(tick);
            }
        });
        // The body still sleeps when the next pull comes.
        assert!(with_timeout(Duration::ZERO, || slow.next()).is_err());
        assert_eq!(slow.next(), Some(0));
        // Its value is there before the next pull comes.
        assert!(with_timeout(Duration::ZERO, || slow.next()).is_err());
        sleep(4 * SHORT);
        assert_eq!(slow.next(), Some(1));
        assert_eq!(slow.next(), Some(2));
        assert_eq!(slow.next(), None);
    });
}

#[test]
fn a_pull_that_timed_out_finds_the_end() {
    within(LIMIT, || {
        let ends = || {
            Generator::<(), u32>::new(|_, ()| {
                sleep(SHORT);
            })
        };
        let mut still_runs = ends();
        assert!(with_timeout(Duration::ZERO, || still_runs.next()).is_err());
        assert_eq!(still_runs.next(), None);
        let mut has_ended = ends();
        assert!(with_timeout(Duration::ZERO, || has_ended.next()).is_err());
        sleep(4 * SHORT);
        assert!(has_ended.is_done());
        assert_eq!(has_ended.next(), None);
    });
}

#[test]
fn a_generator_dropped_after_a_pull_that_timed_out_ends_when_it_yields() {
    within(LIMIT, || {
        let log = Rc::new(RefCell::new(Vec::new()));
        let events = log.clone();
        let mut abandoned = Generator::new(move |generator, ()| {
            sleep(SHORT);
            events.borrow_mut().push("yields");
            let end = catch_unwind(AssertUnwindSafe(|| generator.yield_(1u32))).unwrap_err();
            assert!(end.is::<GreenletExit>());
            events.borrow_mut().push("ends");
        });
        assert!(with_timeout(Duration::ZERO, || abandoned.next()).is_err());
        drop(abandoned);
        sleep(4 * SHORT);
        assert_eq!(*log.borrow(), ["yields", "ends"]);
    });
}
