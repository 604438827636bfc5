//! A greenlet as a source of values that are pulled one by one.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::{self, AssertUnwindSafe, RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

use super::current;
use super::switching::{self, Way};
use super::typed::Greenlet;
use crate::error::{GreenletExit, SwitchError};
use crate::fiber::{self, FiberRef, assert_may_switch, existing_thread, thread};

/// A coroutine that gives a value each time it is asked, and may be sent one each time.
///
/// The body runs on its own stack, and only while a caller waits for its next value. It may yield a value from any depth of
/// calls. It may also block on greenloop's IO, sleeps and locks: then the caller waits, and other green threads run. If the body
/// panics, the panic reaches the caller. If you drop the generator, the body ends at its `yield_` with [`GreenletExit`], and its
/// destructors run. A body that catches this and yields again gets it again.
///
/// A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the caller's wait by unwinding. The body goes on with what
/// it waits for, and the next call gets the value that the interrupted one had asked for, or the panic.
///
/// `Generator<(), Y>` is an [`Iterator`]; any other has only [`send`](Generator::send). To ask one from several green threads, put it
/// into a [`sync::Mutex`](crate::sync::Mutex).
///
/// # Examples
///
/// ```
/// use greenloop::greenlet::Generator;
///
/// let squares = Generator::new(|generator, ()| {
///     for number in 1..=3u32 {
///         generator.yield_(number * number);
///     }
/// });
/// assert_eq!(squares.collect::<Vec<_>>(), [1, 4, 9]);
///
/// let mut sum = Generator::new(|generator, first: u32| {
///     let mut total = first;
///     loop {
///         total += generator.yield_(total);
///     }
/// });
/// assert_eq!(sum.send(1), Some(1));
/// assert_eq!(sum.send(10), Some(11));
/// ```
pub struct Generator<S: 'static, Y: 'static> {
    /// Dropped by the generator's own `drop`, which waits for that.
    greenlet: ManuallyDrop<Greenlet<Pull>>,
    meeting: Rc<Meeting<S, Y>>,
}

// A body that unwinds has ended.
impl<S, Y> UnwindSafe for Generator<S, Y> {}
impl<S, Y> RefUnwindSafe for Generator<S, Y> {}

/// The generator as its body sees it: the body gives values through it.
pub struct Yielder<S: 'static, Y: 'static> {
    meeting: Rc<Meeting<S, Y>>,
}

/// What is switched between a generator and who pulls, so that nobody else's value can be taken for it.
struct Pull;

/// Where a body stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Before its start or in `yield_`: the next pull resumes it.
    Suspended,
    /// It runs, or waits in the hub: for a pull, which may have been interrupted meanwhile.
    Busy,
    /// In `yield_` with a value that was not awaited any more: the next pull takes it.
    Kept,
    Done,
}

/// Where a generator and who pulls meet.
struct Meeting<S, Y> {
    /// Where the body runs.
    body: Cell<Option<FiberRef>>,
    phase: Cell<Phase>,
    sent: Cell<Option<S>>,
    yielded: Cell<Option<Y>>,
    /// What the body panicked with.
    failure: Cell<Option<Box<dyn Any + Send>>>,
    /// Who waits for it, as its parent.
    puller: Cell<Option<FiberRef>>,
    /// The generator was dropped.
    abandoned: Cell<bool>,
    /// And the body was suspended then: who ends it waits for that, at once or later.
    ends_now: Cell<bool>,
}

impl<S: 'static, Y: 'static> Yielder<S, Y> {
    /// Gives `value` to the caller, waits until the next value is asked for, and returns what was sent with that request.
    ///
    /// If the generator has been dropped meanwhile, [`GreenletExit`] is raised here.
    ///
    /// # Panics
    ///
    /// Panics if called in a greenlet other than the one that runs the body, or in a [hub callback](crate::hub#callbacks).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::Generator;
    ///
    /// let mut echo = Generator::new(|generator, first: &str| {
    ///     let second = generator.yield_(format!("first {first}"));
    ///     generator.yield_(format!("then {second}"));
    /// });
    /// assert_eq!(echo.send("one").as_deref(), Some("first one"));
    /// assert_eq!(echo.send("two").as_deref(), Some("then two"));
    /// assert_eq!(echo.send("three"), None);
    /// ```
    #[inline(always)]
    #[track_caller]
    pub fn yield_(&self, value: Y) -> S {
        assert_may_switch();
        let meeting = &*self.meeting;
        match (meeting.puller.get(), existing_thread()) {
            (Some(puller), Some(thread)) if meeting.body.get() == Some(thread.current()) => {
                let waits = meeting.suspend(value, Phase::Suspended);
                let pull = match Way::to(puller, thread) {
                    Some(way) => way.go(Pull),
                    None => switching::switch_to(puller, Pull),
                };
                drop(waits);
                meeting.go_on(pull)
            }
            _ => meeting.yield_to_nobody(value),
        }
    }
}

