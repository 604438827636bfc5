//! Times that come again and again.

use std::time::{Duration, Instant};

use super::{sleep_until, yield_now};
use crate::sys::clock::{Time, instant_now};

/// A series of times that are one period apart, for work that is done again and again.
///
/// The times are counted from when the interval was made. What you do between two of them delays none, as long as it takes less
/// than a period. If you come late, you get the last time that has passed, at once; the ones before it are left out.
///
/// As an iterator it never ends. [`channel::tick`](crate::channel::tick) makes one that can stand in a `select!`.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use greenloop::Interval;
///
/// let start = Instant::now();
/// let beats: Vec<_> = Interval::new(Duration::from_millis(5)).take(3).collect();
/// assert!(start.elapsed() >= Duration::from_millis(15));
/// assert!(beats[1] - beats[0] >= Duration::from_millis(5));
/// ```
#[derive(Debug)]
pub struct Interval {
    period: Duration,
    next: Instant,
}

impl Interval {
    /// Makes an interval whose first time is one period from now.
    ///
    /// # Panics
    ///
    /// Panics if `period` is zero, or longer than an [`Instant`] can hold.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let interval = greenloop::Interval::new(Duration::from_secs(1));
    /// assert_eq!(interval.period(), Duration::from_secs(1));
    /// ```
    #[track_caller]
    pub fn new(period: Duration) -> Interval {
        assert!(!period.is_zero(), "the period of an interval must not be zero");
        Interval { period, next: instant_now() + period }
    }

    /// Returns the time between two ticks.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let interval = greenloop::Interval::new(Duration::from_millis(20));
    /// assert_eq!(interval.period().as_millis(), 20);
    /// ```
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Waits for the next time, and returns it. It is the moment that was due, not the one at which the caller goes on.
    ///
    /// The hub's timer wakes the caller. If the time has passed already, the call only yields. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and the next call waits for the same time. While the
    /// caller unwinds, the call returns at once.
    ///
    /// # Panics
    ///
    /// Panics if called in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use std::time::{Duration, Instant};
    /// use greenloop::Interval;
    ///
    /// let start = Instant::now();
    /// let mut interval = Interval::new(Duration::from_millis(10));
    /// thread::sleep(Duration::from_millis(25)); // the hub stops, and two times pass
    /// assert!(interval.tick() >= start + Duration::from_millis(20));
    /// assert!(interval.tick() >= start + Duration::from_millis(30));
    /// ```
    pub fn tick(&mut self) -> Instant {
        let late = instant_now().saturating_duration_since(self.next);
        let due = self.next + (late - remainder(late, self.period));
        if late.is_zero() {
            sleep_until(Time::from_instant(due));
        } else {
            yield_now();
        }
        self.next = due + self.period;
        due
    }
}

/// What is left of `time` after whole periods.
fn remainder(time: Duration, period: Duration) -> Duration {
    const SECOND: u128 = Duration::from_secs(1).as_nanos();
    let nanoseconds = time.as_nanos() % period.as_nanos();
    // No more than `time`, so the seconds are no more than its own.
    Duration::new((nanoseconds / SECOND) as u64, (nanoseconds % SECOND) as u32)
}

impl Iterator for Interval {
    type Item = Instant;

    fn next(&mut self) -> Option<Instant> {
        Some(self.tick())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_after_whole_periods() {
        let (second, nanosecond) = (Duration::from_secs(1), Duration::from_nanos(1));
        assert_eq!(remainder(Duration::ZERO, second), Duration::ZERO);
        assert_eq!(remainder(second * 10 + nanosecond, second * 3), second + nanosecond);
        assert_eq!(remainder(Duration::MAX, nanosecond), Duration::ZERO);
        assert_eq!(remainder(Duration::MAX - nanosecond, Duration::MAX), Duration::MAX - nanosecond);
    }
}
