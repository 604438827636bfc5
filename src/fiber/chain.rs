//! The switch itself.
//!
//! corosensei is asymmetric: a coroutine is resumed, and suspends to who resumed it. Greenlets are symmetric. So who switches to one that
//! is suspended resumes it from its own stack, and who switches back to one that has resumed others suspends: one stack swap either way.
//! The thread's own stack and those that each have resumed the next are a *chain*, at whose end somebody runs; `design.md` has a drawing.
//!
//! One in between suspends too, and is then suspended as everybody is. So each link of the chain is made by one switch and undone once:
//! two swaps a switch at the worst, over time, whoever switches to whom. The hub runs only when the chain is empty.

use std::mem;
use std::ops::ControlFlow;
use std::rc::Rc;

use super::fiber::FiberRef;
use super::guard::in_callback;
#[cfg(feature = "monkey")]
use super::identity;
use super::thread::{Observer, Thread};
use super::uncaught::callback;
use crate::sys::errno;

impl Thread {
    /// Resumes `fiber` from the stack of `resumer`, and then whoever that one switches to. Who is to go on when none of these does:
    /// `resumer`, or one further down the chain; `None` leaves the choice to the hub.
    ///
    /// Inlined, as are its callers: the processor mispredicts each return after a switch.
    #[inline(always)]
    fn run(&self, resumer: FiberRef, mut fiber: FiberRef) -> Option<FiberRef> {
        loop {
            self.go_on_as(fiber);
            self.resume(fiber);
            match self.after(resumer, fiber) {
                ControlFlow::Continue(next) => fiber = next,
                ControlFlow::Break(end) => return end,
            }
        }
    }

    /// `fiber`, which `resumer` has resumed, has suspended: whom to resume next, or what [`run`](Thread::run) returns.
    #[inline(always)]
    fn after(&self, resumer: FiberRef, fiber: FiberRef) -> ControlFlow<Option<FiberRef>, FiberRef> {
        let Some(next) = self.directive.get() else { return ControlFlow::Break(None) };
        if next == resumer || next.has_resumed.get() {
            return ControlFlow::Break(Some(next));
        }
        if next == fiber {
            fiber.trim();
            self.directive.set(None);
            return ControlFlow::Break(None);
        }
        ControlFlow::Continue(next)
    }

    /// Resumes `fiber` from the thread's own stack, for the hub. Returns whether main is to go on.
    #[inline(always)]
    pub(crate) fn run_for_hub(&self, fiber: FiberRef) -> bool {
        self.run(self.main, fiber).is_some()
    }

    /// As [`run_for_hub`](Thread::run_for_hub), for `fiber`, which has thread-local variables of its own, and after it for those that
    /// `next` gives, which have too, as long as each only waits.
    ///
    /// From one to the next the register is written once: the thread's own stack runs on with the variables of the one that has left. So
    /// nothing here uses any, nor is what does inlined.
    ///
    /// # Safety
    ///
    /// `next` neither uses a thread-local variable, nor unwinds.
    #[cfg(feature = "monkey")]
    #[inline(never)]
    pub(crate) unsafe fn run_isolated(
        &self,
        mut fiber: FiberRef,
        mut next: impl FnMut() -> Option<FiberRef>,
    ) -> bool {
        loop {
            if self.destructors.newest() != self.newest_destructor.get() {
                self.attend_with_own_variables(fiber);
            }
            self.current.set(fiber);
            let has_returned = self.resume_isolated(fiber);
            if fiber.variables.get() == 0 {
                return self.go_on_after_isolated(fiber, has_returned);
            }
            let following = if self.directive.get().is_none() { next() } else { None };
            let Some(following) = following else {
                self.return_to_own_variables();
                return self.go_on_after_isolated(fiber, has_returned);
            };
            fiber = following;
        }
    }

    #[cfg(feature = "monkey")]
    #[cold]
    #[inline(never)]
    fn attend_with_own_variables(&self, next: FiberRef) {
        self.return_to_own_variables();
        self.attend(next);
    }

