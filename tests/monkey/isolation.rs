//! Green threads with thread-local variables of their own: what crates that keep something per thread need.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::error::{GreenletExit, SwitchError};
use greenloop::event::Event;
use greenloop::greenlet::{Generator, Greenlet};
use greenloop::monkey::{Parts, is_patched, isolate, patch, patch_all, unpatch};
use greenloop::process::{Fork, fork, wait_pid};
use greenloop::{Builder, JoinHandle, greenlet_local, joinall, sleep, spawn, with_timeout, yield_now};

use crate::{in_a_child, patched, yields};

fn isolated<T: 'static>(function: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    Builder::new().isolated(true).spawn(function).expect("variables of its own")
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
        let plain = Builder::new().isolated(false).spawn(|| COUNT.get()).unwrap();
        assert_eq!(plain.join().unwrap(), 77);
    });
}

/// In every order: the hub goes from one to the next without its own variables in between, or with them.
#[test]
fn isolated_and_plain_ones_take_turns_with_the_main_greenlet() {
    patched(|| {
        COUNT.set(0);
        let turns = |number: u32| {
            // From the third on each is isolated, and further ones stand side by side.
            let isolated = number >= 3 && !number.is_multiple_of(4);
            let run = move || {
                let own = thread::current().id();
                for turn in 0..50 {
                    assert_eq!(thread::current().id(), own);
                    match isolated {
                        true => assert_eq!(
                            COUNT.replace(1000 * number + turn + 1),
                            if turn == 0 { 0 } else { 1000 * number + turn }
                        ),
                        // What all plain ones and main count together.
                        false => COUNT.set(COUNT.get() + 1),
                    }
                    match (number + turn) % 7 {
                        0 => sleep(Duration::ZERO),
                        1 => assert!(spawn(|| COUNT.get()).join().unwrap() == 0),
                        _ => yield_now(),
                    }
                }
            };
            (isolated, Builder::new().isolated(isolated).spawn(run).unwrap())
        };
        let tasks: Vec<_> = (0..20).map(turns).collect();
        let plain = tasks.iter().filter(|(isolated, _)| !isolated).count() as u32;
        let own = thread::current().id();
        for _ in 0..50 {
            COUNT.set(COUNT.get() + 1);
            yield_now();
        }
        join_all(tasks.into_iter().map(|(_, task)| task).collect());
        assert_eq!(thread::current().id(), own, "what an isolated one has left behind");
        assert_eq!(COUNT.replace(0), 50 * (plain + 1));
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
fn all_are_isolated_by_one_line_and_each_can_be_left_alone() {
    in_a_child("isolation::all_are_isolated_by_one_line_and_each_can_be_left_alone", || {
        COUNT.set(1);
        assert!(!patch(Parts::ALL - Parts::THREAD_LOCALS).has_thread_locals());
        assert_eq!(spawn(|| COUNT.get()).join().unwrap(), 1);
        let coverage = patch_all();
        assert!(coverage.has_thread_locals() && is_patched(Parts::THREAD_LOCALS));
        assert!(coverage.to_string().contains("\nthread-local variables: each green thread's own\n"));
        let mut counts = vec![spawn(|| COUNT.get()).join().unwrap()];
        counts.push(greenloop::scope(|scope| scope.spawn(|| COUNT.get()).join().unwrap()));
        counts
            .extend(greenloop::pool::Pool::new(2).map(0..2, |_| COUNT.get()).into_iter().map(Result::unwrap));
        assert_eq!(counts, [0; 4]);
        let plain = Builder::new().isolated(false).spawn(|| COUNT.get()).unwrap();
        assert_eq!(plain.join().unwrap(), 1);
        unpatch(Parts::THREAD_LOCALS);
        assert_eq!(spawn(|| COUNT.get()).join().unwrap(), 1);
        isolate(true);
        assert!(is_patched(Parts::ALL));
        assert_eq!(spawn(|| COUNT.get()).join().unwrap(), 0);
        isolate(false);
        assert!(!is_patched(Parts::THREAD_LOCALS));
        println!("done");
    });
}

#[test]
fn no_os_thread_is_needed_for_it() {
    in_a_child("isolation::no_os_thread_is_needed_for_it", || {
        let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
        spawn(|| ()).join().unwrap();
        let before = threads();
        for _ in 0..20 {
            let tasks: Vec<_> = (0..10).map(|_| isolated(|| sleep(Duration::ZERO))).collect();
            drop(isolated(|| ()));
            assert_eq!(threads(), before);
            join_all(tasks);
        }
        yield_now();
        assert_eq!(threads(), before);
        println!("done");
    });
}

#[test]
fn what_one_leaves_the_next_does_not_find() {
    thread_local! {
        static PLAIN: Cell<[usize; 40]> = const { Cell::new([7; 40]) };
        static ZERO: Cell<usize> = const { Cell::new(0) };
    }
    patched(|| {
        for number in 1..=1_000 {
            let found = isolated(move || {
                let found =
                    (PLAIN.replace([number; 40]), ZERO.replace(number), COUNT.replace(1), NAMES.take());
                NAMES.set(vec![number.to_string(); 3]);
                // SAFETY: errno is the calling thread's own.
                let errno = unsafe { libc::__errno_location() };
                // SAFETY: as above.
                let errno = unsafe { errno.replace(libc::EXDEV) };
                (found, errno)
            });
            assert_eq!(found.join().unwrap(), (([7; 40], 0, 0, vec!["first".to_owned()]), 0));
        }
    });
}

/// What was told of an end, in order.
type Told = Arc<Mutex<Vec<&'static str>>>;

/// Tells its end, and lets others run before if it can.
struct TellsLate(Told, &'static str, fn());

impl Drop for TellsLate {
    fn drop(&mut self) {
        thread::sleep(Duration::from_millis(1));
        self.2();
        self.0.lock().unwrap().push(self.1);
    }
}

/// The OS thread that really runs.
fn os_thread() -> std::path::PathBuf {
    std::fs::read_link("/proc/thread-self").unwrap()
}

#[test]
fn destructors_run_in_the_c_library_s_order_at_home_and_may_wait() {
    thread_local! {
        static FIRST: RefCell<Option<TellsLate>> = const { RefCell::new(None) };
        static SECOND: RefCell<Option<TellsLate>> = const { RefCell::new(None) };
    }
    struct Kept(Told, std::path::PathBuf, usize, fn());
    unsafe extern "C" fn tell(value: *mut libc::c_void) {
        // SAFETY: a box, as it was kept.
        let Kept(told, home, rounds, wait) = *unsafe { Box::from_raw(value.cast()) };
        assert_eq!(os_thread(), home);
        wait();
        told.lock().unwrap().push("a key");
        if rounds > 1 {
            keep(Kept(told, home, rounds - 1, wait));
        }
    }
    fn keep(kept: Kept) {
        static KEY: std::sync::OnceLock<libc::pthread_key_t> = std::sync::OnceLock::new();
        let key = *KEY.get_or_init(|| {
            let mut key = 0;
            // SAFETY: `key` is valid to write to, and `tell` takes what is kept.
            assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(tell)) }, 0);
            key
        });
        // SAFETY: a key.
        unsafe { libc::pthread_setspecific(key, Box::into_raw(Box::new(kept)).cast()) };
    }
    patched(|| {
        let told = Told::default();
        let run = |told: Told, wait: fn()| {
            move || {
                keep(Kept(told.clone(), os_thread(), 3, wait));
                FIRST.set(Some(TellsLate(told.clone(), "the first", wait)));
                SECOND.set(Some(TellsLate(told.clone(), "the second", wait)));
                told.lock().unwrap().push("the end");
            }
        };
        // What ends is an OS thread: nothing of greenloop's waits there.
        let unpatched = Told::default();
        thread::spawn(run(unpatched.clone(), || ())).join().unwrap();
        let unpatched = unpatched.lock().unwrap().clone();
        assert_eq!(unpatched, ["the end", "the second", "the first", "a key", "a key", "a key"]);

        let isolated = isolated(run(told.clone(), || {
            yield_now();
            sleep(Duration::from_millis(1));
        }));
        yields(move || isolated.join().unwrap());
        assert_eq!(*told.lock().unwrap(), unpatched);
    });
}

#[test]
fn a_kill_is_too_late_once_its_variables_are_destroyed() {
    struct Waits(Rc<Event>, Rc<Cell<u32>>);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
            self.0.wait();
            thread::sleep(Duration::from_millis(1));
            assert!(with_timeout(Duration::from_millis(1), || sleep(Duration::from_millis(20))).is_ok());
            self.1.set(self.1.get() + 1);
        }
    }
    thread_local! {
        static WAITS: RefCell<Option<Waits>> = const { RefCell::new(None) };
    }
    patched(|| {
        let (event, steps) = (Rc::new(Event::new()), Rc::new(Cell::new(0)));
        let waits = Waits(event.clone(), steps.clone());
        let ends = isolated(move || {
            WAITS.set(Some(waits));
            7
        });
        while steps.get() == 0 {
            yield_now();
        }
        assert!(!ends.kill_timeout(Duration::from_millis(5)));
        event.set();
        assert_eq!(ends.join().unwrap(), 7);
        assert_eq!(steps.get(), 2);
    });
}

