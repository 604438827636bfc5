//! greenlet's rules for switching, throwing, parents, ending and dropping. Numbers: see the table of this test binary.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;

use greenloop::error::{GreenletExit, ParentError, SwitchError};
use greenloop::greenlet::{AnyGreenlet, Greenlet, current, main};

use crate::support::{CountsDrops, resident_bytes, run_child, within};
use crate::{LIMIT, is_exit, raise, raised};

/// Switches to the parent of the one that runs.
fn to_parent<T: 'static>(value: T) -> T {
    // In two statements: a handle to itself that is held across the switch would keep a greenlet alive.
    let parent = current().parent().expect("a parent");
    parent.switch(value).expect("a value")
}

fn ping_pong() -> Vec<u32> {
    let seen = Rc::new(RefCell::new(vec![0]));
    let log = seen.clone();
    let child = Greenlet::new(move |()| {
        log.borrow_mut().push(1);
        to_parent(());
        log.borrow_mut().push(3);
    });
    child.switch(()).unwrap();
    seen.borrow_mut().push(2);
    child.switch(()).unwrap();
    seen.borrow_mut().push(4);
    seen.take()
}

#[test]
fn case_01_ping_pong() {
    assert_eq!(within(LIMIT, ping_pong), [0, 1, 2, 3, 4]);
}

#[test]
fn case_02_two_children() {
    within(LIMIT, || {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let child = || {
            let log = seen.clone();
            Greenlet::new(move |name: &'static str| {
                log.borrow_mut().push((name, 1));
                let name = to_parent(name);
                log.borrow_mut().push((name, 2));
                name
            })
        };
        let (one, other) = (child(), child());
        one.switch("one").unwrap();
        other.switch("other").unwrap();
        assert_eq!((one.is_dead(), other.is_dead()), (false, false));
        assert_eq!(one.switch("one").unwrap(), "one");
        assert_eq!((one.is_dead(), other.is_dead()), (true, false));
        assert_eq!(other.switch("other").unwrap(), "other");
        assert!(other.is_dead());
        assert_eq!(*seen.borrow(), [("one", 1), ("other", 1), ("one", 2), ("other", 2)]);
    });
}

#[test]
fn case_03_a_childs_child() {
    within(LIMIT, || {
        let maker = Greenlet::new(|value: u32| {
            let maker = current();
            let inner = Greenlet::new(move |value: u32| {
                assert!(current().parent() == Some(maker));
                value + 1
            });
            inner.switch(value + 10).unwrap() + 100
        });
        assert_eq!(maker.switch(1).unwrap(), 112);
        assert!(current().is_main());
    });
}

#[test]
fn case_04_the_return_value() {
    within(LIMIT, || {
        let child = Greenlet::new(|text: String| {
            let again = to_parent(format!("{text} yielded"));
            format!("{again} returned")
        });
        assert_eq!(child.switch("a".to_owned()).unwrap(), "a yielded");
        assert_eq!(child.switch("b".to_owned()).unwrap(), "b returned");
    });
}

#[test]
fn case_05_an_uncaught_error() {
    within(LIMIT, || {
        let child = Greenlet::new(|_: u32| raise("an error"));
        assert_eq!(raised(|| child.switch(1)), "an error");
        assert!(child.is_dead());
        let panics = Greenlet::new(|value: u32| panic!("{value} is wrong"));
        assert_eq!(raised(|| panics.switch(7)), "7 is wrong");
        assert!(panics.is_dead());
    });
}

#[test]
fn case_06_an_exit_raised_inside() {
    within(LIMIT, || {
        let child = Greenlet::new(|_: u32| resume_unwind(Box::new(GreenletExit)));
        assert!(is_exit(child.switch(1)));
        assert!(child.is_dead());
        let panics = Greenlet::new(|_: u32| panic_any(GreenletExit));
        assert!(is_exit(panics.switch(1)));
    });
}

#[test]
fn case_07_an_exit_thrown_in() {
    within(LIMIT, || {
        let child = Greenlet::new(to_parent::<u32>);
        assert_eq!(child.switch(1).unwrap(), 1);
        assert!(is_exit(child.throw(Box::new(GreenletExit))));
        assert!(child.is_dead());
        assert!(is_exit(child.throw(Box::new(GreenletExit))));
    });
}

