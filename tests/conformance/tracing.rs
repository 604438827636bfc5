//! The trace hook, event for event as greenlet's. Numbers: see the table of this test binary.

use std::cell::RefCell;
use std::rc::Rc;

use greenloop::error::GreenletExit;
use greenloop::greenlet::{AnyGreenlet, Event, Greenlet, current, main, settrace};
use greenloop::{spawn, yield_now};

use crate::support::within;
use crate::{LIMIT, is_exit, raise, raised};

type Step = (Event, AnyGreenlet, AnyGreenlet);

/// What the hook sees while `run` runs.
fn traced(run: impl FnOnce()) -> Vec<Step> {
    let steps = Rc::new(RefCell::new(Vec::new()));
    let log = steps.clone();
    let hook = move |trace: &greenloop::greenlet::Trace| {
        assert!(!trace.target.is_dead());
        log.borrow_mut().push((trace.event, trace.origin.clone(), trace.target.clone()));
    };
    assert!(settrace(Some(Rc::new(hook))).is_none());
    run();
    assert!(settrace(None).is_some());
    steps.take()
}

#[test]
fn case_37_running_and_raising() {
    within(LIMIT, || {
        let returns = Greenlet::new(|()| ());
        let raises = Greenlet::new(|()| raise("an error"));
        let steps = traced(|| {
            returns.switch(()).unwrap();
            assert_eq!(raised(|| raises.switch(())), "an error");
        });
        let expected = [
            (Event::Switch, main(), (*returns).clone()),
            (Event::Switch, (*returns).clone(), main()),
            (Event::Switch, main(), (*raises).clone()),
            (Event::Throw, (*raises).clone(), main()),
        ];
        assert_eq!(steps, expected);
    });
}

#[test]
fn case_38_throwing_in_and_exiting() {
    within(LIMIT, || {
        let child = Greenlet::new(|()| main().switch(()).unwrap());
        child.switch(()).unwrap();
        let steps = traced(|| assert!(is_exit(child.throw(Box::new(GreenletExit)))));
        let expected = [(Event::Throw, main(), (*child).clone()), (Event::Switch, (*child).clone(), main())];
        assert_eq!(steps, expected);
    });
}

#[test]
fn case_38_to_oneself_and_to_a_dead_one() {
    within(LIMIT, || {
        let dead = Greenlet::new(|value: u32| value);
        dead.switch(1).unwrap();
        let steps = traced(|| {
            main().switch(1).unwrap();
            dead.switch(2).unwrap();
            assert_eq!(raised(|| dead.throw(Box::new("an error"))), "an error");
            assert!(is_exit(dead.throw(Box::new(GreenletExit))));
        });
        let events: Vec<Event> = steps.iter().map(|(event, ..)| *event).collect();
        assert_eq!(events, [Event::Switch, Event::Switch, Event::Throw, Event::Switch]);
        assert!(steps.iter().all(|(_, origin, target)| origin.is_main() && target.is_main()));
    });
}

#[test]
fn case_39_the_target_is_alive() {
    within(LIMIT, || {
        // `traced` asserts it for each step; here the target is unstarted, suspended, and the heir of a dead one.
        let steps = traced(|| {
            let child = Greenlet::new(|value: u32| main().switch(value).unwrap());
            child.switch(1).unwrap();
            child.switch(2).unwrap();
        });
        assert_eq!(steps.len(), 4);
    });
}

#[test]
fn case_39_a_hook_that_fails_stops_nothing() {
    within(LIMIT, || {
        settrace(Some(Rc::new(|_| raise("the hook fails"))));
        let child = Greenlet::new(|value: u32| main().switch(value + 1).unwrap() + 1);
        assert_eq!(child.switch(1).unwrap(), 2);
        assert_eq!(child.switch(5).unwrap(), 6);
        settrace(None);
    });
}

#[test]
fn case_39_each_thread_has_a_hook_of_its_own() {
    within(LIMIT, || {
        let steps = traced(|| {
            let other = std::thread::spawn(|| {
                let child = Greenlet::new(|value: u32| value);
                (child.switch(1).unwrap(), settrace(None).is_none())
            });
            assert_eq!(other.join().unwrap(), (1, true));
        });
        assert_eq!(steps, []);
    });
}

/// Green threads are traced as they are switched to; one that ends is its own origin, not what runs there next.
#[test]
fn green_threads_are_told_apart_on_one_stack() {
    within(LIMIT, || {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&seen);
        let first = spawn(yield_now);
        yield_now();
        settrace(Some(Rc::new(move |trace| {
            log.borrow_mut().push((trace.origin.id(), trace.origin.is_dead(), trace.target.id()));
        })));
        let ids = Rc::new(RefCell::new(Vec::new()));
        let second = spawn({
            let ids = Rc::clone(&ids);
            move || ids.borrow_mut().push(current().id())
        });
        first.join().unwrap();
        second.join().unwrap();
        settrace(None);
        let main = main().id();
        let seen = seen.borrow();
        assert!(seen.iter().all(|(origin, _, target)| origin != target));
        // Main is left alive and comes back; what ends is dead when it is left.
        assert_eq!(seen.first().map(|(origin, dead, _)| (*origin, *dead)), Some((main, false)));
        let last = seen.last().unwrap();
        assert_eq!((last.1, last.2), (true, main));
        let second = ids.borrow()[0];
        assert_eq!(seen.iter().filter(|(_, _, target)| *target == second).count(), 1);
    });
}
