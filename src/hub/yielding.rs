//! Leaving the processor to others, without waiting for anything.

use super::current::{HubRef, local_hub};
use super::lifetime::hub;
use super::waiter::{self, Waiter, WaitingOn, Wakeup};
use crate::fiber::{FiberRef, Local, State, Thread, assert_may_wait, in_callback};

/// Leaves the current stack for `target`, or for whatever the hub runs next; for who switches by hand, and has asked whether it may.
/// Returns when control comes back.
#[inline(always)]
pub(crate) fn leave(thread: Local<Thread>, current: FiberRef, target: Option<FiberRef>) {
    if std::thread::panicking() {
        return leave_amid_unwinding(thread, current, target);
    }
    match target {
        Some(target) => thread.switch(current, target, run_for_main),
        None => thread.wait(run_for_main),
    }
}

/// The main greenlet has left the choice of who goes on to the hub.
#[inline(never)]
fn run_for_main() {
    hub().run();
}

/// The same while somebody on this OS thread unwinds: the current one, or one that is away meanwhile.
#[cold]
#[inline(never)]
fn leave_amid_unwinding(thread: Local<Thread>, current: FiberRef, target: Option<FiberRef>) {
    let leave = || match target {
        Some(target) => thread.switch(current, target, run_for_main),
        None => thread.wait(run_for_main),
    };
    if thread.is_unwinding(current) { thread.away_while_unwinding(current, leave) } else { leave() }
}

/// Lets everybody who is ready run before the current greenlet goes on.
///
/// While a green thread unwinds, nothing happens: it must not yield then.
#[inline(always)]
pub(crate) fn yield_now() {
    if waiter::is_unwinding() {
        return;
    }
    let hub = hub();
    let fiber = hub.thread.current();
    if !fiber.disturbed.get() {
        fiber.state.set(State::Ready);
        hub.ready.borrow_mut().push_yielded(fiber);
        hub.leave(fiber);
    }
    if fiber.disturbed.get() {
        raise_interrupt(hub);
    }
}

#[cold]
pub(super) fn raise_interrupt(hub: HubRef) {
    // A callback holds the fiber, which looks as if something had come for it.
    assert_may_wait();
    if let Wakeup::Interrupted(interrupt) = waiter::interrupted(hub.thread.current()) {
        interrupt.raise();
    }
}

/// Counts an operation that did not have to wait; when the green thread has done many at a stretch, it yields, so that
/// always-ready descriptors and queues starve nobody. Whether it is in a world in which operations fail.
#[inline]
pub(crate) fn spend_budget() -> bool {
    let Some(hub) = local_hub() else { return false };
    let left = hub.budget.get();
    if left > 1 {
        hub.budget.set(left - 1);
        return false;
    }
    budget_is_spent(hub)
}

/// The rest of [`spend_budget`] for who has none left.
#[inline(never)]
fn budget_is_spent(hub: HubRef) -> bool {
    if in_callback() {
        // What may not wait may not yield either, however much it does.
        hub.budget.set(hub.whole_budget());
        return false;
    }
    if !hub.spend_amid_faults() {
        // Nobody knows how long so many took: timers and descriptors get a look before the next so many.
        hub.demand_look();
        yield_now();
    }
    hub.faults().is_some()
}

/// Waits until the hub has nothing ready.
pub(crate) fn idle() {
    let waiter = Waiter::new(WaitingOn::Other("idle"));
    let (hub, own) = (hub(), waiter.wake());
    hub.idlers.borrow_mut().push(own);
    while hub.idlers.borrow().iter().any(|idler| idler.is(own)) {
        if let Wakeup::Interrupted(interrupt) = waiter.park(None) {
            hub.idlers.borrow_mut().retain(|idler| !idler.is(own));
            interrupt.raise();
        }
    }
}