#[test]
fn what_the_c_library_says_of_it_is_true() {
    patched(|| {
        isolated(|| {
            // SAFETY: a set of processors is an array of bits.
            let mut all: libc::cpu_set_t = unsafe { std::mem::zeroed() };
            // SAFETY: valid to write to, with its length.
            unsafe { libc::sched_getaffinity(0, size_of_val(&all), &mut all) };
            // SAFETY: as many bits as it has.
            let is_allowed = |number: &usize| unsafe { libc::CPU_ISSET(*number, &all) };
            for processor in (0..libc::CPU_SETSIZE as usize).filter(is_allowed) {
                // SAFETY: as above.
                let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
                // SAFETY: as above.
                unsafe { libc::CPU_SET(processor, &mut one) };
                // SAFETY: valid to read, with its length.
                assert_eq!(unsafe { libc::sched_setaffinity(0, size_of_val(&one), &one) }, 0);
                // SAFETY: takes nothing.
                assert_eq!(unsafe { libc::sched_getcpu() }, processor as i32);
            }
            // Nobody can take its block away.
            // SAFETY: takes nothing.
            let itself = unsafe { libc::pthread_self() };
            // SAFETY: the thread is there, and refuses.
            assert_eq!(unsafe { libc::pthread_detach(itself) }, libc::EINVAL);
        })
        .join()
        .unwrap();

        // A lock knows its owner.
        struct Lock(std::cell::UnsafeCell<libc::pthread_mutex_t>);
        // SAFETY: a mutex is for several threads.
        unsafe impl Sync for Lock {}
        static LOCK: Lock = Lock(std::cell::UnsafeCell::new(libc::PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP));
        // SAFETY: a mutex that is initialised and stays where it is.
        let try_lock = || unsafe { libc::pthread_mutex_trylock(LOCK.0.get()) };
        // SAFETY: as above; the caller holds it.
        let unlock = || unsafe { libc::pthread_mutex_unlock(LOCK.0.get()) };
        let holds = isolated(move || {
            assert_eq!((try_lock(), try_lock()), (0, 0));
            sleep(Duration::from_millis(5));
            assert_eq!((unlock(), unlock()), (0, 0));
        });
        yield_now();
        assert_eq!(isolated(try_lock).join().unwrap(), libc::EBUSY);
        holds.join().unwrap();
        assert_eq!(isolated(move || (try_lock(), unlock())).join().unwrap(), (0, 0));
    });
}

