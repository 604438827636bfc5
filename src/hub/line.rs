//! Standing in line: how a primitive lets its callers wait, and calls them.
//!
//! The protocol of every primitive: its [`Lock`] guards its state and its lines. Who must wait pushes its
//! [`Wake`](super::waiter::Wake) and parks; who is popped has been *called*, which means that something was set aside
//! for it. A wake is two steps, so the called one may be killed, or time out, before it runs: it then finds its ticket
//! gone, and passes on what was set aside. Green threads whose OS thread has ended are passed over.

use super::waiter::{Interrupt, Notify, Waiter, Wake, Wakeup};
use super::waitlist::WaitList;
use crate::sys::clock::Time;
use crate::sys::lock::{Lock, LockGuard};

/// Wakes that are collected under a lock before they are sent without it.
const BATCH: usize = 32;

/// Why a wait ended without what it was for. Something may have been set aside all the same: the line tells.
#[derive(Debug)]
pub(crate) enum Ended {
    TimedOut,
    Interrupted(Interrupt),
}

impl Waiter {
    /// Parks until `settle`, asked under `lock` after each wake, has an answer. Returns it, or why the wait ended
    /// without one, with the lock held, so that the caller can leave its line in the same breath.
    #[inline(always)]
    pub(crate) fn stand<'a, S, R>(
        &self,
        lock: &'a Lock<S>,
        deadline: Option<Time>,
        mut settle: impl FnMut(&mut S) -> Option<R>,
    ) -> (LockGuard<'a, S>, Result<R, Ended>) {
        loop {
            let wakeup = self.park(deadline);
            let mut state = lock.lock();
            match wakeup {
                Wakeup::Woken => {
                    if let Some(answer) = settle(&mut state) {
                        return (state, Ok(answer));
                    }
                }
                Wakeup::TimedOut => return (state, Err(Ended::TimedOut)),
                Wakeup::Interrupted(interrupt) => return (state, Err(Ended::Interrupted(interrupt))),
            }
        }
    }
}

/// Takes the first in line whose hub is still there.
#[inline]
pub(crate) fn call_first(line: &mut WaitList<Wake>) -> Option<Wake> {
    loop {
        let first = line.pop()?;
        if first.is_living() {
            return Some(first);
        }
    }
}

/// Releases the lock and sends all notices that `next` has: one or none in most cases, else a batch at a time, so that
/// the lock is never held while one is sent.
#[inline]
pub(crate) fn notify_all<'a, S>(
    lock: &'a Lock<S>,
    mut state: LockGuard<'a, S>,
    mut next: impl FnMut(&mut S) -> Option<Notify>,
) {
    let Some(first) = next(&mut state) else { return };
    match next(&mut state) {
        None => {
            drop(state);
            first.notify();
        }
        Some(second) => notify_many(lock, state, [first, second], next),
    }
}

#[cold]
fn notify_many<'a, S>(
    lock: &'a Lock<S>,
    mut state: LockGuard<'a, S>,
    begun: [Notify; 2],
    mut next: impl FnMut(&mut S) -> Option<Notify>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    batch.extend(begun);
    loop {
        batch.extend(std::iter::from_fn(|| next(&mut state)).take(BATCH - batch.len()));
        let last = batch.len() < BATCH;
        drop(state);
        batch.drain(..).for_each(Notify::notify);
        if last {
            return;
        }
        state = lock.lock();
    }
}
