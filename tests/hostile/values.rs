//! Values that users can make.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use greenloop::channel::unbounded;
use greenloop::event::{AsyncResult, Event};
use greenloop::process::Command;
use greenloop::sync::Semaphore;
use greenloop::threadpool::ThreadPool;
use greenloop::{Subscription, Waitable, idle, joinall, sleep, spawn, wait, wait_timeout, yield_now};

use crate::support::{spawn_parked, within};
use crate::{LIMIT, LONG};

/// What a user may write: small ones as lists have them, and those at the ends.
fn numbers() -> impl Iterator<Item = u64> {
    (0..40).chain([u64::from(u32::MAX), 1 << 63, u64::MAX - 2, u64::MAX - 1, u64::MAX])
}

/// Somebody waits for `object`, as `wait` does and in its own way; no number that it did not give changes that.
fn ignores_numbers(object: Arc<dyn Waitable + Send + Sync>, make_ready: impl FnOnce()) {
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let object = object.clone();
            spawn_parked(move || assert_eq!(wait([&*object]).len(), 1))
        })
        .collect();
    numbers().for_each(|number| object.unsubscribe(Subscription::with_number(number)));
    let theirs = object.clone();
    let elsewhere =
        move || numbers().for_each(|number| theirs.unsubscribe(Subscription::with_number(number)));
    thread::spawn(elsewhere).join().unwrap();
    make_ready();
    joinall(&waiters);
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
}

#[test]
fn a_number_that_the_object_did_not_give_changes_nothing() {
    within(LIMIT, || {
        let event = Arc::new(Event::new());
        ignores_numbers(event.clone(), || event.set());
        let result = Arc::new(AsyncResult::new());
        ignores_numbers(result.clone(), || result.set(1));
        let semaphore = Arc::new(Semaphore::new(0));
        ignores_numbers(semaphore.clone(), || semaphore.release(1));
        let (sender, receiver) = unbounded();
        ignores_numbers(Arc::new(receiver), || sender.send(1).unwrap());
        let pool = ThreadPool::new(1);
        let (go, gone) = std::sync::mpsc::channel::<()>();
        ignores_numbers(Arc::new(pool.spawn(move || gone.recv().unwrap())), || go.send(()).unwrap());
        let mut cat = Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let input = cat.stdin.take();
        ignores_numbers(Arc::new(cat), || drop(input));
        let ends = Arc::new(Event::new());
        let ending = ends.clone();
        ignores_numbers(Arc::new(spawn(move || ending.wait())), || ends.set());
    });
}

/// A handle keeps its first waiter beside its list, another one when somebody of another OS thread waits.
#[test]
fn who_joins_is_woken_whatever_numbers_others_bring() {
    within(LIMIT, || {
        let ends = Arc::new(Event::new());
        let ending = ends.clone();
        let handle = Arc::new(spawn(move || ending.wait()));
        let same = handle.clone();
        let here = spawn_parked(move || same.wait());
        let forge = |handle: &dyn Waitable| {
            numbers().for_each(|number| handle.unsubscribe(Subscription::with_number(number)));
        };
        forge(&*handle);
        let theirs = handle.clone();
        thread::spawn(move || forge(&*theirs)).join().unwrap();
        let theirs = handle.clone();
        let (waits, waiting) = std::sync::mpsc::channel();
        let there = thread::spawn(move || {
            waits.send(()).unwrap();
            theirs.wait();
        });
        waiting.recv().unwrap();
        forge(&*handle);
        ends.set();
        here.join().unwrap();
        while !there.is_finished() {
            sleep(Duration::from_millis(1));
        }
        there.join().unwrap();
    });
}

#[test]
fn a_subscription_of_another_object_changes_nothing() {
    within(LIMIT, || {
        let (one, other) = (Event::new(), Arc::new(Event::new()));
        let (task, another) = (spawn(|| sleep(LONG)), Arc::new(spawn(|| sleep(LONG))));
        yield_now();
        let waiter = spawn_parked({
            let other = other.clone();
            move || wait([&*other]).len()
        });
        let joiner = spawn_parked({
            let another = another.clone();
            move || wait([&*another]).len()
        });
        // Each object's own first, and some.
        for round in 0..10 {
            let of_events = subscribed(&one);
            let of_tasks = subscribed(&task);
            if round % 2 == 0 {
                other.unsubscribe(of_events);
                another.unsubscribe(of_tasks);
            } else {
                other.unsubscribe(of_tasks);
                another.unsubscribe(of_events);
            }
        }
        other.set();
        another.kill();
        assert_eq!((waiter.join().unwrap(), joiner.join().unwrap()), (1, 1));
        task.kill();
    });
}

/// What `object` gives to one who waits for it.
fn subscribed(object: &dyn Waitable) -> Subscription {
    struct Taps<'a>(&'a dyn Waitable, std::cell::Cell<Option<Subscription>>);
    impl Waitable for Taps<'_> {
        fn is_ready(&self) -> bool {
            false
        }
        fn subscribe(&self, notice: greenloop::Notice) -> Subscription {
            self.1.set(Some(self.0.subscribe(notice)));
            Subscription::none()
        }
        fn unsubscribe(&self, _: Subscription) {}
    }
    let taps = Taps(object, std::cell::Cell::new(None));
    assert!(wait_timeout([&taps], Duration::ZERO).is_empty());
    taps.1.take().expect("it was asked")
}

#[test]
fn a_link_of_another_object_is_not_found() {
    within(LIMIT, || {
        let calls = Arc::new(AtomicU32::new(0));
        let call = || {
            let calls = calls.clone();
            move || _ = calls.fetch_add(1, Ordering::SeqCst)
        };
        let (event, result) = (Event::new(), AsyncResult::new());
        let tasks = [spawn(|| ()), spawn(|| ())];
        let of_event = event.link(call());
        let of_result = result.link(call());
        let [first, second] = [&tasks[0], &tasks[1]].map(|task| task.link_value(call()));
        assert!(!result.unlink(of_event));
        assert!(!event.unlink(of_result));
        assert!(!tasks[1].unlink(first));
        assert!(!tasks[0].unlink(second));
        event.set();
        result.set(());
        joinall(&tasks);
        idle();
        assert_eq!(calls.load(Ordering::SeqCst), 4);
    });
}

/// A user's own type finds its numbers again; nobody else's have one.
#[test]
fn only_who_has_made_a_number_sees_it() {
    within(LIMIT, || {
        assert_eq!(Subscription::with_number(u64::MAX).number(), Some(u64::MAX));
        assert_eq!(Subscription::none().number(), None);
        let event = Event::new();
        let subscription = subscribed(&event);
        assert_eq!(subscription.number(), None);
        event.unsubscribe(subscription);
        assert!(catch_unwind(AssertUnwindSafe(|| event.set())).is_ok());
    });
}
