//! Robust mutexes whose holder ends: their next one is told, by EOWNERDEAD.
//!
//! The C library links those that a thread holds into a list in its record of that, and the kernel goes through the list of each OS thread
//! that ends. It goes through no other: not through those of [blocks](super::control_block), nor through that of an OS thread when one of
//! the green threads ends that hold mutexes by its number.

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering, compiler_fence};

use super::mutex::MutexView;
use super::original;

/// The kernel's `robust_list_head`: the mutexes of a thread that are to be given up at its end.
#[repr(C)]
pub(super) struct RobustList {
    /// The first entry; this head if there is none. Each begins with the address of the next one.
    first: usize,
    /// From an entry to its mutex's word.
    offset: isize,
    /// An entry that is just being linked, or taken out; else zero.
    pending: usize,
}

/// As many are looked at, as by the kernel (ROBUST_LIST_LIMIT).
const LIMIT: usize = 2048;

/// Of the address of an entry: the mutex inherits priority.
const INHERITS: usize = 1;

/// From where an entry refers to the one before it, to the entry.
const BACK: usize = size_of::<usize>();

fn word(address: usize) -> *mut usize {
    ptr::with_exposed_provenance_mut(address)
}

/// The mutex of an entry.
///
/// # Safety
///
/// The entry must be one of the calling thread's list.
unsafe fn view<'a>(entry: usize, offset: isize) -> MutexView<'a> {
    let mutex = ptr::with_exposed_provenance((entry & !INHERITS).wrapping_add_signed(offset));
    // SAFETY: who holds a mutex leaves it where it is, and its word is at its beginning.
    unsafe { MutexView::new(mutex) }
}

/// Where the kernel was told that the calling OS thread has its list.
pub(super) fn head() -> Option<*mut RobustList> {
    let (mut head, mut length) = (0_usize, 0_usize);
    let own: libc::c_long = 0;
    let places = [&raw mut head, &raw mut length].map(|place| place.expose_provenance() as libc::c_long);
    // SAFETY: both places are valid for writes, and 0 is for the calling thread; the others are not looked at.
    let result =
        unsafe { original::syscall(libc::SYS_get_robust_list, own, places[0], places[1], own, own, own) };
    let is_there = result == 0 && length == size_of::<RobustList>() && head != 0;
    is_there.then(|| ptr::with_exposed_provenance_mut(head))
}

/// Gives up all of a list, which is of nobody else and empty by then, for a holder of this number.
///
/// # Safety
///
/// `head` must be that of a list of the C library's.
pub(super) unsafe fn abandon_all(head: *mut RobustList, number: u32) {
    // SAFETY: the caller's contract.
    let RobustList { first, offset, pending } = unsafe { head.read_volatile() };
    // Taken past `monkey`, by a library that finds the C library first. One that inherits priority could not be given back.
    // SAFETY: an entry of it.
    let abandon = |entry: usize| unsafe { view(entry, offset) }.abandon(number, || {});
    let mut entry = first;
    for _ in 0..LIMIT {
        let address = entry & !INHERITS;
        if address == head.addr() || address == 0 {
            break;
        }
        // Before it is given up: then it is another's. SAFETY: an entry, as above.
        let next = unsafe { word(address).read_volatile() };
        if address != pending & !INHERITS {
            abandon(entry);
        }
        entry = next;
    }
    if pending & !INHERITS != 0 {
        abandon(pending);
    }
    // SAFETY: as above.
    unsafe { head.write_volatile(RobustList { first: head.addr(), offset, pending: 0 }) };
}

