//! A stack with a place to resume, and what goes with it.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell, UnsafeCell};
use std::mem;
use std::ops::Range;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::Arc;

use corosensei::Yielder;

use super::arrival::{Disturbance, MOST_KILLS, Pending};
#[cfg(feature = "monkey")]
use super::identity::Identity;
use super::local::Local;
#[cfg(thread_sanitizer)]
pub(super) use super::shadow::Swap;
use super::stack::{Extent, SizeClass};
#[cfg(feature = "monkey")]
use crate::sys::float_control::FloatControl;
use crate::sys::memory;
use crate::sys::section::Section;

/// Bytes that a suspended fiber needs below `live`'s own frame.
const SUSPENDED_FRAMES: usize = if cfg!(debug_assertions) { 2048 } else { 512 };

/// Cache lines that a fiber touches first when it goes on: what it saved, just below the place where `leave` took its depth,
/// and its frame above that.
const LINES_AHEAD: usize = 3;

/// A fiber, from anywhere in its thread.
pub(crate) type FiberRef = Local<Fiber>;

/// What a fiber does when it is resumed to begin something: runs it to its end, and says which fiber goes on after that;
/// `None` leaves the choice to the hub.
pub(crate) type Entry = fn(FiberRef) -> Option<FiberRef>;

#[cfg(not(thread_sanitizer))]
pub(super) type Swap = corosensei::Coroutine<(), (), (), super::stack::Stack>;

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
    /// It waits for a wake, of which somebody is to be told.
    Witnessed,
}

impl State {
    /// Whether it waits for a wake.
    #[inline]
    pub(crate) fn is_parked(self) -> bool {
        matches!(self, State::Parked | State::Witnessed)
    }
}

/// Where the value goes that is sent to a fiber suspended in a switch: an `Option<T>` in that switch's frame.
#[derive(Clone, Copy)]
pub(crate) struct Inbox {
    slot: NonNull<()>,
    /// Tells the type. Compared by its address first: one that is the same returns the same.
    value_type: fn() -> TypeId,
}

impl Inbox {
    /// Where a `T` goes.
    #[inline(always)]
    pub(crate) fn new<T: 'static>(slot: NonNull<Option<T>>) -> Inbox {
        Inbox { slot: slot.cast(), value_type: type_of::<T> }
    }

    /// Where the value goes, if it is to be a `T`.
    #[inline(always)]
    pub(crate) fn slot<T: 'static>(self) -> Option<NonNull<Option<T>>> {
        let same = ptr::fn_addr_eq(self.value_type, type_of::<T> as fn() -> TypeId)
            || (self.value_type)() == TypeId::of::<T>();
        same.then(|| self.slot.cast())
    }
}

/// Not inlined, as [`TypeId::of`] may be: so a program has one, and not one in each of the parts in which it is compiled.
#[inline(never)]
fn type_of<T: 'static>() -> TypeId {
    TypeId::of::<T>()
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
    /// Gives it a name, unless it has one.
    #[cfg(feature = "monkey")]
    fn give_name(&self, _name: &str) {}
    /// The number of the green thread that has spawned it, if that is known.
    fn spawned_by(&self) -> Option<u64> {
        None
    }
    /// Where it was made.
    fn spawned_at(&self) -> &'static Location<'static>;
}

/// Who runs on a fiber, as the rules of a room above know it.
pub(crate) trait Occupant: Any {
    /// It has ended, or its OS thread ends: it never goes on.
    fn set_dead(&self);
    /// Whether control goes to the thread's own stack in the end, when it and those it returns to have ended.
    fn returns_to_main(&self) -> bool;
}

/// What few fibers ever have.
#[derive(Default)]
pub(super) struct Extras {
    /// What came with the control, to be raised.
    thrown: Option<Box<dyn Any + Send>>,
    /// What is to be raised at the next park, the oldest first.
    interrupts: Vec<Pending>,
    /// What runs here keeps its own values here: greenlet-local storage.
    locals: Option<Box<dyn Any>>,
    /// Calls that have failed because they would have waited while what runs here unwound.
    #[cfg(feature = "monkey")]
    refused_amid_unwinding: u32,
    /// What a room above does when what runs here has ended.
    #[cfg(feature = "monkey")]
    at_end: Option<fn()>,
}

