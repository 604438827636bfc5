//! The end of an OS thread.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, ThreadId};
use std::time::Duration;

use greenloop::error::{SwitchError, ThreadEnds};
use greenloop::greenlet::{AnyGreenlet, Generator, Greenlet, current, main};
use greenloop::hub::{Config, Hub, configure};
use greenloop::sync::Mutex;
use greenloop::{
    Builder, JoinHandle, Timeout, greenlet_local, io, scope, sleep, spawn, spawn_later, with_timeout,
    yield_now,
};

use crate::support::{Finished, resident_bytes, run_child, within};
use crate::{LIMIT, LONG};

/// Something for a destructor to do, last of all.
struct Defer(Option<Box<dyn FnOnce()>>);

impl Defer {
    fn new(run: impl FnOnce() + 'static) -> Defer {
        Defer(Some(Box::new(run)))
    }
}

impl Drop for Defer {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

thread_local! {
    /// Destroyed after greenloop's own, if it was used before those.
    static EARLY: RefCell<Vec<Defer>> = const { RefCell::new(Vec::new()) };
    /// Destroyed before them, if it was used after those.
    static LATE: RefCell<Vec<Defer>> = const { RefCell::new(Vec::new()) };
}

greenlet_local! {
    static OF_MAIN: RefCell<Vec<Defer>> = RefCell::default();
}

/// When a destructor runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// With what main keeps for itself.
    OfMain,
    /// As the hub gives up what has not begun.
    Abandoned,
    /// After the end of all that is greenloop's.
    Early,
}

const PLACES: [Place; 3] = [Place::OfMain, Place::Abandoned, Place::Early];

/// Runs `prepare` on an OS thread with a hub, and what it returns in a destructor at its end; the result of that.
fn at_the_end<P: 'static, T: Send + 'static>(
    place: Place,
    prepare: impl FnOnce() -> P + Send + 'static,
    run: impl FnOnce(P) -> T + Send + 'static,
) -> T {
    let (sender, result) = channel();
    let ends = thread::spawn(move || {
        EARLY.with(|_| ());
        yield_now();
        let prepared = prepare();
        let deferred = Defer::new(move || sender.send(run(prepared)).unwrap());
        match place {
            Place::OfMain => OF_MAIN.with_borrow_mut(|all| all.push(deferred)),
            Place::Abandoned => drop(spawn(move || drop(deferred))),
            Place::Early => EARLY.with_borrow_mut(|all| all.push(deferred)),
        }
    });
    ends.join().unwrap();
    result.recv().unwrap()
}

/// What a refused call panics with.
fn refusal<R>(call: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(call)).err().expect("it is refused");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).to_owned(),
    }
}

fn is_refused<R>(call: impl FnOnce() -> R) {
    let text = refusal(call);
    assert!(text.contains("OS thread"), "{text}");
}

/// Whether the error of a refused wait says so.
fn is_told<T: Debug>(result: std::io::Result<T>) {
    let error = result.unwrap_err();
    assert!(error.get_ref().is_some_and(|error| error.is::<ThreadEnds>()), "{error:?}");
}

#[test]
fn every_wait_is_refused() {
    within(LIMIT, || {
        for place in PLACES {
            at_the_end(
                place,
                || (),
                |()| {
                    is_refused(yield_now);
                    is_refused(|| sleep(Duration::from_millis(1)));
                    is_refused(greenloop::idle);
                    is_refused(|| greenloop::channel::unbounded::<()>().1.recv().unwrap_err());
                    is_refused(|| greenloop::block_on(std::future::pending::<()>()));
                    is_refused(|| with_timeout(Duration::from_secs(1), yield_now));
                    let listener = greenloop::net::TcpListener::bind("127.0.0.1:0").unwrap();
                    is_told(listener.accept());
                    is_told(io::wait_readable(&listener));
                    // What works without a wait, or may as well stop the OS thread.
                    let client = greenloop::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                    (&client).write_all(b"last words").unwrap();
                    let (mut served, _) = listener.accept().unwrap();
                    let mut words = [0; 10];
                    served.read_exact(&mut words).unwrap();
                    assert_eq!(&words, b"last words");
                    assert!(greenloop::fs::metadata("/proc/self").unwrap().is_dir());
                    assert_eq!(greenloop::threadpool::unblock(|| 7), 7);
                },
            );
        }
    });
}

