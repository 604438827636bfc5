//! Destructors of results and payloads that nobody takes.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use greenloop::error::{InvalidSwitch, SwitchError, Undelivered};
use greenloop::greenlet::{AnyGreenlet, Generator, Greenlet, current, main};
use greenloop::sync::Mutex;
use greenloop::threadpool::ThreadPool;
use greenloop::{GreenletExit, JoinHandle, idle, sleep, spawn, yield_now};

use crate::support::{collect_uncaught, run_child, within};
use crate::{Bomb, LIMIT, LONG, OnDrop, text};

/// What waits, switches and ends as before.
fn all_is_well() {
    sleep(Duration::from_millis(1));
    assert!(current().is_main());
    assert!(!std::thread::panicking());
    let tasks: Vec<_> = (0..5)
        .map(|number| {
            spawn(move || {
                yield_now();
                number
            })
        })
        .collect();
    let numbers: Vec<_> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    assert_eq!(Greenlet::new(|value: u32| value).switch(1).unwrap(), 1);
}

#[test]
fn of_results_and_payloads_are_told() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        let take_told = || std::mem::take(&mut *told.lock().unwrap());
        // Several, so that one begins on the stack of another.
        (0..3).for_each(|_| drop(spawn(|| Bomb("a result"))));
        let after = spawn(|| 7);
        assert_eq!(after.join().unwrap(), 7);
        let lines = take_told();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines.iter().all(|line| line.ends_with("panicked: a result")), "{lines:?}");
        all_is_well();

        drop(spawn(|| resume_unwind(Box::new(Bomb("a payload")))));
        idle();
        let lines = take_told();
        assert!(matches!(&lines[..], [_, line] if line == "the destructor of a payload panicked: a payload"));
        all_is_well();

        // Who drops the handle of one that has ended.
        let ended: JoinHandle<()> = spawn(|| resume_unwind(Box::new(Bomb("a payload"))));
        ended.wait();
        drop(ended);
        assert_eq!(take_told().len(), 2);

        // Each raises the next: some, and without end.
        struct Chain(u32);
        impl Drop for Chain {
            fn drop(&mut self) {
                if self.0 > 0 {
                    resume_unwind(Box::new(Chain(self.0 - 1)));
                }
            }
        }
        drop(spawn(|| resume_unwind(Box::new(Chain(5)))));
        idle();
        assert_eq!(take_told().len(), 1 + 5);
        drop(spawn(|| resume_unwind(Box::new(Chain(u32::MAX)))));
        idle();
        let lines = take_told();
        assert!(lines.len() < 40 && lines.last().unwrap().contains("leaks"), "{lines:?}");
        all_is_well();
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn of_interrupts_that_are_never_raised_are_told() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        let slot: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
        let own = slot.clone();
        let task = spawn(move || {
            let handle = own.take().unwrap();
            handle.kill_with(Box::new(Bomb("the first")));
            handle.kill_with(Box::new(Bomb("the second")));
        });
        slot.replace(Some(task));
        idle();
        let expected =
            ["the first", "the second"].map(|text| format!("the destructor of a payload panicked: {text}"));
        assert_eq!(*told.lock().unwrap(), expected);
        all_is_well();
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn of_values_that_no_greenlet_takes_are_told() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        let take_told = || std::mem::take(&mut *told.lock().unwrap());
        // To one that waits in the hub.
        let slot: Rc<RefCell<Option<AnyGreenlet>>> = Rc::default();
        let own = slot.clone();
        let sleeper = spawn(move || {
            *own.borrow_mut() = Some(current());
            let raised = catch_unwind(|| sleep(LONG)).unwrap_err();
            assert!(raised.is::<InvalidSwitch>());
        });
        yield_now();
        let waiting = slot.take().unwrap();
        let mut switcher = Some(waiting);
        let switch = spawn(move || drop(switcher.take().unwrap().switch(Bomb("a value"))));
        sleeper.join().unwrap();
        switch.kill();
        assert_eq!(take_told(), ["the destructor of a value that no greenlet takes panicked: a value"]);

        // The result of a greenlet that is dropped.
        let stubborn = Greenlet::new(|value: Bomb| {
            let _ = catch_unwind(AssertUnwindSafe(|| main().switch(value)));
            Bomb("a result")
        });
        std::mem::forget(stubborn.switch(Bomb("first")));
        drop(stubborn);
        assert_eq!(take_told(), ["the destructor of a value that no greenlet takes panicked: a result"]);

        // The failure of a generator that is dropped.
        let mut generator = Generator::new(|yields, ()| {
            let _ = catch_unwind(AssertUnwindSafe(|| yields.yield_(1)));
            resume_unwind(Box::new(Bomb("a failure")));
        });
        assert_eq!(generator.next(), Some(1));
        drop(generator);
        assert_eq!(take_told().len(), 2);
        all_is_well();
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

greenloop::greenlet_local! {
    static LOCAL: RefCell<Option<Box<dyn FnMut()>>> = RefCell::new(None);
}

