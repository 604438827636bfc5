use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use greenloop::event::Event;
use greenloop::inspect;
use greenloop::io::{pipe, wait_readable};
use greenloop::process::wait_pid;
use greenloop::signal::{self, SIGTERM};
use greenloop::sync::Semaphore;
use greenloop::{idle, sleep, spawn, spawn_later, yield_now};

use crate::{LONG, alone, end, forked, succeeds, tell};

/// Tells when it is dropped.
struct Tells(Arc<std::io::PipeWriter>);

impl Drop for Tells {
    fn drop(&mut self) {
        tell(&self.0, b'd');
    }
}

/// Cases 95 and 153: fresh, timed, parked, waiting for a descriptor.
#[test]
fn none_of_the_parents_green_threads_runs() {
    alone(|| {
        let (mut log, writer) = std::io::pipe().unwrap();
        let writer = Arc::new(writer);
        let event = Arc::new(Event::new());
        let (reader, mut wake) = pipe().unwrap();
        let mut tasks = Vec::new();
        for kind in 0..4 {
            let (tells, event, reader) = (Tells(writer.clone()), event.clone(), reader.try_clone().unwrap());
            tasks.push(spawn(move || {
                match kind {
                    0 => sleep(Duration::from_millis(30)),
                    1 => event.wait(),
                    // Not read: the byte is for the child.
                    2 => wait_readable(&reader).unwrap(),
                    _ => (0..1000).for_each(|_| yield_now()),
                }
                tell(&tells.0, b'p');
            }));
        }
        yield_now();
        let fresh = [
            spawn({
                let tells = Tells(writer.clone());
                move || tell(&tells.0, b'p')
            }),
            spawn_later(Duration::from_millis(10), {
                let tells = Tells(writer.clone());
                move || tell(&tells.0, b'p')
            }),
        ];
        let child = forked(|| {
            // Whatever would wake one of them.
            event.set();
            std::io::Write::write_all(&mut wake, &[0; 1]).unwrap();
            std::io::Read::read_exact(&mut &reader, &mut [0]).unwrap();
            assert!(tasks.iter().all(|task| !task.try_kill()));
            (0..50).for_each(|_| sleep(Duration::from_millis(1)));
            idle();
            let own = writer.clone();
            spawn(move || tell(&own, b'c')).join().unwrap();
        });
        succeeds(child);
        event.set();
        std::io::Write::write_all(&mut wake, &[0]).unwrap();
        tasks.into_iter().chain(fresh).for_each(|task| task.join().unwrap());
        drop(writer);
        let mut told = Vec::new();
        log.read_to_end(&mut told).unwrap();
        assert_eq!(told.iter().filter(|&&byte| byte == b'c').count(), 1);
        assert_eq!(told.iter().filter(|&&byte| byte == b'p').count(), 6);
        assert_eq!(told.iter().filter(|&&byte| byte == b'd').count(), 6);
        assert_eq!(told.len(), 13);
    });
}

