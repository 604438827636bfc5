//! The switch itself.
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

use std::mem;
use std::rc::Rc;

use super::fiber::FiberRef;
use super::guard::in_callback;
use super::thread::{Observer, Thread};
use super::uncaught::callback;
use crate::sys::errno;

/// How [`Thread::run`] came back to the thread's own stack.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub(crate) enum Stopped {
    /// The fiber left the choice of the next to the hub.
    Idle,
    /// The main greenlet is to go on.
    Main,
}

impl Thread {
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

    /// Leaves the current stack: for `target`, or for whatever the hub runs next. Returns when control comes back. Where that leaves the
    /// thread's own stack to the hub, `run_others` runs there, and returns when the main greenlet is to go on.
    #[inline(always)]
    pub(crate) fn leave(&self, target: Option<FiberRef>, run_others: impl FnOnce()) {
        debug_assert!(!in_callback(), "who leaves has asked whether it may");
        let current = self.current.get();
        if current == self.main {
            errno::keeping(|| self.relay(target, run_others));
        } else {
            self.directive.set(target);
            let yielder = current.yielder.get();
            current.depth.set(yielder.addr().wrapping_sub((&raw const yielder).addr()) as u32);
            // SAFETY: `current` runs, so it was resumed, and `live` has set the yielder, which lies on its stack.
            errno::keeping(|| unsafe { &*yielder }.suspend(()));
        }
    }

    /// The main greenlet waits: the thread's own stack runs the others meanwhile.
    #[inline(always)]
    fn relay(&self, target: Option<FiberRef>, run_others: impl FnOnce()) {
        let unwinds = EndFirst(self);
        let stopped = target.map_or(Stopped::Idle, |target| self.run_for_main(target));
        if stopped == Stopped::Idle {
            run_others();
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

    /// Has every switch told to `observer` from now on. Returns who was told so far.
    pub(crate) fn observe(&self, observer: Option<Rc<dyn Observer>>) -> Option<Rc<dyn Observer>> {
        self.observed.set(observer.is_some());
        self.end_first();
        self.observer.replace(observer)
    }

    /// [`run`](Thread::run) for who switches to a greenlet, which is done from many places.
    #[inline(never)]
    fn run_for_main(&self, target: FiberRef) -> Stopped {
        self.run(target)
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
