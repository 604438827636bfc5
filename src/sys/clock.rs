//! The monotonic clock, in the form in which the timers keep it: one word. Where an OS thread has a clock of its own, that one.

use std::time::{Duration, Instant};

use super::virtual_clock::{self, VirtualClock};

/// A point on CLOCK_MONOTONIC, in nanoseconds; enough for 584 years of uptime.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Time(u64);

impl Time {
    /// Later than every deadline that can come.
    pub(crate) const NEVER: Time = Time(u64::MAX);

    /// Reads the clock: about 16 ns, no system call where the vDSO has it.
    #[inline]
    pub(crate) fn now() -> Time {
        virtual_clock::ask(|clock| Time(clock.now())).unwrap_or_else(Time::real)
    }

    #[inline]
    fn real() -> Time {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is a valid timespec to write to; CLOCK_MONOTONIC exists on every Linux, so the call cannot fail.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
        Time(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }

    /// The time `delay` from now.
    #[inline]
    pub(crate) fn after(delay: Duration) -> Time {
        Time::now().plus(delay)
    }

    /// The time `delay` after this one; [`NEVER`](Time::NEVER) if it does not fit.
    #[inline]
    pub(crate) fn plus(self, delay: Duration) -> Time {
        match u64::try_from(delay.as_nanos()) {
            Ok(nanoseconds) => Time(self.0.saturating_add(nanoseconds)),
            Err(_) => Time::NEVER,
        }
    }

    /// The time so many nanoseconds before this one.
    #[inline]
    pub(crate) fn minus_nanoseconds(self, nanoseconds: u64) -> Time {
        Time(self.0.saturating_sub(nanoseconds))
    }

    /// The time so many nanoseconds after this one, if there is one before [`NEVER`](Time::NEVER).
    #[inline]
    pub(crate) fn plus_nanoseconds(self, nanoseconds: u64) -> Option<Time> {
        self.0.checked_add(nanoseconds).map(Time).filter(|time| *time < Time::NEVER)
    }

    /// Nanoseconds since the system began, or the world.
    #[inline]
    pub(crate) fn nanoseconds(self) -> u64 {
        self.0
    }

    /// As the kernel takes it.
    #[cfg(feature = "monkey")]
    pub(crate) fn timespec(self) -> libc::timespec {
        super::readiness::timespec(Duration::from_nanos(self.0))
    }

    /// How long it is from this time until `later`; zero if that has passed.
    #[inline]
    pub(crate) fn until(self, later: Time) -> Duration {
        Duration::from_nanos(later.0.saturating_sub(self.0))
    }

    /// The same point in time as `instant`, whose value std does not tell.
    pub(crate) fn from_instant(instant: Instant) -> Time {
        let now = instant_now();
        match instant.checked_duration_since(now) {
            Some(ahead) => Time::after(ahead),
            None => Time(Time::now().0.saturating_sub(now.duration_since(instant).as_nanos() as u64)),
        }
    }

    /// For tests, whose time is an argument.
    #[cfg(test)]
    pub(crate) const fn from_nanoseconds(nanoseconds: u64) -> Time {
        Time(nanoseconds)
    }
}

/// A clock that stands at the present time until it is told to [pass](pass_until), with this seed for what is random.
pub(crate) fn stopped(seed: u64) -> VirtualClock {
    let origin = Instant::now();
    VirtualClock::new(origin, Time::now().0, seed)
}

/// It is `time` on that clock from now on, unless it is later already.
pub(crate) fn pass_until(clock: &VirtualClock, time: Time) {
    clock.pass_until(time.0);
}

/// What the clock of the calling OS thread, if it has one of its own, says to others: the date, or CLOCK_MONOTONIC.
#[cfg(feature = "monkey")]
#[inline]
pub(crate) fn told(is_date: bool) -> Option<Duration> {
    virtual_clock::ask(|clock| clock.tell(is_date))
}

/// The same time as [`Time::now`], as std tells it.
#[inline]
pub(crate) fn instant_now() -> Instant {
    // Where std's own clock is this one, by that: it knows when it was patched.
    let own = virtual_clock::ask(|clock| (!virtual_clock::is_std()).then(|| clock.instant()));
    own.flatten().unwrap_or_else(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_far_delay_is_never() {
        assert_eq!(Time::after(Duration::MAX), Time::NEVER);
        assert_eq!(Time::NEVER.plus(Duration::from_secs(1)), Time::NEVER);
    }

    #[test]
    fn an_instant_keeps_its_place() {
        let before = Time::now();
        let converted = Time::from_instant(Instant::now());
        assert!(before <= converted.plus(Duration::from_micros(50)));
        let past = Time::from_instant(Instant::now() - Duration::from_millis(5));
        assert!(past < Time::now());
        assert_eq!(Time::from_nanoseconds(5).until(Time::from_nanoseconds(3)), Duration::ZERO);
    }
}
