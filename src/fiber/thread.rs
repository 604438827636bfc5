//! What one OS thread knows about its fibers.

use std::any::Any;
use std::cell::{Cell, RefCell};
#[cfg(feature = "monkey")]
use std::collections::HashSet;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use super::fiber::{FiberRef, Occupant};
use super::local::Local;
use super::stack::CLASSES;
use crate::sys::destructors::List;
#[cfg(feature = "monkey")]
use crate::sys::first_contents::FirstContents;
use crate::sys::process;
use crate::sys::unwind::{Walked, Walker};

/// No word that a list of destructors ever begins with: it is the address of an aligned record, or null.
pub(super) const NO_DESTRUCTOR: usize = 1;

/// Who is told of every switch of an OS thread.
pub(crate) trait Observer: Any {
    /// Control passes from `origin` to `target`, which is the current one from now on. Runs as a [callback](super::guard).
    fn passes(&self, thread: &Thread, origin: FiberRef, target: FiberRef);
}

/// What a fiber is asked for: its calls.
#[derive(Debug, Default)]
pub(crate) struct Visit {
    pub(crate) walker: Walker,
    /// What was found; `None` if it cannot be asked.
    pub(crate) walked: Option<Walked>,
}

/// What one OS thread knows about its fibers.
pub(crate) struct Thread {
    // ---- the switch's ----
    /// Who runs.
    pub(super) current: Cell<FiberRef>,
    /// The thread's own stack.
    pub(super) main: FiberRef,
    /// Where a fiber that suspends wants to go on; itself says that it has nothing more to run.
    pub(super) directive: Cell<Option<FiberRef>>,
    /// Fibers that have left their stacks while they unwind.
    away_unwinding: Cell<usize>,
    /// A suspended fiber to which nobody can go back, for whoever goes on to end.
    left_behind: Cell<Option<FiberRef>>,

    // ---- a visitor's ----
    /// What the one that is resumed next is asked for, in place of going on.
    pub(super) visit: Cell<Option<Box<Visit>>>,
    /// The answer.
    pub(super) visited: Cell<Option<Box<Visit>>>,

    // ---- the pool's ----
    /// All fibers ever made here, by index: main and the first, which are alone, and then [chunks](super::pool::CHUNK). They are freed with the
    /// thread, their stacks earlier.
    pub(super) fibers: RefCell<Vec<FiberRef>>,
    /// Suspended, with a stack and nothing to run, last in first out, by size class.
    pub(super) idle: [RefCell<Vec<FiberRef>>; CLASSES],
    /// Without a stack.
    pub(super) vacant: RefCell<Vec<FiberRef>>,

    // ---- a debugger's ----
    /// The number of the OS thread.
    pub(super) os_thread: Cell<u32>,
    /// Where all fibers stand, and how many they are.
    pub(super) fiber_list: Cell<*const FiberRef>,
    pub(super) fiber_count: Cell<usize>,

    // ---- the observers' ----
    /// What is called before each switch, with who is to go on.
    pub(super) told_of_switches: Cell<Option<fn(FiberRef)>>,
    /// Whether there is one.
    pub(super) observed: Cell<bool>,
    /// Who is told of switches.
    pub(super) observer: RefCell<Option<Rc<dyn Observer>>>,
    /// Who has just ended, for the observer of the switch after that.
    pub(super) departed: RefCell<Option<Rc<dyn Occupant>>>,

    // ---- the end's ----
    /// The only call upwards: takes the hub down, in the middle of the thread's end. std promises no order between the destructors of
    /// two thread-locals, so there is one, this room's, which tells the hub in time.
    pub(super) on_end: Cell<Option<fn()>>,
    /// Of thread-locals.
    pub(super) destructors: List,
    /// The newest destructor of a thread-local when somebody last went on: the one that begins the end. While there is an observer,
    /// nothing that ever is one, so that each switch looks about.
    pub(super) newest_destructor: Cell<usize>,
    /// The newest of those that begin the end.
    pub(super) own_destructor: Cell<usize>,

    /// Where the OS thread's own thread-local variables are, once a fiber has others.
    #[cfg(feature = "monkey")]
    pub(super) own_variables: Cell<usize>,
    /// What a fiber had, which forks and goes on with those meanwhile.
    #[cfg(feature = "monkey")]
    pub(super) left_to_fork: Cell<usize>,
    /// What those of a fiber begin with.
    #[cfg(feature = "monkey")]
    pub(super) first_contents: RefCell<FirstContents>,
    /// By which numbers the C library knows the isolated fibers, and once there was one the others.
    #[cfg(feature = "monkey")]
    pub(super) numbers: RefCell<HashSet<i32>>,
    /// Whether the main greenlet waits for a word in the OS thread's own variables: nobody else may, meanwhile.
    #[cfg(feature = "monkey")]
    pub(super) reserved: Cell<bool>,
}

thread_local! {
    static THREAD: Cell<*const Thread> = const { Cell::new(ptr::null()) };
    /// Whether the thread's end has begun: nothing new is made any more.
    static ENDING: Cell<bool> = const { Cell::new(false) };
}

