//! `Event` and `AsyncResult`: who is woken, in which order, from which thread. Conformance 100-105.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::event::{AsyncResult, Event, TimedOut};
use greenloop::{JoinHandle, Waitable, idle, iwait, spawn, wait, wait_any, wait_timeout, with_timeout};
use support::hammer::{hammer, perhaps_limited, short};
use support::{LeftOut, Random, in_a_world, in_any_order, once, ready_at_once, spawn_parked};

const LIMIT: Duration = Duration::from_secs(120);

type Log<T> = Rc<RefCell<Vec<T>>>;

/// A green thread that waits for the event and tells `log` its number.
fn waiter(event: &Arc<Event>, log: &Log<usize>, number: usize) -> JoinHandle<()> {
    let (event, log) = (event.clone(), log.clone());
    spawn_parked(move || {
        event.wait();
        log.borrow_mut().push(number);
    })
}

/// Conformance 100.
#[test]
fn a_wait_tells_whether_the_event_was_set() {
    in_a_world(LIMIT, |world| {
        let event = Event::new();
        let start = world.now();
        assert!(!event.wait_timeout(Duration::from_millis(5)));
        assert_eq!(world.elapsed(), Duration::from_millis(5));
        assert!(!event.wait_deadline(start) && !event.is_set());
        event.set();
        let ran = Rc::new(Cell::new(false));
        let other = spawn({
            let ran = ran.clone();
            move || ran.set(true)
        });
        event.wait();
        assert!(event.wait_timeout(Duration::ZERO) && event.wait_deadline(start) && event.is_set());
        assert!(!ran.get(), "set on entry: no yield");
        other.join().unwrap();
        event.clear();
        assert!(!event.is_set() && !event.wait_timeout(Duration::ZERO));
    });
}

/// Conformance 100.
#[test]
fn waiters_are_woken_in_order_of_arrival() {
    in_any_order(LIMIT, || {
        let (event, log) = (Arc::new(Event::new()), Log::default());
        let tasks: Vec<_> = (0..100).map(|number| waiter(&event, &log, number)).collect();
        event.set();
        assert!(log.borrow().is_empty(), "they run when the setter yields");
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!(ready_at_once(log.take()), (0..100).collect::<Vec<_>>());
    });
}

/// Conformance 101.
#[test]
fn a_set_counts_for_all_who_waited_though_it_is_cleared_at_once() {
    in_any_order(LIMIT, || {
        for count in [1, 2, 31, 32, 33, 100, 1000] {
            let event = Arc::new(Event::new());
            let waiter = |number| {
                let event = event.clone();
                spawn(move || match number % 2 {
                    0 => event.wait_timeout(LIMIT),
                    _ => {
                        event.wait();
                        true
                    }
                })
            };
            let tasks: Vec<_> = (0..count).map(waiter).collect();
            idle();
            event.set();
            event.clear();
            assert!(tasks.into_iter().all(|task| task.join().unwrap()), "{count} waiters");
            assert!(!event.wait_timeout(Duration::ZERO), "who comes later waits");
        }
    });
}

#[test]
fn a_waiter_that_was_killed_or_timed_out_is_out_of_the_line() {
    in_any_order(LIMIT, || {
        let (event, log) = (Arc::new(Event::new()), Log::default());
        let [a, b, c] = [0, 1, 2].map(|number| waiter(&event, &log, number));
        b.kill();
        assert!(with_timeout(Duration::from_millis(1), || event.wait()).is_err());
        assert_eq!(format!("{event:?}"), "Event { set: false, waiting: 2 }");
        event.set();
        c.try_kill();
        a.join().unwrap();
        assert!(c.join().unwrap_err().is_killed(), "woken, and killed before it ran");
        assert_eq!(*log.borrow(), [0]);
        assert!(event.is_set(), "the event is as it was");
    });
}

