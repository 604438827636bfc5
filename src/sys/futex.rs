//! Waiting on a word, for OS threads that are to stop, whatever is patched.

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::original;
use super::readiness::timespec;

/// Stops the calling OS thread until [`wake`], for `timeout` at most, unless `word` is not `expected`; or returns for no reason.
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    call(word, libc::FUTEX_WAIT, expected, timeout);
}

/// Lets everybody who waits on `word` go on. Async-signal-safe.
pub(crate) fn wake(word: &AtomicU32) {
    call(word, libc::FUTEX_WAKE, i32::MAX as u32, None);
}

/// Lets one go on of those who wait on `word`.
pub(crate) fn wake_one(word: &AtomicU32) {
    call(word, libc::FUTEX_WAKE, 1, None);
}

/// Lets one go on of those of any process that wait on `word`.
#[cfg(feature = "monkey")]
pub(crate) fn wake_one_among_processes(word: &AtomicU32) {
    call_among_processes(word, libc::FUTEX_WAKE, 1, None);
}

/// Has the kernel give a word that inherits priority, which the calling OS thread has, to the first who waits for it.
#[cfg(feature = "monkey")]
pub(crate) fn unlock_inheriting(word: &AtomicU32, among_processes: bool) {
    let privately = if among_processes { 0 } else { libc::FUTEX_PRIVATE_FLAG };
    call_among_processes(word, libc::FUTEX_UNLOCK_PI | privately, 0, None);
}

/// Stops the calling OS thread until the kernel has cleared `word`, as it does with a thread's number when that has ended.
#[cfg(feature = "monkey")]
pub(crate) fn wait_until_cleared(word: &AtomicU32) {
    loop {
        // Acquire: what the thread has done is seen.
        match word.load(std::sync::atomic::Ordering::Acquire) {
            0 => return,
            // The kernel does not wake as from within the process.
            number => call_among_processes(word, libc::FUTEX_WAIT, number, None),
        }
    }
}

fn call(word: &AtomicU32, operation: libc::c_int, value: u32, timeout: Option<Duration>) {
    call_among_processes(word, operation | libc::FUTEX_PRIVATE_FLAG, value, timeout);
}

fn call_among_processes(word: &AtomicU32, operation: libc::c_int, value: u32, timeout: Option<Duration>) {
    let word = ptr::from_ref(word).expose_provenance().cast_signed() as libc::c_long;
    let operation: libc::c_long = operation.into();
    let value: libc::c_long = value.into();
    let timeout = timeout.map(timespec);
    let timeout = timeout.as_ref().map_or(0, |timeout| ptr::from_ref(timeout).expose_provenance());
    let timeout = timeout.cast_signed() as libc::c_long;
    let none: libc::c_long = 0;
    // SAFETY: the word is valid for the call, as it is borrowed; `timeout` is null or the address of a timespec that outlives the call;
    // there is no second word. Whatever error there is means not to wait.
    unsafe { original::syscall(libc::SYS_futex, word, operation, value, timeout, none, none) };
}
