use std::cell::Cell;
use std::panic::{catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use greenloop::sync::{Condvar, Mutex};
use greenloop::testing::{self, Explored, Search, World, explore};
use greenloop::{channel, joinall, select, sleep, spawn, yield_now};

use crate::support;

/// As an assertion that fails, without the report of it.
fn fail_unless(condition: bool) {
    if !condition {
        resume_unwind(Box::new("the bug"));
    }
}

/// A notification between the look at a flag and the wait.
fn lost_wake_up(world: &World) {
    let flag = Rc::new(Cell::new(false));
    let pair = Rc::new((Mutex::new(()), Condvar::new()));
    let consumer = {
        let (flag, pair) = (flag.clone(), pair.clone());
        move || {
            (0..3).for_each(|_| yield_now());
            if !flag.get() {
                yield_now();
                let guard = pair.0.lock().unwrap();
                drop(pair.1.wait_timeout(guard, Duration::from_secs(60)).unwrap());
            }
        }
    };
    let producer = move || {
        (0..5).for_each(|_| yield_now());
        flag.set(true);
        pair.1.notify_one();
    };
    let tasks = [spawn(consumer), spawn(producer)];
    joinall(&tasks);
    fail_unless(world.elapsed().is_zero());
}

/// Two locks in two orders.
fn lock_order(_: &World) {
    let locks = Rc::new((Mutex::new(()), Mutex::new(())));
    let other = locks.clone();
    let tasks = [
        spawn(move || {
            let _one = locks.0.lock().unwrap();
            yield_now();
            drop(locks.1.lock().unwrap());
        }),
        spawn(move || {
            (0..4).for_each(|_| yield_now());
            let _two = other.1.lock().unwrap();
            yield_now();
            drop(other.0.lock().unwrap());
        }),
    ];
    joinall(&tasks);
}

/// A time limit at the very time at which the work is done.
fn time_out_race(_: &World) {
    let limit = Duration::from_millis(10);
    let (charged, cancelled) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let (done, receiver) = channel::bounded(1);
    let client = {
        let (charged, cancelled) = (charged.clone(), cancelled.clone());
        spawn(move || {
            if receiver.recv_timeout(limit).is_err() {
                cancelled.set(true);
                charged.set(charged.get() + 1);
            }
        })
    };
    let bank = {
        let charged = charged.clone();
        spawn(move || {
            sleep(limit);
            if !cancelled.get() {
                charged.set(charged.get() + 1);
                yield_now();
                let _ = done.send(());
            }
        })
    };
    joinall(&[client, bank]);
    fail_unless(charged.get() == 1);
}

/// A balance that is read, and written after a wait.
fn lost_update(_: &World) {
    let balance = Rc::new(Cell::new(0));
    let deposit = |pauses: u32| {
        let balance = balance.clone();
        spawn(move || {
            (0..pauses).for_each(|_| yield_now());
            let before = balance.get();
            yield_now();
            balance.set(before + 1);
        })
    };
    joinall(&[deposit(0), deposit(3)]);
    fail_unless(balance.get() == 2);
}

type Bug = (&'static str, fn(&World));

const BUGS: [Bug; 4] = [
    ("a lost wake-up", lost_wake_up),
    ("two locks in two orders", lock_order),
    ("a time-out race", time_out_race),
    ("a lost update", lost_update),
];

/// What is said of a failure.
fn words(search: Search, test: fn(&World)) -> String {
    let failed = catch_unwind(|| explore(search, test)).expect_err("a failure");
    *failed.downcast::<String>().unwrap()
}

#[test]
fn the_order_of_arrival_shows_none_of_the_bugs() {
    for (_, bug) in BUGS {
        testing::run(bug);
        assert_eq!(explore(Search::depth_first(0), bug).runs(), 1);
    }
}

#[test]
fn each_search_finds_each_bug_and_makes_it_small() {
    for (name, bug) in BUGS {
        for search in [Search::random(1000), Search::priorities(2, 200), Search::depth_first(3)] {
            let words = words(search, bug);
            assert!(words.contains("GREENLOOP_SCHEDULE=1:"), "{name}: {words}");
            assert!(!words.contains("did not fail again"), "{name}: {words}");
            let deviations: usize = words.lines().last().unwrap().split(' ').next().unwrap().parse().unwrap();
            assert!((1..=8).contains(&deviations), "{name}: {words}");
        }
    }
}

/// Called below in a process of its own, and in all others does nothing.
#[test]
fn with_a_bug() {
    if std::env::var_os("GREENLOOP_TEST_BUG").is_some() {
        explore(Search::random(1), lost_update);
    }
}

#[test]
fn the_schedule_that_is_told_fails_again() {
    let words = words(Search::random(1000), lost_update);
    let schedule = words.rsplit('=').next().unwrap();
    for (schedule, fails) in [(schedule, true), ("1:", false)] {
        let output = support::this_program()
            .args(["--exact", "orders::with_a_bug", "--nocapture", "--test-threads=1"])
            .env("GREENLOOP_TEST_BUG", "1")
            .env("GREENLOOP_SCHEDULE", schedule)
            .output()
            .unwrap();
        assert_eq!(output.status.success(), !fails, "{output:?}");
    }
}

/// Three green threads of four steps each that add correctly.
#[test]
fn absence_is_proved() {
    let adds = |_: &World| {
        let sum = Rc::new(Mutex::new(0));
        let add = || {
            let sum = sum.clone();
            spawn(move || {
                let mut held = sum.lock().unwrap();
                let before = *held;
                yield_now();
                *held = before + 1;
            })
        };
        joinall(&[add(), add(), add()]);
        fail_unless(*sum.lock().unwrap() == 3);
    };
    let explored = explore(Search::depth_first(usize::MAX), adds);
    assert!(explored.is_exhaustive());
    assert!(explored.runs() > 20, "{explored:?}");
    let steps = |_: &World| {
        let walk = || spawn(|| (0..3).for_each(|_| yield_now()));
        joinall(&[walk(), walk(), walk()]);
    };
    let explored = explore(Search::depth_first(2), steps);
    assert!(explored.is_exhaustive());
}

/// Green threads that wait for each other in several ways.
fn bustle(world: &World) {
    let (sender, receiver) = channel::bounded(2);
    let ((near, asked), (answers, answered)) = (channel::bounded(0), channel::bounded(0));
    let senders: Vec<_> = (0..3_u64)
        .map(|number| {
            let (sender, world) = (sender.clone(), world.clone());
            spawn(move || {
                for _ in 0..3 {
                    sleep(Duration::from_millis(number));
                    sender.send(world.elapsed()).unwrap();
                    yield_now();
                }
            })
        })
        .collect();
    drop(sender);
    let echo = spawn(move || asked.iter().for_each(|question: u32| answers.send(question).unwrap()));
    let ticks = channel::tick(Duration::from_millis(1));
    let mut received = 0;
    while received < 9 {
        select! {
            recv(receiver) -> value => {
                value.unwrap();
                received += 1;
                near.send(received).unwrap();
                assert_eq!(answered.recv(), Ok(received));
            },
            recv(ticks) -> _ => {}
        }
    }
    drop(near);
    joinall(&senders);
    echo.join().unwrap();
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let hash = |seed| explore(Search::random(20).seed(seed), bustle).hash();
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
    let priorities = || explore(Search::priorities(3, 20), bustle);
    assert_eq!(priorities(), priorities());
}

#[test]
fn what_waits_for_others_in_a_loop_gets_no_priority_for_ever() {
    let waits = |_: &World| {
        let flag = Rc::new(Cell::new(false));
        let waiting = {
            let flag = flag.clone();
            spawn(move || {
                while !flag.get() {
                    yield_now();
                }
            })
        };
        let setting = spawn(move || flag.set(true));
        joinall(&[waiting, setting]);
    };
    let explored: Explored = explore(Search::priorities(3, 50), waits);
    assert_eq!(explored.runs(), 50);
}

/// Two who wait for a third by turns, and each for the other.
#[test]
fn priorities_starve_nobody() {
    let explored = explore(Search::priorities(2, 20), |_| {
        let done = Rc::new(Cell::new(false));
        let (ping, pings) = channel::bounded(1);
        let (pong, pongs) = channel::bounded(1);
        let (one, two) = (done.clone(), done.clone());
        let tasks = [
            spawn(move || while !one.get() && ping.send(()).is_ok() && pongs.recv().is_ok() {}),
            spawn(move || while !two.get() && pings.recv().is_ok() && pong.send(()).is_ok() {}),
            spawn(move || {
                yield_now();
                done.set(true);
            }),
        ];
        joinall(&tasks);
    });
    assert_eq!(explored.runs(), 20);
}

#[test]
fn a_failure_is_told_with_who_ran_last_and_who_was_there() {
    let line = line!() + 5;
    let failed = catch_unwind(|| {
        explore(Search::random(1), |_| {
            let (sender, receiver) = channel::bounded::<()>(0);
            std::mem::forget(sender);
            let waiting = greenloop::Builder::new().name("reader").spawn(move || receiver.recv()).unwrap();
            sleep(Duration::from_secs(3));
            drop(waiting);
            fail_unless(false);
        })
    });
    let words = failed.unwrap_err().downcast::<String>().unwrap();
    let reader = format!("spawned at tests/testing/orders.rs:{line}:");
    for part in [
        "the bug",
        "3s of the world's time had passed.",
        "\n  0ns green thread 'reader' (",
        "\n  3s main",
        "\nWho was there:\n",
    ] {
        assert!(words.contains(part), "{part} in {words}");
    }
    assert_eq!(words.matches(&reader).count(), 2, "{words}");
    assert!(words.contains("waits on "), "{words}");
}