/// The deadline passes and then, before the waiter runs, the event is set: it was set.
#[test]
fn a_set_between_the_deadline_and_the_run_counts() {
    once(LeftOut::BlockedThread, LIMIT, || {
        // Late enough for both to have parked, on a busy machine too.
        let first = Instant::now() + Duration::from_millis(250);
        let second = first + Duration::from_millis(5);
        let event = Arc::new(Event::new());
        let setter = spawn_parked({
            let event = event.clone();
            move || {
                Event::new().wait_deadline(first);
                event.set();
                event.clear();
            }
        });
        let waiter = spawn_parked({
            let event = event.clone();
            move || event.wait_deadline(second)
        });
        // The hub finds both times past at once.
        while Instant::now() <= second {
            std::hint::spin_loop();
        }
        assert!(waiter.join().unwrap());
        setter.join().unwrap();
    });
}

/// Conformance 102: who subscribes is told once. 71: an event that is set and cleared at once is not reported as ready.
#[test]
fn a_subscription_is_for_one_time_and_for_what_is_still_true() {
    in_any_order(LIMIT, || {
        let event = Arc::new(Event::new());
        let objects: [&dyn Waitable; 1] = [&*event];
        assert!(wait_timeout(objects, Duration::from_millis(1)).is_empty());
        assert_eq!(format!("{event:?}"), "Event { set: false, waiting: 0 }", "it has left no trace");
        let flicker = spawn({
            let event = event.clone();
            move || {
                event.set();
                event.clear();
            }
        });
        assert!(wait_timeout(objects, Duration::from_millis(5)).is_empty());
        flicker.join().unwrap();
        event.set();
        for _ in 0..2 {
            assert_eq!(wait(objects).len(), 1, "ready for as long as it is set");
        }
    });
}

#[test]
fn many_things_are_waited_for_together() {
    in_any_order(LIMIT, || {
        let (event, result) = (Arc::new(Event::new()), Arc::new(AsyncResult::new()));
        let task = spawn({
            let (event, result) = (event.clone(), result.clone());
            move || {
                result.set(1);
                greenloop::yield_now();
                event.set();
            }
        });
        let objects: [&dyn Waitable; 3] = [&*event, &*result, &task];
        assert!(std::ptr::addr_eq(wait_any(objects).unwrap(), &*result));
        assert_eq!(iwait(objects).count(), 3);
        assert!(event.is_ready() && result.is_ready() && task.is_ready());
    });
}

/// Conformance 105.
#[test]
fn a_set_wakes_across_threads_both_ways_again_and_again() {
    in_any_order(LIMIT, || {
        let pair = Arc::new((Event::new(), Event::new()));
        let other = thread::spawn({
            let pair = pair.clone();
            move || {
                for _ in 0..300 {
                    pair.0.wait();
                    pair.0.clear();
                    pair.1.set();
                }
            }
        });
        for _ in 0..300 {
            pair.0.set();
            pair.1.wait();
            pair.1.clear();
        }
        other.join().unwrap();
    });
}

/// Each hub here is new, and has yet to open what it sleeps with. All stay until the last is woken, so that none takes over
/// what an earlier one has left.
#[test]
fn a_set_wakes_a_hub_that_is_about_to_sleep_for_the_first_time() {
    const HUBS: usize = 64;
    once(LeftOut::OsThreads, LIMIT, || {
        let end = Arc::new(Barrier::new(HUBS));
        let mut random = Random::new(1);
        let hubs = (0..HUBS).map(|_| {
            let (event, end) = (Arc::new(Event::new()), end.clone());
            let (waits, (tell, told)) = (event.clone(), channel());
            let hub = thread::spawn(move || {
                tell.send(()).unwrap();
                let start = Instant::now();
                waits.wait_timeout(LIMIT / 2);
                end.wait();
                start.elapsed()
            });
            told.recv().unwrap();
            let start = Instant::now();
            let pause = Duration::from_nanos(random.below(60_000) as u64);
            while start.elapsed() < pause {}
            event.set();
            hub
        });
        let hubs: Vec<_> = hubs.collect();
        assert!(hubs.into_iter().all(|hub| hub.join().unwrap() < LIMIT / 2), "by its timer alone");
    });
}

