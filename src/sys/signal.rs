//! Signals that tell of faults, and what their handlers need: a stack of their own, and a way to say a last word. Signals that
//! somebody listens to are below.

pub(crate) mod listening;

use std::io::{self, IoSlice};
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::OnceLock;

use super::lock::Lock;
use super::{SystemCall, memory, original};

/// The signals that a touch of forbidden memory raises. Linux raises the first for a guard; the second is for kernels
/// that tell of one by SIGBUS.
const FAULTS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// Set before the handler is installed. The handler reads it by an atomic load, as async-signal-safe as any.
static CAUGHT: OnceLock<Caught> = OnceLock::new();

/// What to do at a fault.
struct Caught {
    inspect: fn(usize),
    /// What was to be done before, in the order of `FAULTS`.
    previous: [libc::sigaction; FAULTS.len()],
}

/// Lets `inspect` look at the address of every fault of this process, before whatever was installed until now.
///
/// If `inspect` returns, the previous handler is called, or the default action taken, as if this had never been here.
/// Only the first call of a process has an effect.
///
/// # Errors
///
/// As sigaction(2): none that a correct kernel gives.
///
/// # Safety
///
/// `inspect` is async-signal-safe: it may have interrupted any code, also an allocation, and runs on a small stack.
#[cold]
pub(crate) unsafe fn catch_faults(inspect: fn(usize)) -> io::Result<()> {
    static INSTALLING: Lock<()> = Lock::new(());
    let _installing = INSTALLING.lock();
    if CAUGHT.get().is_some() {
        return Ok(());
    }
    let mut previous = [NO_ACTION; FAULTS.len()];
    for (signal, action) in FAULTS.iter().zip(&mut previous) {
        // SAFETY: a null pointer only asks; `action` is valid to write to.
        unsafe { libc::sigaction(*signal, ptr::null(), action) }.check()?;
    }
    CAUGHT.get_or_init(|| Caught { inspect, previous });
    // A first call looks the C library's function up, which a handler may not do.
    #[cfg(feature = "monkey")]
    write_to_stderr(&[]);
    let mut action = NO_ACTION;
    action.sa_sigaction = on_fault as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    for signal in FAULTS {
        // SAFETY: `on_fault` has the signature that SA_SIGINFO asks for, and does only what a handler may.
        unsafe { libc::sigaction(signal, &action, ptr::null_mut()) }.check()?;
    }
    Ok(())
}

/// The handler itself: the inspection, then what there was before.
extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let caught = CAUGHT.get().expect("set before the handler was installed");
    // SAFETY: with SA_SIGINFO the kernel passes a valid record.
    let record = unsafe { &*info };
    let sent_by_process = record.si_code <= 0;
    if !sent_by_process {
        // SAFETY: the record of a fault has an address.
        (caught.inspect)(unsafe { record.si_addr() }.addr());
    }
    let previous = &caught.previous[usize::from(signal != FAULTS[0])];
    match previous.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // On return the fault happens again, and then the kernel decides.
            // SAFETY: `previous` is a valid action, which the kernel itself gave.
            unsafe { libc::sigaction(signal, previous, ptr::null_mut()) };
            if sent_by_process {
                // SAFETY: takes no pointers; the signal is blocked here, so it is delivered on return.
                unsafe { libc::raise(signal) };
            }
        }
        _ => call_previous(previous, signal, info, context),
    }
}

#[expect(clippy::disallowed_methods, reason = "the C interface has handlers as numbers")]
pub(super) fn call_previous(
    previous: &libc::sigaction,
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    type WithInfo = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    type Plain = extern "C" fn(libc::c_int);
    if previous.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: with SA_SIGINFO the action of a signal, if not one of the two constants, is such a function.
        let handler = unsafe { mem::transmute::<usize, WithInfo>(previous.sa_sigaction) };
        handler(signal, info, context);
    } else {
        // SAFETY: as above, without SA_SIGINFO.
        let handler = unsafe { mem::transmute::<usize, Plain>(previous.sa_sigaction) };
        handler(signal);
    }
}

/// Default action, no flags, empty mask.
// SAFETY: the C struct consists of integers and an optional function, for all of which zero is a value.
pub(super) const NO_ACTION: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };

