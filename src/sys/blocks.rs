//! Small blocks of memory that an OS thread keeps to use them again, so that what comes and goes all the time costs its
//! allocator nothing.
//!
//! Beyond some that are kept for good, what nobody takes for a while is freed, when a hub has nothing else to do: all of it is laid to rest
//! for a period, and what has to be allotted meanwhile is roused by and by, so that neither a use nor an end of one counts anything.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::time::Duration;

use super::clock::Time;
use super::surplus::PERIOD;

/// Blocks of one size differ by so much from those of the next: what most allocators give is a multiple of that and a word.
const STEP: usize = 16;
const WORD: usize = 8;
/// How many sizes there are.
const SIZES: usize = 16;
/// What an OS thread keeps, at most, in bytes. A sanitizer is to see each end of a block.
const MOST: usize = if cfg!(any(address_sanitizer, thread_sanitizer)) { 0 } else { 16 << 20 };
/// What it keeps for good.
const FOR_GOOD: usize = 256 * 1024;
/// How many blocks are roused at once.
const ROUSED: usize = 64;
/// How many are freed at once.
const FREED: usize = 1024;

/// A block that nobody uses.
struct Unused {
    next: *mut Unused,
}

/// What an OS thread keeps.
struct Kept {
    /// By size, last in first out.
    /// # Invariant
    /// Each is a block of its size that `alloc` gave, and in no other list.
    first: [Cell<*mut Unused>; SIZES],
    /// Those that are at rest, likewise.
    resting: [Cell<*mut Unused>; SIZES],
    /// When those have rested for so long that they are of no use.
    rested: Cell<Option<Time>>,
    /// How many bytes more may be kept.
    room: Cell<usize>,
    /// How many bytes the thread has asked for and not freed, up to [`MOST`]: what others have made does not pile up here.
    asked: Cell<usize>,
}

thread_local! {
    // Without a destructor: one that ends before others use blocks would have to be asked for.
    static KEPT: Kept = const {
        Kept {
            first: [const { Cell::new(ptr::null_mut()) }; SIZES],
            resting: [const { Cell::new(ptr::null_mut()) }; SIZES],
            rested: Cell::new(None),
            room: Cell::new(0),
            asked: Cell::new(0),
        }
    };
}

/// The number of the size that holds `layout`, and the layout of its blocks; `None` if there is none so large.
#[inline]
fn size_for(layout: Layout) -> Option<(usize, Layout)> {
    let number = (layout.size() + STEP - WORD - 1) / STEP;
    if number >= SIZES || layout.align() > WORD {
        return None;
    }
    // SAFETY: the alignment is a power of two, and no size overflows.
    Some((number, unsafe { Layout::from_size_align_unchecked(number * STEP + WORD, WORD) }))
}

/// Has the calling OS thread keep blocks, until [`stop_keeping`].
pub(crate) fn keep() {
    KEPT.with(|kept| kept.room.set(MOST));
}

/// Frees what is kept, and keeps nothing more.
pub(crate) fn stop_keeping() {
    KEPT.with(|kept| {
        kept.room.set(0);
        for list in [&kept.first, &kept.resting] {
            (0..SIZES)
                .for_each(|number| while pop(&list[number]).map(|block| end(block, number)).is_some() {});
        }
    });
}

/// Takes the first block of a list.
#[inline]
fn pop(list: &Cell<*mut Unused>) -> Option<NonNull<Unused>> {
    let block = NonNull::new(list.get())?;
    // SAFETY: a block that nobody uses, by the invariant of the lists; from here on the caller has it.
    list.set(unsafe { block.as_ref() }.next);
    Some(block)
}

/// Gives a block of this size back to the allocator, which was in one of the lists and is in none any more.
fn end(block: NonNull<Unused>, number: usize) {
    // SAFETY: by the invariant of the lists it comes from `alloc` with its size's layout, and nobody uses it.
    unsafe { dealloc(block.as_ptr().cast(), layout_of(number)) };
}

