use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, TryLockError};
use std::time::{Duration, Instant};

use greenloop::event::Event;
use greenloop::sync::{RwLock, RwLockWriteGuard};
use greenloop::{JoinHandle, idle, sleep, spawn, with_timeout, yield_now};

use super::support::{
    LeftOut, block_past, end_with_one_parked, in_a_world, in_any_order, once, spawn_parked, two_deadlines,
};
use super::{LIMIT, Log};

fn reader(lock: &Arc<RwLock<u32>>, log: &Log, name: &'static str) -> JoinHandle<()> {
    let (lock, log) = (lock.clone(), log.clone());
    spawn_parked(move || {
        let _guard = lock.read().unwrap();
        log.add(name);
        yield_now();
        log.add(format!("end of {name}"));
    })
}

fn writer(lock: &Arc<RwLock<u32>>, log: &Log, name: &'static str) -> JoinHandle<()> {
    let (lock, log) = (lock.clone(), log.clone());
    spawn_parked(move || {
        *lock.write().unwrap() += 1;
        log.add(name);
    })
}

fn locked() -> (Arc<RwLock<u32>>, Log) {
    (Arc::new(RwLock::new(0)), Log::default())
}

#[test]
fn without_a_contender_it_does_not_yield() {
    in_any_order(LIMIT, || {
        let (lock, log) = locked();
        let _other = spawn({
            let log = log.clone();
            move || log.add("other")
        });
        *lock.write().unwrap() += 1;
        *lock.write_timeout(LIMIT).unwrap() += 1;
        let (one, two) = (lock.read().unwrap(), lock.read_timeout(LIMIT).unwrap());
        assert_eq!((*one, *two, *lock.try_read().unwrap()), (2, 2, 2));
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        assert_eq!(log.take(), [""; 0]);
    });
}

/// Readers go together, writers alone, and nobody overtakes: a writer is not starved by readers that come.
#[test]
fn all_are_served_in_order_of_arrival() {
    once(LeftOut::HubOrder, LIMIT, || {
        let (lock, log) = locked();
        let guard = lock.read().unwrap();
        let tasks = [
            writer(&lock, &log, "writer"),
            reader(&lock, &log, "a"),
            reader(&lock, &log, "b"),
            writer(&lock, &log, "another"),
            reader(&lock, &log, "c"),
        ];
        assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)), "a writer waits");
        drop(guard);
        tasks.into_iter().for_each(|task| task.join().unwrap());
        let expected = ["writer", "a", "b", "end of a", "end of b", "another", "c", "end of c"];
        assert_eq!(log.take(), expected);
        assert_eq!(*lock.try_write().unwrap(), 2);
    });
}

#[test]
fn a_writer_that_leaves_lets_the_readers_behind_it_in() {
    in_a_world(LIMIT, |world| {
        let (lock, log) = locked();
        let guard = lock.read().unwrap();
        let killed = writer(&lock, &log, "killed");
        let a = reader(&lock, &log, "a");
        killed.kill();
        a.join().unwrap();
        let late = spawn_parked({
            let lock = lock.clone();
            move || lock.write_timeout(Duration::from_millis(5)).is_err()
        });
        let b = reader(&lock, &log, "b");
        assert!(late.join().unwrap());
        b.join().unwrap();
        assert_eq!(world.elapsed(), Duration::from_millis(5));
        assert_eq!(log.take(), ["a", "end of a", "b", "end of b"]);
        drop(guard);
        assert!(lock.try_write().is_ok());
    });
}

/// Conformance 109, for this lock.
#[test]
fn one_killed_between_hand_over_and_run_passes_it_on() {
    in_any_order(LIMIT, || {
        let (lock, log) = locked();
        let guard = lock.write().unwrap();
        let [first, second] = ["first", "second"].map(|name| writer(&lock, &log, name));
        drop(guard);
        assert!(!first.try_kill(), "it has the lock and has not run");
        second.join().unwrap();
        let guard = lock.write().unwrap();
        let (reads, third) = (reader(&lock, &log, "reader"), writer(&lock, &log, "third"));
        drop(guard);
        assert!(!reads.try_kill(), "it has the lock and has not run");
        third.join().unwrap();
        assert!(first.join().unwrap_err().is_killed() && reads.join().unwrap_err().is_killed());
        assert_eq!(log.take(), ["second", "third"]);
        assert!(lock.try_write().is_ok(), "unlocked and not poisoned");
    });
}

