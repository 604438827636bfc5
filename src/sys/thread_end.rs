//! The end of a thread as its variables see it: their destructors run, in the C library's order, and it is as at the beginning.
//!
//! First come those that were registered, last registered first, C++'s and Rust's alike; then those of the values that are kept
//! under pthread keys, in up to four rounds. The C library does not say which keys there are, so `monkey` notes them here when
//! they are made.

use std::ffi::{c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::destructors::List;

/// Under which each thread keeps a value: `pthread_key_t`, and C11's `tss_t`.
pub(crate) type Key = libc::pthread_key_t;

/// A destructor of what is kept under a key.
pub(crate) type Destructor = unsafe extern "C" fn(*mut c_void);

/// PTHREAD_KEYS_MAX.
const KEYS: usize = 1024;

/// PTHREAD_DESTRUCTOR_ITERATIONS.
const ROUNDS: usize = 4;

/// For a key that is none.
const NO_KEY: usize = 0;
/// For a key whose values have no destructor.
const WITHOUT: usize = 1;

/// By key: the destructor's address, or one of the above.
static DESTRUCTORS: [AtomicUsize; KEYS] = [const { AtomicUsize::new(NO_KEY) }; KEYS];

/// No key is as large.
static LIMIT: AtomicUsize = AtomicUsize::new(0);

/// The C library's `__call_tls_dtors`, once it was found.
static REGISTERED: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// A key has been made.
pub(crate) fn note_key(key: Key, destructor: Option<Destructor>) {
    let Some(noted) = DESTRUCTORS.get(key as usize) else { return };
    // Relaxed: who keeps a value under the key knows of it by other means, which order that.
    noted.store(destructor.map_or(WITHOUT, |destructor| destructor as usize), Ordering::Relaxed);
    // Relaxed: as above.
    LIMIT.fetch_max(key as usize + 1, Ordering::Relaxed);
}

/// Whether values may be kept beyond the thread's record, in memory that only its end frees: glibc has room for 32 keys there.
pub(crate) fn may_keep_beyond_record() -> bool {
    const IN_RECORD: usize = 32;
    // Relaxed: as in `note_key`.
    LIMIT.load(Ordering::Relaxed) > IN_RECORD
}

/// The key is none any more.
pub(crate) fn forget_key(key: Key) {
    if let Some(noted) = DESTRUCTORS.get(key as usize) {
        // Relaxed: as in `note_key`.
        noted.store(NO_KEY, Ordering::Relaxed);
    }
}

/// Whether the registered destructors of the calling thread, which was made to find that out, can be run before it ends.
pub(crate) fn can_be_brought_about() -> bool {
    static RUN: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: *mut c_void) {
        // Relaxed: one thread only.
        RUN.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: a C string.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__call_tls_dtors".as_ptr()) };
    if found.is_null() {
        return false;
    }
    // Relaxed: whoever reads it has got a block since, which orders that.
    REGISTERED.store(found, Ordering::Relaxed);
    // Relaxed: as in `count`.
    let before = RUN.load(Ordering::Relaxed);
    List::of_this_thread().register(count);
    run_registered();
    run_registered();
    // Relaxed: as in `count`.
    RUN.load(Ordering::Relaxed) == before + 1
}

/// Destroys the thread-local variables that the caller runs with: their destructors run here, and may wait if those can.
pub(crate) fn destroy_variables() {
    for _ in 0..ROUNDS {
        // Each time: what the destructors of keys register must not be left for the next who has these variables.
        run_registered();
        if !run_those_of_keys() {
            break;
        }
    }
    run_registered();
    clear_keys();
    clear_library();
}

#[expect(clippy::disallowed_methods, reason = "a function of a name that is found while the program runs")]
fn run_registered() {
    // Relaxed: see `can_be_brought_about`, without which nobody comes here.
    let function = REGISTERED.load(Ordering::Relaxed);
    if !function.is_null() {
        // SAFETY: the C library's function of this name takes and returns nothing, which was tried.
        let function: unsafe extern "C" fn() = unsafe { mem::transmute(function) };
        // SAFETY: as above. It runs what was registered for the calling thread, as at its end.
        unsafe { function() };
    }
}

/// The keys with a value, as the calling thread sees them, and the noted destructor.
fn values() -> impl Iterator<Item = (Key, *mut c_void, usize)> {
    // Relaxed: see `note_key`.
    let noted = DESTRUCTORS.iter().take(LIMIT.load(Ordering::Relaxed)).enumerate();
    noted.filter_map(|(key, noted)| {
        // Relaxed: see `note_key`.
        let noted = noted.load(Ordering::Relaxed);
        if noted == NO_KEY {
            return None;
        }
        let key = key as Key;
        // SAFETY: a key; one that is deleted meanwhile has null.
        let value = unsafe { libc::pthread_getspecific(key) };
        (!value.is_null()).then_some((key, value, noted))
    })
}

fn clear_key(key: Key) {
    // SAFETY: a key, or one that was deleted meanwhile, which is refused. Null needs no memory.
    unsafe { libc::pthread_setspecific(key, ptr::null()) };
}

/// One round; whether a destructor has run.
#[expect(clippy::disallowed_methods, reason = "the address of a function that was given as one")]
fn run_those_of_keys() -> bool {
    let mut any = false;
    for (key, value, destructor) in values() {
        if destructor == WITHOUT {
            continue;
        }
        any = true;
        clear_key(key);
        // SAFETY: noted from a function of this type.
        let destructor: Destructor = unsafe { mem::transmute(destructor) };
        // SAFETY: who made the key has said that it may be called with what is kept there, as the thread ends.
        unsafe { destructor(value) };
    }
    any
}

fn clear_keys() {
    values().for_each(|(key, ..)| clear_key(key));
}

/// What the C library keeps for a thread and a program can change, as it is at a thread's beginning.
fn clear_library() {
    unsafe extern "C" {
        fn dlerror() -> *mut libc::c_char;
    }
    // LC_GLOBAL_LOCALE, with which every thread begins.
    let global = ptr::without_provenance_mut(usize::MAX);
    // SAFETY: null only asks.
    if unsafe { libc::uselocale(ptr::null_mut()) } != global {
        // SAFETY: one that there is.
        unsafe { libc::uselocale(global) };
    }
    // An error that nobody has asked for.
    // SAFETY: takes nothing.
    while !unsafe { dlerror() }.is_null() {}
    // SAFETY: takes nothing, and returns a valid pointer to errno.
    let errno: *mut c_int = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    unsafe { *errno = 0 };
}
