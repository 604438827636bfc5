//! The beginning and the end of what one OS thread knows about its fibers.

use std::cell::Cell;
use std::ffi::c_void;
use std::panic::Location;
use std::ptr::{self, NonNull};

use super::fiber::{Fiber, FiberRef, State};
use super::guard::{in_callback, let_nothing_wait};
#[cfg(feature = "monkey")]
use super::isolation::in_common;
use super::local::Local;
use super::pool::CHUNK;
use super::stack::cool_all_stacks;
use super::thread::{NO_DESTRUCTOR, Thread, begin_end, existing_thread, is_ending, set_thread};
use super::{debugger, overflow, uncaught};
use crate::sys::{process, signal};

thread_local! {
    /// Whether the process aborts if the thread ends with a greenlet that is suspended or parked.
    static NEVER_LEAKS: Cell<bool> = const { Cell::new(false) };
    static OWNER: Owner = const { Owner };
}

/// Its destructor runs when the OS thread ends.
struct Owner;

/// What is asked of a thread whose end has begun.
const ENDING_REFUSES: &str = "this OS thread ends: it has no greenlets and no hub any more";

/// The record of the calling OS thread, made on first use.
///
/// # Panics
///
/// If the thread's end [has begun](is_ending) and the record is gone.
#[inline]
pub(crate) fn thread() -> Local<Thread> {
    match existing_thread() {
        Some(thread) => thread,
        None => make_thread().expect(ENDING_REFUSES),
    }
}

/// Like [`thread`], but `None` where that panics.
#[inline]
pub(crate) fn try_thread() -> Option<Local<Thread>> {
    existing_thread().or_else(make_thread)
}

/// Sets whether the process aborts if the calling OS thread ends with a greenlet that is suspended or parked.
pub(crate) fn abort_if_parked(abort: bool) {
    NEVER_LEAKS.set(abort);
}

#[cold]
fn make_thread() -> Option<Local<Thread>> {
    if is_ending() {
        return None;
    }
    // It cannot have been destroyed: its destructor begins the end.
    OWNER.with(|_| ());
    // SAFETY: `describe_current` reads a thread-local without a destructor, and memory that stays valid while it is set.
    unsafe { overflow::set_describe(describe_current) };
    // Where there is no room for it, an overflow ends the process without a report.
    let _ = signal::ensure_alternate_stack();
    let main = leak(Fiber::new(0));
    main.state.set(State::Running);
    main.has_resumed.set(true);
    if in_callback() {
        main.disturbed.hold();
    }
    let thread = leak(Thread::new(main));
    // SAFETY: freed by `end_thread`, which takes it back before.
    unsafe { set_thread(Some(thread)) };
    thread.note_fibers();
    debugger::add(&thread);
    thread.end_first();
    Some(thread)
}

/// Moves `value` to the heap, to be freed by [`end_thread`].
fn leak<T>(value: T) -> Local<T> {
    // SAFETY: the box is freed by `end_thread` alone, after the last use.
    unsafe { Local::new(NonNull::from(Box::leak(Box::new(value)))) }
}

/// For the overflow report: reads only, so it may run in a signal handler.
fn describe_current(report: &mut dyn FnMut(Option<&str>, &'static Location<'static>)) {
    let fiber = existing_thread().map(|thread| thread.current());
    if let Some(description) = fiber.as_ref().and_then(|fiber| fiber.description()) {
        report(description.name().map(|name| &**name), description.spawned_at());
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        end_thread();
    }
}

