//! A system call that another OS thread can have given up: some waits heed nothing but a signal.
//!
//! That is one of the signals for real time, the highest for which the program has no handler, and does not wait, when one is first
//! needed. From then on it has a handler that does nothing: what it has interrupted says EINTR.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use super::lock::Lock;
use super::signal::Mask;
use super::{SystemCall, original};

/// A system call, which one OS thread does and another one may interrupt.
#[derive(Debug)]
pub(crate) struct Interruptible(Lock<Stage>);

#[derive(Clone, Copy, Debug)]
enum Stage {
    Ahead,
    /// This thread does it, and goes on only when it has taken the lock.
    UnderWay(libc::pthread_t),
    Over,
    Unwanted,
}

impl Interruptible {
    pub(crate) const fn new() -> Interruptible {
        Interruptible(Lock::new(Stage::Ahead))
    }

    /// Whether there is a signal to interrupt one with.
    pub(crate) fn is_possible() -> bool {
        signal().is_some()
    }

    /// Does `call` here, where no signal comes meanwhile but that of [`interrupt`](Interruptible::interrupt).
    ///
    /// # Errors
    ///
    /// As `call` does; `Interrupted` for that signal, also if it was to come before.
    pub(crate) fn run(&self, call: impl FnOnce() -> libc::c_int) -> io::Result<libc::c_int> {
        // Chosen while none is blocked.
        let signal = signal();
        let mask = Mask::block_all();
        let result = if self.begin() {
            unblock(signal);
            let result = call().check();
            *self.0.lock() = Stage::Over;
            result
        } else {
            Err(io::Error::from_raw_os_error(libc::EINTR))
        };
        mask.restore();
        result
    }

    fn begin(&self) -> bool {
        let mut stage = self.0.lock();
        let begins = matches!(*stage, Stage::Ahead);
        if begins {
            // SAFETY: takes nothing.
            *stage = Stage::UnderWay(unsafe { libc::pthread_self() });
        }
        begins
    }

    /// Interrupts it. To be called again after a while if it is not over then: the signal may have come before the call began to wait.
    pub(crate) fn interrupt(&self) {
        let signal = signal();
        let mut stage = self.0.lock();
        match (*stage, signal) {
            (Stage::Ahead, _) => *stage = Stage::Unwanted,
            // SAFETY: the thread is there as long as the lock is held.
            (Stage::UnderWay(thread), Some(signal)) if is_ours(signal) => unsafe {
                original::pthread_kill(thread, signal);
            },
            _ => {}
        }
    }
}

/// The signal, once it has its handler; `None` if the program has a use for each.
fn signal() -> Option<libc::c_int> {
    static SIGNAL: OnceLock<Option<libc::c_int>> = OnceLock::new();
    *SIGNAL.get_or_init(|| {
        let mut blocked = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: a null pointer only asks; `blocked` is valid to write to.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), blocked.as_mut_ptr()) };
        let is_free = |signal: &libc::c_int| {
            // What is waited for by other means than a handler, all threads have blocked.
            // SAFETY: written, since the call above cannot fail.
            let is_blocked = unsafe { libc::sigismember(blocked.as_ptr(), *signal) } == 1;
            !is_blocked && action(*signal) == Some(libc::SIG_DFL)
        };
        (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev().find(is_free).filter(|signal| {
            // SAFETY: the C struct consists of integers and an optional function, for all of which zero is a value.
            let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
            // Without SA_RESTART.
            action.sa_sigaction = nothing as *const () as usize;
            // SAFETY: the handler does nothing, which is safe anywhere.
            unsafe { original::sigaction(*signal, &action, ptr::null_mut()) == 0 }
        })
    })
}

extern "C" fn nothing(_: libc::c_int) {}

fn action(signal: libc::c_int) -> Option<libc::sighandler_t> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null pointer only asks; `action` is valid to write to.
    let result = unsafe { original::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the call has filled it.
    (result == 0).then(|| unsafe { action.assume_init() }.sa_sigaction)
}

/// Whether the program has not put its own handler there since.
fn is_ours(signal: libc::c_int) -> bool {
    action(signal) == Some(nothing as *const () as usize)
}

fn unblock(signal: Option<libc::c_int>) {
    let Some(signal) = signal else { return };
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `set` is valid to write to.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: it has been written, and the number is that of a signal.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: a set; a null pointer asks for nothing.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_call_under_way_is_interrupted() {
        let call = Arc::new(Interruptible::new());
        let (ended, end) = channel();
        let thread = std::thread::spawn({
            let call = Arc::clone(&call);
            move || {
                // SAFETY: takes nothing.
                ended.send(call.run(|| unsafe { original::pause() })).unwrap();
            }
        });
        let result = loop {
            call.interrupt();
            if let Ok(result) = end.recv_timeout(std::time::Duration::from_millis(1)) {
                break result;
            }
        };
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::Interrupted);
        thread.join().unwrap();
    }

    #[test]
    fn what_is_unwanted_does_not_begin_and_what_is_over_stays_so() {
        let call = Interruptible::new();
        call.interrupt();
        let result = call.run(|| unreachable!("it was interrupted"));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::Interrupted);
        let call = Interruptible::new();
        assert_eq!(call.run(|| 7).unwrap(), 7);
        call.interrupt();
    }
}
