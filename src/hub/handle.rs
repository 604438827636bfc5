//! The hub as users name it.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use super::current::{HubRef, local_hub};
use super::lifetime::hub;
use super::waiter::{Waiter, WaitingOn, Wakeup};
use crate::sys::clock::Time;

/// A handle to the calling OS thread's hub.
///
/// The hub is made on first use, so you rarely need this handle. The hub ends with its OS thread. If a thread-local keeps a
/// handle longer than that, no harm is done: no green thread is alive in that hub, and [`join`](Hub::join) panics.
///
/// ```compile_fail
/// let hub = greenloop::hub::Hub::current();
/// std::thread::spawn(move || hub.join()); // a hub stays on its thread
/// ```
///
/// # Examples
///
/// ```
/// use greenloop::hub::Hub;
///
/// for number in 0..3 {
///     greenloop::spawn(move || number);
/// }
/// assert_eq!(Hub::current().alive(), 3);
/// Hub::current().join();
/// assert_eq!(Hub::current().alive(), 0);
/// ```
#[derive(Clone, Copy)]
pub struct Hub {
    /// # Invariant
    /// Valid only while it is the calling thread's hub.
    state: HubRef,
}

// What it stands for is kept whole by the library, whoever unwinds.
impl UnwindSafe for Hub {}
impl RefUnwindSafe for Hub {}

impl Hub {
    /// Returns a handle to the hub of the calling thread, which is made if there is none.
    ///
    /// # Panics
    ///
    /// Panics in a destructor of a thread-local that runs after the end of the hub, while the OS thread ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::hub::Hub;
    ///
    /// assert_eq!(Hub::current().alive(), 0);
    /// ```
    #[doc(alias("get_hub", "get_running_loop", "get_event_loop"))]
    pub fn current() -> Hub {
        Hub { state: hub() }
    }

    /// What it stands for, until its OS thread ends.
    fn state(&self) -> Option<HubRef> {
        local_hub().filter(|&hub| hub == self.state)
    }

    /// Waits until all green threads of this hub have ended, or none of those that are left can ever be woken. This is gevent's
    /// `hub.join()`.
    ///
    /// Only the main greenlet may call it; it may do so more than once.
    ///
    /// # Panics
    ///
    /// Panics in a green thread, which would wait for itself, and while the OS thread ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::hub::Hub;
    ///
    /// let task = greenloop::spawn(|| greenloop::yield_now());
    /// Hub::current().join();
    /// assert!(task.is_finished());
    /// ```
    #[track_caller]
    pub fn join(&self) {
        self.join_until(None);
    }

    /// Waits for at most `limit` until all green threads of this hub have ended. Returns `true` if they have.
    ///
    /// Apart from that, it is like [`join`](Hub::join).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::hub::Hub;
    /// use std::time::Duration;
    ///
    /// let sleeper = greenloop::spawn(|| greenloop::sleep(Duration::from_secs(60)));
    /// assert!(!Hub::current().join_timeout(Duration::from_millis(1)));
    /// sleeper.kill();
    /// assert!(Hub::current().join_timeout(Duration::from_secs(60)));
    /// ```
    #[track_caller]
    pub fn join_timeout(&self, limit: Duration) -> bool {
        self.join_until(Some(Time::after(limit)))
    }

    #[track_caller]
    fn join_until(&self, deadline: Option<Time>) -> bool {
        let hub = self.state().expect("the OS thread of this hub ends");
        assert!(hub.thread.current() == hub.main(), "only the main greenlet can join its hub");
        while hub.alive.get() > 0 {
            let waiter = Waiter::new(WaitingOn::Other("Hub::join"));
            hub.joiner.set(Some(waiter.wake()));
            let wakeup = waiter.park(deadline);
            let ended_by_hub = hub.joiner.take().is_none();
            match wakeup {
                Wakeup::Interrupted(interrupt) => interrupt.raise(),
                Wakeup::TimedOut => return hub.alive.get() == 0,
                Wakeup::Woken if ended_by_hub => return true,
                Wakeup::Woken => {}
            }
        }
        true
    }

    /// Returns how many green threads of this hub have not ended, including those that have not begun.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::hub::Hub;
    ///
    /// let task = greenloop::spawn(|| ());
    /// assert_eq!(Hub::current().alive(), 1);
    /// task.join().unwrap();
    /// assert_eq!(Hub::current().alive(), 0);
    /// ```
    #[doc(alias = "active_count")]
    pub fn alive(&self) -> usize {
        self.state().map_or(0, |hub| hub.alive.get())
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hub").field("alive", &self.alive()).finish_non_exhaustive()
    }
}
