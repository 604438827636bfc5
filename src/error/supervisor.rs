//! What a supervisor fails with.

use std::io;

use thiserror::Error;

/// The error of [`Supervisor::run`](crate::processes::Supervisor::run).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// The process has other OS threads, and what they hold at the moment of a fork stays held in the child for ever.
    #[error(
        "the process has other OS threads ({count}), so it cannot be forked: run the supervisor before they are started"
    )]
    ForeignThreads {
        /// How many.
        count: usize,
    },
    /// No worker was ever ready: so many in a row failed before that.
    #[doc(alias = "HaltServer")]
    #[error("{failures} workers in a row failed before any was ready; the last: {last}")]
    Boot {
        /// How many.
        failures: u32,
        /// What became of the last one: its own error, if it has told one.
        last: String,
    },
    /// There is neither a worker, nor can there be one, or the signals cannot be listened to.
    #[error("the supervisor cannot work")]
    System(#[from] io::Error),
}

impl From<SupervisorError> for io::Error {
    fn from(error: SupervisorError) -> io::Error {
        match error {
            SupervisorError::System(error) => error,
            SupervisorError::ForeignThreads { .. } => io::Error::new(io::ErrorKind::Unsupported, error),
            SupervisorError::Boot { .. } => io::Error::other(error),
        }
    }
}
