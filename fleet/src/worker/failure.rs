//! How a job fails.

use std::error::Error;
use std::time::Duration;

/// What a job's function returns if it has not done its job. Every error becomes one by `?`, and has the job tried again.
///
/// ```
/// use fleet::{Completion, Failure};
///
/// fn double(text: &str) -> Result<Completion, Failure> {
///     let number: u32 = text.parse()?;
///     let twice = number.checked_mul(2).ok_or(Failure::dead("too large a number"))?;
///     Ok(Completion::new().record(twice.to_string()))
/// }
///
/// assert_eq!(double("7").unwrap().record.as_deref(), Some("14"));
/// assert_eq!(double("seven").unwrap_err().error(), "invalid digit found in string");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub(crate) error: String,
    pub(crate) kind: Kind,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Another attempt, after what the worker's back-off says.
    Retry,
    /// Another attempt, after this.
    RetryAfter(Duration),
    /// None.
    Dead,
    /// The same one, as it was not tried.
    GivenBack,
}

impl Failure {
    /// Has the job tried again, after a delay of the worker's [`Backoff`](crate::Backoff), unless that was the last attempt.
    pub fn retry(error: impl Into<String>) -> Failure {
        Failure { error: error.into(), kind: Kind::Retry }
    }

    /// Has the job tried again after `delay`, unless that was the last attempt.
    pub fn retry_after(delay: Duration, error: impl Into<String>) -> Failure {
        Failure { error: error.into(), kind: Kind::RetryAfter(delay) }
    }

    /// Has the job lie among the dead: another attempt would fail too.
    pub fn dead(error: impl Into<String>) -> Failure {
        Failure { error: error.into(), kind: Kind::Dead }
    }

    /// Gives the job back, as it was not tried: somebody else may have it at once, and the delivery does not count. So one that is always
    /// given back is never dead. It is for what finds that it may not be done now, such as by [`lease_left`](crate::Job::lease_left).
    pub fn given_back() -> Failure {
        Failure { error: "it was given back".to_owned(), kind: Kind::GivenBack }
    }

    /// Why.
    pub fn error(&self) -> &str {
        &self.error
    }

    /// Whether another attempt would fail too.
    pub fn is_final(&self) -> bool {
        self.kind == Kind::Dead
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::retry(error.to_string())
    }
}
