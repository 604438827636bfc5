//! greenlet's rules for switching, throwing, finishing and dropping.

use std::any::{Any, TypeId};
use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;
use std::rc::Rc;

use super::any::AnyGreenlet;
use super::record::{Kind, Life, Parent, Record};
use super::trace;
use crate::error::{GreenletExit, InvalidSwitch, StackError, SwitchError, Undelivered};
use crate::fiber;
use crate::fiber::{
    Arrival, FiberRef, Inbox, Local, State, Thread, existing_thread, is_ending, thread, try_thread,
};
use crate::fiber::{assert_may_switch, callback};

/// How often dropping the last handle of a parked greenlet raises in it before it gives up.
const DROP_ATTEMPTS: usize = 8;

/// The place of a destructor, in reports.
const UNTAKEN: &str = "the destructor of a value that no greenlet takes";

/// What one greenlet hands to another.
pub(super) enum Parcel<T> {
    Value(T),
    Exit,
    Thrown(Box<dyn Any + Send>),
}

impl<T> Parcel<T> {
    /// The rule of greenlet: GreenletExit ends a greenlet quietly, and its parent gets it as a value.
    pub(super) fn ended_by(payload: Box<dyn Any + Send>) -> Parcel<T> {
        if payload.is::<GreenletExit>() { Parcel::Exit } else { Parcel::Thrown(payload) }
    }
}

/// A parcel that could not be put down, and why.
enum Refusal<T> {
    WrongType(T),
    Stack(T, StackError),
    Ending(T),
}

impl<T: 'static> Refusal<T> {
    #[cold]
    fn into_error(self) -> SwitchError {
        match self {
            Refusal::WrongType(value) => SwitchError::WrongType(Undelivered::new(Box::new(value))),
            Refusal::Stack(value, error) => {
                callback(UNTAKEN, || drop(value));
                SwitchError::Stack(error)
            }
            Refusal::Ending(value) => {
                callback(UNTAKEN, || drop(value));
                SwitchError::Ending
            }
        }
    }
}

/// Hands the result of a finished greenlet to its nearest live ancestor, and says where that one runs.
#[cold]
pub(super) fn deliver_result<T: 'static>(
    parent: Option<AnyGreenlet>,
    mut parcel: Parcel<T>,
    thread: &Thread,
) -> Option<FiberRef> {
    let mut heir = parent;
    while let Some(candidate) = heir {
        match candidate.header.life.get() {
            Life::Dead => {}
            Life::New if !matches!(parcel, Parcel::Value(_)) => candidate.end_unstarted(),
            Life::New | Life::Active => match candidate.accept(parcel, thread) {
                Ok(fiber) => return Some(fiber),
                Err(refusal) => {
                    // The heir cannot start, or waits for another type: an error for it, or for its heir.
                    let error = refusal.into_error();
                    parcel = Parcel::Thrown(Box::new(error.to_string()));
                    callback(UNTAKEN, || drop(error));
                    if candidate.is_started() {
                        heir = Some(candidate);
                        continue;
                    }
                }
            },
        }
        heir = candidate.parent();
    }
    // A green thread's place: nobody is there to take it.
    match parcel {
        Parcel::Thrown(payload) => {
            fiber::report("a greenlet without a parent", &*payload);
            fiber::discard(payload);
        }
        value => callback(UNTAKEN, || drop(value)),
    }
    None
}

impl AnyGreenlet {
    /// An unstarted one dies without having run.
    #[cold]
    pub(super) fn end_unstarted(&self) {
        self.header.set_dead();
        let body = self.header.body.borrow_mut().take();
        callback("the destructor of a greenlet that never ran", || drop(body));
    }

