//! Handles to greenlets, and greenlet's rules for switching, throwing, finishing and dropping.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::{self, AssertUnwindSafe, Location};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::fiber::{
    Arrival, Describe, Fiber, FiberRef, Inbox, Local, State, Thread, existing_thread, thread,
};
use super::stack::SizeClass;
use super::{trace, unraisable};
use crate::error::{GreenletExit, InvalidSwitch, ParentError, StackError, SwitchError};

/// How often dropping the last handle of a parked greenlet raises in it before it gives up.
const DROP_ATTEMPTS: usize = 8;

/// A greenlet's record.
pub(super) struct Header {
    id: u64,
    place: &'static Location<'static>,
    class: SizeClass,
    kind: Kind,
    /// Where it runs: from its start to its death.
    fiber: Cell<Option<FiberRef>>,
    life: Cell<Life>,
    /// How many [`AnyGreenlet`]s there are. Its fiber and the children that it made refer to it beside those.
    handles: Cell<usize>,
    parent: RefCell<Parent>,
    /// What it will run; gone once it has started or died.
    body: RefCell<Option<Box<dyn Body>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Made by [`Greenlet::new`].
    Plain,
    /// The thread's own stack.
    Main,
    /// A green thread: the hub stands where a parent would.
    GreenThread,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    New,
    Active,
    Dead,
}

/// Where a greenlet's result goes.
#[derive(Clone)]
enum Parent {
    /// To nobody: main's, and a green thread's.
    Hub,
    /// To the one that made it. This is no handle: a greenlet that has its children on its stack would keep itself alive.
    Maker(Rc<Header>),
    /// To the one that was chosen for it.
    Chosen(AnyGreenlet),
}

impl Header {
    /// The record of something that runs without having been made as a greenlet; without a fiber, of something that did.
    fn begun(kind: Kind, fiber: Option<FiberRef>, class: SizeClass) -> Header {
        Header {
            id: next_id(),
            place: Location::caller(),
            class,
            kind,
            life: Cell::new(if fiber.is_some() { Life::Active } else { Life::Dead }),
            fiber: Cell::new(fiber),
            handles: Cell::new(0),
            parent: RefCell::new(Parent::Hub),
            body: RefCell::new(None),
        }
    }

    pub(super) fn set_dead(&self) {
        self.life.set(Life::Dead);
        self.fiber.set(None);
    }

    fn parent(&self) -> Option<AnyGreenlet> {
        match &*self.parent.borrow() {
            Parent::Hub => None,
            Parent::Maker(maker) => Some(AnyGreenlet::of_header(maker.clone())),
            Parent::Chosen(parent) => Some(parent.clone()),
        }
    }

    fn set_parent(&self, parent: Parent) {
        let former = self.parent.replace(parent);
        drop(former);
    }

    /// Passes over parents that are dead, so that generations of greenlets that each made the next make no chain.
    fn forget_dead_parents(&self) {
        while let Some(parent) = self.parent().filter(AnyGreenlet::is_dead) {
            let next = parent.header.parent.borrow().clone();
            self.set_parent(next);
        }
    }
}

impl Describe for Header {
    fn name(&self) -> Option<&str> {
        None
    }

    fn spawned_at(&self) -> &'static Location<'static> {
        self.place
    }
}

/// What an unstarted greenlet will run, its types hidden.
trait Body {
    /// The type of the value that starts it.
    fn value_type(&self) -> TypeId;
    /// Where that value, an `Option<T>`, goes.
    fn slot(&mut self) -> NonNull<()>;
    /// Runs to the end, on its own stack, and says who goes on.
    fn run(self: Box<Self>, fiber: FiberRef, thread: &Thread) -> Option<FiberRef>;
}

struct TypedBody<T, F> {
    first: Option<T>,
    run: F,
}

impl<T: 'static, F: FnOnce(T) -> T + 'static> Body for TypedBody<T, F> {
    fn value_type(&self) -> TypeId {
        TypeId::of::<T>()
    }

    fn slot(&mut self) -> NonNull<()> {
        NonNull::from(&mut self.first).cast()
    }

