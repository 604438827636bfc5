//! A job of a pool: what the pool runs, and the handle on its result.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::crew::Assignment;
use crate::error::{Failure, JoinError};
use crate::hub::waiter::{Notify, Waiter, WaitingOn, Wakeup};
use crate::hub::waitlist::WaitList;
use crate::sys::clock::Time;
use crate::sys::lock::Lock;
use crate::sys::virtual_clock;
use crate::task::{Notice, Subscription, Waitable};

/// A handle to a closure that was given to a [`ThreadPool`](super::ThreadPool), and to its value.
///
/// If you drop it, the job is detached, and runs all the same. You can wait for it beside other things with [`wait`](crate::wait)
/// and its siblings.
///
/// # Examples
///
/// ```
/// use greenloop::threadpool::ThreadPool;
///
/// let pool = ThreadPool::new(1);
/// let failing = pool.spawn(|| -> u32 { std::panic::resume_unwind(Box::new("no")) });
/// assert!(failing.join().unwrap_err().is_panic());
/// ```
#[doc(alias("ThreadResult", "Future"))]
pub struct Job<T> {
    slot: Arc<Lock<Slot<T>>>,
    /// Whether nobody wants the job done once this is dropped.
    cancelling: bool,
}

// What it stands for is kept whole by the library, whoever unwinds.
impl<T> UnwindSafe for Job<T> {}
impl<T> RefUnwindSafe for Job<T> {}

struct Slot<T> {
    progress: Progress<T>,
    /// Whom its end makes ready.
    waiters: WaitList<Notify>,
}

enum Progress<T> {
    Queued,
    Running,
    Finished(Result<T, Box<dyn Any + Send>>),
    /// Nobody will ask for the value: the job runs, and drops it.
    Detached,
    /// The same, and the job need not begin.
    Cancelled,
}

impl<T: Send + 'static> Job<T> {
    /// A job whose closure runs whether the handle is kept or not.
    pub(super) fn detached_by_drop(f: impl FnOnce() -> T + Send + 'static) -> (Job<T>, Assignment) {
        Job::with(f, false)
    }

    /// A job whose closure does not begin once the handle is gone.
    pub(super) fn cancelled_by_drop(f: impl FnOnce() -> T + Send + 'static) -> (Job<T>, Assignment) {
        Job::with(f, true)
    }

    fn with(f: impl FnOnce() -> T + Send + 'static, cancelling: bool) -> (Job<T>, Assignment) {
        let slot = Arc::new(Lock::new(Slot { progress: Progress::Queued, waiters: WaitList::new() }));
        let job = Job { slot: Arc::clone(&slot), cancelling };
        let hold = virtual_clock::ask(|clock| clock.hold());
        let task = move || {
            // Until it is over.
            let _hold = hold;
            if begin(&slot) {
                // What a panic leaves half done is `f`'s own, and the payload goes to whoever takes the result.
                finish(&slot, catch_unwind(AssertUnwindSafe(f)));
            }
        };
        (job, Box::new(task))
    }

    /// Waits until the closure has ended, and returns its value.
    ///
    /// The calling green thread yields unless the closure has ended. A kill or an enclosing [`with_timeout`](crate::with_timeout)
    /// ends the wait by unwinding, and the job runs on. If you want to come back for its value, [`wait`](Job::wait) first.
    ///
    /// # Errors
    ///
    /// Returns a [`JoinError`] with the payload if the closure panicked.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::threadpool::ThreadPool::new(1);
    /// assert_eq!(pool.spawn(|| 40 + 2).join().unwrap(), 42);
    /// ```
    #[doc(alias = "result")]
    pub fn join(self) -> Result<T, JoinError> {
        self.take().map_err(|payload| Failure::Panicked(payload).of_job())
    }

    pub(super) fn take(self) -> Result<T, Box<dyn Any + Send>> {
        self.wait();
        match std::mem::replace(&mut self.slot.lock().progress, Progress::Detached) {
            Progress::Finished(result) => result,
            _ => unreachable!("a job that was waited for has finished"),
        }
    }

    /// Waits until the closure has ended, and leaves its value for [`join`](Job::join).
    ///
    /// The calling green thread yields unless the closure has ended. A kill or an enclosing [`with_timeout`](crate::with_timeout)
    /// ends the wait by unwinding, and leaves the job as it is.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::threadpool::ThreadPool::new(1);
    /// let job = pool.spawn(|| 1);
    /// job.wait();
    /// assert!(job.is_finished());
    /// assert_eq!(job.join().unwrap(), 1);
    /// ```
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Waits for at most `timeout` until the closure has ended. Returns `true` if it has.
    ///
    /// Apart from that, it is like [`wait`](Job::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// let pool = greenloop::threadpool::ThreadPool::new(1);
    /// let (go, gone) = mpsc::channel();
    /// let job = pool.spawn(move || gone.recv());
    /// assert!(!job.wait_timeout(Duration::from_millis(5)));
    /// go.send("done").unwrap();
    /// assert_eq!(job.join().unwrap(), Ok("done"));
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(Some(Time::after(timeout)))
    }

    fn wait_until(&self, deadline: Option<Time>) -> bool {
        loop {
            let waiter = Waiter::new(WaitingOn::Other("Job::wait"));
            let ticket = {
                let mut slot = self.slot.lock();
                if slot.is_finished() {
                    return true;
                }
                slot.waiters.push(waiter.notify())
            };
            let wakeup = waiter.park(deadline);
            let registered = self.slot.lock().waiters.remove(ticket);
            drop(registered);
            match wakeup {
                Wakeup::Interrupted(interrupt) => interrupt.raise(),
                Wakeup::TimedOut => return self.is_finished(),
                Wakeup::Woken => {}
            }
        }
    }
}

