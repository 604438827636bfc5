use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use greenloop::event::Event;
use greenloop::sync::{Condvar, Mutex};
use greenloop::{JoinHandle, idle, with_timeout};

use super::support::{
    LeftOut, block_past, in_a_world, in_any_order, once, ready_at_once, spawn_parked, two_deadlines,
};
use super::{LIMIT, Log};

type Pair = Arc<(Mutex<()>, Condvar)>;

/// A green thread that waits for a notification, and tells `log` its name when it has had one.
fn waiter(pair: &Pair, log: &Log, name: &'static str) -> JoinHandle<()> {
    let (pair, log) = (pair.clone(), log.clone());
    spawn_parked(move || {
        let guard = pair.1.wait(pair.0.lock().unwrap());
        log.add(name);
        drop(guard);
    })
}

/// Conformance 114: a notification wakes those who wait, in order, and is not kept for later ones.
#[test]
fn notifications_wake_in_order_of_arrival() {
    in_any_order(LIMIT, || {
        let (pair, log) = (Pair::default(), Log::default());
        pair.1.notify_all();
        pair.1.notify_one();
        let tasks = ["a", "b", "c", "d"].map(|name| waiter(&pair, &log, name));
        idle();
        assert_eq!(log.take(), [""; 0], "earlier notifications are gone");
        pair.1.notify_one();
        pair.1.notify_one();
        idle();
        assert_eq!(ready_at_once(log.take()), ["a", "b"]);
        pair.1.notify_all();
        idle();
        assert_eq!(ready_at_once(log.take()), ["c", "d"]);
        tasks.into_iter().for_each(|task| task.join().unwrap());
    });
}

#[test]
fn notify_all_wakes_a_thousand() {
    in_any_order(LIMIT, || {
        let (pair, log) = (Pair::default(), Log::default());
        let tasks: Vec<_> = (0..1000).map(|_| waiter(&pair, &log, "woken")).collect();
        pair.1.notify_all();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!(log.take().len(), 1000);
    });
}

#[test]
fn a_wait_unlocks_the_mutex_and_locks_it_again() {
    in_any_order(LIMIT, || {
        let (pair, log) = (Pair::default(), Log::default());
        let task = waiter(&pair, &log, "notified");
        let guard = pair.0.try_lock().expect("unlocked while it waits");
        pair.1.notify_one();
        idle();
        assert_eq!(log.take(), [""; 0], "notified, but the mutex is held");
        drop(guard);
        task.join().unwrap();
        assert_eq!(log.take(), ["notified"]);
    });
}

#[test]
fn a_wait_ends_at_its_time() {
    in_a_world(LIMIT, |world| {
        let (mutex, condvar) = (Mutex::new(0), Condvar::new());
        let start = world.now();
        let (guard, result) = condvar.wait_timeout(mutex.lock().unwrap(), Duration::from_millis(10)).unwrap();
        assert!(result.timed_out());
        assert_eq!(world.elapsed(), Duration::from_millis(10));
        assert!(mutex.try_lock().is_err(), "locked again");
        let (guard, result) = condvar.wait_deadline(guard, start).unwrap();
        assert!(result.timed_out());
        let mut asked = 0;
        let (guard, result) = condvar
            .wait_timeout_while(guard, Duration::from_millis(5), |_| {
                asked += 1;
                true
            })
            .unwrap();
        assert!(result.timed_out());
        assert_eq!(world.elapsed(), Duration::from_millis(15));
        assert_eq!(asked, 2, "before the wait and after it");
        let (_guard, result) = condvar.wait_timeout_while(guard, Duration::ZERO, |_| false).unwrap();
        assert!(!result.timed_out());
    });
}

#[test]
fn one_killed_in_line_gets_no_notification() {
    in_any_order(LIMIT, || {
        let (pair, log) = (Pair::default(), Log::default());
        let [a, b] = ["a", "b"].map(|name| waiter(&pair, &log, name));
        a.kill();
        pair.1.notify_one();
        b.join().unwrap();
        assert_eq!(log.take(), ["b"]);
    });
}

#[test]
fn one_killed_between_notification_and_run_passes_it_on() {
    in_any_order(LIMIT, || {
        let (pair, log) = (Pair::default(), Log::default());
        let [a, b] = ["a", "b"].map(|name| waiter(&pair, &log, name));
        pair.1.notify_one();
        assert!(!a.try_kill(), "notified, and has not run");
        b.join().unwrap();
        assert!(a.join().unwrap_err().is_killed());
        assert_eq!(log.take(), ["b"]);
    });
}

