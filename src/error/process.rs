//! Errors of processes that were forked.

use std::io;

use thiserror::Error;

use super::Unwinding;

/// The error of starting a [`Process`](crate::process::Process): there is none.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The process has other OS threads. What they hold at the moment of a fork stays held in the child, for ever.
    ///
    /// Idle threads of greenloop's pools do not count. A [`Zygote`](crate::process::Zygote) that was started before the others can start
    /// processes at any time.
    #[error(
        "the process has other OS threads ({count}), and a child would find locked what they hold: fork before they are \
         started, or have a `process::Zygote` start the child, which was made before them"
    )]
    ForeignThreads {
        /// How many there are.
        count: usize,
    },
    /// The green thread unwinds, and the child would find itself in the midst of that.
    #[error(transparent)]
    Unwinding(#[from] Unwinding),
    /// The function is in a library that was loaded after the zygote was started.
    #[error("the function is in a library that was loaded after the zygote was started")]
    UnknownFunction,
    /// The kernel refuses.
    #[error("cannot start a process")]
    System(#[from] io::Error),
}

impl From<StartError> for io::Error {
    fn from(error: StartError) -> io::Error {
        match error {
            StartError::System(error) => error,
            StartError::ForeignThreads { .. } | StartError::UnknownFunction => {
                io::Error::new(io::ErrorKind::Unsupported, error)
            }
            StartError::Unwinding(error) => error.into(),
        }
    }
}

/// The error of joining a [`Process`](crate::process::Process) that left no value.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// It panicked. Its exit status is 101.
    #[doc(alias = "RemoteTraceback")]
    #[error("the process panicked: {message}")]
    Panicked {
        /// The text of the panic.
        message: String,
        /// Where it was, and the backtrace, if the environment variable `RUST_BACKTRACE` asked for one.
        backtrace: String,
    },
    /// It ended by itself, by `exit`.
    #[error("the process ended with status {0} and no value")]
    Exited(i32),
    /// A signal ended it.
    #[error("the process was killed by signal {signal}")]
    Killed {
        /// The signal's number.
        signal: i32,
        /// Whether it left a core dump.
        core_dumped: bool,
    },
    /// It returned a value that could not be sent, or was no such value when it came.
    #[error("the value that the process returned did not come over: {0}")]
    Undecodable(String),
    /// Nobody can tell how it ended: other code has waited for it, SIGCHLD is ignored, or its zygote was killed.
    #[error("how the process ended is not known: {0}")]
    Unknown(&'static str),
    /// Another process started it, and alone may join it.
    #[error("this process did not start it")]
    NotOurs,
    /// Waiting for it failed.
    #[error("cannot wait for the process")]
    System(#[from] io::Error),
}

impl From<ProcessError> for io::Error {
    fn from(error: ProcessError) -> io::Error {
        match error {
            ProcessError::System(error) => error,
            error => io::Error::other(error),
        }
    }
}

/// The error of a job of a [`ProcessPool`](crate::processes::ProcessPool): it left no value. The pool goes on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WorkError {
    /// The function panicked.
    #[doc(alias = "RemoteTraceback")]
    #[error("the job panicked: {message}")]
    Panicked {
        /// The text of the panic.
        message: String,
        /// Where it was, and the backtrace, if the environment variable `RUST_BACKTRACE` asked for one.
        backtrace: String,
    },
    /// The worker died while it had the job, and the job is not to be tried again.
    #[doc(alias("BrokenProcessPool", "WorkerLostError"))]
    #[error("worker {id} {} in the middle of the job, at attempt {attempts}", death(.signal))]
    WorkerDied {
        /// The number of the worker that died last.
        id: u32,
        /// The signal that killed it, if one did.
        signal: Option<i32>,
        /// How often the job was begun.
        attempts: u32,
    },
    /// The argument or the value could not be sent, or was none when it came.
    #[error("the argument or the value of the job did not come over: {0}")]
    Undecodable(String),
    /// The job took longer than its limit.
    #[error("the job took longer than the limit")]
    TimedOut,
    /// The job was killed.
    #[error("the job was killed")]
    Killed,
    /// The job was taken back before it began.
    #[error("the job was cancelled")]
    Cancelled,
    /// The pool was closed before the job was given, or terminated before its end.
    #[error("the pool is closed")]
    Closed,
    /// The pool's initializer panicked, so no worker can be had.
    #[error("the pool's initializer panicked: {0}")]
    Initializer(String),
    /// Worker after worker could not be started, or died before it was ready.
    #[error("no worker can be had: {0}")]
    NoWorker(String),
}

impl From<WorkError> for io::Error {
    fn from(error: WorkError) -> io::Error {
        io::Error::other(error)
    }
}

fn death(signal: &Option<i32>) -> String {
    signal.map_or_else(|| "died".to_owned(), |signal| format!("was killed by signal {signal}"))
}
