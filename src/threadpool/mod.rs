//! OS threads for work that would stop the hub: calls that must block, and long computations.
//!
//! [`unblock`] runs a closure on a thread of the process-wide pool, while the calling green thread waits. A [`ThreadPool`] is a
//! pool of your own. Its [`spawn`](ThreadPool::spawn) returns a [`Job`] that you can wait for later, and its
//! [`map`](ThreadPool::map) and [`imap`](ThreadPool::imap) take many items at a time. By [`default`](ThreadPool::default) it has
//! a thread for each processor: use it for what Python's `multiprocessing.Pool` and the executors of `concurrent.futures` are
//! for.
//!
//! # Examples
//!
//! ```
//! use greenloop::threadpool::unblock;
//!
//! let sum = unblock(|| (1..=1_000_u64).sum::<u64>());
//! assert_eq!(sum, 500_500);
//! ```
//!
//! # Threads
//!
//! The library has threads of its own for opening and reading files, for looking up names, and for waiting for children, so jobs
//! of [`unblock`] do not delay those. A process has up to 64 threads for `unblock`, 64 for [files](crate::fs), 64 for
//! [names](crate::net::lookup_host), and one more for each [opening of a device](crate::fs::OpenOptions::open) that lasts.
//!
//! Threads are made when there is work for them. They end when there has been none for ten seconds, or for a pool's own
//! [`idle_timeout`](ThreadPool::idle_timeout). In the child process of a fork the pools begin anew, with threads of their own.
//!
//! Idle threads do not hide a deadlock:
//!
//! ```
//! use greenloop::{LoopExit, event::Event, threadpool::unblock};
//!
//! unblock(|| ()); // leaves an idle thread
//! let deadlock = std::panic::catch_unwind(|| Event::new().wait()).unwrap_err();
//! assert!(deadlock.is::<LoopExit>());
//! ```

mod crew;
mod job;
mod map;

use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe, resume_unwind};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

pub(crate) use self::crew::Workload;
use self::crew::{Assignment, Crew};
pub use self::job::Job;
use crate::hub::amid_faults::{draw, has_crashed};
use crate::hub::faults::Fault;
use crate::hub::waiter::{Waiter, WaitingOn, Wakeup, check_may_wait, may_wait};
use crate::sys::descriptor;
pub use crate::task::Imap;

/// How many jobs of [`unblock`] run at a time. They mostly wait, for a disk or for a library's own connection, so there
/// may be many more of them than processors.
const SIZE: usize = 64;

/// How long a thread without work stays, unless the pool is told otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pool of [`unblock`], whose jobs may never end.
static SHARED: ThreadPool = ThreadPool::new(SIZE);

/// The pool of [`offload`], whose jobs end.
static CALLS: ThreadPool = ThreadPool::new(SIZE);

/// The pool of [`offload_apart`]: nobody waits there for another one's end.
static APART: ThreadPool = ThreadPool::new(usize::MAX);

/// What the library's own pools have to do, [`unblock`]'s among them.
pub(crate) fn workload() -> Workload {
    let add = |sum: Workload, pool: &ThreadPool| {
        let Workload { threads, running, queued } = pool.crew().workload();
        Workload {
            threads: sum.threads + threads,
            running: sum.running + running,
            queued: sum.queued + queued,
        }
    };
    [&SHARED, &CALLS, &APART].into_iter().fold(Workload::default(), add)
}

/// Runs `f` on another OS thread, and returns its value.
///
/// The calling green thread yields, and is woken when `f` has returned. Up to 64 such closures of a process run at a time, and
/// further ones wait in the order of their arrival. If all of the 64 never end, no other one begins: for work that may not end,
/// make a [`ThreadPool`] of your own.
///
/// In two cases `f` simply runs on the calling thread: if that belongs to a pool, and so may be blocked, and while the green
/// thread unwinds, when it must not yield.
///
/// A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait at once. If `f` has begun by then, it runs to its
/// end, and its value is dropped on the thread that it runs on. Otherwise it is dropped without being run.
///
/// # Panics
///
/// Panics with the payload of `f` if `f` panics. Panics if there is no thread and none can be made.
///
/// # Examples
///
/// ```
/// use greenloop::{spawn, threadpool::unblock};
///
/// let text = spawn(|| unblock(|| std::fs::read_to_string("/proc/self/comm"))).join().unwrap();
/// assert!(!text.unwrap().is_empty());
/// ```
#[doc(alias("to_thread", "run_in_executor"))]
pub fn unblock<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    SHARED.unblock(f)
}

/// Whether the calling thread must stop for what it has to wait for, or may as well: it belongs to a pool, its green thread
/// unwinds, or it ends.
pub(crate) fn stops() -> bool {
    crew::is_worker() || !may_wait()
}

