//! Waiting on a word, for OS threads that are to stop, whatever is patched.

use std::ptr;
use std::sync::atomic::AtomicU32;

use super::original;

/// Stops the calling OS thread until [`wake`], unless `word` is not `expected`; or returns for no reason.
pub(crate) fn wait(word: &AtomicU32, expected: u32) {
    call(word, libc::FUTEX_WAIT, expected);
}

/// Lets everybody who waits on `word` go on.
pub(crate) fn wake(word: &AtomicU32) {
    call(word, libc::FUTEX_WAKE, i32::MAX as u32);
}

fn call(word: &AtomicU32, operation: libc::c_int, value: u32) {
    let word = ptr::from_ref(word).expose_provenance();
    let operation = operation | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word is valid for the call, as it is borrowed; there is no time limit and no second word. Whatever error
    // there is means not to wait.
    unsafe {
        original::syscall(
            libc::SYS_futex,
            word.cast_signed() as libc::c_long,
            operation.into(),
            value.into(),
            0,
            0,
            0,
        )
    };
}
