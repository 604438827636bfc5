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
//! Slots are opened a slab at a time: made accessible, and their guards installed. On Linux 6.13 and later a guard is
//! a row of markers in the page table, and all stacks of a region together are one memory mapping. Before that, and
//! where markers do not hold, a guard is a range that stays closed, and costs two mappings, of which a process has
//! 65,530 by default.
//!
//! A guard is as large as it is for frames of C: without `-fstack-clash-protection`, which is no compiler's default, a
//! function touches its frame wherever it likes first. Rust's own frames are touched page by page.
//!
//! A stack that is dropped goes to the front of its class's list, so that the next green thread gets warm pages.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use corosensei::stack::StackPointer;

use super::overflow;
use crate::error::StackError;
use crate::sys::clock::Time;
use crate::sys::lock::{Lock, LockGuard};
use crate::sys::memory;

/// The smallest and the largest guard. The first holds the frames that C libraries have; it takes 256 bytes of page tables
/// where pages have 4 KiB. The second is what the kernel keeps below the stack of a process.
const SMALLEST_GUARD: usize = 128 * 1024;
const LARGEST_GUARD: usize = 1024 * 1024;

/// Address space that a size class takes at once: 64 GiB (1 MiB where addresses have 32 bits).
const REGION: usize = 1 << (usize::BITS / 2 + 4);

/// Slots that the first slab of a region opens; each next one opens twice as many, up to `LARGEST_SLAB`.
const FIRST_SLAB: usize = 16;
const LARGEST_SLAB: usize = 1024;

/// Opened slots that are given back when the limit of mappings is met, so that the rest of the program has some left.
const SPARED: usize = 32;

/// Stacks at one page offset would have their tops, the part that is always in use, in the same few sets of the
/// processor's first cache. So the base of slot i is lowered by `i % COLOURS` times `COLOUR_STEP` bytes.
///
/// What all that leaves of the top page, 2,560 bytes, is enough for one that waits for a socket with a buffer of 1 KiB: it
/// has one page.
const COLOURS: usize = 24;
const COLOUR_STEP: usize = 64;

/// Returned stacks of a class that keep their top pages for good; each thread keeps some beside them. Those above that which
/// were of no use for a whole [`PERIOD`] are given back, when a hub has nothing else to do: it takes half of the time that the
/// end of a green thread takes, and then as much again to touch the pages anew, which those that come and go by the hundred
/// thousand must not wait for.
const WARM_STACKS: usize = 4096;
const PERIOD: Duration = Duration::from_secs(1);

/// Bytes above the base that the pool keeps for itself: a cache line, though a [`Header`] is smaller.
const HEADER: usize = 64;

/// What the pool may keep of a stack: the header, and the largest colour.
const OVERHEAD: usize = HEADER + (COLOURS - 1) * COLOUR_STEP;

/// Pages at the top of a stack that stay with it when it is trimmed: as much as a client of a database uses.
const WARM_PAGES: usize = 4;

/// The smallest and the largest stack: 16 KiB (four pages, if pages are larger) and 1 GiB.
const SMALLEST_SHIFT: u8 = 14;
const LARGEST_SHIFT: u8 = 30;
pub(super) const CLASSES: usize = (LARGEST_SHIFT - SMALLEST_SHIFT + 1) as usize;

/// More than any shift, and a divisor of any base.
const SHIFTS: usize = 32;

/// The default stack: 128 KiB, or 512 KiB in a debug build.
///
/// A fetch over HTTPS needs 38 KiB, and 47 with a long chain of large certificates; built without optimisation, 134 and
/// 158: the default leaves twice as much. What is never touched costs no memory, only the room for its page tables.
const DEFAULT_SHIFT: u8 = if cfg!(debug_assertions) { 19 } else { 17 };

static DEFAULT: AtomicU8 = AtomicU8::new(DEFAULT_SHIFT);

static POOL: Pool = Pool::new(Guards::Installed);

