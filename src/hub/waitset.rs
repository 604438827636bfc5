//! Waiting for many things at once: each posts its number when it is ready.

use std::collections::VecDeque;

use super::waiter::{Notify, Wake};
use crate::sys::lock::Lock;

/// A mailbox of numbers with one greenlet that waits for them.
#[derive(Debug, Default)]
pub(crate) struct WaitSet {
    posted: Lock<Posted>,
}

#[derive(Debug, Default)]
struct Posted {
    numbers: VecDeque<usize>,
    waiting: Option<Wake>,
}

impl Default for Lock<Posted> {
    fn default() -> Lock<Posted> {
        Lock::new(Posted::default())
    }
}

impl WaitSet {
    /// Something is ready: called by [`Notify`], from any thread.
    pub(super) fn post(&self, number: usize) {
        let waiting = {
            let mut posted = self.posted.lock();
            posted.numbers.push_back(number);
            posted.waiting.take()
        };
        if let Some(wake) = waiting {
            Notify::Wake(wake).notify();
        }
    }

    /// The next number posted.
    pub(crate) fn take(&self) -> Option<usize> {
        self.posted.lock().numbers.pop_front()
    }

    /// The next number posted; if there is none, `wake` is woken by the next post.
    pub(crate) fn take_or_wait(&self, wake: Wake) -> Option<usize> {
        let mut posted = self.posted.lock();
        let number = posted.numbers.pop_front();
        posted.waiting = if number.is_none() { Some(wake) } else { None };
        number
    }
}
