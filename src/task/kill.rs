//! Ending a green thread from outside: a kill, from whatever OS thread.

#![expect(
    unsafe_code,
    reason = "a kill goes to the home thread by letter, though the closure in it is not `Send`"
)]

use std::any::Any;

use super::record::{Record, TaskId};
use crate::error::{Failure, GreenletExit};
use crate::fiber::{self, Pending};
use crate::hub::HubRef;
use crate::hub::door::Letter;
use crate::hub::residence::Residence;
use crate::sys::clock::Time;
use crate::sys::shared::{Counted, Shared};

/// A green thread, its types hidden, as a kill sees it.
pub(super) trait Kill: Counted {
    fn record(&self) -> &Record;
    /// Ends it before it begins, if it has not begun; the payload comes back if it has. Home thread only.
    fn end_unstarted(&self, failure: Failure) -> Result<(), Failure>;
    /// Drops its result, if nobody has taken it; tells of a failure.
    ///
    /// # Safety
    ///
    /// The green thread must have ended, and nobody may take its result any more.
    unsafe fn discard_result(&self);
}

/// Raises `payload` in a green thread, from any OS thread; an unstarted one ends without running. Nothing if it has ended.
pub(super) fn kill(task: Shared<dyn Kill>, payload: Box<dyn Any + Send>) {
    let record = task.record();
    if record.has_ended() {
        return;
    }
    if let Some(hub) = record.home() {
        kill_at_home(&*task, hub, payload);
        return;
    }
    let (door, epoch) = match record.residence() {
        (Residence::At(door), epoch) => (door, epoch),
        (Residence::Open, _) if record.close() => {
            // Nobody else has its closure now, and nobody will.
            let ended = task.end_unstarted(Failure::from_payload(payload));
            return debug_assert!(ended.is_ok(), "it had not begun");
        }
        // Decided just now; one that is closed is being ended.
        (Residence::Open, _) => return kill(task, payload),
        (Residence::Closed, _) => return fiber::discard(payload),
    };
    if !record.begin_errand() {
        return fiber::discard(payload);
    }
    let errand = Errand { task, payload };
    door.send(epoch, Letter::Run(Box::new(move || errand.run())));
}

pub(super) fn kill_at_home(task: &dyn Kill, hub: HubRef, payload: Box<dyn Any + Send>) {
    if task.record().home().is_none() {
        // The parent's, in the child of a fork.
        return;
    }
    if let Some(fiber) = task.record().fiber.get() {
        hub.interrupt(fiber, Pending::new(payload, 0));
    } else if !task.record().has_ended() {
        // Neither running nor ended: it has not begun, or it is publishing its end, which comes first then.
        let was_unstarted = task.end_unstarted(Failure::from_payload(payload)).is_ok();
        if was_unstarted && !task.record().take_due().is_some_and(|timer| hub.disarm(timer)) {
            hub.count_dead_fresh();
        }
    }
}

/// A green thread for whoever looks after it and need not know the type of its result.
#[derive(Clone)]
pub(crate) struct TaskRef(pub(super) Shared<dyn Kill>);

impl TaskRef {
    pub(crate) fn id(&self) -> TaskId {
        TaskId(self.0.record().id)
    }

    /// Whether it is the one that calls.
    pub(crate) fn is_current(&self) -> bool {
        let record = self.0.record();
        record.home().is_some() && record.fiber.get() == Some(fiber::thread().current())
    }

    /// [`JoinHandle::try_kill`](crate::JoinHandle::try_kill).
    pub(crate) fn try_kill(&self) {
        kill(self.0.clone(), Box::new(GreenletExit));
    }

    /// Waits for its end until `deadline`; whether it has come.
    pub(crate) fn wait_until(&self, deadline: Option<Time>) -> bool {
        self.0.record().wait_until(deadline)
    }
}

/// A kill on its way to the home thread.
struct Errand {
    task: Shared<dyn Kill>,
    payload: Box<dyn Any + Send>,
}

// SAFETY: the sender, whose handle was `Send`, only passes it on; `Kill` is used by `run` alone, on the home thread. If the
// letter is thrown away elsewhere, at most the last reference to the task is dropped there, whose closure is gone by then
// (a hub that ends abandons what has not begun) and whose result is `Send`, for a handle that is not `Send` never leaves home.
unsafe impl Send for Errand {}

impl Errand {
    fn run(self) {
        self.task.record().end_errand();
        if let Some(hub) = self.task.record().home() {
            kill_at_home(&*self.task, hub, self.payload);
        }
    }
}
