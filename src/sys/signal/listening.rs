//! Signals that somebody listens to: a handler that tells of them, and leaves them to whoever had them before if nobody does.

use std::io;
use std::ptr;
use std::sync::OnceLock;

use super::{FAULTS, NO_ACTION, call_previous};
use crate::sys::SystemCall;
use crate::sys::lock::Lock;

/// The highest number of a signal.
const LAST: usize = 64;

/// Set before the first handler is installed. Handlers read these by atomic loads, which are async-signal-safe.
static TELL: OnceLock<fn(libc::c_int) -> bool> = OnceLock::new();
/// What was to be done before, by number; set before the handler is installed.
static PREVIOUS: [OnceLock<libc::sigaction>; LAST + 1] = [const { OnceLock::new() }; LAST + 1];

/// Has `tell` called whenever `signal` comes, in the middle of whatever runs then; it says whether anybody listens. If nobody
/// does, what was installed before is done, the default action included. An earlier handler is called in either case.
///
/// The handler stays. If another one is installed over it, that one should call this one.
///
/// # Errors
///
/// `InvalidInput` if the number is no signal's, or that of one that cannot be listened to.
///
/// # Safety
///
/// `tell` is async-signal-safe, and the same in each call.
pub(crate) unsafe fn listen(signal: libc::c_int, tell: fn(libc::c_int) -> bool) -> io::Result<()> {
    static INSTALLING: Lock<()> = Lock::new(());
    let number = usize::try_from(signal).ok().filter(|number| (1..=LAST).contains(number));
    let number = number.ok_or_else(|| refusal(signal, "is not the number of a signal"))?;
    // The latter come from the instruction that runs, which would come again.
    if [libc::SIGKILL, libc::SIGSTOP, libc::SIGILL, libc::SIGFPE].contains(&signal)
        || FAULTS.contains(&signal)
    {
        return Err(refusal(signal, "cannot be listened to"));
    }
    let _installing = INSTALLING.lock();
    let mut current = NO_ACTION;
    // SAFETY: a null pointer only asks; `current` is valid to write to.
    unsafe { libc::sigaction(signal, ptr::null(), &mut current) }.check()?;
    let by_default = matches!(current.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN);
    if current.sa_sigaction == on_signal as *const () as usize
        || PREVIOUS[number].get().is_some() && !by_default
    {
        return Ok(());
    }
    TELL.get_or_init(|| tell);
    PREVIOUS[number].get_or_init(|| current);
    let mut action = NO_ACTION;
    action.sa_sigaction = on_signal as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: `on_signal` has the signature that SA_SIGINFO asks for, and does only what a handler may.
    unsafe { libc::sigaction(signal, &action, ptr::null_mut()) }.check()?;
    Ok(())
}

fn refusal(signal: libc::c_int, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("signal {signal} {what}"))
}

/// The handler itself.
extern "C" fn on_signal(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: has no argument.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it points to this thread's errno.
    let interrupted = unsafe { *errno };
    let heard = TELL.get().is_some_and(|tell| tell(signal));
    let previous = PREVIOUS[signal as usize].get().expect("set before the handler was installed");
    match previous.sa_sigaction {
        libc::SIG_IGN => {}
        libc::SIG_DFL if heard => {}
        libc::SIG_DFL => {
            // SAFETY: `previous` is a valid action, which the kernel itself gave.
            unsafe { libc::sigaction(signal, previous, ptr::null_mut()) };
            // SAFETY: takes no pointers; the signal is blocked here, so it is delivered on return.
            unsafe { libc::raise(signal) };
        }
        _ => call_previous(previous, signal, info, context),
    }
    // SAFETY: as above.
    unsafe { *errno = interrupted };
}

/// The numbers of the signals that are listened to.
pub(crate) mod numbers {
    macro_rules! numbers {
        ($($name:ident: $what:literal)*) => {
            $(#[doc = $what] pub const $name: i32 = libc::$name;)*
        };
    }

    numbers! {
        SIGHUP: "The terminal was closed; to a server, by custom, to read its configuration again."
        SIGINT: "Ctrl-C."
        SIGQUIT: "Ctrl-\\\\."
        SIGTERM: "To end."
        SIGUSR1: "Of no set meaning."
        SIGUSR2: "Of no set meaning."
        SIGALRM: "A timer of `alarm` or `setitimer` is due."
        SIGCHLD: "A child has ended or stopped."
        SIGCONT: "To go on after a stop."
        SIGTSTP: "Ctrl-Z."
        SIGTTIN: "A process in the background reads from the terminal."
        SIGTTOU: "A process in the background writes to the terminal."
        SIGPIPE: "A write with no reader. Ignored in Rust programs."
        SIGURG: "Urgent data has come."
        SIGIO: "A descriptor is ready, if that was asked for."
        SIGWINCH: "The terminal's size has changed."
    }
}
