//! Having another OS thread of the process look at itself, whatever it does: by a signal that is directed to it.
//!
//! The signal is SIGURG, which is ignored unless somebody handles it, and which debuggers pass by. One that nobody here has sent goes to
//! whoever handled it before.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::lock::Lock;
use super::{SystemCall, futex, process, signal, unwind};

const SIGNAL: libc::c_int = libc::SIGURG;

const NOTHING: u32 = 0;
const ASKED: u32 = 1;
const ANSWERING: u32 = 2;
const ANSWERED: u32 = 3;

/// One at a time.
static ASKING: Lock<()> = Lock::new(());
/// Where the inquiry stands. Everything else below is written before it is asked, and read by who has taken it up.
static STAGE: AtomicU32 = AtomicU32::new(NOTHING);
/// Who is asked.
static WHOM: AtomicU32 = AtomicU32::new(0);
/// What it is to do.
/// # Invariant
/// While it is asked and answered it leads to a [`Request`] that its `run` knows, which begins with that.
static REQUEST: AtomicPtr<Run> = AtomicPtr::new(ptr::null_mut());
/// What was to be done at the signal before.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Holds the lock that a fork must find free.
pub(crate) fn hold_lock() {
    ASKING.hold();
}

/// Ends [`hold_lock`].
///
/// # Safety
///
/// This thread, or in the child the one that it is a copy of, has called that.
pub(crate) unsafe fn release_lock() {
    // SAFETY: the caller's promise.
    unsafe { ASKING.release() };
}

type Run = unsafe fn(*mut ());

#[repr(C)]
struct Request<'a, T> {
    run: Run,
    subject: &'a mut T,
    look: fn(&mut T),
}

/// Makes inquiries possible in this process.
///
/// # Errors
///
/// As sigaction(2): none that a correct kernel gives.
pub(crate) fn prepare() -> io::Result<()> {
    let _asking = ASKING.lock();
    // What a first walk loads, no handler may load.
    unwind::frames_of_the_interrupted(None, &mut |_| true);
    if PREVIOUS.get().is_none() {
        let mut previous = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: a null pointer only asks; `previous` is valid to write to.
        unsafe { libc::sigaction(SIGNAL, ptr::null(), previous.as_mut_ptr()) }.check()?;
        // SAFETY: the call has succeeded, so it is written.
        PREVIOUS.get_or_init(|| unsafe { previous.assume_init() });
        let mut action = signal::NO_ACTION;
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // SAFETY: `on_signal` has the signature that SA_SIGINFO asks for, and does only what a handler may.
        unsafe { libc::sigaction(SIGNAL, &action, ptr::null_mut()) }.check()?;
    }
    Ok(())
}

/// Has the OS thread with this number run `look`, and blocks until it has; `false` if it does not within `patience`, since it has the
/// signal blocked, or is gone.
///
/// A system call that the signal interrupts goes on after it, save those for which the kernel knows no way, as poll(2).
///
/// # Safety
///
/// `look` is async-signal-safe: it neither allocates, nor locks, nor unwinds, nor touches a thread-local variable for the first time.
pub(crate) unsafe fn ask<T: Send>(
    thread: u32,
    subject: &mut T,
    look: fn(&mut T),
    patience: Duration,
) -> bool {
    let _asking = ASKING.lock();
    let mut request = Request { run: run::<T>, subject, look };
    REQUEST.store((&raw mut request).cast(), Ordering::SeqCst);
    WHOM.store(thread, Ordering::SeqCst);
    STAGE.store(ASKED, Ordering::SeqCst);
    let deadline = Instant::now() + patience;
    // SAFETY: takes no pointers.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread, SIGNAL) } == 0;
    loop {
        let stage = STAGE.load(Ordering::SeqCst);
        let left = deadline.saturating_duration_since(Instant::now());
        let gives_up = stage == ASKED && (!sent || left.is_zero());
        let ends = stage == ANSWERED
            || gives_up && STAGE.compare_exchange(ASKED, NOTHING, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if ends {
            STAGE.store(NOTHING, Ordering::SeqCst);
            return stage == ANSWERED;
        }
        // One that has begun to answer is waited for: it uses what is borrowed here.
        futex::wait(&STAGE, stage, Some(left.max(Duration::from_millis(1))));
    }
}

/// # Safety
///
/// `request` leads to a request that `ask::<T>` has made, and which nobody else uses.
unsafe fn run<T>(request: *mut ()) {
    // SAFETY: the caller's promise.
    let request = unsafe { &mut *request.cast::<Request<'_, T>>() };
    (request.look)(request.subject);
}

extern "C" fn on_signal(number: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: has no argument.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it points to this thread's errno.
    let interrupted = unsafe { *errno };
    let is_asked = WHOM.load(Ordering::SeqCst) == process::os_thread_id()
        && STAGE.compare_exchange(ASKED, ANSWERING, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    if is_asked {
        let request = REQUEST.load(Ordering::SeqCst);
        // SAFETY: by the invariant; who asks keeps it until it is answered.
        let run = unsafe { *request };
        // SAFETY: it is the one that knows this request, and only this thread has taken that up.
        unsafe { run(request.cast()) };
        STAGE.store(ANSWERED, Ordering::SeqCst);
        futex::wake(&STAGE);
    } else if let Some(previous) = PREVIOUS.get()
        && ![libc::SIG_DFL, libc::SIG_IGN].contains(&previous.sa_sigaction)
    {
        signal::call_previous(previous, number, info, context);
    }
    // SAFETY: as above.
    unsafe { *errno = interrupted };
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_thread_looks_at_itself_in_a_call_and_its_call_goes_on() {
        prepare().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let asked = std::thread::spawn(move || {
            sender.send(process::os_thread_id()).unwrap();
            ended.recv()
        });
        let thread = receiver.recv().unwrap();
        for _ in 0..100 {
            let mut found = 0;
            // SAFETY: it asks the kernel for a number.
            assert!(unsafe { ask(thread, &mut found, |found| *found = process::os_thread_id(), PATIENCE) });
            assert_eq!(found, thread);
        }
        end.send(()).unwrap();
        assert_eq!(asked.join().unwrap(), Ok(()));
        let mut found = 0;
        // SAFETY: as above.
        assert!(!unsafe { ask(thread, &mut found, |found| *found = 1, PATIENCE) }, "it is gone");
        assert_eq!(found, 0);
    }
}
