//! OS threads of the library's own.

use super::section::Section;

/// Runs `spawn`, which makes OS threads and does not wait: it makes real ones, also where `monkey` makes a green thread of each that
/// others ask for.
pub(crate) fn real<R>(spawn: impl FnOnce() -> R) -> R {
    let _section = Section::open();
    spawn()
}
