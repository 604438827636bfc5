//! Whose a mutex of C's is that is held, and a read-write lock that is held for writing.
//!
//! The C library numbers threads, and all green threads of a hub that are not isolated have one number. So do those that are, for mutexes
//! of which the kernel has to know who holds them, for it knows OS threads: those that are robust, or change a priority. So that a mutex that
//! tells its holder from others, or when that has ended, does so for green threads, who holds one of those is kept here.

use std::cell::RefCell;

use libc::{c_int, pthread_mutex_t, pthread_rwlock_t};

use super::call::Call;
use super::futex::wake;
use crate::fiber::isolation::{is_isolated, is_number_of_isolated};
use crate::fiber::{FiberRef, existing_thread, in_common};
use crate::sys::mutex::{MutexView, own_number};
use crate::sys::{robust, rwlock};

/// A green thread, or the main greenlet, as long as it runs.
type Green = (usize, u64);

struct Held {
    lock: usize,
    holder: Green,
    /// Whether it is a mutex that is given up when its holder has ended.
    is_robust: bool,
}

thread_local! {
    /// Mutexes that know their holders, read-write locks that are held for writing, and those who hold them by the number of this OS
    /// thread.
    static HOLDERS: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
}

/// Runs `function` with the table, unless somebody is about that: an allocator whose own lock is such a one may come here amid it.
fn with_holders<R>(function: impl FnOnce(&mut Vec<Held>) -> R) -> Option<R> {
    in_common(|| {
        HOLDERS.try_with(|holders| holders.try_borrow_mut().ok().map(|mut holders| function(&mut holders)))
    })
    .ok()
    .flatten()
}

/// Whether many have one number when they hold `mutex`.
#[inline]
fn is_held_by_thread(view: MutexView<'_>) -> bool {
    view.is_held_by_os_threads() || !is_isolated()
}

/// Runs a function of the C library's on `mutex`, by the number that its holder has.
///
/// # Safety
///
/// `mutex` must be initialised; `function` neither yields nor unwinds.
#[inline]
pub(super) unsafe fn as_holder<R>(mutex: *mut pthread_mutex_t, function: impl FnOnce() -> R) -> R {
    // SAFETY: the caller's contract.
    if unsafe { MutexView::new(mutex) }.is_held_by_os_threads() { in_common(function) } else { function() }
}

/// Who is to wait for whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    /// Another green thread of this hub, or for a mutex that does not know its holder maybe this one: only when the OS thread runs
    /// others can it be given back.
    Neighbour,
    /// Nobody, an OS thread that runs, or who asks: the C library's own function is right.
    Other,
}

fn of(fiber: FiberRef) -> Green {
    (fiber.as_ptr().addr(), fiber.runs.get())
}

fn of_caller(call: Call) -> Green {
    of(call.hub.thread.current())
}

/// The number by which the caller holds `mutex` if it does.
fn number_for(view: MutexView<'_>) -> i32 {
    if view.is_held_by_os_threads() { in_common(own_number) } else { own_number() }
}

/// Who holds `mutex`, as a call from a greenlet's code sees it.
///
/// # Safety
///
/// `mutex` must be initialised.
#[inline]
pub(super) unsafe fn holder(call: Call, mutex: *mut pthread_mutex_t) -> Holder {
    // SAFETY: the caller's contract.
    let view = unsafe { MutexView::new(mutex) };
    match view.owner() {
        0 => Holder::Other,
        owner => holder_of_number(call, mutex, view, owner),
    }
}

#[cold]
fn holder_of_number(call: Call, mutex: *mut pthread_mutex_t, view: MutexView<'_>, owner: i32) -> Holder {
    let is_neighbour = if owner == number_for(view) {
        !view.knows_its_holder() || is_held_by_thread(view) && is_held_by_other(call, mutex)
    } else {
        is_number_of_isolated(owner)
    };
    if is_neighbour { Holder::Neighbour } else { Holder::Other }
}

/// Whether `mutex`, which is [no neighbour's](Holder::Other), is the caller's, and knows that.
///
/// # Safety
///
/// `mutex` must be initialised.
pub(super) unsafe fn is_own(mutex: *mut pthread_mutex_t) -> bool {
    // SAFETY: the caller's contract.
    let view = unsafe { MutexView::new(mutex) };
    view.knows_its_holder() && view.owner() == number_for(view)
}

