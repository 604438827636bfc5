//! The blocks that are idle, and the address space for more.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys::lock::Lock;
use crate::sys::memory;
use crate::sys::surplus::Surplus;

/// Above all numbers that the kernel gives to threads (PID_MAX_LIMIT).
pub(super) const FIRST_NUMBER: u32 = 1 << 23;

/// Above those are bits that the kernel has a meaning for (FUTEX_TID_MASK).
const LAST_NUMBER: u32 = (1 << 30) - 1;

/// As many that are idle are kept for good. Those above that which were of no use for a while are taken down, when a hub has nothing
/// else to do: that takes as long as an OS thread that ends.
const KEPT: usize = 1024;

/// So many are taken down at a time, by threads that end beside each other.
pub(super) const AT_ONCE: usize = 8;

/// Slots are reserved by so many at a time at least, and at most.
const SLOTS: Range<usize> = 64..4096;

pub(super) static BLOCKS: Lock<Blocks> = Lock::new(Blocks {
    idle: VecDeque::new(),
    surplus: Surplus::new(KEPT, AT_ONCE),
    slots: 0..0,
    vacant: Vec::new(),
    made: 0,
    number: FIRST_NUMBER,
    generation: 0,
});

/// A hint that more are idle than are kept, changed under the lock.
pub(super) static CROWDED: AtomicBool = AtomicBool::new(false);

pub(super) struct Blocks {
    /// Those that wait to be used, last in first out.
    pub(super) idle: VecDeque<Place>,
    /// How many of those are of no use.
    pub(super) surplus: Surplus,
    /// Slots that never had a block.
    slots: Range<usize>,
    /// Slots whose block was taken down.
    pub(super) vacant: Vec<usize>,
    made: usize,
    /// Of the next one.
    number: u32,
    /// How many forks lie between this process and the first one.
    pub(super) generation: u32,
}

/// Where a block is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) base: NonZeroUsize,
    /// Where its slot begins.
    pub(super) slot: usize,
}

impl Blocks {
    /// A block is idle.
    pub(super) fn put(&mut self, place: Place) {
        self.idle.push_back(place);
        self.surplus.put();
        if self.surplus.is_crowded() {
            // Relaxed: a hint, for who looks again under the lock.
            CROWDED.store(true, Ordering::Relaxed);
        }
    }
}

/// Holds the lock that a fork must find free.
pub(crate) fn hold_lock() {
    BLOCKS.hold();
}

/// Ends [`hold_lock`].
///
/// # Safety
///
/// This thread, or in the child of a fork the one that it is a copy of, has called that.
pub(crate) unsafe fn release_lock() {
    // SAFETY: the caller's promise.
    unsafe { BLOCKS.release() };
}

/// In the child of a fork: the C library there does not know the blocks any more.
pub(crate) fn forget_all() {
    let mut blocks = BLOCKS.lock();
    let forgotten = std::mem::take(&mut blocks.idle);
    blocks.surplus = Surplus::new(KEPT, AT_ONCE);
    blocks.generation += 1;
    drop(blocks);
    drop(forgotten);
}

/// Address space for one more block.
pub(super) fn next_slot(length: usize) -> io::Result<Range<usize>> {
    let mut blocks = BLOCKS.lock();
    if let Some(start) = blocks.vacant.pop() {
        return Ok(start..start + length);
    }
    if blocks.slots.is_empty() {
        let count = blocks.made.clamp(SLOTS.start, SLOTS.end);
        let start = memory::reserve(count * length)?;
        // SAFETY: it was just reserved.
        if let Err(error) = unsafe { memory::open(start, count * length) } {
            // SAFETY: nothing uses it.
            unsafe { memory::release(start, count * length) };
            return Err(error);
        }
        blocks.slots = start..start + count * length;
    }
    let start = blocks.slots.start;
    blocks.slots.start += length;
    blocks.made += 1;
    Ok(start..start + length)
}

/// A number for the next block.
pub(super) fn next_number() -> u32 {
    let mut blocks = BLOCKS.lock();
    let number = blocks.number;
    blocks.number = if number == LAST_NUMBER { FIRST_NUMBER } else { number + 1 };
    number
}