#[test]
fn case_08_an_error_into_an_unstarted_one() {
    within(LIMIT, || {
        let ran = Rc::new(Cell::new(false));
        let runs = ran.clone();
        let child = Greenlet::new(move |()| runs.set(true));
        assert_eq!(raised(|| child.throw(Box::new("an error"))), "an error");
        assert!(child.is_dead());
        assert!(!ran.get());
    });
}

#[test]
fn case_09_an_exit_into_an_unstarted_one() {
    within(LIMIT, || {
        let ran = Rc::new(Cell::new(false));
        let runs = ran.clone();
        let child = Greenlet::new(move |()| runs.set(true));
        assert!(is_exit(child.throw(Box::new(GreenletExit))));
        assert!(child.is_dead());
        assert!(!ran.get());
    });
}

#[test]
fn case_10_a_thrown_error_that_is_caught() {
    within(LIMIT, || {
        let child = Greenlet::new(|value: u32| {
            let text = raised(|| to_parent(value));
            assert_eq!(text, "an error");
            to_parent(20u32);
            30
        });
        assert_eq!(child.switch(10).unwrap(), 10);
        assert_eq!(child.throw(Box::new("an error")).unwrap(), 20);
        assert_eq!(child.switch(0).unwrap(), 30);
        assert!(child.is_dead());
    });
}

/// A parent that is ready to catch once it has been switched to, and a child below it.
fn catcher_and_child() -> (Greenlet<String>, Greenlet<String>) {
    let catcher = Greenlet::new(|_: String| {
        match catch_unwind(AssertUnwindSafe(|| main().switch("ready to catch".to_owned()))) {
            Ok(Ok(_)) => "normal exit".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(payload) => format!("caught {}", payload.downcast_ref::<&str>().unwrap()),
        }
    });
    let child = Greenlet::new(|_: String| {
        main().switch("from the child".to_owned()).unwrap();
        "the child's result".to_owned()
    });
    child.set_parent(&catcher).unwrap();
    (catcher, child)
}

#[test]
fn case_11_an_error_ends_two_unstarted_ones() {
    within(LIMIT, || {
        let (catcher, child) = catcher_and_child();
        assert_eq!(raised(|| child.throw(Box::new("an error"))), "an error");
        assert!(child.is_dead());
        assert!(catcher.is_dead());
    });
}

#[test]
fn case_11_an_error_is_handled_by_a_parked_parent() {
    within(LIMIT, || {
        let (catcher, child) = catcher_and_child();
        assert_eq!(catcher.switch(String::new()).unwrap(), "ready to catch");
        assert_eq!(child.throw(Box::new("an error")).unwrap(), "caught an error");
        assert!(child.is_dead());
        assert!(catcher.is_dead());

        let (catcher, child) = catcher_and_child();
        assert_eq!(catcher.switch(String::new()).unwrap(), "ready to catch");
        assert_eq!(child.switch(String::new()).unwrap(), "from the child");
        assert_eq!(child.throw(Box::new("another")).unwrap(), "caught another");
        assert!(child.is_dead());
        assert!(catcher.is_dead());
    });
}

#[test]
fn case_11_an_exit_is_a_value_for_a_parked_parent() {
    within(LIMIT, || {
        let (catcher, child) = catcher_and_child();
        assert_eq!(catcher.switch(String::new()).unwrap(), "ready to catch");
        assert_eq!(child.switch(String::new()).unwrap(), "from the child");
        assert_eq!(child.throw(Box::new(GreenletExit)).unwrap(), "the greenlet exited");
        assert!(child.is_dead());
        assert!(catcher.is_dead());
    });
}

#[test]
fn case_12_a_switch_to_a_dead_one() {
    within(LIMIT, || {
        let child = Greenlet::new(|value: u32| value);
        assert_eq!(child.switch(1).unwrap(), 1);
        assert!(child.is_dead());
        assert_eq!(child.switch(42).unwrap(), 42);
        assert_eq!(child.switch(43).unwrap(), 43);
    });
}