    /// The way of a parcel: to the nearest live one from here upwards, and then wait for what comes back.
    ///
    /// Inlined up to the public call: the processor mispredicts each return after a switch.
    #[inline(always)]
    pub(super) fn send<T: 'static>(&self, parcel: Parcel<T>) -> Result<T, SwitchError> {
        let Some(thread) = try_thread() else { return Err(SwitchError::Ending) };
        let current = thread.current();
        if current.disturbed.concerns_switches() {
            return self.send_disturbed(parcel, thread);
        }
        if self.header.life.get() == Life::Dead {
            return self.send_past_dead(parcel, thread);
        }
        if self.header.fiber.get() == Some(current) {
            return bounce(parcel, thread);
        }
        match self.accept(parcel, &thread) {
            Ok(target) => go(thread, current, Some(target)),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    /// [`send`](AnyGreenlet::send) in a callback, by who has not had an interrupt yet, or by one without a handle.
    #[cold]
    fn send_disturbed<T: 'static>(&self, parcel: Parcel<T>, thread: Local<Thread>) -> Result<T, SwitchError> {
        assert_may_switch();
        let current = thread.current();
        if self.header.life.get() == Life::Dead {
            return self.send_past_dead(parcel, thread);
        }
        if self.header.fiber.get() == Some(current) {
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
        let mut heir = self.parent();
        while let Some(candidate) = heir {
            match candidate.header.life.get() {
                Life::Dead => {}
                Life::New if !matches!(parcel, Parcel::Value(_)) => candidate.end_unstarted(),
                _ if candidate.header.fiber.get() == Some(thread.current()) => return bounce(parcel, thread),
                _ => {
                    return match candidate.accept(parcel, &thread) {
                        Ok(target) => wait_for_parcel(thread, thread.current(), Some(target)),
                        Err(refusal) => Err(refusal.into_error()),
                    };
                }
            }
            heir = candidate.parent();
        }
        // The place of a green thread that is gone: the switcher goes on with it.
        bounce(parcel, thread)
    }

    /// Puts a parcel where it will be found when control gets there; starts a fiber for an unstarted one.
    #[inline]
    fn accept<T: 'static>(&self, parcel: Parcel<T>, thread: &Thread) -> Result<FiberRef, Refusal<T>> {
        let Some(fiber) = self.header.fiber.get() else { return self.start(parcel, thread) };
        match parcel {
            Parcel::Value(value) => match fiber.inbox.get() {
                Some(inbox) if inbox.value_type == TypeId::of::<T>() => {
                    // SAFETY: the inbox is set only while its `Option<T>` lives, in the frame of a suspended switch that
                    // reads it when resumed; the type was compared; nobody else has access meanwhile.
                    unsafe { inbox.slot.cast::<Option<T>>().write(Some(value)) };
                }
                other => return accept_otherwise(fiber, other, value),
            },
            Parcel::Exit => fiber.arrive(Arrival::Exit),
            Parcel::Thrown(payload) => fiber.arrive(Arrival::Thrown(payload)),
        }
        Ok(fiber)
    }

    #[cold]
    fn start<T: 'static>(&self, parcel: Parcel<T>, thread: &Thread) -> Result<FiberRef, Refusal<T>> {
        let mut body = self.header.body.borrow_mut();
        let body = body.as_mut().expect("an unstarted greenlet has a body");
        let Parcel::Value(value) = parcel else { unreachable!("only a value starts a greenlet") };
        if body.value_type() != TypeId::of::<T>() {
            return Err(Refusal::WrongType(value));
        }
        if is_ending() {
            return Err(Refusal::Ending(value));
        }
        let fiber = match thread.take_fiber(self.header.class, run_greenlet) {
            Ok(fiber) => fiber,
            Err(error) => return Err(Refusal::Stack(value, error)),
        };
        // SAFETY: the type was compared; the body owns the `Option<T>` behind the pointer.
        unsafe { body.slot().cast::<Option<T>>().write(Some(value)) };
        *fiber.greenlet.borrow_mut() = Some(self.header.clone());
        // SAFETY: the fiber holds the header in `greenlet` until `end_run`, which ends the description first.
        unsafe { fiber.describe(Some(&*self.header)) };
        self.header.fiber.set(Some(fiber));
        self.header.life.set(Life::Active);
        Ok(fiber)
    }
}

