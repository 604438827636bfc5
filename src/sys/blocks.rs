//! Small blocks of memory that an OS thread keeps to use them again, so that what comes and goes all the time costs its
//! allocator nothing.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// Blocks of one size differ by so much from those of the next: what most allocators give is a multiple of that and a word.
const STEP: usize = 16;
const WORD: usize = 8;
/// How many sizes there are.
const SIZES: usize = 16;
/// What an OS thread keeps, at most, in bytes. A sanitizer is to see each end of a block.
const MOST: usize = if cfg!(any(address_sanitizer, thread_sanitizer)) { 0 } else { 256 * 1024 };

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
    /// How many bytes more may be kept.
    room: Cell<usize>,
    /// How many bytes the thread has asked for and not freed, up to [`MOST`]: what others have made does not pile up here.
    asked: Cell<usize>,
}

thread_local! {
    // Without a destructor: one that ends before others use blocks would have to be asked for.
    static KEPT: Kept = const {
        Kept { first: [const { Cell::new(ptr::null_mut()) }; SIZES], room: Cell::new(0), asked: Cell::new(0) }
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
        for (number, first) in kept.first.iter().enumerate() {
            while let Some(block) = NonNull::new(first.get()) {
                // SAFETY: a block that nobody uses, by the invariant.
                first.set(unsafe { block.as_ref() }.next);
                // SAFETY: as above, of this layout.
                unsafe { dealloc(block.as_ptr().cast(), layout_of(number)) };
            }
        }
    });
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
        let Some(unused) = NonNull::new(first.get()) else { return allocate_anew(block) };
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
