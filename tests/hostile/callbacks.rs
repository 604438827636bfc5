//! User code that the hub or a switch runs in its own place.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use greenloop::event::{AsyncResult, Event};
use greenloop::greenlet::{Generator, Greenlet, Trace, current, main, settrace};
use greenloop::hub::set_uncaught_hook;
use greenloop::queue::PriorityQueue;
use greenloop::{JoinHandle, idle, sleep, spawn, spawn_later, yield_now};

use crate::support::{collect_uncaught, run_child, spawn_parked, within};
use crate::{Bomb, LIMIT, LONG, OnDrop, text};

const RULE: &str = "nothing may wait in a hub callback, nor switch greenlets: spawn a green thread there";

/// Everything that would leave the stack; each is refused, and changes nothing.
struct Attempts {
    parked: JoinHandle<()>,
    suspended: Greenlet<u32>,
    unstarted: Greenlet<u32>,
    generator: RefCell<Generator<(), u32>>,
    counted: Cell<u32>,
}

impl Attempts {
    fn new() -> Rc<Attempts> {
        let suspended = Greenlet::new(|value: u32| main().switch(value).unwrap());
        suspended.switch(1).unwrap();
        let mut generator = Generator::new(|yields, ()| (1..100).for_each(|number| yields.yield_(number)));
        generator.next();
        Rc::new(Attempts {
            parked: spawn_parked(|| sleep(LONG)),
            suspended,
            unstarted: Greenlet::new(|value: u32| value),
            generator: RefCell::new(generator),
            counted: Cell::new(0),
        })
    }

    /// Called in a callback.
    fn make(&self) {
        let attempts: [&dyn Fn(); 10] = [
            &|| sleep(Duration::from_millis(1)),
            &|| yield_now(),
            &|| idle(),
            &|| self.parked.wait(),
            &|| self.parked.kill(),
            &|| drop(self.suspended.switch(2)),
            &|| drop(self.suspended.throw(Box::new("thrown"))),
            &|| drop(self.unstarted.throw(Box::new("thrown"))),
            &|| drop(current().switch(0_u32)),
            &|| _ = self.generator.borrow_mut().next(),
        ];
        for (number, attempt) in attempts.iter().enumerate() {
            let refused = catch_unwind(AssertUnwindSafe(attempt)).expect_err("it was to be refused");
            assert_eq!((number, text(&*refused)), (number, RULE));
        }
        self.counted.set(self.counted.get() + 1);
    }

    /// Called in an ordinary place.
    fn verify(&self, times: u32) {
        assert_eq!(self.counted.get(), times, "a callback ran so often");
        assert_eq!(self.suspended.switch(7).unwrap(), 7);
        assert_eq!(self.unstarted.switch(8).unwrap(), 8);
        assert_eq!(self.generator.borrow_mut().next(), Some(2));
        // `kill` has told it before it was refused to wait.
        self.parked.wait();
        sleep(Duration::from_millis(1));
        yield_now();
    }
}

/// A waker that calls a function.
struct Calls(Mutex<Box<dyn FnMut() + Send>>);

impl Wake for Calls {
    fn wake(self: Arc<Calls>) {
        (self.0.lock().unwrap())();
    }
}

fn waker(run: impl FnMut() + Send + 'static) -> Waker {
    Arc::new(Calls(Mutex::new(Box::new(run)))).into()
}

thread_local! {
    static HERE: RefCell<Option<Rc<Attempts>>> = const { RefCell::new(None) };
}

fn attempts_here() -> Rc<Attempts> {
    HERE.with_borrow(|attempts| attempts.clone().expect("they were made"))
}

fn make_attempts() -> Rc<Attempts> {
    let attempts = Attempts::new();
    HERE.set(Some(attempts.clone()));
    attempts
}

/// Polls the handle once with this waker.
fn poll_with(task: &mut JoinHandle<()>, waker: &Waker) {
    let polled = std::pin::Pin::new(task).poll(&mut std::task::Context::from_waker(waker));
    assert!(polled.is_pending());
}

