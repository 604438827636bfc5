//! The atomics of what threads share: std's, and loom's in the package `model`, which checks this very code.

#[cfg(not(loom))]
pub(crate) use std::hint::spin_loop;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// Offers the processor to another OS thread. Not by std's function, which would call the `sched_yield` of `monkey`, and so switch to
/// another green thread in the middle of what the caller does.
#[cfg(not(loom))]
pub(crate) fn yield_now() {
    // SAFETY: takes nothing.
    unsafe { super::original::sched_yield() };
}

#[cfg(loom)]
pub(crate) use loom::hint::spin_loop;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
#[cfg(loom)]
pub(crate) use loom::thread::yield_now;

/// Makes a function `const`, but for loom, whose atomics are not made at compile time.
macro_rules! constant {
    ($(#[$attribute:meta])* $visibility:vis fn $($function:tt)*) => {
        #[cfg(not(loom))]
        $(#[$attribute])* $visibility const fn $($function)*
        #[cfg(loom)]
        $(#[$attribute])* $visibility fn $($function)*
    };
}
pub(crate) use constant;
