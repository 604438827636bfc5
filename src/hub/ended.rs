//! The end of a green thread, as its hub has to do with it.

use super::current::local_hub;
use super::fork::end_of_heir;
use super::state::{Ended, Job};
use crate::sys::shared::{Marked, Shared};

/// Publishes the end of a green thread that the hub has run, gives up the hub's share of it by the same step, and tells everybody.
// Always, since there are two who call it, and one of them is hot.
#[inline(always)]
pub(super) fn publish(job: Shared<dyn Job>, ended: Ended) {
    match job.mark_and_end(ended.mark()) {
        Marked::Ended => tell(ended, || {}),
        // Nobody has a handle: what is left of it goes here.
        Marked::Alone(_job) => tell(ended, || {}),
        Marked::Asked(job) => job.end_followed(ended),
    }
}

/// A green thread's end is published: tells who waits here first of all, then `others`, and counts it.
#[inline(always)]
pub(crate) fn tell(ended: Ended, others: impl FnOnce()) {
    match local_hub().filter(|_| ended.is_home()) {
        Some(hub) => {
            if let Some(follower) = ended.follower {
                hub.make_ready(follower);
            }
            others();
            hub.count_ended();
        }
        None => {
            others();
            end_of_heir(ended.returned());
        }
    }
}
