//! Waiting for all that share a thing.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use crate::hub::handover;
use crate::hub::waiter::{Notify, Waiter, WaitingOn, Wakeup};
use crate::hub::waitlist::WaitList;
use crate::sys::lock::Lock;

/// Waits until all that hold a clone of it have ended. This is crossbeam's `WaitGroup`.
///
/// A [`Barrier`](super::Barrier) is for a fixed number of green threads that all wait. A wait group is for any number, made as
/// you need them, that need not wait themselves. It works between green threads of one hub or of several, and with plain OS
/// threads. A clone is given up however its holder ends: by returning, by a panic or by a kill.
///
/// # Examples
///
/// ```
/// use greenloop::sync::WaitGroup;
/// use greenloop::{spawn, yield_now};
/// use std::{cell::Cell, rc::Rc};
///
/// let group = WaitGroup::new();
/// let ended = Rc::new(Cell::new(0));
/// for number in 0..10 {
///     let (group, ended) = (group.clone(), ended.clone());
///     spawn(move || {
///         (0..number).for_each(|_| yield_now());
///         ended.set(ended.get() + 1);
///         drop(group);
///     });
/// }
/// group.wait();
/// assert_eq!(ended.get(), 10);
/// ```
pub struct WaitGroup {
    shared: Arc<Shared>,
}

struct Shared {
    state: Lock<State>,
}

struct State {
    /// How many handles there are.
    count: usize,
    waiters: WaitList<Notify>,
}

// No user's value is inside.
impl UnwindSafe for WaitGroup {}
impl RefUnwindSafe for WaitGroup {}

impl WaitGroup {
    /// Makes a group with one handle, which is returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::WaitGroup;
    /// use std::time::Duration;
    ///
    /// let alone = greenloop::with_timeout(Duration::from_secs(60), || WaitGroup::new().wait());
    /// assert!(alone.is_ok()); // there is no other handle to wait for
    /// ```
    pub fn new() -> WaitGroup {
        let state = State { count: 1, waiters: WaitList::new() };
        WaitGroup { shared: Arc::new(Shared { state: Lock::new(state) }) }
    }

    /// Drops this handle, and waits until all others are dropped.
    ///
    /// If there is no other handle, the call does not yield. Otherwise the calling green thread yields, and the drop of the last
    /// handle wakes it. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::spawn;
    /// use greenloop::sync::WaitGroup;
    ///
    /// let group = WaitGroup::new();
    /// let worker = spawn({ let group = group.clone(); move || drop(group) });
    /// group.wait();
    /// assert!(worker.is_finished());
    /// ```
    pub fn wait(self) {
        let shared = self.shared.clone();
        drop(self);
        shared.wait();
    }
}

impl Shared {
    fn wait(&self) {
        loop {
            let mut state = self.state.lock();
            if state.count == 0 {
                return;
            }
            let waiter = Waiter::new(WaitingOn::Other("WaitGroup::wait"));
            let ticket = state.waiters.push(waiter.notify());
            drop(state);
            let wakeup = waiter.park(None);
            let registered = self.state.lock().waiters.remove(ticket);
            drop(registered);
            if let Wakeup::Interrupted(interrupt) = wakeup {
                interrupt.raise();
            }
        }
    }
}

impl Clone for WaitGroup {
    fn clone(&self) -> WaitGroup {
        self.shared.state.lock().count += 1;
        WaitGroup { shared: self.shared.clone() }
    }
}

impl Drop for WaitGroup {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.count -= 1;
        if state.count == 0 {
            handover::notify_all(&self.shared.state, state, |state| state.waiters.pop());
        }
    }
}

impl Default for WaitGroup {
    fn default() -> WaitGroup {
        WaitGroup::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.shared.state.lock().count;
        formatter.debug_struct("WaitGroup").field("count", &count).finish()
    }
}
