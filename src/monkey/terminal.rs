//! What has been written to a terminal, and has not gone out yet.

use libc::c_int;

use super::call::{Call, failed};
use super::parts::Parts;
use super::pauses::Pauses;
use crate::sys::original;

/// Whether anything is still in the queue of the terminal; not for what is none.
fn has_output(fd: c_int) -> bool {
    let mut queued: c_int = 0;
    // SAFETY: `queued` is valid for writes.
    unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &mut queued) == 0 && queued > 0 }
}

/// The kernel tells nobody that a queue has become empty. What is in the device itself then, a few bytes, is waited for by the C
/// library's own, which also says what is no terminal.
#[unsafe(no_mangle)]
unsafe extern "C" fn tcdrain(fd: c_int) -> c_int {
    if let Some(call) = Call::enter(Parts::SOCKET) {
        call.give_way_if_interrupted();
        let mut pauses = Pauses::new();
        while has_output(fd) {
            if call.try_sleep_until(pauses.next(None)).is_err() {
                return failed(call.refuse_with(libc::EIO));
            }
        }
    }
    // SAFETY: takes no pointers.
    unsafe { original::tcdrain(fd) }
}
