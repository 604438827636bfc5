//! C's threads: their numbers, attributes and ends.

use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenloop::{sleep, yield_now};
use libc::{c_char, c_int, clockid_t, pthread_attr_t, pthread_key_t, pthread_t, timespec};

use crate::shared_library::Library;
use crate::{os_thread, patched};

unsafe extern "C" {
    fn pthread_tryjoin_np(thread: pthread_t, result: *mut *mut c_void) -> c_int;
    fn pthread_timedjoin_np(thread: pthread_t, result: *mut *mut c_void, until: *const timespec) -> c_int;
    fn pthread_clockjoin_np(
        thread: pthread_t,
        result: *mut *mut c_void,
        clock: clockid_t,
        until: *const timespec,
    ) -> c_int;
    fn pthread_attr_setdetachstate(attributes: *mut pthread_attr_t, state: c_int) -> c_int;
    fn pthread_attr_getdetachstate(attributes: *const pthread_attr_t, state: *mut c_int) -> c_int;
    fn pthread_attr_setinheritsched(attributes: *mut pthread_attr_t, inherit: c_int) -> c_int;
    fn pthread_attr_setaffinity_np(
        attributes: *mut pthread_attr_t,
        size: usize,
        processors: *const libc::cpu_set_t,
    ) -> c_int;
    fn pthread_attr_setsigmask_np(attributes: *mut pthread_attr_t, mask: *const libc::sigset_t) -> c_int;
    fn pthread_attr_getstack(
        attributes: *const pthread_attr_t,
        lowest: *mut *mut c_void,
        length: *mut usize,
    ) -> c_int;
    fn pthread_cancel(thread: pthread_t) -> c_int;
    fn pthread_getaffinity_np(thread: pthread_t, size: usize, processors: *mut libc::cpu_set_t) -> c_int;
    fn pthread_getschedparam(
        thread: pthread_t,
        policy: *mut c_int,
        parameters: *mut libc::sched_param,
    ) -> c_int;
    fn pthread_equal(one: pthread_t, other: pthread_t) -> c_int;
    fn pthread_exit(value: *mut c_void) -> !;
}

type Life = extern "C" fn(*mut c_void) -> *mut c_void;

fn own_number() -> pthread_t {
    // SAFETY: takes nothing.
    unsafe { libc::pthread_self() }
}

fn value(number: usize) -> *mut c_void {
    ptr::without_provenance_mut(number)
}

/// A thread that runs `life` with a number.
fn begin_with(attributes: *const pthread_attr_t, life: Life, number: usize) -> pthread_t {
    let mut thread = 0;
    // SAFETY: a place that is valid for writes, null or initialised attributes, and a function that takes any argument.
    assert_eq!(unsafe { libc::pthread_create(&mut thread, attributes, life, value(number)) }, 0);
    thread
}

fn begin(life: Life, number: usize) -> pthread_t {
    begin_with(ptr::null(), life, number)
}

/// What pthread_join says, and the value.
fn join(thread: pthread_t) -> (c_int, usize) {
    let mut result = value(0);
    // SAFETY: a place that is valid for writes.
    let error = unsafe { libc::pthread_join(thread, &mut result) };
    (error, result.addr())
}

fn detach(thread: pthread_t) -> c_int {
    // SAFETY: takes no pointers.
    unsafe { libc::pthread_detach(thread) }
}

fn with_attributes<R>(use_them: impl FnOnce(*mut pthread_attr_t) -> R) -> R {
    let mut attributes = MaybeUninit::<pthread_attr_t>::uninit();
    // SAFETY: valid for writes.
    assert_eq!(unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) }, 0);
    let result = use_them(attributes.as_mut_ptr());
    // SAFETY: initialised above.
    assert_eq!(unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) }, 0);
    result
}

extern "C" fn one_more(number: *mut c_void) -> *mut c_void {
    value(number.addr() + 1)
}

extern "C" fn sleeps(number: *mut c_void) -> *mut c_void {
    std::thread::sleep(Duration::from_millis(number.addr() as u64));
    number
}