#[test]
fn case_13_an_error_for_a_dead_one() {
    within(LIMIT, || {
        let child = Greenlet::new(|value: u32| value);
        child.switch(1).unwrap();
        assert_eq!(raised(|| child.throw(Box::new("an error"))), "an error");

        // Its parent is dead too, and its grandparent lives.
        let (catcher, middle) = catcher_and_child();
        let lowest = Greenlet::new(|value: String| value);
        lowest.set_parent(&middle).unwrap();
        assert_eq!(catcher.switch(String::new()).unwrap(), "ready to catch");
        assert_eq!(middle.switch(String::new()).unwrap(), "from the child");
        middle.set_parent(&main()).unwrap();
        assert_eq!(middle.switch(String::new()).unwrap(), "the child's result");
        lowest.set_parent(&catcher).unwrap();
        assert_eq!(lowest.throw(Box::new("from below")).unwrap(), "caught from below");
        assert!(lowest.is_dead());
    });
}

#[test]
fn case_14_finishing_below_a_dead_parent() {
    within(LIMIT, || {
        let parent = Greenlet::new(|value: u32| value);
        let child = Greenlet::new(to_parent_of_main);
        child.set_parent(&parent).unwrap();
        assert_eq!(child.switch(1).unwrap(), 1);
        assert_eq!(parent.switch(2).unwrap(), 2);
        assert!(parent.is_dead());
        // The result passes by the dead parent and reaches main, its grandparent.
        assert_eq!(child.switch(3).unwrap(), 3);
        assert!(child.is_dead());
    });
}

fn to_parent_of_main(value: u32) -> u32 {
    main().switch(value).unwrap()
}

#[test]
fn case_15_finishing_below_an_unstarted_parent() {
    within(LIMIT, || {
        let parent = Greenlet::new(|value: u32| value + 100);
        let child = Greenlet::new(|value: u32| value + 1);
        child.set_parent(&parent).unwrap();
        assert_eq!(child.switch(1).unwrap(), 102);
        assert!(child.is_dead());
        assert!(parent.is_dead());
    });
}

#[test]
fn case_16_finishing_below_a_parent_that_cannot_start() {
    within(LIMIT, || {
        let parent = Greenlet::new(|text: String| text);
        let child = Greenlet::new(|value: u32| value);
        child.set_parent(&parent).unwrap();
        let text = raised(|| child.switch(1));
        assert_eq!(text, "the target greenlet waits for a value of another type");
        assert!(child.is_dead());
        assert!(!parent.is_started());
        assert_eq!(parent.switch("still good".to_owned()).unwrap(), "still good");
    });
}

#[test]
fn case_17_to_oneself() {
    within(LIMIT, || {
        assert_eq!(main().switch(5).unwrap(), 5);
        assert_eq!(raised(|| main().throw::<()>(Box::new("an error"))), "an error");
        let child = Greenlet::new(|value: u32| {
            assert_eq!(raised(|| current().throw::<u32>(Box::new("inside"))), "inside");
            current().switch(value + 1).unwrap()
        });
        assert_eq!(child.switch(1).unwrap(), 2);
    });
}

#[test]
fn case_18_another_parent_while_running() {
    within(LIMIT, || {
        let heir = Greenlet::new(|value: u32| {
            let inherited = main().switch(value).unwrap();
            inherited + 100
        });
        let target = heir.clone();
        let child = Greenlet::new(move |value: u32| {
            current().set_parent(&target).unwrap();
            value + 1
        });
        assert_eq!(heir.switch(0).unwrap(), 0);
        assert!(child.parent() == Some(main()));
        assert_eq!(child.switch(1).unwrap(), 102);
        assert!(heir.is_dead());
    });
}

#[test]
fn case_19_no_greenlet_is_its_own_ancestor() {
    within(LIMIT, || {
        let [one, two, three] = [(); 3].map(|()| Greenlet::new(|value: u32| value));
        assert_eq!(one.set_parent(&one), Err(ParentError::Cycle));
        assert!(one.parent() == Some(main()));
        two.set_parent(&one).unwrap();
        three.set_parent(&two).unwrap();
        assert_eq!(one.set_parent(&three), Err(ParentError::Cycle));
        assert!(one.parent() == Some(main()));
        assert!(two.parent().as_ref() == Some(&*one));
        assert!(three.parent().as_ref() == Some(&*two));
    });
}

