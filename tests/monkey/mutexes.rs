//! Mutexes and conditions of C's with attributes: as the C library has them, each green thread a thread.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greenloop::{Builder, JoinHandle, sleep, spawn};

use crate::shared_library::Library;
use crate::{patched, yields};

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutexes[6];
static int inside[6], most[6];

static void make(pthread_mutex_t *mutex, int type, int shared, int robust, int protocol) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, type);
    pthread_mutexattr_setpshared(&attributes, shared);
    pthread_mutexattr_setrobust(&attributes, robust);
    pthread_mutexattr_setprotocol(&attributes, protocol);
    pthread_mutex_init(mutex, &attributes);
}

int make_all(int unused) {
    make(&mutexes[0], PTHREAD_MUTEX_NORMAL, 0, 0, 0);
    make(&mutexes[1], PTHREAD_MUTEX_RECURSIVE, 0, 0, 0);
    make(&mutexes[2], PTHREAD_MUTEX_ERRORCHECK, 0, 0, 0);
    make(&mutexes[3], PTHREAD_MUTEX_ADAPTIVE_NP, 0, 0, 0);
    make(&mutexes[4], PTHREAD_MUTEX_NORMAL, 1, 1, 0);
    make(&mutexes[5], PTHREAD_MUTEX_ERRORCHECK, 0, 0, PTHREAD_PRIO_INHERIT);
    return 0;
}

/* Holds the mutex for a while, alone; those that know their holder tell it from others. */
int hold(int number) {
    pthread_mutex_t *mutex = &mutexes[number];
    if (pthread_mutex_lock(mutex) != 0)
        return -1;
    if (number == 1 && (pthread_mutex_lock(mutex) != 0 || pthread_mutex_trylock(mutex) != 0))
        return -2;
    if ((number == 2 || number == 5) && pthread_mutex_lock(mutex) != EDEADLK)
        return -3;
    if (++inside[number] > most[number])
        most[number] = inside[number];
    usleep(2000);
    inside[number]--;
    if (number == 1 && (pthread_mutex_unlock(mutex) != 0 || pthread_mutex_unlock(mutex) != 0))
        return -4;
    if (pthread_mutex_unlock(mutex) != 0)
        return -5;
    return most[number];
}

/* Of somebody else, while another one holds it. */
int meddle(int number) {
    int busy = pthread_mutex_trylock(&mutexes[number]), refused = pthread_mutex_unlock(&mutexes[number]);
    return busy == EBUSY && refused == EPERM ? 1 : -(1000 * busy + refused);
}

struct shared {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    int flag;
};

/* A condition that another process signals. */
int hear_another_process(int unused) {
    struct shared *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_condattr_t attributes;
    make(&shared->mutex, PTHREAD_MUTEX_NORMAL, 1, 0, 0);
    pthread_condattr_init(&attributes);
    pthread_condattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&shared->condition, &attributes);
    pid_t child = fork();
    if (child == 0) {
        usleep(50000);
        pthread_mutex_lock(&shared->mutex);
        shared->flag = 1;
        pthread_cond_broadcast(&shared->condition);
        pthread_mutex_unlock(&shared->mutex);
        _exit(0);
    }
    pthread_mutex_lock(&shared->mutex);
    while (!shared->flag)
        if (pthread_cond_wait(&shared->condition, &shared->mutex) != 0)
            return -1;
    pthread_mutex_unlock(&shared->mutex);
    waitpid(child, NULL, 0);
    return shared->flag;
}

/* A time of the clock that the condition was made for, and times that are none. */
int wait_until(int clock) {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, checking;
    pthread_cond_t condition;
    pthread_condattr_t attributes;
    struct timespec start, until, end;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, clock);
    pthread_cond_init(&condition, &attributes);
    make(&checking, PTHREAD_MUTEX_ERRORCHECK, 0, 0, 0);
    pthread_mutex_lock(&mutex);
    clock_gettime(clock, &start);
    until = start;
    until.tv_nsec += 20000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (pthread_cond_timedwait(&condition, &mutex, &until) != ETIMEDOUT)
        return -1;
    clock_gettime(clock, &end);
    if (end.tv_sec < until.tv_sec || (end.tv_sec == until.tv_sec && end.tv_nsec < until.tv_nsec))
        return -2;
    until.tv_nsec = 1000000000;
    if (pthread_cond_timedwait(&condition, &mutex, &until) != EINVAL)
        return -3;
    if (pthread_cond_clockwait(&condition, &mutex, CLOCK_BOOTTIME, &start) != EINVAL)
        return -4;
    if (pthread_cond_wait(&condition, &checking) != EPERM)
        return -5;
    pthread_mutex_unlock(&mutex);
    return 1;
}
"#;