    fn run(self: Box<Self>, fiber: FiberRef, thread: &Thread) -> Option<FiberRef> {
        let TypedBody { first, run } = *self;
        let first = first.expect("the first switch brought a value");
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| run(first)));
        let parcel = match outcome {
            Ok(value) => Parcel::Value(value),
            Err(payload) => Parcel::ended_by(payload),
        };
        // Only now a handle of its own: while it runs, the handles that count are those of others.
        let greenlet = AnyGreenlet::of_fiber(fiber, thread);
        greenlet.header.set_dead();
        let parent = greenlet.parent();
        drop(greenlet);
        deliver_result(parent, parcel, thread)
    }
}

/// What one greenlet hands to another.
enum Parcel<T> {
    Value(T),
    Exit,
    Thrown(Box<dyn Any + Send>),
}

impl<T> Parcel<T> {
    /// The rule of greenlet: GreenletExit ends a greenlet quietly, and its parent gets it as a value.
    fn ended_by(payload: Box<dyn Any + Send>) -> Parcel<T> {
        if payload.is::<GreenletExit>() { Parcel::Exit } else { Parcel::Thrown(payload) }
    }
}

/// A parcel that could not be put down, and why.
enum Refusal<T> {
    WrongType(T),
    Stack(StackError),
}

impl<T: 'static> Refusal<T> {
    #[cold]
    fn into_error(self) -> SwitchError {
        match self {
            Refusal::WrongType(value) => SwitchError::WrongType(Box::new(value)),
            Refusal::Stack(error) => SwitchError::Stack(error),
        }
    }
}

/// Hands the result of a finished greenlet to its nearest live ancestor, and says where that one runs.
#[cold]
fn deliver_result<T: 'static>(
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
                    parcel = Parcel::Thrown(Box::new(refusal.into_error().to_string()));
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
    if let Parcel::Thrown(payload) = parcel {
        unraisable::report("a greenlet without a parent", &*payload);
    }
    None
}

/// A handle to a greenlet of any type.
///
/// Handles are counted: dropping the last one to a greenlet that is suspended in a switch raises [`GreenletExit`] in it, so
/// that its destructors run (greenlet's rule for collected greenlets); one that runs, or waits in the hub, goes on. What a
/// child knows of the greenlet that made it is no handle, a parent set by [`set_parent`](AnyGreenlet::set_parent) is one. A
/// suspended greenlet that has a handle to itself on its stack stays alive by that: get `current().parent()` in one
/// statement, and switch to it in the next.
///
/// A greenlet and its handles belong to one OS thread:
///
/// ```compile_fail
/// let greenlet = greenloop::greenlet::Greenlet::new(|value: u32| value);
/// std::thread::spawn(move || greenlet.switch(1)); // a `Greenlet` is not `Send`
/// ```
pub struct AnyGreenlet {
    /// # Invariant
    /// Counted in the record's `handles`.
    header: Rc<Header>,
}

impl AnyGreenlet {
    pub(super) fn of_header(header: Rc<Header>) -> AnyGreenlet {
        header.handles.set(header.handles.get() + 1);
        AnyGreenlet { header }
    }

    pub(super) fn of_fiber(fiber: FiberRef, thread: &Thread) -> AnyGreenlet {
        if let Some(header) = &*fiber.greenlet.borrow() {
            return AnyGreenlet::of_header(header.clone());
        }
        let kind = if fiber == thread.main() { Kind::Main } else { Kind::GreenThread };
        let header = Rc::new(Header::begun(kind, Some(fiber), fiber.class()));
        *fiber.greenlet.borrow_mut() = Some(header.clone());
        AnyGreenlet::of_header(header)
    }

    /// A green thread that has ended before anybody asked for its handle.
    pub(super) fn ended() -> AnyGreenlet {
        AnyGreenlet::of_header(Rc::new(Header::begun(Kind::GreenThread, None, SizeClass::default_now())))
    }

    /// A number that no other greenlet of the process has.
    pub fn id(&self) -> u64 {
        self.header.id
    }

    /// Whether it has finished: returned, or ended by what was raised in it.
    pub fn is_dead(&self) -> bool {
        self.header.life.get() == Life::Dead
    }