/// Gives up those of the calling OS thread's mutexes that `is_due` says, by their addresses, and then tells `given_up`.
pub(crate) fn abandon_some(is_due: impl Fn(usize) -> bool, given_up: impl Fn(usize)) {
    let Some(head) = head() else { return };
    // SAFETY: takes nothing.
    let number = unsafe { libc::gettid() }.cast_unsigned();
    // SAFETY: the calling thread's list, which nobody else changes, here and below.
    let RobustList { first, offset, .. } = unsafe { head.read_volatile() };
    // SAFETY: as above.
    let pending = unsafe { &raw mut (*head).pending };
    // For the kernel, should the process end amid what follows. SAFETY: as above.
    let set_pending = |entry| unsafe { pending.write_volatile(entry) };
    let mut before = head.addr();
    let mut entry = first;
    for _ in 0..LIMIT {
        let address = entry & !INHERITS;
        if address == head.addr() || address == 0 {
            return;
        }
        // SAFETY: as above.
        let next = unsafe { word(address).read_volatile() };
        let mutex = address.wrapping_add_signed(offset);
        if !is_due(mutex) {
            before = address;
        // SAFETY: as above: neighbours in the list.
        } else if unsafe { unlink(before, entry, next, set_pending) } {
            // SAFETY: it was in the list until just now.
            let view = unsafe { view(entry, offset) };
            view.abandon(number, || {
                marks::leave(mutex);
                view.hand_over();
            });
            set_pending(0);
            given_up(mutex);
        } else {
            // A C library that links them in another way: the kernel gives them up when the OS thread ends.
            return;
        }
        entry = next;
    }
}

/// Takes `entry` out as the C library does, when it is noted as pending. `false` if the list is not as that makes it.
///
/// # Safety
///
/// They must follow each other in the calling thread's list.
unsafe fn unlink(before: usize, entry: usize, next: usize, set_pending: impl Fn(usize)) -> bool {
    let [address, after] = [entry, next].map(|entry| entry & !INHERITS);
    let [back, back_of_next] = [address, after].map(|address| word(address - BACK));
    // SAFETY: the C library's mutexes and records have a word before that of the list, here and below.
    let leads_back = |back: *mut usize, to: usize| unsafe { back.read_volatile() } & !INHERITS == to;
    if cfg!(not(target_pointer_width = "64"))
        || !leads_back(back, before)
        || !leads_back(back_of_next, address)
    {
        return false;
    }
    set_pending(entry);
    compiler_fence(Ordering::SeqCst);
    // SAFETY: the caller's contract.
    let former = unsafe { back.read_volatile() };
    // SAFETY: as above.
    unsafe { back_of_next.write_volatile(former) };
    // SAFETY: as above.
    unsafe { word(before).write_volatile(next) };
    // SAFETY: as above.
    unsafe { back.write_volatile(0) };
    // SAFETY: as above.
    unsafe { word(address).write_volatile(0) };
    compiler_fence(Ordering::SeqCst);
    true
}

/// Whether the caller, who has just taken `mutex`, is to be told that its last holder has ended. Once.
#[inline]
pub(crate) fn is_abandoned(mutex: usize) -> bool {
    marks::is_any_left() && marks::take(mutex)
}

/// Mutexes that inherit priority, and that the kernel was made to hand over: it does not say then that the last holder has ended.
mod marks {
    use super::{AtomicUsize, Ordering};

    const COUNT: usize = 64;

    /// Their addresses; zero where there is none.
    static MARKS: [AtomicUsize; COUNT] = [const { AtomicUsize::new(0) }; COUNT];
    static LEFT: AtomicUsize = AtomicUsize::new(0);

    /// Marks `mutex`. Where there is no room, its next holder is not told.
    pub(super) fn leave(mutex: usize) {
        LEFT.fetch_add(1, Ordering::SeqCst);
        let exchange =
            |mark: &AtomicUsize| mark.compare_exchange(0, mutex, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if !MARKS.iter().any(exchange) {
            LEFT.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[inline]
    pub(super) fn is_any_left() -> bool {
        LEFT.load(Ordering::SeqCst) > 0
    }

    #[cold]
    pub(super) fn take(mutex: usize) -> bool {
        let is_taken = MARKS
            .iter()
            .any(|mark| mark.compare_exchange(mutex, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok());
        if is_taken {
            LEFT.fetch_sub(1, Ordering::SeqCst);
        }
        is_taken
    }
}
