//! A system call that another OS thread can have given up: some waits heed nothing but a signal.
//!
//! That is one of the signals for real time, the highest that the program has left alone when one is first needed. From then on it has a
//! handler that does nothing: what it has interrupted says EINTR. The program may take that signal later. With a handler of its own, it
//! gets it, and the next wait takes another. If who is about to wait has it blocked, since it is waited for by other means than a handler,
//! there is no such wait. Those that are under way by then have it unblocked until they end, and are not interrupted while it has the
//! program's handler.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use super::lock::Lock;
use super::signal::Mask;
use super::{SystemCall, original};

/// A system call, which one OS thread does and another one may interrupt.
#[derive(Debug)]
pub(crate) struct Interruptible {
    signal: libc::c_int,
    stage: Lock<Stage>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Ahead,
    /// This thread does it, and goes on only when it has taken the lock.
    UnderWay(libc::pthread_t),
    Over,
    Unwanted,
}

impl Interruptible {
    /// `None` if there is no signal to interrupt one with: the program has a use for each, or the calling thread has it blocked.
    pub(crate) fn new() -> Option<Interruptible> {
        signal().map(|signal| Interruptible { signal, stage: Lock::new(Stage::Ahead) })
    }

    /// Does `call` here, where no signal comes meanwhile but that of [`interrupt`](Interruptible::interrupt), whoever sends it.
    ///
    /// # Errors
    ///
    /// As `call` does; `Interrupted` for that signal, also if it was to come before.
    pub(crate) fn run(&self, call: impl FnOnce() -> libc::c_int) -> io::Result<libc::c_int> {
        let mask = Mask::block_all();
        let result = if self.begin() {
            unblock(self.signal);
            let result = call().check();
            *self.stage.lock() = Stage::Over;
            result
        } else {
            Err(io::Error::from_raw_os_error(libc::EINTR))
        };
        mask.restore();
        result
    }

    fn begin(&self) -> bool {
        let mut stage = self.stage.lock();
        let begins = matches!(*stage, Stage::Ahead);
        if begins {
            // SAFETY: takes nothing.
            *stage = Stage::UnderWay(unsafe { libc::pthread_self() });
        }
        begins
    }

    /// Interrupts it, or sees to it that it never begins. Returns whether it has begun. To be called again after a while if it is not over
    /// then: the signal may have come before the call began to wait.
    pub(crate) fn interrupt(&self) -> bool {
        let mut stage = self.stage.lock();
        match *stage {
            Stage::Ahead => *stage = Stage::Unwanted,
            // SAFETY: the thread is there as long as the lock is held.
            Stage::UnderWay(thread) if is_ours(self.signal) => unsafe {
                original::pthread_kill(thread, self.signal);
            },
            _ => {}
        }
        !matches!(*stage, Stage::Unwanted)
    }
}

/// The signal, once it has its handler; `None` if the program has a use for each, or the calling thread has it blocked.
fn signal() -> Option<libc::c_int> {
    /// The one that was chosen last; 0 for none.
    static CHOSEN: AtomicI32 = AtomicI32::new(0);
    let mut blocked = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: a null pointer only asks; `blocked` is valid to write to.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), blocked.as_mut_ptr()) };
    // SAFETY: written, since the call above cannot fail.
    let is_blocked = |signal| unsafe { libc::sigismember(blocked.as_ptr(), signal) } == 1;
    // Relaxed: that it has its handler is asked of the kernel.
    let chosen = CHOSEN.load(Ordering::Relaxed);
    if chosen != 0 && is_ours(chosen) {
        return (!is_blocked(chosen)).then_some(chosen);
    }
    let found = (libc::SIGRTMIN()..=libc::SIGRTMAX())
        .rev()
        .find(|signal| !is_blocked(*signal) && action(*signal) == Some(libc::SIG_DFL) && claim(*signal));
    // Relaxed: as above. Two threads may choose at once, each one that it can use.
    CHOSEN.store(found.unwrap_or(0), Ordering::Relaxed);
    found
}

/// Gives `signal` its handler, unless the program has given it one since it was looked at.
fn claim(signal: libc::c_int) -> bool {
    // SAFETY: the C struct consists of integers and an optional function, for all of which zero is a value.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = ours();
    // Without SA_RESTART.
    action.sa_flags = libc::SA_ONSTACK;
    let mut before = action;
    // SAFETY: both are valid; the handler does nothing, which is safe anywhere.
    if unsafe { original::sigaction(signal, &action, &mut before) } != 0 {
        return false;
    }
    // Another thread may have done the same.
    let is_free = before.sa_sigaction == libc::SIG_DFL || before.sa_sigaction == ours();
    if !is_free {
        // SAFETY: what the kernel itself has told.
        unsafe { original::sigaction(signal, &before, ptr::null_mut()) };
    }
    is_free
}

extern "C" fn nothing(_: libc::c_int) {}

fn ours() -> libc::sighandler_t {
    nothing as *const () as usize
}

fn action(signal: libc::c_int) -> Option<libc::sighandler_t> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null pointer only asks; `action` is valid to write to.
    let result = unsafe { original::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the call has filled it.
    (result == 0).then(|| unsafe { action.assume_init() }.sa_sigaction)
}

/// Whether the program has not put its own handler there since.
fn is_ours(signal: libc::c_int) -> bool {
    action(signal) == Some(ours())
}

fn unblock(signal: libc::c_int) {
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
        let call = Arc::new(Interruptible::new().unwrap());
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
        let call = Interruptible::new().unwrap();
        assert!(!call.interrupt(), "it has begun");
        let result = call.run(|| unreachable!("it was interrupted"));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::Interrupted);
        let call = Interruptible::new().unwrap();
        assert_eq!(call.run(|| 7).unwrap(), 7);
        assert!(call.interrupt(), "it has not begun");
    }

    #[test]
    fn who_has_the_signal_blocked_does_without() {
        let signal = Interruptible::new().unwrap().signal;
        // Masks are each thread's own.
        std::thread::spawn(move || {
            let mask = Mask::block_all();
            assert!(Interruptible::new().is_none());
            unblock(signal);
            assert_eq!(Interruptible::new().unwrap().signal, signal);
            mask.restore();
        })
        .join()
        .unwrap();
    }
}
