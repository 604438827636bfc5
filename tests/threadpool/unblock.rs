use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greenloop::threadpool::unblock;
use greenloop::{joinall, sleep, spawn, with_timeout, yield_now};

use crate::support::{each_driver, run_child, within};
use crate::{LIMIT, gate, pool_threads, until};

each_driver! {
    /// Conformance 128.
    fn it_parks_only_its_caller() {
        let (gate, job) = gate();
        let turns = Rc::new(Cell::new(0));
        let turning = spawn({
            let turns = turns.clone();
            move || loop {
                turns.set(turns.get() + 1);
                yield_now();
            }
        });
        let caller = spawn(|| unblock(job));
        gate.wait_until_begun();
        let before = turns.get();
        until(|| turns.get() > before + 10);
        assert!(!caller.is_finished());
        gate.open();
        caller.join().unwrap();
        turning.kill();
    }

    /// Conformance 128.
    fn the_value_and_the_panic_cross_back() {
        let here = thread::current().id();
        assert_ne!(unblock(|| thread::current().id()), here);
        let payload = catch_unwind(|| unblock(|| -> u32 { std::panic::resume_unwind(Box::new(42_u64)) })).unwrap_err();
        assert_eq!(*payload.downcast::<u64>().unwrap(), 42);
        // And the thread is as good as before.
        assert_eq!(unblock(|| 7), 7);
    }

    fn many_run_at_once() {
        let barrier = Arc::new(std::sync::Barrier::new(20));
        let jobs: Vec<_> = (0..20)
            .map(|_| {
                let barrier = barrier.clone();
                spawn(move || unblock(move || barrier.wait().is_leader()))
            })
            .collect();
        let leaders = jobs.into_iter().filter(|_| true).map(|job| job.join().unwrap()).filter(|leader| *leader);
        assert_eq!(leaders.count(), 1);
    }

    /// Conformance 131.
    fn a_timeout_frees_the_caller_and_the_job_runs_on() {
        let mut limit = Duration::from_millis(5);
        // One that has not begun when the time is over does not run at all.
        let (gate, ended) = loop {
            let (gate, job) = gate();
            let ended = Arc::new(AtomicBool::new(false));
            let elapsed = with_timeout(limit, {
                let ended = ended.clone();
                move || unblock(move || { job(); ended.store(true, Ordering::SeqCst); })
            });
            assert_eq!(elapsed.unwrap_err().limit(), limit);
            if gate.has_begun() {
                break (gate, ended);
            }
            limit *= 2;
        };
        assert!(!ended.load(Ordering::SeqCst));
        gate.open();
        until(|| ended.load(Ordering::SeqCst));
    }

    fn a_kill_frees_the_caller_and_the_value_is_dropped() {
        struct Noted(Arc<AtomicBool>);
        impl Drop for Noted {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let (gate, job) = gate();
        let dropped = Arc::new(AtomicBool::new(false));
        let value = Noted(dropped.clone());
        let caller = spawn(move || unblock(move || { job(); value }).0.load(Ordering::SeqCst));
        gate.wait_until_begun();
        caller.kill();
        assert!(caller.join().unwrap_err().is_killed());
        assert!(!dropped.load(Ordering::SeqCst));
        gate.open();
        until(|| dropped.load(Ordering::SeqCst));
    }

    fn a_value_that_panics_when_dropped_harms_nobody() {
        struct Bad;
        impl Drop for Bad {
            fn drop(&mut self) {
                if !thread::panicking() {
                    std::panic::resume_unwind(Box::new("bad"));
                }
            }
        }
        let (gate, job) = gate();
        let caller = spawn(move || { std::mem::forget(unblock(move || { job(); Bad })); });
        gate.wait_until_begun();
        caller.kill();
        gate.open();
        for number in 0..100 {
            assert_eq!(unblock(move || number), number);
        }
    }

    fn a_job_may_unblock() {
        let (outer, inner) = unblock(|| (thread::current().id(), unblock(|| thread::current().id())));
        assert_eq!(outer, inner);
    }

    fn a_destructor_that_unwinds_gets_its_work_done() {
        struct UnblocksWhenDropped(mpsc::Sender<thread::ThreadId>);
        impl Drop for UnblocksWhenDropped {
            fn drop(&mut self) {
                self.0.send(unblock(|| thread::current().id())).unwrap();
            }
        }
        let (sender, receiver) = mpsc::channel();
        let unwinding = catch_unwind(AssertUnwindSafe(|| {
            let _guard = UnblocksWhenDropped(sender);
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(unwinding.is_err());
        // On the same thread, without a yield.
        assert_eq!(receiver.try_recv().unwrap(), thread::current().id());
    }
}

/// In a process of its own, whose threads no other pool makes.
#[test]
fn more_than_there_are_threads_take_turns() {
    let child = run_child(LIMIT, || {
        let done = Arc::new(AtomicUsize::new(0));
        let jobs: Vec<_> = (0..300)
            .map(|_| {
                let done = done.clone();
                spawn(move || unblock(move || _ = done.fetch_add(1, Ordering::SeqCst)))
            })
            .collect();
        joinall(&jobs);
        assert_eq!(done.load(Ordering::SeqCst), 300);
        assert!((1..=64).contains(&pool_threads().len()));
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
}

/// Conformance 130.
#[test]
fn it_works_from_any_thread() {
    let threads: Vec<_> = (0..4_u64)
        .map(|number| thread::spawn(move || within(LIMIT, move || unblock(move || number * 2))))
        .collect();
    let values: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(values, [0, 2, 4, 6]);
}

#[test]
fn a_job_under_way_is_no_deadlock() {
    let child = run_child(LIMIT, || {
        // Longer than the hub waits before it looks for other threads.
        for _ in 0..3 {
            unblock(|| thread::sleep(Duration::from_millis(60)));
        }
        sleep(Duration::from_millis(1));
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
}
