use std::sync::Arc;

use greenloop::sync::{Condvar, Mutex, Semaphore};

use super::LIMIT;
use super::support::{LeftOut, end_with_one_parked, once, spawn_parked};

#[test]
fn a_mutex_is_not_handed_to_who_never_runs_again() {
    once(LeftOut::OsThreads, LIMIT, || {
        let mutex = Arc::new(Mutex::new(()));
        let guard = mutex.lock().unwrap();
        for _ in 0..2 {
            let mutex = mutex.clone();
            end_with_one_parked(move || drop(mutex.lock()));
        }
        let next = spawn_parked({
            let mutex = mutex.clone();
            move || drop(mutex.lock().unwrap())
        });
        drop(guard);
        next.join().unwrap();
        assert!(mutex.try_lock().is_ok());
        let guard = mutex.lock().unwrap();
        end_with_one_parked({
            let mutex = mutex.clone();
            move || drop(mutex.lock())
        });
        drop(guard);
        assert!(mutex.try_lock().is_ok(), "nobody living waits");
    });
}

#[test]
fn no_permit_is_kept_for_who_never_runs_again() {
    once(LeftOut::OsThreads, LIMIT, || {
        let semaphore = Arc::new(Semaphore::new(0));
        end_with_one_parked({
            let semaphore = semaphore.clone();
            move || semaphore.acquire().forget()
        });
        let next = spawn_parked({
            let semaphore = semaphore.clone();
            move || semaphore.acquire().forget()
        });
        semaphore.release(1);
        next.join().unwrap();
        assert_eq!(format!("{semaphore:?}"), "Semaphore { permits: 0, waiting: 0 }");
    });
}

#[test]
fn no_notification_is_given_to_who_never_runs_again() {
    once(LeftOut::OsThreads, LIMIT, || {
        let pair = Arc::new((Mutex::new(()), Condvar::new()));
        end_with_one_parked({
            let pair = pair.clone();
            move || drop(pair.1.wait(pair.0.lock().unwrap()))
        });
        let next = spawn_parked({
            let pair = pair.clone();
            move || drop(pair.1.wait(pair.0.lock().unwrap()))
        });
        pair.1.notify_one();
        next.join().unwrap();
    });
}