/// [`unblock`] for a call to the system that ends, whatever others do: its threads are apart from those of [`unblock`]. Its errors
/// include that no thread can be made.
pub(crate) fn offload<F, T>(f: F) -> io::Result<T>
where
    F: FnOnce() -> io::Result<T> + Send + 'static,
    T: Send + 'static,
{
    check_disk()?;
    if stops() {
        return f();
    }
    CALLS.try_unblock(f)?
}

/// In a world in which disks fail, whether this call finds that. On a host that has crashed nothing is written.
///
/// # Errors
///
/// EIO.
pub(crate) fn check_disk() -> io::Result<()> {
    if has_crashed() || draw(&[Fault::Disk]).is_some() { Err(descriptor::disk_error()) } else { Ok(()) }
}

/// [`offload`] for a call that may never end: it keeps a thread of its own, also when nobody waits for it any more.
pub(crate) fn offload_apart<F, T>(f: F) -> io::Result<T>
where
    F: FnOnce() -> io::Result<T> + Send + 'static,
    T: Send + 'static,
{
    if stops() {
        return f();
    }
    APART.try_unblock(f)?
}

/// A limited number of OS threads, and a queue of jobs for them.
///
/// It can be used from any thread, and made in a `static`. If you drop it, the jobs that it has accepted run to their end.
///
/// # Examples
///
/// ```
/// use greenloop::threadpool::ThreadPool;
///
/// static HASHING: ThreadPool = ThreadPool::new(2);
///
/// let job = HASHING.spawn(|| "password".len());
/// assert_eq!(job.join().unwrap(), 8);
/// ```
#[doc(alias("Pool", "ThreadPoolExecutor", "Executor"))]
pub struct ThreadPool {
    size: AtomicUsize,
    patience: Duration,
    crew: OnceLock<Box<Generation>>,
}

// What it stands for is kept whole by the library, whoever unwinds.
impl UnwindSafe for ThreadPool {}
impl RefUnwindSafe for ThreadPool {}

/// The crew of one process. A fork takes none of the threads along, and leaves the parent's locks in whatever state they
/// are in, so that the child leaves the parent's crew alone and makes the next.
struct Generation {
    process: u32,
    crew: Arc<Crew>,
    next: OnceLock<Box<Generation>>,
}

impl ThreadPool {
    /// Makes a pool of at most `size` threads. None is made before there is work.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::threadpool::ThreadPool::new(4);
    /// assert_eq!(pool.size(), 4);
    /// ```
    pub const fn new(size: usize) -> ThreadPool {
        ThreadPool { size: AtomicUsize::new(size), patience: PATIENCE, crew: OnceLock::new() }
    }

    /// Lets a thread end when it has had no work for `timeout`. The default is ten seconds.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::threadpool::ThreadPool;
    ///
    /// static RARE: ThreadPool = ThreadPool::new(2).idle_timeout(Duration::from_millis(100));
    ///
    /// assert_eq!(RARE.unblock(|| 1), 1);
    /// ```
    pub const fn idle_timeout(mut self, timeout: Duration) -> ThreadPool {
        self.patience = timeout;
        self
    }

    /// Returns how many threads the pool may have.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::threadpool::ThreadPool::new(1).size(), 1);
    /// ```
    pub fn size(&self) -> usize {
        self.size.load(Ordering::SeqCst)
    }

    /// Sets how many threads the pool may have.
    ///
    /// This has effect at once. A larger pool begins jobs that are queued. A smaller one ends idle threads, and busy ones when
    /// their job is done. With 0, jobs wait until the pool is larger again.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::threadpool::ThreadPool;
    ///
    /// let pool = ThreadPool::new(0);
    /// let job = pool.spawn(|| 5);
    /// assert!(!job.is_finished());
    /// pool.set_size(1);
    /// assert_eq!(job.join().unwrap(), 5);
    /// ```
    #[doc(alias("maxsize", "adjust"))]
    pub fn set_size(&self, size: usize) {
        self.size.store(size, Ordering::SeqCst);
        self.crew().resize(size);
    }

