//! Calls that only another OS thread can do without stopping the hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libc::{c_int, ssize_t};

use super::call::{Call, Errno, errno, errno_of, failed, set_errno};
use crate::hub::fork::generation;
use crate::hub::waiter::{Waiter, WaitingOn, is_unwinding};
use crate::sys::clock::Time;
use crate::sys::interruptible::Interruptible;
use crate::sys::virtual_clock::unseen;
use crate::task::{Notice, Waitable};
use crate::threadpool::{Job, ThreadPool, check_disk};

/// As many as wait for disks at a time, and as many for names.
const SIZE: usize = 64;

static DISKS: ThreadPool = ThreadPool::new(SIZE);
static NAMES: ThreadPool = ThreadPool::new(SIZE);

/// A thread for each call that may never end.
static APART: ThreadPool = ThreadPool::new(usize::MAX);

/// Runs a call that uses memory of the caller's on another OS thread; its errno comes along. Nothing interrupts the wait,
/// for the memory must stay: the kernel ends it in a moment.
pub(super) fn off_hub(run: impl FnOnce() -> ssize_t + Copy + Send + 'static) -> ssize_t {
    if let Err(error) = check_disk() {
        return failed(errno_of(&error)) as ssize_t;
    }
    on(&DISKS, run)
}

/// [`off_hub`] for a call that others end, or nobody.
pub(super) fn apart(run: impl FnOnce() -> ssize_t + Copy + Send + 'static) -> ssize_t {
    on(&APART, run)
}

/// The same for one that does not hold the time of a world.
pub(super) fn apart_uncounted(run: impl FnOnce() -> ssize_t + Copy + Send + 'static) -> ssize_t {
    if is_unwinding() {
        return run();
    }
    let job = unseen(|| APART.try_submit(move || (run(), errno())));
    ended(job.ok(), run)
}

fn on(pool: &ThreadPool, run: impl FnOnce() -> ssize_t + Copy + Send + 'static) -> ssize_t {
    if is_unwinding() {
        return run();
    }
    // No thread can be made: then rather stop this one than leave it undone.
    ended(pool.try_submit(move || (run(), errno())).ok(), run)
}

/// The result of `job`, whose end is waited for, or of `run` where there is none.
fn ended(job: Option<Job<(ssize_t, c_int)>>, run: impl FnOnce() -> ssize_t) -> ssize_t {
    let Some(job) = job else { return run() };
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
const INTERRUPTIBLE: u64 = 64;

/// How long a call that was interrupted has to end before it is interrupted again: twice as long each time, up to the second. It takes
/// more than one time only if the signal came before the call began to wait, or if the program has taken the signal meanwhile.
const AGAIN: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];

/// Runs a call that uses memory of the caller's, and that others end, or nobody, on another OS thread. There a kill or a time limit
/// interrupts it, and it fails with what `refuse` says. `None` if there is no thread or no signal for it, or if the caller unwinds, who must
/// not wait.
pub(super) fn interruptible(
    call: Call,
    on: &'static str,
    refuse: impl FnOnce(Call) -> Errno,
    run: impl FnOnce() -> c_int + Copy + Send + 'static,
) -> Option<c_int> {
    if is_unwinding() {
        return None;
    }
    let _place = Place::take()?;
    let interruptible = Arc::new(Interruptible::new()?);
    let job = APART.try_submit({
        let interruptible = Arc::clone(&interruptible);
        move || interruptible.run(run)
    });
    let job = job.ok()?;
    let waiter = Waiter::new(WaitingOn::Other(on));
    let subscription = job.subscribe(Notice(waiter.notify()));
    let mut interrupted = false;
    let mut will_begin = true;
    let [mut pause, longest] = AGAIN;
    while will_begin && !job.is_finished() {
        if !interrupted {
            interrupted = waiter.park_in_call(None).is_err();
        } else if interruptible.interrupt() {
            waiter.park_in_infallible_call(Some(Time::after(pause)));
            pause = longest.min(2 * pause);
        } else {
            // No OS thread has come for it so far.
            will_begin = false;
        }
    }
    job.unsubscribe(subscription);
    drop(waiter);
    if !will_begin {
        return Some(failed(refuse(call)));
    }
    Some(match job.join().expect("a call into C does not panic") {
        Ok(result) => result,
        Err(error) => match errno_of(&error) {
            libc::EINTR if interrupted => failed(refuse(call)),
            errno => failed(errno),
        },
    })
}

/// One of [`INTERRUPTIBLE`].
struct Place;

/// The process's [`generation`] in the upper half, and how many places are taken in the lower one. A fork copies those of the parent,
/// which nobody gives back in the child.
static TAKEN: AtomicU64 = AtomicU64::new(0);

impl Place {
    fn take() -> Option<Place> {
        let process = u64::from(generation()) << 32;
        let one_more = |taken: u64| {
            let count = if taken >> 32 == process >> 32 { taken & u64::from(u32::MAX) } else { 0 };
            (count < INTERRUPTIBLE).then_some(process | (count + 1))
        };
        // Relaxed: a count alone.
        TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let process = u64::from(generation());
        // One that was taken before a fork, in whose child it is dropped, was counted in the parent.
        let one_less = |taken: u64| (taken >> 32 == process).then(|| taken - 1);
        // Relaxed: as above.
        let _ = TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    }
}
