use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use greenloop::event::Event;
use greenloop::sync::{LazyLock, Once, OnceLock};
use greenloop::{JoinHandle, idle, sleep, spawn, with_timeout, yield_now};

use super::LIMIT;
use super::support::{in_any_order, spawn_parked};

/// What `run` panics with.
fn panicked<R>(run: impl FnOnce() -> R) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(run)) else { panic!("it was to panic") };
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.unwrap_or_else(|| *payload.downcast::<String>().expect("a text"))
}

/// A green thread that runs the `Once` and is in the middle of it until the event.
fn midway(once: &Arc<Once>, go: &Arc<Event>) -> JoinHandle<()> {
    let (once, go) = (once.clone(), go.clone());
    spawn_parked(move || once.call_once(|| go.wait()))
}

#[test]
fn the_others_wait_for_the_one_that_runs_it() {
    in_any_order(LIMIT, || {
        let (once, go) = (Arc::new(Once::new()), Arc::new(Event::new()));
        let first = midway(&once, &go);
        let others = [0, 1, 2].map(|number| {
            let once = once.clone();
            spawn_parked(move || match number {
                0 => once.call_once(|| unreachable!()),
                1 => once.call_once_force(|_| unreachable!()),
                _ => once.wait(),
            })
        });
        others[1].kill();
        assert!(with_timeout(Duration::from_millis(1), || once.wait_force()).is_err());
        assert!(!once.is_completed());
        go.set();
        first.join().unwrap();
        let ended = others.map(|other| other.join().is_ok());
        assert_eq!((ended, once.is_completed()), ([true, false, true], true));
        once.wait();
        once.wait_force();
        assert_eq!(format!("{once:?}"), "Once { .. }");
    });
}

#[test]
fn a_kill_in_the_middle_poisons_as_a_panic_does() {
    in_any_order(LIMIT, || {
        let (once, go) = (Arc::new(Once::new()), Arc::new(Event::new()));
        let first = midway(&once, &go);
        let next = spawn_parked({
            let once = once.clone();
            move || panicked(|| once.call_once(|| ()))
        });
        let patient = spawn_parked({
            let once = once.clone();
            move || once.wait_force()
        });
        first.kill();
        assert_eq!(next.join().unwrap(), "Once instance has previously been poisoned");
        assert_eq!(panicked(|| once.wait()), "Once instance has previously been poisoned");
        idle();
        assert!(!once.is_completed() && !patient.is_finished());
        let failed = catch_unwind(AssertUnwindSafe(|| once.call_once_force(|_| resume_unwind(Box::new(())))));
        assert!(failed.is_err());
        let poisoned = Cell::new(false);
        once.call_once_force(|state| poisoned.set(state.is_poisoned()));
        assert!(poisoned.get() && once.is_completed());
        patient.join().unwrap();
        once.call_once(|| unreachable!());
    });
}

#[test]
fn a_value_is_made_by_the_first_who_does_not_fail() {
    in_any_order(LIMIT, || {
        let (lock, go) = (Arc::new(OnceLock::new()), Arc::new(Event::new()));
        let failing = [false, true].map(|kill| {
            let (lock, go) = (lock.clone(), go.clone());
            spawn_parked(move || {
                lock.get_or_init(|| {
                    go.wait();
                    if kill {
                        sleep(LIMIT);
                    }
                    resume_unwind(Box::new(()))
                });
            })
        });
        let readers = [7, 8].map(|number| {
            let lock = lock.clone();
            spawn_parked(move || {
                *lock.get_or_init(|| {
                    yield_now();
                    number
                })
            })
        });
        let waits = spawn_parked({
            let lock = lock.clone();
            move || *lock.wait()
        });
        go.set();
        idle();
        assert!(failing[0].is_finished());
        failing[1].kill();
        // All are told of the failure, and the first of them that runs then makes it.
        let made = waits.join().unwrap();
        assert!([7, 8].contains(&made));
        assert_eq!(readers.map(|reader| reader.join().unwrap()), [made; 2]);
        assert_eq!((lock.set(9), lock.get()), (Err(9), Some(&made)));
    });
}

#[test]
fn a_lock_of_one_value_takes_what_std_takes() {
    let mut lock = OnceLock::<Vec<u32>>::default();
    assert_eq!((format!("{lock:?}"), lock.get_mut()), ("OnceLock(<uninit>)".to_owned(), None));
    assert_eq!((lock.clone(), lock.set(vec![1])), (OnceLock::new(), Ok(())));
    lock.get_mut().unwrap().push(2);
    assert_eq!((format!("{lock:?}"), lock.clone()), ("OnceLock([1, 2])".to_owned(), lock.clone()));
    assert_eq!((lock.take(), lock.take(), lock), (Some(vec![1, 2]), None, OnceLock::new()));
    assert_eq!(OnceLock::from(5).into_inner(), Some(5));
}

#[test]
fn a_lazy_value_is_made_once_and_is_poisoned_by_a_failure() {
    in_any_order(LIMIT, || {
        let made = Arc::new(AtomicUsize::new(0));
        let lazy = Arc::new(LazyLock::new({
            let made = made.clone();
            move || {
                yield_now();
                made.fetch_add(1, SeqCst) + 10
            }
        }));
        assert_eq!((format!("{lazy:?}"), LazyLock::get(&lazy)), ("LazyLock(<uninit>)".to_owned(), None));
        let readers = [(); 3].map(|()| {
            let lazy = lazy.clone();
            spawn(move || **lazy)
        });
        assert_eq!((readers.map(|reader| reader.join().unwrap()), made.load(SeqCst)), ([10; 3], 1));
        assert_eq!((format!("{lazy:?}"), LazyLock::get(&lazy)), ("LazyLock(10)".to_owned(), Some(&10)));

        let failing = Arc::new(LazyLock::<u32>::new(|| {
            sleep(LIMIT);
            0
        }));
        let killed = spawn_parked({
            let failing = failing.clone();
            move || **failing
        });
        killed.kill();
        for _ in 0..2 {
            assert_eq!(panicked(|| **failing), "LazyLock instance has previously been poisoned");
        }
        let mut lazy = LazyLock::<u32>::default();
        *lazy += 1;
        assert_eq!((*lazy, LazyLock::get_mut(&mut lazy)), (1, Some(&mut 1)));
    });
}

#[test]
fn hubs_and_plain_threads_do_it_once() {
    in_any_order(LIMIT, || {
        for _ in 0..200 {
            let (once, ran) = (Arc::new(Once::new()), Arc::new(AtomicUsize::new(0)));
            let call = {
                let (once, ran) = (once.clone(), ran.clone());
                move || {
                    once.call_once(|| {
                        yield_now();
                        ran.fetch_add(1, SeqCst);
                    });
                    assert_eq!(ran.load(SeqCst), 1);
                }
            };
            let threads = [0, 1, 2].map(|number| {
                let call = call.clone();
                thread::spawn(move || match number {
                    0 => call(),
                    _ => [spawn(call.clone()), spawn(call)].into_iter().for_each(|task| task.join().unwrap()),
                })
            });
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    });
}