/// What runs when the current greenlet's local is destroyed.
fn at_the_end(run: impl FnMut() + 'static) {
    let guard = OnDrop(run);
    LOCAL.set(Some(Box::new(move || _ = &guard)));
}

#[test]
fn of_a_greenlet_local_does_not_take_the_place_of_the_result() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        let kept = Rc::new(1_u32);
        let result = kept.clone();
        let greenlet: Greenlet<Rc<u32>> = Greenlet::new(move |_| {
            at_the_end(|| drop(main().switch(Rc::new(100_u32))));
            result
        });
        assert!(Rc::ptr_eq(&greenlet.switch(Rc::new(0)).unwrap(), &kept));
        assert!(greenlet.is_dead());
        assert_eq!(Rc::strong_count(&kept), 1);
        assert_eq!(told.lock().unwrap().len(), 1);
        // A destructor that makes the local anew, and fails.
        let failing: Greenlet<u32> = Greenlet::new(|value| {
            at_the_end(|| {
                at_the_end(|| resume_unwind(Box::new(Bomb("made anew"))));
                resume_unwind(Box::new("a local fails"));
            });
            value
        });
        assert_eq!(failing.switch(3).unwrap(), 3);
        assert_eq!(told.lock().unwrap().len(), 4);
        // In a green thread it may wait, and switch, before the result is known.
        let waited = Rc::new(Cell::new(false));
        let done = waited.clone();
        let task = spawn(move || {
            at_the_end(move || {
                sleep(Duration::from_millis(1));
                assert_eq!(Greenlet::new(|value: u32| value).switch(5).unwrap(), 5);
                done.set(true);
            });
            7
        });
        assert_eq!(task.join().unwrap(), 7);
        assert!(waited.get());
        all_is_well();
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