#[test]
fn who_waits_in_the_parent_is_passed_over() {
    alone(|| {
        let semaphore = Arc::new(Semaphore::new(1));
        let held = semaphore.acquire();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let semaphore = semaphore.clone();
                spawn(move || drop(semaphore.acquire()))
            })
            .collect();
        yield_now();
        let child = forked(|| {
            // Three are in line, who never come here.
            semaphore.release(1);
            drop(semaphore.acquire());
        });
        succeeds(child);
        drop(held);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

/// Case 113: the fork happens while waiters are notified.
#[test]
fn a_fork_amid_a_notification_leaves_no_lock() {
    struct Forks(Arc<Semaphore>, Arc<Event>);
    impl Wake for Forks {
        fn wake(self: Arc<Self>) {
            let child = forked(|| {
                drop(self.0.acquire());
                self.1.set();
                assert!(self.1.is_set());
            });
            // Not waited for here: this may be amid the work of the hub.
            LAST.store(child, std::sync::atomic::Ordering::SeqCst);
        }
    }
    static LAST: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    alone(|| {
        let (semaphore, event) = (Arc::new(Semaphore::new(1)), Arc::new(Event::new()));
        let mut task = std::pin::pin!(spawn(|| 7));
        let waker = Waker::from(Arc::new(Forks(semaphore.clone(), event.clone())));
        assert!(Future::poll(task.as_mut(), &mut Context::from_waker(&waker)).is_pending());
        yield_now();
        let child = LAST.load(std::sync::atomic::Ordering::SeqCst);
        succeeds(child);
        assert!(!event.is_set());
        drop(semaphore.acquire());
    });
}

#[test]
fn a_signal_that_comes_before_the_childs_hub_has_begun_is_not_lost() {
    alone(|| {
        let _handler = signal::on(SIGTERM, || ()).unwrap();
        for _ in 0..200 {
            let child = forked(|| greenloop::sleep(LONG));
            // SAFETY: takes no pointers; the child has not been waited for.
            unsafe { libc::kill(child as libc::pid_t, SIGTERM) };
            assert_eq!(wait_pid(child).unwrap().signal(), Some(SIGTERM));
        }
    });
}

#[test]
fn the_parents_signal_handlers_are_gone() {
    alone(|| {
        let told = Arc::new(Event::new());
        let handler = signal::on(SIGTERM, {
            let told = told.clone();
            move || told.set()
        })
        .unwrap();
        let child = forked(|| {
            // SAFETY: takes no pointers.
            unsafe { libc::raise(SIGTERM) };
            end(2);
        });
        assert_eq!(wait_pid(child).unwrap().signal(), Some(SIGTERM));
        let child = forked(|| {
            let mut own = signal::Signals::new([SIGTERM]).unwrap();
            // SAFETY: takes no pointers.
            unsafe { libc::raise(SIGTERM) };
            assert_eq!(own.next(), Some(SIGTERM));
            assert!(!told.is_set());
            // The parent's handle: of no effect on the child's own.
            drop(handler);
            // SAFETY: as above.
            unsafe { libc::raise(SIGTERM) };
            assert_eq!(own.next_timeout(LONG), Some(SIGTERM));
        });
        succeeds(child);
        assert!(!told.is_set());
    });
}

#[test]
fn who_is_there_are_the_childs_own() {
    alone(|| {
        let parked: Vec<_> = (0..3).map(|_| spawn(|| sleep(LONG))).collect();
        idle();
        let child = forked(|| {
            let own = spawn(|| sleep(LONG));
            idle();
            let dump = greenloop::inspect::dump();
            let places: Vec<_> = dump.green_threads().map(|thread| thread.spawned_at()).collect();
            assert_eq!(places, [None, Some(own.spawned_at())], "{dump}");
        });
        assert_eq!(wait_pid(child).unwrap().code(), Some(0));
        assert_eq!(greenloop::inspect::dump().green_threads().count(), 4);
        greenloop::killall(&parked);
    });
}

#[test]
fn the_child_is_neither_timed_nor_recorded_until_it_asks_itself() {
    alone(|| {
        yield_now();
        inspect::time_slices(true);
        let recorder = inspect::Recorder::start(1 << 14).unwrap();
        spawn(yield_now).join().unwrap();
        let child = forked(|| {
            spawn(yield_now).join().unwrap();
            assert_eq!((recorder.snapshot().events(), &inspect::metrics().hubs()[0].slices), (0, &None));
            // Of what came with the fork nothing is in the way.
            let own = inspect::Recorder::start(1 << 14).unwrap();
            inspect::time_slices(true);
            spawn(yield_now).join().unwrap();
            assert!(own.snapshot().events() > 2);
            let metrics = inspect::metrics();
            let hub = &metrics.hubs()[0];
            assert!(hub.slices.as_ref().unwrap().count() > 1);
            assert_eq!((hub.spawned, hub.ended, hub.alive), (2, 2, 0));
        });
        succeeds(child);
        assert!(recorder.snapshot().events() > 2);
        assert!(inspect::metrics().hubs()[0].slices.as_ref().unwrap().count() > 1);
    });
}

#[test]
fn a_child_that_records_saves_nothing_of_what_the_parent_would() {
    alone(|| {
        let path = |of: &str| std::env::temp_dir().join(format!("greenloop-{of}-{}", std::process::id()));
        let (of_parent, of_child) = (path("parent"), path("child"));
        yield_now();
        let recorder = inspect::Recorder::start(1 << 14).unwrap();
        recorder.save_on(inspect::Occasion::Panic, &of_parent).unwrap();
        succeeds(forked(|| {
            let own = inspect::Recorder::start(1 << 14).unwrap();
            own.save_on(inspect::Occasion::Panic, &of_child).unwrap();
            assert!(spawn(|| panic!("on purpose")).join().is_err());
            std::fs::remove_file(&of_child).unwrap();
            assert!(!of_parent.exists());
        }));
        assert!(spawn(|| panic!("on purpose")).join().is_err());
        std::fs::remove_file(&of_parent).unwrap();
    });
}
