//! Settings of a hub.

use std::cell::Cell;
use std::time::Duration;

use super::local_hub;
use crate::fiber::abort_if_parked;
use crate::sys::epoll::Epoll;
use crate::sys::uring::Uring;

thread_local! {
    static SETTINGS: Cell<Config> = const { Cell::new(Config::new()) };
}

/// How a hub finds out that a descriptor is ready.
#[doc(alias("supported_backends", "recommended_backends", "embeddable_backends"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Driver {
    /// epoll(7), edge-triggered.
    Epoll,
    /// poll(2): for tests, and where epoll is missing.
    Poll,
    /// io_uring(7), of Linux 6.1 or later; many systems disable it. With it the kernel opens, reads and writes files itself, and receives,
    /// sends, accepts and connects, where that pays.
    IoUring,
}

impl Driver {
    /// Whether the kernel has it and lets this process use it.
    ///
    /// A hub that is told to use another panics when it first has nothing to run. (One that has it, but no descriptor left to open it
    /// with, goes on without until there are some.)
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::hub::{Config, Driver, configure};
    ///
    /// assert!(Driver::Poll.is_available());
    /// if Driver::IoUring.is_available() {
    ///     configure(Config::new().driver(Driver::IoUring)).unwrap();
    /// }
    /// greenloop::sleep(std::time::Duration::from_millis(1));
    /// ```
    pub fn is_available(self) -> bool {
        match self {
            Driver::Epoll => Epoll::new().is_ok(),
            Driver::Poll => true,
            Driver::IoUring => Uring::new().is_ok(),
        }
    }

    /// All that this machine has.
    #[cfg(test)]
    pub(crate) fn all_available() -> impl Iterator<Item = Driver> {
        [Driver::Epoll, Driver::Poll, Driver::IoUring].into_iter().filter(|driver| driver.is_available())
    }

    /// The driver named by `GREENLOOP_DRIVER`, if that names one.
    pub(super) fn from_environment() -> Option<Driver> {
        match std::env::var("GREENLOOP_DRIVER").ok()?.as_str() {
            "epoll" => Some(Driver::Epoll),
            "poll" => Some(Driver::Poll),
            "io_uring" => Some(Driver::IoUring),
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
    abort_if_parked: bool,
}

impl Config {
    /// The defaults: epoll, or poll(2) where the kernel has none, unless the environment variable `GREENLOOP_DRIVER` (`epoll`,
    /// `poll`, `io_uring`) names one; no spin; and an OS thread that ends with parked green threads leaks them.
    pub const fn new() -> Config {
        Config { driver: None, spin: Duration::ZERO, abort_if_parked: false }
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

    /// Aborts the process, with one line, if the OS thread ends while a green thread is parked on it or a greenlet suspended.
    ///
    /// By default their stacks leak, and nothing that they own is ever dropped. That is sound but for one case: a frame that leaks
    /// inside [`std::thread::scope`] has lent what it borrows to another OS thread, and does not wait for that one any more. If it borrowed
    /// from a thread-local variable of the thread that ends, inside [`LocalKey::with`](std::thread::LocalKey::with), the variable is
    /// destroyed while the other thread uses it. A program that does such things joins its green threads, for
    /// instance by [`Hub::join`](crate::hub::Hub::join), before an OS thread ends; with this setting it is told where it does not.
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
    abort_if_parked(config.abort_if_parked);
    Ok(())
}

pub(super) fn settings() -> Config {
    SETTINGS.get()
}
