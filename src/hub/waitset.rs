//! Waiting for many things at once: each posts its number, or its result, when it is ready.

use std::collections::VecDeque;

use super::waiter::{Notify, Waiter, WaitingOn, Wake, Wakeup};
use crate::sys::clock::Time;
use crate::sys::lock::Lock;

/// A mailbox with one greenlet that waits for what is posted.
#[derive(Debug)]
pub(crate) struct WaitSet<T = usize> {
    posted: Lock<Posted<T>>,
}

#[derive(Debug)]
struct Posted<T> {
    values: VecDeque<T>,
    waiting: Option<Wake>,
}

impl<T> Default for WaitSet<T> {
    fn default() -> WaitSet<T> {
        WaitSet { posted: Lock::new(Posted { values: VecDeque::new(), waiting: None }) }
    }
}

impl<T> WaitSet<T> {
    /// Something is ready: from any thread.
    pub(crate) fn post(&self, value: T) {
        let waiting = {
            let mut posted = self.posted.lock();
            posted.values.push_back(value);
            posted.waiting.take()
        };
        if let Some(wake) = waiting {
            Notify::Wake(wake).notify();
        }
    }

    /// The next that was posted.
    pub(crate) fn take(&self) -> Option<T> {
        self.posted.lock().values.pop_front()
    }

    /// The next that is posted before `deadline`.
    pub(crate) fn wait(&self, on: &'static str, deadline: Option<Time>) -> Option<T> {
        self.wait_or_find(on, deadline, || None)
    }

    /// The same, or what `find` finds after a wake for no reason: nobody posts it that a hub has ended.
    pub(crate) fn wait_or_find(
        &self,
        on: &'static str,
        deadline: Option<Time>,
        find: impl Fn() -> Option<T>,
    ) -> Option<T> {
        if let Some(value) = self.take() {
            return Some(value);
        }
        let waiter = Waiter::new(WaitingOn::Other(on));
        loop {
            if let Some(value) = self.take_or_wait(waiter.wake()) {
                return Some(value);
            }
            match waiter.park(deadline) {
                Wakeup::Woken => {
                    let value = self.take().or_else(&find);
                    if value.is_some() {
                        return value;
                    }
                }
                Wakeup::TimedOut => return self.take(),
                Wakeup::Interrupted(interrupt) => interrupt.raise(),
            }
        }
    }

    /// The next that was posted; if there is none, `wake` is woken by the next post.
    fn take_or_wait(&self, wake: Wake) -> Option<T> {
        let mut posted = self.posted.lock();
        let value = posted.values.pop_front();
        posted.waiting = if value.is_none() { Some(wake) } else { None };
        value
    }
}