/// The body is in `yield_`; when this is dropped, it is busy again, whatever it was that ended the wait.
struct Suspension<'a>(&'a Cell<Phase>);

impl Drop for Suspension<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.set(Phase::Busy);
    }
}

impl<S: 'static, Y: 'static> Generator<S, Y> {
    /// Makes a generator that runs `body`.
    ///
    /// The body starts at the first [`send`](Generator::send), and gets the value that was sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::Generator;
    ///
    /// let letters = Generator::new(|generator, ()| "abc".chars().for_each(|letter| generator.yield_(letter)));
    /// assert_eq!(letters.collect::<String>(), "abc");
    /// ```
    #[track_caller]
    pub fn new(body: impl FnOnce(&Yielder<S, Y>, S) + 'static) -> Generator<S, Y> {
        let meeting = Rc::new(Meeting {
            body: Cell::new(None),
            phase: Cell::new(Phase::Suspended),
            sent: Cell::new(None),
            yielded: Cell::new(None),
            failure: Cell::new(None),
            puller: Cell::new(None),
            abandoned: Cell::new(false),
            ends_now: Cell::new(false),
        });
        let yielder = Yielder { meeting: meeting.clone() };
        let greenlet = Greenlet::new(move |pull: Pull| {
            yielder.meeting.begin(&yielder, body);
            pull
        });
        Generator { greenlet: ManuallyDrop::new(greenlet), meeting }
    }

    /// Resumes the body with `value`, and returns the next value that it yields. Returns `None` once the body has returned.
    ///
    /// If the last call was interrupted, this one waits for the value that the last one had asked for, and drops its own `value`.
    ///
    /// # Panics
    ///
    /// - Panics with the body's payload if the body panics. The body has ended then.
    /// - Panics if there is no stack to start the body on.
    /// - Panics if the body was switched to by other means, and is suspended in a switch by hand.
    /// - Panics in a [hub callback](crate::hub#callbacks), and in a greenlet that the body has made, which would be its own
    ///   ancestor.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::Generator;
    ///
    /// let mut doubler = Generator::new(|generator, mut number: u32| {
    ///     while number != 0 {
    ///         number = generator.yield_(number * 2);
    ///     }
    /// });
    /// assert_eq!([doubler.send(2), doubler.send(5), doubler.send(0)], [Some(4), Some(10), None]);
    /// ```
    #[inline(always)]
    #[track_caller]
    pub fn send(&mut self, value: S) -> Option<Y> {
        assert_may_switch();
        match existing_thread() {
            Some(thread)
                if self.meeting.phase.get() == Phase::Suspended
                    && self.greenlet.is_made_by(thread.current()) =>
            {
                self.meeting.sent.set(Some(value));
                let awaited = self.meeting.awaited_by(thread.current());
                let pull = self.greenlet.send_value(Pull);
                drop(awaited);
                end_of_wait(pull);
            }
            _ => self.send_otherwise(value),
        }
        if self.meeting.phase.get() == Phase::Done
            && let Some(payload) = self.meeting.failure.take()
        {
            panic::resume_unwind(payload);
        }
        self.meeting.yielded.take()
    }

    /// The first pull, one by another than before, after one that was interrupted, or after the end.
    #[cold]
    #[track_caller]
    fn send_otherwise(&self, value: S) {
        let meeting = &*self.meeting;
        match meeting.phase.get() {
            Phase::Suspended => {
                meeting.sent.set(Some(value));
                self.wait_as_parent(|| self.greenlet.switch(Pull));
            }
            Phase::Busy => {
                // It may wait for another generator.
                assert!(
                    !self.greenlet.is_switched_out() || self.greenlet.waits_for::<Pull>(),
                    "the generator's body is suspended in a switch by hand"
                );
                self.wait_as_parent(switching::wait_for_switch);
            }
            Phase::Kept => meeting.phase.set(Phase::Suspended),
            Phase::Done => {}
        }
    }

    /// Waits for the body to yield or to end, as its parent. Who pulls may be another one each time.
    #[track_caller]
    fn wait_as_parent(&self, switch: impl FnOnce() -> Result<Pull, SwitchError>) {
        // The handle of who pulls is gone before the switch.
        let former = self
            .greenlet
            .set_maker(&current())
            .expect("no pull from a generator by a greenlet that its own body has made");
        let awaited = self.meeting.awaited_by(thread().current());
        let pull = switch();
        drop((awaited, former));
        end_of_wait(pull);
    }

