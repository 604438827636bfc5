//! Who is served first.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;

use greenloop::pool::Pool;
use greenloop::sync::{BoundedSemaphore, Semaphore};
use greenloop::{idle, spawn, yield_now};

use super::LIMIT;
use super::support::{spawn_parked, within};

/// Each job, when it is done, starts the next one, as those of a crawler do.
#[test]
fn one_who_waits_is_not_overtaken_by_all_who_come_later() {
    fn job(semaphore: Rc<Semaphore>, count: Rc<Cell<u32>>) {
        let permit = semaphore.acquire();
        yield_now();
        count.set(count.get() + 1);
        drop(permit);
        if count.get() < 1_000 {
            drop(spawn(move || job(semaphore, count)));
        }
    }
    within(LIMIT, || {
        let (semaphore, count) = (Rc::new(Semaphore::new(1)), Rc::new(Cell::new(0)));
        let (first, counted) = (semaphore.clone(), count.clone());
        drop(spawn(move || job(first, counted)));
        yield_now();
        let waiter = spawn(move || {
            let _permit = semaphore.acquire();
            count.get()
        });
        assert_eq!(waiter.join().unwrap(), 2, "the job that held the permit, and one later job");
    });
}

#[test]
fn a_permit_is_snatched_from_a_waiter_once() {
    within(LIMIT, || {
        let semaphore = Arc::new(BoundedSemaphore::new(1));
        let permit = semaphore.acquire();
        let waiters = [1, 2].map(|_| {
            let semaphore = semaphore.clone();
            spawn_parked(move || drop(semaphore.acquire()))
        });
        drop(permit);
        let snatched = semaphore.try_acquire().expect("the first time");
        assert_eq!(semaphore.available_permits(), 0);
        idle();
        drop(snatched);
        assert_eq!(semaphore.available_permits(), 0, "it is kept for the first");
        assert!(semaphore.try_acquire().is_none());
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(semaphore.available_permits(), 1);
    });
}

/// It cannot see that it was overtaken, for its hub does not run.
#[test]
fn a_waiter_on_a_slow_os_thread_is_overtaken_once() {
    within(LIMIT, || {
        let semaphore = Arc::new(Semaphore::new(0));
        let (parked, is_parked) = mpsc::channel();
        let (go, goes) = mpsc::channel::<()>();
        let slow = thread::spawn({
            let semaphore = semaphore.clone();
            move || {
                let waiter = spawn_parked(move || semaphore.acquire().forget());
                parked.send(()).unwrap();
                goes.recv().unwrap();
                waiter.join().unwrap();
            }
        });
        is_parked.recv().unwrap();
        semaphore.release(1);
        semaphore.try_acquire().expect("the first time").forget();
        semaphore.release(1);
        assert!(semaphore.try_acquire().is_none());
        // There is one for a newcomer beside it.
        semaphore.release(1);
        semaphore.try_acquire().unwrap().forget();
        go.send(()).unwrap();
        slow.join().unwrap();
        assert_eq!(semaphore.available_permits(), 0);
    });
}

/// One that was overtaken goes, and what was kept for it is everybody's.
#[test]
fn what_was_kept_for_one_that_is_killed_is_free() {
    within(LIMIT, || {
        let semaphore = Arc::new(Semaphore::new(0));
        let waiter = spawn_parked({
            let semaphore = semaphore.clone();
            move || semaphore.acquire().forget()
        });
        for expected in [true, false] {
            semaphore.release(1);
            let taken = semaphore.try_acquire().map(|permit| permit.forget());
            assert_eq!(taken.is_some(), expected);
        }
        waiter.kill();
        assert_eq!(semaphore.available_permits(), 1);
    });
}

#[test]
fn one_who_waits_for_a_slot_of_a_pool_gets_one() {
    within(LIMIT, || {
        let pool = Rc::new(Pool::new(1));
        let first = pool.spawn(yield_now);
        let waiter = spawn({
            let pool = pool.clone();
            move || drop(pool.spawn(|| ()))
        });
        yield_now();
        let mut snatched = 0;
        while !waiter.is_finished() {
            if let Ok(member) = pool.try_spawn(yield_now) {
                snatched += 1;
                assert!(snatched < 3, "newcomers keep the slot");
                member.join().unwrap();
            } else {
                yield_now();
            }
        }
        first.join().unwrap();
    });
}
