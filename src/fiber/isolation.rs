//! Green threads with thread-local variables of their own.
//!
//! The variables of an OS thread lie relative to one register. An isolated green thread runs with the register of an OS
//! thread that was made for that and does nothing else: it has a set of variables of its own, which begin as those of any
//! OS thread do, whoever declared them, in Rust or in C. Only whoever resumes a stack sets the register, so that a stack
//! never sees another value of it.

use std::hint::black_box;
use std::io;
use std::os::unix::thread::{JoinHandleExt, RawPthread};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;

use super::lifetime::{refuse_from_now_on, thread as local_thread};
use super::local::Local;
use super::thread::{Thread, existing_thread, set_thread};
use crate::sys::thread_local::{base, can_be_moved, move_to};
use crate::sys::{futex, process as processes, signal};

/// What the OS threads are called if the green thread has no name: at most 15 bytes, which is what the kernel shows.
const THREAD_NAME: &str = "greenloop-local";

/// Of their own stacks, on which destructors of thread-local variables run, in bytes.
const STACK_SIZE: usize = 256 * 1024;

/// The OS thread sets up what each begins with.
const BEGINNING: u32 = 0;
/// It waits, and leaves its variables alone.
const LENT: u32 = 1;
/// It is to end.
const OVER: u32 = 2;

/// The thread-local variables of an OS thread that does nothing but have them. They are destroyed when this is dropped, and
/// the calling OS thread waits for that: what their destructors use may belong to it.
#[derive(Debug)]
pub(crate) struct Variables {
    lender: Arc<Lender>,
    thread: RawPthread,
    /// The process that made it: in the child of a fork it is not there.
    process: u32,
}

#[derive(Debug)]
struct Lender {
    phase: AtomicU32,
    /// Where its variables are, from LENT on.
    base: AtomicUsize,
}

impl Variables {
    /// Makes an OS thread for its variables. Does not yield.
    ///
    /// # Errors
    ///
    /// `Unsupported` where a program may not choose the variables that it runs with; else why there is no OS thread.
    pub(crate) fn new(name: Option<&str>) -> io::Result<Variables> {
        if !can_be_moved() {
            let reason =
                "an isolated green thread needs x86_64 and a kernel that lets programs set FS (Linux 5.9)";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        let lender = Arc::new(Lender { phase: AtomicU32::new(BEGINNING), base: AtomicUsize::new(0) });
        let builder = thread::Builder::new().name(name.unwrap_or(THREAD_NAME).into()).stack_size(STACK_SIZE);
        let lends = lender.clone();
        // A signal's handler there would use the variables while a green thread does.
        let thread = signal::while_all_are_blocked(|| builder.spawn(move || lends.lend()))?;
        Ok(Variables { lender, thread: thread.into_pthread_t(), process: process::id() })
    }

    /// Runs `body`, which must not unwind, with these variables on the current fiber, which must not be main.
    pub(crate) fn run(&self, body: &mut dyn FnMut()) {
        let thread = local_thread();
        let fiber = thread.current();
        let lent = self.lender.base();
        // SAFETY: they can be moved, since `new` has made these.
        let own = unsafe { base() };
        thread.own_variables.set(own);
        fiber.variables.set(lent);
        // SAFETY: as above; the lender is alive and waits. From here on the relay resumes the fiber with `lent`, and goes on
        // with `own` itself.
        unsafe { run_with(lent, own, &mut || lend_thread(thread, body)) };
        fiber.variables.set(0);
    }
}

impl Drop for Variables {
    fn drop(&mut self) {
        if self.process != process::id() {
            return;
        }
        // Release: what the green thread has done to its variables their destructors see.
        self.lender.phase.store(OVER, Ordering::Release);
        futex::wake(&self.lender.phase);
        // SAFETY: `new` has made it, and nobody else joins it or has detached it.
        unsafe { processes::join_thread(self.thread) };
    }
}

impl Lender {
    /// The whole life of the OS thread.
    fn lend(&self) {
        // SAFETY: they can be moved, or there would be no such thread. Relaxed: published with the phase.
        self.base.store(unsafe { base() }, Ordering::Relaxed);
        // It may be OVER already. Release: whoever sees LENT sees what the thread has set up.
        let _ = self.phase.compare_exchange(BEGINNING, LENT, Ordering::Release, Ordering::Relaxed);
        futex::wake(&self.phase);
        // Acquire: as for the store of OVER.
        while self.phase.load(Ordering::Acquire) == LENT {
            futex::wait(&self.phase, LENT, None);
        }
        // What its destructors find of greenlets belongs to the hub's thread, on which alone it may run.
        refuse_from_now_on();
    }

    /// Where the variables are, once they can be used. The thread has begun some microseconds before, or does so now.
    fn base(&self) -> usize {
        // Acquire: as for the store of LENT.
        while self.phase.load(Ordering::Acquire) == BEGINNING {
            futex::wait(&self.phase, BEGINNING, None);
        }
        // Relaxed: see `lend`.
        self.base.load(Ordering::Relaxed)
    }
}

/// Runs `function` with `thread` as the calling thread's record, in thread-local variables that have none.
fn lend_thread(thread: Local<Thread>, function: &mut dyn FnMut()) {
    // SAFETY: the thread's own variables have it meanwhile, and `function` is over when they lose it.
    unsafe { set_thread(Some(thread)) };
    function();
    // SAFETY: as above.
    unsafe { set_thread(None) };
}

/// Whether the current greenlet has thread-local variables of its own.
pub(crate) fn is_isolated() -> bool {
    existing_thread().is_some_and(|thread| thread.current().variables.get() != 0)
}

/// Runs `function` with the variables that the greenlets of this OS thread have in common.
pub(super) fn in_common<R>(function: impl FnOnce() -> R) -> R {
    let own = existing_thread().map_or(0, |thread| thread.own_variables.get());
    // SAFETY: not zero means that there was an isolated green thread, so they can be moved.
    if own == 0 || own == unsafe { base() } {
        return function();
    }
    // SAFETY: as above.
    let lent = unsafe { base() };
    let mut function = Some(function);
    let mut result = None;
    // SAFETY: both are those of live OS threads, and only this one uses them now; `function` does not switch.
    unsafe { run_with(own, lent, &mut || result = function.take().map(|function| function())) };
    result.expect("it has run")
}

/// Runs `function` with the variables at `base`, and goes on with those at `own`.
///
/// # Safety
///
/// As for [`move_to`], of both; `own` is what the caller runs with, and `function` does not unwind.
#[inline(never)]
unsafe fn run_with(base: usize, own: usize, function: &mut dyn FnMut()) {
    // Not inlined, since the address of a variable that it uses could then be kept here.
    let function = black_box(function);
    // SAFETY: the caller's contract; nothing here uses a variable.
    unsafe { move_to(base) };
    function();
    // SAFETY: as above.
    unsafe { move_to(own) };
}
