//! What std takes a green thread for.

use std::collections::HashSet;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greenloop::greenlet::Generator;
use greenloop::monkey::patch_all;
use greenloop::{Builder, JoinHandle, joinall, sleep, yield_now};

use crate::{in_a_child, patched};

/// One with the hub's thread-local variables: but for those of std that make it a thread of its own.
fn spawn<T: 'static>(function: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    Builder::new().isolated(false).spawn(function).expect("a green thread")
}

#[test]
fn each_green_thread_has_an_id_of_its_own() {
    assert!(patch_all().has_identities());
    patched(|| {
        let main = thread::current().id();
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                spawn(|| {
                    let id = thread::current().id();
                    yield_now();
                    assert_eq!(thread::current().id(), id);
                    id
                })
            })
            .collect();
        joinall(&tasks);
        let ids: HashSet<_> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
        assert_eq!(ids.len(), 100);
        assert!(!ids.contains(&main));
        assert_eq!(thread::current().id(), main);
    });
}

#[test]
fn each_of_a_chain_of_greenlets_is_itself_again_when_it_goes_on() {
    patched(|| {
        let green = spawn(|| {
            let own = thread::current().id();
            // It waits in the hub, from the end of the chain, each time that it is asked.
            let mut inner = Generator::new(|generator, ()| {
                let own = thread::current().id();
                loop {
                    yield_now();
                    assert_eq!(thread::current().id(), own);
                    generator.yield_(own);
                }
            });
            let outer = Generator::new(move |generator, ()| {
                let own = thread::current().id();
                for _ in 0..20 {
                    let other = inner.next().unwrap();
                    assert_eq!(thread::current().id(), own);
                    generator.yield_(HashSet::from([own, other]));
                }
            });
            let mut ids = HashSet::from([own]);
            for others in outer {
                assert_eq!(thread::current().id(), own);
                ids.extend(others);
            }
            ids
        });
        let other = spawn(|| (0..30).for_each(|_| yield_now()));
        assert_eq!(green.join().unwrap().len(), 3);
        other.join().unwrap();
    });
}

#[test]
fn who_parks_is_unparked() {
    patched(|| {
        let (sender, receiver) = mpsc::channel();
        let parked: Vec<_> = (0..10)
            .map(|number| {
                let sender = sender.clone();
                spawn(move || {
                    sender.send(thread::current()).unwrap();
                    thread::park();
                    number
                })
            })
            .collect();
        yield_now();
        let threads: Vec<_> = receiver.try_iter().collect();
        assert_eq!(threads.len(), 10);
        for (thread, task) in threads.into_iter().zip(parked) {
            assert!(!task.is_finished());
            thread.unpark();
            task.join().unwrap();
        }
        let start = std::time::Instant::now();
        spawn(|| thread::park_timeout(Duration::from_millis(10))).join().unwrap();
        assert!(start.elapsed() >= Duration::from_millis(10));
    });
}

/// Two receivers on one hub, each fed by an OS thread.
#[test]
fn channels_of_std_from_os_threads() {
    patched(|| {
        let receivers: Vec<_> = (0..2)
            .map(|_| {
                let (sender, receiver) = mpsc::channel();
                thread::spawn(move || {
                    for number in 0..100 {
                        thread::sleep(Duration::from_micros(100));
                        sender.send(number).unwrap();
                    }
                });
                spawn(move || receiver.into_iter().sum::<u32>())
            })
            .collect();
        receivers.into_iter().for_each(|receiver| assert_eq!(receiver.join().unwrap(), 4950));
    });
}

#[test]
fn only_who_unwinds_panics() {
    struct YieldsAtEnd;
    impl Drop for YieldsAtEnd {
        fn drop(&mut self) {
            let lock = std::sync::Arc::new(std::sync::Mutex::new(()));
            let held = lock.clone();
            // Waits for a lock of std's, in the midst of its unwinding.
            let guard = lock.lock().unwrap();
            let waiter = spawn(move || drop(held.lock()));
            assert!(thread::panicking());
            drop(guard);
            waiter.wait();
            assert!(thread::panicking());
        }
    }
    patched(|| {
        let other = spawn(|| {
            for _ in 0..100 {
                assert!(!thread::panicking());
                yield_now();
            }
        });
        let unwinds = spawn(|| {
            let _yields = YieldsAtEnd;
            resume_unwind(Box::new("unwinds"));
        });
        assert!(unwinds.join().unwrap_err().is_panic());
        other.join().unwrap();
        // Of a thread that has ended nothing is left to the next one on its stack.
        spawn(|| assert!(!thread::panicking())).join().unwrap();
        spawn(|| assert!(catch_unwind(|| sleep(Duration::ZERO)).is_ok())).join().unwrap();
    });
}

/// Each has a panic hook of its own that runs, though std calls but one: a panic in there would end the process.
#[test]
fn a_panic_hook_that_waits_ends_nobody_else() {
    in_a_child("identity::a_panic_hook_that_waits_ends_nobody_else", || {
        for isolated in [false, true] {
            greenloop::monkey::patch_all();
            let (told, hears) = greenloop::channel::unbounded();
            let panics = |name: &'static str| {
                Builder::new().isolated(isolated).spawn(move || std::panic::panic_any(name)).unwrap()
            };
            std::panic::set_hook(Box::new(move |information| match information.payload().downcast_ref() {
                Some(&"first") => assert_eq!(hears.recv(), Ok(())),
                _ => told.send(()).unwrap(),
            }));
            let first = panics("first");
            yield_now();
            assert!(!first.is_finished());
            for task in [panics("second"), first] {
                assert!(task.join().unwrap_err().is_panic());
            }
            let _ = std::panic::take_hook();
        }
        println!("done");
    });
}