    /// Returns `true` if the body has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::Generator;
    ///
    /// let mut once = Generator::new(|generator, ()| generator.yield_(1));
    /// assert_eq!((once.send(()), once.is_done()), (Some(1), false));
    /// assert_eq!((once.send(()), once.is_done()), (None, true));
    /// ```
    pub fn is_done(&self) -> bool {
        self.meeting.phase.get() == Phase::Done
    }
}

/// What has ended the wait of who pulls.
#[inline(always)]
#[track_caller]
fn end_of_wait(pull: Result<Pull, SwitchError>) {
    if let Err(error) = pull {
        switching::raise(error);
    }
}

/// Somebody waits for the body, until this is dropped.
struct Awaited<'a>(&'a Cell<Option<FiberRef>>);

impl Drop for Awaited<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.set(None);
    }
}

impl<S: 'static, Y: 'static> Meeting<S, Y> {
    /// Yields where nobody waits for that.
    #[cold]
    #[track_caller]
    fn yield_to_nobody(&self, value: Y) -> S {
        assert!(self.body.get() == Some(thread().current()), "a generator yields in its body's own greenlet");
        if let Some(dropper) = self.dropper() {
            let waits = self.suspend(value, Phase::Suspended);
            let pull = switching::switch_to(dropper, Pull);
            drop(waits);
            return self.go_on(pull);
        }
        if self.abandoned.get() {
            panic::resume_unwind(Box::new(GreenletExit));
        }
        let waits = self.suspend(value, Phase::Kept);
        let pull = switching::wait_for_switch();
        drop(waits);
        self.go_on(pull)
    }

    /// Who waits for the end of the body, where the generator was dropped in a callback.
    fn dropper(&self) -> Option<FiberRef> {
        if self.ends_now.get() { switching::dropper() } else { None }
    }

    /// `puller` waits for the body to yield or to end, until what this returns is dropped.
    #[inline(always)]
    fn awaited_by(&self, puller: FiberRef) -> Awaited<'_> {
        self.puller.set(Some(puller));
        Awaited(&self.puller)
    }

    /// The body waits with its value for the next pull, until what this returns is dropped.
    #[inline(always)]
    fn suspend(&self, value: Y, phase: Phase) -> Suspension<'_> {
        let waits = Suspension(&self.phase);
        self.yielded.set(Some(value));
        self.phase.set(phase);
        waits
    }

    /// The body goes on with what was sent.
    #[inline(always)]
    fn go_on(&self, pull: Result<Pull, SwitchError>) -> S {
        match pull {
            Ok(Pull) => self.sent.take().expect("a pull sends something"),
            Err(error) => switching::raise(error),
        }
    }

    /// Runs the body to its end.
    fn begin(&self, yielder: &Yielder<S, Y>, body: impl FnOnce(&Yielder<S, Y>, S)) {
        self.body.set(Some(thread().current()));
        self.phase.set(Phase::Busy);
        let first = self.sent.take().expect("a pull sends something");
        let end = panic::catch_unwind(AssertUnwindSafe(|| body(yielder, first)));
        self.phase.set(Phase::Done);
        self.failure.set(end.err().filter(|payload| !payload.is::<GreenletExit>()));
        if self.puller.get().is_none() && self.dropper().is_none() {
            switching::leave_parent();
        }
        if self.abandoned.get() {
            self.report_failure();
        }
    }

    /// Nobody will pull any more.
    fn report_failure(&self) {
        if let Some(payload) = self.failure.take() {
            fiber::report("a generator that was dropped", &*payload);
            fiber::discard(payload);
        }
    }
}

impl<S: 'static, Y: 'static> Drop for Generator<S, Y> {
    fn drop(&mut self) {
        self.meeting.abandoned.set(true);
        // A body that is suspended, also in a switch by hand, ends now, as the greenlet's handle goes; who drops it waits for that.
        let ends_now = self.meeting.phase.get() != Phase::Busy || self.greenlet.is_switched_out();
        self.meeting.ends_now.set(ends_now);
        let thread = existing_thread().filter(|_| ends_now);
        let awaited = thread.map(|thread| self.meeting.awaited_by(thread.current()));
        self.meeting.report_failure();
        // SAFETY: nothing uses it after this.
        unsafe { ManuallyDrop::drop(&mut self.greenlet) };
        // One that lives on, since somebody else has a handle, has nobody who waits for it.
        drop(awaited);
    }
}

impl<Y: 'static> Iterator for Generator<(), Y> {
    type Item = Y;

    #[inline(always)]
    #[track_caller]
    fn next(&mut self) -> Option<Y> {
        self.send(())
    }
}

impl<S: 'static, Y: 'static> fmt::Debug for Generator<S, Y> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Generator({:?})", self.greenlet)
    }
}

impl<S: 'static, Y: 'static> fmt::Debug for Yielder<S, Y> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Yielder")
    }
}
