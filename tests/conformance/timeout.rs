//! Time limits: gevent's `test__timeout.py`, `test__api_timeout.py` and `test__sleep0.py`. Numbers: see `README.md`.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::{AlreadyStarted, Elapsed, Timeout, sleep, spawn, with_timeout, yield_now};

use crate::support::within;
use crate::{LIMIT, LONG};

const SHORT: Duration = Duration::from_millis(2);

/// Computes for as long, and lets nobody else run.
fn compute(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}

#[test]
fn case_74_it_raises_itself() {
    within(LIMIT, || {
        let mut timeout = Timeout::new(SHORT);
        let other = Timeout::new(SHORT);
        timeout.start().unwrap();
        let payload = catch_unwind(|| sleep(LONG)).unwrap_err();
        assert!(timeout.owns(&*payload) && !other.owns(&*payload));
        let elapsed = payload.downcast_ref::<Elapsed>().unwrap();
        assert_eq!(elapsed.limit(), SHORT);
        assert_eq!(elapsed.to_string(), "the time limit of 2ms is over");
    });
}

#[test]
fn case_74_it_raises_in_its_starter_alone() {
    within(LIMIT, || {
        let started = spawn(|| with_timeout(SHORT, || sleep(LONG)));
        let bystander = spawn(|| sleep(4 * SHORT));
        sleep(4 * SHORT);
        assert!(started.join().unwrap().is_err());
        assert!(bystander.join().is_ok());
    });
}

/// There is one error type, and a limit is told by its object or by its scope: no error has to be made up in advance. What
/// gevent's `Timeout(seconds, False)` swallows at its own scope is `with_timeout(..).is_err()`.
#[test]
fn case_75_an_error_is_swallowed_at_its_own_scope_alone() {
    within(LIMIT, || {
        let inner_went_on = Cell::new(false);
        let outer = with_timeout(SHORT, || {
            let inner = with_timeout(LONG, || sleep(LONG));
            inner_went_on.set(true);
            inner
        });
        assert_eq!(outer.unwrap_err().limit(), SHORT);
        assert!(!inner_went_on.get());

        let outer = with_timeout(LONG, || with_timeout(SHORT, || sleep(LONG)).is_err());
        assert_eq!(outer, Ok(true));
    });
}

#[test]
fn case_76_cancel_restart_and_double_start() {
    within(LIMIT, || {
        let mut timeout = Timeout::new(SHORT);
        assert!(!timeout.is_started());
        timeout.start().unwrap();
        assert!(timeout.is_started());
        assert_eq!(timeout.start(), Err(AlreadyStarted));
        timeout.cancel();
        assert!(!timeout.is_started());
        sleep(2 * SHORT);
        timeout.cancel();

        timeout.start().unwrap();
        let payload = catch_unwind(|| sleep(LONG)).unwrap_err();
        assert!(timeout.owns(&*payload));
        timeout.cancel();

        // Cancelled after its time, before anybody was told.
        timeout.start().unwrap();
        compute(2 * SHORT);
        timeout.cancel();
        yield_now();
        sleep(SHORT);

        // The end of the scope does it, whichever way that ends.
        drop({
            let mut scoped = Timeout::new(SHORT);
            scoped.start().unwrap();
            scoped
        });
        assert_eq!(with_timeout(SHORT, || 7), Ok(7));
        let raised = catch_unwind(|| with_timeout(SHORT, || resume_unwind(Box::new("an error"))));
        assert!(raised.unwrap_err().is::<&str>());
        sleep(2 * SHORT);
    });
}

#[test]
fn case_77_never_and_at_once() {
    within(LIMIT, || {
        assert_eq!(with_timeout(Duration::MAX, || sleep(SHORT)), Ok(()));
        // As long as somebody is ready the clock is not asked at each yield.
        assert_eq!(with_timeout(Duration::ZERO, || (0..3).for_each(|_| yield_now())), Ok(()));
        assert_eq!(with_timeout(Duration::ZERO, || sleep(LONG)).unwrap_err().limit(), Duration::ZERO);
        let task = spawn(|| with_timeout(Duration::ZERO, || sleep(LONG)).is_err());
        assert!(task.join().unwrap());
    });
}

