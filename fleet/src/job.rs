//! What a broker is given and gives back.

use crate::BrokerError;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many bytes a text may have that a broker is given: a payload, a record, a result, what is kept, the error of a job that failed, a
/// unique key, or the name of a lane. What is longer belongs into a file or an object store, and its name into the job.
pub const LONGEST_TEXT: usize = 16 << 20;

/// How many bytes the jobs of one [push](crate::Broker::push), or what comes of one job, may have together.
pub const LONGEST_CALL: usize = 64 << 20;

/// A [take](crate::Broker::take) ends when the payloads that it has have so many bytes.
pub(crate) const TAKEN_BYTES: usize = 16 << 20;

/// How urgent a job is. Of two that may be taken, the more urgent one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Priority {
    /// Before all others.
    High,
    /// What a job is that says nothing.
    #[default]
    Normal,
    /// After all others.
    Low,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

    /// As engines keep it.
    pub(crate) fn number(self) -> u8 {
        self as u8
    }
}

/// A line of jobs that are taken no sooner after each other than its spacing, by the whole fleet: a rate limit, or the politeness that a
/// host is owed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    /// Which.
    pub name: String,
    /// From the time at which a job of the lane is taken to that of the next.
    pub spacing: Duration,
    /// Whether the spacing begins only when the job is settled, or its lease has ended, so that one at a time is done.
    pub exclusive: bool,
}

/// A job to be [pushed](crate::Broker::push).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewJob {
    /// What is to be done, as text of the caller's own, such as JSON.
    pub payload: String,
    /// Nobody pushes a job with this key a second time, also when the first one is done.
    pub unique: Option<String>,
    /// The lane that it is in.
    pub lane: Option<Lane>,
    /// How urgent it is; within its lane, if it is in one.
    pub priority: Priority,
    /// How long nobody may take it.
    pub delay: Duration,
}

impl NewJob {
    /// One of normal priority that may be taken at once.
    ///
    /// ```
    /// use fleet::{Lane, NewJob, Priority};
    /// use std::time::Duration;
    ///
    /// let spacing = Duration::from_secs(1);
    /// let job = NewJob::new("/about").unique("/about").lane("example.org", spacing).priority(Priority::Low);
    /// assert_eq!(job.lane, Some(Lane { name: "example.org".to_owned(), spacing, exclusive: false }));
    /// ```
    pub fn new(payload: impl Into<String>) -> NewJob {
        NewJob { payload: payload.into(), ..NewJob::default() }
    }

    /// Has it pushed once only, among all jobs of this key.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> NewJob {
        self.unique = Some(key.into());
        self
    }

    /// Puts it into a lane.
    #[must_use]
    pub fn lane(mut self, name: impl Into<String>, spacing: Duration) -> NewJob {
        self.lane = Some(Lane { name: name.into(), spacing, exclusive: false });
        self
    }

    /// Puts it into a lane of which one job at a time is done: the next one is taken no sooner than `pause` after this one is settled, or
    /// after the end of its lease if its worker has died or cannot renew it. So while leases are held, what a job does is never closer to
    /// what the next one does than that, however late its worker comes to it.
    #[must_use]
    pub fn exclusive_lane(mut self, name: impl Into<String>, pause: Duration) -> NewJob {
        self.lane = Some(Lane { name: name.into(), spacing: pause, exclusive: true });
        self
    }

    /// Sets how urgent it is.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> NewJob {
        self.priority = priority;
        self
    }

    /// Has nobody take it before this has passed. This is Celery's `countdown`.
    #[must_use]
    pub fn later(mut self, delay: Duration) -> NewJob {
        self.delay = delay;
        self
    }
}

