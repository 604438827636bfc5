//! Locks: gevent's `test__semaphore.py`, `test__lock.py` and `lock_tests.py`, as far as `tests/sync` does not hold it.
//! Numbers: see `README.md`.

use std::cell::Cell;
use std::sync::Arc;

use greenloop::sync::{BoundedSemaphore, ReentrantLock};
use greenloop::{spawn, wait_any, yield_now};

use crate::support::{spawn_parked, within};
use crate::{LIMIT, Log, raised};

#[test]
fn case_110_a_bounded_semaphore_refuses_what_was_not_taken() {
    within(LIMIT, || {
        let semaphore = Arc::new(BoundedSemaphore::new(1));
        assert_eq!(raised(|| semaphore.release(1)), "more permits than there may be");
        assert_eq!((semaphore.available_permits(), semaphore.bound()), (1, 1));
        let permit = semaphore.acquire();
        let next = spawn_parked({
            let semaphore = semaphore.clone();
            move || semaphore.acquire().forget()
        });
        drop(permit);
        next.join().unwrap();
        // Made up for by hand while a guard is still there: that comes back to nothing.
        semaphore.release(1);
        let permit = semaphore.try_acquire().unwrap();
        semaphore.release(1);
        drop(permit);
        assert_eq!(semaphore.available_permits(), 1);
        assert!(wait_any([&*semaphore]).is_some());
        assert_eq!(format!("{semaphore:?}"), "BoundedSemaphore(Semaphore { permits: 1, waiting: 0 })");
    });
}

#[test]
fn case_111_a_reentrant_lock_belongs_to_one_green_thread() {
    within(LIMIT, || {
        let (lock, log) = (Arc::new(ReentrantLock::new(Cell::new(0))), Log::new());
        let tasks = [1, 2, 3].map(|number| {
            let (lock, log) = (lock.clone(), log.clone());
            spawn(move || {
                let outer = lock.lock();
                yield_now();
                for _ in 0..3 {
                    let inner = lock.lock();
                    inner.set(inner.get() + 1);
                    yield_now();
                }
                log.push((number, outer.get()));
            })
        });
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!(log.take(), [(1, 3), (2, 6), (3, 9)]);
    });
}
