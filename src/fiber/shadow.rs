//! Coroutines that ThreadSanitizer sees: to it each stack is a thread, and a switch orders what follows after what was before.
//!
//! Compiled with `--cfg thread_sanitizer` only, see `.ci/run`.

use std::ffi::{c_uint, c_void};
use std::fmt;
use std::ptr::NonNull;

use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::stack::Stack;

type Fiber = Option<NonNull<c_void>>;

unsafe extern "C" {
    safe fn __tsan_create_fiber(flags: c_uint) -> Fiber;
    safe fn __tsan_get_current_fiber() -> Fiber;
    fn __tsan_switch_to_fiber(fiber: Fiber, flags: c_uint);
    fn __tsan_destroy_fiber(fiber: Fiber);
}

/// A coroutine, and the thread that the sanitizer takes it for.
pub(super) struct Swap {
    coroutine: Coroutine<(), (), (), Stack>,
    shadow: Shadow,
}

struct Shadow(Fiber);

impl Swap {
    pub(super) fn with_stack(stack: Stack, body: impl FnOnce(&Yielder<(), ()>, ()) + 'static) -> Swap {
        Swap { coroutine: Coroutine::with_stack(stack, body), shadow: Shadow(__tsan_create_fiber(0)) }
    }

    pub(super) fn resume(&mut self, (): ()) -> CoroutineResult<(), ()> {
        let home = __tsan_get_current_fiber();
        // SAFETY: it was made with the coroutine, and goes with it; the stack is not running, for it is about to be resumed.
        unsafe { __tsan_switch_to_fiber(self.shadow.0, 0) };
        let result = self.coroutine.resume(());
        // SAFETY: it was the current one when this call began, on this OS thread, whose own stack runs again.
        unsafe { __tsan_switch_to_fiber(home, 0) };
        result
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        // SAFETY: made by `with_stack`; the stack has run to its end.
        unsafe { __tsan_destroy_fiber(self.0) };
    }
}

impl fmt::Debug for Swap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Swap")
    }
}