/// Whether the calling OS thread keeps more than it does for good.
#[inline]
pub(crate) fn are_many() -> bool {
    KEPT.with(Kept::is_crowded)
}

/// For who has nothing else to do, if [there are many](are_many): frees some of what is kept and has been of no use for long. Returns how
/// long until there may be more to do; `None` if no more is kept than for good.
#[cold]
pub(crate) fn cool() -> Option<Duration> {
    KEPT.with(|kept| kept.cool(Time::now()))
}

impl Kept {
    #[inline]
    fn is_crowded(&self) -> bool {
        self.room.get() + FOR_GOOD < MOST
    }

    fn cool(&self, now: Time) -> Option<Duration> {
        match self.rested.get() {
            Some(time) if now < time => return Some(now.until(time)),
            Some(_) if self.free_some() => return Some(Duration::ZERO),
            _ => {}
        }
        let begins = self.is_crowded();
        self.rested.set(begins.then(|| now.plus(PERIOD)));
        if begins {
            let all = self.first.iter().zip(&self.resting);
            all.filter(|(_, resting)| resting.get().is_null())
                .for_each(|(first, resting)| first.swap(resting));
        }
        begins.then_some(PERIOD)
    }

    /// Frees as many as are freed at once; `false` if there are not as many at rest, beyond what is kept for good.
    fn free_some(&self) -> bool {
        let mut freed = 0;
        for (number, resting) in self.resting.iter().enumerate() {
            while freed < FREED && self.is_crowded() {
                let Some(block) = pop(resting) else { break };
                self.room.set(self.room.get() + layout_of(number).size());
                end(block, number);
                freed += 1;
            }
        }
        freed == FREED
    }

    /// Takes one that is at rest, and lets some more be taken; if there is none, a new one.
    #[inline(never)]
    fn rouse_or_allocate(&self, number: usize, block: Layout) -> NonNull<u8> {
        let resting = &self.resting[number];
        for _ in 0..ROUSED {
            let Some(mut unused) = pop(resting) else { break };
            // SAFETY: a block that nobody uses, and that is in no list.
            unsafe { unused.as_mut() }.next = self.first[number].replace(unused.as_ptr());
        }
        match pop(&self.first[number]) {
            Some(unused) => {
                self.room.set(self.room.get() + block.size());
                unused.cast()
            }
            None => allocate_anew(block),
        }
    }
}

fn layout_of(number: usize) -> Layout {
    Layout::from_size_align(number * STEP + WORD, WORD).expect("a small size")
}

/// Memory for a value of `layout`, whose size is not zero.
#[inline]
pub(crate) fn allocate(layout: Layout) -> NonNull<u8> {
    debug_assert!(layout.size() > 0, "a value without a size needs no memory");
    let Some((number, block)) = size_for(layout) else { return allocate_anew(layout) };
    KEPT.with(|kept| {
        let first = &kept.first[number];
        kept.asked.set((kept.asked.get() + block.size()).min(MOST));
        let Some(unused) = NonNull::new(first.get()) else { return kept.rouse_or_allocate(number, block) };
        // SAFETY: a block that nobody uses, by the invariant; from here on the caller does.
        first.set(unsafe { unused.as_ref() }.next);
        kept.room.set(kept.room.get() + block.size());
        unused.cast()
    })
}

