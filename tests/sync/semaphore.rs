use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use greenloop::event::Event;
use greenloop::sync::{Semaphore, TimedOut};
use greenloop::{JoinHandle, Waitable, idle, killall, spawn, wait, wait_any, wait_timeout, with_timeout};

use super::support::{
    LeftOut, block_past, in_a_world, in_any_order, once, ready_at_once, spawn_parked, two_deadlines,
};
use super::{LIMIT, Log};

/// A green thread that waits for a permit, tells `log` its name when it has one, and keeps it.
fn taker(semaphore: &Arc<Semaphore>, log: &Log, name: &'static str) -> JoinHandle<()> {
    let (semaphore, log) = (semaphore.clone(), log.clone());
    spawn_parked(move || {
        semaphore.acquire().forget();
        log.add(name);
    })
}

fn empty() -> (Arc<Semaphore>, Log) {
    (Arc::new(Semaphore::new(0)), Log::default())
}

/// Conformance 106. A negative count cannot be written down.
#[test]
fn without_a_permit_it_waits_or_says_so() {
    in_a_world(LIMIT, |world| {
        let semaphore = Semaphore::new(0);
        assert!(semaphore.try_acquire().is_none());
        let start = world.now();
        assert_eq!(semaphore.acquire_timeout(Duration::from_millis(5)).unwrap_err(), TimedOut);
        assert_eq!(world.elapsed(), Duration::from_millis(5));
        assert!(semaphore.acquire_deadline(start).is_err());
        assert!(!semaphore.wait_timeout(Duration::from_millis(1)));
        assert_eq!(world.elapsed(), Duration::from_millis(6));
        semaphore.release(1);
        semaphore.wait();
        assert!(semaphore.wait_timeout(LIMIT) && semaphore.wait_deadline(world.now()));
        assert_eq!(semaphore.available_permits(), 1, "a wait takes none");
        assert!(semaphore.acquire_timeout(LIMIT).is_ok());
    });
}

#[test]
fn with_a_permit_it_does_not_yield() {
    in_any_order(LIMIT, || {
        let (semaphore, log) = empty();
        let _other = spawn({
            let log = log.clone();
            move || log.add("other")
        });
        semaphore.release(2);
        let _one = semaphore.acquire();
        let _two = semaphore.acquire_timeout(LIMIT).unwrap();
        assert_eq!(log.take(), [""; 0]);
    });
}

/// Conformance 107.
#[test]
fn permits_go_out_in_order_of_arrival_one_to_each() {
    in_any_order(LIMIT, || {
        let (semaphore, log) = empty();
        let tasks = ["a", "b", "c", "d"].map(|name| taker(&semaphore, &log, name));
        semaphore.release(1);
        idle();
        assert_eq!(log.take(), ["a"]);
        semaphore.release(2);
        idle();
        assert_eq!(ready_at_once(log.take()), ["b", "c"]);
        semaphore.release(2);
        idle();
        assert_eq!(log.take(), ["d"]);
        assert_eq!(semaphore.available_permits(), 1);
        assert!(tasks.iter().all(JoinHandle::is_finished));
    });
}

#[test]
fn a_thousand_are_served_by_one_release() {
    in_any_order(LIMIT, || {
        let (semaphore, log) = empty();
        let tasks: Vec<_> = (0..1000).map(|_| taker(&semaphore, &log, "served")).collect();
        semaphore.release(1000);
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!((log.take().len(), semaphore.available_permits()), (1000, 0));
    });
}

/// Conformance 108.
#[test]
fn who_releases_may_take_it_again_and_the_called_one_keeps_its_place() {
    in_any_order(LIMIT, || {
        let (semaphore, log) = empty();
        let tasks = ["a", "b"].map(|name| taker(&semaphore, &log, name));
        semaphore.release(1);
        semaphore.try_acquire().expect("nobody has run yet").forget();
        idle();
        assert_eq!(log.take(), [""; 0]);
        semaphore.release(1);
        assert!(semaphore.try_acquire().is_none(), "once is enough");
        idle();
        assert_eq!(log.take(), ["a"], "still the first");
        semaphore.release(1);
        semaphore.try_acquire().unwrap().forget();
        semaphore.release(1);
        idle();
        assert_eq!(log.take(), ["b"], "called once, served by the second");
        assert!(tasks.iter().all(JoinHandle::is_finished));
    });
}

/// Conformance 109.
#[test]
fn one_killed_before_the_release_leaves_its_permit_to_the_next() {
    in_any_order(LIMIT, || {
        let (semaphore, log) = empty();
        let [a, b] = ["a", "b"].map(|name| taker(&semaphore, &log, name));
        a.kill();
        semaphore.release(1);
        b.join().unwrap();
        assert_eq!(log.take(), ["b"]);
    });
}

/// Conformance 109.
#[test]
fn one_killed_between_release_and_run_leaves_its_permit_to_the_next() {
    in_any_order(LIMIT, || {
        let (semaphore, log) = empty();
        let [a, b] = ["a", "b"].map(|name| taker(&semaphore, &log, name));
        semaphore.release(1);
        assert!(!a.try_kill());
        b.join().unwrap();
        assert!(a.join().unwrap_err().is_killed());
        assert_eq!((log.take(), semaphore.available_permits()), (vec!["b".to_owned()], 0));
        let tasks = ["c", "d"].map(|name| taker(&semaphore, &log, name));
        semaphore.release(2);
        killall(&tasks);
        assert_eq!((log.take().len(), semaphore.available_permits()), (0, 2), "nobody is left to take them");
    });
}

