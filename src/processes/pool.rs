//! A pool of processes.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::crew::{Crew, Phase};
use super::job::{Job, Slot};
use super::maker::Rules;
use crate::error::WorkError;
use crate::process::Process;
use crate::task::{self, JoinHandle};

/// The worker of each keeper, while there is one.
pub(super) type Workers = Vec<Rc<RefCell<Option<Rc<Process<()>>>>>>;

/// Processes that call one function, with an argument of type `A` and a value of type `T` that are [`Wire`](crate::process::Wire).
///
/// Only arguments and values travel: the function is in each worker, since workers are forked. So it may capture what it likes; ends of
/// channels and what a manager keeps are [passed](super::PoolBuilder::pass) by name. Each worker
/// has one job at a time, or [several](super::PoolBuilder::threads), and another takes its place when it dies. The job that it had is tried again ([once](super::PoolBuilder::retries)
/// by default), and fails by [name](WorkError::WorkerDied) after that; all other jobs go on.
///
/// A pool belongs to the hub that made it, whose green threads look after the workers. When you drop it, jobs that were given are done,
/// and then the workers end. The end of the parent, such as that of `main` or by a SIGKILL, ends them at once, whatever they do. So [`close`](ProcessPool::close) and [`join`](ProcessPool::join) the pool before.
///
/// Ctrl-C, for which a terminal sends SIGINT to all processes that it runs, and SIGHUP do not end the workers: they end if their owner
/// does. An owner that [listens](crate::signal::on) to it finds all jobs going on, and ends the pool as it likes.
///
/// # Examples
///
/// ```
/// use greenloop::processes::ProcessPool;
///
/// let offset = 100; // captured: each worker has it
/// let pool = ProcessPool::new(3, move |number: u64| number + offset)?;
/// assert_eq!(pool.apply(3)?, 103);
/// let sums: Result<Vec<u64>, _> = pool.map([1, 3, 5]).into_iter().collect();
/// assert_eq!(sums?, [101, 103, 105]);
/// pool.close();
/// pool.join();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("ProcessPoolExecutor", "Executor"))]
pub struct ProcessPool<A, T> {
    pub(super) crew: Rc<Crew<A, T>>,
    /// Ends when all workers have ended, and who forks them.
    end: JoinHandle<()>,
    workers: Workers,
    pub(super) limit: Option<Duration>,
    /// How many jobs each worker has at a time.
    pub(super) threads: usize,
}

impl<A: 'static, T: 'static> ProcessPool<A, T> {
    pub(super) fn with(
        crew: Rc<Crew<A, T>>,
        end: JoinHandle<()>,
        workers: Workers,
        &Rules { limit, threads, .. }: &Rules,
    ) -> ProcessPool<A, T> {
        ProcessPool { crew, end, workers, limit, threads }
    }

