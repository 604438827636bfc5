use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use greenloop::workers::Sharded;
use greenloop::{channel, sleep, spawn, yield_now};

use crate::support::within;
use crate::{GRACE, LIMIT, until, while_they_come_and_go, workers};

#[test]
fn a_part_is_its_workers_alone_and_not_send() {
    within(LIMIT, || {
        let workers = workers(3);
        let parts = Sharded::new(&workers, || Rc::new(RefCell::new(Vec::<u32>::new())));
        for number in 0..300_u32 {
            parts.on(&number, move |part| part.borrow_mut().push(number)).unwrap();
        }
        let lists = parts.on_all(|part| (thread::current().name().map(str::to_owned), part.borrow().clone()));
        let mut all = Vec::new();
        for (number, list) in lists.into_iter().enumerate() {
            let (name, list) = list.unwrap();
            assert_eq!(name.unwrap(), format!("worker-{number}"));
            assert!(list.iter().all(|key| parts.part_of(key) == number));
            assert!(list.is_sorted(), "in the order in which it was asked");
            all.extend(list);
        }
        all.sort_unstable();
        assert!(all.into_iter().eq(0..300));
    });
}

#[test]
fn one_thing_is_done_with_a_part_at_a_time() {
    within(LIMIT, || {
        let workers = workers(2);
        let parts = Arc::new(Sharded::new(&workers, || 0_u32));
        let add = |_| {
            let parts = parts.clone();
            workers.spawn(move || {
                let step = |count: &mut u32| {
                    let before = *count;
                    yield_now();
                    *count = before + 1;
                };
                parts.on("key", step).unwrap();
            })
        };
        let jobs: Vec<_> = (0..100).map(add).collect();
        greenloop::joinall(&jobs);
        assert_eq!(parts.on("key", |count| *count).unwrap(), 100);
    });
}

#[test]
fn a_panic_is_the_callers_and_the_part_goes_on() {
    within(LIMIT, || {
        let parts = Sharded::new(&workers(2), || 1_u32);
        let fail = |count: &mut u32| {
            *count += 1;
            std::panic::resume_unwind(Box::new("no"));
        };
        let error: Result<(), _> = parts.on(&1, fail);
        assert!(error.unwrap_err().is_panic());
        assert_eq!(parts.on(&1, |count| *count).unwrap(), 2);
    });
}

#[test]
fn parts_are_dropped_by_their_workers() {
    struct Tells(channel::Sender<(String, String)>, String);
    impl Drop for Tells {
        fn drop(&mut self) {
            let _ = self.0.send((self.1.clone(), name()));
        }
    }
    fn name() -> String {
        thread::current().name().unwrap_or_default().to_owned()
    }
    within(LIMIT, || {
        let workers = workers(3);
        let (sender, dropped) = channel::unbounded();
        let parts = Sharded::new(&workers, move || Tells(sender.clone(), name()));
        assert_eq!(parts.on_all(|part| part.1.clone()).len(), 3);
        drop(parts);
        let told: Vec<_> = dropped.into_iter().collect();
        assert_eq!(told.len(), 3);
        assert!(told.iter().all(|(made, dropped)| made == dropped));
    });
}

#[test]
fn a_part_that_cannot_be_made_fails_what_is_asked_of_it() {
    within(LIMIT, || {
        let parts = Sharded::<u32>::new(&workers(2), || std::panic::resume_unwind(Box::new("no")));
        assert!(parts.on_all(|part| *part).into_iter().all(|result| result.is_err()));
        assert!(parts.on(&1, |part| *part).is_err());
    });
}

#[test]
fn calls_that_wait_are_killed_with_their_part() {
    within(LIMIT, || {
        let workers = workers(1);
        let parts = Arc::new(Sharded::new(&workers, || ()));
        let begun = Arc::new(AtomicUsize::new(0));
        let ask = |_| {
            let (parts, begun) = (parts.clone(), begun.clone());
            spawn(move || {
                let wait = move |(): &mut ()| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    sleep(Duration::MAX);
                };
                parts.on("key", wait).unwrap_err().is_killed()
            })
        };
        let asking: Vec<_> = (0..20).map(ask).collect();
        until(|| begun.load(Ordering::SeqCst) == 1);
        // The others would be killed one after another, each time after twice as long.
        workers.stop(Duration::ZERO);
        assert!(asking.into_iter().all(|asking| asking.join().unwrap()));
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn parts_are_there_until_they_are_dropped_though_workers_leave() {
    within(LIMIT, || {
        let workers = workers(2);
        while_they_come_and_go(&workers, || {
            for _ in 0..300 {
                let parts = Sharded::new(&workers, || 1_usize);
                for times in 1..4 {
                    let count = |part: &mut usize| {
                        // What ends here has the worker look whether it may end.
                        let other = spawn(|| ());
                        (std::mem::replace(part, *part + 1), other)
                    };
                    for result in parts.on_all(count) {
                        let (before, other) = result.unwrap();
                        assert_eq!(before, times);
                        other.join().unwrap();
                    }
                }
            }
        });
    });
}

#[test]
fn what_is_asked_of_stopped_workers_fails() {
    within(LIMIT, || {
        let workers = workers(1);
        let made = Arc::new(AtomicUsize::new(0));
        let counts = made.clone();
        let parts = Sharded::new(&workers, move || counts.fetch_add(1, Ordering::SeqCst));
        until(|| made.load(Ordering::SeqCst) == 1);
        drop(parts);
        workers.stop(GRACE);
        let parts = Sharded::new(&workers, || ());
        assert!(parts.on(&1, |()| ()).unwrap_err().is_killed());
    });
}