#[test]
fn a_free_lock_locks_and_a_timer_is_harmless() {
    within(LIMIT, || {
        for place in PLACES {
            at_the_end(
                place,
                || {
                    let mut timeout = Timeout::new(Duration::from_secs(100));
                    timeout.start().unwrap();
                    timeout
                },
                |timeout| {
                    let lock = Mutex::new(1);
                    *lock.lock().unwrap() += 1;
                    assert_eq!(*lock.lock().unwrap(), 2);
                    let (sender, receiver) = greenloop::channel::unbounded();
                    for number in 0..200 {
                        sender.send(number).unwrap();
                        assert_eq!(receiver.try_recv(), Ok(number));
                    }
                    drop(timeout);
                },
            );
        }
    });
}

#[test]
fn handles_of_the_hub_and_of_greenlets_are_harmless() {
    within(LIMIT, || {
        for place in PLACES {
            at_the_end(
                place,
                || (Hub::current(), main(), suspended()),
                move |(hub, main, suspended): (Hub, AnyGreenlet, Greenlet<u32>)| {
                    assert!(hub.alive() <= 1);
                    assert!(format!("{hub:?} {main:?} {suspended:?}").contains("Hub"));
                    if place == Place::Early {
                        is_refused(|| hub.join());
                        is_refused(Hub::current);
                        is_refused(current);
                        assert!(main.is_dead());
                    }
                    assert!(suspended.is_dead());
                    assert!(!suspended.is_current());
                    assert!(matches!(suspended.switch(1), Err(SwitchError::Ending)));
                    assert!(matches!(suspended.throw(Box::new(1)), Err(SwitchError::Ending)));
                    assert!(suspended.downcast::<u32>().is_none());
                },
            );
        }
    });
}

/// A greenlet that waits in a switch, and says when its frame ends, which must not be.
fn suspended() -> Greenlet<u32> {
    let greenlet = Greenlet::new(|value: u32| {
        let _never = Defer::new(|| std::process::abort());
        main().switch(value).unwrap()
    });
    assert_eq!(greenlet.switch(7).unwrap(), 7);
    greenlet
}

#[test]
fn nothing_suspended_goes_on() {
    within(LIMIT, || {
        for place in PLACES {
            at_the_end(
                place,
                || {
                    let mut generator = Generator::new(|generator, ()| {
                        let _never = Defer::new(|| std::process::abort());
                        generator.yield_(1);
                        unreachable!("it goes on");
                    });
                    assert_eq!(generator.next(), Some(1));
                    let unstarted = Generator::<(), u32>::new(|_, ()| unreachable!("it begins"));
                    (suspended(), generator, unstarted)
                },
                |(suspended, mut generator, mut unstarted)| {
                    drop(suspended);
                    is_refused(|| generator.next());
                    is_refused(|| unstarted.next());
                    drop((generator, unstarted));
                },
            );
        }
    });
}

#[test]
fn a_scope_is_refused_and_leaves_nothing() {
    within(LIMIT, || {
        for place in PLACES {
            at_the_end(
                place,
                || (),
                |()| {
                    let borrowed = Cell::new(0);
                    is_refused(|| {
                        scope(|scope| drop(scope.spawn(|| borrowed.set(1))));
                    });
                    assert_eq!(borrowed.get(), 0);
                },
            );
        }
    });
}

/// What is not `Send`, and tells which thread drops it.
struct Stays(Rc<()>, Sender<ThreadId>);

impl Drop for Stays {
    fn drop(&mut self) {
        assert_eq!(Rc::strong_count(&self.0), 1);
        self.1.send(thread::current().id()).unwrap();
    }
}

fn spawned_late(spawn: fn(Stays) -> JoinHandle<()>, place: Place) {
    let (sender, dropped): (_, Receiver<ThreadId>) = channel();
    let stays = sender.clone();
    drop(sender);
    let (home, handle) = at_the_end(
        place,
        || (),
        move |()| {
            let stays = Stays(Rc::new(()), stays);
            let home = thread::current().id();
            (home, catch_unwind(AssertUnwindSafe(|| spawn(stays))).ok())
        },
    );
    assert_eq!(dropped.iter().collect::<Vec<_>>(), [home]);
    match handle {
        Some(handle) => assert!(handle.join().unwrap_err().is_killed()),
        None => assert_eq!(place, Place::Early),
    }
}