    /// Whether it has been switched to for the first time. Stays true after its end.
    pub fn is_started(&self) -> bool {
        self.header.life.get() != Life::New
    }

    /// Whether it has started and not finished: greenlet's `bool(g)`.
    ///
    /// ```
    /// use greenloop::greenlet::Greenlet;
    ///
    /// let greenlet = Greenlet::new(|value: u32| value);
    /// assert_eq!((greenlet.is_active(), greenlet.is_dead()), (false, false));
    /// greenlet.switch(1).unwrap();
    /// assert_eq!((greenlet.is_active(), greenlet.is_dead()), (false, true));
    /// ```
    pub fn is_active(&self) -> bool {
        self.header.life.get() == Life::Active
    }

    /// Whether it is the thread's own stack.
    pub fn is_main(&self) -> bool {
        self.header.kind == Kind::Main
    }

    /// Whether it is the one that runs.
    pub fn is_current(&self) -> bool {
        self.header.fiber.get() == Some(thread().current())
    }

    /// Its parent: where its result goes. `None` for main and for green threads, whose place is the hub.
    pub fn parent(&self) -> Option<AnyGreenlet> {
        self.header.parent()
    }

    /// Makes `parent` the one that gets its result, at any time until it is dead.
    ///
    /// # Errors
    ///
    /// [`ParentError::Cycle`] if it is itself an ancestor of `parent`, [`ParentError::Main`] for the main greenlet. The
    /// parent stays what it was.
    ///
    /// ```
    /// use greenloop::greenlet::{Greenlet, current};
    ///
    /// let greenlet = Greenlet::new(|value: u32| value);
    /// assert!(greenlet.set_parent(&greenlet).is_err());
    /// assert!(greenlet.parent() == Some(current()));
    /// ```
    pub fn set_parent(&self, parent: &AnyGreenlet) -> Result<(), ParentError> {
        self.check_parent(parent)?;
        self.header.set_parent(Parent::Chosen(parent.clone()));
        Ok(())
    }

    /// Whether it is suspended in a switch by hand.
    pub(super) fn is_switched_out(&self) -> bool {
        self.header.fiber.get().is_some_and(|fiber| fiber.is_switched_out())
    }

    /// Makes `parent` its parent as if that had made it.
    pub(super) fn set_maker(&self, parent: &AnyGreenlet) -> Result<(), ParentError> {
        self.check_parent(parent)?;
        self.header.set_parent(Parent::Maker(parent.header.clone()));
        Ok(())
    }

    fn check_parent(&self, parent: &AnyGreenlet) -> Result<(), ParentError> {
        if self.header.kind != Kind::Plain {
            return Err(ParentError::Main);
        }
        let mut ancestor = Some(parent.clone());
        while let Some(candidate) = ancestor {
            if candidate == *self {
                return Err(ParentError::Cycle);
            }
            ancestor = candidate.parent();
        }
        Ok(())
    }

