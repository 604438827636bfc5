//! What C does once, and what all threads of a number do together: `pthread_once` and `pthread_barrier_wait`.

use std::cell::Cell;
use std::sync::atomic::{AtomicI32, Ordering};

use libc::{c_int, pthread_barrier_t, pthread_once_t};

use super::call::Call;
use super::contended::until_taken;
use super::futex::wake;
use super::off_hub::apart;
use super::parts::{Parts, patched};
use crate::hub::no_unwind::is_at_work;
use crate::sys::errno::Kept;
use crate::sys::original;

/// What the C library keeps in the word: whether the function runs, beside a number that a fork raises, and whether it has run.
const RUNNING: pthread_once_t = 1;
const DONE: pthread_once_t = 2;

thread_local! {
    static PROBED: Cell<pthread_once_t> = const { Cell::new(0) };
    static PROBE: Cell<pthread_once_t> = const { Cell::new(0) };
}

/// What the C library writes into the word while the function runs. The child of a fork writes another value, so that it does not wait
/// for a function that ran in the parent.
fn running() -> pthread_once_t {
    unsafe extern "C-unwind" fn look() {
        PROBED.set(PROBE.get());
    }
    PROBE.set(libc::PTHREAD_ONCE_INIT);
    // SAFETY: a word that is initialised and the calling thread's own, and a function that only reads it.
    unsafe { original::pthread_once(PROBE.with(|word| word.as_ptr()), Some(look)) };
    PROBED.get()
}

/// Wakes who waits for the end of the function, also if an exception of C++ ends it.
struct Ending(usize);

impl Drop for Ending {
    fn drop(&mut self) {
        if patched().contains(Parts::THREADS) && !is_at_work() {
            wake(self.0, usize::MAX);
        }
    }
}

/// Waits while somebody else runs the function. Two who find at the same time that nobody does are the C library's affair: one of
/// them stops its OS thread until the other, on another one, has run it.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_once(
    control: *mut pthread_once_t,
    initialise: Option<unsafe extern "C-unwind" fn()>,
) -> c_int {
    let mut ending = None;
    if patched().contains(Parts::THREADS) {
        // SAFETY: the caller's contract is that of the C library's function, which uses the word like this.
        let word = unsafe { AtomicI32::from_ptr(control) };
        while let seen = word.load(Ordering::Acquire)
            && seen & DONE == 0
        {
            if seen & RUNNING == 0 || Call::enter(Parts::THREADS).is_none() || seen != running() {
                ending = Some(Ending(control.addr()));
                break;
            }
            until_taken(control.addr(), u32::MAX, None, || {
                (word.load(Ordering::SeqCst) != seen).then_some(0)
            });
        }
    }
    // SAFETY: as above.
    let result = unsafe { original::pthread_once(control, initialise) };
    drop(ending);
    result
}

/// On an OS thread of its own: only the C library knows how many the barrier waits for, and which of them is the one to be told.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_barrier_wait(barrier: *mut pthread_barrier_t) -> c_int {
    if Call::enter(Parts::THREADS).is_none() {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::pthread_barrier_wait(barrier) };
    }
    // One of them is told -1, which is no failure.
    let _errno = Kept::now();
    let barrier = barrier.expose_provenance();
    // SAFETY: as above; the caller waits, so the barrier is still there.
    apart(move || unsafe {
        original::pthread_barrier_wait(std::ptr::with_exposed_provenance_mut(barrier)) as isize
    }) as c_int
}
