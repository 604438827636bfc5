//! The stacks of a process that nobody uses, and the address space for more.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::super::overflow;
use super::extent::{Extent, FIRST_FRAMES};
use super::size::{CLASSES, SizeClass};
use crate::error::StackError;
use crate::sys::clock::Time;
use crate::sys::lock::{Lock, LockGuard};
use crate::sys::memory;
use crate::sys::surplus::Surplus;

/// Address space that a size class takes at once: 64 GiB (1 MiB where addresses have 32 bits).
const REGION: usize = 1 << (usize::BITS / 2 + 4);

/// Slots that the first slab of a region opens; each next one opens twice as many, up to `LARGEST_SLAB`.
pub(super) const FIRST_SLAB: usize = 16;
const LARGEST_SLAB: usize = 1024;

/// Opened slots that are given back when the limit of mappings is met, so that the rest of the program has some left.
const SPARED: usize = 32;

/// Returned stacks of a class that keep their top pages for good; each thread keeps some beside them. Those above that which
/// were of no use for a whole period are given back, when a hub has nothing else to do: it takes half of the time that the
/// end of a green thread takes, and then as much again to touch the pages anew, which those that come and go by the hundred
/// thousand must not wait for.
pub(super) const WARM_STACKS: usize = 4096;

/// The two ways to make a fault of an overflow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Guards {
    /// Markers in the page table, by MADV_GUARD_INSTALL.
    Installed,
    /// Ranges that are never made accessible.
    #[cfg_attr(not(test), expect(dead_code, reason = "found out by trying, and chosen by tests alone"))]
    Closed,
}

/// All stacks of a process that nobody uses, and the address space for more.
pub(super) struct Pool {
    pub(super) classes: [Lock<Class>; CLASSES],
    /// A bit for each class that has more warm stacks than it keeps, changed under the class's lock.
    crowded: AtomicU32,
    /// Whether guards cannot be installed: the kernel has refused, or they do not fault.
    pub(super) closed_guards: AtomicBool,
}

/// The stacks of one size.
pub(super) struct Class {
    /// The stack that was returned last; each names the next in its header.
    returned: Option<Extent>,
    /// How many of those are of no use.
    surplus: Surplus,
    /// Stacks that were too many among those: without memory, as if never used.
    cold: Vec<Extent>,
    /// Slots that are open and were never used.
    fresh: Range<usize>,
    /// Slots that are not open.
    closed: Range<usize>,
    /// How many the next slab opens; 0 before the first stack, which is a mapping of its own.
    slab: usize,
}

impl Class {
    const fn empty() -> Class {
        Class {
            returned: None,
            surplus: Surplus::new(WARM_STACKS, memory::RANGES_AT_ONCE),
            cold: Vec::new(),
            fresh: 0..0,
            closed: 0..0,
            slab: 0,
        }
    }

    /// Takes the stack that was returned last, if there is one.
    #[inline]
    fn pop_returned(&mut self) -> Option<Extent> {
        let extent = self.returned?;
        // SAFETY: the stack is in the pool, so its header is in its memory and belongs to who has the lock.
        self.returned = unsafe { (*extent.header()).next };
        self.surplus.taken();
        Some(extent)
    }
}

impl Pool {
    pub(super) const fn new(guards: Guards) -> Pool {
        Pool {
            classes: [const { Lock::new(Class::empty()) }; CLASSES],
            crowded: AtomicU32::new(0),
            closed_guards: AtomicBool::new(matches!(guards, Guards::Closed)),
        }
    }

    pub(super) fn allocate(&self, class: SizeClass) -> Result<Extent, StackError> {
        let mut state = self.classes[class.index()].lock();
        if let Some(extent) = state.pop_returned() {
            return Ok(extent);
        }
        let extent = match state.cold.pop() {
            Some(extent) => extent,
            None => {
                if state.fresh.is_empty() {
                    self.open_slab(class, &mut state)?;
                }
                let start = state.fresh.start;
                state.fresh.start += class.slot();
                Extent::new(start, class)
            }
        };
        drop(state);
        let top_page = extent.top_page();
        // SAFETY: the slot has just been taken from those that nobody uses.
        unsafe { extent.set_mark(top_page, top_page, extent.base() - FIRST_FRAMES) };
        Ok(extent)
    }

    /// Takes a stack back, to be the next one taken.
    ///
    /// # Safety
    ///
    /// The stack belongs to the caller, who gives it up, and nothing on it is in use.
    pub(super) unsafe fn take_back(&self, extent: Extent) {
        // SAFETY: as promised by the caller.
        unsafe { extent.trim(0) };
        let class = extent.class().index();
        let mut state = self.classes[class].lock();
        // SAFETY: the stack's owner gives it up, so its header belongs to who has the lock.
        unsafe { (*extent.header()).next = state.returned };
        state.returned = Some(extent);
        state.surplus.put();
        if state.surplus.is_crowded() {
            // Relaxed: a hint, for who looks again under the lock.
            self.crowded.fetch_or(1 << class, Ordering::Relaxed);
        }
    }

    /// Whether some class has more warm stacks than are kept, or had lately.
    #[inline]
    pub(super) fn is_crowded(&self) -> bool {
        // Relaxed: as in `take_back`.
        self.crowded.load(Ordering::Relaxed) != 0
    }

    /// See [`cool_stacks`](super::cool_stacks).
    #[cold]
    pub(super) fn cool(&self, now: Time) -> Option<Duration> {
        let cool = |class: SizeClass| {
            let mut state = self.lock_crowded(class)?;
            let left = state.surplus.until_some(now);
            if left.is_zero() {
                self.cool_some(class, state);
            }
            Some(left)
        };
        SizeClass::all().filter_map(cool).min()
    }

