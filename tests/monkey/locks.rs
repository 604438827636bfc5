//! std's locks, contended between green threads and OS threads.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, OnceLock, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::{joinall, spawn, yield_now};

use crate::{in_a_child, patched};

/// Conformance 171.
#[test]
fn a_mutex_held_across_a_sleep_stops_nobody_else() {
    patched(|| {
        let counter = Arc::new(Mutex::new(0));
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let counter = counter.clone();
                spawn(move || {
                    for _ in 0..20 {
                        let mut counter = counter.lock().unwrap();
                        let before = *counter;
                        yield_now();
                        *counter = before + 1;
                    }
                })
            })
            .collect();
        joinall(&tasks);
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!(*counter.lock().unwrap(), 2000);
    });
}

#[test]
fn green_threads_of_two_hubs_and_os_threads_share_a_mutex() {
    patched(|| {
        let counter = Arc::new(Mutex::new(0));
        let add = |counter: Arc<Mutex<i32>>| {
            for _ in 0..200 {
                let mut counter = counter.lock().unwrap();
                let before = *counter;
                thread::yield_now();
                *counter = before + 1;
            }
        };
        let threads: Vec<_> = (0..3)
            .map(|number| {
                let counter = counter.clone();
                thread::spawn(move || match number {
                    0 => add(counter),
                    _ => {
                        let tasks: Vec<_> = (0..5)
                            .map(|_| {
                                let counter = counter.clone();
                                spawn(move || add(counter))
                            })
                            .collect();
                        tasks.into_iter().for_each(|task| task.join().unwrap());
                    }
                })
            })
            .collect();
        // Patched too: this waits for OS threads from a thread that may get a hub.
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*counter.lock().unwrap(), 200 + 2 * 5 * 200);
    });
}

#[test]
fn a_condition_variable_is_notified_and_times_out() {
    patched(|| {
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let waiter = spawn({
            let shared = shared.clone();
            move || {
                let guard = shared.1.wait_while(shared.0.lock().unwrap(), |ready| !*ready).unwrap();
                assert!(*guard);
                drop(guard);
                let start = Instant::now();
                let limit = Duration::from_millis(20);
                let (_guard, late) = shared.1.wait_timeout(shared.0.lock().unwrap(), limit).unwrap();
                assert!(late.timed_out() && start.elapsed() >= limit);
            }
        });
        yield_now();
        *shared.0.lock().unwrap() = true;
        shared.1.notify_all();
        waiter.join().unwrap();
    });
}

#[test]
fn readers_and_a_writer_take_turns() {
    patched(|| {
        let value = Arc::new(RwLock::new(0));
        let tasks: Vec<_> = (0..30)
            .map(|number| {
                let value = value.clone();
                spawn(move || match number % 3 {
                    0 => {
                        let mut value = value.write().unwrap();
                        let before = *value;
                        yield_now();
                        *value = before + 1;
                    }
                    _ => {
                        let value = value.read().unwrap();
                        let before = *value;
                        yield_now();
                        assert_eq!(*value, before);
                    }
                })
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!(*value.read().unwrap(), 10);
    });
}

#[test]
fn one_initialises_and_the_others_wait() {
    patched(|| {
        static ONCE: Once = Once::new();
        static CELL: OnceLock<u32> = OnceLock::new();
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                spawn(move || {
                    ONCE.call_once(|| thread::sleep(Duration::from_millis(5)));
                    *CELL.get_or_init(|| {
                        thread::sleep(Duration::from_millis(5));
                        number
                    })
                })
            })
            .collect();
        let values: Vec<_> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
        assert_eq!(values, [values[0]; 10]);
    });
}

#[test]
fn a_barrier_lets_all_through_at_once() {
    patched(|| {
        let barrier = Arc::new(Barrier::new(3));
        let tasks = [0; 3].map(|_| {
            let barrier = barrier.clone();
            spawn(move || barrier.wait().is_leader())
        });
        let leaders = tasks
            .into_iter()
            .filter(|task| {
                task.wait();
                true
            })
            .map(|task| task.join().unwrap());
        assert_eq!(leaders.filter(|&leader| leader).count(), 1);
    });
}

#[test]
fn the_end_of_an_os_thread_is_waited_for_beside_others() {
    patched(|| {
        let value = crate::yields(|| {
            let thread = thread::spawn(|| {
                thread::sleep(Duration::from_millis(20));
                42
            });
            thread.join().unwrap()
        });
        assert_eq!(value, 42);
    });
}

/// A hub that has not slept yet, while somebody of its own stands in line to change the environment: it must not stand behind him.
#[test]
fn the_lock_around_the_environment_stops_no_hub() {
    static IS_HELD: AtomicBool = AtomicBool::new(false);
    static IS_WANTED: AtomicBool = AtomicBool::new(false);
    /// std holds the lock while it forks.
    extern "C" fn hold() {
        IS_HELD.store(true, Ordering::SeqCst);
        while !IS_WANTED.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        // Until the hub sleeps, or what it does in place of that.
        thread::sleep(Duration::from_millis(50));
    }
    in_a_child("locks::the_lock_around_the_environment_stops_no_hub", || {
        // With that lock stuck, no panic would end the process either.
        // SAFETY: no pointers.
        unsafe { libc::alarm(60) };
        // SAFETY: the function may be called at any time.
        assert_eq!(unsafe { libc::pthread_atfork(Some(hold), None, None) }, 0);
        let child = thread::spawn(|| {
            let mut command = Command::new("true");
            // SAFETY: the closure does nothing.
            unsafe { command.pre_exec(|| Ok(())) };
            command.status().unwrap()
        });
        while !IS_HELD.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        patched(|| {
            // SAFETY: nobody else uses the environment of this process but by std.
            let changer = spawn(|| unsafe { std::env::set_var("GREENLOOP_TEST_CHANGED", "1") });
            yield_now();
            assert!(!changer.is_finished());
            IS_WANTED.store(true, Ordering::SeqCst);
            changer.join().unwrap();
        });
        assert!(child.join().unwrap().success());
        println!("done");
    });
}
