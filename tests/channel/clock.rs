use std::thread;
use std::time::{Duration, Instant};

use greenloop::channel::{RecvTimeoutError, TryRecvError, after, at, never, tick};
use greenloop::{spawn, with_timeout};

use super::LIMIT;
use super::support::{in_a_world, in_any_order};

const SHORT: Duration = Duration::from_millis(2);
/// The least that a clock tells apart.
const MOMENT: Duration = Duration::from_nanos(1);
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_time_comes_once_and_never_early() {
    in_a_world(LIMIT, |world| {
        let start = world.now();
        let alarm = after(SHORT);
        assert_eq!((alarm.recv(), world.elapsed()), (Ok(start + SHORT), SHORT));
        assert_eq!((alarm.try_recv(), alarm.len()), (Err(TryRecvError::Empty), 0));
        assert_eq!((alarm.recv_timeout(SHORT), world.elapsed()), (Err(RecvTimeoutError::Timeout), 2 * SHORT));
    });
}

#[test]
fn a_time_that_has_come_is_there_without_waiting() {
    in_any_order(LIMIT, || {
        let when = Instant::now() - SHORT;
        let alarm = at(when);
        assert_eq!((alarm.len(), alarm.is_full(), alarm.capacity()), (1, true, Some(1)));
        assert_eq!(alarm.try_recv(), Ok(when));
        let alarm = after(LONG);
        assert_eq!((alarm.len(), alarm.is_empty(), alarm.is_full()), (0, true, false));
        assert_eq!(after(Duration::MAX).try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn one_of_several_gets_it() {
    in_a_world(LIMIT, |world| {
        let alarm = after(SHORT);
        let wait = |_| {
            let alarm = alarm.clone();
            spawn(move || alarm.recv_timeout(5 * SHORT).is_ok())
        };
        let waiting: Vec<_> = (0..5).map(wait).collect();
        let got = waiting.into_iter().map(|task| task.join().unwrap());
        assert_eq!(got.filter(|&got| got).count(), 1);
        assert_eq!(world.elapsed(), 5 * SHORT);
    });
}

#[test]
fn ticks_are_a_period_apart_and_do_not_pile_up() {
    in_a_world(LIMIT, |world| {
        let start = world.now();
        let ticks = tick(SHORT);
        let times: Vec<_> = ticks.iter().take(5).collect();
        assert_eq!(times, [1, 2, 3, 4, 5].map(|number| start + number * SHORT));
        after(5 * SHORT + MOMENT).recv().unwrap();
        assert_eq!(ticks.try_recv(), Ok(start + 6 * SHORT));
        assert_eq!(ticks.try_recv(), Err(TryRecvError::Empty));
        let late = ticks.clone();
        // The next one is a period after the late one was taken.
        assert_eq!(late.recv(), Ok(start + 11 * SHORT + MOMENT));
        assert_eq!(world.elapsed(), 11 * SHORT + MOMENT);
    });
}

#[test]
fn who_waits_for_a_time_can_be_interrupted() {
    in_a_world(LIMIT, |world| {
        let alarm = after(LONG);
        assert!(with_timeout(SHORT, || alarm.recv()).is_err());
        assert_eq!(world.elapsed(), SHORT);
        let waiter = spawn({
            let alarm = alarm.clone();
            move || alarm.recv()
        });
        greenloop::yield_now();
        waiter.kill();
        assert!(waiter.join().unwrap_err().is_killed());
        assert!(never::<u32>().recv_deadline(world.now() + SHORT).unwrap_err().is_timeout());
        assert_eq!(world.elapsed(), 2 * SHORT);
        assert_eq!(never::<u32>().capacity(), Some(0));
    });
}

#[test]
fn a_time_is_told_to_whatever_thread_waits_for_it() {
    in_any_order(LIMIT, || {
        let alarm = after(SHORT);
        let other = thread::spawn(move || alarm.recv().is_ok());
        assert!(other.join().unwrap());
    });
}

#[test]
fn all_that_never_give_a_value_are_the_same_channel() {
    let silent = never::<u32>();
    assert!(silent.same_channel(&never()) && silent.same_channel(&silent.clone()));
    assert!(!silent.same_channel(&greenloop::channel::bounded(0).1));
    assert!(!after(Duration::MAX).same_channel(&never()));
}