/// Also one that is not isolated.
#[test]
fn each_green_thread_rounds_as_it_says() {
    #[cfg(target_arch = "x86_64")]
    patched(|| {
        /// MXCSR's bits for the rounding, and the x87's.
        const UP: (u32, u16) = (0x4000, 0x0800);
        const NEAREST: (u32, u16) = (0, 0);
        fn rounding() -> (u32, u16) {
            let (mut sse, mut x87) = (0_u32, 0_u16);
            // SAFETY: writes the variables.
            unsafe { std::arch::asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &mut sse, in(reg) &mut x87) };
            (sse & 0x6000, x87 & 0x0C00)
        }
        fn round(way: (u32, u16)) {
            let (sse, x87) = (0x1F80 | way.0, 0x037F | way.1);
            // SAFETY: reads the variables; nothing here computes with floating-point numbers.
            unsafe { std::arch::asm!("ldmxcsr [{}]", "fldcw [{}]", in(reg) &sse, in(reg) &x87) };
        }
        for isolated in [false, true] {
            let builder = || Builder::new().isolated(isolated);
            let turns = |way: (u32, u16)| {
                move || {
                    assert_eq!(rounding(), NEAREST);
                    round(way);
                    for _ in 0..10 {
                        yield_now();
                        assert_eq!(rounding(), way);
                        thread::sleep(Duration::from_micros(10));
                        assert_eq!(rounding(), way);
                    }
                }
            };
            let tasks = [UP, NEAREST, UP].map(|way| builder().spawn(turns(way)).unwrap());
            join_all(tasks.into());
            assert_eq!(rounding(), NEAREST);
            // On one stack, one after the other without a switch.
            let tasks = (0..10).map(|_| {
                let run = || {
                    assert_eq!(rounding(), NEAREST);
                    round(UP);
                };
                builder().spawn(run).unwrap()
            });
            join_all(tasks.collect());
            // Main has its own, too, which others begin with.
            round(UP);
            assert_eq!(builder().spawn(|| (rounding(), round(NEAREST)).0).unwrap().join().unwrap(), UP);
            assert_eq!(rounding(), UP);
            round(NEAREST);
        }
    });
}

