//! Calls that only another OS thread can do without stopping the hub.

use libc::ssize_t;

use super::call::{Call, Errno, errno, set_errno};
use crate::hub::waiter::{Waiter, WaitingOn, is_unwinding};
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
