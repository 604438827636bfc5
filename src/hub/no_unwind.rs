//! Waiting inside a call from C, or from code that takes it for one: nothing may unwind there.
//!
//! A kill or a time limit makes such a call fail, and each further one, wait or not, until it is raised: at the next wait of
//! greenloop's own, or when the time limit's scope ends.

use super::current::{HubRef, local_hub};
use super::reactor::Reactor;
use super::run;
use super::state::HubState;
use super::time_limit::ArmedTimeout;
use super::waiter::{Waiter, Wakeup, is_unwinding};
use crate::fiber::{FiberRef, Pending, State, in_callback};
use crate::sys::clock::Time;
use crate::sys::section;

/// Why a call must fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hindrance {
    /// A kill; or the green thread unwinds, and must not yield.
    Killed,
    /// A time limit.
    Elapsed,
}

/// The calling thread's hub, if what runs is a greenlet's code, and not the library's own, which may not wait.
#[inline]
pub(crate) fn hub_of_greenlet() -> Option<HubRef> {
    local_hub().filter(|hub| {
        hub.thread.current().state.get() == State::Running && !in_callback() && !hub.is_at_work()
    })
}

/// Whether the calling thread is amid work of the library's, which must not be come back to.
pub(crate) fn is_at_work() -> bool {
    section::is_any_open() || local_hub().is_some_and(|hub| hub.is_at_work())
}

impl HubState {
    /// Lets everybody who is ready run, but for a green thread that unwinds. A kill or a time limit waits.
    pub(crate) fn yield_in_call(&self) {
        // At work: the handler of a signal calls.
        if self.is_at_work() || is_unwinding() {
            return;
        }
        let fiber = self.thread.current();
        fiber.state.set(State::Ready);
        self.ready.borrow_mut().push_yielded(fiber);
        self.leave(fiber);
    }

    /// Whether it is amid work on its own state, or another part of the library is: an allocator that it calls, or the handler of a
    /// signal, has called in turn.
    fn is_at_work(&self) -> bool {
        section::is_any_open()
            || self.ready.try_borrow_mut().is_err()
            || self.timers.try_borrow_mut().is_err()
            || self.made_reactor().is_some_and(Reactor::is_at_work)
    }

    /// [`spend_budget`](super::spend_budget) for a call.
    ///
    /// # Errors
    ///
    /// Why the call must fail now, even if it would not wait: code whose calls never wait is to end too.
    #[inline]
    pub(crate) fn spend_budget_in_call(&self) -> Result<(), Hindrance> {
        let left = self.budget.get();
        if left > 1 {
            self.budget.set(left - 1);
        } else {
            self.unlooked.set(run::SWITCHES_PER_LOOK);
            self.yield_in_call();
        }
        check_in_call(self.thread.current())
    }
}

impl Waiter {
    /// [`park`](Waiter::park), but for a call in which nothing may unwind. Returns whether it ended before the deadline.
    ///
    /// # Errors
    ///
    /// Why the call must fail now, without having waited any longer.
    pub(crate) fn park_in_call(&self, deadline: Option<Time>) -> Result<bool, Hindrance> {
        if is_unwinding() {
            return Err(Hindrance::Killed);
        }
        check_in_call(self.fiber)?;
        let in_time = self.park_deaf(deadline);
        check_in_call(self.fiber)?;
        Ok(in_time)
    }

    /// Parks for a call that cannot fail: a kill or a time limit ends the park, for no reason as the caller sees it, and waits
    /// for the next one of greenloop's own. Returns whether it ended before the deadline.
    pub(crate) fn park_in_infallible_call(&self, deadline: Option<Time>) -> bool {
        if is_unwinding() {
            return !matches!(self.park_amid_unwinding(deadline), Wakeup::TimedOut);
        }
        self.park_deaf(deadline)
    }
}

/// Whether the call may go on.
#[inline]
fn check_in_call(fiber: FiberRef) -> Result<(), Hindrance> {
    if fiber.disturbed.get() { tell(fiber) } else { Ok(()) }
}

#[cold]
fn tell(fiber: FiberRef) -> Result<(), Hindrance> {
    if is_unwinding() {
        // It ends already; its destructors may do what needs no wait.
        return Ok(());
    }
    fiber.update_disturbed();
    fiber.with_interrupts(|interrupts| {
        let Some(oldest) = interrupts.first_mut() else { return Ok(()) };
        oldest.told = true;
        Err(if oldest.timeout == 0 { Hindrance::Killed } else { Hindrance::Elapsed })
    })
}

/// Whether a call has failed because of this time limit, which was not raised since.
pub(crate) fn was_told(armed: &ArmedTimeout) -> bool {
    let told = |interrupt: &Pending| interrupt.timeout == armed.id && interrupt.told;
    armed.fiber.with_interrupts(|interrupts| interrupts.iter().any(told))
}

#[cfg(test)]
mod tests {
    use super::super::hub;
    use super::hub_of_greenlet;
    use crate::sys::lock::Lock;

    /// As an allocator's call under a lock of the library's is not, nor one amid a change of the hub's queues.
    #[test]
    fn what_the_library_is_in_the_middle_of_is_no_greenlet_s_code() {
        let hub = hub();
        let lock = Lock::new(());
        let is_found = || hub_of_greenlet().is_some();
        assert!(is_found());
        let held = lock.lock();
        assert!(!is_found(), "a lock is held");
        drop(held);
        let queue = hub.ready.borrow_mut();
        assert!(!is_found(), "the queue is being changed");
        drop(queue);
        let timers = hub.timers.borrow_mut();
        assert!(!is_found(), "the timers are being changed");
        drop(timers);
        assert!(is_found());
    }
}