/// The record of the calling OS thread; `None` where no fiber has been used, or none can be any more.
#[inline]
pub(crate) fn existing_thread() -> Option<Local<Thread>> {
    // SAFETY: not null means put there by `set_thread`, whose caller vouches that the record stays until it takes it back; then
    // nothing of this thread uses a reference any more. It is not `Send`; what could outlive the record is a frame of a parked
    // stack, which is never resumed; a handle of a greenlet, which has lost its fiber; and a `Hub`, which looks for its
    // hub first. All of those that lie in thread-locals may be used after the end, and none of them dereferences.
    NonNull::new(THREAD.get().cast_mut()).map(|thread| unsafe { Local::new(thread) })
}

/// Makes `thread` the record of the calling OS thread, or takes that back.
///
/// # Safety
///
/// It stays valid until it is taken back, and nothing of this OS thread uses a reference to it after that.
pub(super) unsafe fn set_thread(thread: Option<Local<Thread>>) {
    THREAD.set(thread.map_or(ptr::null(), |thread| thread.as_ptr()));
}

/// Whether the end of the calling OS thread has begun: nothing is switched to, waits, or is made any more.
#[inline]
pub(crate) fn is_ending() -> bool {
    ENDING.get()
}

/// Begins the end of the calling OS thread; whether it had begun.
pub(super) fn begin_end() -> bool {
    ENDING.replace(true)
}

impl Thread {
    /// Where only its own stack runs, as `main`.
    #[cold]
    pub(super) fn new(main: FiberRef) -> Thread {
        Thread {
            current: Cell::new(main),
            main,
            directive: Cell::new(None),
            away_unwinding: Cell::new(0),
            left_behind: Cell::new(None),
            visit: Cell::new(None),
            visited: Cell::new(None),
            fibers: RefCell::new(vec![main]),
            idle: [const { RefCell::new(Vec::new()) }; CLASSES],
            vacant: RefCell::new(Vec::new()),
            os_thread: Cell::new(process::os_thread_id()),
            fiber_list: Cell::new(ptr::null()),
            fiber_count: Cell::new(0),
            told_of_switches: Cell::new(None),
            observed: Cell::new(false),
            observer: RefCell::new(None),
            departed: RefCell::new(None),
            on_end: Cell::new(None),
            destructors: List::of_this_thread(),
            newest_destructor: Cell::new(NO_DESTRUCTOR),
            own_destructor: Cell::new(NO_DESTRUCTOR),
            #[cfg(feature = "monkey")]
            own_variables: Cell::new(0),
            #[cfg(feature = "monkey")]
            left_to_fork: Cell::new(0),
            #[cfg(feature = "monkey")]
            first_contents: RefCell::default(),
            #[cfg(feature = "monkey")]
            numbers: RefCell::default(),
            #[cfg(feature = "monkey")]
            reserved: Cell::new(false),
        }
    }

    /// Who runs.
    #[inline]
    pub(crate) fn current(&self) -> FiberRef {
        self.current.get()
    }

    /// The thread's own stack.
    #[inline]
    pub(crate) fn main(&self) -> FiberRef {
        self.main
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

    /// Where a debugger finds the fibers, which may have moved.
    pub(super) fn note_fibers(&self) {
        let fibers = self.fibers.borrow();
        self.fiber_count.set(0);
        self.fiber_list.set(fibers.as_ptr());
        self.fiber_count.set(fibers.len());
    }

    /// In the child of a fork, its number is another one.
    pub(super) fn take_os_thread(&self) {
        self.os_thread.set(process::os_thread_id());
    }

    /// How many stacks there are but the thread's own, and how many of them wait for who is to run on them.
    pub(crate) fn stacks(&self) -> (usize, usize) {
        let fibers = self.fibers.borrow().len() - 1;
        let idle = self.idle.iter().map(|idle| idle.borrow().len()).sum();
        (fibers - self.vacant.borrow().len(), idle)
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

    /// A suspended fiber, or one about to be, to which nobody can go back, for whoever goes on to end. Returns the one before, if nobody
    /// has.
    pub(crate) fn leave_behind(&self, fiber: FiberRef) -> Option<FiberRef> {
        self.left_behind.replace(Some(fiber))
    }

    /// The one to be ended by who goes on.
    #[inline]
    pub(crate) fn take_left_behind(&self) -> Option<FiberRef> {
        self.left_behind.take()
    }

    /// Has the hub taken down when the thread ends.
    pub(crate) fn set_on_end(&self, end: fn()) {
        self.on_end.set(Some(end));
    }

    /// Whether switches are observed.
    #[inline]
    pub(crate) fn is_observed(&self) -> bool {
        self.observed.get()
    }

    /// Who observes them.
    pub(crate) fn observer(&self) -> Option<Rc<dyn Observer>> {
        self.observer.borrow().clone()
    }

    /// Keeps who has just ended for the observer.
    pub(super) fn note_departed(&self, occupant: Rc<dyn Occupant>) {
        if self.is_observed() {
            let former = self.departed.replace(Some(occupant));
            drop(former);
        }
    }

    /// Who ended last, once.
    pub(crate) fn take_departed(&self) -> Option<Rc<dyn Occupant>> {
        self.departed.take()
    }
}
