//! What a fork does to a hub: the child's starts empty.
//!
//! The child has the OS thread that forked and none of the others, and goes on in the greenlet that forked. Of the parent's hub it
//! runs nothing, destructors included: what was ready, timed or waited for is forgotten. The hub keeps its place in memory, since
//! frames of the greenlet refer to it; it gets another door, so that every wake and letter of before means nothing, and
//! another poller and bell, so that parent and child do not hear each other.

#![expect(unsafe_code, reason = "a fork, and the locks that are held over it, are contracts")]

use std::io;
use std::mem;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use super::current::local_hub;
use super::door;
use super::ready::Ready;
use super::state::{BUDGET, HubState};
use super::watch;
use crate::fiber::{self, FiberRef, State};
use crate::sys::lock::Lock;
use crate::sys::signal::Mask;
use crate::sys::{heirloom, inquiry, process};

/// What a process ends with whose main thread has panicked.
const PANICKED: i32 = 101;

/// What the thread that forks has taken no signals of before. A child that took one before its hub begins anew would take it for one that
/// somebody listens to, as in its parent, and lose it.
static MASK: Lock<Option<Mask>> = Lock::new(None);

/// How many forks lie between this process and the one that first had a hub.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The side of a [`fork`] on which the caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// In the parent.
    Parent {
        /// The child's number, to be [waited for](crate::process::wait_pid).
        child: u32,
    },
    /// In the child.
    Child,
}

/// Splits the process in two, parent and child, which both go on from here. This is fork(2).
///
/// The same happens at a plain `fork` of the C library.
///
/// # The child
///
/// The child goes on in the greenlet that forked, with a hub that starts empty. None of the parent's other green threads runs in
/// it, and their destructors do not run either.
///
/// - If a green thread forked, it takes the place of the main greenlet, which never goes on. When the green thread ends, the
///   process ends, with status 0, or 101 if it panicked. A deadlock is raised in it.
/// - The time limits of the greenlet that forked are gone, and so are the handlers of [`signal`](crate::signal).
/// - Handles of the parent's green threads never become ready, and locks that those held stay locked.
/// - Servers that the parent has started count as stopped.
/// - Pools and look-ups of names work, with threads of their own.
///
/// # The parent
///
/// Nothing changes in the parent. Descriptors that both have refer to the same open files: a socket from which both read serves
/// the one that comes first.
///
/// # Errors
///
/// Any error of fork(2).
///
/// # Safety
///
/// The child has only the OS thread that forked. If the process has other OS threads (pools have some), whatever they held at
/// that moment stays held in the child, which must not use what they may have been using. With glibc, the child can allocate
/// memory. The child must not rely on anything that the missing OS threads would do.
///
/// # Examples
///
/// ```
/// use greenloop::process::{Fork, fork, wait_pid};
///
/// let other = greenloop::spawn(|| println!("once, in the parent"));
/// // SAFETY: the child prints and ends.
/// match unsafe { fork() }? {
///     Fork::Child => {
///         greenloop::spawn(|| println!("in the child")).join().unwrap();
///         std::process::exit(7);
///     }
///     Fork::Parent { child } => assert_eq!(wait_pid(child)?.code(), Some(7)),
/// }
/// # other.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("reinit", "fork_and_watch", "fork_gevent"))]
pub unsafe fn fork() -> io::Result<Fork> {
    // SAFETY: the caller's promise.
    let child = unsafe { process::fork() }?;
    Ok(if child == 0 { Fork::Child } else { Fork::Parent { child } })
}

/// From now on, forks of the process find its locks free and leave the child's hub empty.
#[cold]
pub(super) fn look_after_forks() {
    static ONCE: Once = Once::new();
    // SAFETY: the functions lock and unlock, and change what is the calling thread's own.
    ONCE.call_once(|| unsafe { process::at_fork(before, in_parent, in_child) });
}

/// A number that the child of a fork has not in common with its parent, so that it is known there whose something is.
#[inline]
pub(crate) fn generation() -> u32 {
    // Who asks is to be told from his children also where no hub was made before them.
    look_after_forks();
    // Relaxed: it changes where there is but one OS thread.
    GENERATION.load(Ordering::Relaxed)
}

extern "C" fn before() {
    fiber::before_fork();
    hold_locks();
}

/// Not inlined, as none of these: in an isolated green thread each runs between two changes of what thread-locals are.
#[inline(never)]
fn hold_locks() {
    // First, and with no signal blocked: who holds it may be waiting for this thread to answer one.
    inquiry::hold_lock();
    fiber::hold_locks();
    heirloom::hold_lock();
    door::hold_locks(local_hub().map(|hub| hub.door()));
    *MASK.lock() = Some(Mask::block_all());
}

