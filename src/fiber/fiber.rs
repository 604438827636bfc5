//! Stacks that run, and what goes with each of them.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell, UnsafeCell};
use std::fmt;
use std::mem;
use std::ops::Deref;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::Arc;

use corosensei::Yielder;

use super::callback::{CALLBACK, callback, guarded};
#[cfg(feature = "monkey")]
use super::identity::{self, Identity};
#[cfg(thread_sanitizer)]
use super::shadow::Swap;
use super::stack::{Extent, SizeClass, Stack};
use super::thread::thread;
use super::uncaught::{catch, discard, report_text};
use crate::greenlet::any::AnyGreenlet;
use crate::greenlet::record::Record;
use crate::sys::memory;
use crate::sys::section::Section;

/// Bytes that a suspended fiber needs below `live`'s own frame.
const SUSPENDED_FRAMES: usize = if cfg!(debug_assertions) { 2048 } else { 512 };

/// Cache lines that a fiber touches first when it goes on: what it saved, just below the place where `leave` took its depth,
/// and its frame above that.
const LINES_AHEAD: usize = 3;

/// How often destructors are run that make anew what they belong to: as often as std does for thread-locals.
const ROUNDS_OF_DESTRUCTORS: usize = 5;

/// A reference to something that lives as long as its OS thread runs greenlets: a fiber, the thread's own record, its hub.
///
/// It is neither `Send` nor `Sync`, so it cannot outlive the thread in another one.
pub(crate) struct Local<T>(NonNull<T>);

impl<T> Local<T> {
    /// # Safety
    ///
    /// `target` must be valid for shared access until the thread's last use of the reference.
    pub(crate) unsafe fn new(target: NonNull<T>) -> Local<T> {
        Local(target)
    }

    #[inline]
    pub(crate) fn as_ptr(self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Clone for Local<T> {
    #[inline]
    fn clone(&self) -> Local<T> {
        *self
    }
}

impl<T> Copy for Local<T> {}

impl<T> PartialEq for Local<T> {
    #[inline]
    fn eq(&self, other: &Local<T>) -> bool {
        self.0 == other.0
    }
}

impl<T> fmt::Debug for Local<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Local({:p})", self.0)
    }
}

impl<T> Deref for Local<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: who made the reference vouched that the target outlives all its uses, and it is only shared.
        unsafe { self.0.as_ref() }
    }
}

/// A fiber, from anywhere in its thread.
pub(crate) type FiberRef = Local<Fiber>;

/// What a fiber does when it is resumed to begin something: runs it to its end, and says which fiber goes on after that;
/// `None` leaves the choice to the hub.
pub(crate) type Entry = fn(FiberRef) -> Option<FiberRef>;

pub(super) type Coroutine = corosensei::Coroutine<(), (), (), Stack>;
#[cfg(not(thread_sanitizer))]
pub(super) type Swap = Coroutine;

/// Where a fiber stands between the hub and its own stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Nothing runs on it.
    Idle,
    /// It runs, or is suspended in an explicit switch.
    Running,
    /// It waits for a wake.
    Parked,
    /// It was woken, or has yielded, and stands in the ready queue.
    Ready,
}

/// What came with the control when it came back to a fiber.
#[derive(Default)]
pub(crate) enum Arrival {
    /// Nothing but, in a switch, the value in the inbox.
    #[default]
    Value,
    /// The greenlet whose result was to come has exited.
    Exit,
    /// Something to raise.
    Thrown(Box<dyn Any + Send>),
}

/// Where the value goes that is sent to a fiber suspended in a switch: an `Option<T>` in that switch's frame.
#[derive(Clone, Copy)]
pub(crate) struct Inbox {
    pub(crate) value_type: TypeId,
    pub(crate) slot: NonNull<()>,
}

/// Whether a fiber has to look about where it leaves its stack, and where it comes back to it.
///
/// One byte for all reasons, so that a switch asks once.
#[derive(Default)]
pub(crate) struct Disturbance(Cell<u8>);

