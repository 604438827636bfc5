use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::event::Event;
use greenloop::sync::{Mutex, MutexGuard};
use greenloop::{idle, sleep, spawn, with_timeout, yield_now};

use super::support::{LeftOut, block_past, in_a_world, in_any_order, once, spawn_parked, two_deadlines};
use super::{LIMIT, Log};

/// A green thread that waits for the mutex, tells `log` its name when it has it, and unlocks.
fn contender(mutex: &Arc<Mutex<()>>, log: &Log, name: &'static str) -> greenloop::JoinHandle<()> {
    let (mutex, log) = (mutex.clone(), log.clone());
    spawn_parked(move || {
        let _guard = mutex.lock().unwrap();
        log.add(name);
    })
}

#[test]
fn locking_without_a_contender_does_not_yield() {
    in_any_order(LIMIT, || {
        let log = Log::default();
        let mutex = Mutex::new(1);
        let _other = spawn({
            let log = log.clone();
            move || log.add("other")
        });
        *mutex.lock().unwrap() += 1;
        *mutex.lock_timeout(LIMIT).unwrap() += 1;
        assert_eq!(*mutex.try_lock().unwrap(), 3);
        assert_eq!(log.take(), [""; 0]);
    });
}

#[test]
fn a_guard_held_across_a_yield_excludes() {
    in_any_order(LIMIT, || {
        let count = Arc::new(Mutex::new(0));
        let adders: Vec<_> = (0..50)
            .map(|_| {
                let count = count.clone();
                spawn(move || {
                    for _ in 0..20 {
                        let mut count = count.lock().unwrap();
                        let before = *count;
                        yield_now();
                        *count = before + 1;
                    }
                })
            })
            .collect();
        adders.into_iter().for_each(|adder| adder.join().unwrap());
        assert_eq!(*count.lock().unwrap(), 1000);
    });
}

/// Conformance 107, for a lock.
#[test]
fn it_is_handed_over_in_order_of_arrival_and_nobody_gets_in_between() {
    in_any_order(LIMIT, || {
        let (mutex, log) = (Arc::new(Mutex::new(())), Log::default());
        let guard = mutex.lock().unwrap();
        let waiting = ["a", "b", "c"].map(|name| contender(&mutex, &log, name));
        drop(guard);
        assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)), "it belongs to a now");
        log.add("unlocked");
        drop(mutex.lock().unwrap());
        log.add("locked again");
        assert_eq!(log.take(), ["unlocked", "a", "b", "c", "locked again"]);
        waiting.into_iter().for_each(|task| task.join().unwrap());
    });
}

#[test]
fn one_killed_in_line_leaves_it() {
    in_any_order(LIMIT, || {
        let (mutex, log) = (Arc::new(Mutex::new(())), Log::default());
        let guard = mutex.lock().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| contender(&mutex, &log, name));
        b.kill();
        drop(guard);
        assert!(b.join().unwrap_err().is_killed());
        a.join().unwrap();
        c.join().unwrap();
        assert_eq!(log.take(), ["a", "c"]);
        assert!(mutex.try_lock().is_ok(), "unlocked and not poisoned");
    });
}

/// Conformance 109, for a lock: the hand-over and the kill race.
#[test]
fn one_killed_between_hand_over_and_run_passes_it_on() {
    in_any_order(LIMIT, || {
        let (mutex, log) = (Arc::new(Mutex::new(())), Log::default());
        let guard = mutex.lock().unwrap();
        let [a, b] = ["a", "b"].map(|name| contender(&mutex, &log, name));
        drop(guard);
        assert!(!a.try_kill(), "it has the lock and has not run");
        assert!(a.join().unwrap_err().is_killed());
        b.join().unwrap();
        assert_eq!(log.take(), ["b"]);
        assert!(mutex.try_lock().is_ok(), "a never held it: not poisoned");
    });
}

#[test]
fn all_killed_between_hand_over_and_run_leave_it_unlocked() {
    in_any_order(LIMIT, || {
        let (mutex, log) = (Arc::new(Mutex::new(())), Log::default());
        let guard = mutex.lock().unwrap();
        let tasks = ["a", "b", "c"].map(|name| contender(&mutex, &log, name));
        drop(guard);
        greenloop::killall(&tasks);
        assert_eq!(log.take(), [""; 0]);
        assert!(mutex.try_lock().is_ok());
    });
}

