//! Keys of values that each thread has for itself: which there are, so that an isolated green thread's values can be destroyed as it
//! ends. The C library tells nobody, so this is noted from the program's beginning on, whatever is patched.

use libc::c_int;

use crate::sys::original;
use crate::sys::thread_end::{Destructor, Key, forget_key, note_key};

/// `thrd_success`, of C11.
const SUCCESS: c_int = 0;

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_key_create(key: *mut Key, destructor: Option<Destructor>) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let result = unsafe { original::pthread_key_create(key, destructor) };
    if result == 0 {
        // SAFETY: the call has written it.
        note_key(unsafe { *key }, destructor);
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_key_delete(key: Key) -> c_int {
    // Before: afterwards the number may be another key's.
    forget_key(key);
    // SAFETY: as above.
    unsafe { original::pthread_key_delete(key) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tss_create(key: *mut Key, destructor: Option<Destructor>) -> c_int {
    // SAFETY: as above.
    let result = unsafe { original::tss_create(key, destructor) };
    if result == SUCCESS {
        // SAFETY: the call has written it.
        note_key(unsafe { *key }, destructor);
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tss_delete(key: Key) {
    forget_key(key);
    // SAFETY: as above.
    unsafe { original::tss_delete(key) }
}