#[test]
fn a_deadline_between_hand_over_and_run_loses_nothing() {
    once(LeftOut::BlockedThread, LIMIT, || {
        let (first, second) = two_deadlines();
        let (lock, log) = locked();
        let holder = spawn_parked({
            let lock = lock.clone();
            move || {
                let _guard = lock.write().unwrap();
                Event::new().wait_deadline(first);
            }
        });
        let waits = spawn_parked({
            let lock = lock.clone();
            move || lock.write_deadline(second).map(drop).is_ok()
        });
        let limited = spawn_parked({
            let lock = lock.clone();
            move || with_timeout(second.duration_since(Instant::now()), || drop(lock.read())).is_err()
        });
        let next = writer(&lock, &log, "next");
        block_past(second);
        assert!(waits.join().unwrap(), "it was locked for it");
        assert!(limited.join().unwrap(), "the limit wins");
        next.join().unwrap();
        holder.join().unwrap();
        assert!(lock.try_write().is_ok());
    });
}

#[test]
fn only_a_writer_poisons() {
    in_any_order(LIMIT, || {
        let (lock, _) = locked();
        let unwind = |write: bool| {
            catch_unwind(AssertUnwindSafe(|| {
                let _read = (!write).then(|| lock.read().unwrap());
                let _write = write.then(|| lock.write().unwrap());
                resume_unwind(Box::new(()));
            }))
        };
        assert!(unwind(false).is_err() && !lock.is_poisoned());
        assert!(unwind(true).is_err() && lock.is_poisoned());
        assert!(matches!(lock.try_read(), Err(TryLockError::Poisoned(_))));
        assert!(lock.write().is_err() && lock.read_timeout(LIMIT).is_err());
        lock.clear_poison();
        let killed = spawn({
            let lock = lock.clone();
            move || {
                let _guard = lock.write().unwrap();
                sleep(LIMIT);
            }
        });
        idle();
        killed.kill();
        assert_eq!(*lock.read().unwrap_err().into_inner(), 0, "a kill poisons too");
        let mut lock = Arc::into_inner(lock).unwrap();
        assert!(lock.get_mut().is_err() && lock.into_inner().is_err());
    });
}

#[test]
fn a_writer_goes_on_as_a_reader_with_nobody_in_between() {
    in_any_order(LIMIT, || {
        let (lock, log) = locked();
        let writing = lock.write().unwrap();
        let reads = reader(&lock, &log, "reader");
        let writes = writer(&lock, &log, "writer");
        let reading = RwLockWriteGuard::downgrade(writing);
        reads.join().unwrap();
        assert_eq!((log.take().len(), *reading), (2, 0));
        drop(reading);
        writes.join().unwrap();
    });
}

#[test]
fn it_is_not_handed_to_who_never_runs_again() {
    once(LeftOut::OsThreads, LIMIT, || {
        let (lock, log) = locked();
        let guard = lock.write().unwrap();
        let elsewhere = lock.clone();
        end_with_one_parked(move || drop(elsewhere.write()));
        let next = reader(&lock, &log, "next");
        drop(guard);
        next.join().unwrap();
        assert!(lock.try_write().is_ok());
    });
}

#[test]
fn it_is_shown_without_waiting_and_takes_what_std_takes() {
    let lock = RwLock::new(5);
    assert_eq!(format!("{lock:?}"), "RwLock { data: 5, poisoned: false, .. }");
    let guard = lock.write().unwrap();
    assert_eq!(format!("{lock:?}"), "RwLock { data: <locked>, poisoned: false, .. }");
    assert_eq!(format!("{guard:?} {guard}"), "5 5");
    drop(guard);
    assert_eq!(format!("{:?} {0}", lock.read().unwrap()), "5 5");
    let unsized_value: Box<RwLock<[u32]>> = Box::new(RwLock::new([1, 2, 3]));
    unsized_value.write().unwrap()[1] = 5;
    assert_eq!(unsized_value.read().unwrap()[..], [1, 5, 3]);
    assert_eq!(*RwLock::<u32>::default().read().unwrap(), 0);
    assert_eq!(RwLock::from(3).into_inner().unwrap(), 3);
}
