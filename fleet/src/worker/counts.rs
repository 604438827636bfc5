//! What a worker has done so far.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// One of a worker's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Count {
    /// Deliveries that it took.
    Taken,
    /// Jobs that it has done.
    Done,
    /// Attempts that failed, and are to be followed by another.
    Retried,
    /// Jobs that have failed for good.
    Dead,
    /// Deliveries that it gave back, when it was stopped or could not renew their leases in time.
    GivenBack,
    /// Deliveries that somebody else got, since it did not renew its lease in time.
    Lost,
    /// Calls of the broker's that failed.
    Errors,
}

impl Count {
    /// All of them.
    pub const ALL: [Count; 7] = [
        Count::Taken,
        Count::Done,
        Count::Retried,
        Count::Dead,
        Count::GivenBack,
        Count::Lost,
        Count::Errors,
    ];

    fn name(self) -> &'static str {
        match self {
            Count::Taken => "taken",
            Count::Done => "done",
            Count::Retried => "retried",
            Count::Dead => "dead",
            Count::GivenBack => "given_back",
            Count::Lost => "lost",
            Count::Errors => "errors",
        }
    }
}

/// The counts of a worker.
#[derive(Debug, Default)]
pub struct Counts([AtomicU64; Count::ALL.len()]);

impl Counts {
    /// One of them.
    pub fn get(&self, count: Count) -> u64 {
        self.0[count as usize].load(Ordering::SeqCst)
    }

    pub(crate) fn add(&self, count: Count, by: usize) {
        self.0[count as usize].fetch_add(by as u64, Ordering::SeqCst);
    }

    /// All of them as Prometheus reads them.
    ///
    /// ```
    /// use fleet::{Sqlite, Worker};
    ///
    /// let worker = Worker::new(Sqlite::in_memory()?);
    /// assert!(worker.counts().prometheus().contains("\nfleet_done_total 0\n"));
    /// # Ok::<(), fleet::BrokerError>(())
    /// ```
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        for count in Count::ALL {
            let (name, value) = (count.name(), self.get(count));
            // To a string it cannot fail.
            let _ = writeln!(text, "# TYPE fleet_{name}_total counter\nfleet_{name}_total {value}");
        }
        text
    }
}
