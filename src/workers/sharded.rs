//! State in parts, each of which stays with one worker.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::Workers;
use super::crew::Crew;
use crate::channel::{Receiver, Sender, bounded, unbounded};
use crate::error::{Failure, JoinError};
use crate::task::{self, Offer};

/// What is to be done with a part.
type Call<S> = Box<dyn FnOnce(&mut S) + Send>;

/// State in as many parts as there are workers, each of which stays with its worker, and to which the work comes.
///
/// A part need not be `Send`, and no lock guards it: a green thread of its worker has it, and does with it what it is asked, one thing
/// after another, in the order in which it was asked. So a cache or a table of sessions is spread over all processors, where each key has
/// its part.
///
/// The parts live until this is dropped, or the workers are stopped; each is dropped by its own worker. While one lives, its worker does
/// not end by itself.
///
/// # Examples
///
/// ```
/// use greenloop::workers::{Sharded, Workers};
/// use std::{cell::Cell, collections::HashMap, rc::Rc};
///
/// let workers = Workers::new();
/// let hits = Sharded::new(&workers, HashMap::<String, Rc<Cell<u32>>>::new);
/// for path in ["/", "/about", "/"] {
///     hits.on(path, move |hits| {
///         let count = hits.entry(path.to_owned()).or_default();
///         count.set(count.get() + 1);
///     }).unwrap();
/// }
/// assert_eq!(hits.on("/", |hits| hits["/"].get()).unwrap(), 2);
/// ```
pub struct Sharded<S> {
    parts: Box<[Sender<Call<S>>]>,
    hasher: RandomState,
    crew: Arc<Crew>,
}

// What it stands for is kept whole by the library, whoever unwinds.
impl<S> UnwindSafe for Sharded<S> {}
impl<S> RefUnwindSafe for Sharded<S> {}

impl<S: 'static> Sharded<S> {
    /// Has each worker make a part. Never yields.
    ///
    /// If `make` panics, what is asked of that part fails. If a worker is told to leave meanwhile, all parts are made anew.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::workers::{Sharded, Workers};
    ///
    /// let workers = Workers::new();
    /// let counts = Sharded::new(&workers, || 0_u32);
    /// assert_eq!(counts.parts(), workers.number());
    /// ```
    #[track_caller]
    pub fn new(workers: &Workers, make: impl Fn() -> S + Clone + Send + 'static) -> Sharded<S> {
        let crew = workers.crew();
        let place = Location::caller();
        let begin = |worker| {
            let (sender, receiver) = unbounded::<Call<S>>();
            let (make, own) = (make.clone(), crew.clone());
            let (_detached, offer) = Offer::new(place, move || keep(make, &receiver, &own));
            crew.try_put_on(worker, offer).then_some(sender)
        };
        loop {
            // Those that have begun end with their senders, if there are less workers now.
            if let Some(parts) = (0..crew.number()).map(begin).collect() {
                return Sharded { parts, hasher: RandomState::new(), crew: crew.clone() };
            }
        }
    }

    /// Returns how many parts there are: as many as there were workers.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::workers::{Builder, Sharded};
    ///
    /// let counts = Sharded::new(&Builder::new().number(3).build()?, || 0_u32);
    /// assert_eq!(counts.parts(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Returns the number of the part, and of the worker, that a key belongs to.
    ///
    /// It is by chance, and the same as long as this lives.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::workers::{Sharded, Workers};
    ///
    /// let counts = Sharded::new(&Workers::new(), || 0_u32);
    /// assert_eq!(counts.part_of("key"), counts.part_of("key"));
    /// ```
    pub fn part_of<K: Hash + ?Sized>(&self, key: &K) -> usize {
        (self.hasher.hash_one(key) % self.parts.len() as u64) as usize
    }

    /// Calls `function` with the part of a key, on its worker, and returns what it returns.
    ///
    /// Yields until then. `function` may wait; the part is its own meanwhile, and what else is asked of it waits in line. If it asks for
    /// the same part again, it waits for itself, for ever. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait, and
    /// `function` is called all the same.
    ///
    /// # Errors
    ///
    /// Returns a [`JoinError`] with the payload if `function` panicked; the part stays as it left it. Returns one that
    /// [is killed](JoinError::is_killed) if the workers have been stopped, or are those of the process that this one was forked from: make
    /// another [`Sharded`] here, of new workers.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::workers::{Sharded, Workers};
    ///
    /// let counts = Sharded::new(&Workers::new(), || 0_u32);
    /// counts.on("key", |count| *count += 1).unwrap();
    /// assert_eq!(counts.on("key", |count| *count).unwrap(), 1);
    /// ```
    #[doc(alias = "submit_to")]
    pub fn on<K, R>(
        &self,
        key: &K,
        function: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> Result<R, JoinError>
    where
        K: Hash + ?Sized,
        R: Send + 'static,
    {
        result_of(&self.ask(self.part_of(key), function))
    }

    /// Calls `function` with each part, on all workers at once, and returns the results in the order of their numbers.
    ///
    /// Apart from that, it is like [`on`](Sharded::on).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::workers::{Sharded, Workers};
    ///
    /// let counts = Sharded::new(&Workers::new(), || 1_usize);
    /// let sum: usize = counts.on_all(|count| *count).into_iter().flatten().sum();
    /// assert_eq!(sum, counts.parts());
    /// ```
    #[doc(alias("invoke_on_all", "map_reduce"))]
    pub fn on_all<R>(
        &self,
        function: impl Fn(&mut S) -> R + Clone + Send + 'static,
    ) -> Vec<Result<R, JoinError>>
    where
        R: Send + 'static,
    {
        let asked: Vec<_> = (0..self.parts.len()).map(|part| self.ask(part, function.clone())).collect();
        asked.iter().map(result_of).collect()
    }

    /// What a part returns will come there.
    pub(super) fn ask<R: Send + 'static>(
        &self,
        part: usize,
        function: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> Receiver<Result<R, JoinError>> {
        let (reply, asked) = bounded(1);
        // An error is that of who waits no more.
        let call = move |state: &mut S| drop(reply.send(task::call(function, state)));
        // If the part is gone, so is the other end of the reply. In the child of a fork all are.
        if self.is_here() {
            let _ = self.parts[part].send(Box::new(call));
        }
        asked
    }

    /// Whether the parts are in this process, and not in one that it was forked by.
    pub(super) fn is_here(&self) -> bool {
        self.crew.is_here()
    }
}

pub(super) fn result_of<R>(asked: &Receiver<Result<R, JoinError>>) -> Result<R, JoinError> {
    asked.recv().unwrap_or_else(|_gone| Err(Failure::Killed.of_job()))
}

/// The life of a part.
fn keep<S>(make: impl FnOnce() -> S, calls: &Receiver<Call<S>>, crew: &Arc<Crew>) {
    let mut state = make();
    for call in calls {
        call(&mut state);
        // The kill was that of the call.
        if crew.kills() {
            return;
        }
    }
}

impl<S> fmt::Debug for Sharded<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sharded").field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}
