//! Who does jobs: any number of green threads of one OS thread.

mod backoff;
mod counts;
mod detection;
mod endpoint;
mod failure;
mod held;
mod shift;
mod watch;

pub use backoff::Backoff;
pub use counts::{Count, Counts};
pub use failure::Failure;
pub use watch::Blocked;

use crate::{Broker, BrokerError, Completion, Job};
use greenloop::event::Event;
use greenloop::processes;
use greenloop::signal::{SIGINT, SIGTERM, Signals};
use shift::Shift;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Takes jobs from a broker and does each in a green thread of its own.
///
/// ```
/// use fleet::{Broker, Completion, NewJob, Sqlite, Worker};
/// use std::sync::Arc;
///
/// greenloop::monkey::patch_all();
/// let broker = Arc::new(Sqlite::in_memory()?);
/// broker.push(&["1", "2", "3"].map(NewJob::new))?;
/// Worker::new(broker.clone()).concurrency(2).until_idle().run(|job| {
///     let number: u32 = job.payload.parse()?;
///     std::thread::sleep(std::time::Duration::from_millis(5)); // the others run meanwhile
///     Ok(Completion::new().record((2 * number).to_string()))
/// })?;
/// let mut doubled: Vec<_> = broker.records(0, 9)?.into_iter().map(|record| record.text).collect();
/// doubled.sort();
/// assert_eq!(doubled, ["2", "4", "6"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # At least once
///
/// A job that is not settled when its lease ends is done again, by whoever takes it then. As long as the worker runs, one green thread
/// renews the leases of all its jobs, so a lease says how soon a dead worker's jobs are taken over, and not how long a job may take.
///
/// A lease that could not be renewed in time, since the broker is away or this worker is cut off from it, has ended here no later than
/// there: a job is not begun then, and is killed if it runs, before somebody else is given it. It is given back, as if it had not been
/// tried, and what it returns has no effect. Only a process whose OS thread stood still for longer than a lease, as it was stopped or one of
/// its jobs computed, goes on with the others before it finds that out, for up to a third of a lease if the broker does not answer: what no
/// two may do at once asks [`lease_left`](Job::lease_left) right before.
///
/// # Limits
///
/// After the soft limit a job's next wait unwinds, as by [`with_timeout`](greenloop::with_timeout), and the job is tried again. Its
/// destructors may wait. After the hard limit it is [killed](greenloop::JoinHandle::kill). Neither ends a job that computes, or is inside a
/// call from C that does: then nothing else of this process runs either, no lease is renewed, and other processes take its jobs over.
/// [`on_blocked`](Worker::on_blocked) is told, and a supervisor replaces the process: see [`serve`](Worker::serve).
#[derive(Clone)]
pub struct Worker {
    broker: Arc<dyn Broker>,
    stopper: Stopper,
    counts: Arc<Counts>,
    observer: Option<Observer>,
    blocked: Option<watch::Hook>,
    endpoint: Option<Arc<TcpListener>>,
    settings: Settings,
}

/// Who renews one has the time to wait between.
const SHORTEST_LEASE: Duration = Duration::from_millis(1);