    /// Runs `f` on a thread of this pool, and returns its value. It is [`unblock`] for a pool of your own.
    ///
    /// # Panics
    ///
    /// Panics with the payload of `f` if `f` panics. Panics if there is no thread and none can be made.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::threadpool::ThreadPool::new(1);
    /// assert_eq!(pool.unblock(|| 2 + 2), 4);
    /// ```
    pub fn unblock<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // A green thread that unwinds must not yield; then rather stop its OS thread than leave `f` undone.
        if stops() {
            return f();
        }
        self.try_unblock(f).unwrap_or_else(no_thread)
    }

    /// As [`unblock`](ThreadPool::unblock), but always on another thread, and with what prevents that as an error.
    pub(crate) fn try_unblock<F, T>(&self, f: F) -> io::Result<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        check_may_wait()?;
        Ok(self.try_submit(f)?.take().unwrap_or_else(|payload| resume_unwind(payload)))
    }

    /// Queues `f`, however much is queued already. Dropped before it has begun, it never runs.
    pub(crate) fn try_submit<F, T>(&self, f: F) -> io::Result<Job<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (job, task) = Job::cancelled_by_drop(f);
        self.crew().submit(task)?;
        Ok(job)
    }

    /// Queues `f`, however much is queued already, and waits for nothing.
    ///
    /// # Errors
    ///
    /// If there is no thread and none can be made; `f` is dropped then.
    pub(crate) fn try_detach(&self, f: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.crew().submit(Box::new(f))
    }

    /// Queues `f` for a thread of this pool, and returns a [`Job`] for its result.
    ///
    /// The call returns at once as long as a thread is free for `f` or nothing is queued: a pool of `n` threads takes `n` jobs
    /// and one more. Otherwise the calling green thread yields until there is room; waiters go on in the order of their arrival.
    /// A kill or an enclosing [`with_timeout`](crate::with_timeout) ends that wait by unwinding, and `f` is dropped without being
    /// run.
    ///
    /// # Panics
    ///
    /// Panics if there is no thread and none can be made.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::threadpool::ThreadPool::new(2);
    /// let jobs: Vec<_> = (0..4_u32).map(|number| pool.spawn(move || number.pow(2))).collect();
    /// let squares: Vec<_> = jobs.into_iter().map(|job| job.join().unwrap()).collect();
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// ```
    #[doc(alias = "submit")]
    pub fn spawn<F, T>(&self, f: F) -> Job<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (job, task) = Job::detached_by_drop(f);
        self.admit(task).unwrap_or_else(no_thread);
        job
    }

    /// Submits `task` when there is room.
    fn admit(&self, mut task: Assignment) -> io::Result<()> {
        let crew = self.crew();
        loop {
            let waiter = Waiter::new(WaitingOn::Other("ThreadPool::spawn"));
            let Some(ticket) = crew.submit_or_wait(task, &waiter)? else { return Ok(()) };
            let wakeup = waiter.park(None);
            // What has come in belongs to the pool, and runs.
            let withdrawn = crew.withdraw(ticket);
            if let Wakeup::Interrupted(interrupt) = wakeup {
                drop(withdrawn);
                interrupt.raise();
            }
            task = match withdrawn {
                Some(task) => task,
                None => return Ok(()),
            };
        }
    }

    /// Waits until no job runs and none is queued.
    ///
    /// It does not wait for the callbacks of [`apply_async`](ThreadPool::apply_async): [`joinall`](crate::joinall) waits for these.
    ///
    /// The calling green thread yields if there is one, and the thread that ends the last job wakes it. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and leaves the jobs alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// static DONE: AtomicUsize = AtomicUsize::new(0);
    /// let pool = greenloop::threadpool::ThreadPool::new(2);
    /// for _ in 0..5 {
    ///     pool.spawn(|| DONE.fetch_add(1, Ordering::SeqCst));
    /// }
    /// pool.join();
    /// assert_eq!(DONE.load(Ordering::SeqCst), 5);
    /// ```
    pub fn join(&self) {
        let crew = self.crew();
        loop {
            let waiter = Waiter::new(WaitingOn::Other("ThreadPool::join"));
            let Some(ticket) = crew.await_quiet(&waiter) else { return };
            let wakeup = waiter.park(None);
            let was_quiet = crew.was_quiet(ticket);
            match wakeup {
                Wakeup::Interrupted(interrupt) => interrupt.raise(),
                Wakeup::Woken | Wakeup::TimedOut if was_quiet => return,
                Wakeup::Woken | Wakeup::TimedOut => {}
            }
        }
    }

    /// The crew of this process.
    fn crew(&self) -> &Arc<Crew> {
        let process = process::id();
        let mut slot = &self.crew;
        loop {
            let generation = slot.get_or_init(|| {
                Box::new(Generation {
                    process,
                    crew: Arc::new(Crew::new(self.size(), self.patience)),
                    next: OnceLock::new(),
                })
            });
            if generation.process == process {
                return &generation.crew;
            }
            slot = &generation.next;
        }
    }
}

/// A pool with as many threads as there are processors for this process.
///
/// ```
/// assert!(greenloop::threadpool::ThreadPool::default().size() >= 1);
/// ```
impl Default for ThreadPool {
    fn default() -> ThreadPool {
        // Where that cannot be told, one thread is always right.
        ThreadPool::new(thread::available_parallelism().map_or(1, usize::from))
    }
}

/// For a call that has no error for that.
fn no_thread<T>(error: io::Error) -> T {
    panic!("no OS thread for the pool: {error}")
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        if self.crew.get().is_some() {
            self.crew().close();
        }
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ThreadPool").field("size", &self.size()).finish_non_exhaustive()
    }
}
