//! Green threads with thread-local variables of their own.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use greenloop::greenlet::{Generator, Greenlet, main};
use greenloop::sync::Mutex;
use greenloop::{Builder, sleep, spawn, yield_now};

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

/// Runs `run` in the destructor of a thread-local variable of an isolated green thread.
fn in_a_destructor<T: 'static>(run: impl FnOnce() -> T + 'static) -> T {
    let result = Rc::new(Cell::new(None));
    let home = os_thread();
    let isolated = Builder::new().isolated(true).spawn({
        let result = result.clone();
        move || {
            let run = move || {
                assert_eq!(os_thread(), home);
                result.set(Some(run()));
            };
            KEPT.set(Some(Defer(Some(Box::new(run)))));
        }
    });
    isolated.unwrap().join().unwrap();
    result.take().unwrap()
}

#[test]
fn a_started_generator_goes_on_at_home() {
    within(LIMIT, || {
        let home = os_thread();
        let mut generator = Generator::new(move |generator, ()| {
            for number in 0.. {
                assert_eq!(os_thread(), home);
                yield_now();
                generator.yield_(number);
            }
        });
        assert_eq!(generator.next(), Some(0));
        assert_eq!(in_a_destructor(move || generator.next()), Some(1));
    });
}

#[test]
fn a_greenlet_is_switched_to_thrown_at_and_ended_there() {
    within(LIMIT, || {
        let home = os_thread();
        let greenlet = Greenlet::new(move |value: u32| {
            let value = main().switch(value).unwrap();
            assert_eq!(os_thread(), home);
            value + 1
        });
        greenlet.switch(1).unwrap();
        // It returns to its parent, main, which the destructor is resumed from by the hub.
        let kept = greenlet.clone();
        assert_eq!(kept.switch(6).unwrap(), 7);

        let ended = Rc::new(Cell::new(false));
        let last = Greenlet::new({
            let ended = ended.clone();
            move |value: u32| {
                let _ends = Defer(Some(Box::new(move || ended.set(true))));
                main().switch(value).unwrap()
            }
        });
        last.switch(1).unwrap();
        in_a_destructor(move || drop(last));
        assert!(ended.get());
    });
}

#[test]
fn everything_of_the_hub_works_there() {
    within(LIMIT, || {
        in_a_destructor(|| {
            yield_now();
            sleep(Duration::from_millis(1));
            assert_eq!(spawn(|| 7).join().unwrap(), 7);
            assert_eq!(*Mutex::new(7).lock().unwrap(), 7);
        });
        let (sender, receiver) = greenloop::channel::bounded(0);
        let receives = spawn(move || receiver.recv());
        in_a_destructor(move || sender.send(7).unwrap());
        assert_eq!(receives.join().unwrap(), Ok(7));
        // Within another destructor, and within that one more.
        let depth = in_a_destructor(|| in_a_destructor(|| in_a_destructor(|| 3)));
        assert_eq!(depth, 3);
    });
}
