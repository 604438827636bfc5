//! A job of a pool of processes, and the handle on its value.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::crew::Crew;
use crate::error::WorkError;
use crate::event::Event;
use crate::task::{Notice, Subscription, Waitable};

/// A handle to a job of a [`ProcessPool`](super::ProcessPool), and to its value.
///
/// If you drop it, the job is done all the same. You can wait for it beside other things with [`wait`](crate::wait) and its siblings.
///
/// # Examples
///
/// ```
/// let pool = greenloop::processes::ProcessPool::new(1, |text: String| text.len())?;
/// let job = pool.submit("four".to_owned());
/// assert_eq!(job.join()?, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("Future", "ApplyResult"))]
pub struct Job<A, T> {
    pub(super) slot: Rc<Slot<T>>,
    pub(super) crew: Rc<Crew<A, T>>,
    /// What the job is called in the queue.
    pub(super) number: u64,
}

/// Where its value is put.
pub(super) struct Slot<T> {
    value: RefCell<Option<Result<T, WorkError>>>,
    is_done: Event,
}

impl<T> Slot<T> {
    pub(super) fn new() -> Slot<T> {
        Slot { value: RefCell::new(None), is_done: Event::new() }
    }

    pub(super) fn put(&self, result: Result<T, WorkError>) {
        *self.value.borrow_mut() = Some(result);
        self.is_done.set();
    }

    pub(super) fn wait(&self) -> Result<T, WorkError> {
        self.is_done.wait();
        self.value.borrow_mut().take().expect("a handle takes the value once")
    }
}

impl<A, T> Job<A, T> {
    /// Waits until the job is done, and returns its value.
    ///
    /// The calling green thread yields unless it is done. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by
    /// unwinding, and the job goes on.
    ///
    /// # Errors
    ///
    /// The job left no value: see [`WorkError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::{ProcessPool, WorkError};
    ///
    /// let pool = ProcessPool::new(1, |divisor: u32| 12 / divisor)?;
    /// assert_eq!(pool.submit(4).join()?, 3);
    /// assert!(matches!(pool.submit(0).join(), Err(WorkError::Panicked { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "result")]
    pub fn join(self) -> Result<T, WorkError> {
        self.slot.wait()
    }

    /// Like [`join`](Job::join), but waits at most `limit`.
    ///
    /// # Errors
    ///
    /// Returns the job itself if it is not done after `limit`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = greenloop::processes::ProcessPool::new(1, greenloop::sleep)?;
    /// let job = pool.submit(Duration::from_secs(1000)).join_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(!job.is_finished());
    /// pool.terminate();
    /// assert!(job.join().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_timeout(self, limit: Duration) -> Result<Result<T, WorkError>, Job<A, T>> {
        if self.slot.is_done.wait_timeout(limit) { Ok(self.join()) } else { Err(self) }
    }

    /// Returns `true` if the job is done: [`join`](Job::join) would return at once.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::processes::ProcessPool::new(1, |number: u32| number)?;
    /// let job = pool.submit(1);
    /// greenloop::wait([&job]);
    /// assert!(job.is_finished());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "done")]
    pub fn is_finished(&self) -> bool {
        self.slot.is_done.is_set()
    }

    /// Takes the job back, if no worker has begun it. Returns `true` if it has been taken back: joining it says
    /// [`WorkError::Cancelled`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::{ProcessPool, WorkError};
    ///
    /// let pool = ProcessPool::new(1, |number: u32| number)?;
    /// let job = pool.submit(1);
    /// assert!(job.cancel()); // nobody has run since
    /// assert_eq!(job.join(), Err(WorkError::Cancelled));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel(&self) -> bool {
        let taken = self.crew.take_back(self.number);
        let was_queued = taken.is_some();
        if let Some(task) = taken {
            task.fail(&WorkError::Cancelled);
        }
        was_queued
    }

    /// Ends it: in the queue, or in the worker that has it. The other jobs go on. Never yields; [`join`](Job::join) tells the end.
    ///
    /// The worker unwinds the job at its next wait. If it computes, the worker gets SIGTERM after a
    /// [`grace`](super::PoolBuilder::grace), and after another one SIGKILL, and another worker takes its place. The job fails with
    /// [`WorkError::Killed`], unless it has ended before, and is not tried again.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::{ProcessPool, WorkError};
    /// use std::time::Duration;
    ///
    /// let pool = ProcessPool::new(1, greenloop::sleep)?;
    /// let (first, second) = (pool.submit(Duration::from_secs(1000)), pool.submit(Duration::ZERO));
    /// first.kill();
    /// assert_eq!(first.join(), Err(WorkError::Killed));
    /// assert_eq!(second.join(), Ok(()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "revoke")]
    pub fn kill(&self) {
        if let Some(task) = self.crew.take_back(self.number) {
            task.fail(&WorkError::Killed);
        } else {
            self.crew.stop(self.number);
        }
    }
}

/// Ready when the job is done.
impl<A, T> Waitable for Job<A, T> {
    fn is_ready(&self) -> bool {
        self.slot.is_done.is_ready()
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        self.slot.is_done.subscribe(notice)
    }

    fn unsubscribe(&self, subscription: Subscription) {
        self.slot.is_done.unsubscribe(subscription);
    }
}

impl<A, T> fmt::Debug for Job<A, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Job").field("is_finished", &self.is_finished()).finish_non_exhaustive()
    }
}
