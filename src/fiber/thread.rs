//! The switch itself, and what one OS thread knows about its greenlets.
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

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::mem;
use std::panic::{self, AssertUnwindSafe, Location};
use std::ptr::{self, NonNull};
use std::rc::Rc;

use corosensei::{CoroutineResult, Yielder};

use super::fiber::{Entry, Fiber, FiberRef, Local, State, Swap};
#[cfg(feature = "monkey")]
use super::identity;
use super::stack::{CLASSES, SizeClass, Stack, cool_all_stacks};
use super::{overflow, uncaught};
use crate::error::StackError;
use crate::greenlet::any::AnyGreenlet;
use crate::greenlet::trace::{self, Tracer};
use crate::sys::destructors::List;
#[cfg(feature = "monkey")]
use crate::sys::thread_local::move_to;
use crate::sys::{process, signal};

/// Idle fibers that a thread keeps, with their warm stacks, for the next green threads.
const IDLE_FIBERS: usize = 16 * 1024;

/// Fibers made at a time, so that none of them has an allocation's overhead.
const CHUNK: usize = 16;

/// No word that a list of destructors ever begins with: it is the address of an aligned record, or null.
const NO_DESTRUCTOR: usize = 1;

/// How [`Thread::run`] came back to the thread's own stack.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub(crate) enum Stopped {
    /// The fiber left the choice of the next to the hub.
    Idle,
    /// The main greenlet is to go on.
    Main,
}

/// Ends greenlets.
type EndAll = fn(Vec<AnyGreenlet>);

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
    /// Ends greenlets in an ordinary place.
    pub(crate) end_later: Cell<Option<EndAll>>,
    /// The rule of the place that runs now, if that is a [callback](super::callback()); empty in an ordinary one.
    pub(crate) rule: Cell<&'static str>,
    /// Suspended greenlets without a handle: the last one has gone in a callback, or while they ran.
    orphans: RefCell<Vec<AnyGreenlet>>,
    has_orphans: Cell<bool>,
    /// Fibers that have left their stacks while they unwind.
    away_unwinding: Cell<usize>,
    /// Puts a fiber that is about to be switched out into the hub's ready queue, for an interrupt that it has not had yet.
    pub(crate) recall: Cell<Option<fn(FiberRef)>>,
    pub(crate) tracing: Cell<bool>,
    pub(crate) tracer: RefCell<Option<Rc<Tracer>>>,
    /// The greenlet that has just ended, for the trace of its last switch.
    pub(crate) departed: RefCell<Option<AnyGreenlet>>,
    /// Of thread-locals.
    destructors: List,
    /// The newest destructor of a thread-local when somebody last went on: the one that begins the end. While there is a trace
    /// hook, nothing that ever is one, so that each switch comes to [`attend`](Thread::attend).
    newest_destructor: Cell<usize>,
    /// The newest of those that begin the end.
    own_destructor: Cell<usize>,
    /// Where the OS thread's own thread-local variables are, once a fiber has others.
    #[cfg(feature = "monkey")]
    pub(crate) own_variables: Cell<usize>,
}

thread_local! {
    static THREAD: Cell<*const Thread> = const { Cell::new(ptr::null()) };
    /// Whether the thread's end has begun: nothing new is made any more.
    static ENDING: Cell<bool> = const { Cell::new(false) };
    /// Whether the process aborts if the thread ends with a greenlet that is suspended or parked.
    static NEVER_LEAKS: Cell<bool> = const { Cell::new(false) };
    static OWNER: Owner = const { Owner };
}

/// Its destructor runs when the OS thread ends.
struct Owner;

/// What is asked of a thread whose end has begun.
const ENDING_REFUSES: &str = "this OS thread ends: it has no greenlets and no hub any more";

/// What a wait says from then on: all code that is left runs in no place of its own.
pub(crate) const ENDING_RULE: &str = "this OS thread ends: nothing may wait any more";

/// The record of the calling OS thread, made on first use.
///
/// # Panics
///
/// If the thread's end [has begun](is_ending) and the record is gone.
#[inline]
pub(crate) fn thread() -> Local<Thread> {
    match existing_thread() {
        Some(thread) => thread,
        None => make_thread().expect(ENDING_REFUSES),
    }
}

/// Like [`thread`], but `None` where that panics.
#[inline]
pub(crate) fn try_thread() -> Option<Local<Thread>> {
    existing_thread().or_else(make_thread)
}