/// Whether another green thread is known to hold it.
fn is_held_by_other(call: Call, mutex: *mut pthread_mutex_t) -> bool {
    known_holder(mutex.addr()).is_some_and(|holder| holder != of_caller(call))
}

fn known_holder(lock: usize) -> Option<Green> {
    let find =
        |holders: &mut Vec<Held>| holders.iter().rev().find(|held| held.lock == lock).map(|held| held.holder);
    with_holders(find).flatten()
}

fn note(call: Call, lock: usize, is_robust: bool) {
    forget(lock);
    with_holders(|holders| holders.push(Held { lock, holder: of_caller(call), is_robust }));
}

/// What is to be said of a call that has taken `mutex`, or not, as `result` tells. `call` is `None` for that of an OS thread.
///
/// # Safety
///
/// `mutex` must be initialised.
#[inline]
pub(super) unsafe fn taken(call: Option<Call>, mutex: *mut pthread_mutex_t, mut result: c_int) -> c_int {
    // SAFETY: the caller's contract.
    let view = unsafe { MutexView::new(mutex) };
    if result == 0 && view.is_robust() && robust::is_abandoned(mutex.addr()) {
        view.make_inconsistent();
        result = libc::EOWNERDEAD;
    }
    if let Some(call) = call
        && matches!(result, 0 | libc::EOWNERDEAD)
        && (view.knows_its_holder() || view.is_robust())
        && is_held_by_thread(view)
    {
        note(call, mutex.addr(), view.is_robust());
        if view.is_robust() {
            call.hub.thread.current().set_at_end(give_up);
        }
    }
    result
}

/// The current green thread has ended: gives up the robust mutexes that it holds by the number of its OS thread.
fn give_up() {
    let Some(thread) = existing_thread() else { return };
    let ended = of(thread.current());
    let is_given_up = |held: &Held| held.is_robust && held.holder == ended;
    let is_due = |mutex| {
        with_holders(|holders| holders.iter().any(|held| held.lock == mutex && is_given_up(held)))
            == Some(true)
    };
    robust::abandon_some(is_due, |mutex| {
        wake(mutex, 1);
    });
    with_holders(|holders| holders.retain(|held| !is_given_up(held)));
}

/// The caller has taken `lock` for writing just now.
pub(super) fn note_writer(call: Call, lock: *mut pthread_rwlock_t) {
    if !is_isolated() {
        note(call, lock.addr(), false);
    }
}

/// Whether the caller has `lock` for writing.
///
/// # Safety
///
/// `lock` must be initialised.
pub(super) unsafe fn is_writer(call: Call, lock: *mut pthread_rwlock_t) -> bool {
    // SAFETY: the caller's contract.
    let writer = unsafe { rwlock::writer(lock) };
    writer != 0
        && writer == own_number()
        && (is_isolated() || known_holder(lock.addr()) == Some(of_caller(call)))
}

/// The caller is about to give back `lock`.
///
/// # Safety
///
/// `lock` must be initialised.
#[inline]
pub(super) unsafe fn forget_writer(lock: *mut pthread_rwlock_t) {
    // SAFETY: the caller's contract.
    if unsafe { rwlock::writer(lock) } != 0 && !is_isolated() {
        forget(lock.addr());
    }
}

/// What is to be done once the caller has given `mutex` back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Giving {
    /// It cannot: it is another green thread's.
    Refused,
    /// It is nobody's then, and [to be forgotten](forget).
    Last,
    /// Nothing.
    Plain,
}

/// What giving `mutex` back means.
///
/// # Safety
///
/// `mutex` must be initialised.
pub(super) unsafe fn giving(call: Call, mutex: *mut pthread_mutex_t) -> Giving {
    // SAFETY: the caller's contract.
    let view = unsafe { MutexView::new(mutex) };
    if !(view.knows_its_holder() || view.is_robust()) || !is_held_by_thread(view) {
        Giving::Plain
    } else if view.owner() == number_for(view) && is_held_by_other(call, mutex) {
        Giving::Refused
    } else if view.is_held_again() {
        Giving::Plain
    } else {
        Giving::Last
    }
}

/// Nobody holds the lock at this address any more, which may be freed by now.
pub(super) fn forget(lock: usize) {
    with_holders(|holders| {
        if let Some(place) = holders.iter().rposition(|held| held.lock == lock) {
            holders.swap_remove(place);
        }
    });
}