/// A thread that lives until `gate` has a number in it, which is what it returns.
fn begin_behind(gate: &'static AtomicUsize) -> pthread_t {
    extern "C" fn waits(gate: *mut c_void) -> *mut c_void {
        // SAFETY: the reference below.
        let gate = unsafe { &*gate.cast::<AtomicUsize>() };
        while gate.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        value(gate.load(Ordering::SeqCst))
    }
    let mut thread = 0;
    let gate = ptr::from_ref(gate).cast_mut().cast();
    // SAFETY: a place that is valid for writes, no attributes, and a function with what it is to be given.
    assert_eq!(unsafe { libc::pthread_create(&mut thread, ptr::null(), waits, gate) }, 0);
    thread
}

extern "C" fn tells_os_thread(_: *mut c_void) -> *mut c_void {
    value(os_thread() as usize)
}

#[test]
fn values_and_numbers() {
    extern "C" fn tells_itself(_: *mut c_void) -> *mut c_void {
        yield_now();
        value(own_number() as usize)
    }
    patched(|| {
        assert_eq!(join(begin(one_more, 41)), (0, 42));
        let threads = [(); 3].map(|()| begin(tells_itself, 0));
        // SAFETY: takes no pointers.
        let same = [threads[0], threads[1]].map(|other| unsafe { pthread_equal(threads[0], other) });
        assert!(same[0] != 0 && same[1] == 0);
        for thread in threads {
            assert_eq!(join(thread), (0, thread as usize));
        }
        assert_eq!(join(begin(tells_os_thread, 0)), (0, os_thread() as usize));
        // The value may be left.
        // SAFETY: null is allowed.
        assert_eq!(unsafe { libc::pthread_join(begin(one_more, 0), ptr::null_mut()) }, 0);
    });
}

#[test]
fn what_a_join_refuses() {
    extern "C" fn joins(thread: *mut c_void) -> *mut c_void {
        value(join(thread.addr() as pthread_t).0 as usize)
    }
    extern "C" fn joins_itself(_: *mut c_void) -> *mut c_void {
        value(join(own_number()).0 as usize)
    }
    /// Joins the one whose number it is told, later.
    extern "C" fn joins_back(_: *mut c_void) -> *mut c_void {
        while OTHER.load(Ordering::SeqCst) == 0 {
            yield_now();
        }
        value(join(OTHER.load(Ordering::SeqCst) as pthread_t).0 as usize)
    }
    static OTHER: AtomicUsize = AtomicUsize::new(0);
    patched(|| {
        assert_eq!(join(begin(joins_itself, 0)), (0, libc::EDEADLK as usize));
        // Two at once: the second one is refused, and the first has it.
        let awaited = begin(sleeps, 5);
        let first = begin(joins, awaited as usize);
        yield_now();
        assert_eq!(join(awaited).0, libc::EINVAL);
        assert_eq!(join(first), (0, 0));
        // It is gone.
        assert_eq!(join(awaited).0, libc::EINVAL);
        // Two that wait for each other.
        let one = begin(joins_back, 0);
        let other = begin(joins, one as usize);
        yield_now();
        OTHER.store(other as usize, Ordering::SeqCst);
        assert_eq!(join(other), (0, 0));
        // `one`, joined by `other`, had been refused.
    });
}

