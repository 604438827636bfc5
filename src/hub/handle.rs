//! The hub as users name it.

use std::fmt;
use std::time::Duration;

use super::waiter::{Waiter, WaitingOn, Wakeup};
use super::{HubRef, hub, local_hub};
use crate::sys::clock::Time;

/// The calling OS thread's hub.
///
/// It is made on first use, so there is rarely a reason to name it. It ends with its OS thread. A handle that a thread-local keeps
/// beyond that is harmless: no green thread is alive in that hub, and [`join`](Hub::join) panics.
///
/// ```compile_fail
/// let hub = greenloop::hub::Hub::current();
/// std::thread::spawn(move || hub.join()); // a hub stays on its thread
/// ```
#[derive(Clone, Copy)]
pub struct Hub {
    /// # Invariant
    /// Valid only while it is the calling thread's hub.
    state: HubRef,
}

impl Hub {
    /// The hub of the calling thread.
    ///
    /// # Panics
    ///
    /// If the OS thread ends, in a destructor of a thread-local that runs after the hub's end.
    #[doc(alias("get_hub", "get_running_loop", "get_event_loop"))]
    pub fn current() -> Hub {
        Hub { state: hub() }
    }

    /// What it stands for, until its OS thread ends.
    fn state(&self) -> Option<HubRef> {
        local_hub().filter(|&hub| hub == self.state)
    }

    /// Waits until all green threads of this hub have ended, or none that is left can ever be woken. For the main greenlet
    /// alone; may be called again. gevent's `hub.join()`.
    ///
    /// # Panics
    ///
    /// In a green thread, which would wait for itself, and when the OS thread ends.
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
    pub fn join(&self) {
        self.join_until(None);
    }

    /// Like [`join`](Hub::join), for at most `limit`; whether all have ended.
    pub fn join_timeout(&self, limit: Duration) -> bool {
        self.join_until(Some(Time::after(limit)))
    }

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

    /// How many green threads of this hub have not ended, those that have not begun included.
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
