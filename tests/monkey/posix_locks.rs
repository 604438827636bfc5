//! The locks and semaphores of POSIX, beside what the C library's own say.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::monkey::original;
use greenloop::{Builder, sleep, spawn, yield_now};
use libc::{c_int, clockid_t, timespec};

use crate::{patched, yields};

unsafe extern "C" {
    fn pthread_rwlock_timedrdlock(lock: *mut libc::pthread_rwlock_t, until: *const timespec) -> c_int;
    fn pthread_rwlock_timedwrlock(lock: *mut libc::pthread_rwlock_t, until: *const timespec) -> c_int;
    fn pthread_rwlock_clockrdlock(
        lock: *mut libc::pthread_rwlock_t,
        clock: clockid_t,
        until: *const timespec,
    ) -> c_int;
    fn pthread_rwlock_clockwrlock(
        lock: *mut libc::pthread_rwlock_t,
        clock: clockid_t,
        until: *const timespec,
    ) -> c_int;
    fn pthread_mutex_timedlock(lock: *mut libc::pthread_mutex_t, until: *const timespec) -> c_int;
    fn pthread_mutex_clocklock(
        lock: *mut libc::pthread_mutex_t,
        clock: clockid_t,
        until: *const timespec,
    ) -> c_int;
    fn sem_clockwait(semaphore: *mut libc::sem_t, clock: clockid_t, until: *const timespec) -> c_int;
    fn pthread_once(control: *mut c_int, initialise: extern "C" fn()) -> c_int;
}

/// Something of C's that threads share by its address.
struct Shared<T>(UnsafeCell<T>);

// SAFETY: what is in it is for several threads at a time.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn new(value: T) -> Arc<Shared<T>> {
        Arc::new(Shared(UnsafeCell::new(value)))
    }

    fn get(&self) -> *mut T {
        self.0.get()
    }
}

fn rwlock() -> Arc<Shared<libc::pthread_rwlock_t>> {
    Shared::new(libc::PTHREAD_RWLOCK_INITIALIZER)
}

fn semaphore(value: u32) -> Arc<Shared<libc::sem_t>> {
    // SAFETY: zeros are bytes of a semaphore, which is initialised below.
    let semaphore = Shared::new(unsafe { MaybeUninit::<libc::sem_t>::zeroed().assume_init() });
    // SAFETY: it is there, and nobody's yet.
    assert_eq!(unsafe { libc::sem_init(semaphore.get(), 0, value) }, 0);
    semaphore
}

/// A time of that clock, so much later than now.
fn after(clock: clockid_t, delay: Duration) -> timespec {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: valid for writes.
    assert_eq!(unsafe { libc::clock_gettime(clock, &mut time) }, 0);
    let time = Duration::new(time.tv_sec as u64, time.tv_nsec as u32) + delay;
    timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() }
}

/// Times that the C library takes or refuses.
const ODD: [timespec; 5] = [
    timespec { tv_sec: 0, tv_nsec: 0 },
    timespec { tv_sec: -1, tv_nsec: 0 },
    timespec { tv_sec: i64::MAX, tv_nsec: 1_000_000_000 },
    timespec { tv_sec: 1, tv_nsec: -1 },
    timespec { tv_sec: 1, tv_nsec: 999_999_999 },
];

const CLOCKS: [clockid_t; 5] =
    [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME, libc::CLOCK_THREAD_CPUTIME_ID, -1];

#[test]
fn readers_share_and_a_writer_does_not() {
    for isolated in [false, true] {
        patched(move || {
            let lock = rwlock();
            let inside = Arc::new(AtomicI32::new(0));
            let tasks: Vec<_> = (0..30)
                .map(|number| {
                    let (lock, inside) = (lock.clone(), inside.clone());
                    let turn = move || {
                        for _ in 0..10 {
                            if number % 3 == 0 {
                                // SAFETY: a lock that lives on.
                                assert_eq!(unsafe { libc::pthread_rwlock_wrlock(lock.get()) }, 0);
                                assert_eq!(inside.swap(-1, SeqCst), 0);
                                yield_now();
                                assert_eq!(inside.swap(0, SeqCst), -1);
                            } else {
                                // SAFETY: as above.
                                assert_eq!(unsafe { libc::pthread_rwlock_rdlock(lock.get()) }, 0);
                                assert!(inside.fetch_add(1, SeqCst) >= 0);
                                yield_now();
                                assert!(inside.fetch_sub(1, SeqCst) > 0);
                            }
                            // SAFETY: as above, and it is held.
                            assert_eq!(unsafe { libc::pthread_rwlock_unlock(lock.get()) }, 0);
                        }
                    };
                    Builder::new().isolated(isolated).spawn(turn).unwrap()
                })
                .collect();
            tasks.into_iter().for_each(|task| task.join().unwrap());
            // SAFETY: a lock that nobody holds.
            assert_eq!(unsafe { libc::pthread_rwlock_destroy(lock.get()) }, 0);
        });
    }
}

