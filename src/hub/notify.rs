//! Whom to tell of what a primitive has.

use std::sync::Arc;

use super::waitset::WaitSet;
use super::wake::Wake;
use crate::fiber::callback;

/// What stands in a wait list: whom to tell.
pub(crate) enum Notify {
    /// A parked greenlet.
    Wake(Wake),
    /// One of many things that a greenlet waits for, by its number there.
    Set(Arc<WaitSet>, usize),
    /// A future's task.
    Task(std::task::Waker),
}

impl Notify {
    /// Tells. From any OS thread, at any time; never while the primitive's own lock is held, for this may run user code.
    #[inline]
    pub(crate) fn notify(self) {
        match self {
            Notify::Wake(wake) => wake.wake(),
            other => other.notify_other(),
        }
    }

    fn notify_other(self) {
        match self {
            Notify::Wake(wake) => wake.wake(),
            Notify::Set(set, number) => set.post(number),
            Notify::Task(waker) => callback("a waker", || waker.wake()),
        }
    }
}

impl std::fmt::Debug for Notify {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Notify::Wake(wake) => write!(formatter, "{wake:?}"),
            Notify::Set(_, number) => write!(formatter, "Set({number})"),
            Notify::Task(_) => formatter.write_str("Task"),
        }
    }
}
