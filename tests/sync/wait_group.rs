use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use greenloop::sync::WaitGroup;
use greenloop::{idle, spawn, with_timeout, yield_now};

use super::LIMIT;
use super::support::{in_any_order, spawn_parked};

#[test]
fn it_waits_for_each_clone_however_its_holder_ends() {
    in_any_order(LIMIT, || {
        let group = WaitGroup::new();
        let ended = Rc::new(Cell::new(0));
        let hold = |end: fn()| {
            let (group, ended) = (group.clone(), ended.clone());
            spawn(move || {
                let _group = group;
                yield_now();
                ended.set(ended.get() + 1);
                end();
            })
        };
        let returns = hold(|| ());
        let panics = hold(|| std::panic::resume_unwind(Box::new("no")));
        let killed = hold(|| std::thread::sleep(Duration::MAX));
        assert_eq!(format!("{group:?}"), "WaitGroup { count: 4 }");
        let waits = spawn(move || group.wait());
        killed.kill();
        waits.join().unwrap();
        assert_eq!(ended.get(), 2);
        assert!(returns.join().is_ok() && panics.join().unwrap_err().is_panic());
    });
}

#[test]
fn several_may_wait_and_who_is_ended_waits_no_more() {
    in_any_order(LIMIT, || {
        let group = WaitGroup::default();
        let waits = || {
            let group = group.clone();
            spawn_parked(move || group.wait())
        };
        let (first, second, killed) = (waits(), waits(), waits());
        assert_eq!(format!("{group:?}"), "WaitGroup { count: 1 }", "who waits holds nothing");
        killed.kill();
        let late = group.clone();
        assert!(with_timeout(Duration::from_millis(1), || late.wait()).is_err());
        idle();
        assert!(!first.is_finished() && !second.is_finished());
        drop(group);
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn it_waits_for_other_os_threads() {
    in_any_order(LIMIT, || {
        for _ in 0..100 {
            let group = WaitGroup::new();
            let done = Arc::new(AtomicUsize::new(0));
            let threads = [(); 2].map(|()| {
                let (group, done) = (group.clone(), done.clone());
                thread::spawn(move || {
                    done.fetch_add(1, SeqCst);
                    drop(group);
                })
            });
            group.wait();
            assert_eq!(done.load(SeqCst), 2);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    });
}
