//! The time limits of a scope, which may interrupt each of its waits.

use std::time::Duration;

use super::current::local_hub;
use super::lifetime::hub;
use super::state::Alarm;
use super::timers::TimerKey;
use crate::fiber::FiberRef;
use crate::sys::clock::Time;

/// A deadline that runs: of a greenlet's scope, see [`with_timeout`](crate::with_timeout).
#[derive(Debug)]
pub(crate) struct ArmedTimeout {
    key: TimerKey,
    pub(super) fiber: FiberRef,
    pub(crate) id: u64,
}

/// Starts a deadline of the current greenlet.
pub(crate) fn arm_timeout(deadline: Time, limit: Duration) -> ArmedTimeout {
    let hub = hub();
    let fiber = hub.thread.current();
    let id = hub.next_generation();
    let key = hub.arm(deadline, Alarm::Timeout { fiber, run: fiber.runs.get(), id, limit });
    ArmedTimeout { key, fiber, id }
}

/// Ends such a deadline: it will not be raised any more, even if it has rung. Any greenlet of the thread may do that.
pub(crate) fn disarm_timeout(armed: ArmedTimeout) {
    let ArmedTimeout { key, fiber, id } = armed;
    let Some(hub) = local_hub() else { return };
    if hub.disarm(key) {
        return;
    }
    fiber.with_interrupts(|interrupts| interrupts.retain(|interrupt| interrupt.timeout != id));
    // One that is not running looks for itself when it goes on: something else may have come for it.
    if fiber == hub.thread.current() {
        fiber.update_disturbed();
    }
}
