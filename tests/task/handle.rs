use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use greenloop::event::Event;
use greenloop::hub::Hub;
use greenloop::{Builder, JoinHandle, sleep, spawn, spawn_later, yield_now};

use crate::support::{in_a_world, within};
use crate::{CountsDrops, LIMIT, Log, SHORT, raise, text};

#[test]
fn a_closure_may_own_and_return_what_does_not_leave_its_thread() {
    within(LIMIT, || {
        let shared = Rc::new(Cell::new(1));
        let task = spawn({
            let shared = shared.clone();
            move || {
                shared.set(2);
                shared
            }
        });
        let returned = task.join().unwrap();
        assert!(Rc::ptr_eq(&returned, &shared));
        assert_eq!(shared.get(), 2);
    });
}

#[test]
fn a_detached_one_goes_on_and_frees_what_it_returns() {
    within(LIMIT, || {
        let dropped = Rc::new(Cell::new(0));
        let counted = CountsDrops(dropped.clone());
        drop(spawn(move || {
            yield_now();
            counted
        }));
        yield_now();
        assert_eq!(dropped.get(), 0);
        yield_now();
        assert_eq!(dropped.get(), 1);

        // A result that is never taken is freed with the handle.
        let counted = CountsDrops(dropped.clone());
        let finished = spawn(move || counted);
        finished.wait();
        assert_eq!(dropped.get(), 1);
        drop(finished);
        assert_eq!(dropped.get(), 2);
    });
}

#[test]
fn the_payload_of_a_panic_comes_back_as_it_is() {
    within(LIMIT, || {
        struct Ours(u32);
        let task: JoinHandle<()> = spawn(|| std::panic::resume_unwind(Box::new(Ours(7))));
        assert_eq!(task.join().unwrap_err().into_payload().downcast::<Ours>().unwrap().0, 7);
        let task: JoinHandle<()> = spawn(|| raise("a text"));
        let error = task.join().unwrap_err();
        assert!(error.to_string().ends_with(", panicked: a text"), "{error}");
        assert_eq!(text(&*error.into_payload()), "a text");
    });
}