#[test]
fn case_20_main_has_no_parent() {
    within(LIMIT, || {
        let child = Greenlet::new(|value: u32| value);
        assert!(main().parent().is_none());
        assert_eq!(main().set_parent(&child), Err(ParentError::Main));
        assert_eq!(main().set_parent(&main()), Err(ParentError::Main));
        assert!(main().parent().is_none());
    });
}

/// Two blanket implementations, so that naming the function is ambiguous, and does not compile, for a `Send` or `Sync` type.
trait AmbiguousIfSend<Marker> {
    fn holds() {}
}
impl<T: ?Sized> AmbiguousIfSend<()> for T {}
impl<T: ?Sized + Send> AmbiguousIfSend<u8> for T {}

trait AmbiguousIfSync<Marker> {
    fn holds() {}
}
impl<T: ?Sized> AmbiguousIfSync<()> for T {}
impl<T: ?Sized + Sync> AmbiguousIfSync<u8> for T {}

#[test]
fn case_21_no_greenlet_leaves_its_thread() {
    <AnyGreenlet as AmbiguousIfSend<_>>::holds();
    <AnyGreenlet as AmbiguousIfSync<_>>::holds();
    <Greenlet<u32> as AmbiguousIfSend<_>>::holds();
    <Greenlet<u32> as AmbiguousIfSync<_>>::holds();
    <greenloop::greenlet::Generator<(), u32> as AmbiguousIfSend<_>>::holds();
    <greenloop::greenlet::Generator<(), u32> as AmbiguousIfSync<_>>::holds();
}

#[test]
fn case_24_ten_threads() {
    within(LIMIT, || {
        let threads: Vec<_> = (0..10).map(|_| thread::spawn(ping_pong)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), [0, 1, 2, 3, 4]);
        }
    });
}

#[test]
fn case_25_the_walk_of_states() {
    within(LIMIT, || {
        let state =
            |greenlet: &AnyGreenlet| (greenlet.is_started(), greenlet.is_active(), greenlet.is_dead());
        let child = Greenlet::new(move |()| {
            assert_eq!(state(&current()), (true, true, false));
            to_parent(());
        });
        assert_eq!(state(&child), (false, false, false));
        child.switch(()).unwrap();
        assert_eq!(state(&child), (true, true, false));
        child.switch(()).unwrap();
        assert_eq!(state(&child), (true, false, true));
        assert_eq!(state(&main()), (true, true, false));
    });
}

#[test]
fn case_26_debug_text() {
    within(LIMIT, || {
        let text = |greenlet: &AnyGreenlet| format!("{greenlet:?}").replace(&greenlet.id().to_string(), "N");
        let child = Greenlet::new(move |()| {
            assert_eq!(text(&current()), "<greenlet N current active started>");
            assert_eq!(text(&main()), "<greenlet N suspended active started main>");
            to_parent(());
        });
        assert_eq!(text(&main()), "<greenlet N current active started main>");
        assert_eq!(text(&child), "<greenlet N pending>");
        child.switch(()).unwrap();
        assert_eq!(text(&child), "<greenlet N suspended active started>");
        child.switch(()).unwrap();
        assert_eq!(text(&child), "<greenlet N dead>");
    });
}

#[test]
fn case_27_dropping_a_parked_one_runs_its_destructors() {
    within(LIMIT, || {
        let dropped = Rc::new(Cell::new(0));
        let seen = Rc::new(Cell::new(false));
        let (count, saw_exit) = (dropped.clone(), seen.clone());
        let child = Greenlet::new(move |value: u32| {
            let _counted = CountsDrops(count);
            match catch_unwind(AssertUnwindSafe(|| to_parent(value))) {
                Ok(_) => 0,
                Err(payload) => {
                    saw_exit.set(payload.is::<GreenletExit>());
                    resume_unwind(payload)
                }
            }
        });
        let second_handle = child.clone();
        child.switch(1).unwrap();
        drop(child);
        assert_eq!(dropped.get(), 0);
        drop(second_handle);
        assert_eq!(dropped.get(), 1);
        assert!(seen.get());
        assert!(current().is_main());
    });
}