/// Waiters of two hubs and two plain threads, some of whom give up: whoever waits when the event is set goes on.
#[test]
fn nobody_misses_a_set() {
    const ROUNDS: usize = 200;
    in_any_order(LIMIT, || {
        // One event for each round. Who missed one would never come to the next.
        let events: Arc<Vec<Event>> = Arc::new((0..ROUNDS).map(|_| Event::new()).collect());
        let there = Arc::new(AtomicUsize::new(0));
        let walk = |events: &[Event], there: &AtomicUsize, seed| {
            let mut random = Random::new(seed);
            for event in events {
                there.fetch_add(1, SeqCst);
                let patience = Duration::from_micros(random.below(100) as u64);
                match random.below(3) {
                    0 => while !event.wait_timeout(patience) {},
                    1 => while with_timeout(patience, || event.wait()).is_err() {},
                    _ => event.wait(),
                }
            }
        };
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let (events, there) = (events.clone(), there.clone());
                thread::spawn(move || {
                    if number < 2 {
                        return walk(&events, &there, number + 1);
                    }
                    let green = |seed| {
                        let (events, there) = (events.clone(), there.clone());
                        spawn(move || walk(&events, &there, seed))
                    };
                    let tasks: Vec<_> = (10..15).map(|seed| green(seed * number)).collect();
                    tasks.into_iter().for_each(|task| task.join().unwrap());
                })
            })
            .collect();
        for (round, event) in events.iter().enumerate() {
            // Most rounds begin before all are there.
            let enough = if round % 8 == 0 { 12 * (round + 1) } else { 0 };
            while there.load(SeqCst) < enough {
                thread::yield_now();
            }
            event.set();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(there.load(SeqCst), 12 * ROUNDS);
    });
}

/// Conformance 103.
#[test]
fn a_result_that_failed_fails_for_everybody() {
    in_any_order(LIMIT, || {
        let result = Arc::new(AsyncResult::<Result<u32, &str>>::new());
        let readers = [0, 1].map(|_| {
            let result = result.clone();
            spawn_parked(move || result.get())
        });
        assert_eq!(result.get_timeout(Duration::from_millis(1)), Err(TimedOut));
        assert!(!result.wait_timeout(Duration::from_millis(1)) && result.try_get().is_none());
        result.set(Err("broken"));
        for reader in readers {
            assert_eq!(reader.join().unwrap(), Err("broken"));
        }
        result.wait();
        assert_eq!((result.get(), result.get()), (Err("broken"), Err("broken")));
    });
}

/// Conformance 104.
#[test]
fn the_last_value_set_wins() {
    in_any_order(LIMIT, || {
        let result = Arc::new(AsyncResult::new());
        let reader = spawn_parked({
            let result = result.clone();
            move || result.get()
        });
        result.set(Err("first"));
        result.set(Ok(1));
        assert_eq!(reader.join().unwrap(), Ok(1), "a value after an error, set before it ran");
        result.set(Ok(2));
        assert_eq!((result.get(), result.try_get()), (Ok(2), Some(Ok(2))));
        let nothing = AsyncResult::new();
        nothing.set(None::<u32>);
        assert!(nothing.is_ready(), "a value that says nothing is one");
        assert_eq!(nothing.into_inner(), Some(None));
    });
}

#[test]
fn readers_are_woken_in_order_of_arrival_and_may_be_killed() {
    in_any_order(LIMIT, || {
        let (result, log) = (Arc::new(AsyncResult::new()), Log::default());
        let tasks: Vec<_> = (0..40)
            .map(|number| {
                let (result, log) = (result.clone(), log.clone());
                spawn_parked(move || {
                    let value: u32 = result.get();
                    log.borrow_mut().push(number + value);
                })
            })
            .collect();
        tasks[1].kill();
        result.set(100);
        tasks[3].try_kill();
        let ended = tasks.into_iter().filter(|task| greenloop::wait([task]).len() == 1);
        assert_eq!(ended.count(), 40);
        let expected: Vec<_> = (100..140).filter(|number| ![101, 103].contains(number)).collect();
        assert_eq!(ready_at_once(log.take()), expected);
    });
}

