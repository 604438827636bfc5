//! Channels whose values are points in time, and the one that has none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Receiver;
use super::clock::Clock;
use super::shared::Channel;
use crate::sys::clock::instant_now;

fn clock(due: Option<Instant>, period: Option<Duration>) -> Receiver<Instant> {
    let clock = Clock::new(due, period, |instant| instant);
    Receiver::new(Arc::new(Channel::with_clock(clock)))
}

/// Makes a channel that gives one value, when `delay` is over: the time at which that was due.
///
/// It never disconnects, so a second [`recv`](Receiver::recv) waits for ever. There is no timer behind it: a receiver, on
/// whatever OS thread, waits no longer than until that time.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use greenloop::channel::after;
///
/// let start = Instant::now();
/// let alarm = after(Duration::from_millis(5));
/// let due = alarm.recv().unwrap();
/// assert!(due >= start + Duration::from_millis(5) && due <= Instant::now());
/// ```
pub fn after(delay: Duration) -> Receiver<Instant> {
    clock(instant_now().checked_add(delay), None)
}

/// Makes a channel that gives one value, `when`, at that time.
///
/// Apart from that, it is like [`after`].
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let when = Instant::now() + Duration::from_millis(1);
/// assert_eq!(greenloop::channel::at(when).recv(), Ok(when));
/// ```
pub fn at(when: Instant) -> Receiver<Instant> {
    clock(Some(when), None)
}

/// Makes a channel that gives a value every `period`: the time at which it was due.
///
/// It holds one value. If you come late, you get that value, and the next one comes `period` after you have taken it. The channel
/// never disconnects.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use greenloop::channel::tick;
///
/// let start = Instant::now();
/// let ticks = tick(Duration::from_millis(2));
/// assert_eq!(ticks.iter().take(3).count(), 3);
/// assert!(start.elapsed() >= Duration::from_millis(6));
/// ```
pub fn tick(period: Duration) -> Receiver<Instant> {
    clock(instant_now().checked_add(period), Some(period))
}

/// Makes a channel that never gives a value and never disconnects.
///
/// Use it in place of a receiver that is sometimes not there. All such channels of one type are the [same
/// channel](Receiver::same_channel).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenloop::channel::{RecvTimeoutError, never};
///
/// assert_eq!(never::<u32>().recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
/// ```
pub fn never<T>() -> Receiver<T> {
    Receiver::new(Arc::new(Channel::never()))
}
