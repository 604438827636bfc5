//! Whether std's panic hook runs just now, as the count of panics tells.
//!
//! If the place of that is not found, nobody is told that a panic hook runs.

use std::panic;
use std::sync::OnceLock;
use std::thread;

#[cfg(feature = "monkey")]
use super::identity;
use super::panics::{place, search};
use crate::sys::os_thread::real;

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
    let found = PLACE.get_or_init(|| real(|| thread::Builder::new().spawn(search)).ok()?.join().ok()?);
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
