use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use greenloop::error::GreenletExit;
use greenloop::event::Event;
use greenloop::hub::Hub;
use greenloop::{JoinError, JoinHandle, sleep, spawn, spawn_later, with_timeout, yield_now};

use crate::support::within;
use crate::{CountsDrops, LIMIT, LONG, Log, SHORT, compute, raise, text};

/// A green thread that has a handle of its own.
fn with_own_handle<T: 'static>(run: impl FnOnce(&JoinHandle<T>) -> T + 'static) -> Rc<JoinHandle<T>> {
    let own: Rc<RefCell<Option<Rc<JoinHandle<T>>>>> = Rc::default();
    let seen = own.clone();
    let task = Rc::new(spawn(move || run(&seen.take().expect("put there before it began"))));
    *own.borrow_mut() = Some(task.clone());
    task
}

fn result<T: 'static>(task: Rc<JoinHandle<T>>) -> Result<T, JoinError> {
    task.wait();
    Rc::into_inner(task).expect("the last handle").join()
}

#[test]
fn of_oneself() {
    within(LIMIT, || {
        let dropped = Rc::new(Cell::new(0));
        let counted = CountsDrops(dropped.clone());
        let task = with_own_handle(move |own: &JoinHandle<()>| {
            let _counted = counted;
            own.kill();
            unreachable!("it unwinds at once");
        });
        assert!(result(task).unwrap_err().is_killed());
        assert_eq!(dropped.get(), 1);

        // Without waiting it comes at the next wait, whichever that is.
        let task = with_own_handle(|own: &JoinHandle<u32>| {
            assert!(!own.try_kill());
            let payload = catch_unwind(yield_now).unwrap_err();
            assert!(payload.is::<GreenletExit>());
            sleep(SHORT);
            7
        });
        assert_eq!(result(task).unwrap(), 7);
    });
}

#[test]
fn of_one_that_is_ready() {
    within(LIMIT, || {
        let log = Log::new();
        let inside = log.clone();
        let yielding = spawn(move || {
            inside.push("before");
            yield_now();
            inside.push("after");
        });
        yield_now();
        yielding.kill();
        assert_eq!(log.take(), ["before"]);
        assert!(yielding.join().unwrap_err().is_killed());
    });
}

#[test]
fn between_its_wake_and_its_run() {
    within(LIMIT, || {
        let event = Arc::new(Event::new());
        let ended = Rc::new(Cell::new(""));
        let (waits, end) = (event.clone(), ended.clone());
        let task = spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| waits.wait()));
            end.set(if outcome.is_ok() { "woken" } else { "killed" });
        });
        yield_now();
        event.set();
        assert!(!task.try_kill());
        task.wait();
        assert_eq!(ended.get(), "killed");

        // The same with a timer that has rung, and with the end of another green thread.
        for by_timer in [true, false] {
            let other = spawn(yield_now);
            let task = spawn(move || if by_timer { sleep(SHORT) } else { other.wait() });
            yield_now();
            if by_timer {
                compute(2 * SHORT);
            }
            yield_now();
            task.kill();
            assert!(task.join().unwrap_err().is_killed(), "by_timer: {by_timer}");
        }
    });
}

#[test]
fn twice_is_raised_twice() {
    within(LIMIT, || {
        let log = Log::new();
        let inside = log.clone();
        let task = spawn(move || {
            for _ in 0..2 {
                let payload = catch_unwind(|| sleep(LONG)).unwrap_err();
                inside.push(text_or_exit(&*payload));
            }
            yield_now();
            "done"
        });
        yield_now();
        assert!(!task.try_kill());
        assert!(!task.kill_with(Box::new("the second")));
        assert_eq!(task.join().unwrap(), "done");
        assert_eq!(log.take(), ["exit", "the second"]);
    });
}

fn text_or_exit(payload: &(dyn std::any::Any + Send)) -> String {
    if payload.is::<GreenletExit>() { "exit".to_owned() } else { text(payload).to_owned() }
}

