//! Waiting for many at once, and ending many: gevent's `test__joinall.py`, `test__iwait.py`, `test__issue467.py` and
//! `test__hub_join_timeout.py`. Numbers: see `README.md`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use greenloop::event::{AsyncResult, Event};
use greenloop::hub::Hub;
use greenloop::sync::Semaphore;
use greenloop::{
    JoinHandle, Notice, Subscription, Waitable, iwait, joinall, joinall_timeout, killall, killall_timeout,
    sleep, spawn, spawn_later, try_joinall, wait, wait_any, wait_timeout, yield_now,
};

use crate::support::within;
use crate::{LIMIT, LONG, Log, raise, text};

const SHORT: Duration = Duration::from_millis(2);

/// A green thread that yields `turns` times, and then returns that number.
fn after(turns: u32) -> JoinHandle<u32> {
    spawn(move || {
        (0..turns).for_each(|_| yield_now());
        turns
    })
}

/// The numbers of some handles among all.
fn numbers<T>(some: &[&JoinHandle<T>], all: &[JoinHandle<T>]) -> Vec<usize> {
    let number = |handle: &&JoinHandle<T>| all.iter().position(|one| one.id() == handle.id()).unwrap();
    some.iter().map(number).collect()
}

#[test]
fn case_66_joinall_in_order_of_completion() {
    within(LIMIT, || {
        let tasks = [3, 1, 4, 0, 2].map(after);
        assert_eq!(numbers(&joinall(&tasks), &tasks), [3, 1, 4, 0, 2]);

        let asleep = spawn(|| sleep(LONG));
        let tasks = [asleep, spawn(|| ()), spawn(|| raise("broken"))];
        assert_eq!(numbers(&joinall_timeout(&tasks, SHORT), &tasks), [1, 2]);
        assert!(!tasks[0].is_finished(), "the rest go on");
        killall(&tasks);
    });
}

#[test]
fn case_66_joinall_that_stops_at_a_failure() {
    within(LIMIT, || {
        let ran = Rc::new(Cell::new(false));
        let going_on = ran.clone();
        let tasks = [
            spawn(move || {
                sleep(SHORT);
                going_on.set(true);
            }),
            spawn(|| raise("the first failure")),
            spawn(|| {
                yield_now();
                raise("the second failure")
            }),
        ];
        let error = try_joinall(tasks).unwrap_err();
        assert_eq!(text(&*error.into_payload()), "the first failure");
        assert!(!ran.get());
        Hub::current().join();
        assert!(ran.get(), "the rest go on");
    });
}

#[test]
fn case_67_none_twice_and_some() {
    within(LIMIT, || {
        assert!(joinall::<()>(&[]).is_empty());
        assert!(joinall_timeout::<()>(&[], LONG).is_empty());
        assert!(wait::<JoinHandle<()>>([]).is_empty());
        assert!(wait_any::<JoinHandle<()>>([]).is_none());
        assert!(iwait::<JoinHandle<()>>([]).next().is_none());
        assert!(try_joinall::<()>([]).unwrap().is_empty());
        killall::<()>(&[]);

        let tasks = [after(1), after(0)];
        let twice = [&tasks[0], &tasks[1], &tasks[0]];
        assert_eq!(numbers(&joinall(twice), &tasks), [1, 0, 0]);
        killall(twice);

        let tasks = [5, 1, 3].map(after);
        let two: Vec<_> = iwait(&tasks).take(2).collect();
        assert_eq!(numbers(&two, &tasks), [1, 2]);
        assert!(!tasks[0].is_finished());
        joinall(&tasks);
    });
}

/// A green thread that counts who waits for it.
struct Counted {
    task: JoinHandle<u32>,
    waiting: Cell<usize>,
}

impl Waitable for Counted {
    fn is_ready(&self) -> bool {
        self.task.is_ready()
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        self.waiting.set(self.waiting.get() + 1);
        self.task.subscribe(notice)
    }

    fn unsubscribe(&self, subscription: Subscription) {
        self.waiting.set(self.waiting.get() - 1);
        self.task.unsubscribe(subscription);
    }
}

#[test]
fn case_68_iwait_gives_the_ready_first_and_lets_its_user_sleep() {
    within(LIMIT, || {
        let tasks = [after(6), after(0), after(3)];
        tasks[1].wait();
        let order: Vec<_> =
            iwait(&tasks).inspect(|_| sleep(SHORT)).map(|task| numbers(&[task], &tasks)[0]).collect();
        assert_eq!(order, [1, 2, 0]);
    });
}

#[test]
fn case_68_iwait_forgets_the_rest() {
    within(LIMIT, || {
        let asleep = || Counted { task: after(u32::MAX), waiting: Cell::new(0) };
        let ready = Counted { task: after(0), waiting: Cell::new(0) };
        let objects = [asleep(), ready, asleep()];
        let mut ready = iwait(&objects);
        assert_eq!(objects.iter().map(|object| object.waiting.get()).sum::<usize>(), 3);
        assert!(std::ptr::eq(ready.next().unwrap(), &objects[1]));
        assert_eq!(objects.iter().map(|object| object.waiting.get()).sum::<usize>(), 2);
        drop(ready);
        assert_eq!(objects.iter().map(|object| object.waiting.get()).sum::<usize>(), 0);

        // So does a wait that is ended from outside, or by its own time.
        assert!(greenloop::with_timeout(SHORT, || wait(&objects).len()).is_err());
        assert_eq!(wait_timeout(&objects, SHORT).len(), 1);
        assert_eq!(objects.iter().map(|object| object.waiting.get()).sum::<usize>(), 0);
        killall(objects.iter().map(|object| &object.task));
    });
}

