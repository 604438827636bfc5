//! What decides in a hub of a test, in place of the clock and of the order of arrival.

use std::sync::Arc;

use crate::sys::virtual_clock::VirtualClock;

/// Says who runs next.
pub(crate) trait Schedule {
    /// The place of one of those who are `ready`, of which there is at least one: of green threads the numbers, of main 0, and of all
    /// else any.
    fn choose(&self, ready: &[u64]) -> usize;
}

/// What decides in place of the clock and of the order of arrival.
pub(crate) struct World {
    pub(crate) clock: Arc<VirtualClock>,
    /// Without one all run in order of arrival.
    pub(crate) schedule: Option<Box<dyn Schedule>>,
}

impl World {
    #[inline]
    pub(super) fn chooses(&self) -> bool {
        self.schedule.is_some()
    }
}
