//! Green threads that have not begun, and may begin on any hub.

#![expect(unsafe_code, reason = "what has not begun may go to another OS thread, if its closure may")]

use std::panic::Location;

use super::body::Task;
use super::join_handle::JoinHandle;
use super::record::Record;
use crate::hub::{HubState, Job};
use crate::sys::shared::Shared;

/// A green thread that has not begun, and may begin on any hub: on the one that [takes](Offer::take) it. One that is dropped counts as
/// killed.
pub(crate) struct Offer(Option<Shared<dyn Job>>);

// SAFETY: its closure and its result are `Send`, as who makes one promises. All else of it that belongs to one OS thread belongs to that of
// the hub which takes it, and nobody touches it before. Who else ends it, before, has decided so in its record, in place of a hub.
unsafe impl Send for Offer {}

impl Offer {
    #[inline]
    pub(crate) fn new<F, T>(place: &'static Location<'static>, closure: F) -> (JoinHandle<T>, Offer)
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (task, job) = Task::pair(|| Record::open(place), closure);
        (JoinHandle::new(task), Offer(Some(job)))
    }

    /// One whose closure and result are `Send`.
    pub(super) fn of(job: Shared<dyn Job>) -> Offer {
        Offer(Some(job))
    }

    /// It is to begin here, and never leaves any more; `None` if it was killed.
    #[inline]
    pub(crate) fn take(mut self, hub: &HubState) -> Option<Shared<dyn Job>> {
        // What is not here is dropped, which does nothing with one that was killed.
        self.0.take_if(|job| job.settle(hub))
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if let Some(job) = self.0.take() {
            job.withdraw();
        }
    }
}

impl std::fmt::Debug for Offer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Offer")
    }
}