/// `test__event.py`; processes come with the room `process`.
#[test]
fn case_69_objects_of_several_kinds() {
    within(LIMIT, || {
        let task = after(1);
        let text = spawn(|| "another type");
        let event = Arc::new(Event::new());
        let semaphore = Semaphore::new(1);
        let result = AsyncResult::new();
        result.set(7);
        let setter = event.clone();
        let sets = spawn(move || setter.set());
        let objects: [&dyn Waitable; 6] = [&task, &text, &*event, &semaphore, &result, &sets];
        for _ in 0..3 {
            assert_eq!(wait(objects).len(), 6, "who is ready stays so");
            assert!(std::ptr::addr_eq(wait_any(objects).unwrap(), &task));
        }
        assert_eq!(semaphore.available_permits(), 1, "no permit is consumed");
        assert_eq!((text.join().unwrap(), result.get()), ("another type", 7));

        let taken = semaphore.acquire();
        event.clear();
        let objects: [&dyn Waitable; 3] = [&*event, &semaphore, &task];
        assert_eq!(wait_timeout(objects, SHORT).len(), 1);
        drop(taken);
        assert_eq!(wait_timeout(objects, SHORT).len(), 2);
    });
}

/// `test__event.py`
#[test]
fn case_71_an_event_that_is_set_and_cleared() {
    within(LIMIT, || {
        let event = Arc::new(Event::new());
        let waiter = event.clone();
        let first = spawn(move || waiter.wait());
        yield_now();
        event.set();
        event.clear();
        let late = event.clone();
        let new_wait = spawn(move || wait_timeout([&*late], SHORT).len());
        first.join().unwrap();
        assert_eq!(new_wait.join().unwrap(), 0);
        assert_eq!(wait_timeout([&*event], SHORT).len(), 0);
        event.set();
        assert_eq!(wait([&*event]).len(), 1);
    });
}

/// There are no timers that do not count; what a signal handler does comes with the room `signal`.
#[test]
fn case_70_joining_the_hub() {
    within(LIMIT, || {
        let hub = Hub::current();
        hub.join();
        assert!(hub.join_timeout(Duration::ZERO), "nothing runs");
        let asleep = spawn(|| sleep(LONG));
        drop(spawn(|| ()));
        let later = spawn_later(SHORT, || ());
        assert!(!hub.join_timeout(Duration::ZERO));
        assert!(!hub.join_timeout(2 * SHORT));
        assert!(later.is_finished() && !asleep.is_finished());
        assert_eq!(hub.alive(), 1);
        assert!(!asleep.try_kill());
        hub.join();
        assert!(asleep.is_finished());
        assert!(hub.join_timeout(LONG));
        assert_eq!(hub.alive(), 0);
    });
}

#[test]
fn case_72_killing_all() {
    within(LIMIT, || {
        let ran = Rc::new(Cell::new(0));
        let make = || {
            let ran = ran.clone();
            spawn(move || ran.set(ran.get() + 1))
        };
        let unrun = [make(), make(), make()];
        killall(&unrun);
        assert!(unrun.into_iter().all(|task| task.join().unwrap_err().is_killed()));
        assert_eq!(ran.get(), 0);

        // Any iterable; those that run, those that do not and those that have ended.
        let tasks = Vec::from([spawn(|| sleep(LONG)), spawn(|| ())]);
        yield_now();
        let more = [spawn(|| ())];
        killall(tasks.iter().chain(&more).filter(|task| task.name().is_none()));
        assert!(tasks.iter().chain(&more).all(JoinHandle::is_finished));

        // gevent's `block=False`: a `try_kill` each.
        let log = Log::new();
        let asleep = [1, 2, 3].map(|number| {
            let log = log.clone();
            spawn(move || {
                let _told = Told(log, number);
                sleep(LONG);
            })
        });
        yield_now();
        assert!(asleep.iter().all(|task| !task.try_kill()));
        assert_eq!(log.take(), []);
        yield_now();
        assert_eq!(log.take(), [1, 2, 3]);
    });
}

/// Tells when it is dropped.
struct Told(Log<u32>, u32);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.push(self.1);
    }
}

#[test]
fn case_72_killing_all_within_a_time() {
    within(LIMIT, || {
        let stubborn = Rc::new(RefCell::new(true));
        let give_in = stubborn.clone();
        let tasks = [
            spawn(|| sleep(LONG)),
            spawn(move || {
                while *give_in.borrow() {
                    let _ = std::panic::catch_unwind(|| sleep(LONG));
                }
            }),
        ];
        yield_now();
        assert!(!killall_timeout(&tasks, SHORT));
        assert!(tasks[0].is_finished() && !tasks[1].is_finished());
        *stubborn.borrow_mut() = false;
        assert!(killall_timeout(&tasks, LONG));
    });
}
