//! The trace hook: who switches to whom.

use std::rc::Rc;

use super::any::AnyGreenlet;
use crate::fiber::callback;
use crate::fiber::{FiberRef, State, Thread, thread};

/// How control passed from one greenlet to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// With a value, or by the hub.
    Switch,
    /// With something to raise.
    Throw,
}

/// One passing of control, as the hook of [`settrace`] sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Trace {
    /// How control passed.
    pub event: Event,
    /// The greenlet that control left.
    pub origin: AnyGreenlet,
    /// The greenlet that goes on. It never looks dead here.
    pub target: AnyGreenlet,
}

/// The type of a hook that [`settrace`] installs.
pub type Tracer = dyn Fn(&Trace);

/// Installs a hook that is called at every switch of the calling OS thread, and returns the former hook.
///
/// `None` removes the hook. This is greenlet's `settrace`.
///
/// The hook runs as a [hub callback](crate::hub#callbacks), between the two greenlets. [`current`](super::current) is the target,
/// as in greenlet, but the hook is not on its stack.
///
/// - A wait, a switch or a pull from a generator panics in the hook.
/// - What the hook panics with goes to the hook of [`set_uncaught_hook`](crate::hub::set_uncaught_hook), and the target goes on.
/// - A greenlet whose last handle goes in the hook is ended soon after, in a green thread.
///
/// Without a hook, tracing costs one predictable branch per switch.
///
/// # Examples
///
/// ```
/// use std::{cell::RefCell, rc::Rc};
/// use greenloop::greenlet::{Event, Greenlet, settrace};
///
/// let seen = Rc::new(RefCell::new(Vec::new()));
/// let log = seen.clone();
/// settrace(Some(Rc::new(move |trace| log.borrow_mut().push(trace.event))));
/// Greenlet::new(|value: u32| value).switch(1).unwrap();
/// settrace(None);
/// assert_eq!(*seen.borrow(), [Event::Switch, Event::Switch]);
/// ```
#[doc(alias = "gettrace")]
pub fn settrace(hook: Option<Rc<Tracer>>) -> Option<Rc<Tracer>> {
    let thread = thread();
    thread.trace_from_now_on(hook.is_some());
    thread.tracer.replace(hook)
}

/// Control passes from the current fiber to `target`, which is the current one from now on.
#[cold]
pub(crate) fn emit(thread: &Thread, target: FiberRef) {
    let origin = thread.current();
    thread.set_current(target);
    if origin == target {
        return;
    }
    let event = if target.is_thrown_at() { Event::Throw } else { Event::Switch };
    call(thread, event, origin, target);
}

#[cold]
pub(crate) fn emit_bounce(thread: &Thread, throws: bool) {
    let event = if throws { Event::Throw } else { Event::Switch };
    call(thread, event, thread.current(), thread.current());
}

fn call(thread: &Thread, event: Event, origin: FiberRef, target: FiberRef) {
    // The handles, which may be the last ones, and the hook's own are dropped in there too.
    callback("the trace hook", || {
        let Some(hook) = thread.tracer.borrow().clone() else { return };
        let departed = thread.departed.take();
        let origin = match origin.state.get() {
            State::Idle => departed.unwrap_or_else(AnyGreenlet::ended),
            _ => AnyGreenlet::of_fiber(origin, thread),
        };
        hook(&Trace { event, origin, target: AnyGreenlet::of_fiber(target, thread) });
    });
}
