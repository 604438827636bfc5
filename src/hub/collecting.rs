//! Waiting for what is posted to a set.

use super::waiter::{Waiter, WaitingOn, Wakeup};
use super::waitset::WaitSet;
use crate::sys::clock::Time;

impl<T> WaitSet<T> {
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
}
