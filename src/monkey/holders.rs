//! Whose a mutex of C's is that is held, and a read-write lock that is held for writing.
//!
//! The C library numbers threads, and all green threads of a hub that are not isolated have one number. So that a recursive mutex, or
//! one that checks for errors, tells them apart, who holds one of those is kept here.

use std::cell::RefCell;

use libc::{pthread_mutex_t, pthread_rwlock_t};

use super::call::Call;
use crate::fiber::isolation::{is_isolated, is_number_of_isolated};
use crate::sys::mutex::{MutexView, own_number};
use crate::sys::rwlock;

/// A green thread, or the main greenlet, as long as it runs.
type Green = (usize, u64);

thread_local! {
    /// Mutexes that know their holders, read-write locks that are held for writing, and those who hold them: green threads of this OS
    /// thread that are not isolated.
    static HOLDERS: RefCell<Vec<(usize, Green)>> = const { RefCell::new(Vec::new()) };
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

fn of(call: Call) -> Green {
    let fiber = call.hub.thread.current();
    (fiber.as_ptr().addr(), fiber.runs.get())
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
    let is_neighbour = if owner == own_number() {
        !view.knows_its_holder() || !is_isolated() && is_held_by_other(call, mutex)
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
    view.knows_its_holder() && view.owner() == own_number()
}

/// Whether another green thread is known to hold it.
fn is_held_by_other(call: Call, mutex: *mut pthread_mutex_t) -> bool {
    known_holder(mutex.addr()).is_some_and(|holder| holder != of(call))
}

fn known_holder(lock: usize) -> Option<Green> {
    let find = |holders: &RefCell<Vec<(usize, Green)>>| {
        let holders = holders.try_borrow().ok()?;
        holders.iter().rev().find(|(held, _)| *held == lock).map(|(_, holder)| *holder)
    };
    HOLDERS.try_with(find).ok().flatten()
}

fn note(call: Call, lock: usize) {
    forget(lock);
    // An allocator whose own lock is such a one may come here amid this: then nobody is kept.
    let _ = HOLDERS.try_with(|holders| {
        if let Ok(mut holders) = holders.try_borrow_mut() {
            holders.push((lock, of(call)));
        }
    });
}

/// The caller has taken `mutex` just now.
///
/// # Safety
///
/// `mutex` must be initialised.
#[inline]
pub(super) unsafe fn note_taken(call: Call, mutex: *mut pthread_mutex_t) {
    // SAFETY: the caller's contract.
    if unsafe { MutexView::new(mutex) }.knows_its_holder() && !is_isolated() {
        note(call, mutex.addr());
    }
}

/// The caller has taken `lock` for writing just now.
pub(super) fn note_writer(call: Call, lock: *mut pthread_rwlock_t) {
    if !is_isolated() {
        note(call, lock.addr());
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
    writer != 0 && writer == own_number() && (is_isolated() || known_holder(lock.addr()) == Some(of(call)))
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
    if !view.knows_its_holder() || is_isolated() {
        Giving::Plain
    } else if view.owner() == own_number() && is_held_by_other(call, mutex) {
        Giving::Refused
    } else if view.is_held_again() {
        Giving::Plain
    } else {
        Giving::Last
    }
}

/// Nobody holds the lock at this address any more, which may be freed by now.
pub(super) fn forget(lock: usize) {
    let _ = HOLDERS.try_with(|holders| {
        if let Ok(mut holders) = holders.try_borrow_mut()
            && let Some(place) = holders.iter().rposition(|(held, _)| *held == lock)
        {
            holders.swap_remove(place);
        }
    });
}
