//! greenlet's rules for switching, throwing and finishing.

use std::any::{Any, TypeId};
use std::panic;
use std::ptr::NonNull;
use std::rc::Rc;

use super::any::{AnyGreenlet, Life, Parent, Record};
use super::parcel::{Exited, Parcel, Refusal, discard};
use super::{orphans, trace};
use crate::error::{GreenletExit, InvalidSwitch, SwitchError};
use crate::fiber::{
    self, FiberRef, Inbox, Local, Occupant, State, Thread, assert_may_switch, callback, existing_thread,
    is_ending, thread, try_thread,
};
use crate::hub::{self, local_hub};

/// The nearest live one from `from` upwards. What is no value starts none: those that have not begun die on its way.
fn heir<T>(from: Option<AnyGreenlet>, parcel: &Parcel<T>) -> Option<AnyGreenlet> {
    let mut heir = from;
    while let Some(candidate) = heir {
        match candidate.record.life.get() {
            Life::Dead => {}
            Life::New if !matches!(parcel, Parcel::Value(_)) => candidate.end_unstarted(),
            Life::New | Life::Active => return Some(candidate),
        }
        heir = candidate.parent();
    }
    None
}

/// Hands the result of a finished greenlet to its nearest live ancestor, and says where that one runs.
#[cold]
pub(super) fn deliver_result<T: 'static>(
    parent: Option<AnyGreenlet>,
    mut parcel: Parcel<T>,
    thread: &Thread,
) -> Option<FiberRef> {
    let mut next = parent;
    while let Some(heir) = heir(next, &parcel) {
        match heir.accept(parcel, thread) {
            Ok(fiber) => return Some(fiber),
            Err(refusal) => {
                // It cannot start, or waits for another type: an error for it, or for its heir.
                let error = refusal.into_error();
                let text = error.to_string();
                discard(error);
                fiber::report_text(&text);
                parcel = Parcel::Thrown(Box::new(text));
                next = if heir.is_started() { Some(heir) } else { heir.parent() };
            }
        }
    }
    // A green thread's place: nobody is there to take it.
    match parcel {
        Parcel::Thrown(payload) => {
            fiber::report("a greenlet without a parent", &*payload);
            fiber::discard(payload);
        }
        value => discard(value),
    }
    None
}

