//! Green threads: gevent's `test__greenlet.py` unless another file is named. Numbers: see `README.md`.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::error::{GreenletExit, InvalidSwitch};
use greenloop::event::{AsyncResult, Event};
use greenloop::greenlet::{AnyGreenlet, current, main};
use greenloop::io::Interest;
use greenloop::sync::{self, Condvar, Semaphore};
use greenloop::{
    Builder, JoinHandle, Outcome, Timeout, block_on, channel, idle, io, iwait, joinall, joinall_timeout,
    killall, killall_timeout, scope, sleep, spawn, spawn_later, try_joinall, wait, wait_any, wait_timeout,
    with_timeout, yield_now,
};

use crate::support::{run_child, within};
use crate::{LIMIT, LONG, Log, collect_uncaught, raise, text};

const SHORT: Duration = Duration::from_millis(2);

/// A green thread that waits for good.
fn parked() -> JoinHandle<()> {
    let task = spawn(|| sleep(LONG));
    yield_now();
    task
}

#[test]
fn case_42_nothing_runs_before_a_yield() {
    within(LIMIT, || {
        let log = Log::new();
        let tasks = [1, 2, 3].map(|number| {
            let log = log.clone();
            spawn(move || {
                log.push(number);
                sleep(Duration::ZERO);
                log.push(-number);
            })
        });
        assert_eq!(log.take(), []);
        joinall(&tasks);
        assert_eq!(log.take(), [1, 2, 3, -1, -2, -3]);
    });
}

/// What gevent tells by `ready`, `successful`, `value`, `exception` and `dead` is here `is_finished` and the result.
#[test]
fn case_43_the_walk_of_states() {
    within(LIMIT, || {
        let outcome = Arc::new(Mutex::new(None));
        let task = spawn(|| {
            yield_now();
            7
        });
        let told = outcome.clone();
        task.link(move |outcome| *told.lock().unwrap() = Some(outcome));
        assert!(!task.is_finished(), "new");
        yield_now();
        assert!(!task.is_finished(), "parked");
        yield_now();
        assert!(task.is_finished(), "done");
        assert_eq!(*outcome.lock().unwrap(), None);
        yield_now();
        assert_eq!(*outcome.lock().unwrap(), Some(Outcome::Returned));
        assert_eq!(task.join().unwrap(), 7);
    });
}

/// A result can be taken once, since it need not be `Clone`: the handle goes with it.
#[test]
fn case_44_a_failure() {
    within(LIMIT, || {
        let task: JoinHandle<u32> = spawn(|| raise("broken"));
        task.wait();
        assert!(task.wait_timeout(Duration::ZERO));
        assert!(task.is_finished());
        let error = task.join().unwrap_err();
        assert!(error.is_panic() && !error.is_killed());
        assert_eq!(text(&*error.into_payload()), "broken");
    });
}

#[test]
fn case_46_a_result_that_is_not_there_yet() {
    within(LIMIT, || {
        let go = Arc::new(Event::new());
        let waits = go.clone();
        let task = spawn(move || {
            waits.wait();
            7
        });
        let task = task.join_timeout(Duration::ZERO).unwrap_err();
        let task = task.join_timeout(Duration::from_micros(1)).unwrap_err();
        assert!(!task.wait_timeout(Duration::ZERO));
        assert!(!task.is_finished());
        go.set();
        assert_eq!(task.join_timeout(LONG).unwrap().unwrap(), 7);
    });
}

/// Asserts that a time limit ends `wait` in its own identity, past another one in between.
fn assert_ended_by_an_outer_limit(what: &str, wait: impl FnOnce()) {
    let mut outer = Timeout::new(SHORT);
    outer.start().unwrap();
    let payload = catch_unwind(AssertUnwindSafe(|| with_timeout(LONG, wait))).expect_err(what);
    assert!(outer.owns(&*payload), "{what}");
}

