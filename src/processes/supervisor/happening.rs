//! What a supervisor reports.

use std::process::ExitStatus;
use std::time::Duration;

/// What has happened to a [`Supervisor`](super::Supervisor), for its [hook](super::Supervisor::on_event).
///
/// # Examples
///
/// ```
/// use greenloop::processes::{Supervisor, SupervisorEvent};
///
/// let supervisor = Supervisor::new().on_event(|event| match event {
///     SupervisorEvent::Ended { pid, status, .. } => eprintln!("worker {pid} has ended: {status}"),
///     event => eprintln!("{event:?}"),
/// });
/// # drop(supervisor);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SupervisorEvent {
    /// A worker was forked.
    Started {
        /// The number of its process.
        pid: u32,
        /// One more for each reload.
        generation: u64,
    },
    /// A worker could not be forked: it is tried again in a second.
    StartFailed {
        /// Why.
        error: String,
    },
    /// A worker is ready.
    Ready {
        /// The number of its process.
        pid: u32,
        /// One more for each reload.
        generation: u64,
    },
    /// A worker has ended, for whatever reason.
    Ended {
        /// The number of its process.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
        /// How long it was there.
        uptime: Duration,
        /// How long before that its hub was last known to run.
        last_beat: Duration,
        /// How many [requests](super::Worker::request_served) it has counted.
        requests: u64,
        /// Its own error, or the text of its panic.
        error: Option<String>,
    },
    /// A worker was not ready in time, and is killed.
    NotReady {
        /// The number of its process.
        pid: u32,
    },
    /// The hub of a worker has not run for too long. It is sent SIGABRT, and SIGKILL after that.
    Stuck {
        /// The number of its process.
        pid: u32,
    },
    /// A worker is replaced: it has served its requests, or takes too much memory.
    Spent {
        /// The number of its process.
        pid: u32,
    },
    /// There are to be more workers or less, by SIGTTIN or SIGTTOU.
    Resized {
        /// How many.
        workers: usize,
    },
    /// A reload begins: workers of this generation take the places of the others.
    Reloading {
        /// The generation.
        generation: u64,
    },
    /// A reload is given up, since its workers fail. Those of before stay.
    ReloadFailed {
        /// What became of the last one that failed.
        error: String,
    },
    /// The program was started anew, by SIGUSR2.
    Executed {
        /// The number of the new process.
        pid: u32,
    },
    /// The program that was started anew has ended, or could not be started, before it was ready. This one goes on.
    ExecutionFailed {
        /// What became of it.
        error: String,
    },
    /// The supervisor stops: by a signal, or because the program that was started anew is ready.
    Stopping,
}
