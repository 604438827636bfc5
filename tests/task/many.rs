use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::event::Event;
use greenloop::hub::Hub;
use greenloop::sync::Semaphore;
use greenloop::testing::World;
use greenloop::{
    JoinHandle, Notice, Subscription, Waitable, channel, iwait, joinall, joinall_timeout, killall, sleep,
    spawn, spawn_later, wait, wait_any, wait_timeout, with_timeout, yield_now,
};

use rustix::time::{ClockId, clock_gettime};

use crate::support::{Random, in_a_world, within};
use crate::{LIMIT, LONG, Log, SHORT};

/// Processor time that `run` takes, on this OS thread alone.
fn time(run: impl FnOnce()) -> Duration {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a time after the start");
    let start = now();
    run();
    now() - start
}

#[test]
fn joining_ten_thousand_is_not_quadratic() {
    within(LIMIT, || {
        let join = |count: u32| {
            let tasks: Vec<_> =
                (0..count).map(|number| spawn(move || (0..number % 3).for_each(|_| yield_now()))).collect();
            time(|| assert_eq!(joinall(&tasks).len(), count as usize))
        };
        let least = |count| (0..3).map(|_| join(count)).min().expect("three times");
        let (small, large) = (least(2_500), least(40_000));
        // 16 times as many: linear would take 16 times as long, quadratic 256 times.
        assert!(large < 100 * small.max(Duration::from_micros(500)), "{small:?}, then {large:?}");
    });
}

#[test]
fn the_order_of_completion_is_exact() {
    within(LIMIT, || {
        let mut random = Random::new(7);
        let ended = Log::new();
        let tasks: Vec<_> = (0..1000)
            .map(|number| {
                let (turns, ended) = (random.below(50), ended.clone());
                spawn(move || {
                    (0..turns).for_each(|_| yield_now());
                    ended.push(number);
                })
            })
            .collect();
        let by_place: Vec<_> = tasks.iter().map(JoinHandle::id).collect();
        let order: Vec<_> = joinall(&tasks).iter().map(|task| task.id()).collect();
        let expected: Vec<_> = ended.take().into_iter().map(|number: usize| by_place[number]).collect();
        assert_eq!(order, expected);
    });
}

#[test]
fn some_are_ready_when_the_time_is_over() {
    in_a_world(LIMIT, |world| {
        let tasks: Vec<_> =
            (0..10).map(|number| spawn_later(if number % 2 == 0 { SHORT } else { LONG }, || ())).collect();
        let ready = joinall_timeout(&tasks, 10 * SHORT);
        assert_eq!((ready.len(), world.elapsed()), (5, 10 * SHORT));
        assert!(ready.iter().all(|task| task.is_finished()));
        // Those that are ready are given even when there is no time at all.
        assert_eq!(joinall_timeout(&tasks, Duration::ZERO).len(), 5);
        let mut left = iwait(&tasks).timeout(SHORT);
        assert_eq!(left.by_ref().count(), 5);
        assert!(left.next().is_none());
        assert_eq!(world.elapsed(), 11 * SHORT);
        killall(&tasks);
        assert_eq!(Hub::current().alive(), 0);
    });
}

#[test]
fn any_of_several_kinds() {
    within(LIMIT, || {
        let event = Arc::new(Event::new());
        let semaphore = Arc::new(Semaphore::new(0));
        let asleep = spawn(|| sleep(LONG));
        for round in 0..3 {
            let (set, release) = (event.clone(), semaphore.clone());
            let does = spawn(move || match round {
                0 => set.set(),
                1 => release.release(1),
                _ => (),
            });
            let objects: [&dyn Waitable; 3] = [&*event, &*semaphore, &asleep];
            if round == 2 {
                assert!(wait_timeout(objects, SHORT).is_empty());
                asleep.try_kill();
            }
            let ready = wait_any(objects).expect("one of them");
            assert!(std::ptr::addr_eq(ready, objects[round]), "round {round}");
            event.clear();
            drop(semaphore.try_acquire());
            while let Some(permit) = semaphore.try_acquire() {
                permit.forget();
            }
            does.join().unwrap();
        }
    });
}

#[test]
fn things_of_other_threads() {
    within(LIMIT, || {
        let (sender, receiver) = channel::unbounded();
        let event = Arc::new(Event::new());
        let set = event.clone();
        let thread = thread::spawn(move || {
            let tasks = [3, 2, 1].map(|number| spawn(move || sleep(number * SHORT)));
            tasks.into_iter().for_each(|task| sender.send(task).unwrap());
            drop(sender);
            Hub::current().join();
            set.set();
        });
        let theirs: Vec<_> = receiver.iter().collect();
        let objects = theirs.iter().map(|task| task as &dyn Waitable).chain([&*event as &dyn Waitable]);
        assert_eq!(wait(objects).len(), 4);
        assert!(theirs.iter().all(JoinHandle::is_finished));
        thread.join().unwrap();
    });
}

