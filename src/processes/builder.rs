//! Settings of a pool of processes.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::crew::Crew;
use super::hand::{self, Work};
use super::keeper::Keeper;
use super::maker::{Maker, Rules};
use super::pool::ProcessPool;
use super::worker::{Order, Said};
use crate::error::StartError;
use crate::process::{Birth, Incoming, Pipe, Wire, names_of};
use crate::task;

/// Settings of a [`ProcessPool`] that is to be made: see [`ProcessPool::builder`].
pub struct PoolBuilder {
    size: usize,
    initializer: Option<Box<dyn Fn()>>,
    /// The names of what is passed to the workers.
    passed: Vec<u64>,
    rules: Rules,
}

impl<A: Wire + 'static, T: Wire + 'static> ProcessPool<A, T> {
    /// Makes a pool of `size` workers, which call `function`.
    ///
    /// # Errors
    ///
    /// As [`Process::start`](crate::process::Process::start): the process may have no other OS threads. A pool that was made before these
    /// starts workers at any time. `InvalidInput` for no workers.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::processes::ProcessPool::new(2, |text: String| text.len())?;
    /// assert_eq!(pool.apply("four".to_owned())?, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(size: usize, function: impl Fn(A) -> T + 'static) -> Result<ProcessPool<A, T>, StartError> {
        PoolBuilder::new(size).build(function)
    }
}

impl ProcessPool<(), ()> {
    /// Returns the settings of a pool of `size` workers that is yet to be made.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::ProcessPool;
    /// use std::time::Duration;
    ///
    /// let pool = ProcessPool::builder(2)
    ///     .initializer(|| std::env::set_current_dir("/").unwrap())
    ///     .tasks_per_child(1000)
    ///     .limit(Duration::from_secs(30))
    ///     .build(|()| std::env::current_dir().unwrap())?;
    /// assert_eq!(pool.apply(())?, std::path::Path::new("/"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(size: usize) -> PoolBuilder {
        PoolBuilder::new(size)
    }
}

impl PoolBuilder {
    fn new(size: usize) -> PoolBuilder {
        let rules = Rules {
            name: "worker".to_owned(),
            retries: 1,
            tasks_per_child: None,
            limit: None,
            grace: Duration::from_secs(1),
            threads: 1,
        };
        PoolBuilder { size, initializer: None, passed: Vec::new(), rules }
    }

    /// Has each worker call `initializer` before its first job. If that panics, all jobs fail, and no other worker is tried.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::OnceLock;
    ///
    /// static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
    ///
    /// let pool = greenloop::processes::ProcessPool::builder(1)
    ///     .initializer(|| TABLE.set((0..10).map(|number| number * number).collect()).unwrap())
    ///     .build(|place: usize| TABLE.get().unwrap()[place])?;
    /// assert_eq!(pool.apply(7)?, 49);
    /// assert!(TABLE.get().is_none()); // that was in the worker
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn initializer(mut self, initializer: impl Fn() + 'static) -> PoolBuilder {
        self.initializer = Some(Box::new(initializer));
        self
    }

    /// Replaces each worker after so many jobs, for functions that leak.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::processes::ProcessPool::builder(1).tasks_per_child(1).build(|()| std::process::id())?;
    /// assert_ne!(pool.apply(())?, pool.apply(())?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("maxtasksperchild", "max_tasks_per_child"))]
    pub fn tasks_per_child(mut self, tasks: u32) -> PoolBuilder {
        self.rules.tasks_per_child = Some(tasks);
        self
    }