#[test]
fn a_replaced_value_is_dropped_outside_the_lock() {
    struct Looks(Arc<AsyncResult<Option<Looks>>>);
    impl Drop for Looks {
        fn drop(&mut self) {
            assert!(self.0.is_ready());
        }
    }
    let result = Arc::new(AsyncResult::new());
    result.set(Some(Looks(result.clone())));
    result.set(None);
    assert_eq!(Arc::strong_count(&result), 1, "the first value was dropped");
}

#[test]
fn a_result_is_shown() {
    let result = AsyncResult::new();
    assert_eq!(format!("{result:?}"), "AsyncResult(<not set>)");
    result.set(1);
    assert_eq!(format!("{result:?}"), "AsyncResult(1)");
}

/// Conformance 167.
#[test]
fn events_and_results_are_shared_between_threads() {
    fn shared<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    shared::<Event>();
    shared::<AsyncResult<u32>>();
}

/// Conformance 102. Whichever thread sets the event, the function runs in the thread that linked it.
#[test]
fn a_link_runs_at_home_whoever_sets() {
    once(LeftOut::OsThreads, LIMIT, || {
        let home = thread::current().id();
        for raw in [false, true] {
            let (event, ran) = (Arc::new(Event::new()), Arc::new(AsyncResult::new()));
            let (told, setter) = (ran.clone(), event.clone());
            let linked = move || told.set(thread::current().id());
            let _link = if raw { event.rawlink(linked) } else { event.link(linked) };
            thread::spawn(move || setter.set()).join().unwrap();
            assert_eq!(ran.get(), home);
        }
        // One whose thread has ended runs nowhere.
        let (nowhere, token) = (Arc::new(Event::new()), Arc::new(()));
        let (event, kept) = (nowhere.clone(), token.clone());
        thread::spawn(move || _ = event.link(move || drop(kept))).join().unwrap();
        nowhere.set();
        idle();
        assert_eq!(Arc::strong_count(&token), 1);
    });
}

/// Were a wake-up lost, a wait would not end, since each result is set once.
#[test]
fn no_set_is_missed_under_the_hammer() {
    in_any_order(LIMIT, || {
        let results: Arc<Vec<_>> = Arc::new((0..8_000).map(|_| AsyncResult::new()).collect());
        let (events, next) = (Arc::new([(); 64].map(|()| Event::new())), Arc::new(AtomicUsize::new(0)));
        let set_next = {
            let (results, next) = (results.clone(), next.clone());
            move || {
                let number = next.fetch_add(1, SeqCst);
                results.get(number).inspect(|result| result.set(number)).is_some()
            }
        };
        // Goes on when the others have ended, so that no wait is for nothing.
        let steady = thread::spawn({
            let set_next = set_next.clone();
            move || {
                while set_next() {
                    thread::sleep(Duration::from_micros(20))
                }
            }
        });
        hammer({
            let (results, events) = (results.clone(), events.clone());
            move |random| {
                let (how, which, patience) = (random.below(8), random.below(events.len()), short(random));
                let number = (next.load(SeqCst) + random.below(4)).min(results.len() - 1);
                perhaps_limited(random, || match how {
                    0 => _ = set_next(),
                    1 => events[which].set(),
                    2 => events[which].clear(),
                    3 => _ = events[which].wait_timeout(patience),
                    4 => assert_eq!(results[number].get_timeout(patience).unwrap_or(number), number),
                    5 => assert_eq!(wait_any([&results[number]]).map(AsyncResult::get), Some(number)),
                    _ => assert_eq!(results[number].get(), number),
                });
            }
        });
        steady.join().unwrap();
        for event in &*events {
            event.set();
            assert_eq!(format!("{event:?}"), "Event { set: true, waiting: 0 }");
        }
    });
}
