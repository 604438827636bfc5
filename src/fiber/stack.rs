//! Stacks: cut from reserved address space, guarded, pooled, and given back to the kernel where they went deep.
//!
//! Each size class has a region of address space, cut into slots of one size:
//!
//! ```text
//!     start      low                                                         low + size = start + slot
//!      |   guard  | pages that no stack use has touched yet | touched |base|header|colour|
//!                                                  the stack grows <--|
//! ```
//!
//! The first stack of a class is no part of that: a slot that is a mapping of its own, with a closed guard, which is made fastest.
//! After it, slots are opened a slab at a time: made accessible, and their guards installed. On Linux 6.13 and later a guard is
//! a row of markers in the page table, and all stacks of a region together are one memory mapping. Before that, and
//! where markers do not hold, a guard is a range that stays closed, and costs two mappings, of which a process has
//! 65,530 by default.
//!
//! A guard is as large as it is for frames of C: without `-fstack-clash-protection`, which is no compiler's default, a
//! function touches its frame wherever it likes first. Rust's own frames are touched page by page.
//!
//! A stack that is dropped goes to the front of its class's list, so that the next green thread gets warm pages.

mod extent;
mod pool;
mod size;

use std::num::NonZeroUsize;
use std::time::Duration;

use corosensei::stack::StackPointer;

pub(super) use extent::{Extent, SHIFTS};
use pool::{Guards, Pool};
pub(super) use size::CLASSES;
pub(crate) use size::SizeClass;
pub use size::set_default_stack_size;

use crate::error::StackError;
use crate::sys::clock::Time;
use crate::sys::lock::Lock;

static POOL: Pool = Pool::new(Guards::Installed);

/// For who has nothing else to do: gives the memory of some idle stacks back to the kernel, in some 50 µs, if more have been of no
/// use for long than are kept. Returns how long until there may be more to do; `None` if there are no more than are kept.
#[inline]
pub(super) fn cool_stacks() -> Option<Duration> {
    if POOL.is_crowded() { POOL.cool(Time::now()) } else { None }
}

/// For a thread that ends, maybe the last one to look: the same for all of them, however short they have been idle.
pub(crate) fn cool_all_stacks() {
    POOL.cool_all();
}

/// Holds what a fork must find free.
pub(super) fn hold_locks() {
    POOL.classes.iter().for_each(Lock::hold);
}

/// Ends [`hold_locks`].
///
/// # Safety
///
/// As [`Lock::release`].
pub(super) unsafe fn release_locks() {
    for class in &POOL.classes {
        // SAFETY: the caller's promise.
        unsafe { class.release() };
    }
}

/// A stack to run a coroutine on. Dropping it returns it to its pool.
#[derive(Debug)]
pub(crate) struct Stack {
    extent: Extent,
    pool: &'static Pool,
}

impl Stack {
    /// Takes a stack from the process's pool: the one that was returned last, or one never used.
    ///
    /// # Errors
    ///
    /// [`StackError::OutOfMemory`] and [`StackError::MapLimit`], if the kernel has none left.
    pub(crate) fn allocate(class: SizeClass) -> Result<Stack, StackError> {
        Stack::from_pool(&POOL, class)
    }

    fn from_pool(pool: &'static Pool, class: SizeClass) -> Result<Stack, StackError> {
        Ok(Stack { extent: pool.allocate(class)?, pool })
    }

    /// Where the stack is, for looking at it while a coroutine owns it.
    #[inline]
    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }
}

// SAFETY: the bounds are those of a slot that this value owns. It begins with a guard, of whole pages that fault at a touch:
// the kernel refuses access to closed ones, and of those that a call installed one was seen to fault. `SizeClass` makes the stack above that at
// least four pages, of which it takes 1.5 KiB, so more than `MIN_STACK_SIZE` lie below the base. All bounds are multiples of 64.
unsafe impl corosensei::stack::Stack for Stack {
    #[inline]
    fn base(&self) -> StackPointer {
        NonZeroUsize::new(self.extent.base()).expect("no stack lies below 64")
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        NonZeroUsize::new(self.extent.low() - self.extent.class().guard()).expect("nothing is mapped at 0")
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the value is being dropped, so no coroutine has the stack: all of it is free.
        unsafe { self.pool.take_back(self.extent) };
    }
}

#[cfg(test)]
mod tests;