#[test]
fn many_wait_for_one() {
    within(LIMIT, || {
        let task = Rc::new(spawn(|| sleep(SHORT)));
        let log = Log::new();
        let waiters: Vec<_> = (0..10)
            .map(|number| {
                let (task, log) = (task.clone(), log.clone());
                spawn(move || {
                    task.wait();
                    log.push(number);
                })
            })
            .collect();
        greenloop::joinall(&waiters);
        assert_eq!(log.take(), (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn who_waits_first_is_told_first_in_whichever_way() {
    within(LIMIT, || {
        for killed in [None, Some(0), Some(1)] {
            let (gate, log) = (Rc::new(Event::new()), Log::new());
            let task = Rc::new(spawn({
                let gate = gate.clone();
                move || gate.wait()
            }));
            let waits: [fn(&JoinHandle<()>); 3] =
                [JoinHandle::wait, |task| drop(greenloop::wait([task])), JoinHandle::wait];
            let waiters: Vec<_> = (0..3)
                .map(|number| {
                    let (task, log) = (task.clone(), log.clone());
                    spawn(move || {
                        waits[number](&task);
                        log.push(number);
                    })
                })
                .collect();
            yield_now();
            if let Some(number) = killed {
                waiters[number].kill();
            }
            gate.set();
            greenloop::joinall(&waiters);
            assert_eq!(log.take(), (0..3).filter(|number| killed != Some(*number)).collect::<Vec<_>>());
        }
    });
}

#[test]
fn results_are_taken_or_freed_once_though_threads_race_for_it() {
    const TASKS: usize = 1000;
    within(LIMIT, || {
        struct Result(Arc<AtomicUsize>);
        impl Drop for Result {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let dropped = Arc::new(AtomicUsize::new(0));
        let (handles, theirs) = std::sync::mpsc::channel::<JoinHandle<Result>>();
        let others: Vec<_> = {
            let theirs = Arc::new(std::sync::Mutex::new(theirs));
            (0..2)
                .map(|_| {
                    let theirs = theirs.clone();
                    thread::spawn(move || {
                        loop {
                            let Ok(handle) = theirs.lock().unwrap().recv() else { return };
                            match handle.id().to_string().ends_with(['0', '3', '6', '9']) {
                                true => drop(handle),
                                false => drop(handle.join().unwrap()),
                            }
                        }
                    })
                })
                .collect()
        };
        for _ in 0..TASKS {
            let dropped = dropped.clone();
            handles.send(spawn(move || Result(dropped))).unwrap();
            yield_now();
        }
        drop(handles);
        Hub::current().join();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(dropped.load(Ordering::Relaxed), TASKS);
    });
}

#[test]
fn a_handle_goes_to_another_thread_and_back() {
    within(LIMIT, || {
        let gate = Arc::new(Event::new());
        let waits = spawn({
            let gate = Arc::clone(&gate);
            move || {
                gate.wait();
                7
            }
        });
        let other = thread::spawn(move || {
            assert!(!waits.wait_timeout(Duration::ZERO));
            gate.set();
            waits.join()
        });
        Hub::current().join();
        assert_eq!(other.join().unwrap().unwrap(), 7);

        let (handles, theirs) = std::sync::mpsc::channel();
        let (done, end) = std::sync::mpsc::channel();
        let other = thread::spawn(move || {
            handles.send(spawn_later(SHORT, || 8)).unwrap();
            Hub::current().join();
            end.recv().unwrap();
        });
        // This hub waits for a green thread of that one.
        assert_eq!(theirs.recv().unwrap().join().unwrap(), 8);
        done.send(()).unwrap();
        other.join().unwrap();
    });
}

#[test]
fn numbers_are_unique_in_the_process() {
    within(LIMIT, || {
        let number = |handle: JoinHandle<()>| {
            let id = handle.id();
            handle.join().unwrap();
            id
        };
        let threads: Vec<_> = (0..4)
            .map(|_| thread::spawn(move || (0..1000).map(|_| number(spawn(|| ()))).collect::<Vec<_>>()))
            .collect();
        let here = (0..1000).map(|_| number(spawn(|| ()))).collect::<Vec<_>>();
        let all = threads.into_iter().flat_map(|thread| thread.join().unwrap()).chain(here);
        assert_eq!(all.collect::<BTreeSet<_>>().len(), 5000);
    });
}

#[test]
fn names_and_places() {
    within(LIMIT, || {
        let unnamed = spawn(|| ());
        let line = line!() - 1;
        assert_eq!(unnamed.name(), None);
        assert_eq!((unnamed.spawned_at().file(), unnamed.spawned_at().line()), (file!(), line));
        let named = Builder::new().name("worker").spawn(|| ()).unwrap();
        assert_eq!(named.name(), Some("worker"));
        assert_eq!(named.spawned_at().line(), line!() - 2);
        let later = spawn_later(SHORT, || ());
        assert_eq!(later.spawned_at().line(), line!() - 1);
        let text = format!("{named:?}");
        assert_eq!(
            text,
            format!("JoinHandle {{ id: {}, name: Some(\"worker\"), is_finished: false, .. }}", named.id())
        );
    });
}

#[test]
fn a_builder_takes_a_size_and_a_delay() {
    in_a_world(LIMIT, |world| {
        let task = Builder::new().delay(SHORT).stack_size(1 << 20).spawn(|| {
            let large = std::hint::black_box([1u8; 700 << 10]);
            large.iter().map(|byte| u32::from(*byte)).sum::<u32>()
        });
        assert_eq!(task.unwrap().join().unwrap(), 700 << 10);
        assert_eq!(world.elapsed(), SHORT);
        let impossible = Builder::new().stack_size(usize::MAX).spawn(|| ());
        assert_eq!(impossible.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(Hub::current().alive(), 0);
    });
}

#[test]
fn those_that_begin_later_do_so_in_the_order_of_their_time() {
    in_a_world(LIMIT, |world| {
        let log = Log::new();
        let tasks = [3, 1, 2, 0].map(|number| {
            let (world, log) = (world.clone(), log.clone());
            spawn_later(number * SHORT, move || log.push((number, world.elapsed())))
        });
        greenloop::joinall(&tasks);
        assert_eq!(log.take(), [0, 1, 2, 3].map(|number| (number, number * SHORT)));
        let never = spawn_later(Duration::MAX, || ());
        assert!(!never.wait_timeout(SHORT));
        assert_eq!(world.elapsed(), 4 * SHORT);
        never.kill();
        let detached = Log::new();
        let inside = detached.clone();
        drop(spawn_later(SHORT, move || inside.push(())));
        Hub::current().join();
        assert_eq!(detached.take().len(), 1);
    });
}

#[test]
fn a_green_thread_may_spawn_and_join_others_to_any_depth() {
    fn sum(depth: u32) -> u32 {
        if depth == 0 {
            return 1;
        }
        let children = [spawn(move || sum(depth - 1)), spawn(move || sum(depth - 1))];
        children.into_iter().map(|child| child.join().unwrap()).sum()
    }
    within(LIMIT, || assert_eq!(spawn(|| sum(10)).join().unwrap(), 1024));
}