    /// The typed handle, if it is a `Greenlet<T>`. The main greenlet and green threads take values of any type.
    pub fn downcast<T: 'static>(&self) -> Option<Greenlet<T>> {
        let same = match (&*self.header.body.borrow(), self.header.fiber.get()) {
            (Some(body), _) => body.value_type() == TypeId::of::<T>(),
            (None, Some(fiber)) => {
                fiber.inbox.get().is_some_and(|inbox| inbox.value_type == TypeId::of::<T>())
            }
            (None, None) => false,
        };
        same.then(|| Greenlet { any: self.clone(), values: PhantomData })
    }

    /// Switches to it with `value`, and waits until somebody switches back: see [`Greenlet::switch`].
    ///
    /// The value that comes back has the type of the one sent.
    ///
    /// # Errors
    ///
    /// As [`Greenlet::switch`]; [`SwitchError::WrongType`] if it waits for a value of another type.
    pub fn switch<T: 'static>(&self, value: T) -> Result<T, SwitchError> {
        self.send(Parcel::Value(value))
    }

    /// Raises `payload` in it: see [`Greenlet::throw`].
    ///
    /// # Errors
    ///
    /// As [`Greenlet::throw`].
    pub fn throw<T: 'static>(&self, payload: Box<dyn Any + Send>) -> Result<T, SwitchError> {
        if self.header.life.get() == Life::New {
            self.end_unstarted();
        }
        self.send(Parcel::Thrown(payload))
    }

    /// An unstarted one dies without having run.
    #[cold]
    fn end_unstarted(&self) {
        self.header.set_dead();
        let body = self.header.body.borrow_mut().take();
        drop(body);
    }

    /// The way of a parcel: to the nearest live one from here upwards, and then wait for what comes back.
    #[inline]
    fn send<T: 'static>(&self, parcel: Parcel<T>) -> Result<T, SwitchError> {
        let thread = thread();
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
                Some(inbox) if inbox.value_type == TypeId::of::<Discarded>() => {
                    drop(value);
                    disturb(&fiber, Arrival::Exit);
                }
                Some(_) => return Err(Refusal::WrongType(value)),
                None => {
                    drop(value);
                    disturb(&fiber, Arrival::Thrown(Box::new(InvalidSwitch)));
                }
            },
            Parcel::Exit => disturb(&fiber, Arrival::Exit),
            Parcel::Thrown(payload) => disturb(&fiber, Arrival::Thrown(payload)),
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
        let fiber = match thread.take_fiber(self.header.class, run_greenlet) {
            Ok(fiber) => fiber,
            Err(error) => return Err(Refusal::Stack(error)),
        };
        // SAFETY: the type was compared; the body owns the `Option<T>` behind the pointer.
        unsafe { body.slot().cast::<Option<T>>().write(Some(value)) };
        *fiber.greenlet.borrow_mut() = Some(self.header.clone());
        // SAFETY: the fiber holds the header in `greenlet` until `end_run`, which ends the description too.
        unsafe { fiber.describe(Some(&*self.header)) };
        self.header.fiber.set(Some(fiber));
        self.header.life.set(Life::Active);
        Ok(fiber)
    }
}

/// Something to be looked at when the fiber goes on.
#[cold]
fn disturb(fiber: &Fiber, arrival: Arrival) {
    fiber.arrival.set(arrival);
    fiber.disturbed.set(true);
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

/// Goes to `target`, or to whatever the hub runs next, and comes back with what was sent to the current one.
#[inline]
fn wait_for_parcel<T: 'static>(
    thread: Local<Thread>,
    current: FiberRef,
    target: Option<FiberRef>,
) -> Result<T, SwitchError> {
    let mut slot: Option<T> = None;
    // The slot is written through this pointer by whoever switches back, and read below.
    current.inbox.set(Some(Inbox { value_type: TypeId::of::<T>(), slot: NonNull::from(&mut slot).cast() }));
    thread.leave(target);
    current.inbox.set(None);
    if current.disturbed.get() {
        return woken_by_force(thread, current, slot);
    }
    Ok(slot.take().expect("control came back with a value"))
}

/// Control came back with more than a value, or for an interrupt of the hub.
#[cold]
fn woken_by_force<T>(thread: Local<Thread>, current: FiberRef, value: Option<T>) -> Result<T, SwitchError> {
    if current.state.get() == State::Ready {
        // An interrupt had put it into the ready queue, and control came another way first.
        if let Some(withdraw) = thread.withdraw.get() {
            withdraw(current);
        }
        current.state.set(State::Running);
    }
    let arrival = current.take_arrival();
    let interrupt = match (&arrival, &value) {
        (Arrival::Value, None) => Some(current.interrupts.borrow_mut().remove(0)),
        _ => None,
    };
    current.disturbed.set(!current.interrupts.borrow().is_empty());
    match (arrival, value, interrupt) {
        (Arrival::Thrown(payload), ..) => panic::resume_unwind(payload),
        (Arrival::Exit, ..) => Err(SwitchError::Exit(GreenletExit)),
        (Arrival::Value, Some(value), _) => Ok(value),
        (Arrival::Value, None, interrupt) => {
            panic::resume_unwind(interrupt.expect("control came back for a reason").payload)
        }
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
    let body = fiber.greenlet.borrow().as_ref().and_then(|header| header.body.borrow_mut().take());
    let next = body.expect("a greenlet was put here to run").run(fiber, &thread());
    fiber.end_run();
    next
}

impl Clone for AnyGreenlet {
    fn clone(&self) -> AnyGreenlet {
        AnyGreenlet::of_header(self.header.clone())
    }
}

impl PartialEq for AnyGreenlet {
    fn eq(&self, other: &AnyGreenlet) -> bool {
        Rc::ptr_eq(&self.header, &other.header)
    }
}

impl Eq for AnyGreenlet {}

/// As greenlet prints them: `pending`, or `current active started main`, `suspended active started`, or `dead`.
impl fmt::Debug for AnyGreenlet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.header.life.get() {
            Life::New => "pending",
            Life::Dead => "dead",
            Life::Active if self.is_current() => "current active started",
            Life::Active => "suspended active started",
        };
        let main = if self.is_main() { " main" } else { "" };
        write!(formatter, "<greenlet {} {state}{main}>", self.header.id)
    }
}

