//! What an OS thread that is kept says of itself.

#![expect(unsafe_code, reason = "what runs in the handler of a signal is a contract")]

use std::time::Duration;

use crate::hub::watch::Testimony;
use crate::sys::inquiry;

/// How long it is waited for an answer: the handler runs at once, unless there is no processor or the signal is blocked.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the OS thread with this number says of itself; `None` if it says nothing.
pub(super) fn testimony_of(thread: u32) -> Option<Box<Testimony>> {
    let mut testimony = Box::new(Testimony::new());
    // SAFETY: `take` is async-signal-safe, as it says.
    let answered = unsafe { inquiry::ask(thread, &mut *testimony, Testimony::take, PATIENCE) };
    answered.then_some(testimony)
}
