//! The fibers of an OS thread: made, lived, kept warm for the next, and buried.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;

use corosensei::{CoroutineResult, Yielder};

use super::fiber::{Entry, Fiber, FiberRef, State, Swap};
#[cfg(feature = "monkey")]
use super::identity;
use super::local::Local;
use super::stack::{SizeClass, Stack};
use super::thread::{Thread, existing_thread};
use super::uncaught;
use crate::error::StackError;
#[cfg(feature = "monkey")]
use crate::sys::float_control::FloatControl;
#[cfg(feature = "monkey")]
use crate::sys::process;
#[cfg(feature = "monkey")]
use crate::sys::thread_local::move_to;

/// Idle fibers that a thread keeps, with their warm stacks, for the next green threads.
const IDLE_FIBERS: usize = 16 * 1024;

/// Fibers made at a time, so that none of them has an allocation's overhead; but for a thread's first, which is alone.
pub(super) const CHUNK: usize = 16;

impl Thread {
    /// A fiber with a stack and nothing to run, which will begin with `entry`: an idle one, warm, or a new one.
    #[inline]
    pub(crate) fn take_fiber(&self, class: SizeClass, entry: Entry) -> Result<FiberRef, StackError> {
        let fiber = match self.idle[class.index()].borrow_mut().pop() {
            Some(fiber) => fiber,
            None => self.make_fiber(class)?,
        };
        fiber.entry.set(entry);
        fiber.state.set(State::Running);
        #[cfg(feature = "monkey")]
        fiber.float_control.set(None);
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
        // SAFETY: the fiber had no stack, so nobody else uses the cell.
        unsafe { *fiber.swap.get() = Some(swap) };
        Ok(fiber)
    }

    #[cold]
    fn add_vacant(&self) {
        let mut fibers = self.fibers.borrow_mut();
        let first = fibers.len() as u32;
        let count = if first == 1 { 1 } else { CHUNK };
        let chunk: Box<[Fiber]> = (first..first + count as u32).map(Fiber::new).collect();
        let start = Box::into_raw(chunk).cast::<Fiber>();
        let added = (0..count).map(|index| {
            let fiber = NonNull::new(start.wrapping_add(index)).expect("not null, as a box is not");
            // SAFETY: the chunk is freed by `end_thread` alone, after the last use.
            unsafe { Local::new(fiber) }
        });
        fibers.extend(added);
        self.vacant.borrow_mut().extend(fibers[first as usize..].iter().rev());
        drop(fibers);
        self.note_fibers();
    }

    #[inline]
    pub(super) fn resume(&self, fiber: FiberRef) {
        // SAFETY: we are on another stack and `fiber` is suspended, so this is the only access to `swap` until it suspends again: by
        // the field's invariant nobody touches that of one which runs, or has resumed another.
        let swap = unsafe { &mut *fiber.swap.get() };
        let swap = swap.as_mut().expect("a fiber that is resumed has a stack");
        // One with its own variables has those of std among them.
        #[cfg(feature = "monkey")]
        fiber.has_identity.set(fiber.variables.get() == 0 && identity::exchange(&fiber.identity));
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

    /// Resumes `fiber` with its own thread-local variables, if it has some before or afterwards, and with its own way to compute with
    /// floating-point numbers. Not inlined: nothing here may use a variable, nor keep its address.
    #[cfg(feature = "monkey")]
    #[inline(never)]
    fn resume_with_variables(&self, fiber: FiberRef, swap: &mut Swap) -> CoroutineResult<(), ()> {
        let variables = fiber.variables.get();
        if variables != 0 {
            // SAFETY: who has set them has found that they can be moved, and lets nobody else use them.
            unsafe { move_to(variables) };
        }
        let result = resume_computing(fiber, swap);
        if fiber.variables.get() != 0 {
            self.return_to_own_variables();
        }
        result
    }

    /// Resumes `fiber`, which has variables of its own, and goes on with those if it still has. Returns whether it has returned. For
    /// who keeps to the rules of [`run_isolated`](Thread::run_isolated).
    #[cfg(feature = "monkey")]
    #[inline(always)]
    pub(super) fn resume_isolated(&self, fiber: FiberRef) -> bool {
        // SAFETY: as in `resume`.
        let swap = unsafe { &mut *fiber.swap.get() };
        // No panic: that would use a variable.
        let Some(swap) = swap.as_mut() else { process::abort_with("a fiber that is resumed has no stack") };
        // std's variables are among its own.
        fiber.has_identity.set(false);
        // SAFETY: who has set them has found that they can be moved, and lets nobody else use them. The caller uses none.
        unsafe { move_to(fiber.variables.get()) };
        matches!(resume_computing(fiber, swap), CoroutineResult::Return(()))
    }

    /// Goes on with the OS thread's own variables, since a fiber has others. As for [`run_isolated`](Thread::run_isolated).
    #[cfg(feature = "monkey")]
    #[inline(always)]
    pub(super) fn return_to_own_variables(&self) {
        // SAFETY: they can be moved, since a fiber has others; these are the OS thread's. The caller uses none.
        unsafe { move_to(self.own_variables.get()) };
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
    #[inline(never)]
    pub(super) fn bury(&self, fiber: FiberRef) {
        // SAFETY: we are on another stack, and the fiber's coroutine has returned: nobody else uses the cell.
        drop(unsafe { (*fiber.swap.get()).take() });
        fiber.extent.set(None);
        self.vacant.borrow_mut().push(fiber);
    }
}

/// Resumes `fiber` with its own way to compute with floating-point numbers.
#[cfg(feature = "monkey")]
#[inline(always)]
fn resume_computing(fiber: FiberRef, swap: &mut Swap) -> CoroutineResult<(), ()> {
    let here = FloatControl::now();
    match fiber.float_control.get() {
        Some(own) if own != here => own.restore(),
        Some(_) => {}
        None => fiber.first_float_control.set(Some(here)),
    }
    let result = swap.resume(());
    let own = FloatControl::now();
    fiber.float_control.set(Some(own));
    if own != here {
        here.restore();
    }
    result
}

/// Something has escaped at the root of a stack.
#[cold]
fn end_of_failed_run(fiber: FiberRef, payload: Box<dyn Any + Send>) -> Option<FiberRef> {
    uncaught::report("a destructor at the end of a green thread", &*payload);
    uncaught::discard(payload);
    fiber.end_run();
    None
}

/// The whole life of a fiber's stack: run something, wait for the next.
fn live(fiber: FiberRef, yielder: &Yielder<(), ()>) {
    fiber.yielder.set(yielder);
    fiber.measure_depth((&raw const fiber).addr());
    while fiber.state.get() != State::Idle {
        // Nothing is below this frame that could catch: the destructor of a result that nobody takes may raise.
        let run = panic::catch_unwind(AssertUnwindSafe(|| (fiber.entry.get())(fiber)));
        let next = run.unwrap_or_else(|payload| end_of_failed_run(fiber, payload));
        let thread = existing_thread().expect("a fiber lives in a thread that has a record");
        thread.directive.set(Some(next.unwrap_or(fiber)));
        if !thread.keep(fiber) {
            return;
        }
        yielder.suspend(());
    }
}