impl Disturbance {
    /// There is an interrupt, or an arrival or a value was brought by hand.
    const BROUGHT: u8 = 1;
    /// A [callback](super::callback()) runs in its place: it must not leave.
    const HELD: u8 = 2;
    /// The last handle to the greenlet that runs here has gone: a switch leaves it for good. It may wait in the hub.
    const ORPHANED: u8 = 4;

    /// Whether a wait has to look about.
    #[inline]
    pub(crate) fn get(&self) -> bool {
        self.0.get() & (Disturbance::BROUGHT | Disturbance::HELD) != 0
    }

    /// Whether a switch has to look about before it leaves.
    #[inline]
    pub(crate) fn concerns_switches(&self) -> bool {
        self.0.get() != 0
    }

    pub(crate) fn is_orphaned(&self) -> bool {
        self.0.get() & Disturbance::ORPHANED != 0
    }

    pub(crate) fn set_orphaned(&self, orphaned: bool) {
        let others = self.0.get() & !Disturbance::ORPHANED;
        self.0.set(others | if orphaned { Disturbance::ORPHANED } else { 0 });
    }

    /// Says whether something was brought.
    #[inline]
    pub(crate) fn set(&self, brought: bool) {
        self.0.set(self.0.get() & !Disturbance::BROUGHT | u8::from(brought));
    }

    /// Whether something has come, and not only a callback holds.
    #[inline]
    fn is_brought(&self) -> bool {
        self.0.get() & Disturbance::BROUGHT != 0
    }

    pub(crate) fn hold(&self) {
        self.0.set(self.0.get() | Disturbance::HELD);
    }

    pub(crate) fn release(&self) {
        self.0.set(self.0.get() & !Disturbance::HELD);
    }
}

/// Who runs on a fiber, for reports.
pub(crate) trait Describe {
    /// The OS thread ends, and it will never go on: its stack leaks.
    fn leak(&self) {}
    /// The number of a green thread.
    fn id(&self) -> Option<u64> {
        None
    }
    /// The name given to it.
    fn name(&self) -> Option<&Arc<str>>;
    /// Where it was made.
    fn spawned_at(&self) -> &'static Location<'static>;
}

/// Something that raises at the next park: a kill, or a time limit.
pub(crate) struct Interrupt {
    /// What to unwind with.
    pub(crate) payload: Box<dyn Any + Send>,
    /// Which time limit it comes from, so that its end can take it back; 0 for a kill.
    pub(crate) timeout: u64,
    /// A call in which nothing may unwind has failed for it.
    #[cfg(feature = "monkey")]
    pub(crate) told: bool,
}

impl Interrupt {
    /// An interrupt that raises `payload`, and comes from the time limit of this number, or with 0 from a kill.
    pub(crate) fn new(payload: Box<dyn Any + Send>, timeout: u64) -> Interrupt {
        Interrupt {
            payload,
            timeout,
            #[cfg(feature = "monkey")]
            told: false,
        }
    }
}

/// What few fibers ever have.
#[derive(Default)]
pub(super) struct Extras {
    /// What came with the control.
    arrival: Arrival,
    /// What is to be raised, the oldest first.
    interrupts: Vec<Interrupt>,
    /// What runs here keeps its own values here: greenlet-local storage.
    locals: Option<Box<dyn Any>>,
}