#[test]
fn a_wait_with_a_deadline_ends() {
    in_a_world(LIMIT, |world| {
        let mutex = Mutex::new(());
        let _guard = mutex.lock().unwrap();
        let start = world.now();
        let late = mutex.lock_timeout(Duration::from_millis(10));
        assert!(matches!(late, Err(TryLockError::WouldBlock)));
        assert_eq!(world.elapsed(), Duration::from_millis(10));
        let late = mutex.lock_deadline(start + Duration::from_millis(15));
        assert!(matches!(late, Err(TryLockError::WouldBlock)));
        assert_eq!(world.elapsed(), Duration::from_millis(15));
        assert!(mutex.lock_deadline(start).is_err(), "a deadline that is past");
    });
}

/// The deadline passes first, but before the waiter runs it is handed the mutex: it takes it.
#[test]
fn a_deadline_between_hand_over_and_run_loses_nothing() {
    once(LeftOut::BlockedThread, LIMIT, || {
        let (first, second) = two_deadlines();
        let mutex = Arc::new(Mutex::new(()));
        let holder = spawn_parked({
            let mutex = mutex.clone();
            move || {
                let _guard = mutex.lock().unwrap();
                Event::new().wait_deadline(first);
            }
        });
        let waiter = spawn_parked({
            let mutex = mutex.clone();
            move || mutex.lock_deadline(second).map(drop).is_ok()
        });
        block_past(second);
        assert!(waiter.join().unwrap(), "it was locked for it");
        holder.join().unwrap();
        assert!(mutex.try_lock().is_ok());
    });
}

#[test]
fn a_time_limit_between_hand_over_and_run_passes_it_on() {
    once(LeftOut::BlockedThread, LIMIT, || {
        let (first, second) = two_deadlines();
        let (mutex, log) = (Arc::new(Mutex::new(())), Log::default());
        let holder = spawn_parked({
            let mutex = mutex.clone();
            move || {
                let _guard = mutex.lock().unwrap();
                Event::new().wait_deadline(first);
            }
        });
        let limited = spawn_parked({
            let mutex = mutex.clone();
            move || with_timeout(second.duration_since(Instant::now()), || drop(mutex.lock())).is_err()
        });
        let next = contender(&mutex, &log, "next");
        block_past(second);
        assert!(limited.join().unwrap(), "the limit wins");
        next.join().unwrap();
        holder.join().unwrap();
        assert!(mutex.try_lock().is_ok(), "unlocked and not poisoned");
    });
}

#[test]
fn every_unwinding_through_a_guard_poisons() {
    in_any_order(LIMIT, || {
        let mutex = Arc::new(Mutex::new(()));
        let hold = |run: fn()| {
            let mutex = mutex.clone();
            spawn(move || {
                let _guard = mutex.lock().unwrap();
                run();
            })
        };
        let end = |how: &str| {
            assert!(mutex.is_poisoned(), "{how}");
            assert!(matches!(mutex.try_lock(), Err(TryLockError::Poisoned(_))));
            let guard = mutex.lock().unwrap_err().into_inner();
            mutex.clear_poison();
            drop(guard);
            assert!(!mutex.is_poisoned());
        };
        assert!(hold(|| resume_unwind(Box::new("a panic"))).join().unwrap_err().is_panic());
        end("a panic");
        let killed = hold(|| sleep(LIMIT));
        idle();
        killed.kill();
        end("a kill");
        let limited = with_timeout(Duration::from_millis(1), || {
            let _guard = mutex.lock().unwrap();
            sleep(LIMIT);
        });
        assert!(limited.is_err());
        end("a time limit that leaves the guard's frame");
        let _guard = mutex.lock().unwrap();
        assert!(with_timeout(Duration::from_millis(1), || sleep(LIMIT)).is_err());
        assert!(!mutex.is_poisoned(), "the guard is not in what it unwound");
    });
}

#[test]
fn a_poisoned_mutex_gives_its_value_all_the_same() {
    let mut mutex = Mutex::new(7);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _guard = mutex.lock().unwrap();
        resume_unwind(Box::new(()));
    }));
    assert!(panic.is_err());
    assert_eq!(**mutex.get_mut().unwrap_err().get_ref(), 7);
    assert_eq!(mutex.into_inner().unwrap_err().into_inner(), 7);
}

