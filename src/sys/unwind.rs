//! The frames of a stack, by the unwinder that std links anyway.

use std::ffi::c_void;
use std::ops::Range;

const GO_ON: libc::c_int = 0;
/// `_URC_END_OF_STACK`, or any other that is not to go on.
const STOP: libc::c_int = 5;

type Visit = unsafe extern "C" fn(context: *mut c_void, argument: *mut c_void) -> libc::c_int;

unsafe extern "C-unwind" {
    fn _Unwind_Backtrace(visit: Visit, argument: *mut c_void) -> libc::c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
    fn _Unwind_GetIPInfo(context: *mut c_void, is_before: *mut libc::c_int) -> usize;
    fn _Unwind_GetCFA(context: *mut c_void) -> usize;
}

/// Calls `take` with the place of each call of what a signal has interrupted, the innermost first, until that returns `false`. For its
/// handler, whose own frames lie on a stack of its own. Those of the interrupted stack lie within `stack`, if that is known. Neither
/// allocates nor locks, where the C library finds frames without (glibc 2.35), and the first time was before.
#[inline(never)]
pub(crate) fn frames_of_the_interrupted(stack: Option<Range<usize>>, take: &mut dyn FnMut(usize) -> bool) {
    let here = 0_u8;
    let mut walk =
        Interrupted { handler: (&raw const here).addr(), stack, is_there: false, left: MOST_FRAMES, take };
    // SAFETY: `visit_interrupted` is called with contexts of the unwinder's and with `walk`, which outlives the call, and does not unwind.
    unsafe { _Unwind_Backtrace(visit_interrupted, (&raw mut walk).cast()) };
}

/// Frames that are looked at, at most: more are of an endless recursion.
const MOST_FRAMES: usize = 512;
/// How far from where a handler is its stack reaches, at most.
const HANDLER_STACK: usize = 128 * 1024;

struct Interrupted<'a> {
    /// An address on the handler's stack.
    handler: usize,
    stack: Option<Range<usize>>,
    /// Whether the walk has come to the interrupted stack.
    is_there: bool,
    left: usize,
    take: &'a mut dyn FnMut(usize) -> bool,
}

/// # Safety
///
/// `context` is the unwinder's, and `argument` an [`Interrupted`] that nobody else uses.
unsafe extern "C" fn visit_interrupted(context: *mut c_void, argument: *mut c_void) -> libc::c_int {
    // SAFETY: the caller's promise.
    let walk = unsafe { &mut *argument.cast::<Interrupted<'_>>() };
    // SAFETY: as above.
    let frame = unsafe { _Unwind_GetCFA(context) };
    let is_within = match &walk.stack {
        Some(stack) => stack.contains(&frame),
        None => walk.is_there || frame.abs_diff(walk.handler) > HANDLER_STACK,
    };
    walk.left -= 1;
    if walk.left == 0 || walk.is_there && !is_within {
        return STOP;
    }
    if is_within {
        walk.is_there = true;
        let mut is_interrupted_here = 0;
        // SAFETY: as above, and the flag is valid to be written to.
        let address = unsafe { _Unwind_GetIPInfo(context, &mut is_interrupted_here) };
        // As after a call, which is how all others are told.
        if !(walk.take)(address + usize::from(is_interrupted_here != 0)) {
            return STOP;
        }
    }
    GO_ON
}

struct Walk<'a> {
    stack: Range<usize>,
    addresses: &'a mut Vec<usize>,
}

/// Adds to `addresses` where each call on the calling stack will return to, the innermost first, as long as the frames lie within `stack`.
/// There is to be room for them, or an allocation is made.
#[inline(never)]
pub(crate) fn return_addresses(stack: Range<usize>, addresses: &mut Vec<usize>) {
    let mut walk = Walk { stack, addresses };
    // SAFETY: `visit` is called with contexts of the unwinder's and with `walk`, which outlives the call, and does not unwind.
    unsafe { _Unwind_Backtrace(visit, (&raw mut walk).cast()) };
}

/// # Safety
///
/// `context` is the unwinder's, and `argument` a [`Walk`] that nobody else uses.
unsafe extern "C" fn visit(context: *mut c_void, argument: *mut c_void) -> libc::c_int {
    // SAFETY: the caller's promise.
    let walk = unsafe { &mut *argument.cast::<Walk<'_>>() };
    // SAFETY: as above.
    if !walk.stack.contains(&unsafe { _Unwind_GetCFA(context) }) {
        return STOP;
    }
    // SAFETY: as above.
    walk.addresses.push(unsafe { _Unwind_GetIP(context) });
    GO_ON
}
