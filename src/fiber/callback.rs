//! Code of others in a place of the library's own.
//!
//! The hub, a switch and a primitive run such code on their own account: hooks, wakers, what was linked or sent as a letter,
//! comparisons, destructors of what never runs. It all goes through [`Thread::guarded`], wherever it runs: on the thread's own
//! stack, that stack is not the current greenlet's, and in a green thread the library is in the middle of something that it says
//! does not yield. So nothing in there may leave the stack, and a greenlet whose last handle goes in there is ended later.

use std::panic;

use super::fiber::FiberRef;
use super::thread::{ENDING_RULE, Thread, existing_thread, is_ending, try_thread};
use super::uncaught;

/// What a wait or a switch says in a callback.
pub(crate) const CALLBACK: &str =
    "nothing may wait in a hub callback, nor switch greenlets: spawn a green thread there";

/// The same under the lock of a queue.
pub(crate) const UNDER_LOCK: &str =
    "nothing may wait in a comparison or a clone that a queue makes, nor switch greenlets";

/// Runs a callback, and reports what it raises.
pub(crate) fn callback(place: &str, run: impl FnOnce()) {
    guarded(CALLBACK, || uncaught::catch(place, run));
}

/// [`Thread::guarded`] on the calling thread.
pub(crate) fn guarded<R>(rule: &'static str, run: impl FnOnce() -> R) -> R {
    match try_thread() {
        Some(thread) => thread.guarded(rule, run),
        // There can be no greenlets any more, so nothing can wait either.
        None => run(),
    }
}

/// Called by who would wait for the lock of a queue.
///
/// # Panics
///
/// Under such a lock, maybe the very one.
#[cold]
pub(crate) fn assert_not_under_lock() {
    if existing_thread().is_some_and(|thread| thread.rule.get() == UNDER_LOCK) {
        refuse(UNDER_LOCK);
    }
}

impl Thread {
    /// Runs code in which nothing may wait nor switch; who tries panics with `rule`. What it raises goes on from here.
    #[inline]
    pub(crate) fn guarded<R>(&self, rule: &'static str, run: impl FnOnce() -> R) -> R {
        let _guard = Guard::enter(self, rule);
        run()
    }

    /// Whether code of others runs in a place of the library's own.
    #[inline]
    pub(crate) fn in_callback(&self) -> bool {
        !self.rule.get().is_empty()
    }

    /// Called before anything is changed for a wait.
    ///
    /// # Panics
    ///
    /// In a callback, with its rule.
    #[inline]
    pub(crate) fn assert_may_wait(&self) {
        if self.in_callback() {
            refuse(self.rule.get());
        }
    }
}

/// Whether the caller may wait: for who need not.
pub(crate) fn may_wait() -> bool {
    try_thread().is_some_and(|thread| !thread.in_callback())
}

/// The same for a switch. One in an OS thread that ends is an error, which is found later.
pub(crate) fn assert_may_switch() {
    if let Some(thread) = existing_thread()
        && thread.in_callback()
        && !is_ending()
    {
        refuse(thread.rule.get());
    }
}

#[cold]
fn refuse(rule: &'static str) -> ! {
    panic::panic_any(if is_ending() { ENDING_RULE } else { rule })
}

/// The current greenlet is not to leave its stack, until this is dropped.
struct Guard<'a> {
    thread: &'a Thread,
    fiber: FiberRef,
    /// The rule of the place that this one is in; empty for an ordinary one.
    outer: &'static str,
}

impl Guard<'_> {
    #[inline]
    fn enter<'a>(thread: &'a Thread, rule: &'static str) -> Guard<'a> {
        let fiber = thread.current();
        fiber.disturbed.hold();
        Guard { thread, fiber, outer: thread.rule.replace(rule) }
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.thread.rule.set(self.outer);
        if self.outer.is_empty() {
            self.fiber.disturbed.release();
            self.thread.end_orphans();
        }
    }
}
