//! Stacks that run: the switch between them, and what goes with each and with the OS thread that they belong to.
//!
//! Nothing here knows of greenlets or hubs. Who runs on a fiber is known by two slots: a borrowed [description](Describe), for
//! reports, and an opaque record of a room above, the [`Occupant`].

mod arrival;
mod chain;
mod clearing;
mod debugger;
#[expect(clippy::module_inception, reason = "named for the type in it")]
mod fiber;
mod guard;
#[cfg(feature = "monkey")]
pub(crate) mod identity;
#[cfg(feature = "monkey")]
pub(crate) mod isolation;
mod lifetime;
mod local;
mod overflow;
mod panic_hook;
mod panics;
mod pool;
#[cfg(thread_sanitizer)]
mod shadow;
mod stack;
mod thread;
#[cfg(feature = "monkey")]
mod thread_name;
mod uncaught;
mod visit;

use std::time::Duration;

#[cfg(feature = "monkey")]
use crate::sys::control_block;

pub(crate) use arrival::{MOST_KILLS, Pending};
pub(crate) use fiber::{Describe, FiberRef, Inbox, Occupant, State};
pub(crate) use guard::{
    CALLBACK, UNDER_LOCK, assert_may_switch, assert_may_wait, assert_not_under_lock, at_work, guarded,
    in_callback, may_wait,
};
pub(crate) use lifetime::{abort_if_parked, thread, try_thread};
pub(crate) use local::Local;
pub(crate) use panic_hook::in_panic_hook;
pub(crate) use stack::SizeClass;
pub use stack::set_default_stack_size;
pub(crate) use thread::{Observer, Thread, Visit, existing_thread, is_ending};
pub use uncaught::{Uncaught, UncaughtHook, set_uncaught_hook};
pub(crate) use uncaught::{callback, catch, discard, report, report_text};
pub(crate) use visit::{SWITCH_NAMES, SWITCH_SOURCES};

/// Holds the locks that a fork must find free.
pub(crate) fn hold_locks() {
    stack::hold_locks();
    uncaught::hold_lock();
    #[cfg(feature = "monkey")]
    control_block::hold_lock();
}

/// Ends [`hold_locks`].
///
/// # Safety
///
/// This thread, or in the child of a fork the one that it is a copy of, has called that.
pub(crate) unsafe fn release_locks() {
    #[cfg(feature = "monkey")]
    // SAFETY: the caller's promise.
    unsafe {
        control_block::release_lock()
    };
    // SAFETY: as above.
    unsafe { uncaught::release_lock() };
    // SAFETY: as above.
    unsafe { stack::release_locks() };
}

/// For who has nothing else to do: gives back some of what was kept for the next fibers and has been of no use for long, in some 0.3 ms.
/// Returns how long until there may be more to do; `None` if no more is kept than for good.
#[inline]
pub(crate) fn cool() -> Option<Duration> {
    let stacks = stack::cool_stacks();
    #[cfg(feature = "monkey")]
    let stacks = stacks.into_iter().chain(isolation::cool()).min();
    stacks
}

/// To be called first before a fork, by who uses no thread-local variable, for these may be others afterwards.
pub(crate) fn before_fork() {
    #[cfg(feature = "monkey")]
    isolation::leave_before_fork();
}

/// To be called last after a fork, in the parent and in the child, as [`before_fork`].
pub(crate) fn after_fork() {
    #[cfg(feature = "monkey")]
    isolation::return_after_fork();
}

/// In the child of a fork, forgets what only the parent has.
pub(crate) fn forget_parents() {
    let own = existing_thread();
    own.inspect(|own| own.take_os_thread());
    debugger::forget_others(own.as_deref());
    #[cfg(feature = "monkey")]
    control_block::forget_all();
}

/// Runs `function`, which neither yields nor unwinds, with the thread-local variables that the fibers of this OS thread have in
/// common, even in a green thread that has its own.
#[inline]
pub(crate) fn in_common<R>(function: impl FnOnce() -> R) -> R {
    #[cfg(feature = "monkey")]
    return isolation::in_common(function);
    #[cfg(not(feature = "monkey"))]
    function()
}

/// Returns how many bytes of the current greenlet's stack are backed by memory.
///
/// The number is exact to the page. It is the most that this greenlet, or an earlier one on the same stack, has used. On the
/// thread's own stack it is `None`. The call asks the kernel about each page.
///
/// # Examples
///
/// ```
/// let used = greenloop::spawn(|| greenloop::greenlet::stack_high_water().unwrap());
/// assert!(used.join().unwrap() >= 4096 - 3072);
/// assert_eq!(greenloop::greenlet::stack_high_water(), None);
/// ```
pub fn stack_high_water() -> Option<usize> {
    thread().current().stack_high_water()
}
