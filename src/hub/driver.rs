//! What a hub asks the kernel with.

use crate::sys::epoll::Epoll;
use crate::sys::uring::Uring;

/// The way in which a hub learns that a descriptor is ready.
///
/// # Examples
///
/// ```
/// use greenloop::hub::{Config, Driver, configure};
///
/// configure(Config::new().driver(Driver::Poll))?;
/// greenloop::sleep(std::time::Duration::from_millis(1));
/// assert!(configure(Config::new()).is_err()); // the hub runs already
/// # Ok::<(), greenloop::hub::AlreadyRunning>(())
/// ```
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
    /// Returns `true` if the kernel has this driver and lets the process use it.
    ///
    /// If you configure a hub with a driver that is not available, each wait for a descriptor fails with the kernel's error, for
    /// instance of kind `Unsupported`. Timers, locks and channels need no driver. If the driver is available, but the process has no
    /// descriptor left to open it with, the hub goes on without it until there are some.
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