/// Like [`thread`], but makes nothing: `None` where no greenlet has been used, or none can be any more.
#[inline]
pub(crate) fn existing_thread() -> Option<Local<Thread>> {
    // SAFETY: not null means made by `make_thread` and not yet freed by `end_thread`, which sets it to null before; then
    // nothing of this thread uses a reference any more. It is not `Send`; what could outlive the record is a frame of a parked
    // stack, which is never resumed; a handle of a greenlet, which has lost its fiber; and a `Hub`, which looks for its
    // hub first. All of those that lie in thread-locals may be used after the end, and none of them dereferences.
    NonNull::new(THREAD.get().cast_mut()).map(|thread| unsafe { Local::new(thread) })
}

/// Whether the end of the calling OS thread has begun: nothing is switched to, waits, or is made any more.
#[inline]
pub(crate) fn is_ending() -> bool {
    ENDING.get()
}

/// Lets nothing be made on the calling OS thread, whose own code is over.
#[cfg(feature = "monkey")]
pub(crate) fn refuse_from_now_on() {
    ENDING.set(true);
}

/// Sets whether the process aborts if the calling OS thread ends with a greenlet that is suspended or parked.
pub(crate) fn abort_if_parked(abort: bool) {
    NEVER_LEAKS.set(abort);
}

#[cold]
fn make_thread() -> Option<Local<Thread>> {
    if is_ending() {
        return None;
    }
    // It cannot have been destroyed: its destructor begins the end.
    OWNER.with(|_| ());
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
        away_unwinding: Cell::new(0),
        recall: Cell::new(None),
        end_later: Cell::new(None),
        rule: Cell::new(""),
        orphans: RefCell::new(Vec::new()),
        has_orphans: Cell::new(false),
        tracing: Cell::new(false),
        tracer: RefCell::new(None),
        departed: RefCell::new(None),
        destructors: List::of_this_thread(),
        newest_destructor: Cell::new(NO_DESTRUCTOR),
        own_destructor: Cell::new(NO_DESTRUCTOR),
        #[cfg(feature = "monkey")]
        own_variables: Cell::new(0),
    });
    THREAD.set(thread.as_ptr());
    thread.end_first();
    Some(thread)
}

/// Runs `function` with `thread` as the calling thread's record, in thread-local variables that have none.
#[cfg(feature = "monkey")]
pub(crate) fn lend_thread(thread: Local<Thread>, function: &mut dyn FnMut()) {
    THREAD.set(thread.as_ptr());
    function();
    THREAD.set(ptr::null());
}

/// Moves `value` to the heap, to be freed by [`end_thread`].
fn leak<T>(value: T) -> Local<T> {
    // SAFETY: the box is freed by `end_thread` alone, after the last use.
    unsafe { Local::new(NonNull::from(Box::leak(Box::new(value)))) }
}

/// For the overflow report: reads only, so it may run in a signal handler.
fn describe_current(report: &mut dyn FnMut(Option<&str>, &'static Location<'static>)) {
    let fiber = existing_thread().map(|thread| thread.current());
    if let Some(description) = fiber.as_ref().and_then(|fiber| fiber.description()) {
        report(description.name().map(|name| &**name), description.spawned_at());
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        end_thread();
    }
}