/// A lock that an OS thread without a hub holds, and one that waits for a green thread.
#[test]
fn an_os_thread_and_a_hub_share_a_read_write_lock() {
    patched(|| {
        let lock = rwlock();
        let (held, holds) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let other = thread::spawn({
            let lock = lock.clone();
            move || {
                // SAFETY: a lock that lives on.
                assert_eq!(unsafe { libc::pthread_rwlock_wrlock(lock.get()) }, 0);
                held.send(()).unwrap();
                released.recv().unwrap();
                // SAFETY: as above, and it is held.
                assert_eq!(unsafe { libc::pthread_rwlock_unlock(lock.get()) }, 0);
                // SAFETY: as above.
                assert_eq!(unsafe { libc::pthread_rwlock_rdlock(lock.get()) }, 0);
                // SAFETY: as above.
                assert_eq!(unsafe { libc::pthread_rwlock_unlock(lock.get()) }, 0);
            }
        });
        holds.recv().unwrap();
        let writer = spawn({
            let lock = lock.clone();
            move || {
                // SAFETY: a lock that lives on.
                assert_eq!(unsafe { libc::pthread_rwlock_wrlock(lock.get()) }, 0);
                sleep(Duration::from_millis(10));
                // SAFETY: as above, and it is held.
                assert_eq!(unsafe { libc::pthread_rwlock_unlock(lock.get()) }, 0);
            }
        });
        yield_now();
        assert!(!writer.is_finished());
        release.send(()).unwrap();
        writer.join().unwrap();
        other.join().unwrap();
    });
}

type Take = unsafe fn(*mut libc::pthread_rwlock_t, clockid_t, *const timespec) -> c_int;

/// Ways to take a read-write lock until a time, with whether they look at the clock: ours, and the C library's.
const WAYS: [(bool, Take, Take); 4] = [
    (
        false,
        // SAFETY: the caller's contract.
        |lock, _, until| unsafe { pthread_rwlock_timedrdlock(lock, until) },
        // SAFETY: as above.
        |lock, _, until| unsafe { original::pthread_rwlock_timedrdlock(lock, until) },
    ),
    (
        false,
        // SAFETY: as above.
        |lock, _, until| unsafe { pthread_rwlock_timedwrlock(lock, until) },
        // SAFETY: as above.
        |lock, _, until| unsafe { original::pthread_rwlock_timedwrlock(lock, until) },
    ),
    (
        true,
        // SAFETY: as above.
        |lock, clock, until| unsafe { pthread_rwlock_clockrdlock(lock, clock, until) },
        original::pthread_rwlock_clockrdlock,
    ),
    (
        true,
        // SAFETY: as above.
        |lock, clock, until| unsafe { pthread_rwlock_clockwrlock(lock, clock, until) },
        original::pthread_rwlock_clockwrlock,
    ),
];

/// Held or free, with whatever time and clock: what a green thread is told is what an OS thread is.
#[test]
fn odd_times_for_a_read_write_lock_are_answered_as_ever() {
    patched(|| {
        let lock = rwlock();
        for held in [false, true] {
            // SAFETY: a lock that lives on, and is held by main only.
            assert!(!held || unsafe { libc::pthread_rwlock_wrlock(lock.get()) } == 0);
            for (_, ours, unpatched) in WAYS {
                for clock in CLOCKS {
                    for until in ODD {
                        let call = |take: Take| {
                            let lock = lock.clone();
                            move || {
                                // SAFETY: a lock that lives on, and a time.
                                let result = unsafe { take(lock.get(), clock, &until) };
                                if result == 0 {
                                    // SAFETY: it is this thread's now.
                                    assert_eq!(unsafe { libc::pthread_rwlock_unlock(lock.get()) }, 0);
                                }
                                result
                            }
                        };
                        let expected = thread::spawn(call(unpatched)).join().unwrap();
                        assert_eq!(spawn(call(ours)).join().unwrap(), expected, "{held} {clock} {until:?}");
                    }
                }
            }
        }
    });
}

