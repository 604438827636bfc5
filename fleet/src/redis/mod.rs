//! The broker for many machines that need speed: a server of Redis or Valkey.

mod connection;

use crate::job::{TAKEN_BYTES, Term, check, check_jobs, check_settlements};
use crate::{
    Broker, BrokerError, Completion, DeadJob, Job, Lease, NewJob, Record, Settlement, Status, Verdict,
    fingerprint,
};
use ::redis::{Cmd, FromRedisValue, Value};
use connection::Line;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many keys are removed at once.
const PURGED: usize = 1000;
/// How long a connection is left to wait for news: less than it may take to answer.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A broker in a server of Redis, 7.0 or later, or of Valkey. The crate `redis` talks to it.
///
/// Jobs are in streams, one for each priority, with a consumer group: taking is XREADGROUP, renewing XCLAIM, what is taken over is found by
/// XPENDING, and settling is XACK. An entry is one delivery, and its id the token, so who has lost a lease acknowledges
/// nothing. Each call is one script, so it is done as a whole or not at all. What it is worth after a power cut is the server's affair: with
/// `appendonly yes` and `appendfsync always` nothing that was acknowledged is lost, with `everysec` at most a second of it, and by
/// default minutes.
///
/// All keys of a queue have its name in braces, so that a cluster has them on one server. Name any of the cluster's: it tells which one,
/// also when that changes. The queues of a cluster are spread over its servers by their names.
///
/// ```no_run
/// use fleet::{Broker, NewJob, Redis};
///
/// let broker = Redis::open("redis://127.0.0.1/", "thumbnails")?;
/// broker.push(&[NewJob::new("cat.png")])?;
/// assert_eq!(broker.status()?.ready, 1);
/// # Ok::<(), fleet::BrokerError>(())
/// ```
pub struct Redis {
    line: Line,
    /// For who waits, which keeps it meanwhile.
    waiting: Line,
    prefix: String,
    quiet: Mutex<Option<Quiet>>,
}

/// What a look has left that found no job: until when there is none but what somebody tells of after these news.
#[derive(Clone)]
struct Quiet {
    until: Instant,
    news: String,
}

