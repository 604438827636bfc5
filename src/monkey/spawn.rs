//! Threads of C's, and so of std's, as green threads of the calling hub: what makes one, and what asks for one by its number.

use std::ffi::{CStr, c_void};

use libc::{c_char, c_int, pthread_attr_t, pthread_t, size_t};

use super::call::Call;
use super::parts::Parts;
use super::stand_ins::{self, NAME_LENGTH, find, is_out_of_reach};
use crate::fiber::{existing_thread, is_ending};
use crate::sys::counted_threads;
use crate::sys::original;
use crate::sys::section::is_any_open;
use crate::sys::thread_attributes::{describe, wishes};
use crate::sys::thread_start::Start;
use crate::sys::virtual_clock::ask;

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: Option<Start>,
    argument: *mut c_void,
) -> c_int {
    // The library's own threads are made in a section.
    if !is_any_open()
        && Call::enter(Parts::SPAWN).is_some()
        && !is_ending()
        && let Some(start) = start
        // SAFETY: the caller's contract is that of the C library's function.
        && let Some(wishes) = unsafe { wishes(attributes) }
    {
        // SAFETY: as above.
        return match unsafe { stand_ins::begin(start, argument, wishes) } {
            Ok(number) => {
                // SAFETY: as above.
                unsafe { thread.write(number) };
                0
            }
            // No more memory, no more OS threads for blocks, or more than a stack can have.
            Err(_) => libc::EAGAIN,
        };
    }
    let make = |start, argument| {
        // SAFETY: the caller's contract.
        unsafe { original::pthread_create(thread, attributes, start, argument) }
    };
    // Those that the library makes are at work while they have a job, which counts.
    let threads =
        if is_any_open() { None } else { ask(|clock| clock.threads_to_come()).or_else(counted_threads::own) };
    let (Some(threads), Some(start)) = (threads, start) else { return make(start, argument) };
    let counted = |start, argument| {
        let error = make(Some(start), argument);
        // SAFETY: as above; the C library has written it if there is no error.
        (error, if error == 0 { unsafe { thread.read() } } else { 0 })
    };
    // SAFETY: as above.
    unsafe { threads.create(start, argument, counted) }
}

fn own_number() -> pthread_t {
    // SAFETY: takes nothing.
    unsafe { libc::pthread_self() }
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_exit(value: *mut c_void) -> ! {
    if let Some(stand_in) = find(own_number()) {
        stand_in.set_value(value);
    }
    // SAFETY: the caller's contract is that of the C library's function. A stand-in has registered where it jumps to.
    unsafe { original::pthread_exit(value) };
    // SAFETY: takes nothing; it does not come back.
    unsafe { libc::abort() }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_detach(thread: pthread_t) -> c_int {
    match find(thread) {
        Some(stand_in) => stand_in.detach(),
        // SAFETY: the caller's contract is that of the C library's function.
        None => unsafe { original::pthread_detach(thread) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cancel(thread: pthread_t) -> c_int {
    match find(thread) {
        Some(stand_in) => {
            stand_in.cancel();
            0
        }
        None if is_out_of_reach(thread) => libc::ESRCH,
        // SAFETY: the caller's contract is that of the C library's function.
        None => unsafe { original::pthread_cancel(thread) },
    }
}

/// A signal goes to an OS thread, and a stand-in has none: only itself finds the one that it runs on. Async-signal-safe.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_kill(thread: pthread_t, signal: c_int) -> c_int {
    match is_out_of_reach(thread) || find(thread).is_some() {
        true if signal == 0 => 0,
        true if thread != own_number() => libc::ESRCH,
        // SAFETY: the caller's contract is that of the C library's function.
        _ => unsafe { original::pthread_kill(thread, signal) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setname_np(thread: pthread_t, name: *const c_char) -> c_int {
    let Some(stand_in) = find(thread) else {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::pthread_setname_np(thread, name) };
    };
    // SAFETY: as above: a C string.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    if name.len() >= NAME_LENGTH {
        return libc::ERANGE;
    }
    let mut kept = [0; NAME_LENGTH];
    kept[..name.len()].copy_from_slice(name);
    stand_in.set_name(kept);
    if thread == own_number()
        && let Some(description) = existing_thread().map(|thread| thread.current())
        && let Some(description) = description.description()
    {
        // For reports. The OS thread keeps its own.
        description.give_name(&String::from_utf8_lossy(name));
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getname_np(thread: pthread_t, name: *mut c_char, length: size_t) -> c_int {
    let Some(stand_in) = find(thread) else {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::pthread_getname_np(thread, name, length) };
    };
    if length < NAME_LENGTH {
        return libc::ERANGE;
    }
    match stand_in.name() {
        Some(kept) => {
            // SAFETY: as above: valid for writes of so many bytes.
            unsafe { kept.as_ptr().copy_to_nonoverlapping(name.cast(), NAME_LENGTH) };
            0
        }
        // As that of the thread that has made it.
        // SAFETY: as above: valid for writes of so many bytes.
        None if unsafe { libc::prctl(libc::PR_GET_NAME, name) } == 0 => 0,
        None => libc::ESRCH,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getattr_np(thread: pthread_t, attributes: *mut pthread_attr_t) -> c_int {
    match find(thread).map(|stand_in| stand_in.extent()) {
        None if is_out_of_reach(thread) => libc::ESRCH,
        // SAFETY: the caller's contract is that of the C library's function.
        None => unsafe { original::pthread_getattr_np(thread, attributes) },
        Some(None) => libc::ESRCH,
        // SAFETY: as above.
        Some(Some((stack, detached))) => unsafe { describe(attributes, stack, detached) },
    }
}
