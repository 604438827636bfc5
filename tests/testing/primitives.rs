use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use greenloop::event::Event;
use greenloop::pool::Pool;
use greenloop::queue::Queue;
use greenloop::sync::{Barrier, Condvar, Mutex, RwLock, Semaphore};
use greenloop::testing::{Search, World, explore};
use greenloop::{channel, joinall, select, sleep, spawn, with_timeout, yield_now};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Runs `test` in so many orders as `GREENLOOP_TEST_ORDERS` says, or in few: half of them at random, half by priorities.
fn in_many_orders(test: impl Fn(&World) + Sync) {
    let orders = std::env::var("GREENLOOP_TEST_ORDERS").map_or(20, |orders| orders.parse().unwrap());
    explore(Search::random(orders / 2), &test);
    explore(Search::priorities(3, orders / 2), &test);
}

/// Some are killed in the midst of whatever they wait for, and a time limit ends others.
#[test]
fn a_lock_is_held_by_one_and_free_in_the_end() {
    in_many_orders(|_| {
        let lock = Rc::new((Mutex::new(0), Cell::new(false)));
        let tasks: Vec<_> = (0..6)
            .map(|number| {
                let lock = lock.clone();
                spawn(move || {
                    let _ = with_timeout(MILLISECOND * (number % 3 + 1), || {
                        let mut held = lock.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                        assert!(!lock.1.replace(true));
                        *held += 1;
                        yield_now();
                        lock.1.set(false);
                        drop(held);
                        sleep(MILLISECOND);
                    });
                })
            })
            .collect();
        yield_now();
        tasks[2].try_kill();
        joinall(&tasks);
        assert!(lock.0.try_lock().is_ok() || lock.0.is_poisoned());
    });
}

#[test]
fn readers_and_a_writer_exclude_each_other() {
    in_many_orders(|_| {
        let lock = Rc::new((RwLock::new(()), Cell::new(0)));
        let read = |_| {
            let lock = lock.clone();
            spawn(move || {
                let _held = lock.0.read().unwrap();
                assert!(lock.1.get() >= 0);
                lock.1.set(lock.1.get() + 1);
                yield_now();
                lock.1.set(lock.1.get() - 1);
            })
        };
        let write = |_| {
            let lock = lock.clone();
            spawn(move || {
                let _held = lock.0.write().unwrap();
                assert_eq!(lock.1.replace(-1), 0);
                yield_now();
                lock.1.set(0);
            })
        };
        let tasks: Vec<_> = (0..3).map(read).chain((0..3).map(write)).collect();
        joinall(&tasks);
    });
}

#[test]
fn no_permit_no_notification_and_no_meeting_is_lost() {
    in_many_orders(|world| {
        let shared =
            Rc::new((Semaphore::new(2), Mutex::new(0), Condvar::new(), Barrier::new(3), Event::new()));
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let shared = shared.clone();
                spawn(move || {
                    let (semaphore, count, changed, barrier, all) = &*shared;
                    let permit = semaphore.acquire();
                    yield_now();
                    drop(permit);
                    barrier.wait();
                    let mut counted = count.lock().unwrap();
                    *counted += 1;
                    changed.notify_all();
                    while *counted < 3 {
                        counted = changed.wait(counted).unwrap();
                    }
                    all.set();
                })
            })
            .collect();
        shared.4.wait();
        joinall(&tasks);
        assert!(shared.0.try_acquire().is_some());
        assert_eq!(world.elapsed(), Duration::ZERO);
    });
}

#[test]
fn each_value_arrives_once_and_in_the_order_of_its_sender() {
    in_many_orders(|_| {
        let (sender, receiver) = channel::bounded(1);
        let (other, others) = channel::bounded(0);
        let queue = Rc::new(Queue::bounded(1));
        let send = |sender: channel::Sender<u32>| {
            spawn(move || (0..4).for_each(|value| sender.send(value).unwrap()))
        };
        let tasks = [send(sender), send(other)];
        let relay = {
            let queue = queue.clone();
            spawn(move || {
                let (mut next, mut others_next) = (0, 0);
                while next + others_next < 8 {
                    select! {
                        recv(receiver) -> value => if let Ok(value) = value {
                            assert_eq!(value, next);
                            next += 1;
                            queue.put(value).unwrap();
                        } else { yield_now() },
                        recv(others) -> value => if let Ok(value) = value {
                            assert_eq!(value, others_next);
                            others_next += 1;
                            queue.put(value).unwrap();
                        } else { yield_now() },
                    }
                }
            })
        };
        let sum: u32 = (0..8).map(|_| queue.get().unwrap()).sum();
        assert_eq!(sum, 12);
        joinall(&tasks);
        relay.join().unwrap();
    });
}

#[test]
fn a_pool_runs_no_more_than_it_may() {
    in_many_orders(|world| {
        let (pool, running) = (Pool::new(2), Rc::new(Cell::new(0)));
        for _ in 0..6 {
            let running = running.clone();
            pool.spawn(move || {
                running.set(running.get() + 1);
                assert!(running.get() <= 2);
                sleep(MILLISECOND);
                running.set(running.get() - 1);
            });
        }
        pool.join();
        assert_eq!(world.elapsed(), MILLISECOND * 3);
    });
}
