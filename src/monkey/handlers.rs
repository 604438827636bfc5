//! The handlers of signals, and vfork(2).
//!
//! A handler runs in the middle of whatever it has interrupted, an allocator perhaps, and must not be switched out. So who installs one
//! by these functions gets one of greenloop's in its place, which marks the time of its call; that is not seen in what the functions
//! tell about the one that was there before. In a marked stretch each function of this room does what the C library's does; those that
//! take the number of a thread find none that is a green thread, for the table has locks, and say so where the C library's would do harm.

use std::mem;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::{c_int, c_void, pid_t, sighandler_t, siginfo_t};

use super::call::failed;
use super::pause;
use crate::hub::no_unwind::interrupted;
use crate::sys::lock::Lock;
use crate::sys::signal::while_all_are_blocked;
use crate::sys::{handler, original};

/// The highest number of a signal, and one for none.
const NUMBERS: usize = 65;

/// Up to here a handler is none: SIG_DFL, SIG_IGN, and SIG_HOLD of `sigset`.
const LAST_CONSTANT: usize = 2;

/// The program's handlers, by number, where greenloop's stand in the kernel.
static HANDLERS: [AtomicUsize; NUMBERS] = [const { AtomicUsize::new(0) }; NUMBERS];

/// Held, with all signals blocked, while one is installed: what stands above and what the kernel has belong together.
static INSTALLING: Lock<()> = Lock::new(());

/// What the kernel calls. It passes all three arguments to any handler, and one that takes fewer does not look at the others.
#[expect(clippy::disallowed_methods, reason = "the C interface has handlers as numbers")]
extern "C" fn on_signal(signal: c_int, information: *mut siginfo_t, context: *mut c_void) {
    let installed = HANDLERS[signal as usize].load(Ordering::SeqCst);
    if installed <= LAST_CONSTANT {
        return;
    }
    type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
    // SAFETY: the program has installed it as a handler.
    let installed = unsafe { mem::transmute::<usize, Handler>(installed) };
    handler::run(interrupted(), || {
        installed(signal, information, context);
        pause::ring();
    });
}

fn ours() -> usize {
    on_signal as *const () as usize
}

/// The number of a signal that can have a handler.
fn number(signal: c_int) -> Option<usize> {
    usize::try_from(signal).ok().filter(|number| (1..NUMBERS).contains(number))
}

/// What the program takes for the handler of a signal whose handler in the kernel is `installed`.
fn seen(installed: usize, programs: usize) -> usize {
    if installed == ours() { programs } else { installed }
}

/// Installs `given` by `install`, which is given what to install in its place, and says what the kernel had before; `None` if it
/// has failed. Returns what the program had installed before.
fn installing(number: usize, given: usize, install: impl FnOnce(usize) -> Option<usize>) -> Option<usize> {
    static ONCE: Once = Once::new();
    // What a handler calls is looked for now: in one nothing may be looked for.
    ONCE.call_once(original::find_all);
    while_all_are_blocked(|| {
        let _installing = INSTALLING.lock();
        let handler = &HANDLERS[number];
        let before = handler.load(Ordering::SeqCst);
        if given <= LAST_CONSTANT {
            return install(given).map(|installed| seen(installed, before));
        }
        handler.store(given, Ordering::SeqCst);
        let installed = install(ours());
        if installed.is_none() {
            handler.store(before, Ordering::SeqCst);
        }
        installed.map(|installed| seen(installed, before))
    })
}

/// # Safety
///
/// As for sigaction(2).
unsafe fn install(signal: c_int, action: *const libc::sigaction, former: *mut libc::sigaction) -> c_int {
    let Some(number) = number(signal) else {
        // SAFETY: the caller's contract.
        return unsafe { original::sigaction(signal, action, former) };
    };
    // SAFETY: the caller's contract.
    let Some(mut action) = (unsafe { action.as_ref() }).copied() else {
        // SAFETY: as above.
        let result = unsafe { original::sigaction(signal, ptr::null(), former) };
        // SAFETY: as above.
        if let Some(former) = unsafe { former.as_mut() }
            && result == 0
        {
            former.sa_sigaction = seen(former.sa_sigaction, HANDLERS[number].load(Ordering::SeqCst));
        }
        return result;
    };
    // Written by the call, unless it fails.
    let mut before = action;
    let installed = installing(number, action.sa_sigaction, |instead| {
        action.sa_sigaction = instead;
        // SAFETY: valid for reads and for writes; the handler is the program's, or one that takes what any may be given.
        let result = unsafe { original::sigaction(signal, &action, &mut before) };
        (result == 0).then_some(before.sa_sigaction)
    });
    let Some(installed) = installed else { return -1 };
    before.sa_sigaction = installed;
    // SAFETY: the caller's contract.
    if let Some(former) = unsafe { former.as_mut() } {
        *former = before;
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigaction(
    signal: c_int,
    action: *const libc::sigaction,
    former: *mut libc::sigaction,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    unsafe { install(signal, action, former) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __sigaction(
    signal: c_int,
    action: *const libc::sigaction,
    former: *mut libc::sigaction,
) -> c_int {
    // SAFETY: as above.
    unsafe { install(signal, action, former) }
}

/// The functions that take a handler and return the one before.
fn install_simply(
    signal: c_int,
    given: sighandler_t,
    plain: impl Fn(sighandler_t) -> sighandler_t,
) -> sighandler_t {
    let Some(number) = number(signal) else { return plain(given) };
    installing(number, given, |instead| Some(plain(instead)).filter(|before| *before != libc::SIG_ERR))
        .unwrap_or(libc::SIG_ERR)
}

macro_rules! simple {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name(signal: c_int, given: sighandler_t) -> sighandler_t {
                // SAFETY: the caller's contract is that of the C library's function.
                install_simply(signal, given, |instead| unsafe { original::$name(signal, instead) })
            }
        )*
    };
}

simple!(signal bsd_signal ssignal sysv_signal __sysv_signal sigset);

/// The child has the memory of its parent, whose hub it must not touch. Its return address lies in a register during the call, since
/// the child goes on, on the same stack, before the parent does.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn vfork() -> pid_t {
    std::arch::naked_asm!(
        "pop rdi",
        "mov eax, {vfork}",
        "syscall",
        "push rdi",
        "mov edi, eax",
        "jmp {after}",
        vfork = const libc::SYS_vfork,
        after = sym after_vfork,
    )
}

/// As above. There the return address is in a register anyhow, and the kernel has the call as a kind of clone(2) only.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn vfork() -> pid_t {
    std::arch::naked_asm!(
        "hint #34", // `bti c`: who calls by a pointer may land here.
        "mov x0, {flags}",
        "mov x1, xzr", // On this stack.
        "mov x2, xzr",
        "mov x3, xzr",
        "mov x4, xzr",
        "mov x8, {clone}",
        "svc #0",
        "b {after}",
        flags = const libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
        clone = const libc::SYS_clone,
        after = sym after_vfork,
    )
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
extern "C" fn after_vfork(result: c_int) -> pid_t {
    match result {
        0 => handler::begin_child(interrupted()),
        // There is no child.
        failure @ ..0 => return failed(-failure),
        _ => handler::end_child(),
    }
    result
}
