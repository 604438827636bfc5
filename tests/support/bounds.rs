//! A test bounded in time, on a hub of its own.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::leftovers::open_files;

/// Held for reading by each bounded test, for writing by one that counts what the whole process has open.
static ALONE: RwLock<()> = RwLock::new(());

/// Keeps those away who count what the whole process has open.
pub(crate) fn together() -> RwLockReadGuard<'static, ()> {
    ALONE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `run` on a fresh OS thread, hence with a fresh hub, and returns its value; its panic becomes the caller's.
///
/// # Panics
///
/// Panics if `run` has not returned when `limit` has passed. Its thread is then left behind.
pub(crate) fn within<T: Send + 'static>(limit: Duration, run: impl FnOnce() -> T + Send + 'static) -> T {
    let _together = together();
    bounded(limit, run)
}

/// Runs `run` as [`within`] does, with no other bounded test beside it, and then asserts that the process has the files
/// open that it had before. A first run, uncounted, opens what the process keeps for good.
pub(crate) fn leaves_nothing_open(limit: Duration, run: impl Fn() + Send + Sync + 'static) {
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    let run = Arc::new(run);
    let again = Arc::clone(&run);
    bounded(limit, move || run());
    let before = open_files();
    bounded(limit, move || again());
    assert_eq!(open_files(), before, "files left open, or closed that were not its own");
}

fn bounded<T: Send + 'static>(limit: Duration, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, finished) = channel();
    let name = thread::current().name().unwrap_or("test").to_owned();
    let runner = thread::Builder::new().name(name).spawn(move || {
        let value = run();
        let _ = sender.send(());
        value
    });
    let runner = runner.expect("an OS thread for the test");
    match finished.recv_timeout(limit) {
        // Disconnected: `run` panicked, and dropped the sender while it unwound.
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            runner.join().unwrap_or_else(|panic| resume_unwind(panic))
        }
        Err(RecvTimeoutError::Timeout) => panic!("still running after {limit:?}"),
    }
}

/// Makes each of the functions a module of three tests, `epoll`, `poll` and `io_uring`: the body runs as in [`within`], on a hub
/// that has that driver.
#[allow(unused_macros, reason = "each test binary takes what it needs")]
macro_rules! each_driver {
    ($($(#[$attribute:meta])* fn $name:ident() $body:block)*) => {
        $($(#[$attribute])* mod $name {
            use super::*;

            fn body() $body

            #[test]
            fn epoll() {
                $crate::support::with_driver(greenloop::hub::Driver::Epoll, body);
            }

            #[test]
            fn poll() {
                $crate::support::with_driver(greenloop::hub::Driver::Poll, body);
            }

            #[test]
            fn io_uring() {
                $crate::support::with_driver(greenloop::hub::Driver::IoUring, body);
            }
        })*
    };
}
#[allow(unused_imports, reason = "each test binary takes what it needs")]
pub(crate) use each_driver;

/// Longer than any test that uses a driver takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `run` as [`within`] does, on a hub with this driver, if there is such a driver.
pub(crate) fn with_driver(driver: greenloop::hub::Driver, run: impl FnOnce() + Send + 'static) {
    {
        // It opens a file for a moment: not while another test counts them.
        let _together = together();
        if !driver.is_available() {
            return println!("there is no {driver:?} here");
        }
    }
    within(LIMIT, move || {
        greenloop::hub::configure(greenloop::hub::Config::new().driver(driver)).expect("a fresh hub");
        run();
    });
}

/// Yields until it is so, for a minute at most.
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never came to be so");
        greenloop::sleep(Duration::from_micros(100));
    }
}