/// Before the locks are released, so that nobody else forks.
#[inline(never)]
fn take_mask() -> Option<Mask> {
    MASK.lock().take()
}

#[inline(never)]
fn release_locks() {
    // SAFETY: held by `before`, which this thread ran.
    unsafe { door::release_locks(local_hub().map(|hub| hub.door())) };
    // SAFETY: as above.
    unsafe { heirloom::release_lock() };
    // SAFETY: as above.
    unsafe { fiber::release_locks() };
    // SAFETY: as above.
    unsafe { inquiry::release_lock() };
}

extern "C" fn in_parent() {
    let mask = take_mask();
    release_locks();
    fiber::after_fork();
    restore(mask);
}

extern "C" fn in_child() {
    let mask = take_mask();
    release_locks();
    begin_anew();
    fiber::after_fork();
    restore(mask);
}

#[inline(never)]
fn restore(mask: Option<Mask>) {
    if let Some(mask) = mask {
        mask.restore();
    }
}

#[inline(never)]
fn begin_anew() {
    // Relaxed: as above.
    GENERATION.fetch_add(1, Ordering::Relaxed);
    fiber::forget_parents();
    watch::forget();
    if let Some(hub) = local_hub() {
        hub.begin_anew();
    }
}

impl HubState {
    /// In the child of a fork. Runs nothing of anybody else's, and frees nothing that has a destructor.
    fn begin_anew(&self) {
        mem::forget(self.ready.replace(Ready::new()));
        mem::forget(self.starting.take());
        self.timers.borrow_mut().forget_all();
        mem::forget(self.idlers.take());
        let _parents = self.thread.take_left_behind();
        self.joiner.set(None);
        self.door().watch.end();
        self.door.set(self.door().begin_anew());
        self.epoch.set(self.door().epoch());
        self.hear.set(None);
        // It would give what is the parent's, and ask for it under locks that OS threads of the parent may hold.
        self.is_feeding.set(false);
        self.unlooked.set(0);
        self.budget.set(BUDGET);
        self.thread.forget_away_unwinding();
        if let Some(world) = self.world.get() {
            world.clock.end();
        }
        self.forget_tally();
        self.dismiss_witness();
        self.alive.set(0);
        self.lonely_sleeps.set(0);
        if let Some(reactor) = self.reactor.get() {
            reactor.begin_anew(self.door().bell());
        }
        // What the parent's frames have lent to other OS threads, these are not here to use.
        fiber::abort_if_parked(false);
        let is_in_main = self.is_in_main();
        if !is_in_main {
            self.heir.set(Some(self.thread.current()));
        }
        self.leave_in_parent(is_in_main);
    }

    /// Who waits or is ready by the parent's lights never goes on here. Nor does main, if another one stands for it.
    fn leave_in_parent(&self, is_in_main: bool) {
        let goes_on = |fiber: FiberRef| {
            fiber == self.thread.current()
                || fiber == self.thread.main() && is_in_main
                || fiber.is_switched_out()
        };
        let is_left = |fiber: &FiberRef| fiber.state.get() != State::Idle && !goes_on(*fiber);
        let left = self.thread.all().into_iter().filter(is_left).map(|fiber| fiber.index());
        *self.left_in_parent.borrow_mut() = left.collect();
    }

    /// Whether it is one of those.
    pub(super) fn is_left_in_parent(&self, fiber: FiberRef) -> bool {
        self.left_in_parent.borrow().binary_search(&fiber.index()).is_ok()
    }

    /// Whether the current greenlet is main, or one that returns to it in the end.
    fn is_in_main(&self) -> bool {
        let current = self.thread.current();
        current.occupant().map_or(current == self.thread.main(), |occupant| occupant.returns_to_main())
    }

    /// The greenlet that stands for the thread: the main one, or in the child of a fork the one that forked.
    pub(super) fn main(&self) -> FiberRef {
        self.heir.get().unwrap_or_else(|| self.thread.main())
    }
}

/// A green thread has ended that the calling thread's hub did not make: it is the one that forked, and the process ends with it.
#[cold]
pub(crate) fn end_of_heir(returned: bool) {
    if let Some(hub) = local_hub()
        && hub.heir.get().is_some()
    {
        std::process::exit(if returned { 0 } else { PANICKED });
    }
}