#[test]
fn one_killed_while_it_locks_again_passes_the_notification_on() {
    in_any_order(LIMIT, || {
        let (pair, log) = (Pair::default(), Log::default());
        let [a, b] = ["a", "b"].map(|name| waiter(&pair, &log, name));
        let guard = pair.0.lock().unwrap();
        pair.1.notify_one();
        idle();
        a.kill();
        drop(guard);
        b.join().unwrap();
        assert_eq!(log.take(), ["b"]);
    });
}

/// The guard was given to the wait, so nobody holds one: the end does not wait for the mutex, and poisons nothing.
#[test]
fn a_kill_ends_a_wait_without_the_mutex() {
    in_any_order(LIMIT, || {
        let (pair, log) = (Pair::default(), Log::default());
        let task = waiter(&pair, &log, "notified");
        let guard = pair.0.lock().unwrap();
        task.kill();
        assert!(task.is_finished(), "though the mutex is held");
        drop(guard);
        assert!(pair.0.lock().is_ok(), "not poisoned");
    });
}

#[test]
fn a_deadline_between_notification_and_run_is_no_timeout() {
    once(LeftOut::BlockedThread, LIMIT, || {
        let (first, second) = two_deadlines();
        let pair = Pair::default();
        let _notifier = spawn_parked({
            let pair = pair.clone();
            move || {
                Event::new().wait_deadline(first);
                pair.1.notify_one();
            }
        });
        let waiter = spawn_parked({
            let pair = pair.clone();
            move || pair.1.wait_deadline(pair.0.lock().unwrap(), second).unwrap().1.timed_out()
        });
        block_past(second);
        assert!(!waiter.join().unwrap(), "the notification was for it");
    });
}

#[test]
fn a_time_limit_between_notification_and_run_passes_it_on() {
    once(LeftOut::BlockedThread, LIMIT, || {
        let (first, second) = two_deadlines();
        let (pair, log) = (Pair::default(), Log::default());
        let _notifier = spawn_parked({
            let pair = pair.clone();
            move || {
                Event::new().wait_deadline(first);
                pair.1.notify_one();
            }
        });
        let limited = spawn_parked({
            let pair = pair.clone();
            let limit = second.duration_since(Instant::now());
            move || with_timeout(limit, || drop(pair.1.wait(pair.0.lock().unwrap()))).is_err()
        });
        let next = waiter(&pair, &log, "next");
        block_past(second);
        assert!(limited.join().unwrap());
        next.join().unwrap();
        assert_eq!(log.take(), ["next"]);
    });
}

#[test]
fn a_poisoned_mutex_is_told_after_the_wait() {
    in_any_order(LIMIT, || {
        let pair = Pair::default();
        let waiter = spawn_parked({
            let pair = pair.clone();
            move || {
                let guard = pair.0.lock().unwrap();
                pair.1.wait(guard).map(drop).is_err()
            }
        });
        let poisoner = greenloop::spawn({
            let pair = pair.clone();
            move || {
                let _guard = pair.0.lock().unwrap();
                std::panic::resume_unwind(Box::new("poison"));
            }
        });
        assert!(poisoner.join().is_err());
        pair.1.notify_one();
        assert!(waiter.join().unwrap());
    });
}

/// A hub and a plain thread hand a number back and forth; each waits on both sides of every step.
#[test]
fn it_works_between_threads() {
    in_any_order(LIMIT, || {
        let turn = Arc::new((Mutex::new(0), Condvar::new()));
        let play = |turn: &(Mutex<u32>, Condvar), parity: u32| {
            for _ in 0..500 {
                let mine = turn.1.wait_while(turn.0.lock().unwrap(), |number| *number % 2 != parity);
                *mine.unwrap() += 1;
                turn.1.notify_all();
            }
        };
        let other = thread::spawn({
            let turn = turn.clone();
            move || play(&turn, 1)
        });
        let green = greenloop::spawn({
            let turn = turn.clone();
            move || play(&turn, 0)
        });
        green.join().unwrap();
        other.join().unwrap();
        assert_eq!(*turn.0.lock().unwrap(), 1000);
    });
}
