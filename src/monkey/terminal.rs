//! Terminals: what a read of one waits for, and what has been written to it and has not gone out yet.

use std::mem::MaybeUninit;
use std::time::Duration;

use libc::c_int;

use super::call::{Call, failed, is_nonblocking};
use super::parts::Parts;
use super::pauses::Pauses;
use crate::sys::original;

/// What a read waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Awaited {
    /// Readiness: there is something, or a line, or it is no terminal.
    Readiness,
    /// Nothing: it says what there is.
    Nothing,
    /// The first byte, but no longer than this, and then there is none.
    Within(Duration),
    /// So many bytes, or a pause after one: readiness tells of neither.
    Several,
}

/// What a read of `fd` waits for, as VMIN and VTIME of a terminal say that gives no lines (termios(3)).
pub(super) fn awaited(fd: c_int) -> Awaited {
    let mut modes = MaybeUninit::<libc::termios>::uninit();
    // SAFETY: `modes` is valid for writes.
    if unsafe { libc::tcgetattr(fd, modes.as_mut_ptr()) } == -1 {
        return Awaited::Readiness;
    }
    // SAFETY: the call has filled it.
    let modes = unsafe { modes.assume_init() };
    if modes.c_lflag & libc::ICANON != 0 {
        return Awaited::Readiness;
    }
    match (modes.c_cc[libc::VMIN], modes.c_cc[libc::VTIME]) {
        (0, 0) => Awaited::Nothing,
        // The first one ends it.
        (1, _) => Awaited::Readiness,
        _ if is_nonblocking(fd) => Awaited::Nothing,
        (0, tenths) => Awaited::Within(100 * Duration::from_millis(tenths.into())),
        _ => Awaited::Several,
    }
}

pub(super) fn is_terminal(fd: c_int) -> bool {
    // SAFETY: takes no pointers.
    unsafe { libc::isatty(fd) == 1 }
}

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