/// In each kind of place the same is refused, and nothing is reported by what catches it.
#[test]
fn nothing_waits_nor_switches_in_any_callback() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();

        // What was linked to the hub itself.
        let attempts = make_attempts();
        let event = Event::new();
        event.rawlink(|| attempts_here().make());
        event.set();
        idle();
        attempts.verify(1);

        // A waker that a green thread's end, or main, calls.
        let attempts = make_attempts();
        let mut ends = spawn_parked(|| sleep(Duration::from_millis(5)));
        poll_with(&mut ends, &waker(|| attempts_here().make()));
        ends.wait();
        attempts.verify(1);

        // The destructor of a closure that never runs: killed by main, by a green thread, and by another OS thread.
        let kills: [fn(JoinHandle<()>); 3] = [
            |unstarted| unstarted.kill(),
            |unstarted| spawn(move || unstarted.kill()).join().unwrap(),
            |unstarted| {
                thread::scope(|scope| _ = scope.spawn(|| unstarted.try_kill()));
                unstarted.wait();
            },
        ];
        for kill in kills {
            let attempts = make_attempts();
            let guard = OnDrop(|| attempts_here().make());
            kill(spawn_later(LONG, move || drop(guard)));
            attempts.verify(1);
        }

        // One that never ran of those that switch.
        let attempts = make_attempts();
        let guard = OnDrop(|| attempts_here().make());
        let unstarted = Greenlet::new(move |value: u32| {
            let _guard = &guard;
            value
        });
        let thrown = catch_unwind(AssertUnwindSafe(|| unstarted.throw(Box::new("thrown"))));
        assert_eq!(text(&*thrown.unwrap_err()), "thrown");
        attempts.verify(1);

        // The hook for errors that no one can receive.
        let attempts = make_attempts();
        set_uncaught_hook(Some(Arc::new(|_| attempts_here().make())));
        drop(spawn(|| resume_unwind(Box::new("no one will know"))));
        idle();
        attempts.verify(1);
        drop(collect_uncaught());

        assert_eq!(*told.lock().unwrap(), [""; 0]);
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn nothing_waits_nor_switches_in_a_trace_hook() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        let attempts = make_attempts();
        let once = Cell::new(false);
        settrace(Some(Rc::new(move |_| {
            if !once.replace(true) {
                attempts_here().make();
            }
        })));
        let greenlet = Greenlet::new(|value: u32| value + 1);
        assert_eq!(greenlet.switch(1).unwrap(), 2);
        settrace(None);
        attempts.verify(1);
        assert_eq!(*told.lock().unwrap(), [""; 0]);
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

/// A hook that fails at any switch is told, and every switch goes on.
#[test]
fn a_trace_hook_that_fails_changes_nothing() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        let calls = Rc::new(Cell::new(0_usize));
        let count = calls.clone();
        settrace(Some(Rc::new(move |_| {
            count.set(count.get() + 1);
            match count.get() % 3 {
                0 => sleep(LONG),
                1 => resume_unwind(Box::new("a hook fails")),
                _ => resume_unwind(Box::new(Bomb("its payload fails"))),
            }
        })));
        let tasks: Vec<_> = (0..3)
            .map(|number| {
                spawn(move || {
                    yield_now();
                    sleep(Duration::from_millis(1));
                    number
                })
            })
            .collect();
        let numbers: Vec<_> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(Generator::new(|yields, ()| yields.yield_(7)).collect::<Vec<_>>(), [7]);
        settrace(None);
        let told = told.lock().unwrap();
        let of_bombs = (0..=calls.get()).filter(|call| call % 3 == 2).count();
        assert_eq!(told.len(), calls.get() + of_bombs, "{told:?}");
        assert_eq!(told.iter().filter(|line| line.contains(RULE)).count(), calls.get() / 3);
        assert_eq!(told.iter().filter(|line| line.contains("its payload fails")).count(), of_bombs);
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

/// greenlet's rule: the hook runs as the target.
#[test]
fn the_current_greenlet_is_the_target_in_a_trace_hook() {
    within(LIMIT, || {
        let seen = Rc::new(Cell::new(0));
        let count = seen.clone();
        settrace(Some(Rc::new(move |trace: &Trace| {
            assert!(current() == trace.target);
            assert!(format!("{:?}", trace.target).contains("current"));
            count.set(count.get() + 1);
        })));
        let greenlet = Greenlet::new(|value: u32| main().switch(value).unwrap());
        greenlet.switch(1).unwrap();
        greenlet.switch(2).unwrap();
        spawn(yield_now).join().unwrap();
        settrace(None);
        // There and back thrice.
        assert_eq!(seen.get(), 6);
        assert!(current().is_main());
    });
}

