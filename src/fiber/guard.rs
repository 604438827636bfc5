//! Code of others in a place of the library's own.
//!
//! The hub, a switch and a primitive run such code on their own account: hooks, wakers, what was linked or sent as a letter,
//! comparisons, destructors of what never runs. It all goes through [`guarded`], wherever it runs: on the thread's own stack, that
//! stack is not the current greenlet's, and in a green thread the library is in the middle of something that it says does not yield.
//! So nothing in there may leave the stack, and a greenlet whose last handle goes in there is ended later.
//!
//! The rule of the place is the OS thread's, which may have no record yet; the current fiber is held beside it, so that a switch asks
//! nothing more than whether the fiber is disturbed.

use std::cell::Cell;
use std::panic;

use super::fiber::FiberRef;
use super::thread::{Thread, existing_thread, is_ending};

/// What a wait or a switch says in a callback.
pub(crate) const CALLBACK: &str =
    "nothing may wait in a hub callback, nor switch greenlets: spawn a green thread there";

/// The same under the lock of a queue.
pub(crate) const UNDER_LOCK: &str =
    "nothing may wait in a comparison or a clone that a queue makes, nor switch greenlets";

/// What a wait says once the end of its OS thread has begun: all code that is left runs in no place of its own.
const ENDING: &str = "this OS thread ends: nothing may wait any more";

thread_local! {
    /// The rule of the place that runs now, if that is a callback; empty in an ordinary one.
    static RULE: Cell<&'static str> = const { Cell::new("") };
}

/// Runs code in which nothing may wait nor switch; who tries panics with `rule`. What it raises goes on from here.
pub(crate) fn guarded<R>(rule: &'static str, run: impl FnOnce() -> R) -> R {
    let _guard = Guard::enter(existing_thread().map(|thread| thread.current()), rule);
    run()
}

impl Thread {
    /// [`guarded`], where the thread's record is at hand.
    #[inline]
    pub(crate) fn guarded<R>(&self, rule: &'static str, run: impl FnOnce() -> R) -> R {
        let _guard = Guard::enter(Some(self.current()), rule);
        run()
    }
}

/// Runs the hub's own code on the thread's own stack, in no callback. Nothing that it calls may wait, neither does an allocator that
/// C's locks lead back to the library. What it runs of others has a [guard](guarded) of its own, so no fiber is held here.
#[inline]
pub(crate) fn at_work<R>(run: impl FnOnce() -> R) -> R {
    debug_assert!(!in_callback(), "the hub runs when nothing else does");
    RULE.set(CALLBACK);
    let _end = AtWork;
    run()
}

/// The hub's own code runs, until this is dropped.
struct AtWork;

impl Drop for AtWork {
    #[inline]
    fn drop(&mut self) {
        RULE.set("");
    }
}

/// Whether code of others runs in a place of the library's own.
#[inline]
pub(crate) fn in_callback() -> bool {
    !RULE.get().is_empty()
}

/// Whether the caller may wait: for who need not.
pub(crate) fn may_wait() -> bool {
    !in_callback()
}

/// Called before anything is changed for a wait.
///
/// # Panics
///
/// In a callback, with its rule.
#[inline]
pub(crate) fn assert_may_wait() {
    if in_callback() {
        refuse(RULE.get());
    }
}

/// The same for a switch. One in an OS thread that ends is an error, which is found later.
#[inline]
#[track_caller]
pub(crate) fn assert_may_switch() {
    if in_callback() {
        refuse_switch();
    }
}

#[cold]
#[track_caller]
fn refuse_switch() {
    if !is_ending() {
        refuse(RULE.get());
    }
}

/// Called by who would wait for the lock of a queue.
///
/// # Panics
///
/// Under such a lock, maybe the very one.
#[cold]
pub(crate) fn assert_not_under_lock() {
    if RULE.get() == UNDER_LOCK {
        refuse(UNDER_LOCK);
    }
}

/// From now on nothing waits on the calling OS thread, whose end has begun.
pub(super) fn let_nothing_wait() {
    RULE.set(ENDING);
}

#[cold]
#[track_caller]
fn refuse(rule: &'static str) -> ! {
    panic::panic_any(if is_ending() { ENDING } else { rule })
}

/// The current greenlet is not to leave its stack, until this is dropped.
struct Guard {
    /// The fiber that is held; `None` where the OS thread had no record of any. If one is made meanwhile, its first fiber is held.
    fiber: Option<FiberRef>,
    /// The rule of the place that this one is in; empty for an ordinary one.
    outer: &'static str,
    /// Whether it is within another guard, which holds the greenlet on.
    within: bool,
}

impl Guard {
    #[inline]
    fn enter(fiber: Option<FiberRef>, rule: &'static str) -> Guard {
        let within = match fiber {
            Some(fiber) => fiber.disturbed.hold(),
            None => in_callback(),
        };
        Guard { fiber, outer: RULE.replace(rule), within }
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        RULE.set(self.outer);
        if !self.within
            && let Some(fiber) = self.fiber.or_else(|| existing_thread().map(|thread| thread.current()))
        {
            fiber.disturbed.release();
        }
    }
}