    /// See [`cool_all_stacks`](super::cool_all_stacks).
    pub(super) fn cool_all(&self) {
        for class in SizeClass::all() {
            while let Some(state) = self.lock_crowded(class) {
                self.cool_some(class, state);
            }
        }
    }

    /// The class, if it is crowded.
    fn lock_crowded(&self, class: SizeClass) -> Option<LockGuard<'_, Class>> {
        let bit = 1 << class.index();
        // Relaxed: as in `take_back`.
        if self.crowded.load(Ordering::Relaxed) & bit == 0 {
            return None;
        }
        let mut state = self.classes[class.index()].lock();
        if state.surplus.is_crowded() {
            return Some(state);
        }
        state.surplus.settle();
        // Relaxed: as in `take_back`, which has the lock too.
        self.crowded.fetch_and(!bit, Ordering::Relaxed);
        None
    }

    /// Gives the memory of as many as the kernel takes at once back to it. The class is crowded.
    fn cool_some(&self, class: SizeClass, mut state: LockGuard<'_, Class>) {
        let extents =
            [(); memory::RANGES_AT_ONCE].map(|()| state.pop_returned().expect("as many as were counted"));
        drop(state);
        // SAFETY: these are the pages of stacks that nobody uses, above their guards.
        unsafe { memory::discard_all(&extents.map(Extent::low), class.size()) };
        self.classes[class.index()].lock().cold.extend(extents);
    }

    /// Opens at least one more slot.
    #[cold]
    fn open_slab(&self, class: SizeClass, state: &mut Class) -> Result<(), StackError> {
        if state.slab == 0 {
            state.fresh = map_first(class)?;
            state.slab = FIRST_SLAB;
            return Ok(());
        }
        if state.closed.is_empty() {
            state.closed = reserve_region(class)?;
            overflow::watch(state.closed.clone(), class.slot(), class.guard());
        }
        let slab = state.closed.start..state.closed.end.min(state.closed.start + state.slab * class.slot());
        // Relaxed: only a hint; who misses it is refused by the kernel too.
        let opened = if self.closed_guards.load(Ordering::Relaxed) {
            open_between_guards(class, slab)?
        } else if let Some(opened) = open_and_install_guards(class, slab.clone())? {
            opened
        } else {
            // Relaxed: as above.
            self.closed_guards.store(true, Ordering::Relaxed);
            open_between_guards(class, slab)?
        };
        state.closed.start = opened.end;
        state.fresh = opened;
        state.slab = LARGEST_SLAB.min(2 * state.slab);
        Ok(())
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pool").field("closed_guards", &self.closed_guards).finish_non_exhaustive()
    }
}

/// A slot that is no part of a region, with a closed guard: many a process has no second stack of a size, and to make a region, to
/// install a guard and to see that it faults takes three times as long.
#[cold]
fn map_first(class: SizeClass) -> Result<Range<usize>, StackError> {
    let start = memory::map_guarded(class.slot(), class.guard()).map_err(StackError::OutOfMemory)?;
    let slot = start..start + class.slot();
    overflow::watch(slot.clone(), class.slot(), class.guard());
    Ok(slot)
}

/// Address space for the class: as many slots of `REGION` as the process may have, one at the least.
fn reserve_region(class: SizeClass) -> Result<Range<usize>, StackError> {
    let mut slots = (REGION / class.slot()).max(1);
    loop {
        let length = slots * class.slot();
        match memory::reserve(length) {
            Ok(start) => return Ok(start..start + length),
            Err(error) if slots == 1 => return Err(StackError::OutOfMemory(error)),
            Err(_) => slots /= 2,
        }
    }
}

/// Opens the slab as a whole and puts guards into it; `None` if the kernel cannot.
fn open_and_install_guards(class: SizeClass, slab: Range<usize>) -> Result<Option<Range<usize>>, StackError> {
    // SAFETY: the slab is reserved, and nothing uses it yet.
    unsafe { memory::open(slab.start, slab.len()) }.map_err(StackError::OutOfMemory)?;
    // SAFETY: the slab consists of slots of this size, which begin with guards that only an overflow touches.
    let Err(error) = (unsafe { memory::install_guards(slab.clone(), class.slot(), class.guard()) }) else {
        return Ok(Some(slab));
    };
    // SAFETY: nothing uses the slab yet.
    unsafe { memory::close(slab.start, slab.len()) }.map_err(StackError::OutOfMemory)?;
    match error.kind() {
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported => Ok(None),
        _ => Err(StackError::OutOfMemory(error)),
    }
}

/// Opens the slots of the slab except for their guards: all of them, or as many as the limit of mappings allows.
fn open_between_guards(class: SizeClass, slab: Range<usize>) -> Result<Range<usize>, StackError> {
    for start in slab.clone().step_by(class.slot()) {
        // SAFETY: the slab is reserved, and nothing uses it yet.
        let Err(error) = (unsafe { memory::open(start + class.guard(), class.size()) }) else { continue };
        let end = slab.start.max(start.saturating_sub(SPARED * class.slot()));
        // SAFETY: as above.
        unsafe { memory::close(end, start - end) }.map_err(StackError::OutOfMemory)?;
        if end == slab.start {
            return Err(StackError::MapLimit(error));
        }
        return Ok(slab.start..end);
    }
    Ok(slab)
}