#[test]
fn case_28_dropping_an_unstarted_one_drops_its_closure() {
    within(LIMIT, || {
        let dropped = Rc::new(Cell::new(0));
        let counted = CountsDrops(dropped.clone());
        let child = Greenlet::new(move |()| panic!("never runs, though it owns {}", counted.0.get()));
        drop(child);
        assert_eq!(dropped.get(), 1);
    });
}

#[test]
fn case_29_the_dropper_is_the_parent_of_who_is_dropped() {
    within(LIMIT, || {
        let parents = Rc::new(RefCell::new(Vec::new()));
        let log = parents.clone();
        let child = Greenlet::new(move |value: u32| {
            log.borrow_mut().push(current().parent().unwrap());
            let end = catch_unwind(AssertUnwindSafe(|| main().switch(value)));
            log.borrow_mut().push(current().parent().unwrap());
            resume_unwind(end.unwrap_err())
        });
        child.switch(1).unwrap();
        let dropper = Greenlet::new(move |value: u32| {
            drop(child);
            value
        });
        let expected = (*dropper).clone();
        assert_eq!(dropper.switch(5).unwrap(), 5);
        assert!(*parents.borrow() == [main(), expected]);
        // The log holds a handle of the dropper: it ends with this thread's greenlets.
        parents.take();
    });
}