    /// Sets how often a job is tried again whose worker died while it had it. By default once. With 0 no job is begun twice.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::{ProcessPool, WorkError};
    ///
    /// let pool = ProcessPool::builder(1).retries(2).build(|()| std::process::abort() as ())?;
    /// let Err(WorkError::WorkerDied { signal, attempts, .. }) = pool.apply(()) else { unreachable!("it aborts") };
    /// assert_eq!((signal, attempts), (Some(6), 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retries(mut self, retries: u32) -> PoolBuilder {
        self.rules.retries = retries;
        self
    }

    /// Ends jobs that take longer. The worker stops such a job at its next wait; if it computes, the worker gets SIGTERM after a
    /// [`grace`](PoolBuilder::grace), and after another one SIGKILL. The job fails with
    /// [`WorkError::TimedOut`](super::WorkError::TimedOut), and is not tried again.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::{ProcessPool, WorkError};
    /// use std::time::Duration;
    ///
    /// let pool = ProcessPool::builder(1).limit(Duration::from_millis(100)).build(greenloop::sleep)?;
    /// assert_eq!(pool.apply(Duration::from_secs(1000)), Err(WorkError::TimedOut));
    /// assert_eq!(pool.apply(Duration::ZERO), Ok(()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("soft_time_limit", "time_limit"))]
    pub fn limit(mut self, limit: Duration) -> PoolBuilder {
        self.rules.limit = Some(limit);
        self
    }

    /// Sets how long a worker gets to stop by itself, by default a second.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::{ProcessPool, WorkError};
    /// use std::time::Duration;
    ///
    /// let millisecond = Duration::from_millis(1);
    /// let computes = |()| loop { std::hint::spin_loop() };
    /// let pool = ProcessPool::builder(1).limit(millisecond).grace(millisecond).build::<(), ()>(computes)?;
    /// assert_eq!(pool.apply(()), Err(WorkError::TimedOut));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn grace(mut self, grace: Duration) -> PoolBuilder {
        self.rules.grace = grace;
        self
    }

    /// Sets what the workers are called, by default `worker`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::current;
    ///
    /// let builder = greenloop::processes::ProcessPool::builder(1).name("indexer");
    /// assert_eq!(builder.build(|()| current().name().to_owned())?.apply(())?, "indexer");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> PoolBuilder {
        self.rules.name = name.into();
        self
    }

    /// Has each worker do so many jobs at a time, a green thread for each, for jobs that wait more than they compute. By default one.
    ///
    /// A worker that dies takes all of them along: each counts as an attempt.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::ProcessPool;
    /// use std::time::{Duration, Instant};
    ///
    /// let pool = ProcessPool::builder(2).threads(50).build(greenloop::sleep)?;
    /// let begin = Instant::now();
    /// assert!(pool.map([Duration::from_millis(100); 100]).iter().all(Result::is_ok));
    /// assert!(begin.elapsed() < Duration::from_secs(5)); // one at a time in each would take that long
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn threads(mut self, threads: usize) -> PoolBuilder {
        self.rules.threads = threads;
        self
    }

    /// Passes ends of channels, or handles of what a [`Manager`](super::Manager) keeps, to the workers, for the function and the initializer
    /// to use what they have captured. What is not passed belongs to the calling process alone.
    ///
    /// Anything that is [`Wire`] may have them: a tuple, a vector, a struct. As the pool keeps what the function has captured here too, a
    /// channel whose sender is passed has no end while there is the pool.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::channel;
    /// use greenloop::processes::ProcessPool;
    ///
    /// let (sender, receiver) = channel::<u32>()?;
    /// let pool = ProcessPool::builder(2).pass(&sender).build(move |number: u32| sender.send(&number).unwrap())?;
    /// pool.apply(7)?;
    /// assert_eq!(receiver.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "initargs")]
    pub fn pass<W: Wire>(mut self, ends: &W) -> PoolBuilder {
        self.passed.extend(names_of(ends));
        self
    }

    /// Makes the pool, whose workers call `function`.
    ///
    /// # Errors
    ///
    /// As [`ProcessPool::new`]; `InvalidInput` also for no [`tasks_per_child`](PoolBuilder::tasks_per_child) or no
    /// [`threads`](PoolBuilder::threads).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::ProcessPool;
    ///
    /// let pool = ProcessPool::builder(1).build(|number: u32| number + 1)?;
    /// assert_eq!(pool.apply(1)?, 2);
    /// assert!(ProcessPool::builder(0).build(|()| ()).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn build<A: Wire + 'static, T: Wire + 'static>(
        self,
        function: impl Fn(A) -> T + 'static,
    ) -> Result<ProcessPool<A, T>, StartError> {
        let PoolBuilder { size, initializer, passed, rules } = self;
        if size == 0 || rules.tasks_per_child == Some(0) || rules.threads == 0 {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        }
        let (work, threads) = (Rc::new(Work { initializer, function }), rules.threads);
        let serve = move |birth: Birth| {
            birth.live(|bytes, descriptors| {
                let mut from = Incoming::with_descriptors(&bytes, descriptors);
                let pipe = Pipe::<Said<T>, Order<A>>::take(&mut from).expect("it comes with each request");
                hand::run(work.clone(), pipe, threads);
            })
        };
        let maker = Rc::new(Maker { nursery: RefCell::new(None), serve: Rc::new(serve), passed });
        maker.nursery()?;
        let crew = Rc::new(Crew::new(size));
        let mut workers = Vec::new();
        for _ in 0..size {
            let current = Rc::new(RefCell::new(None));
            workers.push(current.clone());
            let keeper = Keeper { crew: crew.clone(), maker: maker.clone(), rules: rules.clone(), current };
            let member = Crew::join(&crew);
            drop(task::spawn(move || {
                keeper.run();
                drop((keeper, member));
            }));
        }
        // Also of a pool that nobody joins, the nursery is waited for.
        let end = task::spawn({
            let crew = crew.clone();
            move || {
                crew.ended().wait();
                maker.finish();
            }
        });
        Ok(ProcessPool::with(crew, end, workers, &rules))
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PoolBuilder")
            .field("size", &self.size)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