fn several(isolated: bool, run: impl Fn() -> c_int + Copy + 'static) -> Vec<JoinHandle<c_int>> {
    (0..5).map(|_| Builder::new().isolated(isolated).spawn(run).unwrap()).collect()
}

#[test]
fn mutexes_of_every_kind_are_held_by_one_at_a_time() {
    let library = Library::new("c", "kinds", SOURCE);
    let (make_all, hold, meddle) =
        (library.function("make_all"), library.function("hold"), library.function("meddle"));
    // SAFETY: the library stays loaded.
    unsafe { make_all(0) };
    for isolated in [false, true] {
        for number in 0..6 {
            patched(move || {
                let most = yields(move || {
                    // SAFETY: as above.
                    let tasks = several(isolated, move || unsafe { hold(number) });
                    tasks.into_iter().map(|task| task.join().unwrap()).collect::<Vec<_>>()
                });
                assert_eq!(most, [1; 5], "kind {number}, isolated: {isolated}");
            });
        }
        for number in [2, 5] {
            patched(move || {
                // SAFETY: as above.
                let holder = spawn(move || unsafe { hold(number) });
                sleep(Duration::from_micros(500));
                // SAFETY: as above.
                let meddler = spawn(move || unsafe { meddle(number) });
                let meddled = meddler.join().unwrap();
                assert!(holder.is_finished() || meddled == 1, "kind {number}: {meddled}");
                assert_eq!(holder.join().unwrap(), 1);
            });
        }
    }
}

#[test]
fn a_condition_that_processes_share_is_heard() {
    let hear = Library::new("c", "shared", SOURCE).function("hear_another_process");
    patched(move || {
        // SAFETY: the library stays loaded.
        assert_eq!(yields(move || unsafe { hear(0) }), 1);
    });
}

#[test]
fn a_condition_has_the_clock_that_it_was_made_for() {
    let wait_until = Library::new("c", "clocks", SOURCE).function("wait_until");
    for clock in [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC] {
        patched(move || {
            // SAFETY: the library stays loaded.
            assert_eq!(yields(move || unsafe { wait_until(clock) }), 1);
        });
    }
}

/// Whoever changes it wakes nobody here, so it is looked at again and again.
#[test]
fn a_word_that_processes_share_is_waited_for() {
    patched(|| {
        let size = size_of::<AtomicU32>();
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a mapping where the kernel finds place.
        let word = unsafe { libc::mmap(std::ptr::null_mut(), size, access, flags, -1, 0) };
        assert_ne!(word, libc::MAP_FAILED);
        // SAFETY: a word of zeros, which stays.
        let word: &'static AtomicU32 = unsafe { &*word.cast() };
        // SAFETY: the child does what may be done between fork and exec.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: no pointers.
            unsafe { libc::usleep(50_000) };
            word.store(1, SeqCst);
            // SAFETY: a word, of which those who wait are to be woken.
            unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX, 0, 0, 0) };
            // SAFETY: no pointers.
            unsafe { libc::_exit(0) };
        }
        yields(|| {
            while word.load(SeqCst) == 0 {
                // SAFETY: a word, and no time limit.
                unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, 0, 0, 0, 0) };
            }
        });
        // SAFETY: its child, and nobody asks for the status.
        assert_eq!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }, child);
    });
}

unsafe extern "C" {
    fn pthread_mutex_consistent(mutex: *mut libc::pthread_mutex_t) -> c_int;
}

/// A robust mutex, in memory of its own: by its address, as C's libraries hand it about.
fn robust(protocol: c_int) -> usize {
    with_attributes(libc::PTHREAD_MUTEX_ROBUST, protocol)
}

fn with_attributes(robust: c_int, protocol: c_int) -> usize {
    let mutex = Box::into_raw(Box::new(libc::PTHREAD_MUTEX_INITIALIZER));
    make(mutex, libc::PTHREAD_PROCESS_PRIVATE, robust, protocol);
    mutex.expose_provenance()
}

/// Makes `mutex`, which is nobody's yet.
fn make(mutex: *mut libc::pthread_mutex_t, shared: c_int, robust: c_int, protocol: c_int) {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: attributes are initialised before they are used, and the mutex is valid for writes, here and below.
    assert_eq!(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), shared) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), robust) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::pthread_mutexattr_setprotocol(attributes.as_mut_ptr(), protocol) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::pthread_mutex_init(mutex, attributes.as_ptr()) }, 0);
}

fn at(mutex: usize) -> *mut libc::pthread_mutex_t {
    std::ptr::with_exposed_provenance_mut(mutex)
}

fn lock(mutex: usize) -> c_int {
    // SAFETY: a mutex that is there.
    unsafe { libc::pthread_mutex_lock(at(mutex)) }
}

