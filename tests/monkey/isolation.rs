//! Green threads with thread-local variables of their own: what crates that keep something per thread need.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, RwLock, mpsc};
use std::thread;
use std::time::Duration;

use greenloop::event::Event;
use greenloop::greenlet::{Generator, Greenlet};
use greenloop::process::{Fork, fork, wait_pid};
use greenloop::{Builder, JoinHandle, greenlet_local, joinall, sleep, spawn, with_timeout, yield_now};

use crate::{in_a_child, patched, yields};

fn isolated<T: 'static>(function: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    Builder::new().isolated(true).spawn(function).expect("an OS thread for its variables")
}

fn join_all<T: 'static>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    joinall(&tasks);
    tasks.into_iter().map(|task| task.join().unwrap()).collect()
}

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(0) };
    static NAMES: RefCell<Vec<String>> = RefCell::new(vec!["first".to_owned()]);
}

#[test]
fn each_begins_with_fresh_variables_and_keeps_them() {
    patched(|| {
        COUNT.set(77);
        let tasks = (1..=100).map(|number| {
            isolated(move || {
                assert_eq!(COUNT.replace(number), 0);
                NAMES.with_borrow_mut(|names| names.push(number.to_string()));
                yield_now();
                sleep(Duration::from_millis(1));
                assert_eq!(NAMES.take(), ["first".to_owned(), number.to_string()]);
                COUNT.get()
            })
        });
        assert_eq!(join_all(tasks.collect()), (1..=100).collect::<Vec<_>>());
        assert_eq!(COUNT.get(), 77);
        // On the same stacks, those that are not isolated have the hub's.
        assert_eq!(spawn(|| COUNT.get()).join().unwrap(), 77);
    });
}