/// A value for one that does not wait for it.
#[cold]
fn accept_otherwise<T: 'static>(
    fiber: FiberRef,
    inbox: Option<Inbox>,
    value: T,
) -> Result<FiberRef, Refusal<T>> {
    let arrival = match inbox {
        Some(inbox) if inbox.value_type == TypeId::of::<Discarded>() => Arrival::Exit,
        Some(_) => return Err(Refusal::WrongType(value)),
        None => Arrival::Thrown(Box::new(InvalidSwitch)),
    };
    callback(UNTAKEN, || drop(value));
    fiber.arrive(arrival);
    Ok(fiber)
}

/// A switch that ends where it began: to itself, or to a dead greenlet whose heir is the current one.
#[cold]
fn bounce<T>(parcel: Parcel<T>, thread: Local<Thread>) -> Result<T, SwitchError> {
    if thread.tracing.get() {
        trace::emit_bounce(&thread, matches!(parcel, Parcel::Thrown(_)));
    }
    match parcel {
        Parcel::Value(value) => Ok(value),
        Parcel::Exit => Err(SwitchError::Exit(GreenletExit)),
        Parcel::Thrown(payload) => panic::resume_unwind(payload),
    }
}

/// [`go`] for who may have an interrupt, which came while that one ran or was overtaken by a value, and for who may have no handle.
fn wait_for_parcel<T: 'static>(
    thread: Local<Thread>,
    current: FiberRef,
    target: Option<FiberRef>,
) -> Result<T, SwitchError> {
    if current.disturbed.get()
        && let Some(recall) = thread.recall.get()
    {
        recall(current);
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
    let header = current.greenlet.borrow().clone().expect("what had handles has a record");
    let others = header.handles.get() - 1;
    if others == 0 && target.is_some_and(|target| is_heir_of(&header, target)) {
        return;
    }
    current.disturbed.set_orphaned(false);
    if others > 0 {
        header.handles.set(others);
        return;
    }
    thread.end_later(AnyGreenlet { header });
    match target {
        // It looks when it comes back from its switch, or before it begins.
        Some(target) if target.state.get() == State::Running => target.disturbed.set(true),
        // The hub goes on, or one that waits in it.
        _ => thread.end_orphans(),
    }
}

/// Whether the greenlet of this record is an ancestor of what runs on `fiber`. No handle comes or goes.
fn is_heir_of(heir: &Rc<Record>, fiber: FiberRef) -> bool {
    let mut descendant = fiber.greenlet.borrow().clone();
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
    current.inbox.set(Some(Inbox { value_type: TypeId::of::<T>(), slot: NonNull::from(&mut slot).cast() }));
    if std::thread::panicking() {
        thread.leave_amid_unwinding(target);
    } else {
        thread.leave(target);
    }
    current.inbox.set(None);
    if current.disturbed.get() {
        return woken_by_force(thread, current, slot);
    }
    Ok(slot.take().expect("control came back with a value"))
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
        if let Some(withdraw) = thread.withdraw.get() {
            withdraw(current);
        }
        current.state.set(State::Running);
    }
    let arrival = current.take_arrival();
    let interrupt = match (&arrival, &value) {
        (Arrival::Value, None) => current.take_interrupt(),
        _ => None,
    };
    current.update_disturbed();
    thread.end_orphans_here();
    match (arrival, value, interrupt) {
        (Arrival::Thrown(payload), ..) => panic::resume_unwind(payload),
        (Arrival::Exit, ..) => Err(SwitchError::Exit(GreenletExit)),
        (Arrival::Value, Some(value), _) => Ok(value),
        (Arrival::Value, None, Some(interrupt)) => panic::resume_unwind(interrupt.payload),
        // The interrupt was taken back on its way.
        (Arrival::Value, None, None) => wait_for_parcel(thread, current, None),
    }
}