impl AnyGreenlet {
    /// Switches to the greenlet with `value`, and waits until some greenlet switches back. See
    /// [`Greenlet::switch`](crate::greenlet::Greenlet::switch).
    ///
    /// The value that comes back has the type of the one that was sent.
    ///
    /// # Errors
    ///
    /// As [`Greenlet::switch`](crate::greenlet::Greenlet::switch): [`SwitchError::WrongType`] if the greenlet waits for a value of another
    /// type.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::error::SwitchError;
    /// use greenloop::greenlet::{AnyGreenlet, Greenlet};
    ///
    /// let greenlet = Greenlet::new(|value: u32| value + 1);
    /// let any: &AnyGreenlet = &greenlet;
    /// assert!(matches!(any.switch("text"), Err(SwitchError::WrongType(_))));
    /// assert_eq!(any.switch(1_u32).unwrap(), 2);
    /// ```
    #[track_caller]
    pub fn switch<T: 'static>(&self, value: T) -> Result<T, SwitchError> {
        self.send_value(value)
    }

    /// Raises `payload` in the greenlet. See [`Greenlet::throw`](crate::greenlet::Greenlet::throw).
    ///
    /// # Errors
    ///
    /// As [`Greenlet::throw`](crate::greenlet::Greenlet::throw).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::error::{GreenletExit, SwitchError};
    /// use greenloop::greenlet::{AnyGreenlet, Greenlet};
    ///
    /// let greenlet = Greenlet::new(|value: u32| value);
    /// let any: &AnyGreenlet = &greenlet;
    /// assert!(matches!(any.throw::<u32>(Box::new(GreenletExit)), Err(SwitchError::Exit(_))));
    /// assert!(any.is_dead());
    /// ```
    #[track_caller]
    pub fn throw<T: 'static>(&self, payload: Box<dyn Any + Send>) -> Result<T, SwitchError> {
        assert_may_switch();
        if self.record.life.get() == Life::New {
            self.end_unstarted();
        }
        self.send(Parcel::Thrown(payload))
    }

    /// An unstarted one dies without having run.
    #[cold]
    pub(super) fn end_unstarted(&self) {
        self.record.set_dead();
        let body = self.record.body.borrow_mut().take();
        callback("the destructor of a greenlet that never ran", || drop(body));
    }

    /// Sends `value`, and waits for what comes back.
    ///
    /// Inlined up to the public call: the processor mispredicts each return after a switch.
    #[inline(always)]
    #[track_caller]
    pub(super) fn send_value<T: 'static>(&self, value: T) -> Result<T, SwitchError> {
        match existing_thread().and_then(|thread| self.way(thread)) {
            Some(way) => way.go(value),
            None => self.send(Parcel::Value(value)),
        }
    }

    /// The way of a value to the greenlet, if that is suspended and waits for such a one.
    #[inline(always)]
    pub(super) fn way<T: 'static>(&self, thread: Local<Thread>) -> Option<Way<T>> {
        Way::to(self.record.fiber.get()?, thread)
    }

    /// The way of a parcel: to the nearest live one from here upwards, and then wait for what comes back.
    #[cold]
    #[track_caller]
    fn send<T: 'static>(&self, parcel: Parcel<T>) -> Result<T, SwitchError> {
        let Some(thread) = try_thread() else { return Err(SwitchError::Ending) };
        assert_may_switch();
        let current = thread.current();
        if self.record.life.get() == Life::Dead {
            return self.send_past_dead(parcel, thread);
        }
        if self.record.fiber.get() == Some(current) {
            return bounce(parcel, thread);
        }
        match self.accept(parcel, &thread) {
            Ok(target) => wait_for_parcel(thread, current, Some(target)),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    #[cold]
    fn send_past_dead<T: 'static>(&self, parcel: Parcel<T>, thread: Local<Thread>) -> Result<T, SwitchError> {
        if is_ending() {
            // It has not ended, but never goes on.
            return Err(SwitchError::Ending);
        }
        // What is thrown into a dead greenlet ends it once more.
        let parcel = match parcel {
            Parcel::Thrown(payload) => Parcel::ended_by(payload),
            other => other,
        };
        match heir(self.parent(), &parcel) {
            Some(heir) if heir.record.fiber.get() != Some(thread.current()) => {
                match heir.accept(parcel, &thread) {
                    Ok(target) => wait_for_parcel(thread, thread.current(), Some(target)),
                    Err(refusal) => Err(refusal.into_error()),
                }
            }
            // Or the place of a green thread that is gone: the switcher goes on with it.
            _ => bounce(parcel, thread),
        }
    }

    /// Puts a parcel where it will be found when control gets there; starts a fiber for an unstarted one.
    #[inline]
    fn accept<T: 'static>(&self, parcel: Parcel<T>, thread: &Thread) -> Result<FiberRef, Refusal<T>> {
        let Some(fiber) = self.record.fiber.get() else { return self.start(parcel, thread) };
        match parcel {
            Parcel::Value(value) => return put(fiber, value),
            Parcel::Exit => throw_exit(fiber),
            Parcel::Thrown(payload) => fiber.throw(payload),
        }
        Ok(fiber)
    }

    #[cold]
    fn start<T: 'static>(&self, parcel: Parcel<T>, thread: &Thread) -> Result<FiberRef, Refusal<T>> {
        let mut body = self.record.body.borrow_mut();
        let body = body.as_mut().expect("an unstarted greenlet has a body");
        let Parcel::Value(value) = parcel else { unreachable!("only a value starts a greenlet") };
        if body.value_type() != TypeId::of::<T>() {
            return Err(Refusal::WrongType(value));
        }
        if is_ending() {
            return Err(Refusal::Ending(value));
        }
        let fiber = match thread.take_fiber(self.record.class, run_greenlet) {
            Ok(fiber) => fiber,
            Err(error) => return Err(Refusal::Stack(value, error)),
        };
        // SAFETY: the type was compared; the body owns the `Option<T>` behind the pointer.
        unsafe { body.slot().cast::<Option<T>>().write(Some(value)) };
        fiber.set_occupant(self.record.clone());
        // SAFETY: the fiber holds the record as its occupant until `end_run`, which ends the description first.
        unsafe { fiber.describe(Some(&*self.record)) };
        self.record.fiber.set(Some(fiber));
        self.record.life.set(Life::Active);
        Ok(fiber)
    }
}

/// The common case of a switch: from the current greenlet, for which nothing has come that is to be looked at before, to one that is
/// suspended in a switch and waits for a `T`. Nothing of others runs between [`to`](Way::to) and [`go`](Way::go).
pub(super) struct Way<T> {
    thread: Local<Thread>,
    origin: FiberRef,
    target: FiberRef,
    slot: NonNull<Option<T>>,
}

impl<T: 'static> Way<T> {
    #[inline(always)]
    pub(super) fn to(target: FiberRef, thread: Local<Thread>) -> Option<Way<T>> {
        let origin = thread.current();
        if origin.disturbed.concerns_switches() {
            return None;
        }
        // The current one has no slot.
        target.slot().map(|slot| Way { thread, origin, target, slot })
    }

    /// Hands `value` over, and waits for what comes back.
    #[inline(always)]
    pub(super) fn go(self, value: T) -> Result<T, SwitchError> {
        // SAFETY: an inbox is set only while its `Option<T>` lives, in the frame of a suspended switch that reads it when resumed;
        // nothing has run since `to` found it, and nobody else has access.
        unsafe { self.slot.write(Some(value)) };
        go(self.thread, self.origin, Some(self.target))
    }
}