#[test]
fn case_47_an_outer_limit_comes_out_of_every_wait() {
    within(LIMIT, || {
        let wait_for = |what, wait: &dyn Fn(&JoinHandle<()>)| {
            let task = parked();
            assert_ended_by_an_outer_limit(what, || wait(&task));
            assert!(!task.is_finished(), "{what}");
            task.kill();
        };
        wait_for("sleep", &|_| sleep(LONG));
        wait_for("sleep in pieces", &|_| (0..1_000_000).for_each(|_| sleep(Duration::from_micros(100))));
        wait_for("wait", &|task| task.wait());
        wait_for("wait_timeout", &|task| _ = task.wait_timeout(LONG));
        wait_for("join", &|_| drop(parked().join()));
        wait_for("join_timeout", &|_| drop(parked().join_timeout(LONG)));
        wait_for("joinall", &|task| drop(joinall([task])));
        wait_for("joinall_timeout", &|task| drop(joinall_timeout([task], LONG)));
        wait_for("try_joinall", &|_| drop(try_joinall([parked()])));
        wait_for("wait", &|task| drop(wait([task])));
        wait_for("wait_timeout", &|task| drop(wait_timeout([task], LONG)));
        wait_for("wait_any", &|task| _ = wait_any([task]));
        wait_for("iwait", &|task| _ = iwait([task]).next());
        wait_for("block_on", &|_| block_on(std::future::pending()));
        wait_for("a future", &|_| drop(block_on(parked())));
        wait_for("idle", &|_| {
            let busy = spawn(|| {
                loop {
                    yield_now();
                }
            });
            let _kill = Finally(|| busy.kill());
            idle();
        });
        wait_for("scope", &|_| scope(|scope| drop(scope.spawn(|| sleep(LONG)))));
        wait_for("a scoped join", &|_| scope(|scope| drop(scope.spawn(|| sleep(LONG)).join())));
        wait_for("Hub::join", &|_| greenloop::hub::Hub::current().join());
        wait_for("Hub::join_timeout", &|_| _ = greenloop::hub::Hub::current().join_timeout(LONG));
        wait_for("Event::wait", &|_| Event::new().wait());
        wait_for("AsyncResult::get", &|_| AsyncResult::<()>::new().get());
        wait_for("AsyncResult::wait_timeout", &|_| _ = AsyncResult::<()>::new().wait_timeout(LONG));
        wait_for("Semaphore::acquire", &|_| drop(Semaphore::new(0).acquire()));
        wait_for("Semaphore::wait", &|_| Semaphore::new(0).wait());
        wait_for("Mutex::lock", &|_| {
            let lock = sync::Mutex::new(());
            let held = lock.lock();
            drop(lock.lock());
            drop(held);
        });
        wait_for("Condvar::wait", &|_| {
            let lock = sync::Mutex::new(());
            drop(Condvar::new().wait(lock.lock().unwrap()));
        });
        wait_for("Receiver::recv", &|_| {
            let (_sender, receiver) = channel::unbounded::<()>();
            let _ = receiver.recv();
        });
        wait_for("Sender::send", &|_| {
            let (sender, _receiver) = channel::bounded(0);
            let _ = sender.send(());
        });
        wait_for("a pipe", &|_| {
            let (reader, _writer) = io::pipe().unwrap();
            let _ = io::wait_fd(&reader, Interest::READABLE, None);
        });
        wait_for("a switch", &|_| {
            let sleeper = greenloop::greenlet::Greenlet::new(|()| sleep(LONG));
            sleeper.switch(()).unwrap();
        });
    });
}

#[test]
fn case_47_an_outer_limit_comes_out_of_a_kill() {
    within(LIMIT, || {
        for kill in [
            (&|task: &JoinHandle<()>| task.kill()) as &dyn Fn(&JoinHandle<()>),
            &|task| _ = task.kill_timeout(LONG),
            &|task| killall([task]),
            &|task| _ = killall_timeout([task], LONG),
        ] {
            let stubborn = spawn(|| {
                let _ = catch_unwind(|| sleep(LONG));
                sleep(LONG);
            });
            yield_now();
            let ended = with_timeout(SHORT, || kill(&stubborn));
            assert_eq!(ended.unwrap_err().limit(), SHORT);
            assert!(!stubborn.is_finished());
            stubborn.kill();
        }
    });
}

/// Calls a function at the end of a scope.
struct Finally<F: Fn()>(F);

impl<F: Fn()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What main gets then, `LoopExit`, is held by `tests/hub/scenarios.rs`.
#[test]
fn case_48_who_joins_itself_can_be_killed() {
    within(LIMIT, || {
        let own: Rc<RefCell<Option<Rc<JoinHandle<()>>>>> = Rc::default();
        let seen = own.clone();
        let task = Rc::new(spawn(move || {
            let own = seen.borrow().clone().expect("put there before it began");
            own.wait();
        }));
        *own.borrow_mut() = Some(task.clone());
        yield_now();
        assert!(!task.is_finished());
        task.kill();
        assert!(task.is_finished());
        own.take();
    });
}