#[test]
fn case_78_computing_is_not_interrupted() {
    within(LIMIT, || {
        let computed = Cell::new(false);
        let late = with_timeout(SHORT, || {
            compute(2 * SHORT);
            computed.set(true);
            sleep(LONG);
        });
        assert!(late.is_err() && computed.get());
        assert_eq!(with_timeout(SHORT, || compute(2 * SHORT)), Ok(()), "it did not wait at all");
    });
}

/// Who only yields is told too, though not at the very first yield.
#[test]
fn case_78_it_ends_a_loop_of_yields() {
    within(LIMIT, || {
        let spin = || loop {
            yield_now();
        };
        let late: Result<(), Elapsed> = with_timeout(SHORT, spin);
        assert!(late.is_err(), "on main");
        let task = spawn(move || with_timeout(SHORT, spin).is_err());
        assert!(task.join().unwrap(), "in a green thread");
    });
}

#[test]
fn case_79_with_timeout_tells_its_own_from_others() {
    within(LIMIT, || {
        assert_eq!(with_timeout(LONG, || 7).unwrap_or(0), 7);
        assert_eq!(with_timeout(SHORT, || sleep(LONG)).map_or(3, |()| 7), 3);
        // One that was started inside, and is not caught there, goes on outwards.
        let payload = catch_unwind(|| {
            with_timeout(LONG, || {
                let mut inner = Timeout::new(SHORT);
                inner.start().unwrap();
                sleep(LONG);
            })
        });
        assert_eq!(payload.unwrap_err().downcast::<Elapsed>().unwrap().limit(), SHORT);
        // Both are over: the outer one came first, and the inner result is not asked for.
        let outer = with_timeout(SHORT, || {
            with_timeout(2 * SHORT, || {
                compute(4 * SHORT);
                sleep(LONG);
            })
        });
        assert_eq!(outer.unwrap_err().limit(), SHORT);
        sleep(4 * SHORT);
    });
}

#[test]
fn case_80_a_leaked_limit_of_a_dead_green_thread() {
    within(LIMIT, || {
        let leaks = spawn(|| {
            let mut timeout = Timeout::new(SHORT);
            timeout.start().unwrap();
            std::mem::forget(timeout);
        });
        leaks.join().unwrap();
        // The next one runs on the same stack.
        assert!(spawn(|| sleep(3 * SHORT)).join().is_ok());
    });
}

#[test]
fn case_81_uncaught_it_is_a_failure() {
    within(LIMIT, || {
        let fails = spawn(|| {
            let mut timeout = Timeout::new(SHORT);
            timeout.start().unwrap();
            sleep(LONG);
        });
        let error = fails.join().unwrap_err();
        assert!(error.is_panic());
        assert!(format!("{error}").ends_with("the time limit of 2ms is over"));
        assert_eq!(error.into_payload().downcast::<Elapsed>().unwrap().limit(), SHORT);
    });
}

/// The hub's clock is read when a timer is armed, not taken from the last pass.
#[test]
fn case_82_time_that_was_computed_away_does_not_count() {
    within(LIMIT, || {
        let after_computing = |wait: &dyn Fn()| {
            yield_now();
            compute(Duration::from_millis(20));
            let start = Instant::now();
            wait();
            start.elapsed()
        };
        let limit = Duration::from_millis(10);
        assert!(after_computing(&|| sleep(limit)) >= limit);
        assert!(after_computing(&|| assert!(with_timeout(limit, || sleep(LONG)).is_err())) >= limit);
        let ended = Rc::new(Cell::new(false));
        let seen = ended.clone();
        let task = spawn(move || {
            sleep(limit);
            seen.set(true);
        });
        assert!(after_computing(&|| assert!(catch_unwind(AssertUnwindSafe(|| task.wait())).is_ok())) < LONG);
        assert!(ended.get());
    });
}