/// A stack with a place to resume, and what goes with it while something runs there. The thread's own stack is one too.
///
/// What each switch touches comes first and fills one cache line: with many thousands of fibers in turn, each further line
/// is a further miss.
#[repr(C, align(64))]
pub(crate) struct Fiber {
    /// `None` for the main fiber, and for one whose stack was given back.
    /// # Invariant
    /// Only the relay, which runs on the thread's own stack, touches it, and it does so while the fiber is suspended.
    pub(super) swap: UnsafeCell<Option<Swap>>,
    /// The way back to the relay; valid while the fiber has a stack and has been resumed once.
    pub(super) yielder: Cell<*const Yielder<(), ()>>,
    /// The wait that may be woken; 0 when there is none. Never the same number twice.
    pub(crate) generation: Cell<u64>,
    pub(crate) state: Cell<State>,
    /// A wake came for the wait before it parked.
    pub(crate) woken: Cell<bool>,
    /// Looked at before and after every park.
    pub(crate) disturbed: Disturbance,
    /// An interrupt was raised in it, or it parked while it unwound, and it has not parked since in the ordinary way.
    pub(crate) unwinding: Cell<bool>,
    /// How far below `yielder` it has left its stack, about.
    pub(super) depth: Cell<u32>,
    /// What it waits on, for reports: words, and a number that belongs to them.
    pub(crate) waits_on: Cell<(&'static str, u64)>,
    pub(crate) inbox: Cell<Option<Inbox>>,
    /// The greenlet that runs here, once somebody asked.
    pub(crate) greenlet: RefCell<Option<Rc<Record>>>,
    /// Whose record describes what runs here.
    /// # Invariant
    /// Valid while set: who sets it keeps the target alive until it is unset.
    description: Cell<Option<NonNull<dyn Describe>>>,
    /// Made when first needed, and kept then. Never borrowed while something of others is dropped.
    pub(super) extras: RefCell<Option<Box<Extras>>>,
    /// How many things have run here: tells a time limit of a finished one from the current one's.
    pub(crate) runs: Cell<u64>,
    /// Its stack's bounds.
    pub(super) extent: Cell<Option<Extent>>,
    /// How many bytes below the base its frames reach while it is idle.
    resting: Cell<u32>,
    index: u32,
    /// While it is suspended: what std takes it for. While it runs: the same of the OS thread.
    #[cfg(feature = "monkey")]
    pub(super) identity: Cell<Identity>,
    /// Whether it runs with an identity of its own.
    #[cfg(feature = "monkey")]
    pub(super) has_identity: Cell<bool>,
    /// Where its own thread-local variables are; 0 if it runs with those of the OS thread.
    #[cfg(feature = "monkey")]
    pub(crate) variables: Cell<usize>,
    /// What to run when a stack without work is given some.
    pub(super) entry: Cell<Entry>,
}

/// What is left of the cache line by corosensei's part, which takes 40 bytes (and more with its sanitizer support).
const REST_OF_LINE: usize = 24;
const _: () = assert!(
    mem::offset_of!(Fiber, waits_on) - size_of::<Option<Swap>>() <= REST_OF_LINE,
    "what each switch touches is one cache line"
);
const _: () = assert!(
    size_of::<Fiber>() <= 192
        || size_of::<Option<Swap>>() > 40
        || cfg!(any(feature = "monkey", not(target_pointer_width = "64"))),
    "each parked green thread takes one"
);

impl Fiber {
    pub(super) fn new(index: u32) -> Fiber {
        Fiber {
            swap: UnsafeCell::new(None),
            yielder: Cell::new(ptr::null()),
            entry: Cell::new(|_| None),
            state: Cell::new(State::Idle),
            generation: Cell::new(0),
            woken: Cell::new(false),
            disturbed: Disturbance::default(),
            unwinding: Cell::new(false),
            waits_on: Cell::new(("", 0)),
            inbox: Cell::new(None),
            greenlet: RefCell::new(None),
            description: Cell::new(None),
            extras: RefCell::new(None),
            runs: Cell::new(1),
            extent: Cell::new(None),
            resting: Cell::new(0),
            index,
            depth: Cell::new(0),
            #[cfg(feature = "monkey")]
            identity: Cell::default(),
            #[cfg(feature = "monkey")]
            has_identity: Cell::new(false),
            #[cfg(feature = "monkey")]
            variables: Cell::new(0),
        }
    }

    /// Brings what [`prefetch_stack`](Fiber::prefetch_stack) reads near.
    #[inline]
    pub(crate) fn prefetch_record(&self) {
        memory::prefetch((&raw const *self).addr());
    }

