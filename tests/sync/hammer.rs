use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use greenloop::sync::{
    Barrier, BoundedSemaphore, Condvar, Mutex, Once, ReentrantLock, RwLock, RwLockWriteGuard,
};
use greenloop::{sleep, spawn, with_timeout, yield_now};

use super::LIMIT;
use super::support::hammer::{hammer, perhaps_limited, short};
use super::support::in_any_order;

#[test]
fn a_mutex_is_never_held_twice_nor_lost() {
    in_any_order(LIMIT, || {
        let mutex = Arc::new(Mutex::new(0u64));
        let held = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        hammer({
            let (mutex, held, count) = (mutex.clone(), held.clone(), count.clone());
            move |random| {
                let patience = short(random);
                let how = random.below(4);
                let slow = random.below(2) == 0;
                perhaps_limited(random, || {
                    let guard = match how {
                        0 => mutex.try_lock().ok(),
                        1 => mutex.lock_timeout(patience).ok(),
                        _ => Some(mutex.lock().unwrap()),
                    };
                    let Some(mut guard) = guard else { return };
                    assert!(!held.swap(true, SeqCst), "held twice");
                    *guard += 1;
                    count.fetch_add(1, SeqCst);
                    assert!(held.swap(false, SeqCst));
                    if slow {
                        // No kill may come while it is held: that would poison.
                        thread::yield_now();
                    }
                });
            }
        });
        assert_eq!(*mutex.try_lock().expect("unlocked in the end"), count.load(SeqCst));
        assert!(count.load(SeqCst) > 0);
    });
}

/// While it is there, somebody holds the lock.
struct Held<'a>(&'a AtomicBool);

impl<'a> Held<'a> {
    fn new(held: &'a AtomicBool) -> Held<'a> {
        assert!(!held.swap(true, SeqCst), "held twice");
        Held(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        assert!(self.0.swap(false, SeqCst));
    }
}

#[test]
fn a_mutex_held_across_yields_is_never_held_twice_nor_lost() {
    in_any_order(LIMIT, || {
        let mutex = Arc::new(Mutex::new(()));
        let held = Arc::new(AtomicBool::new(false));
        hammer({
            let (mutex, held) = (mutex.clone(), held.clone());
            move |random| {
                let turns = random.below(3);
                perhaps_limited(random, || {
                    // A kill in the middle of the yields poisons, as it should.
                    let _guard = mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    let _held = Held::new(&held);
                    (0..turns).for_each(|_| yield_now());
                });
            }
        });
        mutex.clear_poison();
        assert!(mutex.try_lock().is_ok(), "unlocked in the end");
    });
}

#[test]
fn no_permit_is_lost_or_made() {
    const PERMITS: usize = 3;
    in_any_order(LIMIT, || {
        let semaphore = Arc::new(BoundedSemaphore::new(PERMITS));
        let inside = Arc::new(AtomicUsize::new(0));
        struct Inside<'a>(&'a AtomicUsize);
        impl Drop for Inside<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        hammer({
            let (semaphore, inside) = (semaphore.clone(), inside.clone());
            move |random| {
                let patience = short(random);
                let (how, turns) = (random.below(6), random.below(3));
                perhaps_limited(random, || {
                    let permit = match how {
                        0 => semaphore.try_acquire(),
                        1 => semaphore.acquire_timeout(patience).ok(),
                        2 => return semaphore.wait(),
                        3 => {
                            semaphore.wait_timeout(patience);
                            return;
                        }
                        _ => Some(semaphore.acquire()),
                    };
                    let Some(_permit) = permit else { return };
                    assert!(inside.fetch_add(1, SeqCst) < PERMITS);
                    let _inside = Inside(&inside);
                    (0..turns).for_each(|_| yield_now());
                });
            }
        });
        assert_eq!(semaphore.available_permits(), PERMITS);
        assert_eq!(format!("{:?}", **semaphore), "Semaphore { permits: 3, waiting: 0 }");
    });
}

/// Each token is announced once. Were a notification lost, a token would stay while all consumers sleep.
#[test]
fn no_notification_is_lost() {
    in_any_order(LIMIT, || {
        let tokens = Arc::new((Mutex::new(0u64), Condvar::new()));
        let (made, taken) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let take = |tokens: &(Mutex<u64>, Condvar), stop: &AtomicBool, taken: &AtomicU64| {
            let waits = |left: &mut u64| *left == 0 && !stop.load(SeqCst);
            let mut left = tokens.1.wait_while(tokens.0.lock().unwrap(), waits).unwrap();
            if *left > 0 {
                *left -= 1;
                taken.fetch_add(1, SeqCst);
            }
        };
        // Consumers that nobody kills, one in a hub and one plain: they alone see to it that no token is left.
        let steady: Vec<_> = [true, false]
            .into_iter()
            .map(|green| {
                let (tokens, taken, stop) = (tokens.clone(), taken.clone(), stop.clone());
                let run = move || {
                    while !stop.load(SeqCst) {
                        take(&tokens, &stop, &taken);
                    }
                };
                thread::spawn(move || if green { spawn(run).join().unwrap() } else { run() })
            })
            .collect();
        hammer({
            let (tokens, taken, made, stop) = (tokens.clone(), taken.clone(), made.clone(), stop.clone());
            move |random| {
                if random.below(2) == 0 {
                    *tokens.0.lock().unwrap() += 1;
                    made.fetch_add(1, SeqCst);
                    tokens.1.notify_one();
                } else {
                    // Only under a limit: when the time is over nobody makes tokens any more.
                    let limit = Duration::from_micros(random.below(300) as u64);
                    let _ = with_timeout(limit, || take(&tokens, &stop, &taken));
                }
            }
        });
        while *tokens.0.lock().unwrap() > 0 {
            sleep(Duration::from_millis(1));
        }
        stop.store(true, SeqCst);
        drop(tokens.0.lock());
        tokens.1.notify_all();
        steady.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(taken.load(SeqCst), made.load(SeqCst));
    });
}

#[test]
fn a_reader_writer_lock_keeps_writers_alone_and_is_not_lost() {
    /// Writers count as many.
    const WRITER: usize = 1 << 20;
    struct Inside<'a>(&'a AtomicUsize, usize);
    impl Drop for Inside<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(self.1, SeqCst);
        }
    }
    in_any_order(LIMIT, || {
        let lock = Arc::new(RwLock::new(()));
        let inside = Arc::new(AtomicUsize::new(0));
        hammer({
            let (lock, inside) = (lock.clone(), inside.clone());
            move |random| {
                let patience = short(random);
                let (how, turns) = (random.below(8), random.below(3));
                perhaps_limited(random, || {
                    if how < 5 {
                        let guard = match how {
                            0 => lock.try_read().ok(),
                            1 => lock.read_timeout(patience).ok(),
                            _ => lock.read().or_else(|poisoned| Ok::<_, ()>(poisoned.into_inner())).ok(),
                        };
                        let Some(_guard) = guard else { return };
                        assert!(inside.fetch_add(1, SeqCst) < WRITER, "beside a writer");
                        let _inside = Inside(&inside, 1);
                        (0..turns).for_each(|_| yield_now());
                    } else {
                        let guard = match how {
                            5 => lock.write_timeout(patience).ok(),
                            _ => lock.write().or_else(|poisoned| Ok::<_, ()>(poisoned.into_inner())).ok(),
                        };
                        let Some(guard) = guard else { return };
                        assert_eq!(inside.fetch_add(WRITER, SeqCst), 0, "not alone");
                        let writing = Inside(&inside, WRITER);
                        (0..turns).for_each(|_| yield_now());
                        drop(writing);
                        if how == 7 {
                            let _guard = RwLockWriteGuard::downgrade(guard);
                            assert!(inside.fetch_add(1, SeqCst) < WRITER, "beside a writer");
                            let _inside = Inside(&inside, 1);
                            yield_now();
                        }
                    }
                });
            }
        });
        lock.clear_poison();
        assert!(lock.try_write().is_ok(), "unlocked in the end");
    });
}

