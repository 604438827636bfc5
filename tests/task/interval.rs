use std::time::Duration;

use greenloop::{Interval, sleep, spawn, testing, with_timeout};

use crate::support::within;
use crate::{LIMIT, SHORT};

/// Long enough that some work is done within it.
const PERIOD: Duration = Duration::from_millis(20);

#[test]
fn times_are_one_period_apart_whatever_is_done_between_them() {
    testing::run(|world| {
        let start = world.now();
        let mut interval = Interval::new(PERIOD);
        assert_eq!(interval.tick(), start + PERIOD);
        sleep(SHORT);
        assert_eq!(interval.tick(), start + 2 * PERIOD);
        sleep(PERIOD - Duration::from_nanos(1));
        assert_eq!((interval.tick(), world.elapsed()), (start + 3 * PERIOD, 3 * PERIOD));
    });
}

#[test]
fn who_is_late_gets_the_last_one_at_once() {
    testing::run(|world| {
        let start = world.now();
        let mut interval = Interval::new(PERIOD);
        sleep(5 * PERIOD + SHORT);
        assert_eq!((interval.tick(), world.elapsed()), (start + 5 * PERIOD, 5 * PERIOD + SHORT));
        assert_eq!((interval.tick(), world.elapsed()), (start + 6 * PERIOD, 6 * PERIOD));
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
    testing::run(|world| {
        let mut interval = Interval::new(PERIOD);
        while with_timeout(SHORT, || interval.tick()).is_err() {}
        assert_eq!(world.elapsed(), PERIOD);
    });
}

#[test]
#[should_panic(expected = "must not be zero")]
fn there_is_no_period_of_nothing() {
    Interval::new(Duration::ZERO);
}
