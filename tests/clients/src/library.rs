//! C libraries, opened at run time: they are linked with no regard to greenloop.

#![expect(unsafe_code, reason = "functions are found by their names")]

use std::ffi::{CStr, c_void};

/// An open library, for good.
pub fn open(name: &CStr) -> *mut c_void {
    // SAFETY: a C string; the initialisers of the libraries here do nothing to this program.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!library.is_null(), "{name:?} is missing; `.ci/run` installs it");
    library
}

/// # Safety
///
/// `library` is open and stays so, and the function `name` has the type `F`.
pub unsafe fn find<F: Copy>(library: *mut c_void, name: &CStr) -> F {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: an open library and a C string.
    let function: *mut c_void = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!function.is_null(), "the library has no {name:?}");
    // SAFETY: the caller says that it is an `F`, and it is as large.
    unsafe { (&raw const function).cast::<F>().read() }
}
