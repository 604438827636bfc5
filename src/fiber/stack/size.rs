//! How large stacks are, and what lies below and above them.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::StackError;
use crate::sys::memory;

/// The smallest and the largest guard. The first holds the frames that C libraries have; it takes 256 bytes of page tables
/// where pages have 4 KiB. The second is what the kernel keeps below the stack of a process.
pub(super) const SMALLEST_GUARD: usize = 128 * 1024;
pub(super) const LARGEST_GUARD: usize = 1024 * 1024;

/// Stacks at one page offset would have their tops, the part that is always in use, in the same few sets of the
/// processor's first cache. So the base of slot i is lowered by `i % COLOURS` times `COLOUR_STEP` bytes.
///
/// What all that leaves of the top page, 2,560 bytes, is enough for one that waits for a socket with a buffer of 1 KiB: it
/// has one page.
pub(super) const COLOURS: usize = 24;
pub(super) const COLOUR_STEP: usize = 64;

/// Bytes above the base that the pool keeps for itself: a cache line, though a [`Header`](super::extent::Header) is smaller.
pub(super) const HEADER: usize = 64;

/// What the pool may keep of a stack: the header, and the largest colour.
pub(super) const OVERHEAD: usize = HEADER + (COLOURS - 1) * COLOUR_STEP;

/// The smallest and the largest stack: 16 KiB (four pages, if pages are larger) and 1 GiB.
pub(super) const SMALLEST_SHIFT: u8 = 14;
pub(super) const LARGEST_SHIFT: u8 = 30;
pub(in crate::fiber) const CLASSES: usize = (LARGEST_SHIFT - SMALLEST_SHIFT + 1) as usize;

/// The default stack: 128 KiB, or 512 KiB in a debug build.
///
/// A fetch over HTTPS needs 38 KiB, and 47 with a long chain of large certificates; built without optimisation, 134 and
/// 158: the default leaves twice as much. What is never touched costs no memory, only the room for its page tables.
const DEFAULT_SHIFT: u8 = if cfg!(debug_assertions) { 19 } else { 17 };

static DEFAULT: AtomicU8 = AtomicU8::new(DEFAULT_SHIFT);

/// How large a stack is, with what the pool keeps of it and without its guard: a power of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SizeClass {
    pub(super) shift: u8,
}

impl SizeClass {
    /// The smallest class whose stacks have at least `bytes` bytes.
    ///
    /// # Errors
    ///
    /// [`StackError::TooLarge`] if none has.
    pub(crate) fn fitting(bytes: usize) -> Result<SizeClass, StackError> {
        let smallest = SMALLEST_SHIFT.max((4 * memory::page_size()).trailing_zeros() as u8);
        let size = bytes.checked_add(OVERHEAD).and_then(usize::checked_next_power_of_two);
        let shift = size.map_or(u8::MAX, |size| size.trailing_zeros() as u8).max(smallest);
        if shift > LARGEST_SHIFT {
            let limit = SizeClass { shift: LARGEST_SHIFT }.usable();
            return Err(StackError::TooLarge { requested: bytes, limit });
        }
        Ok(SizeClass { shift })
    }

    /// The class of stacks whose size nobody chose.
    #[inline]
    pub(crate) fn default_now() -> SizeClass {
        // Relaxed: a number on its own.
        SizeClass { shift: DEFAULT.load(Ordering::Relaxed) }
    }

    /// The bytes that each stack of the class has at least.
    pub(crate) fn usable(self) -> usize {
        self.size() - OVERHEAD
    }

    pub(super) fn size(self) -> usize {
        1 << self.shift
    }

    /// Bytes below each stack that no access passes.
    pub(super) fn guard(self) -> usize {
        (self.size() / 2).clamp(SMALLEST_GUARD, LARGEST_GUARD)
    }

    /// Bytes from one stack to the next.
    pub(super) fn slot(self) -> usize {
        self.guard() + self.size()
    }

    /// Each of them.
    pub(super) fn all() -> impl Iterator<Item = SizeClass> {
        (SMALLEST_SHIFT..=LARGEST_SHIFT).map(|shift| SizeClass { shift })
    }

    pub(in crate::fiber) fn index(self) -> usize {
        (self.shift - SMALLEST_SHIFT) as usize
    }
}

/// Sets the size of stacks for which no size is chosen, from the next spawn on, in the whole process.
///
/// Such a stack has at least `bytes` bytes. The default is 128 KiB, and 512 KiB in debug builds. The size of a stack is a power
/// of two from 16 KiB to 1 GiB, of which the library keeps 1.5 KiB.
///
/// # Guards
///
/// Below each stack lies a guard, which no code can touch: it is half as large as the stack, but at least 128 KiB and at most 1
/// MiB. A call that needs more stack than is left touches the guard, and the process ends with a report. This holds for all Rust
/// code, and for C code with one exception: a function whose own frame is larger than the guard, compiled without
/// `-fstack-clash-protection`, may reach past it.
///
/// # Limits
///
/// Stacks and guards take address space, and memory only where they are touched. A process has 128 TiB of address space; a
/// million stacks of 128 KiB with their guards take 256 GiB. If the address space is limited (`ulimit -v`), fewer stacks fit, and
/// a green thread that gets none ends with a [`JoinError`](crate::JoinError) that has a
/// [`stack_error`](crate::JoinError::stack_error). Where the kernel promises no more memory than there is
/// (`vm.overcommit_memory=2`), it counts stacks and guards in full.
///
/// # Errors
///
/// Returns [`StackError::TooLarge`] if no stack is that large.
///
/// # Examples
///
/// ```
/// greenloop::greenlet::set_default_stack_size(1 << 20).unwrap();
/// let deep = greenloop::spawn(|| [0u8; 700_000].iter().filter(|byte| **byte == 0).count());
/// assert_eq!(deep.join().unwrap(), 700_000);
/// ```
#[doc(alias = "stack_size")]
pub fn set_default_stack_size(bytes: usize) -> Result<(), StackError> {
    let class = SizeClass::fitting(bytes)?;
    // Relaxed: a number on its own.
    DEFAULT.store(class.shift, Ordering::Relaxed);
    Ok(())
}
