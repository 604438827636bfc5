//! What is asked for with a new thread, and told of one: pthread_attr_t.

use std::ffi::c_void;
use std::mem::{self, MaybeUninit};
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;

use libc::{c_int, cpu_set_t, pthread_attr_t, sigset_t, size_t};

use super::memory;

unsafe extern "C" {
    fn pthread_attr_getdetachstate(attributes: *const pthread_attr_t, state: *mut c_int) -> c_int;
    fn pthread_attr_setdetachstate(attributes: *mut pthread_attr_t, state: c_int) -> c_int;
    fn pthread_attr_getinheritsched(attributes: *const pthread_attr_t, inherit: *mut c_int) -> c_int;
    fn pthread_attr_getstack(
        attributes: *const pthread_attr_t,
        address: *mut *mut c_void,
        size: *mut size_t,
    ) -> c_int;
    fn pthread_attr_setstack(attributes: *mut pthread_attr_t, address: *mut c_void, size: size_t) -> c_int;
    fn pthread_attr_setguardsize(attributes: *mut pthread_attr_t, size: size_t) -> c_int;
    fn pthread_attr_getstacksize(attributes: *const pthread_attr_t, size: *mut size_t) -> c_int;
    fn pthread_attr_getaffinity_np(
        attributes: *const pthread_attr_t,
        size: size_t,
        processors: *mut cpu_set_t,
    ) -> c_int;
    fn pthread_getattr_default_np(attributes: *mut pthread_attr_t) -> c_int;
}

const DETACHED: c_int = 1;
const INHERIT_SCHED: c_int = 0;

/// What a stack has less than was asked for: in a thread that the C library makes, its record and the variables lie there.
const RECORD: usize = 4096;

/// What a new thread is to be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    /// The bytes of its stack.
    pub(crate) stack: usize,
    pub(crate) detached: bool,
}

/// What `attributes` ask for, or null; `None` if that takes an OS thread: a scheduling class, processors, a signal mask of its own, or
/// the caller's memory as its stack.
///
/// # Safety
///
/// `attributes` must be null or initialised.
pub(crate) unsafe fn wishes(attributes: *const pthread_attr_t) -> Option<Wishes> {
    if attributes.is_null() {
        return Some(Wishes { stack: default_stack()?, detached: false });
    }
    // SAFETY: the caller's contract, here and below.
    let detached = unsafe { ask(attributes, pthread_attr_getdetachstate) }?;
    // SAFETY: as above.
    let inherit = unsafe { ask(attributes, pthread_attr_getinheritsched) }?;
    // SAFETY: as above.
    let stack: size_t = unsafe { ask(attributes, pthread_attr_getstacksize) }?;
    let (mut lowest, mut length) = (ptr::null_mut(), 0);
    // SAFETY: as above, and the places are valid for writes.
    let told = unsafe { pthread_attr_getstack(attributes, &mut lowest, &mut length) };
    // One that was not set ends at 0.
    let has_stack = told != 0 || lowest.addr().wrapping_add(length) != 0;
    // SAFETY: as above.
    let is_bound = inherit != INHERIT_SCHED || has_stack || unsafe { has_processors_or_mask(attributes) };
    (!is_bound).then(|| Wishes { stack: stack.saturating_sub(RECORD), detached: detached == DETACHED })
}

/// # Safety
///
/// `attributes` must be initialised, and `get` one of the functions above.
unsafe fn ask<T: Default>(
    attributes: *const pthread_attr_t,
    get: unsafe extern "C" fn(*const pthread_attr_t, *mut T) -> c_int,
) -> Option<T> {
    let mut value = T::default();
    // SAFETY: the caller's contract; the place is valid for writes.
    (unsafe { get(attributes, &mut value) } == 0).then_some(value)
}

/// # Safety
///
/// `attributes` must be initialised.
unsafe fn has_processors_or_mask(attributes: *const pthread_attr_t) -> bool {
    type GetMask = unsafe extern "C" fn(*const pthread_attr_t, *mut sigset_t) -> c_int;
    /// Since glibc 2.32.
    #[expect(
        clippy::disallowed_methods,
        reason = "a function of a name that is found while the program runs"
    )]
    fn get_mask() -> Option<GetMask> {
        static FOUND: OnceLock<Option<GetMask>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            // SAFETY: a C string.
            let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"pthread_attr_getsigmask_np".as_ptr()) };
            // SAFETY: the C library's function of this name has this type.
            (!found.is_null()).then(|| unsafe { mem::transmute::<*mut c_void, GetMask>(found) })
        })
    }
    let mut processors = [0_u64; size_of::<cpu_set_t>() / size_of::<u64>()];
    // SAFETY: the caller's contract; the set is valid for writes of its size.
    let told = unsafe {
        pthread_attr_getaffinity_np(attributes, size_of_val(&processors), processors.as_mut_ptr().cast())
    };
    // All, where none were set.
    if told != 0 || processors.iter().any(|some| *some != u64::MAX) {
        return true;
    }
    let mut mask = MaybeUninit::<sigset_t>::uninit();
    // SAFETY: the caller's contract; the mask is valid for writes. It is -1 where none was set.
    get_mask().is_some_and(|get| unsafe { get(attributes, mask.as_mut_ptr()) } == 0)
}

/// The bytes of a stack that nobody has chosen.
fn default_stack() -> Option<usize> {
    let mut attributes = MaybeUninit::<pthread_attr_t>::uninit();
    // SAFETY: valid for writes.
    if unsafe { pthread_getattr_default_np(attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let mut stack = 0;
    // SAFETY: initialised by the call.
    unsafe { pthread_attr_getstacksize(attributes.as_ptr(), &mut stack) };
    // SAFETY: as above.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    Some(stack.saturating_sub(RECORD))
}

/// Writes what a thread is like to `attributes`; an error's number, or 0.
///
/// # Safety
///
/// `attributes` must be valid for writes.
pub(crate) unsafe fn describe(attributes: *mut pthread_attr_t, stack: Range<usize>, detached: bool) -> c_int {
    let lowest = ptr::with_exposed_provenance_mut(stack.start);
    // SAFETY: the caller's contract.
    let result = unsafe { libc::pthread_attr_init(attributes) };
    if result != 0 {
        return result;
    }
    // SAFETY: initialised above; the stack is only told of.
    unsafe { pthread_attr_setstack(attributes, lowest, stack.len()) };
    // SAFETY: as above. The guard is larger, but nobody is to reckon with that.
    unsafe { pthread_attr_setguardsize(attributes, memory::page_size()) };
    // SAFETY: as above.
    unsafe { pthread_attr_setdetachstate(attributes, if detached { DETACHED } else { 0 }) }
}
