//! Programs as somebody writes them who has read no more than the first page on worlds.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::process::{Fork, fork, wait_pid};
use greenloop::testing::{self, Search, World, explore};
use greenloop::threadpool::unblock;
use greenloop::{joinall, sleep, spawn, with_timeout};

use crate::patched;

const SECOND: Duration = Duration::from_secs(1);

/// Runs `test` in a world whose code is patched.
fn in_world(test: impl FnOnce(&World) + Send + 'static) {
    patched(|| testing::run(test));
}

#[test]
fn a_server_with_a_thread_local_session_answers_lines() {
    thread_local! {
        static SESSION: Cell<u32> = const { Cell::new(0) };
    }
    in_world(|world| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn(move || {
            for stream in listener.incoming() {
                // A kill ends it.
                let Ok(mut stream) = stream else { break };
                spawn(move || {
                    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    for line in lines.map_while(Result::ok) {
                        SESSION.set(SESSION.get() + 1);
                        thread::sleep(SECOND);
                        writeln!(stream, "{line} {}", SESSION.get()).unwrap();
                    }
                });
            }
        });
        let clients: Vec<_> = (0..20)
            .map(|client| {
                spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
                    for round in 1..=5 {
                        writeln!(stream, "{client}").unwrap();
                        assert_eq!(answers.next().unwrap().unwrap(), format!("{client} {round}"));
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert_eq!(world.elapsed(), SECOND * 5);
        server.kill();
    });
}

#[test]
fn a_panic_of_one_is_for_who_joins_it() {
    in_world(|world| {
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                spawn(move || {
                    thread::sleep(SECOND * number);
                    if number % 2 == 1 {
                        resume_unwind(Box::new(number));
                    }
                })
            })
            .collect();
        let panics = tasks.into_iter().filter_map(|task| task.join().err()).filter(|error| error.is_panic());
        assert_eq!(panics.count(), 5);
        assert_eq!(world.elapsed(), SECOND * 9);
    });
}

#[test]
fn a_test_that_panics_among_sleepers_ends() {
    patched(|| {
        let dropped = Arc::new(Mutex::new(0));
        let failed = catch_unwind(|| {
            testing::run(|world| {
                struct OnDrop(Arc<Mutex<i32>>);
                impl Drop for OnDrop {
                    fn drop(&mut self) {
                        *self.0.lock().unwrap() += 1;
                    }
                }
                for _ in 0..10 {
                    let kept = OnDrop(dropped.clone());
                    spawn(move || {
                        let _kept = kept;
                        thread::sleep(SECOND * 3600);
                    });
                }
                world.settle();
                resume_unwind(Box::new("the test"));
            });
        });
        assert_eq!(failed.unwrap_err().downcast_ref(), Some(&"the test"));
        assert_eq!(*dropped.lock().unwrap(), 10);
    });
}

#[test]
fn a_search_within_a_search_within_a_green_thread() {
    patched(|| {
        let runs = spawn(|| {
            let outer = explore(Search::random(3), |world| {
                let inner = explore(Search::random(4), |inner| {
                    let task = spawn(|| thread::sleep(SECOND));
                    task.join().unwrap();
                    assert_eq!(inner.elapsed(), SECOND);
                });
                assert_eq!((inner.runs(), world.elapsed()), (4, Duration::ZERO));
            });
            outer.runs()
        });
        assert_eq!(runs.join().unwrap(), 3);
    });
}

#[test]
fn two_worlds_at_once_on_two_threads() {
    patched(|| {
        let barrier = Barrier::new(2);
        let live = |unit: Duration| {
            testing::run(|world| {
                let hold = world.hold();
                barrier.wait();
                drop(hold);
                let start = Instant::now();
                for turn in 1..=1000 {
                    thread::sleep(unit);
                    assert_eq!(start.elapsed(), unit * turn);
                }
                world.elapsed()
            })
        };
        thread::scope(|scope| {
            let one = scope.spawn(|| live(SECOND));
            let other = scope.spawn(|| live(SECOND * 7));
            assert_eq!((one.join().unwrap(), other.join().unwrap()), (SECOND * 1000, SECOND * 7000));
        });
    });
}

