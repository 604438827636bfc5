//! Waiting inside a call from C, or from code that takes it for one: nothing may unwind there.
//!
//! A kill or a time limit makes such a call fail, and each further one, wait or not, until it is raised: at the next wait of
//! greenloop's own, or when the time limit's scope ends. Who goes on calling gets slower and slower, and is reported after a while.

use std::any::Any;
use std::time::Duration;

use super::current::{HubRef, local_hub};
use super::faults::Faults;
use super::reactor::Reactor;
use super::state::HubState;
use super::time_limit::ArmedTimeout;
use super::waiter::{Waiter, WaitingOn, Wakeup, is_unwinding};
use crate::error::GreenThread;
use crate::fiber::{FiberRef, Pending, State, in_callback, report_text};
use crate::sys::clock::Time;
use crate::sys::{handler, section};

/// Why a call must fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hindrance {
    /// A kill; or the green thread unwinds, and must not yield.
    Killed,
    /// A time limit.
    Elapsed,
}

/// How many calls in a row fail at once. Each later one fails after a pause.
const FAILING_AT_ONCE: u32 = 4;
/// The first of those pauses, which double, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_micros(250), Duration::from_millis(10)];

/// The calling thread's hub, if what runs is a greenlet's code, and not the library's own, which may not wait.
#[inline]
pub(crate) fn hub_of_greenlet() -> Option<HubRef> {
    local_hub().filter(|hub| {
        hub.thread.current().state.get() == State::Running
            && !in_callback()
            && !hub.is_at_work()
            && !in_handler()
    })
}

/// Whether the handler of a signal runs, or the child of vfork(2): nothing of the library's may be touched.
#[inline]
pub(crate) fn in_handler() -> bool {
    handler::is_inside(interrupted)
}

/// Whom the handler of a signal interrupts now: a greenlet, or an OS thread without a hub.
pub(crate) fn interrupted() -> usize {
    local_hub().map_or(0, |hub| hub.thread.current().as_ptr().addr())
}

/// Whether the calling thread is amid work of the library's, which must not be come back to.
pub(crate) fn is_at_work() -> bool {
    section::is_any_open() || in_handler() || local_hub().is_some_and(|hub| hub.is_at_work())
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
        } else if !self.spend_amid_faults() {
            self.demand_look();
            self.yield_in_call();
        }
        check_in_call(self.thread.current())
    }

    /// What may go wrong with the operation for which the current greenlet has just [spent](HubState::spend_budget_in_call) some of its
    /// budget.
    #[inline]
    pub(crate) fn faults_of_call(&self) -> Option<&Faults> {
        if self.budget.get() > 1 { None } else { self.faults() }
    }

    /// Why the next call of the current greenlet that could wait must fail; `None` if it need not. Who unwinds may do what needs no
    /// wait.
    #[inline]
    pub(crate) fn hindrance(&self) -> Option<Hindrance> {
        check_in_call(self.thread.current()).err()
    }

    /// How many calls in a row have failed.
    pub(crate) fn refusals(&self) -> u32 {
        let fiber = self.thread.current();
        if is_unwinding() {
            return fiber.refused_amid_unwinding(false);
        }
        fiber.with_interrupts(|interrupts| interrupts.first().map_or(0, |oldest| oldest.refusals.so_far()))
    }

    /// A call of the current greenlet fails, for a [`Hindrance`]: the others run first, and after some such calls it pauses. Returns
    /// how many have failed in a row.
    #[cold]
    pub(crate) fn refuse_call(&self) -> u32 {
        let fiber = self.thread.current();
        if is_unwinding() {
            return fiber.refused_amid_unwinding(true);
        }
        let now = Time::now();
        let counted = fiber.with_interrupts(|interrupts| {
            interrupts.first_mut().map(|oldest| (oldest.is_kill(), oldest.refusals.count(now)))
        });
        let Some((killed, (count, overdue))) = counted else { return 1 };
        if overdue {
            report(fiber, killed);
        }
        match count.checked_sub(FAILING_AT_ONCE + 1) {
            None => self.yield_in_call(),
            Some(_) if self.is_at_work() => {}
            Some(pauses) => {
                let pause = PAUSES[0].saturating_mul(1 << pauses.min(16)).min(PAUSES[1]);
                Waiter::new(WaitingOn::Sleep).park_deaf(Some(now.plus(pause)));
            }
        }
        count
    }
}

/// Who `fiber` is, and where it was spawned.
pub(crate) fn who(fiber: FiberRef) -> String {
    match fiber.description() {
        None => "the main greenlet".to_owned(),
        Some(description) => {
            let name = description.name().map(|name| &**name);
            GreenThread { name, place: description.spawned_at() }.to_string()
        }
    }
}

/// Tells the hook for what nobody can receive who was killed, or is out of time, and does not end.
#[cold]
fn report(fiber: FiberRef, killed: bool) {
    let who = who(fiber);
    let what = if killed { "was killed" } else { "came to its time limit" };
    report_text(&format!(
        "{who} {what} a second ago and does not end: each of its calls that could wait fails, and it tries the next"
    ));
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
    fiber.with_interrupts(|interrupts| match interrupts.first() {
        None => Ok(()),
        Some(oldest) if oldest.is_kill() => Err(Hindrance::Killed),
        Some(_) => Err(Hindrance::Elapsed),
    })
}

/// Whether a call has failed because of this time limit, which was not raised since.
pub(crate) fn was_told(armed: &ArmedTimeout) -> bool {
    let told = |interrupt: &Pending| interrupt.timeout == armed.id && interrupt.refusals.so_far() > 0;
    armed.fiber.with_interrupts(|interrupts| interrupts.iter().any(told))
}

/// What a kill was to raise in `fiber`, if calls have failed because of it and it was not raised since.
pub(crate) fn take_told_kill(fiber: FiberRef) -> Option<Box<dyn Any + Send>> {
    if !fiber.disturbed.get() {
        return None;
    }
    let told = |interrupt: &Pending| interrupt.is_kill() && interrupt.refusals.so_far() > 0;
    let kill = fiber.with_interrupts(|interrupts| {
        interrupts.iter().position(told).map(|position| interrupts.remove(position))
    });
    fiber.update_disturbed();
    kill.map(|kill| kill.payload)
}

/// Whether `payload` is what a panic leaves that code has made of a call's failure: text. Anything else was raised on purpose.
pub(crate) fn is_of_a_panic(payload: &(dyn Any + Send)) -> bool {
    payload.is::<&'static str>() || payload.is::<String>()
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
