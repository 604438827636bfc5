//! Waiting for many things at once: each posts its number, or its result, when it is ready.

use std::collections::VecDeque;

use super::wake::Wake;
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
            wake.wake();
        }
    }

    /// The next that was posted.
    pub(crate) fn take(&self) -> Option<T> {
        self.posted.lock().values.pop_front()
    }

    /// The next that was posted; if there is none, `wake` is woken by the next post.
    pub(super) fn take_or_wait(&self, wake: Wake) -> Option<T> {
        let mut posted = self.posted.lock();
        let value = posted.values.pop_front();
        posted.waiting = if value.is_none() { Some(wake) } else { None };
        value
    }
}
