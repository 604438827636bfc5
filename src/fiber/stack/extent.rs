//! Where a stack is, and how deep it went: canaries tell, without a system call.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr;

use super::size::{COLOUR_STEP, COLOURS, HEADER, SizeClass};
use crate::sys::memory;

/// Pages at the top of a stack that stay with it when it is trimmed: as much as a client of a database uses.
pub(super) const WARM_PAGES: usize = 4;

/// More than any shift, and a divisor of any base.
pub(in crate::fiber) const SHIFTS: usize = 32;

/// The bounds of a stack, in one word: a fiber keeps it in the cache line that each switch needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    /// The base, which each switch needs, plus the shift of the size class. The base is in the slot's top page, so that the
    /// rest follows from the two.
    packed: NonZeroUsize,
}

/// What the pool keeps above the base of a stack.
#[repr(C)]
pub(super) struct Header {
    /// While the stack is in the pool: the next one there.
    pub(super) next: Option<Extent>,
    /// The page whose canaries tell whether the stack went below it since the last trim; never below the warm ones. 0 if
    /// frames are, or soon will be, where canaries would be: then nothing is known.
    pub(super) mark: usize,
}

/// What no frame writes by chance.
const CANARY: usize = 0x6772_6565_6e6c_6f6f_u64 as usize;

/// Where the canaries of a page are, in bytes. Frames have holes, where they keep what was not needed this time. So there
/// are several canaries, wider than a common frame, and no two pairs are equally far apart: as the frames of a recursion
/// come at equal distances, their holes cannot have them all.
pub(super) const CANARIES: [usize; 8] = [0, 24, 96, 216, 360, 528, 768, 816];

/// Bytes below the base in which canaries would tell nothing: the frames there are always the same, holes included. Those of
/// a sanitizer are mostly holes.
pub(super) const FIRST_FRAMES: usize = if cfg!(debug_assertions) { 5000 } else { 1024 };

impl Extent {
    /// The stack in the slot that begins at `start`.
    pub(super) fn new(start: usize, class: SizeClass) -> Extent {
        let colour = start / class.slot() % COLOURS;
        let base = start + class.slot() - HEADER - colour * COLOUR_STEP;
        let packed = NonZeroUsize::new(base).expect("a slot is larger than what lies above the base");
        Extent { packed: packed | class.shift as usize }
    }

    #[inline]
    pub(in crate::fiber) fn class(self) -> SizeClass {
        SizeClass { shift: (self.packed.get() % SHIFTS) as u8 }
    }

    #[inline]
    pub(super) fn base(self) -> usize {
        self.packed.get() / SHIFTS * SHIFTS
    }

    /// The lowest byte of the stack. Below it is the guard.
    pub(super) fn low(self) -> usize {
        self.end() - self.class().size()
    }

    /// All of it, up to the frame of whoever began there.
    pub(in crate::fiber) fn bounds(self) -> Range<usize> {
        self.low()..self.base()
    }

    /// Gives back to the kernel what a deep call has left below the top 16 KiB. `in_use` counts the bytes from the base
    /// downwards in which the frames of a suspended coroutine are; 0 if there is none.
    ///
    /// Costs some loads if the stack has been no deeper than at the last time. Canaries are a cheap check, not an exact
    /// one: a call with a large array that it does not initialise may hide its depth until the next deep one.
    ///
    /// # Safety
    ///
    /// The stack has not been returned to its pool, nobody runs on it, and no frame is lower than `in_use` bytes below
    /// its base.
    #[inline]
    pub(crate) unsafe fn trim(self, in_use: usize) {
        // SAFETY: the header is the pool's own.
        let mark = unsafe { (*self.header()).mark };
        // SAFETY: a word of a touched page of this stack. A coroutine may have left anything there, but it does not run
        // now, so nothing writes to it. Volatile, since no Rust value lives there.
        let damage = |offset| unsafe { self.canary(mark, offset).read_volatile() } ^ CANARY;
        // All are read in any case: eight loads cost less than a branch after each.
        if mark == 0 || CANARIES.into_iter().fold(0, |all, offset| all | damage(offset)) != 0 {
            // SAFETY: as promised by the caller.
            unsafe { self.trim_deep(in_use) };
        }
    }