/// `test__api.py`
#[test]
fn case_49_a_switch_by_hand_into_one_that_waits_in_the_hub() {
    within(LIMIT, || {
        let greenlet: Rc<RefCell<Option<AnyGreenlet>>> = Rc::default();
        let own = greenlet.clone();
        let task = spawn(move || {
            *own.borrow_mut() = Some(current());
            let payload = catch_unwind(|| sleep(LONG)).unwrap_err();
            let answer = payload.is::<InvalidSwitch>();
            let _ = main().switch(answer);
        });
        yield_now();
        let greenlet = greenlet.take().expect("it has begun");
        assert!(greenlet.switch(false).unwrap(), "InvalidSwitch was raised in it");
        // It waits in a switch by hand now, which a kill ends.
        task.kill();
        assert!(task.join().unwrap_err().is_killed());
    });
}

#[test]
fn case_49_uncaught_it_is_a_failure() {
    within(LIMIT, || {
        let greenlet: Rc<RefCell<Option<AnyGreenlet>>> = Rc::default();
        let own = greenlet.clone();
        let sleeper = spawn(move || {
            *own.borrow_mut() = Some(current());
            sleep(LONG);
        });
        yield_now();
        let greenlet = greenlet.take().expect("it has begun");
        let switcher = spawn(move || drop(greenlet.switch(1)));
        assert!(sleeper.join().unwrap_err().into_payload().is::<InvalidSwitch>());
        // Nobody switches back to who did that; it can be killed.
        assert!(!switcher.is_finished());
        switcher.kill();
    });
}

/// Unlike gevent's, an error that somebody takes from the handle is not reported: `design.md` decides so.
#[test]
fn case_50_a_failure_is_reported_once_with_its_green_thread() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        let taken: JoinHandle<()> = spawn(|| raise("somebody takes this"));
        assert!(taken.join().is_err());
        assert_eq!(*told.lock().unwrap(), [""; 0]);
        let detached = Builder::new().name("worker").spawn(|| raise("nobody takes this")).unwrap();
        let place = detached.spawned_at();
        drop(detached);
        yield_now();
        let late: JoinHandle<()> = spawn(|| raise("nobody took this"));
        yield_now();
        let late_place = late.spawned_at();
        assert_eq!(told.lock().unwrap().len(), 1);
        drop(late);
        yield_now();
        let expected = [
            format!("green thread 'worker', spawned at {place}, panicked: nobody takes this"),
            format!("green thread '<unnamed>', spawned at {late_place}, panicked: nobody took this"),
        ];
        assert_eq!(*told.lock().unwrap(), expected);
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

/// `test__systemerror.py`. Rust has no error that is meant for main: none stops the loop. That
/// [`std::process::exit`] ends the process is held by `tests/hub/scenarios.rs`.
#[test]
fn case_51_no_failure_stops_the_loop() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                raise("a destructor");
            }
        }
        drop(spawn(|| raise("a green thread")));
        let linked = spawn(|| ());
        linked.link(|_| raise("a link"));
        let bomb = Bomb;
        spawn(move || drop(bomb)).try_kill();
        joinall([&spawn(|| sleep(SHORT))]);
        let told = told.lock().unwrap();
        let mut ends: Vec<_> = told.iter().map(|line| line.rsplit(": ").next().unwrap()).collect();
        ends.sort_unstable();
        assert_eq!(ends, ["a destructor", "a green thread", "a link"]);
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn case_52_a_kill_before_it_runs() {
    within(LIMIT, || {
        for way in 0..3 {
            let ran = Rc::new(Cell::new(false));
            let links = Arc::new(Mutex::new(Vec::new()));
            let runs = ran.clone();
            let run = move || runs.set(true);
            let task = match way {
                0 => spawn(run),
                1 => spawn_later(SHORT, run),
                _ => Builder::new().delay(SHORT).spawn(run).unwrap(),
            };
            let told = links.clone();
            task.link(move |outcome| told.lock().unwrap().push(Some(outcome)));
            let told = links.clone();
            task.link_value(move || told.lock().unwrap().push(None));
            assert!(task.try_kill());
            assert_eq!(Rc::strong_count(&ran), 1, "its closure is dropped");
            task.kill();
            assert!(task.is_finished());
            sleep(2 * SHORT);
            assert!(!ran.get());
            assert_eq!(*links.lock().unwrap(), [Some(Outcome::Killed), None]);
            assert!(task.join().unwrap_err().is_killed());
        }
    });
}