#[test]
fn the_last_handle_may_go_in_a_callback() {
    within(LIMIT, || {
        let ended = Rc::new(RefCell::new(Vec::new()));
        let suspended = |name: &'static str| {
            let log = ended.clone();
            let greenlet = Greenlet::new(move |()| {
                let _told = OnDrop(|| {
                    // In an ordinary place it may wait.
                    sleep(Duration::from_millis(1));
                    log.borrow_mut().push(name);
                });
                main().switch(()).unwrap();
            });
            greenlet.switch(()).unwrap();
            greenlet
        };
        let log = ended.clone();
        let mut generator = Generator::new(move |yields, ()| {
            let _told = OnDrop(|| log.borrow_mut().push("generator"));
            yields.yield_(1);
        });
        generator.next();

        // By the hub.
        let kept = RefCell::new(Some((suspended("by the hub"), generator)));
        let in_hub = ended.clone();
        run_in_the_hub(move || {
            drop(kept.take());
            assert_eq!(*in_hub.borrow(), [""; 0], "not in here");
        });
        idle_until(|| ended.borrow().len() == 2);
        ended.borrow_mut().sort();
        assert_eq!(ended.take(), ["by the hub", "generator"]);

        // By a trace hook; by who ends another, whose closure owns it.
        let kept = RefCell::new(Some(suspended("by a hook")));
        settrace(Some(Rc::new(move |_| drop(kept.take()))));
        yield_now();
        spawn(|| ()).join().unwrap();
        settrace(None);
        let owned = suspended("by a closure");
        spawn_later(LONG, move || drop(owned)).kill();
        idle_until(|| ended.borrow().len() == 2);
        assert_eq!(ended.take(), ["by a hook", "by a closure"]);

        // One that got another handle meanwhile lives.
        let (saved, slot) = (Rc::new(RefCell::new(None)), Rc::new(RefCell::new(Some(suspended("kept")))));
        let save = saved.clone();
        run_in_the_hub(move || *save.borrow_mut() = slot.take());
        idle();
        let kept = saved.take().unwrap();
        assert!(!kept.is_dead());
        kept.switch(()).unwrap();
        assert_eq!(ended.take(), ["kept"]);
    });
}

fn idle_until(reached: impl Fn() -> bool) {
    while !reached() {
        sleep(Duration::from_millis(1));
    }
}

/// Has `run` run by the hub itself.
fn run_in_the_hub(run: impl FnMut() + 'static) {
    let guard = OnDrop(run);
    let unstarted = spawn_later(LONG, move || drop(guard));
    thread::scope(|scope| _ = scope.spawn(|| unstarted.try_kill()));
    unstarted.wait();
}

/// A comparison under the queue's lock, on a green thread, on main, and on an OS thread without a hub.
#[test]
fn a_comparison_neither_waits_nor_switches() {
    #[derive(PartialEq, Eq)]
    struct Waits;
    impl PartialOrd for Waits {
        fn partial_cmp(&self, other: &Waits) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for Waits {
        fn cmp(&self, _: &Waits) -> std::cmp::Ordering {
            let generator = Greenlet::new(|value: u32| value);
            drop(generator.switch(1));
            std::cmp::Ordering::Equal
        }
    }
    let attempt = || {
        let queue = PriorityQueue::unbounded();
        queue.put(Waits).unwrap();
        let refused = catch_unwind(AssertUnwindSafe(|| queue.put(Waits))).unwrap_err();
        assert!(text(&*refused).starts_with("nothing may wait in a comparison"));
        assert_eq!(queue.len(), 1);
        // Elsewhere it may.
        assert_eq!(Greenlet::new(|value: u32| value).switch(1).unwrap(), 1);
    };
    within(LIMIT, move || {
        attempt();
        spawn(attempt).join().unwrap();
        thread::spawn(attempt).join().unwrap();
    });
}

#[test]
fn a_callback_that_fails_leaves_nothing_set() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        let result = AsyncResult::new();
        result.rawlink(|| resume_unwind(Box::new(Bomb("its payload fails too"))));
        result.rawlink(|| resume_unwind(Box::new("a callback fails")));
        result.set(());
        idle();
        let event = Event::new();
        spawn_later(LONG, {
            let guard = OnDrop(|| resume_unwind(Box::new(Bomb("and this"))));
            move || drop(guard)
        })
        .kill();
        event.set();
        // Everything waits and switches as before.
        sleep(Duration::from_millis(1));
        assert_eq!(Greenlet::new(|value: u32| value).switch(1).unwrap(), 1);
        spawn(yield_now).join().unwrap();
        let told = told.lock().unwrap();
        let expected = [
            "a callback panicked: Box<dyn Any>",
            "the destructor of a payload panicked: its payload fails too",
            "a callback panicked: a callback fails",
            "the destructor of a closure that never ran panicked: Box<dyn Any>",
            "the destructor of a payload panicked: and this",
        ];
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for (line, expected) in told.iter().zip(expected) {
            let place = expected.split(':').next().unwrap();
            assert!(line.starts_with(place), "{line} {expected}");
        }
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

/// A callback that does much and waits for nothing does not have to yield.
#[test]
fn a_callback_has_no_budget() {
    within(LIMIT, || {
        let done = Rc::new(Cell::new(0));
        let count = done.clone();
        run_in_the_hub(move || {
            let (sender, receiver) = greenloop::channel::unbounded();
            for number in 0..1_000 {
                sender.send(number).unwrap();
                assert_eq!(receiver.recv(), Ok(number));
            }
            let (_reader, writer) = greenloop::io::pipe().unwrap();
            (0..1_000).for_each(|_| greenloop::io::wait_writable(&writer).unwrap());
            count.set(1_000);
        });
        assert_eq!(done.get(), 1_000);
    });
}