    /// # Safety
    ///
    /// As for [`trim`](Extent::trim).
    #[cold]
    unsafe fn trim_deep(self, in_use: usize) {
        let page = memory::page_size();
        let free = self.base().saturating_sub(in_use).max(self.low());
        let warm = self.low().max(self.end() - WARM_PAGES * page);
        // SAFETY: the header is the pool's own.
        let passed = unsafe { (*self.header()).mark };
        let mark = if passed == 0 { self.top_page() } else { passed };
        // The page below the warm ones, then those down to which the stack was known to go.
        let mut pages = [1; WARM_PAGES + 1];
        let pages = &mut pages[..(mark - warm) / page + 1];
        if mark > warm && memory::resident(warm - page, pages).is_err() {
            return;
        }
        let touched = |page: &u8| page & 1 == 1;
        let cold = self.low()..warm.min(free / page * page);
        if touched(&pages[0]) && !cold.is_empty() {
            // SAFETY: these are pages of this stack, all below the lowest frame.
            unsafe { memory::discard(cold.start, cold.len()) };
        }
        // A stack that went no deeper than somewhere in the page of the mark gets the next page: else each use as deep
        // as this one would come here again.
        let deepest = match pages[1..].iter().position(touched) {
            Some(untouched) => warm + untouched * page,
            None if passed == 0 => mark,
            None => warm.max(mark - page),
        };
        // SAFETY: the page is one of this stack, and nothing lives below `free`.
        unsafe { self.set_mark(deepest, warm, free) };
    }

    /// Makes `page` the one below which the next trim looks, or the next page if frames are where its canaries would
    /// be. If there is no next page down to `warm`, there are no canaries, and the next trim looks in any case.
    ///
    /// # Safety
    ///
    /// `page` and `warm` are pages of this stack, nobody runs on it, and no frame is lower than `free`.
    pub(super) unsafe fn set_mark(self, mut page: usize, warm: usize, free: usize) {
        let fits = |page| self.canary(page, CANARIES[CANARIES.len() - 1]).addr() + size_of::<usize>() <= free;
        while page > warm && !fits(page) {
            page -= memory::page_size();
        }
        let mark = if fits(page) { page } else { 0 };
        // SAFETY: the header is the pool's own.
        unsafe { (*self.header()).mark = mark };
        if mark != 0 {
            for offset in CANARIES {
                // SAFETY: a word of this stack, below every frame.
                unsafe { self.canary(mark, offset).write_volatile(CANARY) };
            }
        }
    }

    /// One of the words in the lower quarter of a page, which a stack that needs the next page overwrites. They are
    /// coloured too, in four steps.
    #[inline]
    pub(super) fn canary(self, page: usize, offset: usize) -> *mut usize {
        ptr::with_exposed_provenance_mut(page + self.base() / COLOUR_STEP % 4 * 64 + offset)
    }

    /// How many bytes below the base an address is; the whole stack for one that is not on it, as locals may be where a
    /// sanitizer moves them to the heap.
    pub(in crate::fiber) fn depth(self, address: usize) -> usize {
        let address = if (self.low()..self.base()).contains(&address) { address } else { self.low() };
        self.base() - address
    }

    #[inline]
    pub(super) fn header(self) -> *mut Header {
        ptr::with_exposed_provenance_mut(self.base())
    }

    pub(super) fn top_page(self) -> usize {
        self.end() - memory::page_size()
    }

    pub(super) fn end(self) -> usize {
        self.base().next_multiple_of(memory::page_size())
    }

    /// How many bytes below the base are backed by memory, to the page: the most that was in use since the stack was
    /// trimmed last, and at least what that left. Asks the kernel about each page.
    pub(crate) fn high_water(self) -> usize {
        let page = memory::page_size();
        let mut pages = [0; 256];
        let mut start = self.low();
        while start < self.base() {
            let count = ((self.end() - start) / page).min(pages.len());
            if memory::resident(start, &mut pages[..count]).is_err() {
                break;
            }
            if let Some(untouched) = pages[..count].iter().position(|page| page & 1 == 1) {
                return self.base() - (start + untouched * page);
            }
            start += count * page;
        }
        0
    }
}