/// By every way to take it, with a time that has come or not; another one waits for it meanwhile.
#[test]
fn who_writes_is_told_that_he_has_the_lock() {
    let plain: [(bool, Take, Take); 2] = [
        (
            false,
            // SAFETY: the caller's contract.
            |lock, _, _| unsafe { libc::pthread_rwlock_rdlock(lock) },
            // SAFETY: as above.
            |lock, _, _| unsafe { original::pthread_rwlock_rdlock(lock) },
        ),
        (
            false,
            // SAFETY: as above.
            |lock, _, _| unsafe { libc::pthread_rwlock_wrlock(lock) },
            // SAFETY: as above.
            |lock, _, _| unsafe { original::pthread_rwlock_wrlock(lock) },
        ),
    ];
    for isolated in [false, true] {
        patched(move || {
            let lock = rwlock();
            let ways = plain.into_iter().chain(WAYS);
            let all: Vec<_> = ways.clone().map(|(_, ours, _)| ours).collect();
            let unpatched: Vec<_> = ways.map(|(_, _, unpatched)| unpatched).collect();
            let told = |lock: Arc<Shared<_>>, ways: Vec<Take>| {
                move || {
                    // SAFETY: a lock that lives on, in this and all of what follows.
                    assert_eq!(unsafe { libc::pthread_rwlock_wrlock(lock.get()) }, 0);
                    let mut told = Vec::new();
                    for until in
                        [after(libc::CLOCK_MONOTONIC, Duration::ZERO), timespec { tv_sec: 1, tv_nsec: 0 }]
                    {
                        for take in &ways {
                            // SAFETY: as above, and a time.
                            told.push(unsafe { take(lock.get(), libc::CLOCK_MONOTONIC, &until) });
                            yield_now();
                        }
                    }
                    // SAFETY: as above, and it is held.
                    assert_eq!(unsafe { libc::pthread_rwlock_unlock(lock.get()) }, 0);
                    told
                }
            };
            let expected = thread::spawn(told(lock.clone(), unpatched)).join().unwrap();
            assert_eq!(expected, [libc::EDEADLK; 12]);
            let builder = || Builder::new().isolated(isolated);
            let writer = builder().spawn(told(lock.clone(), all)).unwrap();
            yield_now();
            let others: Vec<_> = [libc::pthread_rwlock_rdlock, libc::pthread_rwlock_wrlock]
                .into_iter()
                .map(|take| {
                    let lock = lock.clone();
                    let turn = move || {
                        // SAFETY: a lock that lives on.
                        assert_eq!(unsafe { take(lock.get()) }, 0);
                        // SAFETY: as above, and it is held.
                        assert_eq!(unsafe { libc::pthread_rwlock_unlock(lock.get()) }, 0);
                    };
                    builder().spawn(turn).unwrap()
                })
                .collect();
            yield_now();
            assert!(others.iter().all(|other| !other.is_finished()));
            assert_eq!(writer.join().unwrap(), expected);
            others.into_iter().for_each(|other| other.join().unwrap());
        });
    }
}

#[test]
fn a_wait_for_a_read_write_lock_ends_at_its_time() {
    patched(|| {
        let lock = rwlock();
        // SAFETY: a lock that lives on.
        assert_eq!(unsafe { libc::pthread_rwlock_wrlock(lock.get()) }, 0);
        for (any_clock, take, _) in WAYS {
            let clocks: &[clockid_t] = if any_clock {
                &[libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME]
            } else {
                &[libc::CLOCK_REALTIME]
            };
            for &clock in clocks {
                let (lock, start) = (lock.clone(), Instant::now());
                let result = yields(move || {
                    let until = after(clock, Duration::from_millis(30));
                    // SAFETY: as above, and a time.
                    unsafe { take(lock.get(), clock, &until) }
                });
                assert_eq!(result, libc::ETIMEDOUT);
                assert!(start.elapsed() >= Duration::from_millis(29));
            }
        }
    });
}

