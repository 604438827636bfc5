//! Settings of a hub.

use std::cell::Cell;
use std::time::Duration;

use super::current::local_hub;
use super::driver::Driver;
use crate::fiber::{abort_if_parked, in_common};

thread_local! {
    static SETTINGS: Cell<Config> = const { Cell::new(Config::new()) };
}

/// Settings of the calling thread's hub, for [`configure`].
///
/// # Examples
///
/// ```
/// use greenloop::hub::{Config, Hub, configure};
/// use std::time::Duration;
///
/// configure(Config::new().spin(Duration::from_micros(50)).abort_if_parked(true))?;
/// let task = greenloop::spawn(|| greenloop::yield_now());
/// Hub::current().join();
/// assert!(task.is_finished());
/// # Ok::<(), greenloop::hub::AlreadyRunning>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Config {
    pub(super) driver: Option<Driver>,
    pub(super) spin: Duration,
    pub(super) timer_slack: Duration,
    abort_if_parked: bool,
}

impl Config {
    /// Makes the default settings.
    ///
    /// - The driver is the one that the environment variable `GREENLOOP_DRIVER` (`epoll`, `poll`, `io_uring`) names; without it
    ///   epoll, or poll(2) where the kernel has no epoll.
    /// - The hub does not spin.
    /// - Timers have no slack.
    /// - If an OS thread ends with parked green threads, they leak.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::hub::Config;
    ///
    /// assert_eq!(Config::new(), Config::default());
    /// ```
    pub const fn new() -> Config {
        Config { driver: None, spin: Duration::ZERO, timer_slack: Duration::ZERO, abort_if_parked: false }
    }

    /// Uses this driver, whatever the environment says.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::hub::{Config, Driver, configure};
    ///
    /// configure(Config::new().driver(Driver::Poll))?;
    /// assert!(greenloop::spawn(|| ()).join().is_ok());
    /// # Ok::<(), greenloop::hub::AlreadyRunning>(())
    /// ```
    pub const fn driver(mut self, driver: Driver) -> Config {
        self.driver = Some(driver);
        self
    }

    /// Sets how long the hub polls for events before it blocks.
    ///
    /// Polling avoids the cost of waking a sleeping processor, which is tens of microseconds. 50 µs is a good value for a server
    /// that must answer fast. The hub polls less and less often while polling finds nothing, so an idle hub uses no processor
    /// time.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::hub::{Config, configure};
    /// use std::time::{Duration, Instant};
    ///
    /// configure(Config::new().spin(Duration::from_micros(50)))?;
    /// let start = Instant::now();
    /// greenloop::sleep(Duration::from_millis(2));
    /// assert!(start.elapsed() >= Duration::from_millis(2)); // polling ends no wait early
    /// # Ok::<(), greenloop::hub::AlreadyRunning>(())
    /// ```
    pub const fn spin(mut self, longest: Duration) -> Config {
        self.spin = longest;
        self
    }

    /// Sets by how much the timers of the hub may be late, so that the hub wakes once for many of them.
    ///
    /// What costs most in a sleep is that the hub wakes for it. With slack, a sleep ends within the slack after its deadline: the hub wakes
    /// when one can wait no longer, and ends with it those whose deadlines have passed by then, in the order in which their slacks do, up
    /// to the first one whose has not. If ten thousand green threads sleep for up to a second, a slack of 1 ms, which is what timers of
    /// tokio have, makes a sleep cost little more than half as much. No sleep ends before its deadline. A hub that is busy may be later
    /// than the slack, as without one.
    ///
    /// It holds for all timers of the hub: [`sleep`](crate::sleep), [`Interval`](crate::Interval), delayed spawns, the limits of
    /// waits such as [`recv_timeout`](crate::channel::Receiver::recv_timeout), and [`with_timeout`](crate::with_timeout). A value that comes
    /// within the slack of such a limit is still received. An `Interval` leaves out the ticks that a slack longer than its period has
    /// let pass. For a single sleep, [`sleep_with_slack`](crate::sleep_with_slack) sets another one, or none.
    ///
    /// The default is zero: the hub wakes for each deadline. Slack is counted in microseconds, and no more than 73 minutes of it are
    /// used. This is what `prctl(PR_SET_TIMERSLACK)` does for timers of the kernel, which have their own slack, mostly 50 µs, in
    /// addition.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::hub::{Config, configure};
    /// use std::time::{Duration, Instant};
    ///
    /// configure(Config::new().timer_slack(Duration::from_millis(1)))?;
    /// let start = Instant::now();
    /// let sleep = |micros| move || greenloop::sleep(Duration::from_micros(micros));
    /// let sleepers: Vec<_> = (2_000..3_000).map(|micros| greenloop::spawn(sleep(micros))).collect();
    /// greenloop::joinall(&sleepers); // the hub has woken a few times, not a thousand
    /// assert!(start.elapsed() >= Duration::from_micros(2_999));
    /// # Ok::<(), greenloop::hub::AlreadyRunning>(())
    /// ```
    #[doc(alias("PR_SET_TIMERSLACK", "timerslack"))]
    pub const fn timer_slack(mut self, longest: Duration) -> Config {
        self.timer_slack = longest;
        self
    }

    /// Sets whether the process aborts, with one line, if the OS thread ends while a green thread is parked on it or a greenlet
    /// is suspended.
    ///
    /// By default their stacks leak, and nothing that they own is ever dropped. That is sound, with one exception. If a frame
    /// inside [`std::thread::scope`] leaks, another OS thread still uses what the frame has lent to it, and the frame does not
    /// wait for that thread any more. If it has lent something borrowed from a thread-local variable of the ending thread, inside
    /// [`LocalKey::with`](std::thread::LocalKey::with), the variable is destroyed while the other thread uses it.
    ///
    /// A program that does such things must join its green threads before an OS thread ends, for instance with
    /// [`Hub::join`](crate::hub::Hub::join). This setting tells it where it does not.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::hub::{Config, Hub, configure};
    ///
    /// let thread = std::thread::spawn(|| {
    ///     configure(Config::new().abort_if_parked(true)).unwrap();
    ///     drop(greenloop::spawn(|| greenloop::yield_now()));
    ///     Hub::current().join(); // without this, the process would abort
    /// });
    /// assert!(thread.join().is_ok());
    /// ```
    pub const fn abort_if_parked(mut self, abort: bool) -> Config {
        self.abort_if_parked = abort;
        self
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

/// The error of [`configure`] if the calling thread's hub runs already, so that its settings are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hub of this thread runs already")]
pub struct AlreadyRunning;

/// Sets how the calling thread's hub works. Call it before the thread's first spawn or wait.
///
/// # Errors
///
/// Returns [`AlreadyRunning`] if the hub exists. Nothing is changed then.
///
/// # Examples
///
/// ```
/// use greenloop::hub::{Config, Driver, configure};
///
/// configure(Config::new().driver(Driver::Poll)).unwrap();
/// greenloop::yield_now();
/// assert!(configure(Config::new()).is_err());
/// ```
pub fn configure(config: Config) -> Result<(), AlreadyRunning> {
    if local_hub().is_some() {
        return Err(AlreadyRunning);
    }
    SETTINGS.set(config);
    abort_if_parked(config.abort_if_parked);
    Ok(())
}

pub(super) fn settings() -> Config {
    // Of the OS thread, also where an isolated green thread is the first that needs them.
    in_common(|| SETTINGS.get())
}