/// The end of the OS thread, as far as greenlets and the hub go, in the order that `design.md` tells under "Ends". Runs on the
/// thread's own stack, or on that of a greenlet that ends the process; before the destructors of all thread-locals that a
/// suspended frame can refer to (see [`end_first`](Thread::end_first)), or where that cannot be, when that of `OWNER` runs.
fn end_thread() {
    if ENDING.replace(true) {
        return;
    }
    let Some(thread) = existing_thread() else { return };
    if NEVER_LEAKS.get() {
        let is_parked = |fiber: &&FiberRef| {
            **fiber != thread.current() && fiber.has_stack() && fiber.state.get() != State::Idle
        };
        let parked = thread.all().iter().filter(is_parked).count();
        if parked > 0 {
            process::abort_with(&format!("an OS thread ends with {parked} parked green threads"));
        }
    }
    thread.let_nothing_go_on();
    // First: what main keeps for itself finds the hub still there.
    thread.main.free_locals();
    if let Some(end_hub) = thread.end_hub.take() {
        end_hub();
    }
    thread.tracing.set(false);
    let tracer = thread.tracer.take();
    uncaught::catch("what is left at the end of an OS thread", || thread.main.end_run());
    if thread.current() == thread.main {
        thread.retire_idle();
        cool_all_stacks();
    }
    // From here on code of others finds no record, so that it keeps no reference to it.
    THREAD.set(ptr::null());
    let left = (tracer, thread.departed.take(), thread.orphans.take());
    uncaught::catch("what is left at the end of an OS thread", || drop(left));
    let fibers = thread.fibers.take();
    let current = thread.current();
    let parked = fibers.iter().filter(|fiber| **fiber != current && fiber.has_stack()).count();
    if parked > 0 || current != thread.main {
        // Their destructors cannot run any more, now that thread-locals are going: they leak, as do their fibers.
        // At the end of `main` that is the common end of a program, and nothing is lost.
        if parked > 0 && cfg!(debug_assertions) && !process::on_main_thread() {
            uncaught::report_text(&format!(
                "an OS thread ended with {parked} parked green threads: they leak"
            ));
        }
        return;
    }
    // What has arrived at a fiber and was not looked at has destructors of others.
    uncaught::catch("what is left at the end of an OS thread", || {
        fibers.iter().for_each(|fiber| drop(fiber.extras.take()));
    });
    for chunk in fibers[1..].chunks(CHUNK) {
        let chunk = ptr::slice_from_raw_parts_mut(chunk[0].as_ptr(), CHUNK);
        // SAFETY: made by `add_vacant`, whose first pointer is that of the whole chunk; this is the only place that frees it. No
        // stack of this thread is left to use it, THREAD does not lead to it, and every greenlet has lost its fiber.
        drop(unsafe { Box::from_raw(chunk) });
    }
    // SAFETY: made by `leak`; else as for the chunks.
    drop(unsafe { Box::from_raw(thread.main.as_ptr()) });
    // SAFETY: as for the fibers.
    drop(unsafe { Box::from_raw(thread.as_ptr()) });
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

    /// Who runs from now on, as far as it can be told.
    pub(crate) fn set_current(&self, fiber: FiberRef) {
        self.current.set(fiber);
    }

    /// Has a greenlet ended that is suspended, or about to be, in an ordinary place to come.
    pub(crate) fn end_later(&self, orphan: AnyGreenlet) {
        self.orphans.borrow_mut().push(orphan);
        self.has_orphans.set(true);
    }

    /// Ends those that were put off, or leaves them for a hub to come.
    #[inline]
    pub(crate) fn end_orphans(&self) {
        if self.has_orphans.get()
            && let Some(end_later) = self.end_later.get()
        {
            self.has_orphans.set(false);
            end_later(self.orphans.take());
        }
    }

    /// Ends those that were put off here and now, in an ordinary place.
    #[inline]
    pub(crate) fn end_orphans_here(&self) {
        if self.has_orphans.replace(false) {
            let orphans = self.orphans.take();
            drop(orphans);
        }
    }

    /// In the child of a fork: they are the parent's.
    pub(crate) fn forget_orphans(&self) {
        self.has_orphans.set(false);
        mem::forget(self.orphans.take());
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
            // SAFETY: the chunk is freed by `end_thread` alone, after the last use.
            unsafe { Local::new(fiber) }
        });
        fibers.extend(added);
        self.vacant.borrow_mut().extend(fibers[first as usize..].iter().rev());
    }

    /// Resumes `fiber` and whoever it switches to, until one leaves the choice to the hub or main is to go on. Runs on the
    /// thread's own stack.
    ///
    /// Inlined, as is `relay`: the processor mispredicts each return after a switch.
    #[inline(always)]
    pub(crate) fn run(&self, mut fiber: FiberRef) -> Stopped {
        loop {
            self.go_on_as(fiber);
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
        debug_assert!(!self.in_callback(), "who leaves has asked whether it may");
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

    /// [`leave`](Thread::leave) while somebody on this OS thread unwinds: the current one, or one that is away meanwhile.
    #[cold]
    pub(crate) fn leave_amid_unwinding(&self, target: Option<FiberRef>) {
        let current = self.current();
        if self.is_unwinding(current) {
            self.away_while_unwinding(current, || self.leave(target));
        } else {
            self.leave(target);
        }
    }

    /// Runs `leave`, by which `fiber` leaves its stack while it unwinds: meanwhile it is known that the others do not.
    pub(crate) fn away_while_unwinding<R>(&self, fiber: FiberRef, leave: impl FnOnce() -> R) -> R {
        fiber.unwinding.set(true);
        self.away_unwinding.set(self.away_unwinding.get() + 1);
        let result = leave();
        self.away_unwinding.set(self.away_unwinding.get() - 1);
        result
    }

    /// Whether `fiber`, which runs, unwinds; asked when the OS thread is said to do so.
    pub(crate) fn is_unwinding(&self, fiber: FiberRef) -> bool {
        self.away_unwinding.get() == 0 || fiber.unwinding.get()
    }

    /// In the child of a fork, none of them is there.
    pub(crate) fn forget_away_unwinding(&self) {
        self.away_unwinding.set(0);
    }

    /// The main greenlet waits: the thread's own stack runs the others meanwhile.
    #[inline(always)]
    fn relay(&self, target: Option<FiberRef>) {
        let unwinds = EndFirst(self);
        let stopped = target.map_or(Stopped::Idle, |target| self.run_for_main(target));
        if stopped == Stopped::Idle {
            let wait_in_hub = self.wait_in_hub.get().expect("who leaves the choice to the hub has one");
            wait_in_hub();
        }
        mem::forget(unwinds);
        self.go_on_as(self.main);
    }

    /// The next one goes on: the hook is told, and whatever destructors of thread-locals have come in the meantime run after the
    /// one that begins the end. Two questions in one, since every switch asks.
    #[inline(always)]
    fn go_on_as(&self, next: FiberRef) {
        if self.destructors.newest() != self.newest_destructor.get() {
            self.attend(next);
        }
        self.current.set(next);
    }

    #[cold]
    fn attend(&self, next: FiberRef) {
        if self.tracing.get() {
            trace::emit(self, next);
        }
        self.end_first();
    }

    /// Whether [`tracing`](Thread::tracing) has changed.
    pub(crate) fn trace_from_now_on(&self, tracing: bool) {
        self.tracing.set(tracing);
        self.end_first();
    }

    /// [`run`](Thread::run) for who switches to a greenlet, which is done from many places.
    #[inline(never)]
    fn run_for_main(&self, target: FiberRef) -> Stopped {
        self.run(target)
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

    /// Has the end of the OS thread begin before every destructor of a thread-local that is registered so far: frames that are suspended
    /// may refer to those, and must not be resumed after them. Whoever goes on may end the OS thread: main by returning, a green
    /// thread by ending the process.
    #[cold]
    fn end_first(&self) {
        extern "C" fn end(_: *mut c_void) {
            end_thread();
        }
        if self.destructors.newest() != self.own_destructor.get() {
            self.destructors.register(end);
            self.own_destructor.set(self.destructors.newest());
        }
        self.newest_destructor.set(if self.tracing.get() {
            NO_DESTRUCTOR
        } else {
            self.own_destructor.get()
        });
    }

    /// The end begins: who is suspended or parked never goes on, whoever has a handle to it, and nothing waits any more.
    fn let_nothing_go_on(&self) {
        for fiber in self.all() {
            if fiber != self.current()
                && let Some(greenlet) = &*fiber.greenlet.borrow()
            {
                greenlet.set_dead();
            }
        }
        self.wait_in_hub.set(Some(|| panic!("{ENDING_REFUSES}")));
        self.rule.set(ENDING_RULE);
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

/// Something has escaped at the root of a stack.
#[cold]
fn end_of_failed_run(fiber: FiberRef, payload: Box<dyn Any + Send>) -> Option<FiberRef> {
    uncaught::report("a destructor at the end of a green thread", &*payload);
    uncaught::discard(payload);
    fiber.end_run();
    None
}

/// Main goes on since the hub's loop unwinds.
struct EndFirst<'a>(&'a Thread);

impl Drop for EndFirst<'_> {
    fn drop(&mut self) {
        // If that was in a switch, its frame goes now.
        self.0.main.inbox.set(None);
        self.0.end_first();
    }
}

/// The whole life of a fiber's stack: run something, wait for the next.
fn live(fiber: FiberRef, yielder: &Yielder<(), ()>) {
    fiber.yielder.set(yielder);
    fiber.measure_depth((&raw const fiber).addr());
    while fiber.state.get() != State::Idle {
        // Nothing is below this frame that could catch: the destructor of a result that nobody takes may raise.
        let run = panic::catch_unwind(AssertUnwindSafe(|| (fiber.entry.get())(fiber)));
        let next = run.unwrap_or_else(|payload| end_of_failed_run(fiber, payload));
        let thread = thread();
        thread.directive.set(Some(next.unwrap_or(fiber)));
        if !thread.keep(fiber) {
            return;
        }
        yielder.suspend(());
    }
}
