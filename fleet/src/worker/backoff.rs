//! How long a job that failed is left alone.

use std::time::Duration;

/// The delays between the attempts at a job: a random part of a limit that doubles from `first` to `most`, so that what failed together
/// does not come back together. This is Celery's `retry_backoff` with `retry_jitter`, and what AWS calls full jitter.
///
/// ```
/// use fleet::Backoff;
/// use std::time::Duration;
///
/// let backoff = Backoff::full_jitter(Duration::from_secs(1), Duration::from_secs(600));
/// assert!(backoff.delay(1) <= Duration::from_secs(1));
/// assert!(backoff.delay(4) <= Duration::from_secs(8));
/// assert!(backoff.delay(4_000_000_000) <= Duration::from_secs(600));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
}

impl Backoff {
    /// Up to `first` after the first attempt, then twice that, and so on up to `most`.
    pub fn full_jitter(first: Duration, most: Duration) -> Backoff {
        Backoff { first, most }
    }

    /// A delay after this attempt, the first of which is 1.
    pub fn delay(&self, attempt: u32) -> Duration {
        let doubled =
            2_u32.checked_pow(attempt.saturating_sub(1)).and_then(|times| self.first.checked_mul(times));
        doubled.unwrap_or(self.most).min(self.most).mul_f64(fastrand::f64())
    }
}

impl Default for Backoff {
    /// From a second to ten minutes.
    fn default() -> Backoff {
        Backoff::full_jitter(Duration::from_secs(1), Duration::from_secs(600))
    }
}