    /// Brings the parts of its stack near that the next switch to it touches.
    #[inline]
    pub(crate) fn prefetch_stack(&self) {
        let top = self.yielder.get().addr();
        memory::prefetch(top);
        let left_at = top.wrapping_sub(self.depth.get() as usize + 64);
        for line in 0..LINES_AHEAD {
            memory::prefetch(left_at.wrapping_add(64 * line));
        }
    }

    /// Its number in its thread.
    #[inline]
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    #[inline]
    pub(crate) fn class(&self) -> SizeClass {
        self.extent.get().map_or_else(SizeClass::default_now, Extent::class)
    }

    /// Says who runs here until the next call.
    ///
    /// # Safety
    ///
    /// `description` must stay valid until this is called again.
    pub(crate) unsafe fn describe(&self, description: Option<&(dyn Describe + 'static)>) {
        self.description.set(description.map(NonNull::from));
    }

    /// Who runs here.
    pub(crate) fn description(&self) -> Option<&dyn Describe> {
        // SAFETY: valid while set, by the field's invariant.
        self.description.get().map(|description| unsafe { &*description.as_ptr() })
    }

    /// Has `payload` raised when the fiber goes on.
    pub(crate) fn throw(&self, payload: Box<dyn Any + Send>) {
        self.arrive(Arrival::Thrown(payload));
    }

    /// Something to be looked at when the fiber goes on.
    #[cold]
    pub(crate) fn arrive(&self, arrival: Arrival) {
        let former = self.with_extras(|extras| mem::replace(&mut extras.arrival, arrival));
        self.disturbed.set(true);
        if let Arrival::Thrown(payload) = former {
            discard(payload);
        }
    }

    /// Whether something to raise came with the control.
    pub(crate) fn is_thrown_at(&self) -> bool {
        self.extras.borrow().as_ref().is_some_and(|extras| matches!(extras.arrival, Arrival::Thrown(_)))
    }

    /// Takes what came with the control.
    pub(crate) fn take_arrival(&self) -> Arrival {
        self.extras.borrow_mut().as_mut().map(|extras| mem::take(&mut extras.arrival)).unwrap_or_default()
    }

    /// Has something raised at the next park.
    pub(crate) fn push_interrupt(&self, interrupt: Interrupt) {
        self.with_interrupts(|interrupts| interrupts.push(interrupt));
        self.disturbed.set(true);
    }

    /// Takes the oldest interrupt. [`update_disturbed`](Fiber::update_disturbed) is due afterwards.
    pub(crate) fn take_interrupt(&self) -> Option<Interrupt> {
        self.with_interrupts(|interrupts| (!interrupts.is_empty()).then(|| interrupts.remove(0)))
    }

    /// What arrived has been looked at: the interrupts are what is left.
    pub(crate) fn update_disturbed(&self) {
        self.disturbed.set(self.with_interrupts(|interrupts| !interrupts.is_empty()));
    }

    /// Looks at what is to be raised, the oldest first; `function` runs nothing of others.
    pub(crate) fn with_interrupts<R>(&self, function: impl FnOnce(&mut Vec<Interrupt>) -> R) -> R {
        self.with_extras(|extras| function(&mut extras.interrupts))
    }

    /// Looks at what runs here keeps for itself; `function` runs nothing of others.
    pub(crate) fn with_locals<R>(&self, function: impl FnOnce(&mut Option<Box<dyn Any>>) -> R) -> R {
        self.with_extras(|extras| function(&mut extras.locals))
    }

    fn with_extras<R>(&self, function: impl FnOnce(&mut Extras) -> R) -> R {
        let _section = Section::open();
        function(self.extras.borrow_mut().get_or_insert_default())
    }

    /// Ends what ran here: frees its locals, forgets its interrupts.
    #[inline]
    pub(crate) fn end_run(&self) {
        self.description.set(None);
        self.runs.set(self.runs.get() + 1);
        self.unwinding.set(false);
        if self.has_left() {
            self.discard_left();
        }
        #[cfg(feature = "monkey")]
        if self.has_identity.get() {
            identity::end();
        }
    }

    /// Whether there is something that what runs here next must not find.
    #[inline]
    fn has_left(&self) -> bool {
        self.disturbed.is_brought() || self.greenlet.borrow().is_some() || self.has_locals()
    }

    #[inline]
    fn has_locals(&self) -> bool {
        self.extras.borrow().as_ref().is_some_and(|extras| extras.locals.is_some())
    }

    /// Code of others runs here, destructors and hooks, which may use a local or ask who runs: until nothing is left of that either.
    #[cold]
    fn discard_left(&self) {
        for _ in 0..ROUNDS_OF_DESTRUCTORS {
            if self.has_locals() {
                // The result is on its way: the destructors may not wait.
                guarded(CALLBACK, || self.drop_locals());
            }
            if self.disturbed.is_brought() {
                self.discard_disturbance();
            }
            self.end_greenlet();
            if !self.has_left() {
                return;
            }
        }
        if let Some(greenlet) = self.greenlet.take() {
            greenlet.set_dead();
            mem::forget(greenlet);
        }
        mem::forget(self.with_locals(Option::take));
        report_text("greenlet-locals whose destructors make them anew, without end: they leak");
    }

    #[cold]
    fn discard_disturbance(&self) {
        if let Arrival::Thrown(payload) = self.take_arrival() {
            discard(payload);
        }
        let interrupts = self.with_interrupts(mem::take);
        self.disturbed.set(false);
        interrupts.into_iter().for_each(|interrupt| discard(interrupt.payload));
    }

    #[cold]
    fn end_greenlet(&self) {
        let Some(greenlet) = self.greenlet.borrow_mut().take() else { return };
        greenlet.set_dead();
        self.disturbed.set_orphaned(false);
        // It may own the last handles to others, and bodies that never run.
        callback("a greenlet's end", || {
            let thread = thread();
            if thread.tracing.get() {
                thread.departed.replace(Some(AnyGreenlet::of_header(greenlet)));
            }
        });
    }

    /// Frees what runs here keeps for itself, in an ordinary place. What the destructors raise is reported.
    #[inline]
    pub(crate) fn free_locals(&self) {
        if self.extras.borrow().is_some() {
            self.drop_locals();
        }
    }

    #[cold]
    fn drop_locals(&self) {
        // A destructor may use a local again, which makes a fresh one.
        for _ in 0..ROUNDS_OF_DESTRUCTORS {
            let Some(locals) = self.with_locals(Option::take) else { return };
            catch("a greenlet-local's destructor", || drop(locals));
        }
    }

    /// Whether it is suspended in an explicit switch.
    pub(crate) fn is_switched_out(&self) -> bool {
        self.inbox.get().is_some()
    }

    /// Keeps how far an idle fiber's frames reach, given an address in the lowest of its own.
    pub(super) fn measure_depth(&self, address: usize) {
        if let Some(extent) = self.extent.get() {
            self.resting.set((extent.depth(address) + SUSPENDED_FRAMES) as u32);
        }
    }

    /// How deep its stack has been used; `None` for the main fiber.
    pub(crate) fn stack_high_water(&self) -> Option<usize> {
        self.extent.get().map(Extent::high_water)
    }

    /// Gives back what a deep call has left on the stack of a fiber that is idle.
    #[inline]
    pub(super) fn trim(&self) {
        if let Some(extent) = self.extent.get() {
            // SAFETY: the fiber owns the stack, and is suspended in `live`, whose frames were measured.
            unsafe { extent.trim(self.resting.get() as usize) };
        }
    }

    pub(super) fn has_stack(&self) -> bool {
        // SAFETY: a shared look, and nobody changes it meanwhile: the relay puts a stack in or takes one out on the thread's own
        // stack, in functions that do not call this. A caller on a greenlet's stack, which ends the process, has the relay suspended
        // in a resume of that one, which is not asked.
        unsafe { (*self.swap.get()).is_some() }
    }
}
