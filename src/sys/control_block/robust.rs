//! Robust mutexes that are held by the number of a block at the end of who runs with it: they were taken past `monkey`.

use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::layout::found;
use crate::sys::robust;

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
    // SAFETY: found there. Only who runs with the block changes it, which is the caller.
    unsafe { robust::abandon_all(ptr::with_exposed_provenance_mut(record + list), number) };
}
