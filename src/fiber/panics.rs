//! How many panics std counts on the calling thread, which tells whether its panic hook runs just now.
//!
//! std does not say where it counts. That is searched for, on an OS thread made for that, by the values there; if it is not found, nobody
//! is told that a panic hook runs.

use std::cell::Cell;
use std::iter::StepBy;
use std::ops::RangeInclusive;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::OnceLock;
use std::thread;

#[cfg(feature = "monkey")]
use super::identity;
use crate::sys::thread_local::block_around;

thread_local! {
    /// Variables of std's are found at their distance from this one, which is the same on every thread.
    static ANCHOR: Cell<usize> = const { Cell::new(0) };
}

/// Whether the calling thread is in its panic hook, to the end of which nothing else of it may panic: std aborts then.
///
/// For who unwinds or is in there, and then only for who raises something at once if it is.
#[cold]
pub(crate) fn in_panic_hook() -> bool {
    static PLACE: OnceLock<Option<isize>> = OnceLock::new();
    // With a count of its own each may wait there; and what this does may wait itself.
    #[cfg(feature = "monkey")]
    if identity::are_enabled() {
        return false;
    }
    let found = PLACE.get_or_init(|| thread::Builder::new().spawn(search).ok()?.join().ok()?);
    let Some(distance) = *found else { return false };
    let count = || {
        // SAFETY: the search has found a word of std's there, on every thread of this program; std writes it from this thread only.
        unsafe { place(distance).read_volatile() }
    };
    let before = count();
    // In the hook this is not counted when it is raised, since that is no panic, and is when it is caught.
    let _ = panic::catch_unwind(|| panic::resume_unwind(Box::new(())));
    count() < before
}

/// Looks for the place on the calling thread, which does not unwind: its distance from the anchor.
pub(super) fn search() -> Option<isize> {
    let value = |address| {
        // SAFETY: each address is an aligned word of this thread's own variables.
        unsafe { value_at(address) }
    };
    let calm: Vec<_> = words()?.filter(|&address| value(address) == 0).collect();
    let excited: Vec<_> =
        amid_unwinding(|| calm.into_iter().filter(|&address| value(address) == 1).collect());
    let panics = only(excited.into_iter().filter(|&address| value(address) == 0))?;
    Some(panics.wrapping_sub(anchor()) as isize)
}

/// The addresses of the words among which the anchor lies.
pub(super) fn words() -> Option<StepBy<RangeInclusive<usize>>> {
    let block = block_around(anchor())?;
    let start = block.start.next_multiple_of(size_of::<usize>());
    Some((start..=block.end - size_of::<usize>()).step_by(size_of::<usize>()))
}

/// # Safety
///
/// `address` must be one of [`words`].
pub(super) unsafe fn value_at(address: usize) -> usize {
    // SAFETY: the caller's contract: an aligned word of this thread's own variables.
    unsafe { ptr::with_exposed_provenance::<usize>(address).read_volatile() }
}

/// The calling thread's word at this distance from the anchor.
#[inline]
pub(super) fn place(distance: isize) -> *mut usize {
    ptr::with_exposed_provenance_mut(anchor().wrapping_add_signed(distance))
}

#[inline]
pub(super) fn anchor() -> usize {
    ANCHOR.with(|anchor| ptr::from_ref(anchor).expose_provenance())
}

/// Runs `look` while the thread unwinds, silently.
pub(super) fn amid_unwinding<T: Default>(look: impl FnOnce() -> T) -> T {
    struct Amid<'a, T, F: FnOnce() -> T>(Option<F>, &'a mut T);
    impl<T, F: FnOnce() -> T> Drop for Amid<'_, T, F> {
        fn drop(&mut self) {
            if let Some(look) = self.0.take() {
                *self.1 = look();
            }
        }
    }
    let mut seen = T::default();
    let _ = panic::catch_unwind(AssertUnwindSafe(|| {
        let _amid = Amid(Some(look), &mut seen);
        panic::resume_unwind(Box::new(()));
    }));
    seen
}

/// The one element, if there is just one.
pub(super) fn only<T>(mut found: impl Iterator<Item = T>) -> Option<T> {
    found.next().filter(|_| found.next().is_none())
}