#[test]
fn case_53_a_kill_of_a_parked_one() {
    within(LIMIT, || {
        let log = Log::new();
        let inside = log.clone();
        let task = spawn(move || {
            let payload = catch_unwind(|| sleep(LONG)).unwrap_err();
            inside.push("exit arrives");
            assert!(payload.is::<GreenletExit>());
            sleep(SHORT);
            inside.push("cleanup has slept");
            resume_unwind(payload)
        });
        yield_now();
        task.kill();
        log.push("kill returns");
        assert_eq!(log.take(), ["exit arrives", "cleanup has slept", "kill returns"]);
        assert!(task.join().unwrap_err().is_killed());
    });
}

#[test]
fn case_54_a_kill_that_does_not_wait() {
    within(LIMIT, || {
        let task = parked();
        assert!(!task.try_kill());
        assert!(!task.is_finished());
        yield_now();
        assert!(task.is_finished());
        assert!(task.join().unwrap_err().is_killed());

        let own: Rc<RefCell<Option<Rc<JoinHandle<u32>>>>> = Rc::default();
        let seen = own.clone();
        let task = Rc::new(spawn(move || {
            assert!(!seen.take().expect("put there before it began").try_kill());
            7
        }));
        *own.borrow_mut() = Some(task.clone());
        task.wait();
        let task = Rc::into_inner(task).expect("the other handle is gone");
        assert_eq!(task.join().unwrap(), 7, "it came to no wait any more");
    });
}

#[test]
fn case_55_a_kill_of_a_dead_one_and_a_second_kill() {
    within(LIMIT, || {
        let task = spawn(|| 7);
        task.wait();
        task.kill();
        assert!(task.try_kill());
        assert!(task.kill_timeout(Duration::ZERO));
        assert_eq!(task.join().unwrap(), 7);

        let task = parked();
        task.kill();
        task.kill();
        assert!(task.kill_with(Box::new("too late")));
        assert!(task.join().unwrap_err().is_killed());
    });
}

/// `test__issue607.py`
#[test]
fn case_56_a_kill_with_an_error() {
    within(LIMIT, || {
        let task = parked();
        assert!(!task.kill_with(Box::new("an error of ours")));
        let error = task.join().unwrap_err();
        assert!(error.is_panic());
        assert_eq!(text(&*error.into_payload()), "an error of ours");

        let unstarted = spawn(|| ());
        assert!(unstarted.kill_with(Box::new("before it runs")));
        assert_eq!(text(&*unstarted.join().unwrap_err().into_payload()), "before it runs");
    });
}

#[test]
fn case_57_an_exit_that_is_caught() {
    within(LIMIT, || {
        let task = spawn(|| {
            let _ = catch_unwind(|| sleep(LONG));
            7
        });
        yield_now();
        task.kill();
        assert_eq!(task.join().unwrap(), 7);

        let log = Log::new();
        let inside = log.clone();
        let stubborn = spawn(move || {
            for round in 0.. {
                let payload = catch_unwind(|| sleep(LONG)).unwrap_err();
                inside.push(round);
                if round == 3 {
                    resume_unwind(payload);
                }
            }
        });
        yield_now();
        assert!(!stubborn.kill_timeout(SHORT));
        assert_eq!(log.take(), [0]);
        // Two kills before it runs again are two raises.
        assert!(!stubborn.try_kill());
        assert!(!stubborn.try_kill());
        yield_now();
        assert_eq!(log.take(), [1, 2]);
        stubborn.kill();
        assert_eq!(log.take(), [3]);
    });
}

/// `test__order.py`
#[test]
fn case_58_links_run_in_order() {
    within(LIMIT, || {
        let order = Arc::new(Mutex::new(Vec::new()));
        let task = spawn(|| ());
        for number in 0..1000 {
            let order = order.clone();
            task.link(move |_| order.lock().unwrap().push(number));
        }
        task.wait();
        idle();
        assert_eq!(*order.lock().unwrap(), (0..1000).collect::<Vec<_>>());
    });
}

/// There is no link that runs in the hub, where it could not wait: gevent's `rawlink`.
#[test]
fn case_59_a_late_link_and_a_link_that_waits() {
    within(LIMIT, || {
        let order = Arc::new(Mutex::new(Vec::new()));
        let task = spawn(|| ());
        task.wait();
        let late = order.clone();
        task.link(move |outcome| {
            sleep(SHORT);
            late.lock().unwrap().push(format!("late, {outcome:?}"));
        });
        let later = order.clone();
        task.link(move |_| later.lock().unwrap().push("later".to_owned()));
        assert_eq!(order.lock().unwrap().len(), 0, "not while it is registered");
        yield_now();
        assert_eq!(*order.lock().unwrap(), ["later"]);
        greenloop::hub::Hub::current().join();
        assert_eq!(*order.lock().unwrap(), ["later", "late, Returned"]);
    });
}

