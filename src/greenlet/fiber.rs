//! Stacks that run: the switch itself, and what one OS thread knows about its greenlets.
//!
//! corosensei is asymmetric: a coroutine is resumed, and suspends to who resumed it. Greenlets are symmetric. So the
//! thread's own stack runs a *relay*: a fiber that wants to go on as another one suspends to the relay, having said
//! where to go, and the relay resumes that one. Whoever switches to whom, it is two stack swaps.
//!
//! ```text
//!     thread's stack            fiber A            fiber B
//!     relay ── resume ───────────▶ │
//!       ▲                          │ B.switch(v)
//!       └──── suspend, "go to B" ──┘
//!     relay ── resume ──────────────────────────────▶ │
//!       ▲                                             │ waits for a socket
//!       └──── suspend, "nothing for me" ──────────────┘
//!     hub: the next ready one
//! ```

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell, UnsafeCell};
use std::fmt;
use std::mem;
use std::ops::Deref;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::handle::AnyGreenlet;
use super::header::Header;
#[cfg(feature = "monkey")]
use super::identity::{self, Identity};
use super::overflow;
use super::stack::{CLASSES, Extent, SizeClass, Stack, cool_stacks};
use super::trace::Tracer;
use crate::error::StackError;
use crate::sys::process;
#[cfg(feature = "monkey")]
use crate::sys::thread_local::move_to;
use crate::sys::{memory, signal};

/// Idle fibers that a thread keeps, with their warm stacks, for the next green threads.
const IDLE_FIBERS: usize = 16 * 1024;

/// Fibers made at a time, so that none of them has an allocation's overhead.
const CHUNK: usize = 16;

/// Bytes that a suspended fiber needs below `live`'s own frame.
const SUSPENDED_FRAMES: usize = if cfg!(debug_assertions) { 2048 } else { 512 };

/// Cache lines that a fiber touches first when it goes on: what it saved, just below the place where `leave` took its depth,
/// and its frame above that.
const LINES_AHEAD: usize = 3;

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

type Swap = Coroutine<(), (), (), Stack>;

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
pub(super) struct Inbox {
    pub(super) value_type: TypeId,
    pub(super) slot: NonNull<()>,
}