/// What destructors and hooks leave at the end of a green thread is not the next one's, which runs on the same stack.
#[test]
fn leave_nothing_to_what_runs_next() {
    fn made_anew_for_ever() {
        at_the_end(made_anew_for_ever);
    }
    let Some(child) = run_child(LIMIT, || {
        let is_fresh = || assert!(spawn(|| LOCAL.with_borrow(|local| local.is_none())).join().unwrap());
        let told = collect_uncaught();
        spawn(made_anew_for_ever).join().unwrap();
        is_fresh();
        assert_eq!(Greenlet::new(|()| made_anew_for_ever()).switch(()).unwrap(), ());
        is_fresh();
        let anew = "greenlet-locals whose destructors make them anew, without end: they leak";
        assert_eq!(*told.lock().unwrap(), [anew, anew]);

        // The destructor of an interrupt that comes too late.
        let slot = Rc::new(RefCell::new(None::<JoinHandle<()>>));
        let own = slot.clone();
        let ends = || OnDrop(|| at_the_end(|| ()));
        *slot.borrow_mut() =
            Some(spawn(move || _ = own.borrow().as_ref().unwrap().kill_with(Box::new(ends()))));
        yield_now();
        slot.take().unwrap().join().unwrap();
        is_fresh();

        // That of a parent, which never ran: it asks who runs.
        let asked = Rc::new(RefCell::new(Vec::new()));
        let ask = asked.clone();
        let guard = OnDrop(move || ask.borrow_mut().push(current()));
        let parent = Greenlet::new(move |()| _ = &guard);
        let greenlet = Greenlet::new(|()| main().switch(()).unwrap());
        greenlet.set_parent(&parent).unwrap();
        greenlet.switch(()).unwrap();
        drop(parent);
        greenlet.throw(Box::new(GreenletExit)).unwrap_err();
        drop(greenlet);
        assert_eq!(asked.borrow().len(), 1);
        let next = spawn(current);
        assert!(next.join().unwrap() != asked.borrow()[0]);
        all_is_well();
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn of_a_job_s_value_leaves_the_pool_as_it_is() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        let pool = ThreadPool::new(1);
        for _ in 0..3 {
            // Not done before its handle is gone.
            let gates = [(); 2].map(|()| std::sync::mpsc::channel::<()>());
            let [(value_goes, value_gone), (panic_goes, panic_gone)] = gates;
            drop(pool.spawn(move || {
                let _ = value_gone.recv();
                Bomb("a value")
            }));
            drop(pool.spawn(move || {
                let _ = panic_gone.recv();
                resume_unwind(Box::new(Bomb("a payload")))
            }));
            drop((value_goes, panic_goes));
        }
        assert_eq!(pool.spawn(|| 7).join().unwrap(), 7);
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 6, "{told:?}");
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

/// Two that are killed at once wait in their destructors at once: no one else is taken for one that unwinds, then or later.
#[test]
fn two_that_wait_at_once_leave_no_wrong_count() {
    within(LIMIT, || {
        for first in [0, 1] {
            let released = [(); 2].map(|()| Arc::new(greenloop::event::Event::new()));
            let tasks = [0, 1].map(|number| {
                let released = released[number].clone();
                spawn(move || {
                    let _waits = OnDrop(|| released.wait());
                    sleep(LONG);
                })
            });
            yield_now();
            tasks.iter().for_each(|task| _ = task.try_kill());
            for release in [first, 1 - first] {
                yield_now();
                let start = std::time::Instant::now();
                spawn(|| sleep(Duration::from_millis(2))).join().unwrap();
                assert!(start.elapsed() >= Duration::from_millis(2), "a sleep beside them lasts");
                released[release].set();
            }
            assert!(tasks.into_iter().all(|task| task.join().unwrap_err().is_killed()));
            assert!(!std::thread::panicking());
            let start = std::time::Instant::now();
            sleep(Duration::from_millis(2));
            assert!(start.elapsed() >= Duration::from_millis(2));
        }
    });
}

/// std aborts when somebody panics while a panic hook runs on the same OS thread.
#[test]
fn a_wait_in_a_panic_hook_is_refused() {
    static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let Some(child) = run_child(LIMIT, || {
        std::panic::set_hook(Box::new(|info| {
            sleep(LONG);
            yield_now();
            LOG.lock().unwrap().push(info.to_string());
        }));
        let refused = "nothing may wait in a panic hook";
        let guard = LOG.lock().unwrap();
        let (release, released) = greenloop::channel::bounded::<()>(0);
        let tasks = [
            spawn(|| panic!("one")),
            spawn(|| panic!("another")),
            // While it unwinds: its destructor panics too, and catches that.
            spawn(|| {
                let _panics = OnDrop(|| {
                    let raised = catch_unwind(|| panic!("a third")).unwrap_err();
                    assert_or_abort(text(&*raised).starts_with("nothing may wait in a panic hook"));
                });
                resume_unwind(Box::new("unwinds"))
            }),
            // In no hook: its destructor waits until it can go on, while others panic.
            spawn(move || {
                let _waits = OnDrop(move || _ = released.recv());
                resume_unwind(Box::new("waits in a destructor"))
            }),
            spawn(|| panic!("the last")),
        ];
        yield_now();
        drop(release);
        let raised = tasks.map(|task: JoinHandle<()>| {
            let payload = task.join().unwrap_err().into_payload();
            text(&*payload).to_owned()
        });
        assert!([0, 1, 4].iter().all(|&number| raised[number].starts_with(refused)), "{raised:?}");
        assert_eq!([&*raised[2], &*raised[3]], ["unwinds", "waits in a destructor"]);
        drop(guard);
        assert!(!std::thread::panicking());
        // What does not have to wait is told, and the panic is what it was.
        let payload = spawn(|| panic!("in the log")).join().unwrap_err().into_payload();
        assert_eq!(text(&*payload), "in the log");
        assert!(LOG.lock().unwrap().pop().unwrap().ends_with("in the log"));
        drop(std::panic::take_hook());
        all_is_well();
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

/// An assertion for where no panic may be raised.
fn assert_or_abort(holds: bool) {
    if !holds {
        std::process::abort();
    }
}

/// Its destructor switches to main by hand, so that main goes on while the OS thread is said to panic.
#[test]
fn who_switches_by_hand_while_it_unwinds_does_not_make_the_others_unwind() {
    within(LIMIT, || {
        let unwinds = Greenlet::new(|_: u32| {
            let _switches = OnDrop(|| assert_or_abort(main().switch(1_u32).unwrap() == 2));
            resume_unwind(Box::new("unwinds"))
        });
        assert_eq!(unwinds.switch(0).unwrap(), 1);
        let event = greenloop::event::Event::new();
        assert!(greenloop::with_timeout(Duration::from_millis(5), || event.wait()).is_err());
        let begun = std::time::Instant::now();
        sleep(Duration::from_millis(5));
        assert!(begun.elapsed() >= Duration::from_millis(5));
        let mutex = Mutex::new(());
        drop(mutex.lock());
        assert!(!mutex.is_poisoned());
        let raised = catch_unwind(AssertUnwindSafe(|| unwinds.switch(2))).unwrap_err();
        assert_eq!(text(&*raised), "unwinds");
        assert!(!std::thread::panicking());
        all_is_well();
    });
}

/// Sends `value` to a greenlet that waits for a number.
fn refused<T: 'static>(value: T) -> Undelivered {
    let of_numbers: AnyGreenlet = (*Greenlet::new(|number: u32| number)).clone();
    match of_numbers.switch(value) {
        Err(SwitchError::WrongType(refused)) => refused,
        other => unreachable!("{:?}", other.map(drop)),
    }
}

/// A value that no greenlet took, and whose error went to another OS thread, is dropped when the next one is refused, or at the end.
#[test]
fn of_values_that_were_refused_are_told() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        let log = told.clone();
        let sender = thread::spawn(move || {
            for number in 0..3 {
                let undelivered = refused(Bomb("a value"));
                assert_eq!(log.lock().unwrap().len(), number);
                thread::spawn(move || drop(undelivered)).join().unwrap();
            }
            all_is_well();
        });
        sender.join().unwrap();
        let lines = std::mem::take(&mut *told.lock().unwrap());
        assert_eq!(lines, ["the destructor of a value that no greenlet takes panicked: a value"; 3]);
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}
