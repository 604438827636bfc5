//! The mode of a listener's open file.

use std::sync::Arc;

/// That a listener's file description is O_NONBLOCK: for `accept` the kernel has no MSG_DONTWAIT.
///
/// Clones have one description, so they share this, and the last of them undoes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Listening(Arc<()>);

impl Listening {
    /// Tells whether this was the last of the clones.
    pub(super) fn end(self) -> bool {
        Arc::into_inner(self.0).is_some()
    }
}