/// The exit of one whose result was to come, which is a value in a switch, but not where one waits in the hub.
#[cold]
fn throw_exit(fiber: FiberRef) {
    if fiber.is_switched_out() { fiber.throw(Box::new(Exited)) } else { refuse(fiber) }
}

/// What is suspended on `fiber` waits in the hub. Where that is main, nobody may be there who tells of it: a payload that is thrown
/// passes the panic hook by.
fn refuse(fiber: FiberRef) {
    if existing_thread().is_some_and(|thread| thread.main() == fiber) {
        fiber::report_text(&InvalidSwitch.to_string());
    }
    fiber.throw(Box::new(InvalidSwitch));
}

/// A value for what is suspended on `fiber`.
#[inline]
fn put<T: 'static>(fiber: FiberRef, value: T) -> Result<FiberRef, Refusal<T>> {
    match fiber.slot::<T>() {
        // SAFETY: as in `Way::go`.
        Some(slot) => unsafe { slot.write(Some(value)) },
        None => return accept_otherwise(fiber, value),
    }
    Ok(fiber)
}

/// A value for one that does not wait for it.
#[cold]
fn accept_otherwise<T: 'static>(fiber: FiberRef, value: T) -> Result<FiberRef, Refusal<T>> {
    let waits_in_hub = fiber.inbox.get().is_none();
    if !waits_in_hub && !is_dropping(fiber) {
        return Err(Refusal::WrongType(value));
    }
    discard(value);
    if waits_in_hub {
        refuse(fiber)
    } else {
        fiber.throw(Box::new(Exited))
    }
    Ok(fiber)
}

/// A switch that ends where it began: to itself, or to a dead greenlet whose heir is the current one.
#[cold]
fn bounce<T>(parcel: Parcel<T>, thread: Local<Thread>) -> Result<T, SwitchError> {
    if thread.is_observed() {
        trace::tell_of_bounce(&thread, matches!(parcel, Parcel::Thrown(_)));
    }
    match parcel {
        Parcel::Value(value) => Ok(value),
        Parcel::Exit => Err(SwitchError::Exit(GreenletExit)),
        Parcel::Thrown(payload) => panic::resume_unwind(payload),
    }
}

/// [`go`] for who may have an interrupt, which came while that one ran or was overtaken by a value, and for who may have no handle.
pub(super) fn wait_for_parcel<T: 'static>(
    thread: Local<Thread>,
    current: FiberRef,
    target: Option<FiberRef>,
) -> Result<T, SwitchError> {
    if current.disturbed.get()
        && let Some(hub) = local_hub()
    {
        hub.recall(current);
    }
    if current.disturbed.is_orphaned() {
        leave_for_good(&thread, current, target);
    }
    go(thread, current, target)
}

/// `current`, which is but a handle to itself, is about to be suspended in a switch. Unless somebody has got another one, or what
/// it goes to hands it its result, nobody can switch back: it ends as soon as another one runs.
#[cold]
fn leave_for_good(thread: &Thread, current: FiberRef, target: Option<FiberRef>) {
    let record = Record::of_fiber(current).expect("what had handles has a record");
    let others = record.handles.get() - 1;
    if others == 0 && target.is_some_and(|target| is_heir_of(&record, target)) {
        return;
    }
    current.disturbed.set_orphaned(false);
    if others > 0 {
        record.handles.set(others);
        return;
    }
    match target {
        // It looks when it comes back from its switch, or before it begins.
        Some(target) if target.state.get() == State::Running => {
            if let Some(former) = thread.leave_behind(current) {
                end_later(former);
            }
            target.disturbed.set(true);
        }
        // The hub goes on, or one that waits in it.
        _ => end_later(current),
    }
}

/// The handle that a greenlet without handles is to itself: as it goes, the greenlet ends.
fn handle_to_itself(fiber: FiberRef) -> Option<AnyGreenlet> {
    Record::of_fiber(fiber).map(|record| AnyGreenlet { record })
}

/// Has one ended that was left for good when the hub next runs.
fn end_later(left: FiberRef) {
    if let Some(handle) = handle_to_itself(left) {
        orphans::end_later(handle);
    }
}

/// Ends one that was left for good, before anything else that who goes on does.
#[inline]
fn end_left_behind(thread: &Thread) {
    if let Some(left) = thread.take_left_behind() {
        drop(handle_to_itself(left));
    }
}