impl Redis {
    /// Connects to the server at `url`, for the queue `queue`. A connection that is lost later is made anew. One to `rediss://…` is
    /// encrypted, and the server's certificate and name are verified, by the system's certificates or those of `?sslrootcert=FILE`.
    ///
    /// # Errors
    ///
    /// Says why the server will not do: nobody answers, a wrong password, a version before 7.0, or memory that is short and a policy that
    /// is not `noeviction`. A name that has anything but letters, digits, `-`, `_` and `.` is none.
    pub fn open(url: &str, queue: &str) -> Result<Redis, BrokerError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if queue.is_empty() || !queue.bytes().all(is_plain) {
            return Err(BrokerError::Address(
                "the name of a queue has letters, digits, -, _ and .".to_owned(),
            ));
        }
        let prefix = format!("fleet:{{{queue}}}:");
        let line = Line::open(url, prefix.clone())?;
        let waiting = line.beside();
        Ok(Redis { line, waiting, prefix, quiet: Mutex::new(None) })
    }

    fn run<T: FromRedisValue>(&self, what: &str, add: impl Fn(&mut Cmd)) -> Result<T, BrokerError> {
        self.line.ask(|script| self.command(script, what, &add))
    }

    /// The same, before others who wait.
    fn run_soon<T: FromRedisValue>(&self, what: &str, add: impl Fn(&mut Cmd)) -> Result<T, BrokerError> {
        self.line.ask_soon(|script| self.command(script, what, &add))
    }

    fn command(&self, script: &str, what: &str, add: impl Fn(&mut Cmd)) -> Cmd {
        let mut command = ::redis::cmd("EVALSHA");
        command.arg(script).arg(1).arg(&self.prefix).arg(what);
        add(&mut command);
        command
    }

    fn key(&self, name: impl fmt::Display) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not where: there may be a password in it.
        formatter.debug_struct("Redis").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Broker for Redis {
    fn queue(&self) -> &str {
        self.prefix.trim_start_matches("fleet:{").trim_end_matches("}:")
    }

    fn push(&self, jobs: &[NewJob]) -> Result<usize, BrokerError> {
        check_jobs(jobs)?;
        self.run("push", |command| add_jobs(command, jobs))
    }

    fn submit(&self, job: &NewJob) -> Result<Option<u64>, BrokerError> {
        let jobs = std::slice::from_ref(job);
        check_jobs(jobs)?;
        self.run("submit", |command| add_jobs(command, jobs))
    }

    fn take(&self, most: usize, lease: Duration) -> Result<Vec<Job>, BrokerError> {
        type Taken = Vec<(u64, u64, String, u32)>;
        let start = Cell::new(Instant::now());
        let (taken, quiet, news): (Taken, u64, String) = self.run_soon("take", |command| {
            start.set(Instant::now());
            command.arg(bounded(most)).arg(milliseconds(lease)).arg(TAKEN_BYTES);
        })?;
        let until = Instant::now() + Duration::from_millis(quiet);
        let quiet = taken.is_empty().then_some(Quiet { until, news });
        *self.quiet.lock().unwrap_or_else(PoisonError::into_inner) = quiet;
        let job = |(id, token, payload, attempt)| {
            let term = Term::new(start.get(), lease);
            Job { id, token, payload, attempt, term }
        };
        Ok(taken.into_iter().map(job).collect())
    }

    fn wait(&self, most: Duration) -> Result<bool, BrokerError> {
        let quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(Quiet { until, news }) = quiet else { return Ok(true) };
        let left = until.saturating_duration_since(Instant::now()).min(most).min(LONGEST_WAIT);
        if left.is_zero() {
            return Ok(true);
        }
        let key = self.key("news");
        self.waiting.ask::<Value>(|_| {
            let mut command = ::redis::cmd("XREAD");
            // Without a time it would be for ever.
            command.arg("COUNT").arg(1).arg("BLOCK").arg(milliseconds(left).max(1));
            command.arg("STREAMS").arg(&key).arg(&news);
            command
        })?;
        Ok(true)
    }

    fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<Lease>, BrokerError> {
        let lost: Vec<usize> = self.run_soon("renew", |command| {
            command.arg(milliseconds(lease)).arg(leases.len());
            for lease in leases {
                command.arg(lease.id).arg(lease.token);
            }
        })?;
        Ok(lost.into_iter().filter_map(|index| leases.get(index)).copied().collect())
    }

    fn settle(&self, settlements: &[Settlement]) -> Result<Vec<bool>, BrokerError> {
        check_settlements(settlements)?;
        self.run("settle", |command| {
            command.arg(settlements.len());
            settlements.iter().for_each(|settlement| add_settlement(command, settlement));
        })
    }

    fn result(&self, job: u64) -> Result<Option<String>, BrokerError> {
        let key = self.key(format_args!("result:{job}"));
        self.line.ask(|_| Cmd::get(&key))
    }

    fn keep(&self, name: &str, text: &str, kept: Duration) -> Result<(), BrokerError> {
        check([("what is kept", text.len())].into_iter())?;
        let key = self.key(format_args!("kept:{name}"));
        // Redis refuses a time of nothing.
        self.line.ask(|_| Cmd::pset_ex(&key, text, milliseconds(kept).max(1)))
    }

    fn kept(&self, name: &str) -> Result<Option<String>, BrokerError> {
        let key = self.key(format_args!("kept:{name}"));
        self.line.ask(|_| Cmd::get(&key))
    }

    fn records(&self, after: u64, most: usize) -> Result<Vec<Record>, BrokerError> {
        let (key, after) = (self.key("records"), format!("({after}-0"));
        let entries: Vec<(String, HashMap<String, String>)> = self.line.ask(|_| {
            let mut command = ::redis::cmd("XRANGE");
            command.arg(&key).arg(&after).arg("+").arg("COUNT").arg(bounded(most));
            command
        })?;
        entries.into_iter().map(record).collect()
    }

    fn dead_jobs(&self, most: usize) -> Result<Vec<DeadJob>, BrokerError> {
        let dead: Vec<(u64, String, u32, String)> = self.run("dead_jobs", |command| {
            command.arg(bounded(most));
        })?;
        let job = |(id, payload, attempts, error)| DeadJob { id, payload, attempts, error };
        Ok(dead.into_iter().map(job).collect())
    }

    fn requeue_dead(&self) -> Result<u64, BrokerError> {
        self.run("requeue_dead", |_| {})
    }

    fn purge(&self) -> Result<(), BrokerError> {
        let (pattern, left) = (self.key("*"), ["next", "layout"].map(|name| self.key(name)));
        let mut cursor = 0;
        loop {
            let (following, keys): (u64, Vec<String>) = self.line.ask(|_| {
                let mut command = ::redis::cmd("SCAN");
                command.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PURGED);
                command
            })?;
            // So that a lease of before is never taken for one of after.
            let keys: Vec<_> = keys.into_iter().filter(|key| !left.contains(key)).collect();
            if !keys.is_empty() {
                self.line.ask::<()>(|_| Cmd::unlink(&keys))?;
            }
            cursor = following;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    fn status(&self) -> Result<Status, BrokerError> {
        let (ready, later, leased, dead, done, records) = self.run("status", |_| {})?;
        Ok(Status { ready, later, leased, dead, done, records })
    }
}

/// How many the server is asked for at most: it counts in whole numbers.
fn bounded(most: usize) -> usize {
    most.min(1 << 31)
}

fn milliseconds(duration: Duration) -> u64 {
    // What is left of a double's 53 bits when a time is added.
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(1 << 52)
}

/// What is kept of a unique key: eight bytes, for which Redis has sets without overhead.
fn number(key: &str) -> i64 {
    let [first @ .., _, _, _, _, _, _, _, _] = fingerprint(key);
    i64::from_be_bytes(first)
}

fn add_jobs(command: &mut Cmd, jobs: &[NewJob]) {
    command.arg(jobs.len());
    for job in jobs {
        let seen = job.unique.as_deref().map(number);
        command.arg(seen.map_or_else(String::new, |seen| seen.to_string())).arg(&job.payload);
        command.arg(job.priority.number()).arg(milliseconds(job.delay));
        match &job.lane {
            Some(lane) => {
                command.arg(1 + u8::from(lane.exclusive)).arg(&lane.name).arg(milliseconds(lane.spacing))
            }
            None => command.arg(0).arg("").arg(0),
        };
    }
}

fn add_settlement(command: &mut Cmd, settlement: &Settlement) {
    command.arg(settlement.lease.id).arg(settlement.lease.token);
    match &settlement.verdict {
        Verdict::Done(Completion { result, record, jobs }) => {
            let (text, kept) = result.as_ref().map_or(("", Duration::ZERO), |(text, kept)| (text, *kept));
            command.arg("done").arg(u8::from(record.is_some())).arg(record.as_deref().unwrap_or_default());
            // Redis refuses a time of nothing.
            command.arg(u8::from(result.is_some())).arg(text).arg(milliseconds(kept).max(1));
            add_jobs(command, jobs);
        }
        Verdict::Retry { after, error } => {
            command.arg("retry").arg(milliseconds(*after)).arg(error);
        }
        Verdict::Dead { error } => {
            command.arg("dead").arg(0).arg(error);
        }
        Verdict::GivenBack => {
            command.arg("back");
        }
    }
}

fn record((id, mut fields): (String, HashMap<String, String>)) -> Result<Record, BrokerError> {
    let number = |text: &str| text.parse().ok();
    let read = id.split('-').next().and_then(number).zip(fields.get("job").and_then(|job| number(job)));
    let unreadable = || BrokerError::Unreadable(format!("the record {id}"));
    let (number, job) = read.ok_or_else(unreadable)?;
    Ok(Record { number, job, text: fields.remove("text").unwrap_or_default() })
}