#[test]
fn settling_in_several_at_once_and_in_one_that_is_killed() {
    in_world(|world| {
        let steps = Rc::new(Cell::new(0));
        let settlers: Vec<_> = (0..3)
            .map(|_| {
                let (world, steps) = (world.clone(), steps.clone());
                spawn(move || {
                    world.settle();
                    assert_eq!(steps.get(), 100);
                    world.advance(SECOND);
                })
            })
            .collect();
        let stepping = steps.clone();
        spawn(move || {
            for _ in 0..100 {
                thread::yield_now();
                stepping.set(stepping.get() + 1);
            }
        });
        let killed = spawn({
            let world = world.clone();
            move || world.advance(SECOND * 3600)
        });
        world.settle();
        killed.kill();
        joinall(&settlers);
        settlers.into_iter().for_each(|settler| settler.join().unwrap());
        assert_eq!(world.elapsed(), SECOND);
    });
}

#[test]
fn an_advance_waits_for_work_of_a_pool_and_of_a_thread() {
    in_world(|world| {
        let work = spawn(|| {
            unblock(|| thread::sleep(Duration::from_millis(10)));
            let (sender, receiver) = mpsc::channel();
            let worker = thread::spawn(move || {
                thread::sleep(Duration::from_millis(10));
                sender.send(1).unwrap();
            });
            assert_eq!(receiver.recv_timeout(SECOND), Ok(1));
            worker.join().unwrap();
            sleep(SECOND / 2);
        });
        world.advance(SECOND);
        assert!(work.is_finished());
        assert_eq!(world.elapsed(), SECOND);
    });
}

#[test]
fn scoped_threads_and_a_panic_of_one_in_a_world() {
    in_world(|world| {
        let sum = Mutex::new(0);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            thread::scope(|scope| {
                for number in 1..=10 {
                    let sum = &sum;
                    scope.spawn(move || *sum.lock().unwrap() += number);
                }
                scope.spawn(|| resume_unwind(Box::new("one of them")));
            });
        }));
        assert!(panicked.is_err());
        assert_eq!(*sum.lock().unwrap(), 55);
        assert_eq!(world.elapsed(), Duration::ZERO);
        thread::sleep(SECOND);
        assert_eq!(world.elapsed(), SECOND);
    });
}

/// Such as std's own, which a panic elsewhere holds while it tells of its calls.
#[test]
fn a_lock_that_is_held_outside_of_the_world_is_waited_for() {
    patched(|| {
        let lock = Mutex::new(());
        let (held, is_held) = mpsc::channel();
        let (go, goes) = mpsc::channel();
        thread::scope(|scope| {
            let lock = &lock;
            let holder = scope.spawn(move || {
                let guard = lock.lock().unwrap();
                held.send(()).unwrap();
                goes.recv().unwrap();
                thread::sleep(Duration::from_millis(20));
                drop(guard);
            });
            is_held.recv().unwrap();
            testing::run(|world| {
                go.send(()).unwrap();
                drop(lock.lock().unwrap());
                assert_eq!(world.elapsed(), Duration::ZERO);
            });
            holder.join().unwrap();
        });
    });
}

#[test]
fn a_child_that_is_held_for_and_one_that_is_not() {
    in_world(|world| {
        let hold = world.hold();
        let output = std::process::Command::new("echo").arg("hello").output().unwrap();
        drop(hold);
        assert_eq!((&*output.stdout, world.elapsed()), (&b"hello\n"[..], Duration::ZERO));
        let mut cat = std::process::Command::new("cat");
        cat.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = cat.spawn().unwrap();
        let silent = with_timeout(SECOND * 30, || child.stdout.as_mut().unwrap().read(&mut [0]).is_ok());
        assert!(silent.is_err());
        assert_eq!(world.elapsed(), SECOND * 30);
        drop(child.stdin.take());
        let hold = world.hold();
        assert!(child.wait().unwrap().success());
        drop(hold);
    });
}

#[test]
fn a_child_of_a_fork_lives_in_real_time() {
    in_world(|world| {
        thread::sleep(SECOND * 1_000_000);
        let hold = world.hold();
        // SAFETY: the child does nothing that needs another thread's lock, and ends at once.
        let child = match unsafe { fork() }.unwrap() {
            Fork::Parent { child } => child,
            Fork::Child => {
                // Since 2020, and what passes is a moment.
                let date = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
                let start = Instant::now();
                thread::sleep(Duration::from_millis(2));
                let is_real = date > SECOND * 1_577_836_800 && start.elapsed() >= Duration::from_millis(2);
                // SAFETY: nothing more is to run here.
                unsafe { libc::_exit(i32::from(!is_real)) }
            }
        };
        assert!(wait_pid(child).unwrap().success());
        drop(hold);
        assert_eq!(world.elapsed(), SECOND * 1_000_000);
    });
}