/// It may be an allocator's, whose callers must not be switched out: so nobody else of the hub runs meanwhile.
#[test]
fn who_waits_for_an_os_thread_s_mutex_is_not_switched_out() {
    patched(|| {
        let lock = Shared::new(libc::PTHREAD_MUTEX_INITIALIZER);
        let (held, holds) = std::sync::mpsc::channel();
        let asks = Arc::new(AtomicI32::new(0));
        let holder = thread::spawn({
            let (lock, asks) = (lock.clone(), asks.clone());
            move || {
                // SAFETY: a lock that lives on.
                assert_eq!(unsafe { libc::pthread_mutex_lock(lock.get()) }, 0);
                held.send(()).unwrap();
                while asks.load(SeqCst) == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
                // Long enough for it to be asked for.
                thread::sleep(Duration::from_millis(50));
                // SAFETY: as above, and it is held.
                assert_eq!(unsafe { libc::pthread_mutex_unlock(lock.get()) }, 0);
            }
        });
        holds.recv().unwrap();
        let task = spawn(move || {
            asks.store(1, SeqCst);
            // SAFETY: a lock that lives on.
            assert_eq!(unsafe { libc::pthread_mutex_lock(lock.get()) }, 0);
            // SAFETY: as above, and it is held.
            assert_eq!(unsafe { libc::pthread_mutex_unlock(lock.get()) }, 0);
        });
        yield_now();
        assert!(task.is_finished(), "it was switched out");
        holder.join().unwrap();
    });
}

#[test]
fn a_mutex_is_taken_until_a_time() {
    patched(|| {
        let lock = Shared::new(libc::PTHREAD_MUTEX_INITIALIZER);
        // SAFETY: a lock that lives on.
        assert_eq!(unsafe { libc::pthread_mutex_lock(lock.get()) }, 0);
        let takes: [fn(*mut libc::pthread_mutex_t, Duration) -> c_int; 3] = [
            |lock, delay| {
                let until = after(libc::CLOCK_REALTIME, delay);
                // SAFETY: as above, and a time.
                unsafe { pthread_mutex_timedlock(lock, &until) }
            },
            |lock, delay| {
                let until = after(libc::CLOCK_REALTIME, delay);
                // SAFETY: as above.
                unsafe { pthread_mutex_clocklock(lock, libc::CLOCK_REALTIME, &until) }
            },
            |lock, delay| {
                let until = after(libc::CLOCK_MONOTONIC, delay);
                // SAFETY: as above.
                unsafe { pthread_mutex_clocklock(lock, libc::CLOCK_MONOTONIC, &until) }
            },
        ];
        for take in takes {
            let (lock, start) = (lock.clone(), Instant::now());
            assert_eq!(yields(move || take(lock.get(), Duration::from_millis(30))), libc::ETIMEDOUT);
            assert!(start.elapsed() >= Duration::from_millis(29));
        }
        let waiters = takes.map(|take| {
            let lock = lock.clone();
            spawn(move || {
                let result = take(lock.get(), Duration::from_secs(60));
                // SAFETY: it is held.
                (result, unsafe { libc::pthread_mutex_unlock(lock.get()) })
            })
        });
        yield_now();
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        // SAFETY: it is held.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(lock.get()) }, 0);
        waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), (0, 0)));
    });
}

#[test]
fn odd_times_for_a_mutex_are_answered_as_ever() {
    patched(|| {
        let lock = Shared::new(libc::PTHREAD_MUTEX_INITIALIZER);
        for held in [false, true] {
            // SAFETY: a lock that lives on, and is held by main only.
            assert!(!held || unsafe { libc::pthread_mutex_lock(lock.get()) } == 0);
            for clock in CLOCKS {
                for until in ODD {
                    let call = |ours: bool| {
                        let lock = lock.clone();
                        move || {
                            let timed = match ours {
                                // SAFETY: as above, and a time.
                                true => unsafe { pthread_mutex_timedlock(lock.get(), &until) },
                                // SAFETY: as above.
                                false => unsafe { original::pthread_mutex_timedlock(lock.get(), &until) },
                            };
                            // SAFETY: it is this thread's now.
                            assert!(timed != 0 || unsafe { libc::pthread_mutex_unlock(lock.get()) } == 0);
                            let clocked = match ours {
                                // SAFETY: as above, and a time.
                                true => unsafe { pthread_mutex_clocklock(lock.get(), clock, &until) },
                                // SAFETY: as above.
                                false => unsafe {
                                    original::pthread_mutex_clocklock(lock.get(), clock, &until)
                                },
                            };
                            // SAFETY: as above.
                            assert!(clocked != 0 || unsafe { libc::pthread_mutex_unlock(lock.get()) } == 0);
                            (timed, clocked)
                        }
                    };
                    let expected = thread::spawn(call(false)).join().unwrap();
                    assert_eq!(spawn(call(true)).join().unwrap(), expected, "{held} {clock} {until:?}");
                }
            }
        }
    });
}