/// Writes the parts to standard error at once, as far as it takes them. Async-signal-safe.
pub(crate) fn write_to_stderr(parts: &[IoSlice<'_>]) {
    let count = libc::c_int::try_from(parts.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: `IoSlice` is guaranteed to have the layout of iovec, and borrows what it points to.
    unsafe { original::writev(libc::STDERR_FILENO, parts.as_ptr().cast(), count) };
}

/// Which signals an OS thread does not take.
pub(crate) struct Mask(libc::sigset_t);

impl Mask {
    /// Has the calling OS thread take no signals. Returns which it did not take before.
    pub(crate) fn block_all() -> Mask {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `all` is valid to write to.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        // SAFETY: `all` has been written, and `before` is valid to write to.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
        // SAFETY: written, since the call above cannot fail.
        Mask(unsafe { before.assume_init() })
    }

    /// Has the calling OS thread take all but these again. Those that have come meanwhile come now.
    pub(crate) fn restore(&self) {
        // SAFETY: a valid set; a null pointer asks for nothing.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, ptr::null_mut()) };
    }
}

/// Runs `function` while the calling OS thread takes no signals; one that it makes never takes any.
#[cfg(feature = "monkey")]
pub(crate) fn while_all_are_blocked<R>(function: impl FnOnce() -> R) -> R {
    let mask = Mask::block_all();
    let result = function();
    mask.restore();
    result
}

/// Makes sure that this thread can handle a fault of its own stack: gives it an alternate stack unless it has one.
///
/// The standard library's threads have one. Threads that C code made have none; theirs is kept until the thread ends.
///
/// # Errors
///
/// `OutOfMemory` if there is no memory for it.
#[cold]
pub(crate) fn ensure_alternate_stack() -> io::Result<()> {
    thread_local! {
        static OWN: std::cell::OnceCell<AlternateStack> = const { std::cell::OnceCell::new() };
    }
    let mut current = MaybeUninit::<libc::stack_t>::uninit();
    // SAFETY: a null pointer only asks; `current` is valid to write to.
    unsafe { libc::sigaltstack(ptr::null(), current.as_mut_ptr()) }.check()?;
    // SAFETY: the call has succeeded, so it is written.
    if unsafe { current.assume_init() }.ss_flags & libc::SS_DISABLE == 0 {
        return Ok(());
    }
    let stack = AlternateStack::install()?;
    // A thread that is past its thread-local destructors keeps none: dropping the stack uninstalls it.
    OWN.try_with(|own| drop(own.set(stack))).map_err(io::Error::other)
}

/// The alternate stack of one thread, with a guard page below.
struct AlternateStack {
    start: usize,
    length: usize,
}

impl AlternateStack {
    fn install() -> io::Result<AlternateStack> {
        let page = memory::page_size();
        // SAFETY: takes no pointers. It answers 0 where the kernel does not tell: then SIGSTKSZ alone counts.
        let frame = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
        let usable = (frame + libc::SIGSTKSZ).next_multiple_of(page);
        let length = page + usable;
        let stack = AlternateStack { start: memory::map_guarded(length, page)?, length };
        let low = stack.start + page;
        let description =
            libc::stack_t { ss_sp: ptr::with_exposed_provenance_mut(low), ss_flags: 0, ss_size: usable };
        // SAFETY: `usable` bytes from `low` on are writable, used by nothing else, and stay until `Drop` uninstalls them.
        unsafe { libc::sigaltstack(&description, ptr::null_mut()) }.check()?;
        Ok(stack)
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        let mut current = MaybeUninit::<libc::stack_t>::zeroed();
        // SAFETY: a null pointer only asks; `current` is valid to write to.
        unsafe { libc::sigaltstack(ptr::null(), current.as_mut_ptr()) };
        // SAFETY: zero is a value for each field, and the kernel writes others.
        let current = unsafe { current.assume_init() };
        if (self.start..self.start + self.length).contains(&current.ss_sp.addr()) {
            let none = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
            // SAFETY: `none` is a valid description; no handler runs on the stack, since this code runs.
            unsafe { libc::sigaltstack(&none, ptr::null_mut()) };
        }
        // SAFETY: the range is this value's own, and the kernel uses it no more.
        unsafe { memory::release(self.start, self.length) };
    }
}

#[cfg(test)]
pub(crate) mod tests;
