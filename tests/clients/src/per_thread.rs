//! Crates and a C library that keep something for each thread, which one line makes each green thread's.

#![expect(unsafe_code, reason = "the functions of OpenSSL")]

use std::ffi::{CStr, c_char, c_int, c_ulong, c_void};
use std::io::{self, Write};
use std::mem;
use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clients::measure::{DELAY, compare, patched};
use greenloop::{spawn, with_timeout, yield_now};

/// How many green threads of one OS thread do the same at once.
const MANY: u32 = 20;

/// Runs `work` in [`MANY`] green threads of one OS thread at once, each with its number, and returns what they return. At the barrier,
/// which is std's, each waits until all have put something where it is kept per thread.
fn at_once<T: Send + 'static>(work: impl Fn(u32, &Barrier) -> T + Send + 'static) -> Vec<T> {
    patched(move || {
        let work = Rc::new((work, Barrier::new(MANY as usize)));
        let tasks = (0..MANY).map(|number| {
            let work = work.clone();
            spawn(move || (work.0)(number, &work.1))
        });
        let tasks: Vec<_> = tasks.collect();
        tasks.into_iter().map(|task| task.join().expect("no panic")).collect()
    })
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn spans_of_tracing_are_those_of_the_green_thread() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).without_time();
    tracing::subscriber::set_global_default(subscriber.finish()).expect("the only one");
    at_once(|number, all| {
        let span = tracing::info_span!("request", number);
        let _entered = span.enter();
        all.wait();
        tracing::info!(answered = number);
    });
    let text = String::from_utf8(mem::take(&mut *lines.0.lock().unwrap())).unwrap();
    assert_eq!(text.lines().count(), MANY as usize);
    for number in 0..MANY {
        let (span, event) = (format!(" request{{number={number}}}: "), format!(" answered={number}"));
        assert!(text.lines().any(|line| line.contains(&span) && line.ends_with(&event)), "{text}");
    }
    patched(|| {
        let in_a_span = || {
            let span = tracing::info_span!("interrupted");
            let _entered = span.enter();
            thread::sleep(Duration::from_secs(1000));
            tracing::info!("in the middle");
            greenloop::sleep(Duration::from_secs(1000));
        };
        let limited = spawn(move || {
            assert!(with_timeout(Duration::from_millis(10), in_a_span).is_err());
            tracing::info!("after that");
        });
        limited.join().expect("no panic");
        let killed = spawn(in_a_span);
        yield_now();
        killed.kill();
        assert!(killed.join().unwrap_err().is_killed());
        spawn(|| tracing::info!("after that")).join().expect("no panic");
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let ends: Vec<_> = text.lines().map(|line| line.split_once("INFO ").expect("a level").1).collect();
    let expected = ["interrupted: clients::per_thread: in the middle", "clients::per_thread: after that"];
    assert_eq!(ends, [expected, expected].concat());
}

#[test]
fn so_is_the_context_of_log_mdc() {
    let seen = at_once(|number, all| {
        log_mdc::insert("request", number.to_string());
        all.wait();
        log_mdc::get("request", |value| value.map(str::to_owned))
    });
    assert_eq!(seen, (0..MANY).map(|number| Some(number.to_string())).collect::<Vec<_>>());
}

/// Of which a thread has one at a time.
#[test]
fn each_can_block_on_a_runtime_of_tokio() {
    compare(&format!("tokio, block_on of {DELAY:?}"), MANY, |_| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async { tokio::time::sleep(DELAY).await });
    });
}

/// Whose waits, with a time limit and without, stand in queues of thread-local variables.
#[test]
fn locks_of_parking_lot_serve_all() {
    let shared =
        Arc::new((parking_lot::Mutex::new(0), parking_lot::Condvar::new(), parking_lot::RwLock::new(0)));
    let counts = shared.clone();
    at_once(move |number, _| {
        let (mutex, changed, rwlock) = &*counts;
        for round in 0..4 {
            let mut guard = if (number + round) % 2 == 0 {
                mutex.lock()
            } else {
                mutex.try_lock_for(Duration::from_secs(60)).expect("long before")
            };
            let before = *guard;
            thread::yield_now();
            *guard = before + 1;
            drop(guard);
            let mut written = rwlock.write();
            let before = *written;
            thread::yield_now();
            *written = before + 1;
        }
        changed.notify_all();
        let mut guard = mutex.lock();
        while *guard < 4 * MANY {
            assert!(!changed.wait_for(&mut guard, Duration::from_secs(60)).timed_out());
        }
        assert!(mutex.try_lock_for(Duration::from_millis(1)).is_none());
    });
    assert_eq!((*shared.0.lock(), *shared.2.read()), (4 * MANY, 4 * MANY));
}

