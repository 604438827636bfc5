//! No memory for a stack.

use std::cell::{Cell, RefCell};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use greenloop::error::{StackError, SwitchError};
use greenloop::event::Event;
use greenloop::greenlet::{Generator, Greenlet, current, main, set_default_stack_size};
use greenloop::pool::Pool;
use greenloop::sync::Mutex;
use greenloop::{Builder, idle, sleep, spawn, yield_now};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::support::{collect_uncaught, run_child};
use crate::{LIMIT, LONG, OnDrop, text};

/// More than there is room for.
const LARGE: usize = 1 << 29;

/// Leaves the process some room for the heap, and none for a large stack.
fn leave_no_room() {
    // What is small has its place from now on.
    spawn(yield_now).join().unwrap();
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    let limit = Some(pages * 4096 + (256 << 20));
    setrlimit(Resource::As, Rlimit { current: limit, maximum: None }).unwrap();
}

#[test]
fn a_closure_for_which_there_is_none_is_dropped_as_in_a_callback() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        leave_no_room();
        let waits: [fn(); 6] = [
            yield_now,
            || sleep(Duration::from_millis(1)),
            || {
                let mutex = Mutex::new(());
                let _held = mutex.lock();
                drop(mutex.lock_timeout(Duration::from_millis(1)));
            },
            || drop(Greenlet::new(|value: u32| value).switch(1)),
            || _ = Generator::new(|yields, ()| yields.yield_(1)).next(),
            || spawn(|| ()).join().unwrap(),
        ];
        for (number, wait) in waits.into_iter().enumerate() {
            let dropped = Rc::new(Cell::new(false));
            // Somebody who runs before and after it on the stack that is there.
            let other = spawn(|| {
                let kept = vec![5_u8; 100];
                sleep(Duration::from_millis(2));
                kept
            });
            let done = dropped.clone();
            let guard = OnDrop(move || {
                assert!(current().is_main(), "in the hub");
                let Err(refused) = catch_unwind(wait) else { panic!("number {number} may wait") };
                assert!(text(&*refused).starts_with("nothing may wait in a hub callback"));
                done.set(true);
                wait();
            });
            let large = Builder::new().stack_size(LARGE).spawn(move || drop(guard)).unwrap();
            assert!(large.join().unwrap_err().stack_error().is_some());
            assert!(dropped.get());
            assert_eq!(other.join().unwrap(), [5; 100]);
        }
        let told = told.lock().unwrap();
        assert_eq!(told.len(), waits.len(), "{told:?}");
        assert!(told.iter().all(|line| line.starts_with("the destructor of a closure that never ran")));
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn a_greenlet_stays_startable_and_its_value_is_dropped_in_order() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        leave_no_room();
        type Value = Box<dyn FnOnce() -> u32>;
        let large =
            Greenlet::with_stack_size(LARGE, |value: Value| -> Value { Box::new(move || value() + 1) })
                .unwrap();
        // The value's destructor uses the very greenlet that cannot start.
        let again = large.clone();
        let guard = OnDrop(move || drop(again.switch(Box::new(|| 1))));
        let refused = large.switch(Box::new(move || {
            drop(guard);
            0
        }));
        assert!(matches!(refused, Err(SwitchError::Stack(StackError::OutOfMemory(_)))));
        assert!(!large.is_started());
        assert_eq!(told.lock().unwrap().len(), 1);

        // The heir of a result: an error for the next of its ancestors, and the result is dropped in order.
        let heir = Greenlet::with_stack_size(LARGE, |value: Value| value).unwrap();
        let child = Greenlet::new(|value: Value| value);
        child.set_parent(&heir).unwrap();
        let guard = OnDrop(|| sleep(LONG));
        let failed = catch_unwind(AssertUnwindSafe(|| {
            child.switch(Box::new(move || {
                drop(guard);
                0
            }))
        }));
        assert!(text(&*failed.err().expect("an error arrives")).contains("stack"));
        assert!(child.is_dead());
        // The destructor's panic, and the error, which no panic hook sees.
        assert_eq!(told.lock().unwrap().len(), 3);
        assert!(told.lock().unwrap()[2].contains("stack"));

        setrlimit(Resource::As, Rlimit { current: None, maximum: None }).unwrap();
        assert_eq!(large.switch(Box::new(|| 41)).unwrap()(), 42);
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

/// Where greenloop itself spawns, whoever waits gets an answer, and what nobody waits for is told.
#[test]
fn what_the_library_spawns_ends_in_an_error_or_is_told() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        let suspended = Greenlet::new(|()| main().switch(()).unwrap());
        suspended.switch(()).unwrap();
        leave_no_room();
        set_default_stack_size(LARGE).unwrap();

        let results: Vec<_> = Pool::new(2).imap(0..3, |number| number).collect();
        assert!(results.len() == 3 && results.iter().all(Result::is_err), "{results:?}");
        let after_imap = told.lock().unwrap().len();

        let event = Event::new();
        event.link(|| unreachable!());
        event.set();
        idle();
        assert_eq!(told.lock().unwrap().len(), after_imap + 1);
        assert!(told.lock().unwrap()[after_imap].contains("could not begin"), "{told:?}");

        let mut generator = Generator::new(|yields, ()| yields.yield_(1));
        assert!(catch_unwind(AssertUnwindSafe(|| generator.next())).is_err());
        assert!(!generator.is_done());

        // The last handle goes in a callback, and there is no stack for who would end it.
        let kept = RefCell::new(Some(suspended));
        let guard = OnDrop(move || drop(kept.take()));
        assert!(spawn(move || drop(guard)).join().is_err());
        idle();
        assert!(told.lock().unwrap().last().unwrap().contains("leak"), "{told:?}");

        setrlimit(Resource::As, Rlimit { current: None, maximum: None }).unwrap();
        assert_eq!(generator.next(), Some(1));
        assert_eq!(spawn(|| 7).join().unwrap(), 7);
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}