#[test]
fn a_type_of_ones_own() {
    /// Ready when two others are.
    struct Both<'a>(&'a Event, &'a Event);
    impl Waitable for Both<'_> {
        fn is_ready(&self) -> bool {
            self.0.is_set() && self.1.is_set()
        }
        fn subscribe(&self, notice: Notice) -> Subscription {
            if self.0.is_set() { self.1.subscribe(notice) } else { self.0.subscribe(notice) }
        }
        fn unsubscribe(&self, subscription: Subscription) {
            // A place at one of the two; neither is subscribed twice.
            if self.0.is_set() { self.1.unsubscribe(subscription) } else { self.0.unsubscribe(subscription) }
        }
    }
    /// Gives its notice at once, and is ready only at the third look.
    struct Hesitant(Cell<u32>);
    impl Waitable for Hesitant {
        fn is_ready(&self) -> bool {
            self.0.set(self.0.get() + 1);
            self.0.get() >= 3
        }
        fn subscribe(&self, notice: Notice) -> Subscription {
            notice.give();
            Subscription::none()
        }
        fn unsubscribe(&self, _: Subscription) {}
    }
    within(LIMIT, || {
        let events = Arc::new([Event::new(), Event::new()]);
        let setter = events.clone();
        let sets = spawn(move || {
            setter[0].set();
            yield_now();
            setter[1].set();
        });
        assert_eq!(wait([&Both(&events[0], &events[1])]).len(), 1);
        sets.join().unwrap();
        let hesitant = Hesitant(Cell::new(0));
        assert_eq!(wait([&hesitant]).len(), 1);
        assert_eq!(hesitant.0.get(), 3);
    });
}

/// Ready from a time of the world on; nobody gives a notice.
struct Moment<'world>(Instant, &'world World);

impl Waitable for Moment<'_> {
    fn is_ready(&self) -> bool {
        self.0 <= self.1.now()
    }

    fn subscribe(&self, _: Notice) -> Subscription {
        Subscription::none()
    }

    fn unsubscribe(&self, _: Subscription) {}

    fn ready_at(&self) -> Option<Instant> {
        Some(self.0)
    }
}

#[test]
fn what_time_makes_ready_needs_no_notice() {
    in_a_world(LIMIT, |world| {
        let start = world.now();
        let moments = [3, 1, 2].map(|turn| Moment(start + turn * SHORT, world));
        let order: Vec<_> = wait(&moments).iter().map(|moment| moment.0).collect();
        assert_eq!(order, [moments[1].0, moments[2].0, moments[0].0]);
        assert_eq!(world.elapsed(), 3 * SHORT);
        // Beside what is noticed, and within a limit.
        let (late, task) = (Moment(start + LONG, world), spawn(|| sleep(SHORT)));
        let objects: [&dyn Waitable; 2] = [&late, &task];
        assert!(std::ptr::addr_eq(wait_any(objects).unwrap(), &task));
        assert_eq!(world.elapsed(), 4 * SHORT);
        assert!(wait_timeout([&late], SHORT).is_empty());
        let soon = Moment(world.now() + SHORT, world);
        let objects: [&dyn Waitable; 3] = [&late, &soon, &task];
        assert_eq!(wait_timeout(objects, 20 * SHORT).len(), 2);
        assert_eq!(world.elapsed(), 25 * SHORT);
    });
}

#[test]
fn a_wait_that_is_killed_leaves_nothing_behind() {
    within(LIMIT, || {
        let events = Rc::new([const { Event::new() }; 3]);
        let waits = events.clone();
        let waiter = spawn(move || wait(&*waits).len());
        yield_now();
        waiter.kill();
        assert_eq!(Rc::strong_count(&events), 1);
        events.iter().for_each(Event::set);
        assert_eq!(wait(&*events).len(), 3);
        // So does one that runs out of time in the middle of the iteration, between two of its items.
        events[2].clear();
        let mut seen = 0;
        let late = with_timeout(SHORT, || iwait(&*events).for_each(|_| seen += 1));
        assert!(late.is_err());
        assert_eq!(seen, 2);
    });
}

#[test]
fn many_wait_for_the_same_many() {
    within(LIMIT, || {
        let tasks: Arc<Vec<_>> = Arc::new((0..100).map(|_| spawn(|| sleep(SHORT))).collect());
        let counts = Arc::new(Mutex::new(Vec::new()));
        let waiters: Vec<_> = (0..20)
            .map(|_| {
                let (tasks, counts) = (tasks.clone(), counts.clone());
                spawn(move || {
                    let count = joinall(&*tasks).len();
                    counts.lock().unwrap().push(count);
                })
            })
            .collect();
        joinall(&waiters);
        assert_eq!(*counts.lock().unwrap(), [100; 20]);
    });
}
