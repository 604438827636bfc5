use std::time::{Duration, Instant};

use greenloop::{Interval, sleep, spawn, with_timeout};

use crate::support::within;
use crate::{LIMIT, SHORT, compute};

/// Long enough that some work is done within it.
const PERIOD: Duration = Duration::from_millis(20);

#[test]
fn times_are_one_period_apart_whatever_is_done_between_them() {
    within(LIMIT, || {
        let start = Instant::now();
        let mut interval = Interval::new(PERIOD);
        let first = interval.tick();
        assert!(first >= start + PERIOD && Instant::now() >= first);
        sleep(SHORT);
        let second = interval.tick();
        // None was left out unless the machine stood still.
        assert_eq!((second - first).as_nanos() % PERIOD.as_nanos(), 0);
        assert!(Instant::now() >= second);
    });
}

#[test]
fn who_is_late_gets_the_last_one_at_once() {
    within(LIMIT, || {
        let mut interval = Interval::new(SHORT);
        let next = Instant::now() + SHORT;
        compute(5 * SHORT);
        let before = Instant::now();
        let due = interval.tick();
        assert!(due + SHORT > before && due <= Instant::now());
        assert!(due > next);
        assert!(interval.tick() > due);
    });
}

#[test]
fn the_others_run_even_if_every_time_has_passed() {
    within(LIMIT, || {
        let other = spawn(|| ());
        let mut interval = Interval::new(Duration::from_nanos(1));
        while !other.is_finished() {
            interval.tick();
        }
    });
}

#[test]
fn a_time_whose_wait_was_ended_is_waited_for_again() {
    within(LIMIT, || {
        let start = Instant::now();
        let mut interval = Interval::new(PERIOD);
        while with_timeout(SHORT, || interval.tick()).is_err() {}
        assert!(start.elapsed() >= PERIOD);
    });
}

#[test]
#[should_panic(expected = "must not be zero")]
fn there_is_no_period_of_nothing() {
    Interval::new(Duration::ZERO);
}
