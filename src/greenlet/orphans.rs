//! Greenlets whose last handle has gone where they cannot be ended, in a callback: a green thread of the hub's does that.

use std::cell::Cell;
use std::mem;

use super::any::AnyGreenlet;
use crate::error::StackError;
use crate::fiber::{FiberRef, SizeClass, is_ending, report_text};
use crate::hub::{Ended, Job, hub};
use crate::sys::shared::{Count, Counted, Shared};

/// The last handle to one, until that has gone.
#[repr(C)]
struct Orphan {
    count: Count,
    orphan: Cell<Option<AnyGreenlet>>,
}

// SAFETY: it is `repr(C)`, and begins with its count.
unsafe impl Counted for Orphan {}

/// Ends it when the hub next runs.
#[cold]
pub(super) fn end_later(orphan: AnyGreenlet) {
    if is_ending() {
        // As what is parked when its OS thread ends.
        return mem::forget(orphan);
    }
    let (job, _other) = Shared::pair(|| Orphan { count: Count::of_pair(), orphan: Cell::new(Some(orphan)) });
    // SAFETY: it is unsized, no more.
    hub().push_fresh(unsafe { job.convert(|job| job as _) });
}

impl Job for Orphan {
    fn run(&self, _fiber: FiberRef) -> Option<Ended> {
        // It ends as its handle goes, and what it raises is reported.
        drop(self.orphan.take());
        None
    }

    fn end_followed(&self, _ended: Ended) {}

    fn stack(&self) -> SizeClass {
        SizeClass::default_now()
    }

    fn has_ended(&self) -> bool {
        false
    }

    fn fail(&self, error: StackError) {
        report_text(&format!("a greenlet cannot be ended, and leaks: {error}"));
        mem::forget(self.orphan.take());
    }

    fn abandon(&self) {
        mem::forget(self.orphan.take());
    }
}
