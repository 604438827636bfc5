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
    fn _Unwind_GetCFA(context: *mut c_void) -> usize;
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