/// Switches from the current greenlet to its parent, which must be alive, and holds no handle meanwhile.
pub(super) fn switch_to_parent<T: 'static>(value: T) -> Result<T, SwitchError> {
    let thread = thread();
    let current = thread.current();
    let accepted = {
        let parent = AnyGreenlet::of_fiber(current, &thread).parent().expect("this greenlet has a parent");
        parent.accept(Parcel::Value(value), &thread)
    };
    match accepted {
        Ok(target) => wait_for_parcel(thread, current, Some(target)),
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

/// Nobody waits for the current greenlet: when it ends, the hub goes on.
pub(super) fn leave_parent() {
    let thread = thread();
    AnyGreenlet::of_fiber(thread.current(), &thread).header.set_parent(Parent::Hub);
}

/// The whole run of a plain greenlet on a fiber.
fn run_greenlet(fiber: FiberRef) -> Option<FiberRef> {
    let thread = thread();
    thread.end_orphans_here();
    let body = fiber.greenlet.borrow().as_ref().and_then(|header| header.body.borrow_mut().take());
    let next = body.expect("a greenlet was put here to run").run(fiber, &thread);
    fiber.end_run();
    next
}
impl AnyGreenlet {
    /// The last handle goes. A suspended greenlet could never be switched to again: it ends now. One that runs, or that the hub will
    /// go on with, ends when it is next suspended in a switch.
    #[cold]
    pub(super) fn end_unreachable(&self) {
        // On another OS thread, which destroys the variables of an isolated green thread, it cannot go on: it stays as it is.
        let (Some(thread), Some(fiber)) = (existing_thread(), self.header.fiber.get()) else { return };
        if self.header.kind != Kind::Plain {
            return;
        }
        let goes_on =
            || fiber == thread.current() || fiber.state.get() != State::Running || is_dropping(fiber);
        if thread.in_callback() && !goes_on() {
            return thread.end_later(AnyGreenlet::of_header(self.header.clone()));
        }
        // From now on it is a handle to itself, so that handles which come and go meanwhile do not end it once more.
        self.header.handles.set(1);
        for _ in 0..DROP_ATTEMPTS {
            if goes_on() {
                // See `leave_for_good`.
                return fiber.disturbed.set_orphaned(true);
            }
            self.throw_exit(thread, fiber);
            if self.is_dead() {
                return;
            }
            // It is suspended again in a handler, or wherever, and perhaps somebody has a new handle.
            let others = self.header.handles.get() - 1;
            if others > 0 {
                self.header.handles.set(others);
                return;
            }
        }
        fiber::report_text("a greenlet whose last handle is gone goes on in spite of GreenletExit: it leaks");
    }

    fn throw_exit(&self, thread: Local<Thread>, fiber: FiberRef) {
        self.set_dropper(&AnyGreenlet::of_fiber(thread.current(), &thread));
        fiber.arrive(Arrival::Thrown(Box::new(GreenletExit)));
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            wait_for_parcel::<Discarded>(thread, thread.current(), Some(fiber))
        }));
        if let Err(payload) = outcome {
            fiber::report("a greenlet that was dropped", &*payload);
            fiber::discard(payload);
        }
    }

    /// Makes who drops it its parent. If that is a descendant of it, the line of ancestors there passes it by from now on.
    fn set_dropper(&self, dropper: &AnyGreenlet) {
        let mut descendant = dropper.clone();
        while let Some(parent) = descendant.parent() {
            if parent == *self {
                let grandparent = self.header.parent.borrow().clone();
                descendant.header.set_parent(grandparent);
                break;
            }
            descendant = parent;
        }
        self.header.set_parent(Parent::Maker(dropper.header.clone()));
    }
}

/// The inbox of who drops a greenlet takes a value of any type, and keeps none.
struct Discarded;

/// Whether it waits for the end of one that it drops, which comes back to it.
fn is_dropping(fiber: FiberRef) -> bool {
    fiber.inbox.get().is_some_and(|inbox| inbox.value_type == TypeId::of::<Discarded>())
}

/// A switch that cannot return a value: an exit goes on as one, anything else is a panic.
#[cold]
pub(super) fn raise(error: SwitchError) -> ! {
    match error {
        SwitchError::Exit(exit) => panic::resume_unwind(Box::new(exit)),
        other => panic!("{other}"),
    }
}