impl<T> Job<T> {
    /// Returns `true` if the closure has ended, by returning or by a panic.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::threadpool::ThreadPool::new(0);
    /// assert!(!pool.spawn(|| ()).is_finished());
    /// ```
    #[doc(alias = "done")]
    pub fn is_finished(&self) -> bool {
        self.slot.lock().is_finished()
    }
}

impl<T: Send + 'static> Waitable for Job<T> {
    fn is_ready(&self) -> bool {
        self.is_finished()
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        let mut slot = self.slot.lock();
        if !slot.is_finished() {
            return Subscription::new(slot.waiters.push_for_others(notice.0));
        }
        drop(slot);
        notice.give();
        Subscription::none()
    }

    fn unsubscribe(&self, subscription: Subscription) {
        let Some(ticket) = subscription.ticket() else { return };
        let registered = self.slot.lock().waiters.remove(ticket);
        // With the lock released: a notice may own other code.
        drop(registered);
    }
}

impl<T> Slot<T> {
    fn is_finished(&self) -> bool {
        matches!(self.progress, Progress::Finished(_))
    }
}

/// Whether the job is to run.
fn begin<T>(slot: &Lock<Slot<T>>) -> bool {
    let mut slot = slot.lock();
    match slot.progress {
        Progress::Cancelled => false,
        Progress::Queued => {
            slot.progress = Progress::Running;
            true
        }
        _ => true,
    }
}

/// Stores the result and wakes whoever waits; drops it if nobody will ask.
fn finish<T>(slot: &Lock<Slot<T>>, result: Result<T, Box<dyn Any + Send>>) {
    let mut locked = slot.lock();
    let (unwanted, waiters) = match locked.progress {
        Progress::Detached | Progress::Cancelled => (Some(result), None),
        _ => {
            locked.progress = Progress::Finished(result);
            (None, Some(locked.waiters.drain()))
        }
    };
    drop(locked);
    waiters.into_iter().flatten().for_each(Notify::notify);
    drop(unwanted);
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        let last = match self.cancelling {
            true => Progress::Cancelled,
            false => Progress::Detached,
        };
        let progress = std::mem::replace(&mut self.slot.lock().progress, last);
        // A value that nobody took, dropped with the lock released.
        drop(progress);
    }
}

impl<T> fmt::Debug for Job<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Job").field("finished", &self.is_finished()).finish()
    }
}