#[test]
fn its_variables_are_destroyed_when_it_ends() {
    struct Tells(Arc<AtomicUsize>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    thread_local! {
        static TELLS: RefCell<Option<Tells>> = const { RefCell::new(None) };
    }
    patched(|| {
        let destroyed = Arc::new(AtomicUsize::new(0));
        let ends = [
            isolated({
                let tells = Tells(destroyed.clone());
                move || TELLS.set(Some(tells))
            }),
            isolated({
                let tells = Tells(destroyed.clone());
                move || {
                    TELLS.set(Some(tells));
                    panic!("with a variable set");
                }
            }),
            isolated({
                let tells = Tells(destroyed.clone());
                move || {
                    TELLS.set(Some(tells));
                    sleep(Duration::MAX);
                }
            }),
        ];
        yield_now();
        yield_now();
        ends[2].kill();
        let outcomes = ends.map(JoinHandle::join);
        assert!(outcomes[0].is_ok());
        assert!(outcomes[1].as_ref().unwrap_err().is_panic());
        assert!(outcomes[2].as_ref().unwrap_err().is_killed());
        assert_eq!(destroyed.load(Ordering::SeqCst), 3);
        // One that never runs.
        let never = isolated({
            let tells = Tells(destroyed.clone());
            move || TELLS.set(Some(tells))
        });
        never.kill();
        assert_eq!(destroyed.load(Ordering::SeqCst), 4);
    });
}

#[test]
fn a_variable_may_be_borrowed_across_a_sleep() {
    patched(|| {
        let tasks = (0..3).map(|_| {
            isolated(|| {
                NAMES.with_borrow_mut(|names| {
                    thread::sleep(Duration::from_millis(1));
                    names.push("second".to_owned());
                    names.len()
                })
            })
        });
        assert_eq!(join_all(tasks.collect()), [2, 2, 2]);
    });
}

#[test]
fn channels_of_std_between_two_of_one_hub() {
    patched(|| {
        yields(|| {
            let (sender, receiver) = mpsc::channel();
            let sum = isolated(move || receiver.into_iter().sum::<u32>());
            let sends = isolated(move || {
                for number in 0..100 {
                    sender.send(number).unwrap();
                    thread::sleep(Duration::from_micros(100));
                }
            });
            sends.join().unwrap();
            assert_eq!(sum.join().unwrap(), 4950);
        });
        let (sender, receiver) = mpsc::sync_channel(0);
        let sends = isolated(move || (0..1000).try_for_each(|number| sender.send(number)));
        assert_eq!(isolated(move || receiver.into_iter().sum::<u32>()).join().unwrap(), 499_500);
        sends.join().unwrap().unwrap();
    });
}

#[test]
fn channels_of_crossbeam_between_two_of_one_hub() {
    patched(|| {
        for capacity in [0, 1, 10] {
            let (sender, receiver) = crossbeam_channel::bounded(capacity);
            let sends: Vec<_> = (0..3)
                .map(|_| {
                    let sender = sender.clone();
                    isolated(move || (0..100).for_each(|number| sender.send(number).unwrap()))
                })
                .collect();
            drop(sender);
            let receives: Vec<_> = (0..2)
                .map(|_| {
                    let receiver = receiver.clone();
                    isolated(move || receiver.into_iter().sum::<u32>())
                })
                .collect();
            join_all(sends);
            assert_eq!(join_all(receives).into_iter().sum::<u32>(), 3 * 4950);
        }
    });
}

#[test]
fn locks_of_std_between_isolated_and_plain_ones() {
    patched(|| {
        let shared = Arc::new((Mutex::new(0), Condvar::new(), RwLock::new(0), Barrier::new(11), Once::new()));
        let mut tasks: Vec<_> = (0..10)
            .map(|number| {
                let shared = shared.clone();
                let take_part = move || {
                    let (mutex, changed, rwlock, barrier, once) = &*shared;
                    barrier.wait();
                    once.call_once(|| thread::sleep(Duration::from_millis(1)));
                    for _ in 0..10 {
                        let mut written = rwlock.write().unwrap();
                        let before = *written;
                        yield_now();
                        *written = before + 1;
                        drop(written);
                        assert!(*rwlock.read().unwrap() > before);
                    }
                    *mutex.lock().unwrap() += 1;
                    changed.notify_one();
                };
                Builder::new().isolated(number % 2 == 0).spawn(take_part).unwrap()
            })
            .collect();
        tasks.push(isolated(move || {
            let (mutex, changed, rwlock, barrier, _) = &*shared;
            barrier.wait();
            drop(changed.wait_while(mutex.lock().unwrap(), |ended| *ended < 10).unwrap());
            assert_eq!(*rwlock.read().unwrap(), 100);
        }));
        join_all(tasks);
    });
}

/// Its queue lies in thread-local variables.
#[test]
fn locks_of_parking_lot_with_many_in_line() {
    patched(|| {
        let counter = Arc::new(parking_lot::Mutex::new(0));
        let add = |counter: Arc<parking_lot::Mutex<u32>>| {
            for _ in 0..50 {
                let mut counter = counter.lock();
                let before = *counter;
                thread::sleep(Duration::from_micros(10));
                *counter = before + 1;
            }
        };
        let threads: Vec<_> = (0..3)
            .map(|number| {
                let counter = counter.clone();
                thread::spawn(move || match number {
                    0 => add(counter),
                    _ => {
                        let tasks = (0..5).map(|_| {
                            let counter = counter.clone();
                            isolated(move || add(counter))
                        });
                        join_all(tasks.collect());
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*counter.lock(), 11 * 50);
    });
}

#[test]
fn std_takes_it_for_an_os_thread() {
    patched(|| {
        let named = Builder::new().name("worker").isolated(true);
        let named = named.spawn(|| thread::current().name().map(str::to_owned)).unwrap();
        assert_eq!(named.join().unwrap().as_deref(), Some("worker"));

        let (sender, receiver) = mpsc::channel();
        let parked = (0..10).map(|_| {
            let sender = sender.clone();
            isolated(move || {
                sender.send(thread::current()).unwrap();
                thread::park();
                thread::current().id()
            })
        });
        let parked: Vec<_> = parked.collect();
        yield_now();
        let threads: Vec<_> = receiver.try_iter().collect();
        assert_eq!(threads.len(), 10);
        threads.iter().for_each(thread::Thread::unpark);
        let ids: HashSet<_> = join_all(parked).into_iter().collect();
        assert_eq!(ids, threads.iter().map(thread::Thread::id).collect());

        struct Yields;
        impl Drop for Yields {
            fn drop(&mut self) {
                assert!(thread::panicking());
                isolated(|| assert!(!thread::panicking())).wait();
                assert!(thread::panicking());
            }
        }
        let panics = isolated(|| {
            let _yields = Yields;
            panic!("on purpose");
        });
        let calm = isolated(|| {
            for _ in 0..10 {
                assert!(!thread::panicking());
                yield_now();
            }
        });
        assert!(panics.join().unwrap_err().is_panic());
        calm.join().unwrap();
    });
}

#[test]
fn everything_of_greenloop_works_in_it() {
    greenlet_local! {
        inherited static DEPTH: Cell<u32> = Cell::new(0);
    }
    patched(|| {
        // Spawns that inherit, both ways.
        DEPTH.set(1);
        let depth = isolated(|| {
            DEPTH.set(DEPTH.get() + 1);
            spawn(|| {
                DEPTH.set(DEPTH.get() + 1);
                isolated(|| DEPTH.get()).join().unwrap()
            })
            .join()
            .unwrap()
        });
        assert_eq!(depth.join().unwrap(), 3);

        // Greenlets and generators have the hub's variables.
        COUNT.set(5);
        let greenlets = isolated(|| {
            COUNT.set(6);
            let child = Greenlet::new(|value: u32| value + COUNT.get());
            let values: Vec<u32> = Generator::new(|yielder, ()| {
                for _ in 0..2 {
                    yielder.yield_(COUNT.get());
                    yield_now();
                }
            })
            .collect();
            (child.switch(1).unwrap(), values, COUNT.get())
        });
        assert_eq!(greenlets.join().unwrap(), (6, vec![5, 5], 6));

        // Time limits, kills, events, other OS threads.
        let late = isolated(|| with_timeout(Duration::from_millis(1), || sleep(Duration::MAX)).is_err());
        assert!(late.join().unwrap());
        let event = Arc::new(Event::new());
        let waits = isolated({
            let event = event.clone();
            move || event.wait()
        });
        yield_now();
        thread::spawn(move || event.set()).join().unwrap();
        waits.join().unwrap();
        let borrowed = Rc::new(Cell::new(0));
        let scoped = isolated({
            let borrowed = borrowed.clone();
            move || {
                greenloop::scope(|scope| {
                    for _ in 0..10 {
                        scope.spawn(|| borrowed.set(borrowed.get() + 1));
                    }
                });
            }
        });
        scoped.join().unwrap();
        assert_eq!(borrowed.get(), 10);
        assert_eq!(isolated(|| greenloop::threadpool::unblock(|| 7)).join().unwrap(), 7);
    });
}

#[test]
fn two_hundred_connections_of_std() {
    patched(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = isolated(move || {
            let handlers = listener.incoming().take(200).map(|stream| {
                let mut stream = stream.unwrap();
                isolated(move || {
                    let mut bytes = [0; 5];
                    stream.read_exact(&mut bytes).unwrap();
                    stream.write_all(&bytes).unwrap();
                })
            });
            join_all(handlers.collect());
        });
        let clients = (0..200).map(|number| {
            isolated(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                let sent = format!("{number:05}");
                stream.write_all(sent.as_bytes()).unwrap();
                let mut received = String::new();
                stream.read_to_string(&mut received).unwrap();
                assert_eq!(received, sent);
            })
        });
        join_all(clients.collect());
        server.join().unwrap();
    });
}

#[test]
fn all_can_be_isolated() {
    in_a_child("isolation::all_can_be_isolated", || {
        greenloop::monkey::patch_all();
        greenloop::monkey::isolate(true);
        COUNT.set(1);
        let mut counts = vec![spawn(|| COUNT.get()).join().unwrap()];
        counts.push(greenloop::scope(|scope| scope.spawn(|| COUNT.get()).join().unwrap()));
        counts
            .extend(greenloop::pool::Pool::new(2).map(0..2, |_| COUNT.get()).into_iter().map(Result::unwrap));
        assert_eq!(counts, [0; 4]);
        let plain = Builder::new().isolated(false).spawn(|| COUNT.get()).unwrap();
        assert_eq!(plain.join().unwrap(), 1);
        println!("done");
    });
}

#[test]
fn no_os_thread_is_left() {
    in_a_child("isolation::no_os_thread_is_left", || {
        let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
        spawn(|| ()).join().unwrap();
        let before = threads();
        for _ in 0..20 {
            let tasks: Vec<_> = (0..10).map(|_| isolated(|| sleep(Duration::ZERO))).collect();
            drop(isolated(|| ()));
            assert!(threads() > before);
            join_all(tasks);
        }
        yield_now();
        assert_eq!(threads(), before);
        println!("done");
    });
}

#[test]
fn a_fork_within_it() {
    in_a_child("isolation::a_fork_within_it", || {
        greenloop::monkey::patch_all();
        let forks = isolated(|| {
            COUNT.set(3);
            // SAFETY: the child uses nothing of other OS threads, and ends.
            match unsafe { fork() }.unwrap() {
                Fork::Child => {
                    let count = spawn(|| COUNT.get()).join().unwrap();
                    let again = isolated(|| COUNT.get()).join().unwrap();
                    let mutex = Mutex::new(COUNT.get());
                    std::process::exit((100 * count + 10 * again + *mutex.lock().unwrap()) as i32);
                }
                Fork::Parent { child } => wait_pid(child).unwrap().code(),
            }
        });
        assert_eq!(forks.join().unwrap(), Some(3));
        println!("done");
    });
}

#[test]
fn without_it_a_lock_of_parking_lot_tells_the_cure() {
    const NAME: &str = "isolation::without_it_a_lock_of_parking_lot_tells_the_cure";
    in_a_child(NAME, || {
        static LOCK: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
        greenloop::monkey::patch_all();
        // What is told ends the child, which would go on for ever.
        greenloop::hub::set_uncaught_hook(Some(Arc::new(|uncaught: &greenloop::hub::Uncaught<'_>| {
            if uncaught.to_string().contains("Builder::isolated") {
                println!("told");
                std::process::exit(0);
            }
        })));
        thread::spawn(|| {
            thread::sleep(Duration::from_secs(60));
            std::process::exit(1);
        });
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                spawn(|| {
                    let _held = LOCK.lock();
                    sleep(Duration::from_millis(1));
                })
            })
            .collect();
        joinall(&tasks);
    });
}
