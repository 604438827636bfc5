use std::time::{Duration, Instant};

use greenloop::channel::bounded;
use greenloop::error::RecvTimeoutError;
use greenloop::hub::{Config, configure};
use greenloop::{Interval, joinall, sleep, sleep_with_slack, spawn, spawn_later, with_timeout, yield_now};

use crate::support::{Log, in_a_world, within};
use crate::{LIMIT, LONG, SHORT, compute};

/// How often what a machine that stands still can spoil may be tried.
const ROUNDS: usize = 50;

/// What a green thread notes that is never late.
const ON_TIME: &str = "on time";

#[test]
fn at_one_look_who_may_be_late_comes_after_who_may_not() {
    within(LIMIT, || {
        let log = Log::new();
        let sleeps = [
            (1, 3_600_000, "an hour"),
            (2, 1_000, "a second"),
            (3, 0, ON_TIME),
            (4, 900, "less than a second"),
        ];
        let sleepers = sleeps.map(|(deadline, slack, name)| {
            let log = log.clone();
            spawn(move || {
                sleep_with_slack(Duration::from_millis(deadline), Duration::from_millis(slack));
                log.push(name);
            })
        });
        yield_now();
        compute(Duration::from_millis(5));
        joinall(&sleepers);
        assert_eq!(log.take(), [ON_TIME, "less than a second", "a second", "an hour"]);
    });
}

#[test]
fn with_the_same_slack_the_order_is_that_of_the_deadlines() {
    within(LIMIT, || {
        let log = Log::new();
        let sleepers = [230, 30, 430, 31].map(|milliseconds| {
            let log = log.clone();
            spawn(move || {
                sleep_with_slack(Duration::from_millis(milliseconds), SHORT);
                log.push(milliseconds);
            })
        });
        yield_now();
        compute(Duration::from_millis(450));
        joinall(&sleepers);
        assert_eq!(log.take(), [30, 31, 230, 430]);
    });
}

#[test]
fn the_hub_sleeps_on_through_the_deadline_of_one_that_may_be_late() {
    let round = || {
        let log = Log::new();
        let late = spawn({
            let log = log.clone();
            move || {
                sleep_with_slack(SHORT, LONG);
                log.push("late");
            }
        });
        sleep(5 * SHORT);
        log.push(ON_TIME);
        late.join().unwrap();
        log.take() == [ON_TIME, "late"]
    };
    // Where the machine stands still until the deadline, the hub finds it passed before it sleeps.
    within(LIMIT, move || assert!((0..ROUNDS).any(|_| round())));
}

#[test]
fn the_hub_wakes_when_the_slack_is_over() {
    // A slack is counted in units of 1,024 nanoseconds.
    let slack = Duration::from_nanos(1 << 20);
    in_a_world(LIMIT, move |world| {
        sleep_with_slack(SHORT, slack);
        assert_eq!(world.elapsed(), SHORT + slack);
    });
}

#[test]
fn no_sleep_ends_before_its_deadline() {
    within(LIMIT, || {
        let sleeps = (0..1_000).map(|number| {
            let (duration, slack) = (10 * (number * 7 % 1_000), 100 * (number % 11));
            spawn(move || {
                let start = Instant::now();
                let duration = Duration::from_micros(duration);
                sleep_with_slack(duration, Duration::from_micros(slack));
                assert!(start.elapsed() >= duration);
            })
        });
        sleeps.collect::<Vec<_>>().into_iter().for_each(|sleeper| sleeper.join().unwrap());
    });
}

#[test]
fn the_hubs_slack_is_that_of_all_its_timers_and_a_sleep_may_have_none() {
    within(LIMIT, || {
        configure(Config::new().timer_slack(LONG)).unwrap();
        let log = Log::new();
        let note = |name| {
            let log = log.clone();
            move || log.push(name)
        };
        let (_sender, receiver) = bounded::<()>(1);
        let (sleeps, receives, limits, ticks) = (note("sleep"), note("receive"), note("limit"), note("tick"));
        let timed = [
            spawn(move || {
                sleep(SHORT);
                sleeps();
            }),
            spawn(move || {
                assert_eq!(receiver.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
                receives();
            }),
            spawn(move || {
                with_timeout(SHORT, || sleep(2 * LONG)).unwrap_err();
                limits();
            }),
            spawn(move || {
                Interval::new(SHORT).tick();
                ticks();
            }),
            spawn_later(SHORT, note("delayed")),
        ];
        let on_time = note(ON_TIME);
        let exact = spawn(move || {
            sleep_with_slack(5 * SHORT, Duration::ZERO);
            on_time();
        });
        yield_now();
        compute(6 * SHORT);
        joinall(&timed);
        exact.join().unwrap();
        let mut noted = log.take();
        // Who begins goes before all who are woken.
        assert_eq!(noted[..2], ["delayed", ON_TIME]);
        noted[2..].sort_unstable();
        assert_eq!(noted[2..], ["limit", "receive", "sleep", "tick"]);
    });
}

#[test]
fn a_kill_and_a_limit_end_it() {
    within(LIMIT, || {
        let killed = spawn(|| sleep_with_slack(LONG, LONG));
        yield_now();
        killed.kill();
        assert!(killed.join().unwrap_err().is_killed());
        with_timeout(SHORT, || sleep_with_slack(LONG, LONG)).unwrap_err();
    });
}

#[test]
fn of_no_duration_it_yields() {
    within(LIMIT, || {
        let other = spawn(|| ());
        sleep_with_slack(Duration::ZERO, LONG);
        assert!(other.is_finished());
    });
}
