//! A wait that stops its OS thread: for a word that lies in a thread-local variable, which green threads have in common.

use std::io;
use std::sync::Once;
use std::time::Duration;

use libc::c_long;

use super::call::Call;
use crate::fiber::report_text;
use crate::hub::no_unwind::who;
use crate::sys::clock::Time;
use crate::sys::original;

/// How long a wait may stop the OS thread before it is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// Stops the OS thread while the word at `word` is `value`, until the deadline at the latest; `None` if the call is to be made again as
/// it is. Whoever is to end the wait may be a green thread of this very OS thread, so that it lasts as long as it can: that is told, to a
/// caller that was killed as well, for he has no error to return.
///
/// # Safety
///
/// As for futex(2).
#[cold]
pub(super) unsafe fn stop(
    call: Call,
    word: usize,
    value: u32,
    bits: u32,
    deadline: Option<Time>,
) -> Option<c_long> {
    static TOLD: Once = Once::new();
    if TOLD.is_completed() {
        return None;
    }
    let patience = Time::after(PATIENCE);
    let is_patient = |deadline: &Time| *deadline <= patience;
    // SAFETY: the caller's contract.
    let result =
        unsafe { wait_in_kernel(word, value, bits, deadline.filter(is_patient).unwrap_or(patience)) };
    let in_time = result != -1 || io::Error::last_os_error().raw_os_error() != Some(libc::ETIMEDOUT);
    if in_time || deadline.is_some_and(|deadline| is_patient(&deadline)) {
        return Some(result);
    }
    TOLD.call_once(|| {
        report_text(&format!(
            "{} has stopped its OS thread for a second: it waits for a lock that lies in a thread-local variable, as those of \
             parking_lot do, and others here have the same variables. A green thread yields if it is isolated, by \
             greenloop::monkey::patch_all or greenloop::Builder::isolated, and the main greenlet if all others are",
            who(call.hub.thread.current())
        ));
    });
    // SAFETY: as above.
    deadline.map(|deadline| unsafe { wait_in_kernel(word, value, bits, deadline) })
}

/// Stops the OS thread for good, which is told: the main greenlet waits in the same variables, and a wake would be for one of the two.
#[cold]
pub(super) fn stop_for_ever() -> ! {
    report_text(
        "an OS thread has stopped for ever: a hub callback, or a greenlet that is not isolated, waits for a lock that lies in a \
         thread-local variable, as those of parking_lot do, while the main greenlet waits there",
    );
    loop {
        // SAFETY: takes no pointers that are not null.
        unsafe { original::poll(std::ptr::null_mut(), 0, -1) };
    }
}

/// # Safety
///
/// As for futex(2).
unsafe fn wait_in_kernel(word: usize, value: u32, bits: u32, deadline: Time) -> c_long {
    let operation = libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG;
    let deadline = deadline.timespec();
    let until = (&raw const deadline).expose_provenance();
    // SAFETY: the caller's contract; the deadline is valid for reads, and of this clock.
    unsafe {
        original::syscall(
            libc::SYS_futex,
            word as c_long,
            operation.into(),
            value.into(),
            until as c_long,
            0,
            bits.into(),
        )
    }
}
