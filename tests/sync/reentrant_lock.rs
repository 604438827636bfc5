use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use greenloop::sync::{ReentrantLock, TimedOut};
use greenloop::{JoinHandle, sleep, spawn, yield_now};

use super::support::{in_any_order, spawn_parked};
use super::{LIMIT, Log};

fn contender(lock: &Arc<ReentrantLock<Cell<u32>>>, log: &Log, name: &'static str) -> JoinHandle<()> {
    let (lock, log) = (lock.clone(), log.clone());
    spawn_parked(move || {
        let _guard = lock.lock();
        log.add(name);
    })
}

#[test]
fn it_is_unlocked_with_the_last_guard_and_handed_over_in_order() {
    in_any_order(LIMIT, || {
        let (lock, log) = (Arc::new(ReentrantLock::new(Cell::new(0))), Log::default());
        let guards = [lock.lock(), lock.try_lock().unwrap(), lock.lock_timeout(Duration::ZERO).unwrap()];
        let [a, b, c] = ["a", "b", "c"].map(|name| contender(&lock, &log, name));
        for guard in guards {
            assert_eq!(log.take(), [""; 0]);
            yield_now();
            drop(guard);
        }
        assert!(!a.try_kill(), "it has the lock and has not run");
        b.join().unwrap();
        c.join().unwrap();
        assert_eq!(log.take(), ["b", "c"]);
        assert!(lock.try_lock().is_some());
    });
}

#[test]
fn a_kill_unlocks_all_and_poisons_nothing() {
    in_any_order(LIMIT, || {
        let lock = Arc::new(ReentrantLock::new(Cell::new(0)));
        let holder = spawn_parked({
            let lock = lock.clone();
            move || {
                let _guards = [lock.lock(), lock.lock()];
                sleep(LIMIT);
            }
        });
        assert_eq!(lock.lock_timeout(Duration::from_millis(1)).unwrap_err(), TimedOut);
        assert_eq!(format!("{lock:?}"), "ReentrantLock { data: <locked>, .. }");
        holder.kill();
        assert_eq!(
            format!("{lock:?} {:?}", lock.lock()),
            "ReentrantLock { data: Cell { value: 0 }, .. } Cell { value: 0 }"
        );
    });
}

#[test]
fn it_takes_what_std_takes() {
    in_any_order(LIMIT, || {
        static LOCK: ReentrantLock<u32> = ReentrantLock::new(5);
        assert_eq!((*LOCK.lock(), LOCK.lock().to_string()), (5, "5".to_owned()));
        let unsized_value: Box<ReentrantLock<[u32]>> = Box::new(ReentrantLock::new([1, 2]));
        assert_eq!(unsized_value.lock()[..], [1, 2]);
        let mut lock = ReentrantLock::<u32>::default();
        *lock.get_mut() += 1;
        assert_eq!((lock.into_inner(), ReentrantLock::from(3).into_inner()), (1, 3));
        assert!(spawn(|| LOCK.lock_deadline(std::time::Instant::now()).is_ok()).join().unwrap());
    });
}
