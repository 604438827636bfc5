use std::cell::{Cell, RefCell};
use std::panic::{catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenloop::event::Event;
use greenloop::greenlet::Greenlet;
use greenloop::hub::Hub;
use greenloop::{Elapsed, Timeout, joinall, sleep, spawn, with_timeout, yield_now};

use crate::support::{Random, in_a_world, within};
use crate::{LIMIT, LONG, Log, SHORT, compute};

#[test]
fn the_value_or_the_limit_but_never_both_and_never_neither() {
    in_a_world(LIMIT, |world| {
        let mut random = Random::new(1);
        let mut longest = Duration::ZERO;
        let tasks: Vec<_> = (0..1000)
            .map(|_| {
                let limit = Duration::from_micros(500 + random.below(1000) as u64);
                // Never the same as the limit.
                let work = Duration::from_nanos(500 + 1_000 * (500 + random.below(1000) as u64));
                longest = longest.max(work.min(limit));
                spawn(move || {
                    let done = Cell::new(false);
                    let outcome = with_timeout(limit, || {
                        sleep(work);
                        done.set(true);
                        7
                    });
                    assert_eq!(outcome.is_ok(), work < limit, "{work:?} of {limit:?}");
                    match outcome {
                        Ok(value) => assert!(value == 7 && done.get()),
                        Err(elapsed) => assert!(elapsed.limit() == limit && !done.get()),
                    }
                    // Nothing of it comes later.
                    yield_now();
                    sleep(SHORT);
                })
            })
            .collect();
        assert!(joinall(&tasks).len() == 1000 && tasks.into_iter().all(|task| task.join().is_ok()));
        assert_eq!(world.elapsed(), longest + SHORT);
    });
}

#[test]
fn a_limit_that_comes_with_the_wake_is_told_or_forgotten() {
    within(LIMIT, || {
        let event = Arc::new(Event::new());
        let waits = event.clone();
        let task = spawn(move || {
            let outcome = with_timeout(SHORT, || waits.wait());
            // If the wait was over first, the limit is gone with its scope.
            yield_now();
            sleep(SHORT);
            outcome.is_ok()
        });
        yield_now();
        compute(2 * SHORT);
        // Both are due: the event is set before the hub has looked at its timers.
        event.set();
        assert!(task.join().unwrap(), "what came first counts");
    });
}

#[test]
fn nested_limits_keep_their_identity() {
    in_a_world(LIMIT, |world| {
        for (outer, inner, expected) in [(1, 10_000, "outer"), (10_000, 1, "inner"), (1, 1, "outer")] {
            let (outer, inner) = (outer * SHORT, inner * SHORT);
            let mut ended_by = "nobody";
            let outcome = with_timeout(outer, || {
                let outcome = with_timeout(inner, || sleep(LONG));
                ended_by = "inner";
                outcome
            });
            if outcome.is_err() {
                ended_by = "outer";
            }
            assert_eq!(ended_by, expected, "{outer:?} around {inner:?}");
        }
        // Deep: the one in the middle ends exactly what is inside of it.
        fn nest(depth: u32, middle: u32, log: &Log<u32>) {
            if depth == 0 {
                return sleep(LONG);
            }
            let limit = if depth == middle { SHORT } else { LONG };
            let outcome = with_timeout(limit, || nest(depth - 1, middle, log));
            log.push(depth);
            assert_eq!(outcome.is_err(), depth == middle);
        }
        let log = Log::new();
        nest(20, 10, &log);
        assert_eq!(log.take(), (10..=20).collect::<Vec<_>>());
        assert_eq!(world.elapsed(), 4 * SHORT);
    });
}

#[test]
fn limits_with_the_same_time_are_told_apart() {
    within(LIMIT, || {
        let mut limits: Vec<_> = (0..5).map(|_| Timeout::new(SHORT)).collect();
        limits.iter_mut().for_each(|limit| limit.start().unwrap());
        compute(2 * SHORT);
        // Each is raised once, in the order of their times.
        for number in 0..5 {
            let payload = catch_unwind(|| sleep(LONG)).unwrap_err();
            let owners: Vec<_> = (0..5).filter(|owner| limits[*owner].owns(&*payload)).collect();
            assert_eq!(owners, [number]);
        }
        sleep(SHORT);
    });
}

#[test]
fn destructors_run_and_may_set_limits_of_their_own() {
    struct Cleanup(Rc<Cell<bool>>);
    impl Drop for Cleanup {
        fn drop(&mut self) {
            assert_eq!(with_timeout(LONG, || 7), Ok(7));
            self.0.set(true);
        }
    }
    within(LIMIT, || {
        let cleaned = Rc::new(Cell::new(false));
        let guard = Cleanup(cleaned.clone());
        let late = with_timeout(SHORT, move || {
            let _guard = guard;
            sleep(LONG);
        });
        assert!(late.is_err() && cleaned.get());
    });
}

#[test]
fn who_swallows_it_goes_on_and_is_not_told_again() {
    in_a_world(LIMIT, |world| {
        let outcome = with_timeout(SHORT, || {
            let payload = catch_unwind(|| sleep(LONG)).unwrap_err();
            assert!(payload.is::<Elapsed>());
            sleep(3 * SHORT);
            "went on"
        });
        assert_eq!((outcome, world.elapsed()), (Ok("went on"), 4 * SHORT));
        // What it caught it may pass on: even then the limit is recognised.
        let outcome = with_timeout(SHORT, || {
            let payload = catch_unwind(|| sleep(LONG)).unwrap_err();
            sleep(SHORT);
            resume_unwind(payload)
        });
        let outcome: Result<(), _> = outcome;
        assert!(outcome.is_err());
        assert_eq!(world.elapsed(), 6 * SHORT);
    });
}

#[test]
fn a_started_one_may_be_cancelled_by_another_green_thread() {
    in_a_world(LIMIT, |world| {
        let mut timeout = Timeout::new(SHORT);
        timeout.start().unwrap();
        let canceller = spawn(move || timeout.cancel());
        sleep(3 * SHORT);
        canceller.join().unwrap();
        assert_eq!(world.elapsed(), 3 * SHORT);
    });
}

/// Main is on its way to be told, wherever it waits.
#[test]
fn a_started_one_may_be_cancelled_even_when_its_time_is_over() {
    within(LIMIT, || {
        let waits: [&dyn Fn(); 3] = [&|| sleep(20 * SHORT), &|| spawn(|| sleep(20 * SHORT)).wait(), &|| {
            let greenlet = Greenlet::new(|()| sleep(20 * SHORT));
            greenlet.switch(()).unwrap();
        }];
        for wait in waits {
            let timeout = Rc::new(RefCell::new(Timeout::new(SHORT)));
            let cancelled = timeout.clone();
            let canceller = spawn(move || {
                sleep(SHORT);
                cancelled.borrow_mut().cancel();
            });
            yield_now();
            timeout.borrow_mut().start().unwrap();
            compute(2 * SHORT);
            // Both times are over when the hub looks, and the canceller's comes first.
            wait();
            canceller.join().unwrap();
        }
    });
}

#[test]
fn a_leaked_one_does_not_reach_the_next_green_thread() {
    within(LIMIT, || {
        for _ in 0..20 {
            let leaks = spawn(|| {
                let mut timeout = Timeout::new(Duration::from_micros(50));
                timeout.start().unwrap();
                std::mem::forget(timeout);
            });
            leaks.wait();
            assert!(spawn(|| sleep(Duration::from_micros(200))).join().is_ok());
        }
    });
}

#[test]
fn limits_cost_no_time_and_leave_no_timer() {
    within(LIMIT, || {
        let start = Instant::now();
        for _ in 0..100_000 {
            assert_eq!(with_timeout(LONG, || 7), Ok(7));
        }
        assert!(start.elapsed() < Duration::from_secs(20));
        // A timer left behind would keep the hub from seeing that nothing is to be waited for.
        assert!(Hub::current().join_timeout(LONG));
    });
}
