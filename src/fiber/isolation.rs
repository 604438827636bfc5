//! Green threads with thread-local variables of their own.
//!
//! The variables of an OS thread lie relative to one register. An isolated green thread runs with a [`ControlBlock`] of its own, so
//! it has a set of variables that begin as those of any OS thread do, whoever declared them, in Rust or in C. Only whoever
//! resumes a stack sets the register, so that a stack never sees another value of it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::identity;
use super::local::Local;
use super::thread::{Thread, existing_thread, set_thread};
use super::thread_name::name_current;
use crate::sys::control_block::{self, ControlBlock};
use crate::sys::mutex::own_number;
use crate::sys::section::Section;
use crate::sys::thread_end::destroy_variables;
use crate::sys::thread_local::{base, move_to, run_with};

/// Thread-local variables that nobody else uses.
#[derive(Debug)]
pub(crate) struct Variables(Block);

#[derive(Debug)]
enum Block {
    Own(ControlBlock),
    Held(Arc<ControlBlock>),
}

/// Keeps a block from being used again after the green thread that ran with it: its address stands for that one.
#[derive(Debug)]
pub(crate) struct Hold(Arc<ControlBlock>);

impl Hold {
    /// The number of the thread, as pthread_self(3) tells it to who runs with the block.
    pub(crate) fn thread(&self) -> usize {
        self.0.thread()
    }
}

impl Variables {
    /// Takes some that have their first contents. Does not yield.
    ///
    /// # Errors
    ///
    /// `Unsupported` where a program may not choose the variables that it runs with; else why there are no more.
    pub(crate) fn take() -> io::Result<Variables> {
        in_common(ControlBlock::take).map(|block| Variables(Block::Own(block)))
    }

    /// [`take`](Variables::take), with a hold on them.
    ///
    /// # Errors
    ///
    /// As for that.
    pub(crate) fn take_and_hold() -> io::Result<(Variables, Hold)> {
        let block = Arc::new(in_common(ControlBlock::take)?);
        Ok((Variables(Block::Held(block.clone())), Hold(block)))
    }

    fn base(&self) -> usize {
        match &self.0 {
            Block::Own(block) => block.base(),
            Block::Held(block) => block.base(),
        }
    }

    /// Runs `body`, which must not unwind, with these variables on the current fiber, which must not be main. They are
    /// [destroyed](destroy) by then. std tells the fiber's name as the thread's.
    pub(crate) fn run(self, body: &mut dyn FnMut()) {
        let thread = existing_thread().expect("a fiber runs");
        let fiber = thread.current();
        let lent = self.base();
        // SAFETY: they can be moved, since there is a block.
        let own = unsafe { base() };
        thread.own_variables.set(own);
        fiber.variables.set(lent);
        thread.numbers.borrow_mut().insert(own_number());
        // SAFETY: as above; nobody else uses the block. From here on who resumes the fiber does so with `lent`, and goes on with
        // `own` itself.
        unsafe {
            run_with(lent, own, &mut || {
                let number = own_number();
                thread.numbers.borrow_mut().insert(number);
                lend_thread(thread, &mut || {
                    if let Some(name) = fiber.description().and_then(|description| description.name()) {
                        name_current(name);
                    }
                    body();
                });
                thread.numbers.borrow_mut().remove(&number);
            });
        }
        fiber.variables.set(0);
        // While it had its own, std's were exchanged with no others.
        if !fiber.has_identity.get() {
            fiber.has_identity.set(identity::exchange(&fiber.identity));
        }
        let _section = Section::open();
        // SAFETY: nothing runs with them, and they were destroyed.
        unsafe { thread.first_contents.borrow_mut().restore(lent, own) };
    }
}

/// Destroys the variables that the current green thread has for itself: the destructors run in it. They may wait; no kill and no
/// time limit is raised in them, for nothing may unwind out of one. Robust mutexes that it still holds are given up then.
pub(crate) fn destroy() {
    let fiber = existing_thread().expect("a fiber runs").current();
    fiber.deafen();
    destroy_variables();
    control_block::abandon_robust_mutexes();
    fiber.deaf.set(false);
}

