//! Why a broker could not do what it was asked to.

/// An error of a [`Broker`](crate::Broker)'s. No message has a password in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// Nobody answers, or the connection was lost. The next call connects again.
    #[error("the broker is not to be reached: {0}")]
    Unreachable(String),
    /// Its certificate does not hold, or is not one of its name.
    #[error("the broker is not trusted: {0}")]
    Untrusted(String),
    /// It does not let this user in.
    #[error("the broker does not let this user in: {0}")]
    Refused(String),
    /// It takes no writes: a replica, a file without the right to write, a full disk.
    #[error("the broker takes no writes: {0}")]
    ReadOnly(String),
    /// It has no memory left.
    #[error("the broker is out of memory: {0}")]
    OutOfMemory(String),
    /// It throws away what it was given when memory is short.
    #[error(
        "the broker evicts keys when memory is short (maxmemory-policy {0}), so jobs would be lost: set noeviction"
    )]
    Evicts(String),
    /// It lacks what is needed.
    #[error("the broker is too old: it is of version {found}, and {needed} is needed")]
    TooOld {
        /// What it is.
        found: String,
        /// The oldest one that will do.
        needed: &'static str,
    },
    /// A text is longer than is handed about: see [`LONGEST_TEXT`](crate::LONGEST_TEXT). Nothing of the call was done.
    #[error("{what} has {length} bytes, and {most} are allowed: keep it elsewhere, and its name in the job")]
    TooLong {
        /// Which one.
        what: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        most: usize,
    },
    /// It cannot be told from this URL or path where the broker is.
    #[error("no address of a broker: {0}")]
    Address(String),
    /// What it holds is of another version of this crate, or broken.
    #[error("the broker holds what cannot be read: {0}")]
    Unreadable(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl BrokerError {
    /// Of a connection that failed with these words.
    pub(crate) fn unreachable(said: String) -> BrokerError {
        // As rustls says it, within what each client makes of that.
        match said.contains("invalid peer certificate") {
            true => BrokerError::Untrusted(said),
            false => BrokerError::Unreachable(said),
        }
    }

    /// What went wrong before anything was asked says nothing against what was to be asked.
    pub(crate) fn while_connecting(self) -> BrokerError {
        match self {
            BrokerError::Other(said) | BrokerError::Unreadable(said) => BrokerError::Unreachable(said),
            error => error,
        }
    }
}
