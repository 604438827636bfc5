//! Calls that only another OS thread can do without stopping the hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libc::{c_int, ssize_t};

use super::call::{Call, Errno, errno, errno_of, failed, set_errno};
use crate::hub::waiter::{Waiter, WaitingOn, is_unwinding};
use crate::sys::clock::Time;
use crate::sys::interruptible::Interruptible;
use crate::task::{Notice, Waitable};
use crate::threadpool::{Job, ThreadPool};

/// As many as wait for disks at a time, and as many for names.
const SIZE: usize = 64;

static DISKS: ThreadPool = ThreadPool::new(SIZE);
static NAMES: ThreadPool = ThreadPool::new(SIZE);

/// A thread for each call that may never end.
static APART: ThreadPool = ThreadPool::new(usize::MAX);

/// Runs a call that uses memory of the caller's on another OS thread; its errno comes along. Nothing interrupts the wait,
/// for the memory must stay: the kernel ends it in a moment.
pub(super) fn off_hub(run: impl FnOnce() -> ssize_t + Copy + Send + 'static) -> ssize_t {
    on(&DISKS, run)
}

/// [`off_hub`] for a call that others end, or nobody.
pub(super) fn apart(run: impl FnOnce() -> ssize_t + Copy + Send + 'static) -> ssize_t {
    on(&APART, run)
}

fn on(pool: &ThreadPool, run: impl FnOnce() -> ssize_t + Copy + Send + 'static) -> ssize_t {
    if is_unwinding() {
        return run();
    }
    // No thread can be made: then rather stop this one than leave it undone.
    let Ok(job) = pool.try_submit(move || (run(), errno())) else { return run() };
    let waiter = Waiter::new(WaitingOn::Other("a file"));
    let subscription = job.subscribe(Notice(waiter.notify()));
    while !job.is_finished() {
        waiter.park_uninterrupted();
    }
    job.unsubscribe(subscription);
    let (result, errno) = job.join().expect("a call into C does not panic");
    if result == -1 {
        set_errno(errno);
    }
    result
}

/// Runs a look-up of a name, which owns all that it uses, on another OS thread.
///
/// # Errors
///
/// Why the call must fail; `run` goes on then, and its value is dropped. EAGAIN if no thread can be made.
pub(super) fn detachable<T: Send + 'static>(
    call: Call,
    on: &'static str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Errno> {
    detachable_on(&NAMES, call, on, run)
}

/// [`detachable`] for a call that others end, or nobody.
///
/// # Errors
///
/// As for that.
pub(super) fn detachable_apart<T: Send + 'static>(
    call: Call,
    on: &'static str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Errno> {
    detachable_on(&APART, call, on, run)
}

fn detachable_on<T: Send + 'static>(
    pool: &ThreadPool,
    call: Call,
    on: &'static str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Errno> {
    // Before somebody works for it.
    call.spend_budget()?;
    let job: Job<T> = pool.try_submit(run).map_err(|_| libc::EAGAIN)?;
    let waiter = Waiter::new(WaitingOn::Other(on));
    let subscription = job.subscribe(Notice(waiter.notify()));
    let mut parked = Ok(true);
    while !job.is_finished() && parked.is_ok() {
        parked = waiter.park_in_call(None);
    }
    job.unsubscribe(subscription);
    drop(waiter);
    parked.map_err(|hindrance| call.refuse(hindrance))?;
    Ok(job.join().expect("a call into C does not panic"))
}

/// So many wait in [`interruptible`] calls at a time, each on an OS thread: who waits for locks may be many.
const INTERRUPTIBLE: usize = 64;

/// How long a call that was interrupted has to end before it is interrupted again.
const AGAIN: Duration = Duration::from_millis(1);

/// Runs a call that uses memory of the caller's, and that others end, or nobody, on another OS thread. There a kill or a time limit
/// interrupts it, and it fails as by [`refuse_with`](Call::refuse_with) with `refusal`. `None` if there is no thread for it.
pub(super) fn interruptible(
    call: Call,
    on: &'static str,
    refusal: Errno,
    run: impl FnOnce() -> c_int + Copy + Send + 'static,
) -> Option<c_int> {
    let _place = Place::take()?;
    let interruptible = Arc::new(Interruptible::new());
    let mut interrupted = None;
    let job = APART.try_submit({
        let interruptible = Arc::clone(&interruptible);
        move || interruptible.run(run)
    });
    let job = job.ok()?;
    let waiter = Waiter::new(WaitingOn::Other(on));
    let subscription = job.subscribe(Notice(waiter.notify()));
    while !job.is_finished() {
        if interrupted.is_none() {
            interrupted = waiter.park_in_call(None).err();
        } else {
            interruptible.interrupt();
            waiter.park_in_infallible_call(Some(Time::after(AGAIN)));
        }
    }
    job.unsubscribe(subscription);
    drop(waiter);
    Some(match job.join().expect("a call into C does not panic") {
        Ok(result) => result,
        Err(error) => match errno_of(&error) {
            libc::EINTR if interrupted.is_some() => failed(call.refuse_with(refusal)),
            errno => failed(errno),
        },
    })
}

/// One of [`INTERRUPTIBLE`].
struct Place;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

impl Place {
    fn take() -> Option<Place> {
        let one_more =
            |taken: usize| (taken < INTERRUPTIBLE && Interruptible::is_possible()).then_some(taken + 1);
        // Relaxed: a count alone.
        TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Relaxed: as above.
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}