/// Locks when it is dropped, and tells whether it could.
struct LocksOnDrop(Arc<Mutex<Vec<&'static str>>>);

impl Drop for LocksOnDrop {
    fn drop(&mut self) {
        match self.0.lock() {
            Ok(mut lines) => lines.push("dropped"),
            Err(_) => self.0.clear_poison(),
        }
    }
}

#[test]
fn a_destructor_may_lock_while_it_unwinds_without_poisoning() {
    in_any_order(LIMIT, || {
        let mutex = Arc::new(Mutex::new(Vec::new()));
        let owner = spawn_parked({
            let mutex = mutex.clone();
            move || {
                let _locks = LocksOnDrop(mutex);
                sleep(LIMIT);
            }
        });
        owner.kill();
        assert_eq!(*mutex.lock().unwrap(), ["dropped"], "locked and not poisoned");
    });
}

/// Conformance 165. While one green thread is parked in a destructor that its kill runs, `std::thread::panicking` is true
/// for all: the mutexes of the others are not poisoned by that, their sleeps and yields work, and a second kill of the
/// first one waits until it has ended.
#[test]
fn a_destructor_may_wait_for_a_mutex_while_it_unwinds() {
    once(LeftOut::OsThreads, LIMIT, || {
        let mutex = Arc::new(Mutex::new(Vec::new()));
        let other = Arc::new(Mutex::new(()));
        let all_wait = Arc::new(Event::new());
        let holder = spawn_parked({
            let (mutex, other, all_wait) = (mutex.clone(), other.clone(), all_wait.clone());
            move || {
                let mut lines = mutex.lock().unwrap();
                let _other = other.lock().unwrap();
                all_wait.wait();
                assert!(thread::panicking(), "the destructor is parked");
                let start = Instant::now();
                sleep(Duration::from_millis(10));
                assert!(start.elapsed() >= Duration::from_millis(10), "a sleep sleeps");
                lines.push("held");
            }
        });
        let owners: Vec<_> = (0..3)
            .map(|_| {
                let mutex = mutex.clone();
                spawn_parked(move || {
                    let _locks = LocksOnDrop(mutex);
                    sleep(LIMIT);
                })
            })
            .collect();
        for owner in &owners {
            assert!(!owner.try_kill());
        }
        idle();
        for owner in &owners {
            assert!(!owner.try_kill(), "it waits for the mutex, undisturbed");
        }
        all_wait.set();
        for owner in owners {
            assert!(owner.join().unwrap_err().is_killed());
        }
        holder.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), ["held", "dropped", "dropped", "dropped"]);
        assert!(other.lock().is_ok());
    });
}

#[test]
fn a_wait_in_a_destructor_keeps_its_deadline() {
    struct Waits(Arc<Mutex<()>>, Log);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.1.add(self.0.lock_timeout(Duration::from_millis(5)).is_err());
        }
    }
    in_any_order(LIMIT, || {
        let (mutex, log) = (Arc::new(Mutex::new(())), Log::default());
        let owner = spawn_parked({
            let waits = Waits(mutex.clone(), log.clone());
            move || {
                let _waits = waits;
                sleep(LIMIT);
            }
        });
        let guard = mutex.lock().unwrap();
        owner.kill();
        assert_eq!(log.take(), ["true"]);
        drop(guard);
        assert!(!mutex.is_poisoned());
    });
}

#[test]
fn hubs_and_plain_threads_exclude_each_other() {
    in_any_order(LIMIT, || {
        let count = Arc::new(Mutex::new(0u32));
        let add = |count: &Mutex<u32>| {
            let mut count: MutexGuard<'_, u32> = count.lock().unwrap();
            let before = *count;
            thread::yield_now();
            *count = before + 1;
        };
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let count = count.clone();
                thread::spawn(move || {
                    if number % 2 == 0 {
                        return (0..400).for_each(|_| add(&count));
                    }
                    let adders: Vec<_> = (0..8)
                        .map(|_| {
                            let count = count.clone();
                            spawn(move || {
                                (0..50).for_each(|_| {
                                    add(&count);
                                    yield_now();
                                });
                            })
                        })
                        .collect();
                    adders.into_iter().for_each(|adder| adder.join().unwrap());
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*count.lock().unwrap(), 1600);
    });
}

#[test]
fn it_is_shown_without_waiting() {
    let mutex = Mutex::new(5);
    assert_eq!(format!("{mutex:?}"), "Mutex { data: 5, poisoned: false, .. }");
    let guard = mutex.lock().unwrap();
    assert_eq!(format!("{mutex:?}"), "Mutex { data: <locked>, poisoned: false, .. }");
    assert_eq!(format!("{guard:?} {guard}"), "5 5");
}

#[test]
fn it_takes_what_std_takes() {
    static WORDS: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    WORDS.lock().unwrap().push("static");
    assert_eq!(*WORDS.lock().unwrap(), ["static"]);
    let unsized_value: Box<Mutex<[u32]>> = Box::new(Mutex::new([1, 2, 3]));
    unsized_value.lock().unwrap()[1] = 5;
    assert_eq!(unsized_value.lock().unwrap()[..], [1, 5, 3]);
    assert_eq!(*Mutex::<u32>::default().lock().unwrap(), 0);
    assert_eq!(Mutex::from(3).into_inner().unwrap(), 3);
}
