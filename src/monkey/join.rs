//! The end of a thread, waited for: of a green thread that stands in for one, or of an OS thread.

use std::ffi::c_void;
use std::ptr;

use libc::{c_int, clockid_t, pthread_t, timespec};

use super::call::Call;
use super::contended::deadline;
use super::off_hub::{apart, apart_uncounted};
use super::parts::Parts;
use super::stand_ins::{Patience, StandIn, find};
use crate::fiber::isolation::is_isolated;
use crate::sys::original;
use crate::sys::virtual_clock::ask;

/// # Safety
///
/// `result` must be null or valid for writes.
unsafe fn join(stand_in: &StandIn, result: *mut *mut c_void, patience: Patience) -> c_int {
    // SAFETY: takes nothing.
    match stand_in.join(unsafe { libc::pthread_self() }, patience) {
        Err(error) => error,
        Ok(value) => {
            if !result.is_null() {
                // SAFETY: the caller's contract.
                unsafe { result.write(value) };
            }
            0
        }
    }
}

fn is_caller(thread: pthread_t) -> bool {
    // SAFETY: takes nothing.
    thread == unsafe { libc::pthread_self() }
}

/// What is said to who joins itself, which on another OS thread would be waited for. The C library takes an isolated one for detached;
/// of all others it says what it has to.
fn refusal_of_caller() -> Option<c_int> {
    is_isolated().then_some(libc::EDEADLK)
}

/// A join without a time limit; `None` if it is the C library's alone.
///
/// # Safety
///
/// As for pthread_join(3).
unsafe fn join_at_last(thread: pthread_t, result: *mut *mut c_void) -> Option<c_int> {
    if let Some(stand_in) = find(thread) {
        // SAFETY: the caller's contract.
        return Some(unsafe { join(&stand_in, result, Patience::Until(None)) });
    }
    Call::enter(Parts::THREADS)?;
    if is_caller(thread) {
        return refusal_of_caller();
    }
    let result = result.expose_provenance();
    let join = move || {
        // SAFETY: the caller's contract, and it waits, so `result` is still there.
        unsafe { original::pthread_join(thread, ptr::with_exposed_provenance_mut(result)) as isize }
    };
    // Its thread counts while it is at work, and the join from then on. Before, that may wait for the time to pass.
    let joining = ask(|clock| clock.threads().begin_join(thread)).flatten();
    Some(if joining.is_some() { apart_uncounted(join) } else { apart(join) } as c_int)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_join(thread: pthread_t, result: *mut *mut c_void) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    unsafe { join_at_last(thread, result) }
        // SAFETY: as above.
        .unwrap_or_else(|| unsafe { original::pthread_join(thread, result) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_tryjoin_np(thread: pthread_t, result: *mut *mut c_void) -> c_int {
    match find(thread) {
        // SAFETY: the caller's contract is that of the C library's function.
        Some(stand_in) => unsafe { join(&stand_in, result, Patience::None) },
        // SAFETY: as above.
        None => unsafe { original::pthread_tryjoin_np(thread, result) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_timedjoin_np(
    thread: pthread_t,
    result: *mut *mut c_void,
    until: *const timespec,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    unsafe { join_until(thread, result, libc::CLOCK_REALTIME, until) }
        // SAFETY: as above.
        .unwrap_or_else(|| unsafe { original::pthread_timedjoin_np(thread, result, until) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_clockjoin_np(
    thread: pthread_t,
    result: *mut *mut c_void,
    clock: clockid_t,
    until: *const timespec,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    unsafe { join_until(thread, result, clock, until) }
        // SAFETY: as above.
        .unwrap_or_else(|| unsafe { original::pthread_clockjoin_np(thread, result, clock, until) })
}

/// A join with a time limit; `None` if it is the C library's alone.
///
/// # Safety
///
/// As for pthread_clockjoin_np(3).
unsafe fn join_until(
    thread: pthread_t,
    result: *mut *mut c_void,
    clock: clockid_t,
    until: *const timespec,
) -> Option<c_int> {
    if until.is_null() {
        // SAFETY: the caller's contract.
        return unsafe { join_at_last(thread, result) };
    }
    if let Some(stand_in) = find(thread) {
        // SAFETY: the caller's contract.
        return Some(match unsafe { deadline(clock, until) } {
            // SAFETY: as above.
            Ok(deadline) => unsafe { join(&stand_in, result, Patience::Until(Some(deadline))) },
            Err(()) => libc::EINVAL,
        });
    }
    Call::enter(Parts::THREADS)?;
    if is_caller(thread) {
        return refusal_of_caller();
    }
    let result = result.expose_provenance();
    // SAFETY: the caller's contract.
    let until = unsafe { *until };
    let join = move || {
        let result = ptr::with_exposed_provenance_mut(result);
        // SAFETY: the caller's contract, and it waits, so `result` is still there.
        unsafe { original::pthread_clockjoin_np(thread, result, clock, &until) as isize }
    };
    Some(apart(join) as c_int)
}