#[test]
fn of_an_unstarted_one_frees_its_closure_at_once() {
    within(LIMIT, || {
        let dropped = Rc::new(Cell::new(0));
        for spawn in [spawn, |run| spawn_later(LONG, run), |run| spawn_later(Duration::ZERO, run)] {
            let counted = CountsDrops(dropped.clone());
            let run: Box<dyn FnOnce()> = Box::new(move || drop(counted));
            let task = spawn(run);
            assert!(task.try_kill());
            assert_eq!(dropped.replace(0), 1);
        }
        let waiter = {
            let unstarted = spawn_later(LONG, || ());
            let killed = Rc::new(unstarted);
            let waits = killed.clone();
            let waiter = spawn(move || waits.wait());
            yield_now();
            killed.kill();
            waiter
        };
        waiter.join().unwrap();
        assert_eq!(Hub::current().alive(), 0);
    });
}

#[test]
fn a_closure_that_waits_in_its_destructor_delays_nobody() {
    struct Waits(Rc<Cell<bool>>);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.set(catch_unwind(|| sleep(SHORT)).is_err());
        }
    }
    within(LIMIT, || {
        let refused = Rc::new(Cell::new(false));
        let guard = Waits(refused.clone());
        let unstarted = spawn_later(LONG, move || drop(guard));
        let killer = spawn(move || assert!(unstarted.try_kill()));
        killer.join().unwrap();
        assert!(refused.get());
    });
}

#[test]
fn from_another_thread() {
    within(LIMIT, || {
        // One that is parked, one that only yields, one that has not begun.
        let tasks = [
            spawn(|| sleep(LONG)),
            spawn(|| {
                loop {
                    yield_now();
                }
            }),
            spawn_later(LONG, || ()),
        ];
        yield_now();
        let killer = thread::spawn(move || {
            for task in &tasks {
                task.kill();
                assert!(task.is_finished());
            }
            tasks.map(|task| task.join().unwrap_err().is_killed())
        });
        Hub::current().join();
        assert_eq!(killer.join().unwrap(), [true; 3]);
    });
}

#[test]
fn from_another_thread_at_any_moment() {
    within(LIMIT, || {
        let rounds = 300;
        let (handles, theirs) = mpsc::channel::<JoinHandle<()>>();
        let killer = thread::spawn(move || {
            let mut killed = 0;
            for task in theirs {
                task.try_kill();
                killed += u32::from(task.join().is_err_and(|error| error.is_killed()));
            }
            killed
        });
        let ran = Rc::new(Cell::new(0));
        let ended = Rc::new(Cell::new(0));
        for round in 0..rounds {
            let (count, counted) = (ran.clone(), CountsDrops(ended.clone()));
            let task = spawn(move || {
                let _counted = counted;
                for _ in 0..round % 7 {
                    yield_now();
                }
                sleep(Duration::from_micros(round % 5));
                count.set(count.get() + 1);
            });
            handles.send(task).unwrap();
            yield_now();
        }
        drop(handles);
        Hub::current().join();
        let killed = killer.join().unwrap();
        assert_eq!(u64::from(ended.get()), rounds, "each ended once");
        assert_eq!(u64::from(ran.get() + killed), rounds, "each was killed or ran to its end");
    });
}

#[test]
fn from_another_thread_of_one_that_computes() {
    within(LIMIT, || {
        let computing = Arc::new(AtomicBool::new(false));
        let killed = Arc::new(AtomicBool::new(false));
        let (begun, stop) = (computing.clone(), killed.clone());
        let task = spawn(move || {
            begun.store(true, Ordering::SeqCst);
            while !stop.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            7
        });
        let killer = thread::spawn(move || {
            while !computing.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            assert!(!task.try_kill());
            killed.store(true, Ordering::SeqCst);
            task.join()
        });
        Hub::current().join();
        assert_eq!(killer.join().unwrap().unwrap(), 7, "it came to no wait any more");
    });
}

