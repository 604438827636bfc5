use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use greenloop::threadpool::{Job, ThreadPool};
use greenloop::{Waitable, spawn, wait, with_timeout, yield_now};

use crate::support::{each_driver, run_child};
use crate::{LIMIT, gate, pool_threads, until};

fn assert_send_sync<T: Send + Sync>() {}

#[test]
fn handles_go_to_any_thread() {
    assert_send_sync::<ThreadPool>();
    assert_send_sync::<Job<std::cell::Cell<u8>>>();
}

each_driver! {
    /// Conformance 129.
    fn a_pool_of_n_takes_n_and_one_more() {
        let pool = Arc::new(ThreadPool::new(2));
        let (gates, jobs): (Vec<_>, Vec<_>) = (0..4).map(|_| gate()).unzip();
        let spawned = Arc::new(AtomicUsize::new(0));
        let spawner = spawn({
            let (pool, spawned) = (pool.clone(), spawned.clone());
            move || {
                for job in jobs {
                    pool.spawn(job);
                    spawned.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let mut gates = gates.into_iter();
        let (first, second, third) = (gates.next().unwrap(), gates.next().unwrap(), gates.next().unwrap());
        first.wait_until_begun();
        second.wait_until_begun();
        for _ in 0..10 {
            yield_now();
        }
        assert_eq!(spawned.load(Ordering::SeqCst), 3);
        assert!(!third.has_begun());
        first.open();
        spawner.join().unwrap();
        third.wait_until_begun();
        drop((second, third, gates));
        pool.join();
    }

    fn a_spawn_that_waits_can_be_killed_and_its_job_does_not_run() {
        let pool = Arc::new(ThreadPool::new(1));
        let (gate, job) = gate();
        pool.spawn(job);
        gate.wait_until_begun();
        pool.spawn(|| ());
        let ran = Arc::new(AtomicBool::new(false));
        let spawner = spawn({
            let (pool, ran) = (pool.clone(), ran.clone());
            move || { pool.spawn(move || ran.store(true, Ordering::SeqCst)); }
        });
        yield_now();
        assert!(!spawner.is_finished());
        spawner.kill();
        gate.open();
        pool.join();
        assert!(!ran.load(Ordering::SeqCst));
    }

    fn jobs_begin_in_order() {
        let pool = ThreadPool::new(1);
        let order = Arc::new(Mutex::new(Vec::new()));
        for number in 0..20 {
            let order = order.clone();
            pool.spawn(move || order.lock().unwrap().push(number));
        }
        pool.join();
        assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    /// Conformance 131.
    fn a_result_can_be_collected_after_a_timeout() {
        let pool = ThreadPool::new(1);
        let (gate, job) = gate();
        let job = pool.spawn(move || { job(); "result" });
        assert!(with_timeout(Duration::from_millis(2), || job.wait()).is_err());
        assert!(!job.wait_timeout(Duration::from_millis(2)));
        assert!(!job.is_finished());
        gate.open();
        assert_eq!(job.join().unwrap(), "result");
    }

    fn several_may_wait_for_one_job_and_jobs_for_many_things() {
        let pool = ThreadPool::new(1);
        let (gate, job) = gate();
        let job = Arc::new(pool.spawn(job));
        let waiting: Vec<_> = (0..3).map(|_| { let job = job.clone(); spawn(move || job.wait()) }).collect();
        let all: Vec<&dyn Waitable> = waiting.iter().map(|waiting| waiting as &dyn Waitable).chain([&*job as &dyn Waitable]).collect();
        yield_now();
        assert!(all.iter().all(|object| !object.is_ready()));
        gate.open();
        assert_eq!(wait(all).len(), 4);
        // Ready already: a notice at once.
        assert_eq!(wait([&*job]).len(), 1);
    }

    fn a_job_that_nobody_holds_runs() {
        let pool = ThreadPool::new(1);
        let (sender, receiver) = channel();
        drop(pool.spawn(move || sender.send(1)));
        drop(pool);
        until(|| receiver.try_recv().is_ok());
    }

    /// Conformance 132.
    fn the_size_changes_live() {
        let pool = ThreadPool::new(1);
        let (first, job) = gate();
        pool.spawn(job);
        first.wait_until_begun();
        let (second, job) = gate();
        pool.spawn(job);
        assert!(!second.has_begun());
        pool.set_size(2);
        second.wait_until_begun();
        // Nothing new begins with 0, and what runs goes on.
        pool.set_size(0);
        first.open();
        second.open();
        pool.join();
        let (third, job) = gate();
        let job = pool.spawn(job);
        assert!(!job.wait_timeout(Duration::from_millis(5)) && !third.has_begun());
        pool.set_size(1);
        third.wait_until_begun();
        third.open();
        job.join().unwrap();
    }

    fn a_dropped_pool_of_size_zero_does_what_it_has_accepted() {
        let pool = ThreadPool::new(0);
        let job = pool.spawn(|| 5);
        drop(pool);
        assert_eq!(job.join().unwrap(), 5);
    }
}

/// Conformance 132. In a process of its own, whose threads nobody else makes.
#[test]
fn threads_come_with_work_and_go_with_the_pool() {
    let child = run_child(LIMIT, || {
        assert_eq!(pool_threads().len(), 0);
        let pool = ThreadPool::new(5);
        assert_eq!(pool_threads().len(), 0);
        pool.unblock(|| ());
        assert_eq!(pool_threads().len(), 1);
        // One that is idle is taken before another is made.
        until(|| pool_threads() == ["S"]);
        pool.unblock(|| ());
        assert_eq!(pool_threads().len(), 1);
        let (gates, jobs): (Vec<_>, Vec<_>) = (0..5).map(|_| gate()).unzip();
        let jobs: Vec<_> = jobs.into_iter().map(|job| pool.spawn(job)).collect();
        gates.iter().for_each(|gate| gate.wait_until_begun());
        assert_eq!(pool_threads().len(), 5);
        drop(gates);
        wait(&jobs);
        pool.set_size(2);
        until(|| pool_threads().len() == 2);
        pool.set_size(0);
        until(|| pool_threads().is_empty());
        pool.set_size(1);
        pool.unblock(|| ());
        drop(pool);
        until(|| pool_threads().is_empty());
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
}
