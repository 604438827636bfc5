//! How many panics std counts on the calling thread, and where it notes that the panic hook runs.
//!
//! std does not say where it counts. That is searched for, on an OS thread made for that, by the values there.

use std::cell::Cell;
use std::iter::StepBy;
use std::ops::RangeInclusive;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;

use crate::sys::thread_local::block_around;

thread_local! {
    /// Variables of std's are found at their distance from this one, which is the same on every thread.
    static ANCHOR: Cell<usize> = const { Cell::new(0) };
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

/// Looks for the word whose first byte tells that the panic hook of the calling thread runs: one beside the count, which lies at this
/// distance from the anchor. std keeps both in one variable.
///
/// In the hook what is raised without a panic is not counted, and what is caught is, and ends the hook.
#[cfg(feature = "monkey")]
pub(super) fn search_for_hook(panics: isize) -> Option<isize> {
    let ends_it = |distance: &isize| {
        let (count, word) = (place(panics), place(*distance));
        let flag = word.cast::<u8>();
        if !words().is_some_and(|mut words| words.any(|address| address == word.addr())) {
            return false;
        }
        // SAFETY: an aligned word of this thread's own variables, as is all that follows; it and the count are changed for a moment.
        if unsafe { word.read_volatile() } != 0 {
            return false;
        }
        // SAFETY: as above.
        unsafe { count.write_volatile(1) };
        // SAFETY: as above.
        unsafe { flag.write_volatile(1) };
        let _ = panic::catch_unwind(|| panic::resume_unwind(Box::new(())));
        // SAFETY: as above.
        let counted = unsafe { count.replace(0) };
        // SAFETY: as above.
        let runs = unsafe { flag.replace(0) };
        (counted, runs) == (0, 0)
    };
    let word = size_of::<usize>() as isize;
    [panics + word, panics - word].into_iter().find(ends_it)
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