/// For who has nothing else to do: gives the memory of some idle stacks back to the kernel, in some 50 µs, if more have been of no
/// use for long than are kept. Returns how long until there may be more to do; `None` if there are no more than are kept.
#[inline]
pub(crate) fn cool_stacks() -> Option<Duration> {
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

/// How large a stack is, with what the pool keeps of it and without its guard: a power of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SizeClass {
    shift: u8,
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
    pub(crate) fn default_now() -> SizeClass {
        // Relaxed: a number on its own.
        SizeClass { shift: DEFAULT.load(Ordering::Relaxed) }
    }

    /// The bytes that each stack of the class has at least.
    pub(crate) fn usable(self) -> usize {
        self.size() - OVERHEAD
    }

    fn size(self) -> usize {
        1 << self.shift
    }

    /// Bytes below each stack that no access passes.
    fn guard(self) -> usize {
        (self.size() / 2).clamp(SMALLEST_GUARD, LARGEST_GUARD)
    }

    /// Bytes from one stack to the next.
    fn slot(self) -> usize {
        self.guard() + self.size()
    }

    /// Each of them.
    fn all() -> impl Iterator<Item = SizeClass> {
        (SMALLEST_SHIFT..=LARGEST_SHIFT).map(|shift| SizeClass { shift })
    }

    pub(super) fn index(self) -> usize {
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
        POOL.allocate(class)
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

/// The bounds of a stack, in one word: a fiber keeps it in the cache line that each switch needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    /// The base, which each switch needs, plus the shift of the size class. The base is in the slot's top page, so that the
    /// rest follows from the two.
    packed: NonZeroUsize,
}

/// What the pool keeps above the base of a stack.
#[repr(C)]
struct Header {
    /// While the stack is in the pool: the next one there.
    next: Option<Extent>,
    /// The page whose canaries tell whether the stack went below it since the last trim; never below the warm ones. 0 if
    /// frames are, or soon will be, where canaries would be: then nothing is known.
    mark: usize,
}

/// What no frame writes by chance.
const CANARY: usize = 0x6772_6565_6e6c_6f6f_u64 as usize;

/// Where the canaries of a page are, in bytes. Frames have holes, where they keep what was not needed this time. So there
/// are several canaries, wider than a common frame, and no two pairs are equally far apart: as the frames of a recursion
/// come at equal distances, their holes cannot have them all.
const CANARIES: [usize; 8] = [0, 24, 96, 216, 360, 528, 768, 816];

/// Bytes below the base in which canaries would tell nothing: the frames there are always the same, holes included. Those of
/// a sanitizer are mostly holes.
const FIRST_FRAMES: usize = if cfg!(debug_assertions) { 5000 } else { 1024 };

impl Extent {
    /// The stack in the slot that begins at `start`.
    fn new(start: usize, class: SizeClass) -> Extent {
        let colour = start / class.slot() % COLOURS;
        let base = start + class.slot() - HEADER - colour * COLOUR_STEP;
        let packed = NonZeroUsize::new(base).expect("a slot is larger than what lies above the base");
        Extent { packed: packed | class.shift as usize }
    }

    #[inline]
    pub(super) fn class(self) -> SizeClass {
        SizeClass { shift: (self.packed.get() % SHIFTS) as u8 }
    }

    #[inline]
    fn base(self) -> usize {
        self.packed.get() / SHIFTS * SHIFTS
    }

    /// The lowest byte of the stack. Below it is the guard.
    fn low(self) -> usize {
        self.end() - self.class().size()
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
    unsafe fn set_mark(self, mut page: usize, warm: usize, free: usize) {
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
    fn canary(self, page: usize, offset: usize) -> *mut usize {
        ptr::with_exposed_provenance_mut(page + self.base() / COLOUR_STEP % 4 * 64 + offset)
    }

    /// How many bytes below the base an address is; the whole stack for one that is not on it, as locals may be where a
    /// sanitizer moves them to the heap.
    pub(super) fn depth(self, address: usize) -> usize {
        let address = if (self.low()..self.base()).contains(&address) { address } else { self.low() };
        self.base() - address
    }

    #[inline]
    fn header(self) -> *mut Header {
        ptr::with_exposed_provenance_mut(self.base())
    }

    fn top_page(self) -> usize {
        self.end() - memory::page_size()
    }

    fn end(self) -> usize {
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

/// The two ways to make a fault of an overflow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Guards {
    /// Markers in the page table, by MADV_GUARD_INSTALL.
    Installed,
    /// Ranges that are never made accessible.
    #[cfg_attr(not(test), expect(dead_code, reason = "found out by trying, and chosen by tests alone"))]
    Closed,
}

/// All stacks of a process that nobody uses, and the address space for more.
struct Pool {
    classes: [Lock<Class>; CLASSES],
    /// A bit for each class that has more warm stacks than it keeps, changed under the class's lock.
    crowded: AtomicU32,
    /// Whether guards cannot be installed: the kernel has refused, or they do not fault.
    closed_guards: AtomicBool,
}

/// The stacks of one size.
struct Class {
    /// The stack that was returned last; each names the next in its header.
    returned: Option<Extent>,
    /// How many those are.
    warm: usize,
    /// How few those have been in this period.
    least: usize,
    /// How many of them were of no use in the last one, and are above what is kept.
    surplus: usize,
    /// When this period ends; `None` while there are no more than are kept.
    period_end: Option<Time>,
    /// Stacks that were too many among those: without memory, as if never used.
    cold: Vec<Extent>,
    /// Slots that are open and were never used.
    fresh: Range<usize>,
    /// Slots that are not open.
    closed: Range<usize>,
    /// How many the next slab opens.
    slab: usize,
}

impl Class {
    const fn empty() -> Class {
        Class {
            returned: None,
            warm: 0,
            least: 0,
            surplus: 0,
            period_end: None,
            cold: Vec::new(),
            fresh: 0..0,
            closed: 0..0,
            slab: FIRST_SLAB,
        }
    }

    /// Whether it has more warm stacks than it keeps, enough for giving some back at once.
    #[inline]
    fn is_crowded(&self) -> bool {
        self.warm >= WARM_STACKS + memory::RANGES_AT_ONCE
    }

    /// Takes the stack that was returned last, if there is one.
    #[inline]
    fn pop_returned(&mut self) -> Option<Extent> {
        let extent = self.returned?;
        // SAFETY: the stack is in the pool, so its header is in its memory and belongs to who has the lock.
        self.returned = unsafe { (*extent.header()).next };
        self.warm -= 1;
        self.least = self.least.min(self.warm);
        Some(extent)
    }

    /// How long until some may be given back that were of no use for a period; zero if there are enough of them now. For one that
    /// is crowded.
    fn until_surplus(&mut self, now: Time) -> Duration {
        if self.surplus < memory::RANGES_AT_ONCE {
            match self.period_end {
                Some(end) if now < end => return now.until(end),
                Some(_) => self.surplus = self.least.saturating_sub(WARM_STACKS),
                None => {}
            }
            self.least = self.warm;
            self.period_end = Some(now.plus(PERIOD));
            if self.surplus < memory::RANGES_AT_ONCE {
                return PERIOD;
            }
        }
        self.surplus -= memory::RANGES_AT_ONCE;
        Duration::ZERO
    }
}

impl Pool {
    const fn new(guards: Guards) -> Pool {
        Pool {
            classes: [const { Lock::new(Class::empty()) }; CLASSES],
            crowded: AtomicU32::new(0),
            closed_guards: AtomicBool::new(matches!(guards, Guards::Closed)),
        }
    }

    fn allocate(&'static self, class: SizeClass) -> Result<Stack, StackError> {
        let mut state = self.classes[class.index()].lock();
        if let Some(extent) = state.pop_returned() {
            return Ok(Stack { extent, pool: self });
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
        Ok(Stack { extent, pool: self })
    }

    /// Takes a stack back, to be the next one taken.
    ///
    /// # Safety
    ///
    /// The stack belongs to the caller, who gives it up, and nothing on it is in use.
    unsafe fn take_back(&self, extent: Extent) {
        // SAFETY: as promised by the caller.
        unsafe { extent.trim(0) };
        let class = extent.class().index();
        let mut state = self.classes[class].lock();
        // SAFETY: the stack's owner gives it up, so its header belongs to who has the lock.
        unsafe { (*extent.header()).next = state.returned };
        state.returned = Some(extent);
        state.warm += 1;
        if state.is_crowded() {
            // Relaxed: a hint, for who looks again under the lock.
            self.crowded.fetch_or(1 << class, Ordering::Relaxed);
        }
    }

    /// Whether some class has more warm stacks than are kept, or had lately.
    #[inline]
    fn is_crowded(&self) -> bool {
        // Relaxed: as in `take_back`.
        self.crowded.load(Ordering::Relaxed) != 0
    }

    /// See [`cool_stacks`].
    #[cold]
    fn cool(&self, now: Time) -> Option<Duration> {
        let cool = |class: SizeClass| {
            let mut state = self.lock_crowded(class)?;
            let left = state.until_surplus(now);
            if left.is_zero() {
                self.cool_some(class, state);
            }
            Some(left)
        };
        SizeClass::all().filter_map(cool).min()
    }

    /// See [`cool_all_stacks`].
    fn cool_all(&self) {
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
        if state.is_crowded() {
            return Some(state);
        }
        (state.surplus, state.period_end) = (0, None);
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

#[cfg(test)]
mod tests;