/// The end of the OS thread, as far as greenlets and the hub go, in the order that `design.md` tells under "Ends". Runs on the
/// thread's own stack, or on that of a greenlet that ends the process; before the destructors of all thread-locals that a
/// suspended frame can refer to (see [`end_first`](Thread::end_first)), or where that cannot be, when that of `OWNER` runs.
fn end_thread() {
    if begin_end() {
        return;
    }
    let Some(thread) = existing_thread() else { return };
    if NEVER_LEAKS.get() {
        let is_parked = |fiber: &&FiberRef| {
            **fiber != thread.current() && fiber.has_stack() && fiber.state.get() != State::Idle
        };
        let parked = thread.all().iter().filter(is_parked).count();
        if parked > 0 {
            process::abort_with(&format!("an OS thread ends with {parked} parked green threads"));
        }
    }
    thread.let_nothing_go_on();
    // First: what main keeps for itself finds the hub still there.
    thread.main.free_locals();
    if let Some(end_hub) = thread.on_end.take() {
        end_hub();
    }
    thread.observed.set(false);
    thread.told_of_switches.set(None);
    let observer = thread.observer.take();
    uncaught::catch("what is left at the end of an OS thread", || thread.main.end_run());
    if thread.current() == thread.main {
        thread.retire_idle();
        cool_all_stacks();
    }
    // From here on code of others finds no record, so that it keeps no reference to it.
    // SAFETY: the references that are left are this function's.
    unsafe { set_thread(None) };
    let left = (observer, thread.departed.take());
    uncaught::catch("what is left at the end of an OS thread", || drop(left));
    debugger::remove(&thread);
    let fibers = thread.fibers.take();
    let current = thread.current();
    let parked = fibers.iter().filter(|fiber| **fiber != current && fiber.has_stack()).count();
    if parked > 0 || current != thread.main {
        // Their destructors cannot run any more, now that thread-locals are going: they leak, as do their fibers.
        // At the end of `main` that is the common end of a program, and nothing is lost.
        if parked > 0 && cfg!(debug_assertions) && !process::on_main_thread() {
            uncaught::report_text(&format!(
                "an OS thread ended with {parked} parked green threads: they leak"
            ));
        }
        return;
    }
    // What has arrived at a fiber and was not looked at has destructors of others.
    uncaught::catch("what is left at the end of an OS thread", || {
        fibers.iter().for_each(|fiber| drop(fiber.extras.take()));
    });
    let (first, others) = fibers[1..].split_at(fibers.len().min(2) - 1);
    for chunk in first.chunks(1).chain(others.chunks(CHUNK)) {
        let chunk = ptr::slice_from_raw_parts_mut(chunk[0].as_ptr(), chunk.len());
        // SAFETY: made by `add_vacant`, whose first pointer is that of the whole chunk; this is the only place that frees it. No
        // stack of this thread is left to use it, THREAD does not lead to it, and every greenlet has lost its fiber.
        drop(unsafe { Box::from_raw(chunk) });
    }
    // SAFETY: made by `leak`; else as for the chunks.
    drop(unsafe { Box::from_raw(thread.main.as_ptr()) });
    // SAFETY: as for the fibers.
    drop(unsafe { Box::from_raw(thread.as_ptr()) });
}

impl Thread {
    /// Has the end of the OS thread begin before every destructor of a thread-local that is registered so far: frames that are suspended
    /// may refer to those, and must not be resumed after them. Whoever goes on may end the OS thread: main by returning, a green
    /// thread by ending the process.
    #[cold]
    pub(super) fn end_first(&self) {
        extern "C" fn end(_: *mut c_void) {
            end_thread();
        }
        if self.destructors.newest() != self.own_destructor.get() {
            // The OS thread's own end is meant, also where an isolated green thread asks.
            #[cfg(feature = "monkey")]
            in_common(|| self.destructors.register(end));
            #[cfg(not(feature = "monkey"))]
            self.destructors.register(end);
            self.own_destructor.set(self.destructors.newest());
        }
        self.newest_destructor.set(if self.is_observed() || self.told_of_switches.get().is_some() {
            NO_DESTRUCTOR
        } else {
            self.own_destructor.get()
        });
    }

    /// The end begins: who is suspended or parked never goes on, whoever has a handle to it, and nothing waits any more.
    fn let_nothing_go_on(&self) {
        for fiber in self.all() {
            if fiber != self.current()
                && let Some(occupant) = fiber.occupant()
            {
                occupant.set_dead();
            }
        }
        let_nothing_wait();
        self.current().disturbed.hold();
    }
}