#[test]
fn joins_with_a_limit() {
    fn after(clock: clockid_t, delay: Duration) -> timespec {
        let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: valid for writes.
        assert_eq!(unsafe { libc::clock_gettime(clock, &mut now) }, 0);
        let nanoseconds = now.tv_nsec + i64::from(delay.subsec_nanos());
        let seconds = now.tv_sec + delay.as_secs() as i64;
        timespec { tv_sec: seconds + nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000 }
    }
    static GATE: AtomicUsize = AtomicUsize::new(0);
    patched(|| {
        let thread = begin_behind(&GATE);
        let mut result = value(0);
        // SAFETY: places that are valid for writes, and times that are valid for reads, here and below.
        assert_eq!(unsafe { pthread_tryjoin_np(thread, &mut result) }, libc::EBUSY);
        let soon = after(libc::CLOCK_REALTIME, Duration::from_millis(1));
        // SAFETY: as above.
        assert_eq!(unsafe { pthread_timedjoin_np(thread, &mut result, &soon) }, libc::ETIMEDOUT);
        let soon = after(libc::CLOCK_MONOTONIC, Duration::from_millis(1));
        let monotonic = libc::CLOCK_MONOTONIC;
        // SAFETY: as above.
        assert_eq!(unsafe { pthread_clockjoin_np(thread, &mut result, monotonic, &soon) }, libc::ETIMEDOUT);
        let invalid = timespec { tv_sec: 1, tv_nsec: 1_000_000_000 };
        // SAFETY: as above.
        assert_eq!(unsafe { pthread_timedjoin_np(thread, &mut result, &invalid) }, libc::EINVAL);
        GATE.store(20, Ordering::SeqCst);
        let late = after(libc::CLOCK_REALTIME, Duration::from_secs(60));
        // SAFETY: as above.
        assert_eq!(unsafe { pthread_timedjoin_np(thread, &mut result, &late) }, 0);
        assert_eq!(result.addr(), 20);
        let thread = begin(one_more, 1);
        yield_now();
        // SAFETY: as above.
        assert_eq!(unsafe { pthread_tryjoin_np(thread, &mut result) }, 0);
        assert_eq!(result.addr(), 2);
        let thread = begin(one_more, 2);
        // SAFETY: as above; no time is no limit.
        assert_eq!(unsafe { pthread_timedjoin_np(thread, &mut result, ptr::null()) }, 0);
        assert_eq!(result.addr(), 3);
    });
}

/// Lives until the hub's others have run.
#[test]
fn an_os_thread_is_joined_without_a_limit_by_what_has_one() {
    static GATES: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
    patched(|| {
        for (number, gate) in (1..).zip(&GATES) {
            let thread = greenloop::threadpool::unblock(move || begin_behind(gate));
            let go = greenloop::spawn(move || gate.store(number, Ordering::SeqCst));
            let mut result = value(0);
            let joined = match number {
                // SAFETY: a place that is valid for writes; no time is no limit.
                1 => unsafe { pthread_timedjoin_np(thread, &mut result, ptr::null()) },
                // SAFETY: as above.
                _ => unsafe { pthread_clockjoin_np(thread, &mut result, libc::CLOCK_MONOTONIC, ptr::null()) },
            };
            assert_eq!((joined, result.addr()), (0, number));
            go.join().unwrap();
        }
    });
}

#[test]
fn an_os_thread_is_joined_with_a_limit_too() {
    static GATE: AtomicUsize = AtomicUsize::new(0);
    patched(|| {
        let thread = greenloop::threadpool::unblock(|| begin_behind(&GATE));
        let past = timespec { tv_sec: 1, tv_nsec: 0 };
        let mut result = value(0);
        // SAFETY: a place that is valid for writes, and a time that is valid for reads.
        assert_eq!(unsafe { pthread_timedjoin_np(thread, &mut result, &past) }, libc::ETIMEDOUT);
        // It ends by what another one of the hub does while it is joined.
        let _others = greenloop::spawn(|| GATE.store(300, Ordering::SeqCst));
        assert_eq!(join(thread), (0, 300));
    });
}

#[test]
fn detached_ones() {
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn counts(_: *mut c_void) -> *mut c_void {
        std::thread::sleep(Duration::from_millis(1));
        ENDED.fetch_add(1, Ordering::SeqCst);
        value(0)
    }
    patched(|| {
        // While it runs, when it has ended, and from its beginning.
        let running = begin(counts, 0);
        assert_eq!(detach(running), 0);
        assert_eq!(detach(running), libc::EINVAL);
        assert_eq!(join(running).0, libc::EINVAL);
        let ended = begin(counts, 0);
        with_attributes(|attributes| {
            // SAFETY: initialised attributes.
            assert_eq!(unsafe { pthread_attr_setdetachstate(attributes, 1) }, 0);
            let detached = begin_with(attributes, counts, 0);
            assert_eq!(join(detached).0, libc::EINVAL);
            assert_eq!(detach(detached), libc::EINVAL);
        });
        while ENDED.load(Ordering::SeqCst) < 3 {
            sleep(Duration::from_millis(1));
        }
        yield_now();
        assert_eq!(detach(ended), 0);
        assert_eq!(detach(ended), libc::EINVAL);
    });
}

