//! All processors: a hub on each, and green threads that begin on whichever has time.
//!
//! [`Workers`] are OS threads with a hub each, as many as there are processors. What you [`spawn`](Workers::spawn) there begins on one of
//! them: a closure that has not begun goes to whoever has nothing to do. What has begun never moves, so that thread-local variables, `Rc`
//! and libraries in C stay right, and nothing about it need be `Send` but what the closure brings along and what it returns.
//!
//! ```
//! use greenloop::workers::Workers;
//! use std::time::Duration;
//!
//! let workers = Workers::new();
//! let jobs: Vec<_> = (1..=4_u64).map(|part| workers.spawn(move || (1..=part * 1000).sum::<u64>())).collect();
//! let sums: Vec<u64> = jobs.into_iter().map(|job| job.join().unwrap()).collect();
//! assert_eq!(sums, [500_500, 2_001_000, 4_501_500, 8_002_000]);
//! workers.stop(Duration::from_secs(1));
//! ```
//!
//! Handles, locks, channels, queues and events work between workers as they do within one hub.
//!
//! # Which one
//!
//! | you want | use |
//! |---|---|
//! | to use all processors for computing | [`Workers::spawn`], [`map`](Workers::map), [`imap`](Workers::imap); with borrowed data, [`scope`](Workers::scope) |
//! | one server on all processors | [`Workers::serve`], or with settings of its own, [`serve_with`](Workers::serve_with) |
//! | state that is not `Send`, or that no lock is to guard, on all processors | [`Sharded`] |
//! | a green thread beside the one that calls | [`here`](Workers::here), or simply [`greenloop::spawn`](crate::spawn) |
//! | a call that blocks | [`unblock`](crate::threadpool::unblock): a worker that blocks serves nobody |
//!
//! # Who begins what
//!
//! A worker runs its own ready green threads first. When none is ready, it begins what is [to begin there](Workers::spawn_on); then what
//! was spawned there and has not begun, in order; then what was spawned from outside of the workers; then it takes half of what another
//! worker has not begun. One in 61 times it looks at the later ones first. A worker that finds nothing looks for 50 µs if others are at
//! work and fewer than half of all look already, and sleeps then. An idle worker uses no processor time.
//!
//! A green thread that computes for long holds its worker: what waits for a timer or a socket there is late, but what has not begun goes to
//! the others.
//!
//! # In the child of a fork
//!
//! A fork takes no worker along, and none of what they have begun or accepted. Workers of the parent count as stopped in the child: what is
//! spawned there is killed, what a [`Sharded`] of theirs is asked is an error, [`Servers`] of theirs have no handlers, and to stop them, or
//! wait for their end, returns at once. Make new workers.

mod balance;
mod builder;
mod crew;
mod deal;
mod desk;
mod idle;
mod map;
mod offers;
mod parts;
mod search;
mod serve;
mod servers;
mod sharded;
mod worker;

use std::fmt;
use std::io;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

pub use self::balance::Balance;
pub use self::builder::Builder;
use self::crew::Crew;
pub use self::servers::Servers;
pub use self::sharded::Sharded;
use crate::hub::Config;
use crate::task::spread::spread;
pub use crate::task::spread::{Scope, ScopedJoinHandle};
use crate::task::{self, JoinHandle, Offer};

/// OS threads with a hub each, which share what has not begun. See the [module](crate::workers).
///
/// It is a handle: clones stand for the same workers, from any OS thread, also in a green thread of theirs. When the last handle is
/// dropped, the workers do what they have accepted, and end. Nobody waits for that; [`stop`](Workers::stop) does.
///
/// # Examples
///
/// ```
/// use greenloop::workers::Workers;
///
/// let workers = Workers::new();
/// let nested = workers.clone();
/// let sum = workers.spawn(move || nested.spawn(|| 20).join().unwrap() + 1);
/// assert_eq!(sum.join().unwrap(), 21);
/// ```
#[doc(alias = "multiprocessing")]
#[derive(Clone)]
pub struct Workers {
    shared: Arc<Shared>,
}

// What it stands for is kept whole by the library, whoever unwinds.
impl UnwindSafe for Workers {}
impl RefUnwindSafe for Workers {}

/// What all handles have in common.
struct Shared {
    crew: Arc<Crew>,
    config: Config,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.crew.close();
    }
}

impl Workers {
    /// Makes as many workers as there are processors for this process, which includes the limit of its control group.
    ///
    /// [`Builder`] has settings.
    ///
    /// # Panics
    ///
    /// Panics if an OS thread cannot be made. [`Builder::build`] has an error for that.
    ///
    /// # Examples
    ///
    /// ```
    /// let workers = greenloop::workers::Workers::new();
    /// assert_eq!(workers.number(), std::thread::available_parallelism()?.get());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[expect(clippy::new_without_default, reason = "a value that makes OS threads is made by name")]
    pub fn new() -> Workers {
        Builder::new().build().unwrap_or_else(|error| panic!("no OS thread for a worker: {error}"))
    }