/// A stack with a place to resume, and what goes with it while something runs there. The thread's own stack is one too.
///
/// What each switch touches comes first and fills one cache line: with many thousands of fibers in turn, each further line
/// is a further miss.
#[repr(C, align(64))]
pub(crate) struct Fiber {
    // ---- the switch's ----
    /// `None` for the main fiber, and for one whose stack was given back.
    /// # Invariant
    /// Only who makes, resumes or buries the fiber touches it, on another stack, and while the fiber is suspended.
    pub(super) swap: UnsafeCell<Option<Swap>>,
    /// The way back to who has resumed it; valid while the fiber has a stack and has been resumed once.
    pub(super) yielder: Cell<*const Yielder<(), ()>>,

    // ---- the hub's, and last of the cache line the switch's again ----
    /// The wait that may be woken; 0 when there is none. Never the same number twice.
    pub(crate) generation: Cell<u64>,
    /// Where it stands between the hub and its own stack.
    pub(crate) state: Cell<State>,
    /// Looked at before and after every park.
    pub(crate) disturbed: Disturbance,
    /// It has resumed another one, and stands in the chain below that until it goes on, or is suspended as others are. The main fiber
    /// always does.
    pub(super) has_resumed: Cell<bool>,
    /// An interrupt was raised in it, or it parked while it unwound, and it has not parked since in the ordinary way.
    pub(crate) unwinding: Cell<bool>,
    /// How far below `yielder` it has left its stack, about.
    pub(super) depth: Cell<u32>,
    /// What it waits on, for reports: words, and a number that belongs to them.
    pub(crate) waits_on: Cell<(&'static str, u64)>,

    // ---- of who runs here ----
    /// Where a value goes that is sent to it, while it is suspended in a switch.
    pub(crate) inbox: Cell<Option<Inbox>>,
    /// Who runs here, once the rules of a room above have a record of that.
    occupant: Cell<Option<Rc<dyn Occupant>>>,
    /// Whose record describes what runs here.
    /// # Invariant
    /// Valid while set: who sets it keeps the target alive until it is unset.
    description: Cell<Option<NonNull<dyn Describe>>>,
    /// Made when first needed, and kept then. Never borrowed while something of others is dropped.
    pub(super) extras: RefCell<Option<Box<Extras>>>,
    /// How many things have run here: tells a time limit of a finished one from the current one's.
    pub(crate) runs: Cell<u64>,

    // ---- the stack's ----
    /// Its bounds.
    pub(super) extent: Cell<Option<Extent>>,
    /// How many bytes below the base its frames reach while it is idle.
    resting: Cell<u32>,
    /// Its number in its thread.
    index: u32,

    // ---- std's and C's, of who runs here ----
    /// While it is suspended: what std takes it for. While it runs: the same of the OS thread.
    #[cfg(feature = "monkey")]
    pub(super) identity: Cell<Identity>,
    /// Whether it runs with an identity of its own.
    #[cfg(feature = "monkey")]
    pub(super) has_identity: Cell<bool>,
    /// Where its own thread-local variables are; 0 if it runs with those of the OS thread.
    #[cfg(feature = "monkey")]
    pub(crate) variables: Cell<usize>,
    /// How it computes with floating-point numbers, while it is suspended in something; `None` for as who resumes it.
    #[cfg(feature = "monkey")]
    pub(super) float_control: Cell<Option<FloatControl>>,
    /// How who first resumed what runs here did.
    #[cfg(feature = "monkey")]
    pub(super) first_float_control: Cell<Option<FloatControl>>,
    /// Whether the destructors of those run: nothing is raised there.
    #[cfg(feature = "monkey")]
    pub(super) deaf: Cell<bool>,

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
    /// Where the description lies, for a debugger.
    pub(super) const DESCRIPTION: usize = mem::offset_of!(Fiber, description);

    pub(super) fn new(index: u32) -> Fiber {
        Fiber {
            swap: UnsafeCell::new(None),
            yielder: Cell::new(ptr::null()),
            entry: Cell::new(|_| None),
            state: Cell::new(State::Idle),
            generation: Cell::new(0),
            disturbed: Disturbance::default(),
            has_resumed: Cell::new(false),
            unwinding: Cell::new(false),
            waits_on: Cell::new(("", 0)),
            inbox: Cell::new(None),
            occupant: Cell::new(None),
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
            #[cfg(feature = "monkey")]
            deaf: Cell::new(false),
            #[cfg(feature = "monkey")]
            float_control: Cell::new(None),
            #[cfg(feature = "monkey")]
            first_float_control: Cell::new(None),
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

    /// Says that nobody runs here.
    #[inline]
    pub(super) fn end_description(&self) {
        self.description.set(None);
    }

    /// Who runs here.
    pub(crate) fn description(&self) -> Option<&dyn Describe> {
        // SAFETY: valid while set, by the field's invariant.
        self.description.get().map(|description| unsafe { &*description.as_ptr() })
    }

    /// Who runs here, if a record was made of that.
    pub(crate) fn occupant(&self) -> Option<Rc<dyn Occupant>> {
        let occupant = self.occupant.take();
        let found = occupant.clone();
        self.occupant.set(occupant);
        found
    }

    /// Says who runs here until that has ended.
    pub(crate) fn set_occupant(&self, occupant: Rc<dyn Occupant>) {
        self.occupant.set(Some(occupant));
    }

    pub(super) fn take_occupant(&self) -> Option<Rc<dyn Occupant>> {
        self.occupant.take()
    }

    #[inline]
    pub(super) fn has_occupant(&self) -> bool {
        // SAFETY: a shared look that is over at once; nobody else has the cell's content meanwhile, since a fiber stays in its OS
        // thread and this runs nothing of others.
        unsafe { (*self.occupant.as_ptr()).is_some() }
    }

    /// Puts `payload` where it is looked at when the fiber goes on. Returns what lay there.
    #[cold]
    pub(super) fn replace_thrown(&self, payload: Box<dyn Any + Send>) -> Option<Box<dyn Any + Send>> {
        // What a switch by hand comes back with is its result, also in a destructor.
        if self.is_deaf() && !self.is_switched_out() {
            return Some(payload);
        }
        let former = self.with_extras(|extras| extras.thrown.replace(payload));
        self.disturbed.set(true);
        former
    }

    /// Looks at what came with the control.
    pub(crate) fn with_thrown<R>(&self, look: impl FnOnce(Option<&(dyn Any + Send)>) -> R) -> R {
        look(self.extras.borrow().as_ref().and_then(|extras| extras.thrown.as_deref()))
    }

    /// Takes what came with the control, to be raised.
    pub(crate) fn take_thrown(&self) -> Option<Box<dyn Any + Send>> {
        self.extras.borrow_mut().as_mut().and_then(|extras| extras.thrown.take())
    }

    /// Has something raised at the next park. Of kills, only [`MOST_KILLS`] stand there: one more comes back, to be
    /// [discarded](super::discard), and so does what can never be raised.
    pub(crate) fn push_interrupt(&self, interrupt: Pending) -> Option<Pending> {
        if self.is_deaf() {
            return Some(interrupt);
        }
        let superfluous = self.with_interrupts(|interrupts| {
            let kills = interrupts.iter().filter(|interrupt| interrupt.is_kill()).take(MOST_KILLS);
            if interrupt.is_kill() && kills.count() == MOST_KILLS {
                return Some(interrupt);
            }
            interrupts.push(interrupt);
            None
        });
        self.disturbed.set(true);
        superfluous
    }

    /// Whether what would be raised is lost: only the destructors of its thread-local variables run any more.
    fn is_deaf(&self) -> bool {
        #[cfg(feature = "monkey")]
        return self.deaf.get();
        #[cfg(not(feature = "monkey"))]
        false
    }

    /// Takes the oldest interrupt. [`update_disturbed`](Fiber::update_disturbed) is due afterwards.
    pub(crate) fn take_interrupt(&self) -> Option<Pending> {
        self.with_interrupts(|interrupts| (!interrupts.is_empty()).then(|| interrupts.remove(0)))
    }

    /// What arrived has been looked at: the interrupts are what is left.
    pub(crate) fn update_disturbed(&self) {
        self.disturbed.set(self.with_interrupts(|interrupts| !interrupts.is_empty()));
    }

    /// Looks at what is to be raised, the oldest first; `function` runs nothing of others.
    pub(crate) fn with_interrupts<R>(&self, function: impl FnOnce(&mut Vec<Pending>) -> R) -> R {
        self.with_extras(|extras| function(&mut extras.interrupts))
    }

    /// Counts a call that fails because it would have waited while what runs here unwinds, if `more`. Returns how many have.
    #[cfg(feature = "monkey")]
    #[cold]
    pub(crate) fn refused_amid_unwinding(&self, more: bool) -> u32 {
        self.with_extras(|extras| {
            let count = &mut extras.refused_amid_unwinding;
            *count = count.saturating_add(more.into());
            *count
        })
    }

    #[cfg(feature = "monkey")]
    #[cold]
    pub(super) fn forget_refusals_amid_unwinding(&self) {
        if let Some(extras) = self.extras.borrow_mut().as_mut() {
            extras.refused_amid_unwinding = 0;
        }
    }

    /// Has `function`, which does not unwind, run when what runs here has ended, with the OS thread's variables.
    #[cfg(feature = "monkey")]
    pub(crate) fn set_at_end(&self, function: fn()) {
        self.with_extras(|extras| extras.at_end = Some(function));
    }

    /// What runs here has ended.
    #[cfg(feature = "monkey")]
    #[inline]
    pub(crate) fn run_at_end(&self) {
        if self.extras.borrow().is_some() {
            self.run_what_is_set_at_end();
        }
    }

    #[cfg(feature = "monkey")]
    #[cold]
    fn run_what_is_set_at_end(&self) {
        let function = self.extras.borrow_mut().as_mut().and_then(|extras| extras.at_end.take());
        if let Some(function) = function {
            function();
        }
    }

    /// Looks at what runs here keeps for itself; `function` runs nothing of others.
    pub(crate) fn with_locals<R>(&self, function: impl FnOnce(&mut Option<Box<dyn Any>>) -> R) -> R {
        self.with_extras(|extras| function(&mut extras.locals))
    }

    #[inline]
    pub(super) fn has_locals(&self) -> bool {
        self.extras.borrow().as_ref().is_some_and(|extras| extras.locals.is_some())
    }

    fn with_extras<R>(&self, function: impl FnOnce(&mut Extras) -> R) -> R {
        let _section = Section::open();
        function(self.extras.borrow_mut().get_or_insert_default())
    }

    /// Where a `T` goes that is sent to it, if it is suspended in a switch that waits for one.
    #[inline(always)]
    pub(crate) fn slot<T: 'static>(&self) -> Option<NonNull<Option<T>>> {
        self.inbox.get().and_then(Inbox::slot)
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

    /// Where its stack is; `None` for the main fiber.
    pub(crate) fn stack_bounds(&self) -> Option<Range<usize>> {
        self.extent.get().map(Extent::bounds)
    }

    /// The size of its stack, and how far its frames reach, about, when it was left; `None` for the main fiber.
    pub(crate) fn stack_use(&self) -> Option<(usize, usize)> {
        let extent = self.extent.get()?;
        let yielder = self.yielder.get().addr();
        let used = if yielder == 0 { 0 } else { extent.depth(yielder) + self.depth.get() as usize };
        Some((extent.class().usable(), used))
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
        self.extent.get().is_some()
    }

    /// Whether it runs with thread-local variables of its own.
    #[cfg(feature = "monkey")]
    #[inline(always)]
    pub(crate) fn is_isolated(&self) -> bool {
        self.variables.get() != 0
    }

    /// Whether it may resume another one from its own stack. One with thread-local variables of its own may not: who is resumed would
    /// run with them.
    #[inline(always)]
    pub(super) fn may_resume(&self) -> bool {
        #[cfg(feature = "monkey")]
        return !self.is_isolated();
        #[cfg(not(feature = "monkey"))]
        true
    }
}
