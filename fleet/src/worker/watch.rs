//! Whether the jobs of a worker let it run: an OS thread beside it looks.

use super::detection::Detection;
use crate::Lease;
use greenloop::TaskId;
use greenloop::event::Event;
use greenloop::inspect::HubBlocked;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How long after a job's hard limit it should be gone.
const SLACK: Duration = Duration::from_millis(100);
/// How long the worker may take to answer, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is looked, at most and at least.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How much longer it is looked for the one that keeps it, before it is told without.
const SEARCH: Duration = Duration::from_secs(1);
/// How many jobs are named.
const NAMED: usize = 10;

/// A worker that does not run: one of its jobs has kept the OS thread for longer than the hard limit, by computing, or in a call from C that
/// does not return. [`Worker::on_blocked`](crate::Worker::on_blocked) is told of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Blocked {
    /// The worker's process.
    pub process: u32,
    /// Its [queue](crate::Broker::queue).
    pub queue: String,
    /// For how long it has not run, at least.
    pub lasted: Duration,
    /// How many jobs run there.
    pub running: usize,
    /// Ten of them at most, the one that was begun last first.
    pub jobs: Vec<u64>,
    /// The one that keeps the OS thread; `None` if the kernel or the process does not let it be seen, or if the program has a
    /// [detector](greenloop::inspect::detect) of its own, which tells then.
    pub job: Option<u64>,
    /// In which calls and which system call it is, and whether it computes.
    pub seen: Option<HubBlocked>,
}

impl fmt::Display for Blocked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Blocked { process, queue, lasted, running, jobs, job, seen } = self;
        write!(formatter, "worker {process} ")?;
        if !queue.is_empty() {
            write!(formatter, "of the queue {queue} ")?;
        }
        write!(formatter, "has not run for {lasted:.1?}: ")?;
        if let Some(job) = job {
            write!(formatter, "job {job} keeps it, one of {running}")?;
            return seen.iter().try_for_each(|seen| write!(formatter, "\n  {seen}"));
        }
        write!(formatter, "one of its {running} jobs keeps it, of which the last begun are")?;
        jobs.iter().enumerate().try_for_each(|(place, job)| {
            let separator = if place == 0 { "" } else { "," };
            write!(formatter, "{separator} {job}")
        })
    }
}

pub(super) type Hook = Arc<dyn Fn(&Blocked) + Send + Sync>;

/// What a worker and who looks at it have in common.
#[derive(Default)]
pub(super) struct Watched {
    /// When the hard limit of each job that runs comes, and its green thread.
    limits: Mutex<HashMap<Lease, (Instant, TaskId)>>,
    /// Set when the worker is to answer.
    asked: Event,
    /// The number of the last question, and that of the last one that was answered.
    question: AtomicU64,
    answer: AtomicU64,
    answered: Mutex<Option<Instant>>,
    is_over: Mutex<bool>,
    over: Condvar,
}

impl Watched {
    /// Of the calling green thread, which does the job.
    pub(super) fn begin(&self, lease: Lease, limit: Instant) {
        if let Some(task) = greenloop::current() {
            lock(&self.limits).insert(lease, (limit, task.id()));
        }
    }

    pub(super) fn end(&self, lease: Lease) {
        lock(&self.limits).remove(&lease);
    }

    /// Answers, as long as the worker runs.
    pub(super) fn answer_all(&self) {
        loop {
            self.asked.wait();
            self.asked.clear();
            *lock(&self.answered) = Some(Instant::now());
            self.answer.store(self.question.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    }

    /// Waits, and returns whether the watch is over.
    fn wait(&self, most: Duration) -> bool {
        let is_over = self.over.wait_timeout_while(lock(&self.is_over), most, |is_over| !*is_over);
        *is_over.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Whether the worker does not answer, and has not run since the limit of a job was passed.
    fn look(&self, queue: &str, detection: Option<&Detection>) -> Option<Blocked> {
        let (first, _) = lock(&self.limits).values().min().copied()?;
        // Also before the limit, so that it is known since when it may not have run.
        let question = self.question.fetch_add(1, Ordering::SeqCst) + 1;
        self.asked.set();
        if first + SLACK > Instant::now() {
            return None;
        }
        if self.wait(PATIENCE) || self.answer.load(Ordering::SeqCst) >= question {
            return None;
        }
        let mut limits: Vec<_> =
            lock(&self.limits).iter().map(|(lease, (limit, task))| (*limit, lease.id, *task)).collect();
        limits.sort_unstable_by(|one, other| other.cmp(one));
        let since = *lock(&self.answered);
        let tasks = limits.iter().map(|(_, job, task)| (*task, *job));
        let found = detection.zip(since).and_then(|(detection, since)| detection.of(tasks, since));
        let (job, seen) = found.unzip();
        Some(Blocked {
            process: std::process::id(),
            queue: queue.to_owned(),
            lasted: first.elapsed(),
            running: limits.len(),
            jobs: limits.iter().map(|(_, job, _)| *job).take(NAMED).collect(),
            job,
            seen,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The OS thread, which ends with this.
pub(super) struct Watch {
    watched: Arc<Watched>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn begin(
        watched: Arc<Watched>,
        limit: Duration,
        queue: &str,
        hook: Hook,
    ) -> io::Result<Watch> {
        let pause = (limit / 4).clamp(LOOKS.0, LOOKS.1);
        let (seen, queue) = (Arc::clone(&watched), queue.to_owned());
        *lock(&seen.answered) = Some(Instant::now());
        let detection = Detection::begin();
        let look = move || {
            // Since when it does not run, and whether that was told, and by whom.
            let (mut since, mut is_told, mut is_named) = (None, false, false);
            while !seen.wait(pause) {
                let Some(blocked) = seen.look(&queue, detection.as_ref()) else {
                    (since, is_told, is_named) = (None, false, false);
                    continue;
                };
                let searched = since.get_or_insert_with(Instant::now).elapsed();
                let is_found = blocked.job.is_some();
                let is_late = detection.is_none() || searched > SEARCH;
                if (is_found && !is_named) || (is_late && !is_told) {
                    hook(&blocked);
                    (is_told, is_named) = (true, is_found);
                }
            }
        };
        let thread = Builder::new().name("fleet-watch".to_owned()).spawn(look)?;
        Ok(Watch { watched, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *lock(&self.watched.is_over) = true;
        self.watched.over.notify_all();
        if let Some(thread) = self.thread.take() {
            // What a hook panics with was told by the panic itself.
            let _ = thread.join();
        }
    }
}