    fn of(crew: Arc<Crew>, config: Config) -> Workers {
        Workers { shared: Arc::new(Shared { crew, config }) }
    }

    fn crew(&self) -> &Arc<Crew> {
        &self.shared.crew
    }

    /// Returns how many workers there are. They are numbered from 0 on.
    ///
    /// # Examples
    ///
    /// ```
    /// let workers = greenloop::workers::Builder::new().number(2).build()?;
    /// assert_eq!(workers.number(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn number(&self) -> usize {
        self.crew().number()
    }

    /// Changes how many workers there are, at once.
    ///
    /// More begin work at once. If there are to be fewer, those with the highest numbers leave: what nobody has begun there goes to the
    /// others, what has begun there, or [is to begin there](Workers::spawn_on), goes on to its end, and then the worker ends. Nobody is
    /// killed. Parts of a [`Sharded`] and servers have begun, so a worker with one stays until that is gone. Yields while another one
    /// resizes.
    ///
    /// A process that is moved to another control group, or whose `cpu.max` changes, may follow:
    /// `workers.resize(std::thread::available_parallelism()?.get())`.
    ///
    /// # Errors
    ///
    /// Of kind `InvalidInput` if the number is zero, or more than 256 and more than there were at first; `NotConnected` if the workers have
    /// been stopped; that of an OS thread that cannot be made. There are as many workers then as could be made.
    ///
    /// # Examples
    ///
    /// ```
    /// let workers = greenloop::workers::Builder::new().number(1).build()?;
    /// workers.resize(3)?;
    /// assert_eq!(workers.spawn_on(2, || "third").join().unwrap(), "third");
    /// workers.resize(1)?;
    /// assert_eq!(workers.number(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("set_size", "GOMAXPROCS"))]
    pub fn resize(&self, number: usize) -> io::Result<()> {
        let (crew, config) = (self.crew(), self.shared.config);
        crew.resize(number, |worker| worker::begin(crew, worker, config))
    }

    /// Returns the number of the worker that calls; `None` if the caller runs elsewhere.
    ///
    /// # Examples
    ///
    /// ```
    /// let workers = greenloop::workers::Builder::new().number(2).build()?;
    /// assert_eq!(workers.current(), None);
    /// let nested = workers.clone();
    /// assert_eq!(workers.spawn_on(1, move || nested.current()).join().unwrap(), Some(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn current(&self) -> Option<usize> {
        self.crew().seat()
    }

    /// Spawns a green thread that begins on whichever worker has time first, and stays there.
    ///
    /// From a worker it is put in line there, where an idle one may take it; from elsewhere, in a line of all workers. Never yields. The
    /// handle waits, and kills, from any OS thread; a panic comes to who joins. A green thread that has not begun can be killed as well,
    /// and never begins. It has no [locals](crate::greenlet_local!) handed down, since these need not be `Send`.
    ///
    /// Once [`stop`](Workers::stop) has been called, what is spawned counts as killed.
    ///
    /// # Examples
    ///
    /// ```
    /// let workers = greenloop::workers::Workers::new();
    /// let words = vec!["green", "loop"];
    /// let job = workers.spawn(move || words.concat());
    /// assert_eq!(job.join().unwrap(), "greenloop");
    ///
    /// let failing = workers.spawn(|| std::panic::resume_unwind(Box::new("no")));
    /// assert!(failing.join().unwrap_err().is_panic());
    /// ```
    #[doc(alias = "go")]
    #[track_caller]
    #[inline]
    pub fn spawn<F, T>(&self, function: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (handle, offer) = Offer::new(Location::caller(), function);
        self.crew().put(offer);
        handle
    }

    /// Spawns a green thread on the worker of this number, and no other.
    ///
    /// Apart from that, it is like [`spawn`](Workers::spawn).
    ///
    /// # Panics
    ///
    /// Panics if there is no worker of this number.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    ///
    /// let workers = greenloop::workers::Builder::new().number(2).build()?;
    /// let [first, again] = [0, 0].map(|worker| workers.spawn_on(worker, || thread::current().id()).join().unwrap());
    /// let other = workers.spawn_on(1, || thread::current().id()).join().unwrap();
    /// assert!(first == again && first != other);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn_on<F, T>(&self, worker: usize, function: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (handle, offer) = Offer::new(Location::caller(), function);
        self.crew().put_on(worker, offer);
        handle
    }

    /// Spawns a green thread on the worker that calls.
    ///
    /// This is [`greenloop::spawn`](crate::spawn) by a name that says where; so `function` need not be `Send`.
    ///
    /// # Panics
    ///
    /// Panics if the caller does not run on one of these workers.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// let workers = greenloop::workers::Workers::new();
    /// let nested = workers.clone();
    /// let job = workers.spawn(move || {
    ///     let shared = Rc::new(5);
    ///     let other = nested.here({ let shared = shared.clone(); move || *shared });
    ///     other.join().unwrap() + *shared
    /// });
    /// assert_eq!(job.join().unwrap(), 10);
    /// ```
    #[track_caller]
    pub fn here<F, T>(&self, function: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        assert!(self.current().is_some(), "the caller runs on none of these workers");
        task::spawn(function)
    }

    /// Runs `body`, in which you can spawn green threads on all workers that borrow from the caller's frame.
    ///
    /// Returns when `body` and all green threads of the scope, its children, have ended; yields until then. `body` itself runs where it is
    /// called. This is [`greenloop::scope`](crate::scope()) over all processors, and [`std::thread::scope`] with green threads. Children
    /// may spawn in the scope as well.
    ///
    /// If `body` unwinds (by a panic, a kill or a time limit), the children are killed and joined first. The same happens if a kill, a time
    /// limit or a [`LoopExit`](crate::LoopExit) reaches the final wait. A kill or a time limit that comes while killed children are being
    /// joined is raised at the next wait after the scope. A child that computes or blocks without ever yielding is waited for.
    ///
    /// # Panics
    ///
    /// Panics if a child panicked whose handle was not joined, and in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Aborts
    ///
    /// If the scope would have to be left while a child lives, the process ends with a line that says so, as for
    /// [`greenloop::scope`](crate::scope()).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::workers::Workers;
    ///
    /// let workers = Workers::new();
    /// let mut data = vec![3_u64; 1_000];
    /// workers.scope(|scope| {
    ///     for chunk in data.chunks_mut(100) {
    ///         scope.spawn(move || chunk.iter_mut().for_each(|number| *number *= 2));
    ///     }
    /// });
    /// assert_eq!(data.iter().sum::<u64>(), 6_000);
    /// ```
    ///
    /// Divide and conquer:
    ///
    /// ```
    /// use greenloop::workers::{Scope, Workers};
    ///
    /// fn sort<'scope, 'env>(scope: &'scope Scope<'scope, 'env>, numbers: &'scope mut [u32]) {
    ///     if numbers.len() <= 64 {
    ///         return numbers.sort();
    ///     }
    ///     let (_, middle, _) = numbers.select_nth_unstable(numbers.len() / 2);
    ///     let middle = *middle;
    ///     let at = numbers.partition_point(|&number| number < middle);
    ///     let (low, high) = numbers.split_at_mut(at.max(1));
    ///     scope.spawn(move || sort(scope, low));
    ///     sort(scope, high);
    /// }
    ///
    /// let mut numbers: Vec<u32> = (0..1_000).map(|number| number * 7_919 % 1_000).collect();
    /// Workers::new().scope(|scope| sort(scope, &mut numbers));
    /// assert!(numbers.is_sorted());
    /// ```
    #[doc(alias = "rayon")]
    #[track_caller]
    pub fn scope<'env, F, R>(&'env self, body: F) -> R
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
    {
        spread(self.crew(), body)
    }

    /// Stops the workers: nothing is accepted any more, what was accepted has `grace` to end, and what is left then is killed. Returns when
    /// all workers and their OS threads have ended.
    ///
    /// What has not begun by the end of `grace` never begins. What runs is killed as by [`JoinHandle::kill`]; what goes on in spite of that
    /// is killed again from time to time, and waited for. What computes or blocks without ever yielding is waited for.
    ///
    /// Servers and the parts of a [`Sharded`] run until they are stopped and dropped, so do that before, or all of `grace` passes.
    ///
    /// Yields until then. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding; the workers end later
    /// then, when they have nothing left to do. A green thread of the workers that calls this waits for itself, so all of `grace` passes,
    /// and then it is killed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let workers = greenloop::workers::Workers::new();
    /// let forever = workers.spawn(|| greenloop::sleep(Duration::MAX));
    /// let quick = workers.spawn(|| 1);
    /// workers.stop(Duration::from_millis(50));
    /// assert!(forever.join().unwrap_err().is_killed());
    /// assert_eq!(quick.join().unwrap(), 1);
    /// assert!(workers.spawn(|| 1).join().unwrap_err().is_killed());
    /// ```
    pub fn stop(&self, grace: Duration) {
        self.crew().stop(grace);
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Workers").field("number", &self.number()).finish_non_exhaustive()
    }
}