#[test]
fn case_29_an_error_while_being_dropped_goes_to_the_hook() {
    let Some(child) = run_child(LIMIT, || {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = told.clone();
        greenloop::hub::set_uncaught_hook(Some(Arc::new(move |uncaught| {
            log.lock().unwrap().push(uncaught.to_string());
        })));
        let child = Greenlet::new(|value: u32| {
            let _ = catch_unwind(AssertUnwindSafe(|| to_parent(value)));
            raise("an error in the cleanup")
        });
        child.switch(1).unwrap();
        drop(child);
        let told = told.lock().unwrap();
        assert!(matches!(&told[..], [only] if only.ends_with("an error in the cleanup")), "{told:?}");
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
#[expect(unsafe_code, reason = "a limit on address space")]
fn case_31_no_stack() {
    let Some(child) = run_child(LIMIT, || {
        let room = 256 << 20;
        // SAFETY: the structure is valid for the call.
        let result =
            unsafe { libc::setrlimit(libc::RLIMIT_AS, &libc::rlimit { rlim_cur: room, rlim_max: room }) };
        assert_eq!(result, 0);
        let mut parked = Vec::new();
        let failed = loop {
            let child =
                Greenlet::with_stack_size(16 << 20, to_parent::<u32>).expect("a size that stacks can have");
            match child.switch(1) {
                Ok(_) => parked.push(child),
                Err(SwitchError::Stack(error)) => break (child, error),
                Err(other) => panic!("{other}"),
            }
            assert!(parked.len() < 100, "the limit was not felt");
        };
        let (child, error) = failed;
        assert!(!error.to_string().is_empty());
        assert!(!child.is_started());
        assert!(current().is_main());
        // Once others have made room, it starts.
        parked.clear();
        assert_eq!(child.switch(2).unwrap(), 2);
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn case_32_a_caught_error_is_nobody_elses() {
    within(LIMIT, || {
        let child = Greenlet::new(|value: u32| {
            let text = raised(|| raise("mine"));
            assert_eq!(text, "mine");
            let value = to_parent(value);
            assert!(!thread::panicking());
            let text = raised(|| {
                to_parent(value);
                raise("mine again")
            });
            assert_eq!(text, "mine again");
            value
        });
        for _ in 0..3 {
            child.switch(1).unwrap();
            assert!(!thread::panicking());
        }
        assert!(child.is_dead());
        let fails = Greenlet::new(|()| panic!("uncaught"));
        assert_eq!(raised(|| fails.switch(())), "uncaught");
        assert!(!thread::panicking());
    });
}

thread_local! {
    static PRODUCT: Cell<u32> = const { Cell::new(0) };
}

/// n! times what comes in by a switch at the bottom, each level of the recursion below one more frame of C's `qsort`.
fn factorial_through_c(n: u32) -> u32 {
    if n == 0 {
        return to_parent(0);
    }
    DEPTH.set(n);
    let mut two = [0u8; 2];
    #[expect(unsafe_code, reason = "a C function that calls back")]
    // SAFETY: `two` is an array of two elements of one byte; the comparator does not touch them and does not unwind.
    unsafe {
        libc::qsort(two.as_mut_ptr().cast(), two.len(), 1, Some(compare));
    }
    PRODUCT.get()
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

extern "C" fn compare(_: *const c_void, _: *const c_void) -> c_int {
    // Once per array: a sanitizer's `qsort` compares more often.
    let n = DEPTH.replace(0);
    if n == 0 {
        return 0;
    }
    let product = factorial_through_c(n - 1) * n;
    PRODUCT.set(product);
    0
}

#[test]
fn case_33_under_c_frames() {
    within(LIMIT, || {
        let child = Greenlet::new(factorial_through_c);
        assert_eq!(child.switch(5).unwrap(), 0);
        // The greenlet is parked below five frames of C.
        let other = Greenlet::new(|value: u32| value);
        assert_eq!(other.switch(3).unwrap(), 3);
        assert_eq!(child.switch(10).unwrap(), 1200);
        assert!(child.is_dead());
    });
}

#[test]
fn case_34_four_interleaved_unwinds() {
    within(LIMIT, || {
        let children: Vec<Greenlet<u32>> = (0..4)
            .map(|number: u32| {
                Greenlet::new(move |value: u32| {
                    let caught = catch_unwind(AssertUnwindSafe(|| {
                        let value = to_parent(value);
                        let inner = catch_unwind(AssertUnwindSafe(|| {
                            to_parent(value);
                            resume_unwind(Box::new(number))
                        }));
                        // After the first unwind, before the second.
                        to_parent(value + 1);
                        resume_unwind(Box::new(inner.unwrap_err().downcast_ref::<u32>().unwrap() + 10))
                    }));
                    let value = *caught.unwrap_err().downcast_ref::<u32>().unwrap();
                    to_parent(value);
                    raise("at the end")
                })
            })
            .collect();
        for round in 0..3 {
            for child in &children {
                assert_eq!(child.switch(round).unwrap(), round);
            }
        }
        for (number, child) in children.iter().enumerate() {
            assert_eq!(child.switch(3).unwrap(), number as u32 + 10);
        }
        for child in children.iter().rev() {
            assert_eq!(raised(|| child.switch(0)), "at the end");
        }
    });
}

/// Asserts that `life`, run 10,000 times after as many to warm up, leaves the resident memory as it was.
fn assert_flat(life: impl Fn()) {
    (0..10_000).for_each(|_| life());
    let before = resident_bytes();
    (0..10_000).for_each(|_| life());
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 1 << 20, "grew by {grown} bytes");
}

#[test]
fn case_36_ten_thousand_lives_leave_no_memory() {
    let Some(child) = run_child(LIMIT, || {
        assert_flat(|| {
            let child = Greenlet::new(to_parent::<u32>);
            child.switch(1).unwrap();
            child.switch(2).unwrap();
        });
        // Dropped while parked.
        assert_flat(|| drop(Greenlet::new(to_parent::<u32>).switch(1)));
        // Ended by an error.
        assert_flat(|| drop(raised(|| Greenlet::new(|()| raise("an error")).switch(()))));
        // Never started.
        assert_flat(|| drop(Greenlet::new(to_parent::<u32>)));
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn case_36_ended_threads_leave_no_memory() {
    let Some(child) = run_child(LIMIT, || {
        let life = || thread::spawn(ping_pong).join().unwrap();
        (0..500).for_each(|_| drop(life()));
        let before = resident_bytes();
        (0..500).for_each(|_| drop(life()));
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 1 << 20, "grew by {grown} bytes");
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}
