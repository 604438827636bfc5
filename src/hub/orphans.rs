//! Greenlets whose last handle has gone in a callback, where they cannot be ended: a green thread of the hub's own does that.

#![expect(unsafe_code, reason = "a job is owned as a trait object")]

use std::cell::Cell;
use std::mem;

use super::{HubState, Job};
use crate::error::StackError;
use crate::fiber::{self, FiberRef, SizeClass};
use crate::greenlet::AnyGreenlet;
use crate::sys::shared::Shared;

struct Orphans(Cell<Vec<AnyGreenlet>>);

impl HubState {
    /// Ends them when the hub next runs.
    #[cold]
    pub(super) fn end_orphans(&self, orphans: Vec<AnyGreenlet>) {
        let (job, _other) = Shared::pair(|| Orphans(Cell::new(orphans)));
        // SAFETY: it is unsized, no more.
        self.push_fresh(unsafe { job.convert(|job| job as _) });
    }
}

impl Job for Orphans {
    fn run(&self, _fiber: FiberRef) {
        // Each ends as its handle goes, and what it raises is reported.
        drop(self.0.take());
    }

    fn stack(&self) -> SizeClass {
        SizeClass::default_now()
    }

    fn has_ended(&self) -> bool {
        false
    }

    fn fail(&self, error: StackError) {
        let orphans = self.0.take();
        fiber::report_text(&format!("{} greenlets cannot be ended, and leak: {error}", orphans.len()));
        mem::forget(orphans);
    }

    fn abandon(&self) {
        // As what is parked when its OS thread ends.
        mem::forget(self.0.take());
    }
}