impl NewJob {
    /// The texts of it, and what each is called.
    fn texts(&self) -> [(&'static str, usize); 3] {
        let length = |text: Option<&String>| text.map_or(0, String::len);
        let lane = self.lane.as_ref().map(|lane| &lane.name);
        [
            ("a payload", self.payload.len()),
            ("a unique key", length(self.unique.as_ref())),
            ("the name of a lane", length(lane)),
        ]
    }
}

/// Refuses what is too long to be handed about.
pub(crate) fn check(texts: impl Iterator<Item = (&'static str, usize)>) -> Result<(), BrokerError> {
    let mut all = 0;
    for (what, length) in texts {
        all += length;
        if length > LONGEST_TEXT {
            return Err(BrokerError::TooLong { what, length, most: LONGEST_TEXT });
        }
    }
    if all > LONGEST_CALL {
        return Err(BrokerError::TooLong { what: "what one call adds", length: all, most: LONGEST_CALL });
    }
    Ok(())
}

/// [`check`] for what is pushed.
pub(crate) fn check_jobs(jobs: &[NewJob]) -> Result<(), BrokerError> {
    check(jobs.iter().flat_map(NewJob::texts))
}

/// [`check`] for what has come of jobs, each by itself.
pub(crate) fn check_settlements(settlements: &[Settlement]) -> Result<(), BrokerError> {
    settlements.iter().try_for_each(|settlement| check(settlement.verdict.texts().into_iter()))
}

/// A job that was [taken](crate::Broker::take).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Job {
    /// Its number, by which its result is found.
    pub id: u64,
    /// This delivery's number. No two deliveries have the same one, and later ones of a job have higher ones.
    pub token: u64,
    /// What is to be done.
    pub payload: String,
    /// Which delivery this is, from 1; those that were given back do not count.
    pub attempt: u32,
    pub(crate) term: Term,
}

impl Job {
    /// For how long nobody else is given it, at least, as this process knows: a [`Worker`](crate::Worker) tells when it has renewed the
    /// lease. Nothing once somebody else may have it. What no two may do at the same time asks this right before, since a process may
    /// stand still for any time. Does not wait.
    ///
    /// ```
    /// use fleet::{Broker, NewJob, Sqlite};
    /// use std::time::Duration;
    ///
    /// let broker = Sqlite::in_memory()?;
    /// broker.push(&["long", "none"].map(NewJob::new))?;
    /// assert!(broker.take(1, Duration::from_secs(600))?[0].lease_left() > Duration::from_secs(500));
    /// assert_eq!(broker.take(1, Duration::ZERO)?[0].lease_left(), Duration::ZERO);
    /// # Ok::<(), fleet::BrokerError>(())
    /// ```
    pub fn lease_left(&self) -> Duration {
        self.term.left()
    }

    /// What its taker holds.
    pub fn lease(&self) -> Lease {
        Lease { id: self.id, token: self.token }
    }
}

/// Until when a delivery is its taker's at least, by this process's clock: `None` is for ever. Its copies are told, too. It is no part of what
/// a job is: all are equal.
#[derive(Clone, Debug)]
pub(crate) struct Term(Arc<Mutex<Option<Instant>>>);

impl Term {
    /// That of a lease that begins then, or later.
    pub(crate) fn new(start: Instant, lease: Duration) -> Term {
        Term(Arc::new(Mutex::new(end(start, lease))))
    }

    /// Has it begin then.
    pub(crate) fn renew(&self, start: Instant, lease: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end(start, lease);
    }

    pub(crate) fn end(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn left(&self) -> Duration {
        self.end().map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()))
    }
}

/// A tenth sooner than the engine ends it, which counts whole milliseconds by a clock of its own, so that what is killed for it is gone then.
fn end(start: Instant, lease: Duration) -> Option<Instant> {
    start.checked_add(lease - lease / 10)
}

impl PartialEq for Term {
    fn eq(&self, _: &Term) -> bool {
        true
    }
}

impl Eq for Term {}

/// The right to settle a job, until somebody else is given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Lease {
    /// The job.
    pub id: u64,
    /// The delivery.
    pub token: u64,
}