#[test]
fn what_is_spawned_is_dropped_on_its_own_thread_and_its_join_ends() {
    within(LIMIT, || {
        let ways: [fn(Stays) -> JoinHandle<()>; 3] = [
            |stays| spawn(move || drop(stays)),
            |stays| spawn_later(Duration::from_millis(1), move || drop(stays)),
            |stays| Builder::new().name("late").spawn(move || drop(stays)).unwrap(),
        ];
        for place in PLACES {
            ways.iter().for_each(|spawn| spawned_late(*spawn, place));
        }
    });
}

#[test]
fn what_is_spawned_by_what_is_spawned_is_given_up_too() {
    within(LIMIT, || {
        let (sender, ended) = channel();
        fn generation(left: u32, sender: Sender<JoinHandle<()>>) -> Defer {
            Defer::new(move || {
                if left > 0 {
                    let next = generation(left - 1, sender.clone());
                    let spawned = match left % 2 {
                        0 => spawn(move || drop(next)),
                        _ => spawn_later(Duration::from_secs(100), move || drop(next)),
                    };
                    sender.send(spawned).unwrap();
                }
            })
        }
        thread::spawn(move || {
            let first = generation(10, sender);
            drop(spawn(move || drop(first)));
        })
        .join()
        .unwrap();
        let handles: Vec<_> = ended.iter().collect();
        assert_eq!(handles.len(), 10);
        assert!(handles.into_iter().all(|handle| handle.join().unwrap_err().is_killed()));
    });
}

#[test]
fn a_thread_that_had_no_hub_gets_none() {
    within(LIMIT, || {
        let (sender, told) = channel();
        thread::spawn(move || {
            let refused = sender.clone();
            EARLY.with_borrow_mut(|all| {
                all.push(Defer::new(move || refused.send(refusal(yield_now)).unwrap()))
            });
            // A record, and no hub.
            OF_MAIN.with_borrow_mut(|all| {
                all.push(Defer::new(move || sender.send(refusal(|| spawn(|| ()))).unwrap()));
            });
        })
        .join()
        .unwrap();
        let told: Vec<_> = told.iter().collect();
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|text| text.starts_with("this OS thread ends")), "{told:?}");
    });
}

#[test]
fn threads_that_end_so_leave_the_next_ones_in_order() {
    within(LIMIT, || {
        for round in 0..50 {
            let place = PLACES[round % PLACES.len()];
            at_the_end(place, || (), |()| drop(catch_unwind(|| spawn(|| ()))));
            assert_eq!(thread::spawn(move || spawn(move || round).join().unwrap()).join().unwrap(), round);
        }
        assert_eq!(spawn(|| 1).join().unwrap(), 1);
    });
}

thread_local! {
    /// What frames refer to: first used inside a frame, so that its destructor is registered last.
    static REFERRED: Value = const { Value(Cell::new(7)) };
    static REFERRED_LATER: Value = const { Value(Cell::new(7)) };
    static KEPT: RefCell<Option<Generator<(), u32>>> = const { RefCell::new(None) };
}

/// Whose destructor leaves nothing to read.
struct Value(Cell<u32>);

impl Drop for Value {
    fn drop(&mut self) {
        self.0.set(0);
    }
}

/// A generator that is suspended inside `with`, where its frame reads the value whenever it goes on, and when it ends.
fn suspended_inside(key: &'static thread::LocalKey<Value>) -> Generator<(), u32> {
    struct Reads<'a>(&'a Value);
    impl Drop for Reads<'_> {
        fn drop(&mut self) {
            if self.0.0.get() != 7 {
                std::process::abort();
            }
        }
    }
    let mut generator = Generator::new(move |generator, ()| {
        key.with(|value| {
            let reads = Reads(value);
            loop {
                generator.yield_(reads.0.0.get());
            }
        });
    });
    assert_eq!(generator.next(), Some(7));
    generator
}

#[test]
fn a_frame_does_not_outlive_the_thread_local_it_refers_to() {
    within(LIMIT, || {
        for used_first in [true, false] {
            thread::spawn(move || {
                if used_first {
                    KEPT.with(|_| ());
                }
                current();
                KEPT.with(|_| ());
                KEPT.set(Some(suspended_inside(&REFERRED)));
            })
            .join()
            .unwrap();
        }
    });
}

#[test]
fn a_green_thread_parked_inside_a_thread_local_does_not_go_on() {
    within(LIMIT, || {
        let (sender, told) = channel();
        thread::spawn(move || {
            current();
            LATE.with_borrow_mut(|all| {
                all.push(Defer::new(move || {
                    sender.send((refusal(yield_now), refusal(|| spawn(|| ())))).unwrap()
                }));
            });
            drop(spawn(|| {
                REFERRED.with(|value| {
                    loop {
                        if value.0.get() != 7 {
                            std::process::abort();
                        }
                        yield_now();
                    }
                })
            }));
            yield_now();
        })
        .join()
        .unwrap();
        let (yields, spawns) = told.recv().unwrap();
        assert!(yields.starts_with("this OS thread ends") && spawns.starts_with("this OS thread ends"));
    });
}

