//! Isolated green threads, one straight after the other.

#![expect(
    unsafe_code,
    reason = "what runs between two of them may not use thread-local variables, which no type can say"
)]

use super::state::{HubState, SWITCHES_PER_LOOK};
use crate::fiber::FiberRef;

impl HubState {
    /// Runs `fiber`, which is isolated, and those that are too and come next. So many are `left` of this pass. Whether main is to go on.
    #[inline(always)]
    pub(super) fn run_isolated(&self, fiber: FiberRef, left: &mut usize) -> bool {
        // SAFETY: `take_isolated` neither uses a thread-local variable nor panics: it looks at the queue and writes to the hub's cells.
        unsafe { self.thread.run_isolated(fiber, || self.take_isolated(left)) }
    }

    /// The next woken one, if it is isolated and the hub need not look about before. So many are `left` of this pass; after them comes the
    /// next one, if nobody is to begin in it.
    #[cfg(feature = "monkey")]
    #[inline(always)]
    fn take_isolated(&self, left: &mut usize) -> Option<FiberRef> {
        let mut ready = self.ready.try_borrow_mut().ok()?;
        if !ready.woken_behind(0)?.is_isolated() {
            return None;
        }
        if *left == 0 {
            if self.unlooked.get() >= SWITCHES_PER_LOOK || ready.fresh() > 0 {
                return None;
            }
            (_, *left) = ready.begin_pass();
            self.unlooked.set(self.unlooked.get() + *left);
        }
        *left = left.checked_sub(1)?;
        self.take_woken(&mut ready)
    }
}
