//! The end of a greenlet whose last handle goes.

use std::panic::{self, AssertUnwindSafe};

use super::any::{AnyGreenlet, Kind, Life, Parent};
use super::orphans::end_later;
use super::switching::{Discarded, is_dropping, wait_for_parcel};
use crate::error::GreenletExit;
use crate::fiber::{self, FiberRef, Local, State, Thread, existing_thread, in_callback};

/// How often dropping the last handle of a parked greenlet raises in it before it gives up.
const DROP_ATTEMPTS: usize = 8;

impl Drop for AnyGreenlet {
    #[inline]
    fn drop(&mut self) {
        let left = self.record.handles.get() - 1;
        self.record.handles.set(left);
        if left == 0 && self.record.life.get() == Life::Active {
            self.end_unreachable();
        }
    }
}

impl AnyGreenlet {
    /// The last handle goes. A suspended greenlet could never be switched to again: it ends now. One that runs, or that the hub will
    /// go on with, ends when it is next suspended in a switch.
    #[cold]
    pub(super) fn end_unreachable(&self) {
        // Past the end of the OS thread it cannot go on: it stays as it is.
        let (Some(thread), Some(fiber)) = (existing_thread(), self.record.fiber.get()) else { return };
        if self.record.kind != Kind::Plain {
            return;
        }
        let goes_on =
            || fiber == thread.current() || fiber.state.get() != State::Running || is_dropping(fiber);
        if in_callback() && !goes_on() {
            return end_later(AnyGreenlet::of_record(self.record.clone()));
        }
        // From now on it is a handle to itself, so that handles which come and go meanwhile do not end it once more.
        self.record.handles.set(1);
        for _ in 0..DROP_ATTEMPTS {
            if goes_on() {
                // See `leave_for_good`.
                return fiber.disturbed.set_orphaned(true);
            }
            self.throw_exit(thread, fiber);
            if self.is_dead() {
                return;
            }
            // It is suspended again in a handler, or wherever, and perhaps somebody has a new handle.
            let others = self.record.handles.get() - 1;
            if others > 0 {
                self.record.handles.set(others);
                return;
            }
        }
        fiber::report_text("a greenlet whose last handle is gone goes on in spite of GreenletExit: it leaks");
    }

    fn throw_exit(&self, thread: Local<Thread>, fiber: FiberRef) {
        let former = self.set_dropper(&AnyGreenlet::of_fiber(thread.current(), &thread));
        fiber.throw(Box::new(GreenletExit));
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            wait_for_parcel::<Discarded>(thread, thread.current(), Some(fiber))
        }));
        if let Err(payload) = outcome {
            fiber::report("a greenlet that was dropped", &*payload);
            fiber::discard(payload);
        }
        // Not before: an end may do anything, also to this one.
        drop(former);
    }

    /// Makes who drops it its parent. If that is a descendant of it, the line of ancestors there passes it by from now on.
    /// Returns what [`Record::set_parent`](super::any::Record::set_parent) does, of both.
    fn set_dropper(&self, dropper: &AnyGreenlet) -> [Option<AnyGreenlet>; 2] {
        let mut passed_by = None;
        let mut descendant = dropper.clone();
        while let Some(parent) = descendant.parent() {
            if parent == *self {
                let grandparent = self.record.parent.borrow().clone();
                passed_by = descendant.record.set_parent(grandparent);
                break;
            }
            descendant = parent;
        }
        [passed_by, self.record.set_parent(Parent::Maker(dropper.record.clone()))]
    }
}