#[test]
fn of_one_whose_thread_has_ended() {
    within(LIMIT, || {
        let dropped = Arc::new(AtomicU32::new(0));
        let count = dropped.clone();
        let thread = thread::spawn(move || {
            struct Dropped(Arc<AtomicU32>);
            impl Drop for Dropped {
                fn drop(&mut self) {
                    self.0.fetch_add(1, Ordering::SeqCst);
                }
            }
            let (parked, unstarted) = (Dropped(count.clone()), Dropped(count));
            let parked = spawn(move || {
                let _parked = parked;
                sleep(LONG);
            });
            yield_now();
            [parked, spawn(move || drop(unstarted)), spawn_later(LONG, || ())]
        });
        let [parked, unstarted, later] = thread.join().unwrap();
        assert_eq!(dropped.load(Ordering::SeqCst), 1, "what had not begun was dropped; a parked stack leaks");
        for handle in [unstarted, later] {
            assert!(handle.is_finished());
            assert!(handle.join().unwrap_err().is_killed());
        }
        // It can never go on: who waits for it must not wait for ever.
        parked.try_kill();
        assert!(parked.wait_timeout(LONG));
        assert!(parked.join().unwrap_err().is_killed());
    });
}

#[test]
fn destructors_run_from_the_inside_and_the_caller_goes_on() {
    within(LIMIT, || {
        struct Named(Log<u32>, u32);
        impl Drop for Named {
            fn drop(&mut self) {
                self.0.push(self.1);
            }
        }
        fn nest(log: &Log<u32>, depth: u32) {
            let _named = Named(log.clone(), depth);
            if depth == 0 { sleep(LONG) } else { nest(log, depth - 1) }
        }
        let log = Log::new();
        let inside = log.clone();
        let task = spawn(move || nest(&inside, 5));
        yield_now();
        task.kill();
        assert_eq!(log.take(), [0, 1, 2, 3, 4, 5]);
        assert!(!thread::panicking());
    });
}

#[test]
fn of_one_that_waits_for_another_leaves_that_alone() {
    within(LIMIT, || {
        let slow = Rc::new(spawn(|| {
            sleep(SHORT);
            7
        }));
        let waits = slow.clone();
        let waiter = spawn(move || waits.wait());
        yield_now();
        waiter.kill();
        drop(waiter);
        assert_eq!(result(slow).unwrap(), 7);
    });
}

#[test]
fn a_panic_in_the_cleanup_is_the_result() {
    within(LIMIT, || {
        let task = spawn(|| {
            let _ = catch_unwind(|| sleep(LONG));
            raise("the cleanup fails");
        });
        let task: JoinHandle<()> = task;
        yield_now();
        task.kill();
        assert_eq!(text(&*task.join().unwrap_err().into_payload()), "the cleanup fails");
    });
}

#[test]
fn a_killer_that_is_killed_has_killed_all_the_same() {
    within(LIMIT, || {
        let victim = Rc::new(spawn(|| {
            let payload = catch_unwind(|| sleep(LONG)).unwrap_err();
            sleep(SHORT);
            resume_unwind(payload)
        }));
        let victim: Rc<JoinHandle<()>> = victim;
        yield_now();
        let target = victim.clone();
        let killer = spawn(move || target.kill());
        yield_now();
        killer.kill();
        assert!(!victim.is_finished());
        assert!(result(victim).unwrap_err().is_killed());
    });
}

#[test]
fn a_time_limit_and_a_kill_at_once_are_both_raised() {
    within(LIMIT, || {
        let log = Log::new();
        let inside = log.clone();
        let task = spawn(move || {
            let late = with_timeout(SHORT, || {
                let payload = catch_unwind(|| sleep(LONG)).unwrap_err();
                inside.push(text_or_elapsed(&*payload));
                sleep(LONG);
            });
            inside.push(if late.is_err() { "the limit is over" } else { "in time" });
        });
        yield_now();
        assert!(!task.try_kill());
        // The kill is raised first; the limit's time passes before it is.
        compute(2 * SHORT);
        task.wait();
        assert_eq!(log.take(), ["exit", "the limit is over"]);
    });
}

fn text_or_elapsed(payload: &(dyn std::any::Any + Send)) -> &'static str {
    if payload.is::<GreenletExit>() { "exit" } else { "elapsed" }
}