/// Why a green thread cannot be isolated, if so.
pub(crate) fn why_not() -> Option<&'static str> {
    in_common(control_block::why_not)
}

/// Takes some variables down that have been of no use for long. Returns as [`cool`](super::cool) does.
#[inline]
pub(super) fn cool() -> Option<Duration> {
    control_block::cool()
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

/// While it lasts, the main greenlet has the variables of its OS thread for itself, and may wait for a word in them.
#[derive(Debug)]
pub(crate) struct Reservation(());

impl Reservation {
    /// `None` if somebody else is about who has them too, or may be: a green thread that is not isolated, a greenlet.
    pub(crate) fn make() -> Option<Reservation> {
        let thread = existing_thread()?;
        let made = thread.fibers.borrow().len() - 1;
        let idle: usize = thread.idle.iter().map(|idle| idle.borrow().len()).sum();
        let unused = idle + thread.vacant.borrow().len();
        // One number stands for all that are not.
        let isolated = thread.numbers.borrow().len().saturating_sub(1);
        if thread.current() != thread.main() || made - unused != isolated || thread.reserved.replace(true) {
            return None;
        }
        Some(Reservation(()))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(thread) = existing_thread() {
            thread.reserved.set(false);
        }
    }
}

/// Whether there is a [`Reservation`] on this OS thread: who is to begin begins isolated.
#[cold]
pub(crate) fn is_reserved() -> bool {
    existing_thread().is_some_and(|thread| thread.reserved.get())
}

/// Whether an isolated green thread of this OS thread runs by this number, or the others do once one has begun: C's locks name their
/// owners by it.
pub(crate) fn is_number_of_isolated(number: i32) -> bool {
    existing_thread()
        .is_some_and(|thread| thread.numbers.try_borrow().is_ok_and(|numbers| numbers.contains(&number)))
}

/// Runs `function` with the variables that the greenlets of this OS thread have in common. It does not yield: not even what an
/// allocator calls in there.
pub(super) fn in_common<R>(function: impl FnOnce() -> R) -> R {
    let function = || {
        let _section = Section::open();
        function()
    };
    let own = existing_thread().map_or(0, |thread| thread.own_variables.get());
    // SAFETY: not zero means that there was an isolated green thread, so they can be moved.
    if own == 0 || own == unsafe { base() } {
        return function();
    }
    // SAFETY: as above.
    let lent = unsafe { base() };
    let mut function = Some(function);
    let mut result = None;
    // SAFETY: one is the OS thread's own block, the other the current green thread's; `function` does not switch.
    unsafe { run_with(own, lent, &mut || result = function.take().map(|function| function())) };
    result.expect("it has run")
}

/// Before a fork: runs on with the OS thread's own variables, which the C library takes for those of the one thread that the child
/// has.
///
/// Not inlined: nothing here may use a variable, nor keep its address. The same goes for the caller.
#[inline(never)]
pub(super) fn leave_before_fork() {
    let own = own_unless_common();
    if own != 0 {
        // SAFETY: they can be moved, since some are; these are the OS thread's own.
        unsafe { move_to(own) };
    }
}

/// After it, in the parent and in the child: goes on with what was left. As for [`leave_before_fork`].
#[inline(never)]
pub(super) fn return_after_fork() {
    let lent = what_was_left();
    if lent != 0 {
        // SAFETY: those of the green thread that forked, which nobody else has.
        unsafe { move_to(lent) };
    }
}

/// The OS thread's own variables, if what runs has others, which are kept in mind; else 0.
#[inline(never)]
fn own_unless_common() -> usize {
    let Some(thread) = existing_thread() else { return 0 };
    let own = thread.own_variables.get();
    let lent = thread.current().variables.get();
    // SAFETY: not zero means that there was an isolated green thread, so they can be moved.
    if own == 0 || lent == 0 || unsafe { base() } != lent {
        return 0;
    }
    thread.left_to_fork.set(lent);
    own
}

#[inline(never)]
fn what_was_left() -> usize {
    existing_thread().map_or(0, |thread| thread.left_to_fork.take())
}