/// A pool has some of these.
struct Numbers;

impl r2d2::ManageConnection for Numbers {
    type Connection = u32;
    type Error = io::Error;
    fn connect(&self) -> io::Result<u32> {
        Ok(0)
    }
    fn is_valid(&self, _: &mut u32) -> io::Result<()> {
        Ok(())
    }
    fn has_broken(&self, _: &mut u32) -> bool {
        false
    }
}

/// What diesel's pool is too.
#[test]
fn connections_of_r2d2_are_waited_for() {
    let used = at_once({
        let pool = r2d2::Pool::builder().max_size(2).connection_timeout(Duration::from_secs(60));
        let pool = pool.build(Numbers).expect("two connections");
        move |_, _| {
            let mut connection = pool.get().expect("in time");
            *connection += 1;
            thread::yield_now();
            *connection
        }
    });
    // Both have served in turn.
    assert_eq!(used.iter().filter(|used| **used == 1).count(), 2);
    assert!(used.iter().max() >= Some(&(MANY / 2)));
}

/// It waits as for a lock, and such a wait has no error to return: the pool's own limit ends it, and the hub runs on.
#[test]
fn an_interrupted_wait_for_a_connection_goes_on_until_its_own_limit() {
    clients::page::assert_uninterrupted("r2d2");
    patched(|| {
        let pool = r2d2::Pool::builder().max_size(1).connection_timeout(DELAY).build(Numbers).expect("one");
        let taken = pool.get().expect("the one");
        let start = Instant::now();
        let other = pool.clone();
        let limited = spawn(move || with_timeout(DELAY / 10, || other.get().is_err()));
        assert_eq!(limited.join().expect("no panic"), Ok(true));
        assert!(start.elapsed() >= DELAY);
        let killed = spawn(move || pool.get().is_err());
        yield_now();
        killed.kill();
        assert!(killed.join().expect("nothing told it"));
        drop(taken);
    });
}

/// The C library's queue of what has failed, for whoever asks.
#[test]
fn errors_of_openssl_are_those_of_the_green_thread() {
    const LIB_USER: c_int = 128;
    /// Of a number, the reason.
    const REASON: c_ulong = 0x7F_FFFF;
    // SAFETY: a C string; what the library runs when it is loaded does no harm.
    let library = unsafe { libc::dlopen(c"libcrypto.so.3".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!library.is_null(), "libcrypto is missing");
    let look_up = |name: &CStr| {
        // SAFETY: a library that was loaded, and a C string.
        let found: *mut c_void = unsafe { libc::dlsym(library, name.as_ptr()) };
        assert!(!found.is_null(), "{name:?} is missing");
        found
    };
    type Set = unsafe extern "C" fn(c_int, c_int, *const c_char, ...);
    // SAFETY: this is its type, by its manual page.
    let begin = unsafe { as_function::<unsafe extern "C" fn()>(look_up(c"ERR_new")) };
    // SAFETY: as above.
    let set = unsafe { as_function::<Set>(look_up(c"ERR_set_error")) };
    // SAFETY: as above.
    let get = unsafe { as_function::<unsafe extern "C" fn() -> c_ulong>(look_up(c"ERR_get_error")) };
    let errors = at_once(move |number, all| {
        // SAFETY: takes nothing.
        unsafe { begin() };
        // SAFETY: without a text there are no further arguments.
        unsafe { set(LIB_USER, number as c_int + 1, std::ptr::null()) };
        all.wait();
        // SAFETY: takes nothing.
        let first = unsafe { get() };
        // SAFETY: takes nothing.
        let second = unsafe { get() };
        ((first & REASON) as u32, second)
    });
    assert_eq!(errors, (1..=MANY).map(|number| (number, 0)).collect::<Vec<_>>());
}

/// # Safety
///
/// `F` is the type of the function there.
#[expect(clippy::disallowed_methods, reason = "a function of a name that is found while the program runs")]
unsafe fn as_function<F: Copy>(found: *mut c_void) -> F {
    // SAFETY: the caller's contract; both are an address.
    unsafe { mem::transmute_copy(&found) }
}