#[test]
fn a_reentrant_lock_is_one_green_threads_and_is_not_lost() {
    in_any_order(LIMIT, || {
        let (lock, held) = (Arc::new(ReentrantLock::new(())), Arc::new(AtomicBool::new(false)));
        hammer({
            let (lock, held) = (lock.clone(), held.clone());
            move |random| {
                let (how, patience, turns) = (random.below(3), short(random), random.below(3));
                perhaps_limited(random, || {
                    let guard = match how {
                        0 => lock.try_lock(),
                        1 => lock.lock_timeout(patience).ok(),
                        _ => Some(lock.lock()),
                    };
                    let Some(_guard) = guard else { return };
                    let _held = Held::new(&held);
                    for _ in 0..turns {
                        let _again = lock.lock();
                        yield_now();
                    }
                });
            }
        });
        assert!(lock.try_lock().is_some(), "unlocked in the end");
    });
}

#[test]
fn what_is_done_once_is_done_once() {
    in_any_order(LIMIT, || {
        let all: Arc<Vec<_>> = Arc::new((0..300).map(|_| (Once::new(), AtomicUsize::new(0))).collect());
        hammer({
            let all = all.clone();
            move |random| {
                let (once, done) = &all[random.below(all.len())];
                let (turns, waits) = (random.below(5), random.below(4) == 0);
                let limit = short(random);
                // With a limit always: a wait for what nobody begins never ends.
                let ended = with_timeout(limit, || match waits {
                    true => once.wait_force(),
                    false => once.call_once_force(|_| {
                        (0..turns).for_each(|_| yield_now());
                        done.fetch_add(1, SeqCst);
                    }),
                });
                assert!(ended.is_err() || done.load(SeqCst) == 1);
            }
        });
        for (once, done) in &*all {
            assert_eq!(done.load(SeqCst), usize::from(once.is_completed()));
            once.call_once_force(|_| assert_eq!(done.fetch_add(1, SeqCst), 0));
        }
    });
}

/// Each leader lets two others go, who may be killed before they run; nobody goes without one.
#[test]
fn a_barrier_lets_nobody_through_alone() {
    in_any_order(LIMIT, || {
        let barrier = Arc::new(Barrier::new(3));
        let (leaders, others) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        hammer({
            let (barrier, leaders, others) = (barrier.clone(), leaders.clone(), others.clone());
            move |random| {
                let patience = short(random);
                perhaps_limited(random, || match barrier.wait_timeout(patience) {
                    Ok(result) if result.is_leader() => _ = leaders.fetch_add(1, SeqCst),
                    Ok(_) => _ = others.fetch_add(1, SeqCst),
                    Err(_) => {}
                });
            }
        });
        let (leaders, others) = (leaders.load(SeqCst), others.load(SeqCst));
        assert!(leaders > 0 && others > 0 && others <= 2 * leaders, "{leaders} leaders, {others} others");
        assert_eq!(format!("{barrier:?}"), "Barrier { count: 3, waiting: 0 }");
    });
}