/// What has come of a job that is done. All of it is committed with the end of the job, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completion {
    /// For whoever [asks](crate::Broker::result) for the job's result, and how long it is kept.
    pub result: Option<(String, Duration)>,
    /// A line for the [records](crate::Broker::records).
    pub record: Option<String>,
    /// Jobs that follow from it.
    pub jobs: Vec<NewJob>,
}

impl Completion {
    /// That it is done, and no more.
    pub fn new() -> Completion {
        Completion::default()
    }

    /// Keeps a result for so long.
    #[must_use]
    pub fn result(mut self, text: impl Into<String>, kept: Duration) -> Completion {
        self.result = Some((text.into(), kept));
        self
    }

    /// Adds a record.
    #[must_use]
    pub fn record(mut self, text: impl Into<String>) -> Completion {
        self.record = Some(text.into());
        self
    }

    /// Pushes more jobs.
    #[must_use]
    pub fn jobs(mut self, jobs: impl IntoIterator<Item = NewJob>) -> Completion {
        self.jobs.extend(jobs);
        self
    }
}

/// What becomes of a job that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is done.
    Done(Completion),
    /// It has failed, and is to be tried again.
    Retry {
        /// How long nobody may take it.
        after: Duration,
        /// Why.
        error: String,
    },
    /// It has failed for good, and lies among the dead until somebody decides about it.
    Dead {
        /// Why.
        error: String,
    },
    /// It was not tried: somebody else may have it at once, and the delivery does not count.
    GivenBack,
}

/// A verdict on a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settlement {
    /// The delivery.
    pub lease: Lease,
    /// The verdict.
    pub verdict: Verdict,
}

impl Verdict {
    /// The texts of it, and what each is called.
    fn texts(&self) -> Vec<(&'static str, usize)> {
        match self {
            Verdict::Done(Completion { result, record, jobs }) => {
                let result = result.iter().map(|(text, _)| ("a result", text.len()));
                let record = record.iter().map(|text| ("a record", text.len()));
                result.chain(record).chain(jobs.iter().flat_map(NewJob::texts)).collect()
            }
            Verdict::Retry { error, .. } | Verdict::Dead { error } => vec![("an error", error.len())],
            Verdict::GivenBack => Vec::new(),
        }
    }

    /// How many bytes it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        self.texts().into_iter().map(|(_, length)| length).sum()
    }
}

impl Settlement {
    /// Of this verdict on this delivery.
    pub fn new(lease: Lease, verdict: Verdict) -> Settlement {
        Settlement { lease, verdict }
    }
}

/// A job that has failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadJob {
    /// Its number.
    pub id: u64,
    /// What was to be done.
    pub payload: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it failed, the last time.
    pub error: String,
}

/// A line that a job has left when it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Its number. Later ones have higher ones.
    pub number: u64,
    /// The job's.
    pub job: u64,
    /// What it says.
    pub text: String,
}

/// How many jobs there are, by what they wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// That wait for a worker, those of lanes included.
    pub ready: u64,
    /// That nobody may take yet.
    pub later: u64,
    /// That somebody has taken.
    pub leased: u64,
    /// That have failed for good.
    pub dead: u64,
    /// That were done, since the last purge.
    pub done: u64,
    /// What they have left.
    pub records: u64,
}

impl Status {
    /// Whether nothing is left to be done.
    pub fn is_idle(&self) -> bool {
        self.ready + self.later + self.leased == 0
    }
}

/// What engines keep in place of a unique key: 16 bytes of its SHA-256. Among a thousand million keys two have the same one less often than
/// once in 10^20 queues. Redis keeps the first eight of them: among ten million keys two have the same ones once in 300,000 queues, and among
/// a thousand million in one of 40.
///
/// ```
/// assert_eq!(fleet::fingerprint("https://example.org/").len(), 16);
/// assert_ne!(fleet::fingerprint("a"), fleet::fingerprint("b"));
/// ```
pub fn fingerprint(key: &str) -> [u8; 16] {
    let digest = Sha256::digest(key.as_bytes());
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    short
}