    /// The rest of [`run_isolated`](Thread::run_isolated), with the thread's own variables.
    #[cfg(feature = "monkey")]
    #[inline(never)]
    fn go_on_after_isolated(&self, fiber: FiberRef, has_returned: bool) -> bool {
        // If it has not its own variables any more, it had std's exchanged.
        if fiber.has_identity.get() {
            identity::exchange(&fiber.identity);
        }
        if has_returned {
            self.bury(fiber);
        }
        match self.after(self.main, fiber) {
            ControlFlow::Continue(next) => self.run_for_hub(next),
            ControlFlow::Break(end) => end.is_some(),
        }
    }

    /// Leaves the current stack for whatever the hub runs next. Returns when control comes back. Where that leaves the thread's own stack,
    /// `run_others` runs there, and returns when the main greenlet is to go on.
    #[inline(always)]
    pub(crate) fn wait(&self, run_others: impl FnOnce()) {
        debug_assert!(!in_callback(), "who leaves has asked whether it may");
        let current = self.current.get();
        let _errno = errno::Kept::now();
        if current == self.main {
            return self.wait_as_main(run_others);
        }
        self.directive.set(None);
        let yielder = current.yielder.get();
        current.depth.set(yielder.addr().wrapping_sub((&raw const yielder).addr()) as u32);
        self.suspend(current);
    }

    /// Leaves `current`, which runs, for `target`, which is suspended. Else as [`wait`](Thread::wait).
    #[inline(always)]
    pub(crate) fn switch(&self, current: FiberRef, target: FiberRef, run_others: impl FnOnce()) {
        debug_assert!(!in_callback(), "who leaves has asked whether it may");
        debug_assert!(current != target, "who switches to itself does not leave");
        let _errno = errno::Kept::now();
        if target.has_resumed.get() || !current.may_resume() {
            self.directive.set(Some(target));
            return self.suspend(current);
        }
        current.has_resumed.set(true);
        let next = self.run(current, target);
        // Main always has.
        current.has_resumed.set(current == self.main);
        if next == Some(current) {
            self.go_on_as(current);
        } else if current == self.main {
            self.wait_as_main(run_others);
        } else {
            // It was only in between.
            self.suspend(current);
        }
    }

    /// The same for who was only [visited](super::visit), and has not gone on.
    pub(super) fn suspend_again(&self, current: FiberRef) {
        self.directive.set(None);
        self.suspend(current);
    }

    /// `current` gives the control back to who has resumed it, which finds in `directive` where it is to go.
    #[inline(always)]
    fn suspend(&self, current: FiberRef) {
        // SAFETY: `current` runs, so it was resumed, and `live` has set the yielder, which lies on its stack.
        unsafe { &*current.yielder.get() }.suspend(());
    }

    /// The main greenlet waits: the thread's own stack runs the others meanwhile.
    #[inline(always)]
    fn wait_as_main(&self, run_others: impl FnOnce()) {
        let unwinds = EndFirst(self);
        run_others();
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
    #[inline(never)]
    fn attend(&self, next: FiberRef) {
        if let Some(tell) = self.told_of_switches.get() {
            tell(next);
        }
        if self.is_observed() {
            self.tell_observer(next);
        }
        self.end_first();
    }

    /// Control passes to `next`.
    fn tell_observer(&self, next: FiberRef) {
        let origin = self.current.replace(next);
        if origin != next {
            // What the observer owns is dropped in there too.
            callback("the trace hook", || {
                if let Some(observer) = self.observer() {
                    observer.passes(self, origin, next);
                }
            });
        }
    }

    /// Has `tell` called before every switch from now on, with who is to go on.
    pub(crate) fn tell_switches(&self, tell: Option<fn(FiberRef)>) {
        self.told_of_switches.set(tell);
        self.end_first();
    }

    /// Has every switch told to `observer` from now on. Returns who was told so far.
    pub(crate) fn observe(&self, observer: Option<Rc<dyn Observer>>) -> Option<Rc<dyn Observer>> {
        self.observed.set(observer.is_some());
        self.end_first();
        self.observer.replace(observer)
    }
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
