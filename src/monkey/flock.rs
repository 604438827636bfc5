//! Locks on files, which processes have between them.

use std::time::Duration;

use libc::c_int;

use super::call::{Call, errno, failed};
use super::parts::Parts;
use crate::sys::clock::Time;
use crate::sys::original;

/// The longest pause between two tries: the kernel tells nobody who does not block.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

#[unsafe(no_mangle)]
unsafe extern "C" fn flock(fd: c_int, operation: c_int) -> c_int {
    let call = match Call::enter(Parts::FILES) {
        Some(call) if operation & libc::LOCK_NB == 0 => call,
        // SAFETY: takes no pointers.
        _ => return unsafe { original::flock(fd, operation) },
    };
    call.give_way_if_interrupted();
    let mut pause = Duration::from_millis(1);
    loop {
        // SAFETY: as above.
        let result = unsafe { original::flock(fd, operation | libc::LOCK_NB) };
        if result == 0 || errno() != libc::EWOULDBLOCK {
            return result;
        }
        if call.try_sleep_until(Time::after(pause)).is_err() {
            return failed(call.refuse_with(libc::ENOLCK));
        }
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}