#[test]
fn a_semaphore_counts_and_wakes() {
    patched(|| {
        let semaphore = semaphore(2);
        let inside = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (semaphore, inside) = (semaphore.clone(), inside.clone());
                spawn(move || {
                    // SAFETY: a semaphore that lives on.
                    assert_eq!(unsafe { libc::sem_wait(semaphore.get()) }, 0);
                    assert!(inside.fetch_add(1, SeqCst) < 2);
                    yield_now();
                    inside.fetch_sub(1, SeqCst);
                    // SAFETY: as above.
                    assert_eq!(unsafe { libc::sem_post(semaphore.get()) }, 0);
                })
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
    });
}

/// By an OS thread, and by the handler of a signal, in which nobody may be woken.
#[test]
fn a_semaphore_is_posted_from_elsewhere() {
    static POSTED: std::sync::atomic::AtomicPtr<libc::sem_t> =
        std::sync::atomic::AtomicPtr::new(std::ptr::null_mut());
    extern "C" fn post(_: c_int) {
        // SAFETY: the semaphore lives on.
        unsafe { libc::sem_post(POSTED.load(SeqCst)) };
    }
    patched(|| {
        let semaphore = semaphore(0);
        POSTED.store(semaphore.get(), SeqCst);
        let handler: extern "C" fn(c_int) = post;
        // SAFETY: the handler does what one may do.
        unsafe { libc::signal(libc::SIGVTALRM, handler as libc::sighandler_t) };
        // SAFETY: no arguments.
        let this = unsafe { libc::pthread_self() };
        let posts: [fn(libc::pthread_t); 2] = [
            |_| post(0),
            |thread| {
                // SAFETY: that thread waits for this one.
                unsafe { libc::pthread_kill(thread, libc::SIGVTALRM) };
            },
        ];
        for post in posts {
            let semaphore = semaphore.clone();
            let waiter = spawn(move || {
                // SAFETY: a semaphore that lives on.
                unsafe { libc::sem_wait(semaphore.get()) }
            });
            yield_now();
            assert!(!waiter.is_finished());
            thread::spawn(move || post(this)).join().unwrap();
            assert_eq!(waiter.join().unwrap(), 0);
        }
        // SAFETY: no handler runs any more.
        unsafe { libc::signal(libc::SIGVTALRM, libc::SIG_DFL) };
    });
}

#[test]
fn a_wait_for_a_semaphore_ends_at_its_time_and_refuses_what_it_must() {
    patched(|| {
        let semaphore = semaphore(0);
        let waits: [fn(*mut libc::sem_t, clockid_t, &timespec) -> c_int; 4] = [
            // SAFETY: a semaphore that lives on, and a time, in each of these.
            |semaphore, _, until| unsafe { libc::sem_timedwait(semaphore, until) },
            // SAFETY: as above.
            |semaphore, _, until| unsafe { original::sem_timedwait(semaphore, until) },
            // SAFETY: as above.
            |semaphore, clock, until| unsafe { sem_clockwait(semaphore, clock, until) },
            // SAFETY: as above.
            |semaphore, clock, until| unsafe { original::sem_clockwait(semaphore, clock, until) },
        ];
        let told = |result: c_int| (result, (result == -1).then(std::io::Error::last_os_error));
        let told = move |result| {
            let (result, error) = told(result);
            (result, error.and_then(|error| error.raw_os_error()))
        };
        for pair in waits.chunks(2) {
            let (ours, unpatched) = (pair[0], pair[1]);
            for clock in [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC] {
                let (semaphore, start) = (semaphore.clone(), Instant::now());
                let result = yields(move || {
                    let realtime = ours as usize == waits[0] as usize;
                    let until =
                        after(if realtime { libc::CLOCK_REALTIME } else { clock }, Duration::from_millis(30));
                    told(ours(semaphore.get(), clock, &until))
                });
                assert_eq!(result, (-1, Some(libc::ETIMEDOUT)));
                assert!(start.elapsed() >= Duration::from_millis(29));
            }
            for value in 0..2 {
                for clock in CLOCKS {
                    for until in ODD {
                        let call = |wait: fn(*mut libc::sem_t, clockid_t, &timespec) -> c_int| {
                            let semaphore = semaphore.clone();
                            // SAFETY: as above.
                            unsafe { libc::sem_init(semaphore.get(), 0, value) };
                            move || told(wait(semaphore.get(), clock, &until))
                        };
                        let expected = thread::spawn(call(unpatched)).join().unwrap();
                        assert_eq!(spawn(call(ours)).join().unwrap(), expected, "{value} {clock} {until:?}");
                    }
                }
            }
        }
    });
}