#[test]
fn pthread_exit_runs_what_is_to_be_cleaned_up() {
    /// `struct _pthread_cleanup_buffer`.
    static CLEANED: AtomicUsize = AtomicUsize::new(0);
    static KEY: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn destroy(kept: *mut c_void) {
        std::thread::sleep(Duration::from_millis(1));
        CLEANED.fetch_add(kept.addr(), Ordering::SeqCst);
    }
    extern "C-unwind" fn exits(number: *mut c_void) -> *mut c_void {
        let key = KEY.load(Ordering::SeqCst) as pthread_key_t;
        // SAFETY: a key that was made.
        assert_eq!(unsafe { libc::pthread_setspecific(key, value(10)) }, 0);
        yield_now();
        deeper(number)
    }
    #[inline(never)]
    extern "C-unwind" fn deeper(number: *mut c_void) -> ! {
        // SAFETY: no frame of this thread has anything to drop.
        unsafe { pthread_exit(value(number.addr() * 2)) }
    }
    #[expect(clippy::disallowed_methods, reason = "one that may unwind, as pthread_create takes it")]
    // SAFETY: they differ in the ABI's name alone.
    let exits =
        unsafe { std::mem::transmute::<extern "C-unwind" fn(*mut c_void) -> *mut c_void, Life>(exits) };
    patched(move || {
        let mut key: pthread_key_t = 0;
        // SAFETY: a place that is valid for writes.
        assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(destroy)) }, 0);
        KEY.store(key as usize, Ordering::SeqCst);
        for round in 1..=20 {
            assert_eq!(join(begin(exits, 21)), (0, 42));
            assert_eq!(CLEANED.load(Ordering::SeqCst), 10 * round);
        }
        // On the same blocks as ever.
        assert_eq!(join(begin(one_more, 1)), (0, 2));
    });
}

#[test]
fn names() {
    extern "C" fn names_itself(_: *mut c_void) -> *mut c_void {
        assert_eq!(name_of(own_number()), NAMED_BEFORE);
        assert_eq!(rename(own_number(), c"its own"), 0);
        yield_now();
        assert_eq!(name_of(own_number()), "its own");
        yield_now();
        value(0)
    }
    const NAMED_BEFORE: &str = "by its maker";
    fn rename(thread: pthread_t, name: &CStr) -> c_int {
        // SAFETY: a C string.
        unsafe { libc::pthread_setname_np(thread, name.as_ptr()) }
    }
    fn name_of(thread: pthread_t) -> String {
        let mut name: [c_char; 16] = [1; 16];
        // SAFETY: valid for writes of so many bytes.
        assert_eq!(unsafe { libc::pthread_getname_np(thread, name.as_mut_ptr(), name.len()) }, 0);
        // SAFETY: the call has written a C string.
        unsafe { CStr::from_ptr(name.as_ptr()) }.to_str().unwrap().to_owned()
    }
    patched(|| {
        let own = name_of(own_number());
        let thread = begin(names_itself, 0);
        assert_eq!(name_of(thread), own, "as the one that has made it");
        assert_eq!(rename(thread, c"one that is too long"), libc::ERANGE);
        assert_eq!(rename(thread, &std::ffi::CString::new(NAMED_BEFORE).unwrap()), 0);
        yield_now();
        assert_eq!(name_of(thread), "its own");
        let mut short: [c_char; 15] = [0; 15];
        // SAFETY: valid for writes of so many bytes.
        let error = unsafe { libc::pthread_getname_np(thread, short.as_mut_ptr(), short.len()) };
        assert_eq!(error, libc::ERANGE);
        assert_eq!(join(thread).0, 0);
        assert_eq!(name_of(own_number()), own, "the OS thread was renamed");
    });
}