/// Conformance 109.
#[test]
fn a_deadline_between_release_and_run_takes_the_permit() {
    once(LeftOut::BlockedThread, LIMIT, || {
        let (first, second) = two_deadlines();
        let (semaphore, _) = empty();
        let _releaser = spawn_parked({
            let semaphore = semaphore.clone();
            move || {
                Event::new().wait_deadline(first);
                semaphore.release(1);
            }
        });
        let taker = spawn_parked({
            let semaphore = semaphore.clone();
            move || semaphore.acquire_deadline(second).is_ok()
        });
        block_past(second);
        assert!(taker.join().unwrap());
        assert_eq!(semaphore.available_permits(), 1);
    });
}

/// Conformance 109.
#[test]
fn a_time_limit_between_release_and_run_leaves_the_permit_to_the_next() {
    once(LeftOut::BlockedThread, LIMIT, || {
        let (first, second) = two_deadlines();
        let (semaphore, log) = empty();
        let _releaser = spawn_parked({
            let semaphore = semaphore.clone();
            move || {
                Event::new().wait_deadline(first);
                semaphore.release(1);
            }
        });
        let limited = spawn_parked({
            let semaphore = semaphore.clone();
            let limit = second.duration_since(Instant::now());
            move || with_timeout(limit, || drop(semaphore.acquire())).is_err()
        });
        let next = taker(&semaphore, &log, "next");
        block_past(second);
        assert!(limited.join().unwrap());
        next.join().unwrap();
        assert_eq!(semaphore.available_permits(), 0);
    });
}

#[test]
fn a_wait_in_line_passes_the_permit_on() {
    in_any_order(LIMIT, || {
        let (semaphore, log) = empty();
        let looker = spawn_parked({
            let (semaphore, log) = (semaphore.clone(), log.clone());
            move || {
                semaphore.wait();
                log.add("looker");
            }
        });
        let taker = taker(&semaphore, &log, "taker");
        semaphore.release(1);
        looker.join().unwrap();
        taker.join().unwrap();
        assert_eq!(log.take(), ["looker", "taker"]);
        assert_eq!(semaphore.available_permits(), 0);
    });
}

/// Conformance 110: a plain semaphore grows.
#[test]
fn releases_beyond_the_first_number_add_permits() {
    let semaphore = Semaphore::new(1);
    semaphore.release(2);
    assert_eq!(semaphore.available_permits(), 3);
    semaphore.release(0);
    assert_eq!(semaphore.available_permits(), 3);
}

#[test]
#[should_panic(expected = "more permits than there may be")]
fn the_count_does_not_wrap() {
    Semaphore::new(1).release(usize::MAX);
}

#[test]
fn a_permit_comes_back_when_it_is_dropped() {
    let semaphore = Semaphore::new(2);
    let permit = semaphore.acquire();
    semaphore.acquire().forget();
    assert_eq!(semaphore.available_permits(), 0);
    assert_eq!(format!("{semaphore:?}"), "Semaphore { permits: 0, waiting: 0 }");
    drop(permit);
    assert_eq!(semaphore.available_permits(), 1);
}

/// Conformance 69: several kinds of objects in one wait, which takes no permit and can be repeated.
#[test]
fn it_can_be_waited_for_beside_other_things() {
    in_any_order(LIMIT, || {
        let (semaphore, log) = empty();
        let event = Event::new();
        let both: [&dyn Waitable; 2] = [&*semaphore, &event];
        assert!(wait_timeout(both, Duration::from_millis(1)).is_empty());
        let taker = taker(&semaphore, &log, "taker");
        let releaser = spawn({
            let semaphore = semaphore.clone();
            move || semaphore.release(2)
        });
        assert!(std::ptr::addr_eq(wait_any(both).unwrap(), &*semaphore));
        for task in [taker, releaser] {
            task.join().unwrap();
        }
        assert_eq!(semaphore.available_permits(), 1);
        event.set();
        assert_eq!(wait(both).len(), 2);
        assert_eq!(wait(both).len(), 2);
        assert_eq!(semaphore.available_permits(), 1);
    });
}

#[test]
fn a_permit_goes_to_those_in_line_before_those_who_only_look() {
    in_any_order(LIMIT, || {
        let (semaphore, log) = empty();
        let looker = spawn_parked({
            let semaphore = semaphore.clone();
            move || wait([&*semaphore as &dyn Waitable]).len()
        });
        let taker = taker(&semaphore, &log, "taker");
        semaphore.release(1);
        taker.join().unwrap();
        idle();
        assert!(!looker.is_finished(), "the permit was taken");
        semaphore.release(1);
        assert_eq!(looker.join().unwrap(), 1);
    });
}

#[test]
fn it_works_between_threads() {
    in_any_order(LIMIT, || {
        let pair = Arc::new((Semaphore::new(1), Semaphore::new(0)));
        let other = thread::spawn({
            let pair = pair.clone();
            move || {
                for _ in 0..500 {
                    pair.1.acquire().forget();
                    pair.0.release(1);
                }
            }
        });
        for _ in 0..500 {
            pair.0.acquire().forget();
            pair.1.release(1);
        }
        other.join().unwrap();
        assert_eq!((pair.0.available_permits(), pair.1.available_permits()), (1, 0));
    });
}