#[test]
fn case_60_links_for_success_and_for_failure() {
    within(LIMIT, || {
        let told_of = |task: &JoinHandle<()>, end: &dyn Fn()| {
            let told = Arc::new(Mutex::new(Vec::new()));
            let link = told.clone();
            task.link_value(move || link.lock().unwrap().push("value"));
            let link = told.clone();
            task.link_exception(move || link.lock().unwrap().push("exception"));
            end();
            task.wait();
            idle();
            told.lock().unwrap().clone()
        };
        assert_eq!(told_of(&spawn(|| ()), &|| ()), ["value"]);
        let killed = parked();
        assert_eq!(told_of(&killed, &|| killed.kill()), ["value"]);
        assert_eq!(told_of(&spawn(|| raise("broken")), &|| ()), ["exception"]);
        let shot = parked();
        assert_eq!(told_of(&shot, &|| _ = shot.kill_with(Box::new("shot"))), ["exception"]);
    });
}

#[test]
fn case_61_a_link_that_raises() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        let order = Arc::new(Mutex::new(Vec::new()));
        let task = spawn(|| ());
        for number in 0..5 {
            let order = order.clone();
            task.link(move |_| {
                order.lock().unwrap().push(number);
                if number % 2 == 1 {
                    raise("a link fails");
                }
            });
        }
        task.wait();
        idle();
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|line| line.ends_with("panicked: a link fails")), "{told:?}");
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn case_62_a_scope_joins_and_kills() {
    within(LIMIT, || {
        let finished = Cell::new(0);
        scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    sleep(SHORT);
                    finished.set(finished.get() + 1);
                });
            }
            assert_eq!(finished.get(), 0);
        });
        assert_eq!(finished.get(), 3, "the normal end joins");

        let seen = RefCell::new(Vec::new());
        let start = Instant::now();
        let failed = catch_unwind(AssertUnwindSafe(|| {
            scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let payload = catch_unwind(|| sleep(LONG)).unwrap_err();
                        seen.borrow_mut().push(payload.is::<GreenletExit>());
                        resume_unwind(payload)
                    });
                }
                yield_now();
                raise("the body fails")
            })
        }));
        let failed: Result<(), _> = failed;
        assert_eq!(text(&*failed.unwrap_err()), "the body fails");
        assert_eq!(*seen.borrow(), [true; 3], "an error in the body kills");
        assert!(start.elapsed() < LONG);
    });
}

/// `test__api.py`
#[test]
fn case_65_who_was_spawned_by_one_that_has_finished() {
    within(LIMIT, || {
        let inner = Rc::new(RefCell::new(None));
        let place = inner.clone();
        let outer = spawn(move || {
            let child: JoinHandle<u32> = spawn(|| {
                yield_now();
                7
            });
            *place.borrow_mut() = Some(child);
        });
        outer.join().unwrap();
        let inner = inner.take().expect("it was spawned");
        assert!(!inner.is_finished());
        assert_eq!(inner.join().unwrap(), 7);
    });
}

/// Kills leave nothing in the panic hook, a panic one line; counted in a process of its own.
#[test]
fn case_166_a_kill_is_no_panic() {
    let Some(child) = run_child(LIMIT, || {
        let hooked = Arc::new(Mutex::new(Vec::new()));
        let log = hooked.clone();
        let told = collect_uncaught();
        std::panic::set_hook(Box::new(move |info| log.lock().unwrap().push(info.to_string())));
        let victim = parked();
        victim.kill();
        parked().kill_with(Box::new(GreenletExit));
        let unstarted = spawn(|| ());
        unstarted.kill();
        drop((victim, unstarted));
        let late = with_timeout(SHORT, || sleep(LONG));
        assert!(late.is_err());
        assert!(
            catch_unwind(|| scope(|scope| {
                scope.spawn(|| sleep(LONG));
                raise("past the hook")
            }))
            .is_err()
        );
        yield_now();
        assert_eq!(*hooked.lock().unwrap(), [""; 0]);
        let panics = spawn(|| panic!("one line"));
        assert!(panics.join().unwrap_err().is_panic());
        let _ = std::panic::take_hook();
        let hooked = hooked.lock().unwrap();
        assert!(matches!(&hooked[..], [line] if line.ends_with("one line")), "{hooked:?}");
        assert_eq!(*told.lock().unwrap(), [""; 0]);
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}
