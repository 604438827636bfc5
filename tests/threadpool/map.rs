use std::cell::Cell;
use std::collections::HashSet;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use greenloop::threadpool::ThreadPool;
use greenloop::{idle, spawn, with_timeout, yield_now};

use crate::support::{each_driver, run_child, within};
use crate::{LIMIT, gate, pool_threads, until};

each_driver! {
    fn a_map_uses_every_thread_at_once() {
        let pool = ThreadPool::new(4);
        // None returns before four are in.
        let barrier = Barrier::new(4);
        let threads = pool.map(0..4, move |_| {
            barrier.wait();
            thread::current().id()
        });
        let threads: HashSet<_> = threads.into_iter().map(Result::unwrap).collect();
        assert_eq!(threads.len(), 4);
        assert!(!threads.contains(&thread::current().id()));
    }

    fn results_come_in_order_and_failures_in_their_places() {
        let pool = ThreadPool::new(3);
        let divide = |divisor: u32| if divisor.is_multiple_of(10) { resume_unwind(Box::new(divisor)) } else { 600 / divisor };
        let results: Vec<_> = pool.imap(1..=60, divide).collect();
        assert_eq!(results.len(), 60);
        for (divisor, result) in (1..).zip(results) {
            match result {
                Ok(value) => assert_eq!(value, 600 / divisor),
                Err(error) => assert_eq!(*error.into_payload().downcast::<u32>().unwrap(), divisor),
            }
        }
    }

    fn unordered_is_in_order_of_completion() {
        let pool = ThreadPool::new(2);
        let (gate, job) = gate();
        let slow = Mutex::new(Some(job));
        let mut results = pool.imap_unordered(0..4, move |number| {
            if number == 0 {
                slow.lock().unwrap().take().unwrap()();
            }
            number
        });
        let early: Vec<_> = results.by_ref().take(3).flatten().collect();
        assert_eq!(early, [1, 2, 3]);
        gate.open();
        assert_eq!(results.flatten().collect::<Vec<_>>(), [0]);
    }

    fn other_green_threads_run_while_one_maps() {
        let pool = ThreadPool::new(2);
        let (gate, job) = gate();
        let job = Mutex::new(Some(job));
        let mapping = spawn(move || pool.map([()], move |()| job.lock().unwrap().take().unwrap()()).len());
        gate.wait_until_begun();
        assert!(!mapping.is_finished());
        gate.open();
        assert_eq!(mapping.join().unwrap(), 1);
    }

    fn no_more_items_are_taken_than_wanted() {
        let taken = Rc::new(Cell::new(0));
        let items = (0..).inspect(|_| taken.set(taken.get() + 1));
        let pool = ThreadPool::new(2);
        let mut results = pool.imap(items, |number: usize| number).maxsize(3);
        for number in 0..10 {
            assert_eq!(results.next().unwrap().unwrap(), number);
            // Those under way, and one that was looked at.
            assert!(taken.get() <= number + 3 + 1);
        }
    }

    /// Conformance 131.
    fn a_time_limit_leaves_the_items_running_and_their_results_to_be_had() {
        let pool = ThreadPool::new(1);
        let (gate, job) = gate();
        let job = Mutex::new(Some(job));
        let mut results = pool.imap([5, 6], move |number| {
            if let Some(job) = job.lock().unwrap().take() {
                job();
            }
            number
        });
        assert!(with_timeout(Duration::from_millis(2), || results.next()).is_err());
        gate.open();
        assert_eq!(results.flatten().collect::<Vec<_>>(), [5, 6]);
    }

    /// Conformance 132.
    fn a_pool_of_none_maps_when_it_has_grown() {
        let pool = Arc::new(ThreadPool::new(0));
        let mapping = spawn({
            let pool = pool.clone();
            move || pool.map(0..10, |number| number * 2).into_iter().flatten().sum::<u32>()
        });
        yield_now();
        assert!(!mapping.is_finished());
        pool.set_size(3);
        assert_eq!(mapping.join().unwrap(), 90);
    }

    fn a_thread_of_the_pool_maps_and_applies_by_itself() {
        let pool = Arc::new(ThreadPool::new(1));
        let inner = pool.clone();
        let sum = pool.apply(move || {
            let squares: u32 = inner.imap(1..=3, |number| number * number).flatten().sum();
            squares + inner.apply(|| 1).unwrap()
        });
        assert_eq!(sum.unwrap(), 15);
    }

    fn apply_async_never_waits_and_calls_back_at_home() {
        let pool = ThreadPool::new(1);
        let (gate, job) = gate();
        pool.spawn(job);
        gate.wait_until_begun();
        let home = thread::current().id();
        let called = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (1..=4)
            .map(|number| {
                let called = called.clone();
                let work = move || if number == 2 { resume_unwind(Box::new("broken")) } else { number };
                pool.apply_async(work, move |value| {
                    assert_eq!(thread::current().id(), home);
                    called.set(called.get() * 10 + value);
                })
            })
            .collect();
        idle();
        assert_eq!(called.get(), 0);
        gate.open();
        let values: Vec<_> = tasks.into_iter().map(|task| task.join().ok()).collect();
        assert_eq!(values, [Some(1), None, Some(3), Some(4)]);
        assert_eq!(called.get(), 134);
    }
}

/// Conformance 130.
#[test]
fn many_threads_map_with_one_pool() {
    within(LIMIT, || {
        let pool = ThreadPool::new(3);
        let calls = Arc::new(AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let calls = calls.clone();
                    let numbers = pool.imap(0..200, move |number| {
                        calls.fetch_add(1, Ordering::SeqCst);
                        number
                    });
                    assert!(numbers.map(Result::unwrap).eq(0..200));
                });
            }
        });
        assert_eq!(calls.load(Ordering::SeqCst), 800);
    });
}

/// Conformance 132. In a process of its own, whose threads nobody else makes.
#[test]
fn idle_threads_end() {
    let child = run_child(LIMIT, || {
        let pool = ThreadPool::new(3).idle_timeout(Duration::from_millis(10));
        let barrier = Barrier::new(3);
        pool.map(0..3, move |_| barrier.wait().is_leader());
        until(|| pool_threads().is_empty());
        // And others come when there is work.
        assert_eq!(pool.apply(|| 1).unwrap(), 1);
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
}