#[test]
fn the_stack_that_it_is_told_is_its_own() {
    extern "C" fn looks(thread: *mut c_void) -> *mut c_void {
        let here = (&raw const thread).addr();
        let mut attributes = MaybeUninit::<pthread_attr_t>::zeroed();
        // SAFETY: valid for writes.
        assert_eq!(unsafe { libc::pthread_getattr_np(own_number(), attributes.as_mut_ptr()) }, 0);
        let (mut lowest, mut length, mut guard, mut detached) = (value(0), 0, 0, 7);
        let attributes = attributes.as_mut_ptr();
        // SAFETY: initialised by the call, and places that are valid for writes, here and below.
        assert_eq!(unsafe { pthread_attr_getstack(attributes, &mut lowest, &mut length) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_attr_getguardsize(attributes, &mut guard) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { pthread_attr_getdetachstate(attributes, &mut detached) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_attr_destroy(attributes) }, 0);
        assert!((lowest.addr()..lowest.addr() + length).contains(&here));
        assert!(guard > 0 && detached == 0);
        value(length)
    }
    patched(|| {
        let length = with_attributes(|attributes| {
            // SAFETY: initialised attributes.
            assert_eq!(unsafe { libc::pthread_attr_setstacksize(attributes, 1 << 20) }, 0);
            join(begin_with(attributes, looks, 0)).1
        });
        assert!(((1 << 20) - 4096..=1 << 20).contains(&length), "{length}");
    });
}

/// What only an OS thread can have, it gets.
#[test]
fn what_needs_an_os_thread_is_one() {
    fn runs_elsewhere(set: impl FnOnce(*mut pthread_attr_t) -> c_int) {
        let (error, thread) = with_attributes(|attributes| {
            assert_eq!(set(attributes), 0);
            join(begin_with(attributes, tells_os_thread, 0))
        });
        assert_eq!(error, 0);
        assert_ne!(thread, os_thread() as usize);
    }
    patched(|| {
        let here = with_attributes(|attributes| join(begin_with(attributes, tells_os_thread, 0)).1);
        assert_eq!(here, os_thread() as usize);
        let mut processors = MaybeUninit::<libc::cpu_set_t>::zeroed();
        let size = size_of::<libc::cpu_set_t>();
        // SAFETY: valid for writes.
        assert_eq!(unsafe { libc::sched_getaffinity(0, size, processors.as_mut_ptr()) }, 0);
        // SAFETY: initialised attributes in each, and valid places.
        runs_elsewhere(|attributes| unsafe {
            pthread_attr_setaffinity_np(attributes, size, processors.as_ptr())
        });
        // PTHREAD_EXPLICIT_SCHED.
        // SAFETY: as above.
        runs_elsewhere(|attributes| unsafe { pthread_attr_setinheritsched(attributes, 1) });
        let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: valid for writes.
        unsafe { libc::sigemptyset(mask.as_mut_ptr()) };
        // SAFETY: as above.
        runs_elsewhere(|attributes| unsafe { pthread_attr_setsigmask_np(attributes, mask.as_ptr()) });
        let mut stack = vec![0_u128; 16 * 1024];
        let stack = stack.as_mut_ptr();
        runs_elsewhere(|attributes| {
            // SAFETY: as above: memory that outlives the thread.
            unsafe { libc::pthread_attr_setstack(attributes, stack.cast(), 256 * 1024) }
        });
    });
}

#[test]
fn what_asks_for_an_os_thread_is_told() {
    patched(|| {
        let thread = begin(sleeps, 5);
        yield_now();
        let mut processors = MaybeUninit::<libc::cpu_set_t>::zeroed();
        let size = size_of::<libc::cpu_set_t>();
        // SAFETY: places that are valid for writes, here and below.
        assert_eq!(unsafe { pthread_getaffinity_np(thread, size, processors.as_mut_ptr()) }, libc::ESRCH);
        let (mut policy, mut parameters) = (0, MaybeUninit::<libc::sched_param>::zeroed());
        // SAFETY: as above.
        let error = unsafe { pthread_getschedparam(thread, &mut policy, parameters.as_mut_ptr()) };
        assert_ne!(error, 0);
        // SAFETY: take no pointers.
        let told = unsafe { [0, libc::SIGUSR1].map(|signal| libc::pthread_kill(thread, signal)) };
        assert_eq!(told, [0, libc::ESRCH]);
        assert_eq!(join(thread), (0, 5));
    });
}

#[test]
fn a_signal_to_itself_reaches_it() {
    static CAME: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: c_int) {
        CAME.fetch_add(1, Ordering::SeqCst);
    }
    extern "C" fn signals_itself(_: *mut c_void) -> *mut c_void {
        // SAFETY: takes no pointers.
        value(unsafe { libc::pthread_kill(own_number(), libc::SIGUSR2) } as usize)
    }
    patched(|| {
        let handler: extern "C" fn(c_int) = count;
        // SAFETY: a function that may run at any time.
        unsafe { libc::signal(libc::SIGUSR2, handler as *const () as libc::sighandler_t) };
        assert_eq!(join(begin(signals_itself, 0)), (0, 0));
        assert_eq!(CAME.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_cancelled_one_gets_its_calls_refused() {
    extern "C" fn reads(fd: *mut c_void) -> *mut c_void {
        let mut byte = 0_u8;
        // SAFETY: valid for writes of a byte.
        let result = unsafe { libc::read(fd.addr() as c_int, (&raw mut byte).cast(), 1) };
        assert_eq!(result, -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ECANCELED));
        value(1)
    }
    const CANCELED: usize = usize::MAX;
    fn cancel(thread: pthread_t) -> c_int {
        // SAFETY: takes no pointers.
        unsafe { pthread_cancel(thread) }
    }
    patched(|| {
        let (reader, writer) = std::io::pipe().unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&reader) as usize;
        let waiting = begin(reads, fd);
        yield_now();
        assert_eq!(cancel(waiting), 0);
        assert_eq!(join(waiting), (0, CANCELED));
        let unstarted = begin(reads, fd);
        assert_eq!(cancel(unstarted), 0);
        assert_eq!(join(unstarted), (0, CANCELED));
        let ended = begin(one_more, 0);
        yield_now();
        assert_eq!(cancel(ended), 0);
        assert_eq!(join(ended), (0, 1));
        drop(writer);
    });
}

/// In C, where the macros are that push and pop handlers.
#[test]
fn a_cancelled_one_that_waits_for_a_condition_cleans_up_and_ends() {
    const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <time.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int waiting, done, cleaned;

static void clean_up(void *held) {
    cleaned++;
    pthread_mutex_unlock(held);
}

static void *wait_until_done(void *how) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    if (how == (void *)2)
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(clean_up, &mutex);
    waiting = 1;
    pthread_cond_broadcast(&condition);
    while (!done)
        how == (void *)1 ? pthread_cond_timedwait(&condition, &mutex, &until) : pthread_cond_wait(&condition, &mutex);
    pthread_cleanup_pop(1);
    return NULL;
}

/* By pthread_cond_wait, by pthread_cond_timedwait, and with a cancellation that is forbidden, and so waits. */
int cancel(int how) {
    pthread_t thread;
    void *value;
    waiting = done = cleaned = 0;
    if (pthread_create(&thread, NULL, wait_until_done, (void *)(long)how) != 0)
        return -1;
    pthread_mutex_lock(&mutex);
    while (!waiting)
        pthread_cond_wait(&condition, &mutex);
    pthread_mutex_unlock(&mutex);
    if (pthread_cancel(thread) != 0)
        return -2;
    if (how == 2) {
        if (pthread_tryjoin_np(thread, &value) != EBUSY)
            return -3;
        pthread_mutex_lock(&mutex);
        done = 1;
        pthread_cond_broadcast(&condition);
        pthread_mutex_unlock(&mutex);
    }
    if (pthread_join(thread, &value) != 0 || pthread_mutex_trylock(&mutex) != 0)
        return -4;
    pthread_mutex_unlock(&mutex);
    return 10 * cleaned + (value == PTHREAD_CANCELED);
}
"#;
    let cancel = Library::new("c", "cancel", SOURCE).function("cancel");
    // SAFETY: the library stays loaded.
    let cancel = move || [0, 2, 1, 0].map(|how| unsafe { cancel(how) });
    assert_eq!(std::thread::spawn(cancel).join().unwrap(), [11, 10, 11, 11]);
    patched(move || assert_eq!(cancel(), [11, 10, 11, 11]));
}
