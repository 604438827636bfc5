//! The errors of what a manager keeps.

use std::io;

use thiserror::Error;

/// The error of a call on something that a [`Manager`](crate::processes::Manager) keeps.
#[doc(alias = "RemoteError")]
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// The manager has ended, or was killed. Or it has hung up, since it had no descriptor left for the answer to one that waited.
    #[error("the manager has ended")]
    Ended,
    /// The manager does not let the caller in: another user, a wrong secret, or a folder that others can enter.
    #[doc(alias = "AuthenticationError")]
    #[error("the manager is not to be had: {0}")]
    Refused(String),
    /// An argument or a value could not be sent, or was none when it came.
    #[error("the argument or the value of the call did not come over: {0}")]
    Undecodable(String),
    /// A [function](crate::processes::manager::Function) panicked, with this text.
    #[error("the function panicked: {0}")]
    Panicked(String),
    /// There is no such place in the list or array.
    #[doc(alias = "IndexError")]
    #[error("place {index} is out of range: the length is {length}")]
    OutOfRange {
        /// The place that was asked for.
        index: usize,
        /// How many there are.
        length: usize,
    },
    /// The queue is full, and the call does not wait.
    #[error("the queue is full")]
    Full,
    /// The queue is empty, and the call does not wait.
    #[error("the queue is empty")]
    Empty,
    /// The time was over before there was an item, or room for one.
    #[error("timed out")]
    TimedOut,
    /// The queue is closed.
    #[error("the queue is closed")]
    Closed,
    /// More was released, or marked done, than there was to do that with. Nothing has changed, but a permit or a lease that was to be given
    /// up by that is.
    #[error("more was given back than there was")]
    TooMany,
    /// The lock of that guard is of another manager than the condition. Or the guard, the permit or the lease is the parent process's.
    #[error("the lock is not held")]
    NotHeld,
    /// Somebody has left the barrier before it was full, or aborted it.
    #[error("the barrier is broken")]
    BrokenBarrier,
    /// The system has failed the call.
    #[error("{text}")]
    System {
        /// The kind of the system's error.
        kind: io::ErrorKind,
        /// Its text.
        text: String,
    },
}

impl From<io::Error> for ManagerError {
    fn from(error: io::Error) -> ManagerError {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => ManagerError::Ended,
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                ManagerError::Undecodable(error.to_string())
            }
            kind => ManagerError::System { kind, text: error.to_string() },
        }
    }
}

impl From<ManagerError> for io::Error {
    fn from(error: ManagerError) -> io::Error {
        match error {
            ManagerError::System { kind, text } => io::Error::new(kind, text),
            ManagerError::Ended => io::Error::new(io::ErrorKind::BrokenPipe, error),
            ManagerError::Refused(_) => io::Error::new(io::ErrorKind::PermissionDenied, error),
            ManagerError::Undecodable(_) => io::Error::new(io::ErrorKind::InvalidData, error),
            ManagerError::OutOfRange { .. } | ManagerError::TooMany => {
                io::Error::new(io::ErrorKind::InvalidInput, error)
            }
            ManagerError::Full | ManagerError::Empty => io::Error::new(io::ErrorKind::WouldBlock, error),
            ManagerError::TimedOut => io::Error::new(io::ErrorKind::TimedOut, error),
            error => io::Error::other(error),
        }
    }
}