/// Who runs on a fiber, for reports.
pub(crate) trait Describe {
    /// The OS thread ends, and it will never go on: its stack leaks.
    fn leak(&self) {}
    /// The name given to it.
    fn name(&self) -> Option<&str>;
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
struct Extras {
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
    swap: UnsafeCell<Option<Swap>>,
    /// The way back to the relay; valid while the fiber has a stack and has been resumed once.
    yielder: Cell<*const Yielder<(), ()>>,
    /// The wait that may be woken; 0 when there is none. Never the same number twice.
    pub(crate) generation: Cell<u64>,
    pub(crate) state: Cell<State>,
    /// A wake came for the wait before it parked.
    pub(crate) woken: Cell<bool>,
    /// Whether there is an interrupt, or an arrival or a value was brought by hand: looked at after every park.
    pub(crate) disturbed: Cell<bool>,
    /// An interrupt was raised in it, or it parked while it unwound, and it has not parked since in the ordinary way.
    pub(crate) unwinding: Cell<bool>,
    /// How far below `yielder` it has left its stack, about.
    depth: Cell<u32>,
    /// What it waits on, for reports: words, and a number that belongs to them.
    pub(crate) waits_on: Cell<(&'static str, u64)>,
    pub(super) inbox: Cell<Option<Inbox>>,
    /// The greenlet that runs here, once somebody asked.
    pub(super) greenlet: RefCell<Option<Rc<Header>>>,
    /// Whose record describes what runs here.
    /// # Invariant
    /// Valid while set: who sets it keeps the target alive until it is unset.
    description: Cell<Option<NonNull<dyn Describe>>>,
    /// Made when first needed, and kept then. Never borrowed while something of others is dropped.
    extras: RefCell<Option<Box<Extras>>>,
    /// How many things have run here: tells a time limit of a finished one from the current one's.
    pub(crate) runs: Cell<u64>,
    /// Its stack's bounds.
    extent: Cell<Option<Extent>>,
    /// How many bytes below the base its frames reach while it is idle.
    resting: Cell<u32>,
    index: u32,
    /// While it is suspended: what std takes it for. While it runs: the same of the OS thread.
    #[cfg(feature = "monkey")]
    identity: Cell<Identity>,
    /// Whether it runs with an identity of its own.
    #[cfg(feature = "monkey")]
    has_identity: Cell<bool>,
    /// Where its own thread-local variables are; 0 if it runs with those of the OS thread.
    #[cfg(feature = "monkey")]
    pub(super) variables: Cell<usize>,
    /// What to run when a stack without work is given some.
    entry: Cell<Entry>,
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
    fn new(index: u32) -> Fiber {
        Fiber {
            swap: UnsafeCell::new(None),
            yielder: Cell::new(ptr::null()),
            entry: Cell::new(|_| None),
            state: Cell::new(State::Idle),
            generation: Cell::new(0),
            woken: Cell::new(false),
            disturbed: Cell::new(false),
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
    pub(super) fn arrive(&self, arrival: Arrival) {
        let former = self.with_extras(|extras| mem::replace(&mut extras.arrival, arrival));
        drop(former);
        self.disturbed.set(true);
    }

    /// Whether something to raise came with the control.
    pub(super) fn is_thrown_at(&self) -> bool {
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
        function(self.extras.borrow_mut().get_or_insert_default())
    }

    /// Ends what ran here: frees its locals, forgets its interrupts.
    #[inline]
    pub(crate) fn end_run(&self) {
        self.free_locals();
        self.runs.set(self.runs.get() + 1);
        self.unwinding.set(false);
        if self.disturbed.replace(false) {
            let interrupts = self.with_interrupts(mem::take);
            drop(interrupts);
        }
        if self.greenlet.borrow().is_some() {
            self.end_greenlet();
        }
        self.description.set(None);
        #[cfg(feature = "monkey")]
        if self.has_identity.get() {
            identity::end();
        }
    }

    #[cold]
    fn end_greenlet(&self) {
        let Some(greenlet) = self.greenlet.borrow_mut().take() else { return };
        greenlet.set_dead();
        let thread = thread();
        if thread.tracing.get() {
            thread.departed.replace(Some(AnyGreenlet::of_header(greenlet)));
        }
    }

    /// Frees what runs here keeps for itself. What the destructors raise is reported.
    #[inline]
    pub(crate) fn free_locals(&self) {
        if self.extras.borrow().is_some() {
            self.drop_locals();
        }
    }

    #[cold]
    fn drop_locals(&self) {
        // A destructor may use a local again, which makes a fresh one: a few rounds, as std does for thread-locals.
        for _ in 0..5 {
            let Some(locals) = self.with_locals(Option::take) else { return };
            super::unraisable::catch("a greenlet-local's destructor", || drop(locals));
        }
    }
}

/// How [`Thread::run`] came back to the thread's own stack.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub(crate) enum Stopped {
    /// The fiber left the choice of the next to the hub.
    Idle,
    /// The main greenlet is to go on.
    Main,
}

/// What one OS thread knows about its greenlets.
pub(crate) struct Thread {
    current: Cell<FiberRef>,
    main: FiberRef,
    /// Where a fiber that suspends wants to go on; itself says that it has nothing more to run.
    directive: Cell<Option<FiberRef>>,
    /// All fibers ever made here, by index: main, which is alone, and then chunks of [`CHUNK`]. They are freed with the
    /// thread, their stacks earlier.
    fibers: RefCell<Vec<FiberRef>>,
    /// Suspended, with a stack and nothing to run, last in first out, by size class.
    idle: [RefCell<Vec<FiberRef>>; CLASSES],
    /// Without a stack.
    vacant: RefCell<Vec<FiberRef>>,
    /// The hub's loop: returns when the main greenlet is to go on.
    pub(crate) wait_in_hub: Cell<Option<fn()>>,
    /// Takes the hub down when the thread ends.
    pub(crate) end_hub: Cell<Option<fn()>>,
    /// Takes a fiber out of the hub's ready queue.
    pub(crate) withdraw: Cell<Option<fn(FiberRef)>>,
    /// Puts a fiber that is about to be switched out into the hub's ready queue, for an interrupt that it has not had yet.
    pub(crate) recall: Cell<Option<fn(FiberRef)>>,
    pub(super) tracing: Cell<bool>,
    pub(super) tracer: RefCell<Option<Rc<Tracer>>>,
    /// The greenlet that has just ended, for the trace of its last switch.
    pub(super) departed: RefCell<Option<AnyGreenlet>>,
    /// Where the OS thread's own thread-local variables are, once a fiber has others.
    #[cfg(feature = "monkey")]
    pub(super) own_variables: Cell<usize>,
}

thread_local! {
    static THREAD: Cell<*const Thread> = const { Cell::new(ptr::null()) };
    static OWNER: Owner = const { Owner };
}

/// Its destructor runs when the OS thread ends.
struct Owner;

/// The record of the calling OS thread, made on first use.
///
/// # Panics
///
/// In destructors of thread-locals that run after the record was taken down.
#[inline]
pub(crate) fn thread() -> Local<Thread> {
    match NonNull::new(THREAD.get().cast_mut()) {
        // SAFETY: not null means made by `make_thread` and not yet freed by `Owner`, which runs when nothing of this
        // thread can use the reference any more: it is not `Send`, and what outlives the call lies on parked stacks.
        Some(thread) => unsafe { Local::new(thread) },
        None => make_thread(),
    }
}

/// Like [`thread`], but makes nothing: `None` where no greenlet has been used.
#[inline]
pub(crate) fn existing_thread() -> Option<Local<Thread>> {
    // SAFETY: as in `thread`.
    NonNull::new(THREAD.get().cast_mut()).map(|thread| unsafe { Local::new(thread) })
}

#[cold]
fn make_thread() -> Local<Thread> {
    OWNER.try_with(|_| ()).expect("greenlets cannot be used while the thread's locals are destroyed");
    // SAFETY: `describe_current` reads a thread-local without a destructor, and memory that stays valid while it is set.
    unsafe { overflow::set_describe(describe_current) };
    // Where there is no room for it, an overflow ends the process without a report.
    let _ = signal::ensure_alternate_stack();
    let main = leak(Fiber::new(0));
    main.state.set(State::Running);
    let thread = leak(Thread {
        current: Cell::new(main),
        main,
        directive: Cell::new(None),
        fibers: RefCell::new(vec![main]),
        idle: [const { RefCell::new(Vec::new()) }; CLASSES],
        vacant: RefCell::new(Vec::new()),
        wait_in_hub: Cell::new(None),
        end_hub: Cell::new(None),
        withdraw: Cell::new(None),
        recall: Cell::new(None),
        tracing: Cell::new(false),
        tracer: RefCell::new(None),
        departed: RefCell::new(None),
        #[cfg(feature = "monkey")]
        own_variables: Cell::new(0),
    });
    THREAD.set(thread.as_ptr());
    thread
}

/// Runs `function` with `thread` as the calling thread's record, in thread-local variables that have none.
#[cfg(feature = "monkey")]
pub(super) fn lend_thread(thread: Local<Thread>, function: &mut dyn FnMut()) {
    THREAD.set(thread.as_ptr());
    function();
    THREAD.set(ptr::null());
}

/// Moves `value` to the heap, to be freed by [`Owner`].
fn leak<T>(value: T) -> Local<T> {
    // SAFETY: the box is freed by `Owner` alone, when the thread ends.
    unsafe { Local::new(NonNull::from(Box::leak(Box::new(value)))) }
}

/// For the overflow report: reads only, so it may run in a signal handler.
fn describe_current(report: &mut dyn FnMut(Option<&str>, &'static Location<'static>)) {
    let fiber = existing_thread().map(|thread| thread.current());
    if let Some(description) = fiber.as_ref().and_then(|fiber| fiber.description()) {
        report(description.name(), description.spawned_at());
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let Some(thread) = existing_thread() else { return };
        if let Some(end_hub) = thread.end_hub.take() {
            end_hub();
        }
        thread.main.end_run();
        drop(thread.tracer.borrow_mut().take());
        thread.retire_idle();
        while cool_stacks() {}
        THREAD.set(ptr::null());
        let fibers = thread.fibers.take();
        let parked = fibers.iter().filter(|fiber| fiber.has_stack()).count();
        if parked > 0 {
            // Their destructors cannot run any more, now that thread-locals are going: they leak, as do their fibers.
            // At the end of `main` that is the common end of a program, and nothing is lost.
            if cfg!(debug_assertions) && !process::on_main_thread() {
                super::unraisable::report_text(&format!(
                    "an OS thread ended with {parked} parked green threads: they leak"
                ));
            }
            return;
        }
        for chunk in fibers[1..].chunks(CHUNK) {
            let chunk = ptr::slice_from_raw_parts_mut(chunk[0].as_ptr(), CHUNK);
            // SAFETY: made by `add_vacant`, whose first pointer is that of the whole chunk; this is the only place that
            // frees it, and no stack of this thread is left to use it.
            drop(unsafe { Box::from_raw(chunk) });
        }
        // SAFETY: made by `leak`; else as for the chunks.
        drop(unsafe { Box::from_raw(thread.main.as_ptr()) });
        // SAFETY: as for the fibers; THREAD no longer leads to it.
        drop(unsafe { Box::from_raw(thread.as_ptr()) });
    }
}

impl Fiber {
    /// Whether it is suspended in an explicit switch.
    pub(crate) fn is_switched_out(&self) -> bool {
        self.inbox.get().is_some()
    }

    /// Keeps how far an idle fiber's frames reach, given an address in the lowest of its own.
    fn measure_depth(&self, address: usize) {
        if let Some(extent) = self.extent.get() {
            self.resting.set((extent.depth(address) + SUSPENDED_FRAMES) as u32);
        }
    }

    /// How deep its stack has been used; `None` for the main fiber.
    pub(super) fn stack_high_water(&self) -> Option<usize> {
        self.extent.get().map(Extent::high_water)
    }

    /// Gives back what a deep call has left on the stack of a fiber that is idle.
    #[inline]
    fn trim(&self) {
        if let Some(extent) = self.extent.get() {
            // SAFETY: the fiber owns the stack, and is suspended in `live`, whose frames were measured.
            unsafe { extent.trim(self.resting.get() as usize) };
        }
    }

    fn has_stack(&self) -> bool {
        // SAFETY: a shared look while no relay runs on this fiber's `swap`: callers are on the thread's own stack.
        unsafe { (*self.swap.get()).is_some() }
    }
}

impl Thread {
    /// Who runs.
    #[inline]
    pub(crate) fn current(&self) -> FiberRef {
        self.current.get()
    }

    #[inline]
    pub(crate) fn main(&self) -> FiberRef {
        self.main
    }

    /// Whether the thread's own stack runs.
    #[inline]
    pub(crate) fn on_main(&self) -> bool {
        self.current.get() == self.main
    }

    /// The hub's own code runs, on the thread's own stack.
    #[inline]
    pub(crate) fn back_in_hub(&self) {
        self.current.set(self.main);
    }

    /// The fiber with this number.
    #[inline]
    pub(crate) fn fiber(&self, index: u32) -> Option<FiberRef> {
        self.fibers.borrow().get(index as usize).copied()
    }

    /// All fibers, for reports.
    pub(crate) fn all(&self) -> Vec<FiberRef> {
        self.fibers.borrow().clone()
    }

    /// A fiber with a stack and nothing to run, which will begin with `entry`: an idle one, warm, or a new one.
    #[inline]
    pub(crate) fn take_fiber(&self, class: SizeClass, entry: Entry) -> Result<FiberRef, StackError> {
        let fiber = match self.idle[class.index()].borrow_mut().pop() {
            Some(fiber) => fiber,
            None => self.make_fiber(class)?,
        };
        fiber.entry.set(entry);
        fiber.state.set(State::Running);
        Ok(fiber)
    }

    #[cold]
    fn make_fiber(&self, class: SizeClass) -> Result<FiberRef, StackError> {
        let stack = Stack::allocate(class)?;
        if self.vacant.borrow().is_empty() {
            self.add_vacant();
        }
        let fiber = self.vacant.borrow_mut().pop().expect("some were added");
        fiber.extent.set(Some(stack.extent()));
        let swap = Swap::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| live(fiber, yielder));
        // SAFETY: the fiber had no stack, so no relay uses the cell.
        unsafe { *fiber.swap.get() = Some(swap) };
        Ok(fiber)
    }

    fn add_vacant(&self) {
        let mut fibers = self.fibers.borrow_mut();
        let first = fibers.len() as u32;
        let chunk: Box<[Fiber]> = (first..first + CHUNK as u32).map(Fiber::new).collect();
        let start = Box::into_raw(chunk).cast::<Fiber>();
        let added = (0..CHUNK).map(|index| {
            let fiber = NonNull::new(start.wrapping_add(index)).expect("not null, as a box is not");
            // SAFETY: the chunk is freed by `Owner` alone, when the thread ends.
            unsafe { Local::new(fiber) }
        });
        fibers.extend(added);
        self.vacant.borrow_mut().extend(fibers[first as usize..].iter().rev());
    }

    /// Resumes `fiber` and whoever it switches to, until one leaves the choice to the hub or main is to go on. Runs on the
    /// thread's own stack.
    #[inline]
    pub(crate) fn run(&self, mut fiber: FiberRef) -> Stopped {
        loop {
            if self.tracing.get() {
                super::trace::emit(self, self.current.get(), fiber);
            }
            self.current.set(fiber);
            self.resume(fiber);
            match self.directive.take() {
                None => return Stopped::Idle,
                Some(next) if next == self.main => return Stopped::Main,
                Some(next) if next == fiber => {
                    fiber.trim();
                    return Stopped::Idle;
                }
                Some(next) => fiber = next,
            }
        }
    }

    #[inline]
    fn resume(&self, fiber: FiberRef) {
        // SAFETY: we are on the thread's own stack and `fiber` is suspended, so this is the only access to `swap` until
        // it suspends again; code on the fiber does not touch it, by the field's invariant.
        let swap = unsafe { &mut *fiber.swap.get() };
        let swap = swap.as_mut().expect("a fiber that is resumed has a stack");
        #[cfg(feature = "monkey")]
        fiber.has_identity.set(identity::exchange(&fiber.identity));
        #[cfg(not(feature = "monkey"))]
        let result = swap.resume(());
        #[cfg(feature = "monkey")]
        let result = self.resume_with_variables(fiber, swap);
        #[cfg(feature = "monkey")]
        if fiber.has_identity.get() {
            identity::exchange(&fiber.identity);
        }
        if let CoroutineResult::Return(()) = result {
            self.bury(fiber);
        }
    }

    /// Resumes `fiber` with its own thread-local variables, if it has some before or afterwards. Not inlined: nothing here may
    /// use one, nor keep its address.
    #[cfg(feature = "monkey")]
    #[inline(never)]
    fn resume_with_variables(&self, fiber: FiberRef, swap: &mut Swap) -> CoroutineResult<(), ()> {
        let variables = fiber.variables.get();
        if variables != 0 {
            // SAFETY: who has set them has found that they can be moved, and keeps their OS thread waiting.
            unsafe { move_to(variables) };
        }
        let result = swap.resume(());
        if fiber.variables.get() != 0 {
            // SAFETY: as above; these are the OS thread's own, since a fiber has others.
            unsafe { move_to(self.own_variables.get()) };
        }
        result
    }

    /// Leaves the current stack: for `target`, or for whatever the hub runs next. Returns when control comes back.
    #[inline(always)]
    pub(crate) fn leave(&self, target: Option<FiberRef>) {
        let current = self.current.get();
        if current == self.main {
            self.relay(target);
        } else {
            self.directive.set(target);
            let yielder = current.yielder.get();
            current.depth.set(yielder.addr().wrapping_sub((&raw const yielder).addr()) as u32);
            // SAFETY: `current` runs, so it was resumed, and `live` has set the yielder, which lies on its stack.
            unsafe { &*yielder }.suspend(());
        }
    }

    /// The main greenlet waits: the thread's own stack runs the others meanwhile.
    fn relay(&self, target: Option<FiberRef>) {
        let stopped = target.map_or(Stopped::Idle, |target| self.run(target));
        if stopped == Stopped::Idle {
            let wait_in_hub = self.wait_in_hub.get().expect("who leaves the choice to the hub has one");
            wait_in_hub();
        }
        if self.tracing.get() {
            super::trace::emit(self, self.current.get(), self.main);
        }
        self.current.set(self.main);
    }

    /// Keeps a fiber that has nothing more to run for the next one; `false` where there are enough.
    #[inline]
    fn keep(&self, fiber: FiberRef) -> bool {
        fiber.state.set(State::Idle);
        let mut idle = self.idle[fiber.class().index()].borrow_mut();
        let keeps = idle.len() < IDLE_FIBERS;
        if keeps {
            idle.push(fiber);
        }
        keeps
    }

    /// Gives the stacks of all idle fibers back: one that is resumed while it is idle ends.
    pub(crate) fn retire_idle(&self) {
        for idle in &self.idle {
            for fiber in idle.take() {
                self.resume(fiber);
            }
        }
    }

    /// Gives the stack of a fiber back that has returned.
    #[cold]
    fn bury(&self, fiber: FiberRef) {
        // SAFETY: we are on the thread's own stack, and the fiber's coroutine has returned: nobody else uses the cell.
        drop(unsafe { (*fiber.swap.get()).take() });
        fiber.extent.set(None);
        self.vacant.borrow_mut().push(fiber);
    }
}

/// The whole life of a fiber's stack: run something, wait for the next.
fn live(fiber: FiberRef, yielder: &Yielder<(), ()>) {
    fiber.yielder.set(yielder);
    fiber.measure_depth((&raw const fiber).addr());
    while fiber.state.get() != State::Idle {
        let next = (fiber.entry.get())(fiber);
        let thread = thread();
        thread.directive.set(Some(next.unwrap_or(fiber)));
        if !thread.keep(fiber) {
            return;
        }
        yielder.suspend(());
    }
}