/// More than an OS thread each would allow.
#[test]
fn twenty_thousand_at_once() {
    in_a_child("isolation::twenty_thousand_at_once", || {
        let event = Rc::new(Event::new());
        let tasks = (0..20_000).map(|number| {
            let event = event.clone();
            isolated(move || {
                COUNT.set(number);
                event.wait();
                COUNT.get()
            })
        });
        let tasks: Vec<_> = tasks.collect();
        yield_now();
        event.set();
        assert_eq!(join_all(tasks), (0..20_000).collect::<Vec<_>>());
        println!("done");
    });
}

#[test]
fn without_memory_for_it_a_spawn_gives_the_error() {
    in_a_child("isolation::without_memory_for_it_a_spawn_gives_the_error", || {
        assert!(isolated(|| ()).join().is_ok());
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
        let size: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
        let limit = (size + 64 * 1024) * 1024;
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: valid to read.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        let mut all = Vec::new();
        let error = loop {
            assert!(all.len() < 20_000, "without a limit");
            // Each has its own from now on, though it does not begin.
            match Builder::new().isolated(true).delay(Duration::from_secs(3600)).spawn(|| ()) {
                Ok(task) => all.push(task),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::OutOfMemory);
        // One that its builder says nothing of tells it by its end.
        patch_all();
        let unstarted = spawn(|| ()).join().unwrap_err();
        assert!(
            unstarted.to_string().ends_with("no thread-local variables for another isolated green thread")
        );
        assert_eq!(std::io::Error::from(unstarted).kind(), std::io::ErrorKind::OutOfMemory);
        // Those that were made are used again.
        all.iter().for_each(JoinHandle::kill);
        assert_eq!(isolated(|| 7).join().unwrap(), 7);
        println!("done");
    });
}

#[test]
fn a_burst_of_spawns_needs_no_more_variables_than_run_at_once() {
    in_a_child("isolation::a_burst_of_spawns_needs_no_more_variables_than_run_at_once", || {
        patch_all();
        spawn(|| ()).join().unwrap();
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/statm").unwrap();
            status.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
        };
        let before = resident();
        let ended = Rc::new(Cell::new(0));
        for _ in 0..10_000 {
            let ended = ended.clone();
            spawn(move || ended.set(ended.get() + 1 + COUNT.replace(1)));
        }
        while ended.get() < 10_000 {
            yield_now();
        }
        assert_eq!(ended.get(), 10_000);
        // Their own would take two pages each.
        assert!(resident() - before < 10_000, "{} pages", resident() - before);
        println!("done");
    });
}

