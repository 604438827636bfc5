//! How often something took how long.

use std::cell::Cell;
use std::time::Duration;

/// From 32 ns on, two for each power of two; the last begins at 69 s.
const BUCKETS: usize = 64;
/// The binary logarithm of what the first bucket ends at.
const FIRST: u32 = 5;

/// How often something took how long: 64 buckets, each half as wide as it is far from zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    nanoseconds: u64,
}

impl Histogram {
    /// Returns how many times were counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, spawn};
    ///
    /// inspect::time_slices(true);
    /// spawn(|| ()).join().unwrap();
    /// let metrics = inspect::metrics();
    /// assert!(metrics.hubs()[0].slices.as_ref().unwrap().count() >= 1);
    /// # inspect::time_slices(false);
    /// ```
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns how long all of them took together.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, spawn};
    /// use std::{thread, time::Duration};
    ///
    /// inspect::time_slices(true);
    /// spawn(|| thread::sleep(Duration::from_millis(5))).join().unwrap(); // keeps the hub
    /// let metrics = inspect::metrics();
    /// assert!(metrics.hubs()[0].slices.as_ref().unwrap().sum() >= Duration::from_millis(5));
    /// # inspect::time_slices(false);
    /// ```
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds)
    }

    /// Returns what the given part of them did not exceed: 0.5 for the median, 1.0 for all. It is the end of a bucket, so up to half
    /// more; 103 s if it is 69 s or longer. Zero if none was counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, spawn};
    /// use std::{thread, time::Duration};
    ///
    /// inspect::time_slices(true);
    /// spawn(|| thread::sleep(Duration::from_millis(5))).join().unwrap(); // keeps the hub
    /// let metrics = inspect::metrics();
    /// let slices = metrics.hubs()[0].slices.as_ref().unwrap();
    /// assert!(slices.quantile(1.0) >= Duration::from_millis(5) && slices.quantile(0.1) <= slices.quantile(1.0));
    /// # inspect::time_slices(false);
    /// ```
    pub fn quantile(&self, part: f64) -> Duration {
        let wanted = (self.count() as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let reached = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        let last = self.counts.iter().rposition(|&count| count > 0);
        reached.or(last).map_or(Duration::ZERO, |bucket| Duration::from_nanos(end_of(bucket)))
    }

    /// For each power of two of nanoseconds: how many did not reach it, with those below.
    pub(super) fn below_powers(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut seen = 0;
        let last = BUCKETS - 1;
        self.counts[..last].iter().enumerate().filter_map(move |(bucket, count)| {
            seen += count;
            // The second half of a power ends where the power does.
            bucket.is_multiple_of(2).then(|| (end_of(bucket), seen))
        })
    }
}

/// Where a bucket ends.
fn end_of(bucket: usize) -> u64 {
    let power = FIRST + bucket as u32 / 2;
    let start = 1_u64 << power;
    if bucket.is_multiple_of(2) { start } else { start + start / 2 }
}

/// A histogram to which its OS thread adds.
#[derive(Debug)]
pub(super) struct Counts {
    counts: [Cell<u64>; BUCKETS],
    nanoseconds: Cell<u64>,
}

impl Counts {
    pub(super) fn new() -> Counts {
        Counts { counts: [const { Cell::new(0) }; BUCKETS], nanoseconds: Cell::new(0) }
    }

    #[inline]
    pub(super) fn add(&self, nanoseconds: u64) {
        let count = &self.counts[bucket_of(nanoseconds)];
        count.set(count.get() + 1);
        self.nanoseconds.set(self.nanoseconds.get() + nanoseconds);
    }

    pub(super) fn clear(&self) {
        self.counts.iter().for_each(|count| count.set(0));
        self.nanoseconds.set(0);
    }

    pub(super) fn read(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|bucket| self.counts[bucket].get()),
            nanoseconds: self.nanoseconds.get(),
        }
    }
}

#[inline]
fn bucket_of(nanoseconds: u64) -> usize {
    if nanoseconds < 1 << FIRST {
        return 0;
    }
    let power = nanoseconds.ilog2();
    let half = (nanoseconds >> (power - 1) & 1) as usize;
    (1 + 2 * (power - FIRST) as usize + half).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_bucket_that_ends_behind_it() {
        for nanoseconds in (0..200).chain([1 << 20, (1 << 20) - 1, 3 << 19, (3 << 19) - 1, 1_000_000_007]) {
            let bucket = bucket_of(nanoseconds);
            assert!(nanoseconds < end_of(bucket), "{nanoseconds}");
            assert!(bucket == 0 || nanoseconds >= end_of(bucket - 1), "{nanoseconds}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn parts_and_powers_add_up() {
        let counts = Counts::new();
        [10, 40, 50, 100, 1 << 40].into_iter().for_each(|nanoseconds| counts.add(nanoseconds));
        let histogram = counts.read();
        assert_eq!((histogram.count(), histogram.sum()), (5, Duration::from_nanos(200 + (1 << 40))));
        let parts = [0.0, 0.2, 0.4, 0.6, 0.8].map(|part| histogram.quantile(part).as_nanos());
        assert_eq!(parts, [32, 32, 48, 64, 128]);
        let below: Vec<_> = histogram.below_powers().take(4).collect();
        assert_eq!(below, [(32, 1), (64, 3), (128, 4), (256, 4)]);
        assert_eq!(histogram.below_powers().last().unwrap().1, 4);
        counts.clear();
        assert_eq!(counts.read().quantile(0.5), Duration::ZERO);
    }
}