    /// Returns how many workers there are.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::processes::ProcessPool::new(2, |()| ())?;
    /// assert_eq!(pool.size(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn size(&self) -> usize {
        self.workers.len()
    }

    /// Returns the numbers of the workers that are there now.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::processes::ProcessPool::new(1, |()| std::process::id())?;
    /// let worker = pool.apply(())?;
    /// assert_eq!(pool.workers(), [worker]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn workers(&self) -> Vec<u32> {
        let id = |worker: &Rc<RefCell<Option<Rc<Process<()>>>>>| {
            worker.borrow().as_ref().map(|process| process.id())
        };
        self.workers.iter().filter_map(id).collect()
    }

    /// Queues a job, and returns a handle to it. Never yields.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::processes::ProcessPool::new(2, |number: u64| number * number)?;
    /// let jobs: Vec<_> = (1..=3).map(|number| pool.submit(number)).collect();
    /// let squares: Vec<u64> = jobs.into_iter().map(|job| job.join()).collect::<Result<_, _>>()?;
    /// assert_eq!(squares, [1, 4, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn submit(&self, argument: A) -> Job<A, T> {
        self.submit_limited(argument, self.limit)
    }

    /// Like [`submit`](ProcessPool::submit), with a time limit of its own, in place of the pool's [`limit`](super::PoolBuilder::limit).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::{ProcessPool, WorkError};
    /// use std::time::Duration;
    ///
    /// let pool = ProcessPool::new(1, greenloop::sleep)?;
    /// let job = pool.submit_within(Duration::from_millis(5), Duration::from_secs(1000));
    /// assert_eq!(job.join(), Err(WorkError::TimedOut));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn submit_within(&self, limit: Duration, argument: A) -> Job<A, T> {
        self.submit_limited(argument, Some(limit))
    }

    fn submit_limited(&self, argument: A, limit: Option<Duration>) -> Job<A, T> {
        let slot = Rc::new(Slot::new());
        let told = slot.clone();
        let put = move |results: Vec<_>| results.into_iter().for_each(|result| told.put(result));
        let number = self.crew.submit(vec![argument], limit, Box::new(put));
        Job { slot, crew: self.crew.clone(), number }
    }

    /// Has one job done, and returns its value.
    ///
    /// The calling green thread yields. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and the
    /// job goes on.
    ///
    /// # Errors
    ///
    /// The job left no value: see [`WorkError`].
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::processes::ProcessPool::new(1, |number: u32| number + 1)?;
    /// assert_eq!(pool.apply(1)?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply(&self, argument: A) -> Result<T, WorkError> {
        self.submit(argument).join()
    }

    /// Queues a job, and calls `callback` with its value, in the parent. Never yields.
    ///
    /// `callback` runs in the green thread that is returned, and is not called if there is no value. If you kill the green thread, the job
    /// goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// let pool = greenloop::processes::ProcessPool::new(1, |number: u32| number + 100)?;
    /// let seen = Rc::new(Cell::new(0));
    /// let sees = seen.clone();
    /// let task = pool.apply_async(1, move |value| sees.set(*value));
    /// assert_eq!(task.join()?, Ok(101));
    /// assert_eq!(seen.get(), 101);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn apply_async(
        &self,
        argument: A,
        callback: impl FnOnce(&T) + 'static,
    ) -> JoinHandle<Result<T, WorkError>> {
        self.apply_async_or(argument, callback, |_| ())
    }

    /// Like [`apply_async`](ProcessPool::apply_async), and calls `error_callback` if there is no value.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::processes::ProcessPool::new(1, |divisor: u32| 12 / divisor)?;
    /// let unexpected = |_: &u32| unreachable!("nothing comes of that");
    /// let task = pool.apply_async_or(0, unexpected, |error| assert!(error.to_string().contains("divide by zero")));
    /// assert!(task.join()?.is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "error_callback")]
    #[track_caller]
    pub fn apply_async_or(
        &self,
        argument: A,
        callback: impl FnOnce(&T) + 'static,
        error_callback: impl FnOnce(&WorkError) + 'static,
    ) -> JoinHandle<Result<T, WorkError>> {
        let job = self.submit(argument);
        task::spawn(move || {
            let result = job.join();
            match &result {
                Ok(value) => callback(value),
                Err(error) => error_callback(error),
            }
            result
        })
    }

    /// Takes no more jobs: those that are given later fail with [`WorkError::Closed`]. Those that are there are done, then the workers end.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::{ProcessPool, WorkError};
    ///
    /// let pool = ProcessPool::new(1, |number: u32| number)?;
    /// let before = pool.submit(1);
    /// pool.close();
    /// assert_eq!(before.join(), Ok(1));
    /// assert_eq!(pool.apply(2), Err(WorkError::Closed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) {
        self.crew.close();
    }

    /// Ends the pool at once: its workers are killed, and jobs that are not done fail with [`WorkError::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::{ProcessPool, WorkError};
    /// use std::time::Duration;
    ///
    /// let pool = ProcessPool::new(1, greenloop::sleep)?;
    /// let job = pool.submit(Duration::from_secs(1000));
    /// pool.terminate();
    /// assert_eq!(job.join(), Err(WorkError::Closed));
    /// pool.join();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn terminate(&self) {
        self.crew.end(WorkError::Closed);
        for worker in &self.workers {
            if let Some(process) = &*worker.borrow() {
                // One that has ended needs no signal.
                let _ = process.kill();
            }
        }
    }

    /// Waits until all jobs are done and all workers are gone. [`close`](ProcessPool::close) the pool before, or
    /// [`terminate`](ProcessPool::terminate) it.
    ///
    /// The calling green thread yields. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding.
    ///
    /// # Panics
    ///
    /// Panics if the pool is neither closed nor terminated.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::processes::ProcessPool::new(2, |()| ())?;
    /// let job = pool.submit(());
    /// pool.close();
    /// pool.join();
    /// assert!(job.is_finished());
    /// assert!(pool.workers().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn join(&self) {
        self.assert_is_closing();
        self.end.wait();
    }

    /// Like [`join`](ProcessPool::join), but waits at most `limit`. Returns `true` if all workers are gone.
    ///
    /// # Panics
    ///
    /// As [`join`](ProcessPool::join).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = greenloop::processes::ProcessPool::new(1, greenloop::sleep)?;
    /// pool.submit(Duration::from_secs(1000));
    /// pool.close();
    /// assert!(!pool.join_timeout(Duration::from_millis(1)));
    /// pool.terminate();
    /// assert!(pool.join_timeout(Duration::from_secs(60)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn join_timeout(&self, limit: Duration) -> bool {
        self.assert_is_closing();
        self.end.wait_timeout(limit)
    }

    #[track_caller]
    fn assert_is_closing(&self) {
        assert!(
            self.crew.phase() != Phase::Open,
            "the pool is neither closed nor terminated, so its workers do not end: call `close` before"
        );
    }
}

impl<A, T> Drop for ProcessPool<A, T> {
    fn drop(&mut self) {
        self.crew.close();
    }
}

impl<A, T> fmt::Debug for ProcessPool<A, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ProcessPool").field("size", &self.workers.len()).finish_non_exhaustive()
    }
}
