//! Random bytes, for whoever asks the C library: in the world of a test, that world's.

use std::slice;

use libc::{c_int, c_uint, c_void, size_t, ssize_t};

use crate::sys::original;
use crate::sys::virtual_clock;

/// The kernel has written so many random bytes to `buffer`: in a world, those of the world take their place. So what the kernel refuses is
/// refused there too.
///
/// # Safety
///
/// `buffer` must be valid for writes of `count` bytes, which nobody else uses meanwhile.
#[inline]
pub(super) unsafe fn put_those_of_world(buffer: *mut u8, count: usize) {
    virtual_clock::ask(|clock| {
        if count > 0 {
            // SAFETY: the caller's contract; the kernel has written them.
            clock.fill(unsafe { slice::from_raw_parts_mut(buffer, count) });
        }
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    // SAFETY: the caller's contract is that of the C library's function.
    let count = unsafe { original::getrandom(buffer, length, flags) };
    // SAFETY: as above, and so many were written.
    unsafe { put_those_of_world(buffer.cast(), usize::try_from(count).unwrap_or(0)) };
    count
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(buffer: *mut c_void, length: size_t) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let result = unsafe { original::getentropy(buffer, length) };
    if result == 0 {
        // SAFETY: as above, and all were written.
        unsafe { put_those_of_world(buffer.cast(), length) };
    }
    result
}
