//! Explicit coroutines with stacks of their own.
//!
//! A [`Greenlet`] runs until it switches to another one with a value; nothing schedules it. This is Python's greenlet, with
//! types. Green threads are greenlets that the hub schedules, so the two mix: when a greenlet blocks on greenloop's IO it
//! parks, and the hub runs the next that is ready.
//!
//! ```
//! use greenloop::greenlet::{Greenlet, main};
//!
//! let greeter = Greenlet::new(|name: String| {
//!     let next = main().switch(format!("hello, {name}")).unwrap();
//!     format!("goodbye, {next}")
//! });
//! assert_eq!(greeter.switch("Ada".to_string()).unwrap(), "hello, Ada");
//! assert_eq!(greeter.switch("Bob".to_string()).unwrap(), "goodbye, Bob");
//! assert!(greeter.is_dead());
//! ```

#![expect(unsafe_code, reason = "stacks, the switch between them, and values that cross it")]

mod callback;
mod fiber;
mod generator;
mod handle;
mod header;
#[cfg(feature = "monkey")]
pub(crate) mod identity;
#[cfg(feature = "monkey")]
pub(crate) mod isolation;
mod overflow;
mod panics;
mod plain;
mod stack;
mod switching;
mod trace;
mod unraisable;

pub use generator::{Generator, Yielder};
pub use handle::AnyGreenlet;
pub use plain::Greenlet;
pub use stack::set_default_stack_size;
pub use trace::{Event, Trace, Tracer, settrace};

pub(crate) use callback::{CALLBACK, UNDER_LOCK, assert_not_under_lock, callback, guarded, may_wait};
pub(crate) use fiber::{
    Arrival, Describe, FiberRef, Interrupt, Local, State, Stopped, Thread, abort_if_parked, is_ending, thread,
};
pub(crate) use panics::in_panic_hook;
pub(crate) use stack::{SizeClass, cool_stacks};
pub use unraisable::{Uncaught, UncaughtHook, set_uncaught_hook};
pub(crate) use unraisable::{catch, discard, report, report_text};

/// Holds the locks that a fork must find free.
pub(crate) fn hold_locks() {
    stack::hold_locks();
    unraisable::hold_lock();
}

/// Ends [`hold_locks`].
///
/// # Safety
///
/// This thread, or in the child of a fork the one that it is a copy of, has called that.
pub(crate) unsafe fn release_locks() {
    // SAFETY: the caller's promise.
    unsafe { unraisable::release_lock() };
    // SAFETY: as above.
    unsafe { stack::release_locks() };
}

/// Runs `function`, which neither yields nor unwinds, with the thread-local variables that the greenlets of this OS thread have
/// in common, even in a green thread that has its own.
#[inline]
pub(crate) fn in_common<R>(function: impl FnOnce() -> R) -> R {
    #[cfg(feature = "monkey")]
    return isolation::in_common(function);
    #[cfg(not(feature = "monkey"))]
    function()
}

/// Returns the greenlet that is running: one made by hand, a green thread, or the thread's own stack.
///
/// # Examples
///
/// ```
/// use greenloop::greenlet::{Greenlet, current, main};
///
/// assert!(current().is_main());
/// let inside = Greenlet::new(|_: bool| current() == main());
/// assert_eq!(inside.switch(true).unwrap(), false);
/// ```
#[doc(alias("getcurrent", "current_thread", "current_task"))]
pub fn current() -> AnyGreenlet {
    let thread = thread();
    AnyGreenlet::of_fiber(thread.current(), &thread)
}

/// Returns the main greenlet: the calling OS thread's own stack, and the ancestor of all other greenlets.
///
/// # Examples
///
/// ```
/// use greenloop::greenlet::{Greenlet, main};
///
/// assert!(main().is_current());
/// let inside = Greenlet::new(|_: bool| main().is_current());
/// assert_eq!(inside.switch(true).unwrap(), false);
/// ```
#[doc(alias = "main_thread")]
pub fn main() -> AnyGreenlet {
    let thread = thread();
    AnyGreenlet::of_fiber(thread.main(), &thread)
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
