//! Stretches of the library's own work in which it must not come back to itself.
//!
//! With `monkey`, what such a stretch calls may lead to a patched function: an allocator's lock is a `pthread_mutex_t` like any
//! other. There the patched function does what the C library's does: a switch would leave the stretch half done.

#[cfg(feature = "monkey")]
use std::cell::Cell;

#[cfg(feature = "monkey")]
thread_local! {
    /// How many are open on this OS thread.
    static OPEN: Cell<u32> = const { Cell::new(0) };
}

/// A stretch that is open until this is dropped.
#[derive(Debug)]
pub(crate) struct Section(());

impl Section {
    #[inline]
    pub(crate) fn open() -> Section {
        #[cfg(feature = "monkey")]
        OPEN.set(OPEN.get() + 1);
        Section(())
    }

    /// One that was opened, and then forgotten.
    pub(crate) fn left_open() -> Section {
        Section(())
    }
}

impl Drop for Section {
    #[inline]
    fn drop(&mut self) {
        #[cfg(feature = "monkey")]
        OPEN.set(OPEN.get() - 1);
    }
}

/// Whether one is open on this OS thread.
#[cfg(feature = "monkey")]
#[inline]
pub(crate) fn is_any_open() -> bool {
    OPEN.get() > 0
}
