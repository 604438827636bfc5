//! Settings of a hub.

use std::cell::Cell;
use std::time::Duration;

use super::local_hub;

thread_local! {
    static SETTINGS: Cell<Config> = const { Cell::new(Config::new()) };
}

/// How a hub finds out that a descriptor is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Driver {
    /// epoll(7), edge-triggered.
    Epoll,
    /// poll(2): for tests, and where epoll is missing.
    Poll,
}

impl Driver {
    /// The driver named by `GREENLOOP_DRIVER`, if that names one.
    pub(super) fn from_environment() -> Option<Driver> {
        match std::env::var("GREENLOOP_DRIVER").ok()?.as_str() {
            "epoll" => Some(Driver::Epoll),
            "poll" => Some(Driver::Poll),
            _ => None,
        }
    }
}

/// Settings of the calling thread's hub, for [`configure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Config {
    pub(super) driver: Option<Driver>,
    pub(super) spin: Duration,
}

impl Config {
    /// The defaults: the best driver that the kernel has, unless the environment variable `GREENLOOP_DRIVER` (`epoll`,
    /// `poll`) names one, and no spin.
    pub const fn new() -> Config {
        Config { driver: None, spin: Duration::ZERO }
    }

    /// Uses this driver, whatever the environment says.
    pub const fn driver(mut self, driver: Driver) -> Config {
        self.driver = Some(driver);
        self
    }

    /// Before it blocks, the hub looks for events for at most this long, as long as that pays: waking a processor that has
    /// gone to sleep costs tens of microseconds. 50 µs is a good value for a server that must answer fast. An idle hub
    /// blocks all the same: after a spin in vain it spins less and less often.
    pub const fn spin(mut self, longest: Duration) -> Config {
        self.spin = longest;
        self
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

/// The hub of the calling thread runs already, so its settings are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hub of this thread runs already")]
pub struct AlreadyRunning;

/// Settles how the calling thread's hub will work; call it before the thread's first spawn or wait.
///
/// # Errors
///
/// [`AlreadyRunning`] if the hub exists; nothing is changed then.
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
    Ok(())
}

pub(super) fn settings() -> Config {
    SETTINGS.get()
}