type Observer = Arc<dyn Fn(&Happening<'_>)>;

#[derive(Clone, Debug)]
struct Settings {
    concurrency: usize,
    held_bytes: usize,
    lease: Duration,
    soft: Option<Duration>,
    hard: Option<Duration>,
    attempts: u32,
    backoff: Backoff,
    poll: Duration,
    grace: Duration,
    until_idle: bool,
    signals: bool,
}

/// What a worker's observer is told, such as for a log.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Happening<'a> {
    /// An attempt failed, and another one follows.
    Retried {
        /// Which job.
        job: &'a Job,
        /// Why.
        error: &'a str,
        /// When.
        after: Duration,
    },
    /// A job has failed for good.
    Dead {
        /// Which one.
        job: &'a Job,
        /// Why.
        error: &'a str,
    },
    /// Somebody else has the job of this number, since its lease was not renewed in time.
    Lost(u64),
    /// A call of the broker's failed. It will be repeated.
    Error(&'a BrokerError),
}

/// Stops a worker, from any OS thread.
#[derive(Clone, Debug, Default)]
pub struct Stopper(Arc<Event>);

impl Stopper {
    /// Has the worker take no more jobs, and return when those that it has are settled. Does not wait.
    pub fn stop(&self) {
        self.0.set();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.is_set()
    }
}

impl Worker {
    /// One that does a hundred jobs at once, with leases of ten seconds, no limits, and eight attempts at each job.
    pub fn new(broker: impl IntoBroker) -> Worker {
        let settings = Settings {
            concurrency: 100,
            held_bytes: 256 << 20,
            lease: Duration::from_secs(10),
            soft: None,
            hard: None,
            attempts: 8,
            backoff: Backoff::default(),
            poll: Duration::from_millis(100),
            grace: Duration::from_secs(30),
            until_idle: false,
            signals: false,
        };
        let broker = broker.into_broker();
        Worker {
            broker,
            stopper: Stopper::default(),
            counts: Arc::default(),
            observer: None,
            blocked: None,
            endpoint: None,
            settings,
        }
    }

    /// Sets how many jobs are done at once.
    #[must_use]
    pub fn concurrency(mut self, jobs: usize) -> Worker {
        self.settings.concurrency = jobs.max(1);
        self
    }

    /// Sets after how many bytes no more jobs are taken: of the payloads of those that run, and of what has come of those that are to be
    /// settled. It is 256 MiB, unless it is set. One call takes up to 16 MiB more, and the end of one job.
    #[must_use]
    pub fn held_bytes(mut self, most: usize) -> Worker {
        self.settings.held_bytes = most.max(1);
        self
    }

    /// Sets how long a job stays with a worker that does not renew its lease, each third of this: how soon a dead worker's jobs are
    /// taken over. It is a millisecond at least.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Worker {
        self.settings.lease = lease.max(SHORTEST_LEASE);
        self
    }

    /// Sets after which time a job's next wait unwinds.
    #[must_use]
    pub fn soft_limit(mut self, limit: Duration) -> Worker {
        self.settings.soft = Some(limit);
        self
    }

    /// Sets after which time a job is killed.
    #[must_use]
    pub fn hard_limit(mut self, limit: Duration) -> Worker {
        self.settings.hard = Some(limit);
        self
    }

    /// Sets how often a job is tried before it lies among the dead. One whose worker has ended each time has one attempt more, in which no
    /// other job of its worker runs: so a job that ends processes, by an overflow of its stack, takes none of those beside it among the dead.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Worker {
        self.settings.attempts = attempts.max(1);
        self
    }

    /// Sets how long a job that failed is left alone.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Worker {
        self.settings.backoff = backoff;
        self
    }

    /// Sets how long the worker waits at most before it looks for jobs again when it has found none: a tenth of a second, unless it is set.
    /// With Redis it is told of jobs and waits for that, for a second at most; then this is how often it looks at most while all that it
    /// is told of is taken by others.
    #[must_use]
    pub fn poll(mut self, poll: Duration) -> Worker {
        self.settings.poll = poll;
        self
    }

    /// Sets how long jobs may go on once the worker is stopped. What has not ended then is killed and given back. If the broker is away,
    /// or a job goes on in spite of its kill, [`run`](Worker::run) returns after a further lease, or ten seconds if that is longer: others
    /// take over when leases end.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Worker {
        self.settings.grace = grace;
        self
    }

    /// Has [`run`](Worker::run) return when no job is left, here or with others.
    #[must_use]
    pub fn until_idle(mut self) -> Worker {
        self.settings.until_idle = true;
        self
    }

    /// Has SIGTERM and SIGINT stop the worker.
    #[must_use]
    pub fn stop_at_signals(mut self) -> Worker {
        self.settings.signals = true;
        self
    }

    /// Has `observer` told what happens. It should not wait. Its panics have no effect.
    #[must_use]
    pub fn observer(mut self, observer: impl Fn(&Happening<'_>) + 'static) -> Worker {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Has `hook` told, on an OS thread of its own, when a job has kept the worker's for longer than the [hard
    /// limit](Worker::hard_limit): once each time, and once more if it is found only later which job that is, as where the machine has much
    /// else to do. Without a hard limit it is told nothing.
    ///
    /// It is told which job that is, and in which calls, by a [detector](greenloop::inspect::detect) that runs as long as the worker, and
    /// interrupts with `SIGURG` who keeps an OS thread for a tenth of a second.
    #[must_use]
    pub fn on_blocked(mut self, hook: impl Fn(&Blocked) + Send + Sync + 'static) -> Worker {
        self.blocked = Some(Arc::new(hook));
        self
    }

    /// Has Prometheus get `/metrics` of who connects to `listener`, as long as the worker runs: its [counts](Worker::counts), how many jobs
    /// the queue has, and [what the hubs do](greenloop::inspect::metrics). An OS thread of its own answers, so it does also while a job
    /// keeps the worker's.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the listener is not bound to a loopback address: everybody could read it.
    /// [`metrics_openly`](Worker::metrics_openly) says that it is meant.
    ///
    /// ```
    /// use fleet::{Sqlite, Worker};
    /// use std::net::TcpListener;
    ///
    /// let worker = Worker::new(Sqlite::in_memory()?);
    /// assert!(worker.clone().metrics(TcpListener::bind("0.0.0.0:0")?).is_err());
    /// worker.metrics(TcpListener::bind("127.0.0.1:0")?)?.until_idle().run(|_| unreachable!("there is no job"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn metrics(self, listener: TcpListener) -> io::Result<Worker> {
        if !listener.local_addr()?.ip().to_canonical().is_loopback() {
            let reason = "everybody could read it: `metrics_openly` says that it is meant";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        Ok(self.metrics_openly(listener))
    }

    /// As [`metrics`](Worker::metrics), to everybody who can connect, wherever `listener` is bound to.
    #[must_use]
    pub fn metrics_openly(mut self, listener: TcpListener) -> Worker {
        self.endpoint = Some(Arc::new(listener));
        self
    }

    /// What stops this worker.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// What this worker has done so far.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Does jobs by `handle` until it is stopped, in green threads of the calling OS thread. Its connections should be to a broker that
    /// lasts: a call of the broker's that fails is repeated until it succeeds. If the green thread that runs this is killed, so are all jobs,
    /// which others take over when their leases end.
    ///
    /// # Errors
    ///
    /// That of a signal that cannot be listened to, or of an OS thread that cannot be made.
    ///
    /// # Panics
    ///
    /// Panics if no green thread can be spawned. A panic of `handle` fails its job, and nothing else.
    pub fn run(&self, handle: impl Fn(&Job) -> Result<Completion, Failure> + 'static) -> io::Result<()> {
        let listener = match self.settings.signals {
            true => Some(self.listen(Signals::new([SIGTERM, SIGINT])?)),
            false => None,
        };
        let run = Shift::new(self, None).run(handle);
        if let Some(listener) = listener {
            listener.0.kill();
        }
        run
    }

    /// Does jobs as one of the processes of a [`Supervisor`](greenloop::processes::Supervisor): says that it is ready, returns once it is
    /// told to stop and what it has is settled, and counts jobs that are done as requests. A process that a job keeps for longer than
    /// [`stuck_after`](greenloop::processes::Supervisor::stuck_after) is killed and replaced, and its jobs are taken over.
    ///
    /// Open the broker in there, as each process has its own connections. [`grace`](Worker::grace) should be shorter than the supervisor's.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Worker::run).
    ///
    /// # Panics
    ///
    /// As [`run`](Worker::run).
    ///
    /// ```no_run
    /// use fleet::{Completion, Worker};
    /// use greenloop::processes::Supervisor;
    /// use std::{io, time::Duration};
    ///
    /// greenloop::monkey::patch_all();
    /// let supervisor = Supervisor::new().workers(4).stuck_after(Duration::from_secs(70));
    /// supervisor.on_event(|event| eprintln!("{event:?}")).run(|process| {
    ///     let broker = fleet::open("redis://127.0.0.1/", "thumbnails").map_err(io::Error::other)?;
    ///     let worker = Worker::new(broker).hard_limit(Duration::from_secs(60)).on_blocked(|blocked| eprintln!("{blocked}"));
    ///     worker.serve(&process, |job| Ok(Completion::new().record(&job.payload)))
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve(
        &self,
        process: &processes::Worker,
        handle: impl Fn(&Job) -> Result<Completion, Failure> + 'static,
    ) -> io::Result<()> {
        let (stopper, told) = (self.stopper(), process.clone());
        let _listener = Listener(greenloop::spawn(move || {
            told.wait_stopping();
            stopper.stop();
        }));
        process.ready();
        Shift::new(self, Some(process.clone())).run(handle)
    }

    fn listen(&self, mut signals: Signals) -> Listener {
        let stopper = self.stopper();
        Listener(greenloop::spawn(move || {
            if signals.next().is_some() {
                stopper.stop();
            }
        }))
    }

    fn tell(&self, happening: &Happening<'_>) {
        if let Some(observer) = &self.observer {
            // Work goes on, whatever becomes of a log.
            let told = catch_unwind(AssertUnwindSafe(|| observer(happening)));
            if let Err(payload) = told
                && shift::text(&*payload).is_none()
            {
                resume_unwind(payload);
            }
        }
    }
}

/// Waits for who tells it to stop, as long as this is there.
struct Listener(greenloop::JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.try_kill();
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Worker").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What a [`Worker`] takes for a broker: one of its own, or a shared one.
pub trait IntoBroker {
    /// It, shared.
    fn into_broker(self) -> Arc<dyn Broker>;
}

impl<B: Broker + 'static> IntoBroker for B {
    fn into_broker(self) -> Arc<dyn Broker> {
        Arc::new(self)
    }
}

impl<B: Broker + 'static> IntoBroker for Arc<B> {
    fn into_broker(self) -> Arc<dyn Broker> {
        self
    }
}

impl IntoBroker for Arc<dyn Broker> {
    fn into_broker(self) -> Arc<dyn Broker> {
        self
    }
}
