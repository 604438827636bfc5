//! Green threads with thread-local variables of their own.

use std::cell::RefCell;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::channel;

use greenloop::error::SwitchError;
use greenloop::greenlet::{Generator, Greenlet, main};
use greenloop::sync::Mutex;
use greenloop::{Builder, spawn, yield_now};

use crate::LIMIT;
use crate::support::within;

struct Defer(Option<Box<dyn FnOnce()>>);

impl Drop for Defer {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

thread_local! {
    static KEPT: RefCell<Option<Defer>> = const { RefCell::new(None) };
}

/// The OS thread that really runs.
fn os_thread() -> PathBuf {
    fs::read_link("/proc/thread-self").unwrap()
}

/// Runs `run` in the destructor of a thread-local variable of an isolated green thread, on the OS thread that lends it.
fn in_a_destructor<T: Send + 'static>(run: impl FnOnce() -> T + 'static) -> T {
    let (sender, result) = channel();
    let home = os_thread();
    let isolated = Builder::new().isolated(true).spawn(move || {
        assert_eq!(os_thread(), home);
        let run = move || {
            assert_ne!(os_thread(), home);
            sender.send(run()).unwrap();
        };
        KEPT.set(Some(Defer(Some(Box::new(run)))));
    });
    isolated.unwrap().join().unwrap();
    result.recv().unwrap()
}

#[test]
fn a_started_generator_goes_on_at_home_alone() {
    within(LIMIT, || {
        let home = os_thread();
        let mut generator = Generator::new(move |generator, ()| {
            for number in 0.. {
                assert_eq!(os_thread(), home);
                generator.yield_(number);
            }
        });
        assert_eq!(generator.next(), Some(0));
        let refused = in_a_destructor(move || catch_unwind(AssertUnwindSafe(|| generator.next())).is_err());
        assert!(refused);
    });
}

#[test]
fn a_greenlet_is_neither_switched_to_nor_thrown_at_nor_ended_there() {
    within(LIMIT, || {
        let home = os_thread();
        let greenlet = Greenlet::new(move |value: u32| {
            let value = main().switch(value).unwrap();
            assert_eq!(os_thread(), home);
            value + 1
        });
        greenlet.switch(1).unwrap();
        let kept = greenlet.clone();
        in_a_destructor(move || {
            assert!(matches!(greenlet.switch(1), Err(SwitchError::Ending)));
            assert!(matches!(greenlet.throw(Box::new("thrown")), Err(SwitchError::Ending)));
            assert!(!greenlet.is_dead() && !greenlet.is_current());
        });
        // Untouched.
        assert_eq!(kept.switch(6).unwrap(), 7);

        let last = Greenlet::new(|value: u32| {
            let _never = Defer(Some(Box::new(|| std::process::abort())));
            main().switch(value).unwrap()
        });
        last.switch(1).unwrap();
        in_a_destructor(move || drop(last));

        let unstarted = Greenlet::new(|_: u32| unreachable!("it begins"));
        in_a_destructor(move || {
            assert!(matches!(unstarted.switch(1), Err(SwitchError::Ending)));
        });
    });
}

#[test]
fn there_is_no_hub_there() {
    within(LIMIT, || {
        in_a_destructor(|| {
            assert!(catch_unwind(yield_now).is_err());
            assert!(catch_unwind(|| spawn(|| ())).is_err());
            assert_eq!(*Mutex::new(7).lock().unwrap(), 7);
        });
        // Whom it wakes at home is woken.
        let (sender, receiver) = greenloop::channel::unbounded();
        in_a_destructor(move || sender.send(7).unwrap());
        assert_eq!(receiver.recv(), Ok(7));
    });
}
