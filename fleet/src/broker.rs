//! Where jobs are.

use crate::{BrokerError, Completion, DeadJob, Job, Lease, NewJob, Record, Settlement, Status, Verdict};
use std::time::Duration;

/// A queue of jobs that outlives processes.
///
/// A broker may be used by many green threads and OS threads, which take turns: each call waits for those before it, and for the
/// engine. Under [`patch_all`](greenloop::monkey::patch_all) other green threads run meanwhile. A call that a time limit or a kill
/// interrupts returns an error; whether it was carried out is not known then, and the next call has a connection of its own. All calls
/// may be repeated: a lease is settled once, and what is unique is pushed once.
///
/// All times are the engine's: no clock of a worker's is ever compared with that of another.
pub trait Broker: Send + Sync {
    /// The name of the queue, or of the file, for a log; empty if it has none. It has no password in it.
    fn queue(&self) -> &str {
        ""
    }

    /// Adds jobs, and returns how many there were not yet, by their unique keys. All of them are added, or none.
    ///
    /// It is [`TooLong`](BrokerError::TooLong) if a text is longer than [`LONGEST_TEXT`](crate::LONGEST_TEXT), or all are together than
    /// [`LONGEST_CALL`](crate::LONGEST_CALL). PostgreSQL keeps no text with a zero character: it is [`Other`](BrokerError::Other) there.
    fn push(&self, jobs: &[NewJob]) -> Result<usize, BrokerError>;

    /// Adds one job, and returns its number, by which its [result](Broker::result) is found: `None` if there was one of its unique key.
    ///
    /// # Errors
    ///
    /// As [`push`](Broker::push).
    ///
    /// ```
    /// use fleet::{Broker, Completion, NewJob, Sqlite, Worker};
    /// use std::{sync::Arc, time::Duration};
    ///
    /// let broker = Arc::new(Sqlite::in_memory()?);
    /// let number = broker.submit(&NewJob::new("7").unique("seven"))?.expect("the first one");
    /// assert_eq!(broker.submit(&NewJob::new("7").unique("seven"))?, None);
    /// Worker::new(broker.clone()).until_idle().run(|job| {
    ///     let doubled = 2 * job.payload.parse::<u32>()?;
    ///     Ok(Completion::new().result(doubled.to_string(), Duration::from_secs(600)))
    /// })?;
    /// assert_eq!(broker.result(number)?.as_deref(), Some("14"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn submit(&self, job: &NewJob) -> Result<Option<u64>, BrokerError>;

    /// Takes up to `most` jobs that may be taken, the most urgent and oldest first, each for the time of a lease. Does not wait for jobs.
    ///
    /// Those whose lease has ended are among them. It takes no more once the payloads have 16 MiB, so of long ones there are few at a time.
    fn take(&self, most: usize, lease: Duration) -> Result<Vec<Job>, BrokerError>;

    /// Waits until it is worth while to [take](Broker::take) again after a call that found no job, at most for `most`, and returns `true`. It
    /// may return sooner.
    ///
    /// An engine that tells nobody of jobs returns `false` at once, as this does unless it is overridden: SQLite and PostgreSQL do. Redis
    /// tells.
    ///
    /// ```
    /// use fleet::{Broker, Sqlite};
    /// use std::time::Duration;
    ///
    /// assert!(!Sqlite::in_memory()?.wait(Duration::from_secs(600))?);
    /// # Ok::<(), fleet::BrokerError>(())
    /// ```
    fn wait(&self, most: Duration) -> Result<bool, BrokerError> {
        let _ = most;
        Ok(false)
    }

    /// Has leases last for `lease` from now on, and returns those that somebody else has by now, or that were settled.
    fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<Lease>, BrokerError>;

    /// Settles deliveries, all in one commit, and returns of each whether its lease was still held. One that was not has no effect.
    fn settle(&self, settlements: &[Settlement]) -> Result<Vec<bool>, BrokerError>;

    /// The result of a job, as long as it is kept; `None` before it is done, and after it has failed. [`submit`](Broker::submit) tells its
    /// number.
    fn result(&self, job: u64) -> Result<Option<String>, BrokerError>;

    /// Keeps a text for all processes under a name, for a time; one that was there is replaced. Whoever reads it must be able to do without.
    fn keep(&self, name: &str, text: &str, kept: Duration) -> Result<(), BrokerError>;

    /// What is kept under a name.
    fn kept(&self, name: &str) -> Result<Option<String>, BrokerError>;

    /// Up to `most` records with numbers above `after`, in order.
    fn records(&self, after: u64, most: usize) -> Result<Vec<Record>, BrokerError>;

    /// Up to `most` jobs that have failed for good, the oldest first.
    fn dead_jobs(&self, most: usize) -> Result<Vec<DeadJob>, BrokerError>;

    /// Has all jobs that have failed for good tried again, as if they never had been, and returns how many.
    fn requeue_dead(&self) -> Result<u64, BrokerError>;

    /// Removes everything: jobs, results, records, keys, lanes, what is kept.
    fn purge(&self) -> Result<(), BrokerError>;

    /// Counts the jobs.
    fn status(&self) -> Result<Status, BrokerError>;

    /// Ends a job with what has come of it. Returns `false`, and does nothing, if the lease was lost.
    fn done(&self, lease: &Lease, completion: Completion) -> Result<bool, BrokerError> {
        self.settle_one(lease, Verdict::Done(completion))
    }

    /// Has a job tried again after `after`. Returns `false`, and does nothing, if the lease was lost.
    fn fail(&self, lease: &Lease, after: Duration, error: &str) -> Result<bool, BrokerError> {
        self.settle_one(lease, Verdict::Retry { after, error: error.to_owned() })
    }

    /// Ends a job that has failed for good. Returns `false`, and does nothing, if the lease was lost.
    fn dead(&self, lease: &Lease, error: &str) -> Result<bool, BrokerError> {
        self.settle_one(lease, Verdict::Dead { error: error.to_owned() })
    }

    /// [`settle`](Broker::settle) for one.
    fn settle_one(&self, lease: &Lease, verdict: Verdict) -> Result<bool, BrokerError> {
        let held = self.settle(&[Settlement::new(*lease, verdict)])?;
        Ok(held.first().copied().unwrap_or(false))
    }
}
