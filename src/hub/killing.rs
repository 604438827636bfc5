//! The end of all green threads of a hub that goes on.

use super::state::{Alarm, HubState};
use crate::error::GreenletExit;
use crate::fiber::Pending;

impl HubState {
    /// Ends all green threads of this hub: those that have not begun never do, and [`GreenletExit`] is raised in the others. Waits for
    /// nothing.
    #[cold]
    pub(crate) fn kill_all(&self) {
        let fresh = self.ready.borrow_mut().take_fresh();
        fresh.into_iter().for_each(|job| job.abandon());
        let delayed = self.timers.borrow_mut().take_if(|alarm| matches!(alarm, Alarm::Start(_)));
        for alarm in delayed {
            if let Alarm::Start(job) = alarm {
                job.abandon();
            }
        }
        let main = self.thread.main();
        for fiber in self.thread.all() {
            let is_green_thread = fiber.description().is_some_and(|description| description.id().is_some());
            if is_green_thread && fiber != main {
                self.interrupt(fiber, Pending::new(Box::new(GreenletExit), 0));
            }
        }
    }
}
