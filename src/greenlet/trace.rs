//! The trace hook: who switches to whom.

use std::any::Any;
use std::rc::Rc;

use super::any::AnyGreenlet;
use super::any::Record;
use super::parcel::Exited;
use crate::fiber::{FiberRef, Observer, State, Thread, callback, thread};

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
/// - A switch to a dead greenlet that comes back at once is told too, with the same greenlet twice.
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
    let former = thread().observe(hook.map(|hook| Rc::new(Tracing(hook)) as Rc<dyn Observer>));
    former.and_then(Tracing::of).map(|former| former.0.clone())
}

/// The hook, as the switch sees it.
struct Tracing(Rc<Tracer>);

impl Tracing {
    fn of(observer: Rc<dyn Observer>) -> Option<Rc<Tracing>> {
        let observer: Rc<dyn Any> = observer;
        observer.downcast().ok()
    }

    fn tell(&self, thread: &Thread, throws: bool, origin: FiberRef, target: FiberRef) {
        let departed = thread.take_departed().and_then(Record::of_occupant).map(AnyGreenlet::of_record);
        let origin = match origin.state.get() {
            State::Idle => departed.unwrap_or_else(AnyGreenlet::ended),
            _ => AnyGreenlet::of_fiber(origin, thread),
        };
        let event = if throws { Event::Throw } else { Event::Switch };
        (self.0)(&Trace { event, origin, target: AnyGreenlet::of_fiber(target, thread) });
    }
}

impl Observer for Tracing {
    fn passes(&self, thread: &Thread, origin: FiberRef, target: FiberRef) {
        // An exit comes as a value.
        let throws = target.with_thrown(|thrown| thrown.is_some_and(|payload| !payload.is::<Exited>()));
        self.tell(thread, throws, origin, target);
    }
}

/// A switch ended where it began.
#[cold]
pub(super) fn tell_of_bounce(thread: &Thread, throws: bool) {
    // The handles, which may be the last ones, and the hook's own are dropped in there too.
    callback("the trace hook", || {
        if let Some(tracing) = thread.observer().and_then(Tracing::of) {
            tracing.tell(thread, throws, thread.current(), thread.current());
        }
    });
}