/// Whether the greenlet of this record is an ancestor of what runs on `fiber`. No handle comes or goes.
fn is_heir_of(heir: &Rc<Record>, fiber: FiberRef) -> bool {
    let mut descendant = Record::of_fiber(fiber);
    while let Some(greenlet) = descendant {
        descendant = greenlet.parent_record();
        if descendant.as_ref().is_some_and(|parent| Rc::ptr_eq(parent, heir)) {
            return true;
        }
    }
    false
}

/// Goes to `target`, or to whatever the hub runs next, and comes back with what was sent to the current one.
#[inline(always)]
fn go<T: 'static>(
    thread: Local<Thread>,
    current: FiberRef,
    target: Option<FiberRef>,
) -> Result<T, SwitchError> {
    let mut slot: Option<T> = None;
    // The slot is written through this pointer by whoever switches back, and read below.
    current.inbox.set(Some(Inbox::new(NonNull::from(&mut slot))));
    hub::leave(thread, current, target);
    current.inbox.set(None);
    if current.disturbed.get() {
        return woken_by_force(thread, current, slot);
    }
    match slot {
        Some(value) => Ok(value),
        None => unreachable!("control came back without a value"),
    }
}

/// Control came back with more than a value, or for an interrupt of the hub.
#[cold]
fn woken_by_force<T: 'static>(
    thread: Local<Thread>,
    current: FiberRef,
    value: Option<T>,
) -> Result<T, SwitchError> {
    if current.state.get() == State::Ready {
        // An interrupt had put it into the ready queue, and control came another way first.
        hub::hub().came_by_hand(current);
    }
    let thrown = current.take_thrown();
    let interrupt = if thrown.is_none() && value.is_none() { current.take_interrupt() } else { None };
    current.update_disturbed();
    end_left_behind(&thread);
    match (thrown, value, interrupt) {
        (Some(payload), ..) if payload.is::<Exited>() => Err(SwitchError::Exit(GreenletExit)),
        (Some(payload), ..) => panic::resume_unwind(payload),
        (None, Some(value), _) => Ok(value),
        (None, None, Some(interrupt)) => panic::resume_unwind(interrupt.payload),
        // The interrupt was taken back on its way.
        (None, None, None) => wait_for_parcel(thread, current, None),
    }
}

/// Switches from the current greenlet to what is suspended on `target`, whatever that waits for.
#[cold]
pub(super) fn switch_to<T: 'static>(target: FiberRef, value: T) -> Result<T, SwitchError> {
    if is_ending() {
        return Err(SwitchError::Ending);
    }
    let thread = thread();
    match put(target, value) {
        Ok(target) => wait_for_parcel(thread, thread.current(), Some(target)),
        Err(refusal) => Err(refusal.into_error()),
    }
}

/// Leaves the choice of who goes on to the hub, until somebody switches to the current greenlet.
pub(super) fn wait_for_switch<T: 'static>() -> Result<T, SwitchError> {
    if is_ending() {
        return Err(SwitchError::Ending);
    }
    let thread = thread();
    wait_for_parcel(thread, thread.current(), None)
}

/// Who waits for the end of the current greenlet, whose last handle is gone: its parent, as which [`dropping`](super::dropping) waits.
#[cold]
pub(super) fn dropper() -> Option<FiberRef> {
    let parent = Record::of_fiber(thread().current())?.parent_record()?;
    parent.fiber.get().filter(|fiber| is_dropping(*fiber))
}

/// Nobody waits for the current greenlet: when it ends, the hub goes on.
pub(super) fn leave_parent() {
    let thread = thread();
    let former = AnyGreenlet::of_fiber(thread.current(), &thread).record.set_parent(Parent::Hub);
    drop(former);
}

/// The whole run of a plain greenlet on a fiber.
fn run_greenlet(fiber: FiberRef) -> Option<FiberRef> {
    let thread = thread();
    end_left_behind(&thread);
    let body = Record::of_fiber(fiber).and_then(|record| record.body.borrow_mut().take());
    let next = body.expect("a greenlet was put here to run").run(fiber, &thread);
    fiber.end_run();
    next
}
/// The inbox of who drops a greenlet takes a value of any type, and keeps none.
pub(super) struct Discarded;

/// Whether it waits for the end of one that it drops, which comes back to it.
pub(super) fn is_dropping(fiber: FiberRef) -> bool {
    fiber.slot::<Discarded>().is_some()
}

/// A switch that cannot return a value: an exit goes on as one, anything else is a panic.
#[cold]
#[track_caller]
pub(super) fn raise(error: SwitchError) -> ! {
    match error {
        SwitchError::Exit(exit) => panic::resume_unwind(Box::new(exit)),
        other => panic!("{other}"),
    }
}