#[test]
fn a_kill_ends_the_wait_for_a_semaphore_and_takes_nothing() {
    patched(|| {
        let semaphore = semaphore(0);
        let (told, tell) = std::sync::mpsc::channel();
        let waiter = spawn({
            let semaphore = semaphore.clone();
            move || {
                // SAFETY: a semaphore that lives on.
                told.send(unsafe { libc::sem_wait(semaphore.get()) }).unwrap();
                sleep(Duration::from_secs(1000));
            }
        });
        yield_now();
        waiter.kill();
        assert!(waiter.join().unwrap_err().is_killed());
        assert_eq!(tell.recv().unwrap(), -1);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::sem_post(semaphore.get()) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::sem_trywait(semaphore.get()) }, 0);
    });
}

#[test]
fn a_barrier_of_c_lets_all_through_and_tells_one() {
    patched(|| {
        // SAFETY: zeros are bytes of a barrier, which is initialised below.
        let barrier = Shared::new(unsafe { MaybeUninit::<libc::pthread_barrier_t>::zeroed().assume_init() });
        // SAFETY: it is there, and nobody's yet.
        assert_eq!(unsafe { libc::pthread_barrier_init(barrier.get(), std::ptr::null(), 6) }, 0);
        for _ in 0..3 {
            let wait = |barrier: Arc<Shared<libc::pthread_barrier_t>>| {
                // SAFETY: a barrier that lives on.
                unsafe { libc::pthread_barrier_wait(barrier.get()) }
            };
            let thread = thread::spawn({
                let barrier = barrier.clone();
                move || wait(barrier)
            });
            let first: Vec<_> = (0..4)
                .map(|_| {
                    let barrier = barrier.clone();
                    spawn(move || wait(barrier))
                })
                .collect();
            yield_now();
            assert!(first.iter().all(|one| !one.is_finished()));
            let last = wait(barrier.clone());
            let mut told: Vec<_> = first.into_iter().map(|one| one.join().unwrap()).collect();
            told.extend([last, thread.join().unwrap()]);
            told.sort_unstable();
            assert_eq!(told, [libc::PTHREAD_BARRIER_SERIAL_THREAD, 0, 0, 0, 0, 0]);
        }
    });
}

/// In the child of a fork that came amid the function, it has not run, and nobody is waited for.
#[test]
fn once_is_once() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn initialise() {
        thread::sleep(Duration::from_millis(20));
        CALLS.fetch_add(1, SeqCst);
    }
    patched(|| {
        let control = Shared::new(libc::PTHREAD_ONCE_INIT);
        let call = |control: Arc<Shared<c_int>>| {
            // SAFETY: a word that lives on, and a function that needs nothing.
            let result = unsafe { pthread_once(control.get(), initialise) };
            (result, CALLS.load(SeqCst))
        };
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let control = control.clone();
                spawn(move || call(control))
            })
            .collect();
        yield_now();
        // Where it runs, and nobody waits yet: a child has nobody who could end it.
        // SAFETY: the child makes few calls, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let (result, calls) = call(control.clone());
            // SAFETY: no pointers.
            unsafe { libc::_exit(if (result, calls) == (0, 1) { 0 } else { 1 }) };
        }
        let thread = thread::spawn({
            let control = control.clone();
            move || call(control)
        });
        tasks.into_iter().for_each(|task| assert_eq!(task.join().unwrap(), (0, 1)));
        assert_eq!(thread.join().unwrap(), (0, 1));
        let mut status = 0;
        // SAFETY: valid for writes.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
    });
}