fn unlock(mutex: usize) -> c_int {
    // SAFETY: as above.
    unsafe { libc::pthread_mutex_unlock(at(mutex)) }
}

fn free(mutex: usize) {
    // SAFETY: made by `with_attributes`, and nobody uses it any more.
    drop(unsafe { Box::from_raw(at(mutex)) });
}

/// Takes over from a holder that has ended, and frees the mutex.
fn take_over(mutex: usize) {
    assert_eq!(lock(mutex), libc::EOWNERDEAD);
    // SAFETY: it is held by the caller, whose it is alone.
    assert_eq!(unsafe { pthread_mutex_consistent(at(mutex)) }, 0);
    assert_eq!(unlock(mutex), 0);
    assert_eq!((lock(mutex), unlock(mutex)), (0, 0));
    free(mutex);
}

const PROTOCOLS: [c_int; 2] = [libc::PTHREAD_PRIO_NONE, libc::PTHREAD_PRIO_INHERIT];

/// Several in one's list, some of them given back, and one after another with the same variables: what is left of one must not be the
/// next one's. The main greenlet holds one in the same list as those that are not isolated.
#[test]
fn a_robust_mutex_tells_that_its_green_thread_has_ended() {
    patched(|| {
        let main_s = robust(libc::PTHREAD_PRIO_INHERIT);
        assert_eq!(lock(main_s), 0);
        for protocol in PROTOCOLS {
            for isolated in [false, true, false, true] {
                let mutexes = [(); 5].map(|()| robust(protocol));
                let holder = move || {
                    assert_eq!(mutexes.map(lock), [0; 5]);
                    assert_eq!([mutexes[1], mutexes[3]].map(unlock), [0; 2]);
                };
                Builder::new().isolated(isolated).spawn(holder).unwrap().join().unwrap();
                // By another one, by the main greenlet, and by an OS thread.
                let [first, fourth, second, fifth, third] = mutexes;
                let next = Builder::new().isolated(!isolated).spawn(move || take_over(first)).unwrap();
                next.join().unwrap();
                take_over(second);
                thread::spawn(move || take_over(third)).join().unwrap();
                for given_back in [fourth, fifth] {
                    assert_eq!(lock(given_back), 0);
                    assert_eq!(unlock(given_back), 0);
                    free(given_back);
                }
            }
        }
        assert_eq!(unlock(main_s), 0);
        free(main_s);
    });
}

#[test]
fn who_waits_for_a_robust_mutex_is_woken_when_its_green_thread_ends() {
    patched(|| {
        for (isolated, protocol) in
            [false, true].into_iter().flat_map(|is| PROTOCOLS.map(|protocol| (is, protocol)))
        {
            let mutex = robust(protocol);
            let holder = move || {
                assert_eq!(lock(mutex), 0);
                let neighbour = Builder::new().isolated(isolated).spawn(move || lock(mutex)).unwrap();
                greenloop::yield_now();
                let waiter = thread::spawn(move || lock(mutex));
                // SAFETY: its word, at the beginning.
                let word = unsafe { AtomicU32::from_ptr(at(mutex).cast()) };
                while word.load(SeqCst) & libc::FUTEX_WAITERS == 0 {
                    sleep(Duration::from_millis(1));
                }
                (neighbour, waiter)
            };
            let (neighbour, waiter) =
                Builder::new().isolated(isolated).spawn(holder).unwrap().join().unwrap();
            // Each ends with it, too: one after the other.
            let told = [waiter.join().unwrap(), neighbour.join().unwrap()];
            assert_eq!(told, [libc::EOWNERDEAD; 2], "isolated: {isolated}, protocol: {protocol}");
            take_over(mutex);
        }
    });
}

/// Another one than its holder, who has been told that the last one has ended, and has not put things right.
#[test]
fn a_robust_mutex_that_is_inconsistent_is_waited_for() {
    patched(|| {
        for isolated in [false, true] {
            let mutex = robust(libc::PTHREAD_PRIO_NONE);
            thread::spawn(move || assert_eq!(lock(mutex), 0)).join().unwrap();
            let holder = Builder::new().isolated(isolated).spawn(move || {
                assert_eq!(lock(mutex), libc::EOWNERDEAD);
                sleep(Duration::from_millis(2));
                // SAFETY: held by the caller.
                assert_eq!(unsafe { pthread_mutex_consistent(at(mutex)) }, 0);
                assert_eq!(unlock(mutex), 0);
            });
            greenloop::yield_now();
            let next = Builder::new().isolated(isolated).spawn(move || (lock(mutex), unlock(mutex))).unwrap();
            assert_eq!(next.join().unwrap(), (0, 0));
            holder.unwrap().join().unwrap();
            free(mutex);
        }
    });
}