fn allocate_anew(layout: Layout) -> NonNull<u8> {
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Ends a use of memory.
///
/// # Safety
///
/// It comes from [`allocate`] with the same layout, on whatever OS thread, and nobody uses it any more.
#[inline]
pub(crate) unsafe fn free(memory: NonNull<u8>, layout: Layout) {
    let Some((number, block)) = size_for(layout) else {
        // SAFETY: what is larger comes from `alloc` with this layout.
        return unsafe { dealloc(memory.as_ptr(), layout) };
    };
    KEPT.with(|kept| {
        let left = |bytes: &Cell<usize>| bytes.get().checked_sub(block.size());
        let (Some(room), Some(asked)) = (left(&kept.room), left(&kept.asked)) else {
            // SAFETY: a block comes from `alloc` with its size's layout.
            return unsafe { dealloc(memory.as_ptr(), block) };
        };
        kept.room.set(room);
        kept.asked.set(asked);
        let unused = memory.cast::<Unused>();
        // SAFETY: a block has room for a word, and is aligned for one; nobody else uses it.
        unsafe { unused.write(Unused { next: kept.first[number].get() }) };
        kept.first[number].set(unused.as_ptr());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, WORD).unwrap()
    }

    #[test]
    fn what_is_kept_is_used_again_and_freed_in_the_end() {
        std::thread::spawn(|| {
            keep();
            let one = allocate(layout(100));
            // SAFETY: nobody uses it.
            unsafe { free(one, layout(100)) };
            if MOST > 0 {
                // Of the same size, as far as blocks go, and of another.
                assert_eq!(allocate(layout(104)), one);
                let other = allocate(layout(105));
                assert_ne!(other, one);
                // SAFETY: as above.
                unsafe { free(one, layout(104)) };
                // SAFETY: as above.
                unsafe { free(other, layout(105)) };
            }
            stop_keeping();
            assert!(KEPT.with(|kept| kept.first.iter().all(|first| first.get().is_null())));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        std::thread::spawn(|| {
            keep();
            let blocks: Vec<_> = (0..2 * MOST / 248).map(|_| allocate(layout(248))).collect();
            // SAFETY: nobody uses them.
            blocks.into_iter().for_each(|block| unsafe { free(block, layout(248)) });
            assert_eq!(KEPT.with(|kept| kept.room.get()), MOST % 248);
            stop_keeping();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_is_of_no_use_for_a_period_is_freed_but_for_some() {
        const SIZE: usize = 248;
        let make = |count| (0..count).map(|_| allocate(layout(SIZE))).collect::<Vec<_>>();
        // SAFETY: nobody uses them.
        let free_all =
            |blocks: Vec<_>| blocks.into_iter().for_each(|block| unsafe { free(block, layout(SIZE)) });
        let kept = || KEPT.with(|kept| (MOST - kept.room.get()) / SIZE);
        let cool = |now| KEPT.with(|kept| kept.cool(now));
        std::thread::spawn(move || {
            if MOST == 0 {
                return;
            }
            keep();
            assert!(!are_many());
            free_all(make(20_000));
            assert!(are_many());
            assert_eq!(super::cool(), Some(PERIOD));
            let start = Time::now().plus(PERIOD);
            // Some are taken meanwhile, with a few more, and come back: those have been of use.
            free_all(make(5_000));
            assert_eq!(kept(), 20_000);
            assert_eq!(std::iter::from_fn(|| cool(start).filter(Duration::is_zero)).count(), 14);
            assert_eq!(kept(), 5_000_usize.next_multiple_of(ROUSED));
            assert_eq!(cool(start.plus(PERIOD / 4)), Some(PERIOD * 3 / 4));
            let end = start.plus(PERIOD);
            let zero = Some(Duration::ZERO);
            assert_eq!([(); 5].map(|()| cool(end)), [zero, zero, zero, None, None]);
            assert_eq!(kept(), FOR_GOOD / SIZE);
            stop_keeping();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_others_have_made_is_not_kept() {
        let made = allocate(layout(100)).as_ptr().expose_provenance();
        let freed = std::thread::spawn(move || {
            keep();
            let block = NonNull::new(ptr::with_exposed_provenance_mut(made)).unwrap();
            // SAFETY: made above, and nobody uses it.
            unsafe { free(block, layout(100)) };
            KEPT.with(|kept| kept.first.iter().all(|first| first.get().is_null()))
        });
        assert!(freed.join().unwrap());
    }

    #[test]
    fn a_block_holds_what_it_is_for() {
        for size in 1..1_000 {
            match size_for(layout(size)) {
                Some((number, block)) => {
                    assert!(block.size() >= size && block.size() < size + STEP && number < SIZES);
                }
                None => assert!(size > SIZES * STEP - WORD),
            }
        }
        assert_eq!(size_for(Layout::from_size_align(16, 16).unwrap()), None);
    }
}