impl Drop for AnyGreenlet {
    #[inline]
    fn drop(&mut self) {
        let left = self.header.handles.get() - 1;
        self.header.handles.set(left);
        if left == 0 && self.header.life.get() == Life::Active {
            self.end_unreachable();
        }
    }
}

impl AnyGreenlet {
    /// The last handle goes. A suspended greenlet could never be switched to again: it ends now.
    #[cold]
    fn end_unreachable(&self) {
        // In the last of the thread's destructors there are no greenlets any more.
        let (Some(thread), Some(fiber)) = (existing_thread(), self.header.fiber.get()) else { return };
        if self.header.kind != Kind::Plain {
            return;
        }
        // From now on it is a handle to itself, so that handles which come and go meanwhile do not end it once more.
        self.header.handles.set(1);
        for _ in 0..DROP_ATTEMPTS {
            if fiber == thread.current() || fiber.state.get() != State::Running {
                return; // It runs, or the hub will go on with it.
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
        unraisable::report_text(
            "a greenlet whose last handle is gone goes on in spite of GreenletExit: it leaks",
        );
    }

    fn throw_exit(&self, thread: Local<Thread>, fiber: FiberRef) {
        self.set_dropper(&AnyGreenlet::of_fiber(thread.current(), &thread));
        disturb(&fiber, Arrival::Thrown(Box::new(GreenletExit)));
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            wait_for_parcel::<Discarded>(thread, thread.current(), Some(fiber))
        }));
        if let Err(payload) = outcome {
            unraisable::report("a greenlet that was dropped", &*payload);
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

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only uniqueness counts.
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A coroutine with a stack of its own, for explicit switching: greenlet's `greenlet`.
///
/// `T` is the type of the values that go in and out. A greenlet starts when it is first switched to, on a stack from the
/// pool; it may switch to any other of its thread, at any depth of calls, and may block on greenloop's IO, sleeps and
/// locks like a green thread: then it parks, and the hub goes on. When it ends, its result goes to its parent (the one
/// that made it, unless [`set_parent`](AnyGreenlet::set_parent) said otherwise), which goes on.
///
/// # Examples
///
/// ```
/// use greenloop::greenlet::{Greenlet, main};
///
/// let doubler = Greenlet::new(|mut value: u32| {
///     for _ in 0..2 {
///         value = main().switch(value * 2).unwrap();
///     }
///     value + 1000
/// });
/// assert_eq!(doubler.switch(1).unwrap(), 2);
/// assert_eq!(doubler.switch(10).unwrap(), 20);
/// assert_eq!(doubler.switch(5).unwrap(), 1005);
/// assert!(doubler.is_dead());
/// ```
pub struct Greenlet<T: 'static> {
    any: AnyGreenlet,
    values: PhantomData<fn(T) -> T>,
}

impl<T: 'static> Greenlet<T> {
    /// Makes a greenlet that will run `run` with the value of the first switch. Its parent is the current greenlet.
    ///
    /// Nothing runs yet, and it takes no stack before it does.
    #[track_caller]
    pub fn new(run: impl FnOnce(T) -> T + 'static) -> Greenlet<T> {
        Greenlet::with_class(SizeClass::default_now(), run, Location::caller())
    }

