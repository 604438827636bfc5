//! Robust mutexes that are held at the end of who runs with a block: their next holder is told, by EOWNERDEAD.
//!
//! The C library links them into a list in its record of the thread, and the kernel goes through that of each OS thread that ends. Of the
//! lists in blocks it does not know.

use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::layout::{RobustList, found};
use crate::sys::mutex::MutexView;

/// As many are looked at, as by the kernel (ROBUST_LIST_LIMIT).
const LIMIT: usize = 2048;

/// Of the address of an entry: the mutex inherits priority.
const INHERITS: usize = 1;

/// Gives up the robust mutexes that are held by the caller, who runs with a block, for which this is the end.
pub(crate) fn abandon_robust_mutexes() {
    let Some(layout) = found() else { return };
    let Some(list) = layout.robust else { return };
    // SAFETY: takes nothing.
    let record = unsafe { libc::pthread_self() } as usize;
    // SAFETY: `layout` has found the number there.
    let number = unsafe { AtomicU32::from_ptr(ptr::with_exposed_provenance_mut(record + layout.number)) };
    // Relaxed: it does not change while the block is in use.
    let number = number.load(Ordering::Relaxed);
    let head = ptr::with_exposed_provenance_mut::<RobustList>(record + list);
    // SAFETY: found there. Only who runs with the block changes it, which is the caller.
    let RobustList { first, offset, pending } = unsafe { head.read_volatile() };
    let abandon = |entry: usize| {
        let mutex = ptr::with_exposed_provenance((entry & !INHERITS).wrapping_add_signed(offset));
        // SAFETY: who holds a mutex leaves it where it is, and its word is at its beginning.
        unsafe { MutexView::new(mutex) }.abandon(number, entry & INHERITS != 0);
    };
    let mut entry = first;
    for _ in 0..LIMIT {
        let address = entry & !INHERITS;
        if address == head.addr() || address == 0 {
            break;
        }
        // Before it is given up: then it is another's. SAFETY: an entry, as above.
        let next = unsafe { ptr::with_exposed_provenance::<usize>(address).read_volatile() };
        if address != pending & !INHERITS {
            abandon(entry);
        }
        entry = next;
    }
    if pending & !INHERITS != 0 {
        abandon(pending);
    }
    // SAFETY: as above.
    unsafe { head.write_volatile(RobustList { first: head.addr(), offset, pending: 0 }) };
}
