//! The end of blocks that are of no use.
//!
//! To join a thread frees its record, but not what the C library frees at the thread's end, such as the cache of its allocator. In a
//! block that was used, there are such things again. So a thread is made for each block, which takes the C library's variables over
//! from it and ends. A record's further memory for values under pthread keys, which is there for keys beyond the first 32, is freed here; if it
//! was not found where, no block is taken down any more once a program has had so many.

use std::ffi::c_void;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::layout::{Layout, layout, start};
use super::pool::{AT_ONCE, BLOCKS, CROWDED, Place, next_slot};
use super::values;
use crate::sys::clock::Time;
use crate::sys::section::Section;
use crate::sys::thread_end::may_keep_beyond_record;
use crate::sys::thread_local::base;
use crate::sys::{memory, original, signal};

/// For who has nothing else to do: takes some idle blocks down, in some 0.3 ms, if more have been of no use for long than are kept.
/// Returns how long until there may be more to do; `None` if there are no more than are kept.
#[inline]
pub(crate) fn cool() -> Option<Duration> {
    // Relaxed: as in `Blocks::put`.
    if CROWDED.load(Ordering::Relaxed) { cool_some(Time::now()) } else { None }
}

#[cold]
fn cool_some(now: Time) -> Option<Duration> {
    let _section = Section::open();
    let mut blocks = BLOCKS.lock();
    if !blocks.surplus.is_crowded() || may_leak() {
        blocks.surplus.settle();
        // Relaxed: as in `Blocks::put`, which has the lock too.
        CROWDED.store(false, Ordering::Relaxed);
        return None;
    }
    let left = blocks.surplus.until_some(now);
    if !left.is_zero() {
        return Some(left);
    }
    let places = [(); AT_ONCE].map(|()| {
        blocks.surplus.taken();
        blocks.idle.pop_front().expect("as many as were counted")
    });
    drop(blocks);
    take_down(&places);
    Some(left)
}

/// Whether there may be memory for values that nothing frees.
fn may_leak() -> bool {
    may_keep_beyond_record() && layout().is_ok_and(|layout| layout.values.is_none())
}

/// What a thread takes over.
struct Heritage {
    layout: Layout,
    /// The base of the block that it is of.
    base: usize,
}

/// Takes down as many of the blocks as there can be threads for; the others are idle again.
fn take_down(places: &[Place; AT_ONCE]) {
    let Ok(layout) = layout() else { return };
    let heritages = places.map(|place| Heritage { layout, base: place.base.get() });
    let mut heirs = Vec::with_capacity(AT_ONCE);
    // A handler of a signal there would use what it must not.
    signal::while_all_are_blocked(|| {
        for heritage in &heritages {
            let Ok(slot) = next_slot(layout.slot) else { break };
            match start(slot.clone(), take_over, ptr::from_ref(heritage).cast_mut().cast()) {
                Ok(thread) => heirs.push((thread, slot)),
                Err(_) => {
                    vacate(slot);
                    break;
                }
            }
        }
    });
    let (taken, left) = places.split_at(heirs.len());
    for (thread, slot) in heirs {
        // SAFETY: it was made above, and nobody else joins it.
        unsafe { original::pthread_join(thread, ptr::null_mut()) };
        vacate(slot);
    }
    for place in taken {
        join(&layout, *place);
        vacate(place.slot..place.slot + layout.slot);
    }
    let mut blocks = BLOCKS.lock();
    left.iter().for_each(|place| blocks.put(*place));
}

/// Has the C library free the record of a block, which it takes for that of a thread that has ended, and was not joined.
fn join(layout: &Layout, place: Place) {
    let record = place.base.get() - layout.base;
    if let Some(values) = layout.values {
        // SAFETY: the block is nobody's.
        unsafe { values::free(record, values) };
    }
    // SAFETY: `layout` has found the number there, in the record that is still the block's.
    let number = unsafe { AtomicU32::from_ptr(ptr::with_exposed_provenance_mut(record + layout.number)) };
    // Relaxed: nobody else looks.
    number.store(0, Ordering::Relaxed);
    let detached = ptr::with_exposed_provenance_mut::<usize>(record + layout.detached);
    // SAFETY: found there.
    unsafe { detached.write(0) };
    // SAFETY: the record of a thread that has ended, and was neither joined nor detached.
    let joined = unsafe { original::pthread_join(record as libc::pthread_t, ptr::null_mut()) };
    debug_assert_eq!(joined, 0);
}

/// A slot is without a block, or a thread, from now on.
fn vacate(slot: Range<usize>) {
    // SAFETY: nothing uses it.
    unsafe { memory::discard(slot.start, slot.len()) };
    BLOCKS.lock().vacant.push(slot.start);
}

extern "C-unwind" fn take_over(heritage: *mut c_void) -> *mut c_void {
    // SAFETY: who has made this thread joins it, and leaves that alone.
    let heritage = unsafe { &*heritage.cast::<Heritage>() };
    // SAFETY: the variables can be moved, or there would be no such thread.
    let base = unsafe { base() };
    let [from, to] = [heritage.base, base].map(|base| base.wrapping_add(heritage.layout.library));
    let from = ptr::with_exposed_provenance::<u8>(from);
    let to = ptr::with_exposed_provenance_mut::<u8>(to);
    // SAFETY: the C library's variables of a block that nobody uses, and of this thread, of that length; so far it has kept nothing
    // in its own.
    unsafe { from.copy_to_nonoverlapping(to, heritage.layout.library_length) };
    ptr::null_mut()
}