    /// Like [`new`](Greenlet::new), on a stack of at least `bytes` usable bytes.
    ///
    /// # Errors
    ///
    /// [`StackError::TooLarge`](crate::error::StackError::TooLarge).
    #[track_caller]
    pub fn with_stack_size(
        bytes: usize,
        run: impl FnOnce(T) -> T + 'static,
    ) -> Result<Greenlet<T>, crate::error::StackError> {
        Ok(Greenlet::with_class(SizeClass::fitting(bytes)?, run, Location::caller()))
    }

    fn with_class(
        class: SizeClass,
        run: impl FnOnce(T) -> T + 'static,
        place: &'static Location<'static>,
    ) -> Greenlet<T> {
        let thread = thread();
        let maker = AnyGreenlet::of_fiber(thread.current(), &thread);
        maker.header.forget_dead_parents();
        let header = Rc::new(Header {
            id: next_id(),
            place,
            class,
            kind: Kind::Plain,
            fiber: Cell::new(None),
            life: Cell::new(Life::New),
            handles: Cell::new(0),
            parent: RefCell::new(Parent::Maker(maker.header.clone())),
            body: RefCell::new(Some(Box::new(TypedBody { first: None, run }))),
        });
        Greenlet { any: AnyGreenlet::of_header(header), values: PhantomData }
    }

    /// Switches to it with `value`. The current greenlet is suspended until somebody switches to it, or until a greenlet
    /// whose heir it is ends: that value is returned.
    ///
    /// A dead greenlet passes the value on to its nearest live ancestor; if that is the current one, it comes back at
    /// once, as it does for a switch to itself. A greenlet that waits in the hub (on IO, a lock, a timer) cannot be
    /// switched to by hand: [`InvalidSwitch`] is raised in it. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends this wait by unwinding.
    ///
    /// # Errors
    ///
    /// - [`SwitchError::Exit`] is how [`GreenletExit`] arrives as a value: what ended was killed.
    /// - [`SwitchError::Stack`] if it has not started and there is no stack. It stays startable.
    /// - [`SwitchError::WrongType`] if it waits in a switch for another type.
    ///
    /// # Panics
    ///
    /// Unwinds with what was thrown to the current greenlet, or with what ended a greenlet whose heir it is.
    #[inline]
    pub fn switch(&self, value: T) -> Result<T, SwitchError> {
        self.any.send(Parcel::Value(value))
    }

    /// Raises `payload` in it, at the switch in which it is suspended, and waits as [`switch`](Greenlet::switch) does.
    ///
    /// An unstarted greenlet dies without running. A dead one passes it on to its nearest live ancestor.
    ///
    /// # Errors
    ///
    /// As [`switch`](Greenlet::switch): `Err(Exit)` if `payload` was a [`GreenletExit`] and nobody caught it.
    ///
    /// # Panics
    ///
    /// As [`switch`](Greenlet::switch): with `payload` itself if it comes back uncaught.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::error::{GreenletExit, SwitchError};
    /// use greenloop::greenlet::{Greenlet, main};
    ///
    /// let greenlet = Greenlet::new(|value: u32| main().switch(value).unwrap());
    /// greenlet.switch(1).unwrap();
    /// let ended = greenlet.throw(Box::new(GreenletExit));
    /// assert!(matches!(ended, Err(SwitchError::Exit(_))));
    /// assert!(greenlet.is_dead());
    /// ```
    pub fn throw(&self, payload: Box<dyn Any + Send>) -> Result<T, SwitchError> {
        self.any.throw(payload)
    }
}

impl<T: 'static> Clone for Greenlet<T> {
    fn clone(&self) -> Greenlet<T> {
        Greenlet { any: self.any.clone(), values: PhantomData }
    }
}

impl<T: 'static> Deref for Greenlet<T> {
    type Target = AnyGreenlet;
    fn deref(&self) -> &AnyGreenlet {
        &self.any
    }
}

impl<T: 'static> fmt::Debug for Greenlet<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.any.fmt(formatter)
    }
}

/// A switch that cannot return a value: an exit goes on as one, anything else is a panic.
#[cold]
pub(super) fn raise(error: SwitchError) -> ! {
    match error {
        SwitchError::Exit(exit) => panic::resume_unwind(Box::new(exit)),
        other => panic!("{other}"),
    }
}