/// It has the kernel change the priority of its holder, and remembers that by OS thread: it does not ask twice.
#[test]
fn a_mutex_with_a_ceiling_says_the_same_as_on_an_os_thread() {
    patched(|| {
        let ask = || {
            let mutex = with_attributes(libc::PTHREAD_MUTEX_STALLED, libc::PTHREAD_PRIO_PROTECT);
            let taken = lock(mutex);
            let given = if taken == 0 { unlock(mutex) } else { 0 };
            free(mutex);
            (taken, given)
        };
        let expected = thread::spawn(move || [ask(), ask()]).join().unwrap();
        let asked = [true, false]
            .map(|isolated| Builder::new().isolated(isolated).spawn(ask).unwrap().join().unwrap());
        assert_eq!(asked, expected);
    });
}

/// The kernel knows who holds such a mutex, and hands it over.
#[test]
fn a_mutex_that_inherits_priority_goes_from_hub_to_hub_and_to_os_threads() {
    const ROUNDS: usize = 20;
    patched(|| {
        for isolated in [false, true] {
            let mutex = robust(libc::PTHREAD_PRIO_INHERIT);
            let inside: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
            let hold = move |wait: fn(Duration)| {
                for _ in 0..ROUNDS {
                    assert_eq!(lock(mutex), 0);
                    assert_eq!(inside.fetch_add(1, SeqCst), 0);
                    wait(Duration::from_micros(50));
                    assert_eq!(inside.fetch_sub(1, SeqCst), 1);
                    assert_eq!(unlock(mutex), 0);
                }
            };
            let on_hub = move || {
                let hold = move || hold(sleep);
                let tasks = [(); 3].map(|()| Builder::new().isolated(isolated).spawn(hold).unwrap());
                tasks.into_iter().for_each(|task| task.join().unwrap());
            };
            let plain = [(); 2].map(|()| thread::spawn(move || hold(thread::sleep)));
            let other = thread::spawn(on_hub);
            on_hub();
            other.join().unwrap();
            plain.into_iter().for_each(|thread| thread.join().unwrap());
            free(mutex);
        }
    });
}

/// As with OS threads. That takes half a second: a mutex that is given back before may be an allocator's.
#[test]
fn who_has_a_mutex_may_wait_for_another_green_thread_of_the_hub_that_asks_for_it() {
    patched(|| {
        let mutex = with_attributes(libc::PTHREAD_MUTEX_STALLED, libc::PTHREAD_PRIO_NONE);
        let ((held, holds), (goes_on, go_on)) = (mpsc::channel(), mpsc::channel());
        let holder = thread::spawn(move || {
            assert_eq!(lock(mutex), 0);
            held.send(()).unwrap();
            go_on.recv().unwrap();
            assert_eq!(unlock(mutex), 0);
        });
        holds.recv().unwrap();
        let asks = Builder::new().isolated(true).spawn(move || (lock(mutex), unlock(mutex))).unwrap();
        let next = spawn(move || goes_on.send(()).unwrap());
        assert_eq!(asks.join().unwrap(), (0, 0));
        next.join().unwrap();
        holder.join().unwrap();
        free(mutex);
    });
}

/// By the kernel, which knows OS threads.
#[test]
fn a_robust_mutex_of_processes_tells_that_the_process_has_ended() {
    patched(|| {
        for (isolated, protocol) in [(true, PROTOCOLS[0]), (false, PROTOCOLS[0]), (true, PROTOCOLS[1])] {
            let (access, flags) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
            let size = size_of::<libc::pthread_mutex_t>();
            // SAFETY: a mapping where the kernel finds place.
            let place = unsafe { libc::mmap(std::ptr::null_mut(), size, access, flags, -1, 0) };
            assert_ne!(place, libc::MAP_FAILED);
            let mutex = place.expose_provenance();
            make(at(mutex), libc::PTHREAD_PROCESS_SHARED, libc::PTHREAD_MUTEX_ROBUST, protocol);
            // SAFETY: the child locks and ends.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let holder = Builder::new().isolated(isolated).spawn(move || {
                    lock(mutex);
                    sleep(Duration::MAX);
                });
                greenloop::yield_now();
                drop(holder);
                // SAFETY: no pointers.
                unsafe { libc::_exit(0) };
            }
            // SAFETY: its child, and nobody asks for the status.
            assert_eq!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }, child);
            // SAFETY: a mutex that is there.
            let told = unsafe { libc::pthread_mutex_trylock(at(mutex)) };
            assert_eq!(told, libc::EOWNERDEAD, "isolated: {isolated}, protocol: {protocol}");
            assert_eq!(unlock(mutex), 0);
            // SAFETY: mapped above, and nobody uses it any more.
            assert_eq!(unsafe { libc::munmap(place, size) }, 0);
        }
    });
}