#[test]
fn destructors_that_run_before_the_end_find_everything_at_work() {
    within(LIMIT, || {
        let (sender, told) = channel();
        thread::spawn(move || {
            KEPT.with(|_| ());
            let mut generator = suspended_inside(&REFERRED);
            // Registered after the frame was suspended, so that its destructor runs before that of what the frame knows.
            LATE.with_borrow_mut(|all| {
                all.push(Defer::new(move || {
                    let pulled = generator.next();
                    let joined = spawn(|| 1).join().unwrap();
                    drop(generator);
                    // A frame that is suspended now refers to what has come only now.
                    KEPT.set(Some(suspended_inside(&REFERRED_LATER)));
                    sender.send((pulled, joined)).unwrap();
                }));
            });
        })
        .join()
        .unwrap();
        assert_eq!(told.recv(), Ok((Some(7), 1)));
    });
}

#[test]
fn a_thread_that_goes_on_for_long_registers_no_more_than_it_must() {
    // Alone, since all tests of a process have their memory in common.
    let child = run_child(LIMIT, || {
        let mut generator = suspended_inside(&REFERRED);
        generator.by_ref().take(10_000).for_each(drop);
        let before = resident_bytes();
        generator.by_ref().take(100_000).for_each(drop);
        (0..20_000).for_each(|_| yield_now());
        // An entry in the list takes 32 bytes.
        assert!(resident_bytes() < before + (2 << 20), "{} bytes more", resident_bytes() - before);
    });
    assert!(child.is_none_or(|child| child.status.success()));
}

/// What was to go on was refused, and the process has ended as a green thread wanted.
#[track_caller]
fn assert_refused(child: Option<Finished>) {
    let Some(child) = child else { return };
    assert_eq!(child.status.code(), Some(7), "{child:?}");
    assert!(child.stdout.contains("refused"), "{child:?}");
}

#[test]
fn main_does_not_go_on_while_a_green_thread_ends_the_process() {
    assert_refused(run_child(LIMIT, || {
        let main = main();
        drop(spawn(move || {
            LATE.with_borrow_mut(|all| {
                all.push(Defer::new(move || {
                    is_refused(yield_now);
                    assert!(matches!(main.switch(1), Err(SwitchError::Ending)));
                    println!("refused");
                }));
            });
        }));
        // Inside a variable that comes later, and is destroyed before.
        drop(spawn(|| {
            REFERRED.with(|value| {
                yield_now();
                println!("{} goes on", value.0.get());
                std::process::abort();
            });
        }));
        drop(spawn(|| std::process::exit(7)));
        yield_now();
        std::process::abort();
    }));
}

/// As above, by a handle that is made when the end has begun, where nobody has had one before.
#[test]
fn main_does_not_go_on_by_a_handle_that_is_made_at_the_end() {
    assert_refused(run_child(LIMIT, || {
        let never_runs = Defer::new(|| {
            assert!(main().is_dead());
            assert!(matches!(main().switch(1), Err(SwitchError::Ending)));
            assert!(matches!(main().throw::<u32>(Box::new("thrown")), Err(SwitchError::Ending)));
            println!("refused");
        });
        drop(spawn_later(LONG, move || drop(never_runs)));
        spawn(|| std::process::exit(7)).wait();
        std::process::abort();
    }));
}

#[test]
fn a_thread_can_abort_rather_than_leak() {
    let Some(child) = run_child(LIMIT, || {
        let leaks = |parks: bool| {
            thread::spawn(move || {
                configure(Config::new().abort_if_parked(true)).unwrap();
                let task = spawn(yield_now);
                yield_now();
                if !parks {
                    task.join().unwrap();
                }
            })
        };
        leaks(false).join().unwrap();
        println!("not yet");
        drop(leaks(true).join());
    }) else {
        return;
    };
    assert_eq!(child.status.signal(), Some(6), "{child:?}");
    assert!(child.stdout.contains("not yet"), "{child:?}");
    let last = "\nfatal runtime error: an OS thread ends with 1 parked green threads, aborting\n";
    assert!(child.stderr.ends_with(last), "{child:?}");
}