#[test]
fn a_fork_within_it() {
    in_a_child("isolation::a_fork_within_it", || {
        patch_all();
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

/// The C library gives the stacks of OS threads that the child has not to those that it makes.
#[test]
fn a_fork_within_it_off_the_main_thread() {
    in_a_child("isolation::a_fork_within_it_off_the_main_thread", || {
        let forks = || {
            // SAFETY: the child uses nothing of other OS threads, and ends.
            match unsafe { fork() }.unwrap() {
                Fork::Child => {
                    COUNT.set(1);
                    for _ in 0..4 {
                        let threads: Vec<_> = (0..4)
                            .map(|number| {
                                thread::spawn(move || {
                                    let filled = std::hint::black_box([0xEE_u8; 1_000_000]);
                                    COUNT.get() + number + u32::from(filled[77])
                                })
                            })
                            .collect();
                        let sum: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
                        assert_eq!(sum, 6 + 4 * 0xEE);
                    }
                    sleep(Duration::from_millis(1));
                    let others = (0..40).map(|_| isolated(|| COUNT.get()));
                    assert_eq!(join_all(others.collect()), [0; 40]);
                    std::process::exit(COUNT.get() as i32);
                }
                Fork::Parent { child } => wait_pid(child).unwrap().code(),
            }
        };
        let code = thread::spawn(move || isolated(forks).join().unwrap()).join().unwrap();
        assert_eq!(code, Some(1));
        println!("done");
    });
}

#[test]
fn without_it_a_lock_of_parking_lot_tells_the_cure() {
    const NAME: &str = "isolation::without_it_a_lock_of_parking_lot_tells_the_cure";
    in_a_child(NAME, || {
        static LOCK: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
        patch(Parts::ALL - Parts::THREAD_LOCALS);
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

/// A wait for a word that green threads have in common, until a time that is far: the OS thread is stopped, so it is told who stops it;
/// a kill from another OS thread, which has no error to become, is not said to have ended it.
#[test]
fn a_stop_with_a_limit_is_told_and_is_not_shortened() {
    thread_local! {
        static WORD: AtomicU32 = const { AtomicU32::new(7) };
    }
    const LIMIT: Duration = Duration::from_millis(1500);
    in_a_child("isolation::a_stop_with_a_limit_is_told_and_is_not_shortened", || {
        patch_all();
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        greenloop::hub::set_uncaught_hook(Some(Arc::new(move |uncaught: &greenloop::hub::Uncaught<'_>| {
            tell.lock().unwrap().push(uncaught.to_string());
        })));
        let (stops, stopped) = mpsc::channel();
        let place = line!() + 1;
        let task = Builder::new().isolated(false).name("who stops").spawn(move || {
            let limit = libc::timespec { tv_sec: 1, tv_nsec: 500_000_000 };
            stops.send(()).unwrap();
            let begun = Instant::now();
            // SAFETY: the word is valid for reads, and so is the limit.
            let result = WORD.with(|word| unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    word.as_ptr(),
                    libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                    7,
                    &raw const limit,
                    0,
                    0,
                )
            });
            (result, std::io::Error::last_os_error().raw_os_error(), begun.elapsed())
        });
        let task = Arc::new(task.unwrap());
        let killer = thread::spawn({
            let task = task.clone();
            move || {
                stopped.recv().unwrap();
                task.kill_timeout(Duration::from_millis(10))
            }
        });
        task.wait();
        assert!(!killer.join().unwrap(), "it went on");
        let (result, errno, lasted) = Arc::into_inner(task).unwrap().join().unwrap();
        assert_eq!((result, errno), (-1, Some(libc::ETIMEDOUT)));
        assert!(lasted >= LIMIT, "{lasted:?}");
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains("who stops") && told[0].contains(&format!("isolation.rs:{place}")),
            "{told:?}"
        );
        println!("told");
    });
}

/// By its exit, by a panic, and by the end of a generator that is suspended: nothing of that is a kill of who ends.
#[test]
fn a_destructor_hears_how_what_it_switched_to_has_ended() {
    struct AtTheEnd(Rc<RefCell<Vec<&'static str>>>, Option<Generator<(), u32>>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            let tell = |what| self.0.borrow_mut().push(what);
            let exits = Greenlet::<()>::new(|()| resume_unwind(Box::new(GreenletExit)));
            tell(match exits.switch(()) {
                Err(SwitchError::Exit(_)) => "an exit",
                _ => "no exit",
            });
            let panics = Greenlet::<()>::new(|()| resume_unwind(Box::new("a panic")));
            let raised = catch_unwind(AssertUnwindSafe(|| panics.switch(())));
            tell(raised.unwrap_err().downcast_ref::<&str>().copied().unwrap_or("another panic"));
            drop(self.1.take());
            tell("the end");
        }
    }
    struct Tells(Rc<RefCell<Vec<&'static str>>>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.borrow_mut().push("the body's end");
        }
    }
    thread_local! {
        static AT_THE_END: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
    }
    patched(|| {
        let told = Rc::new(RefCell::new(Vec::new()));
        let log = told.clone();
        let task = isolated(move || {
            let tells = Tells(log.clone());
            let mut generator = Generator::new(move |yielder, ()| {
                let _tells = tells;
                yielder.yield_(1);
            });
            assert_eq!(generator.next(), Some(1));
            AT_THE_END.set(Some(AtTheEnd(log, Some(generator))));
        });
        task.join().unwrap();
        assert_eq!(*told.borrow(), ["an exit", "a panic", "the body's end", "the end"]);
    });
}
