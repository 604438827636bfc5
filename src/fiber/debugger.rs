//! What a debugger finds green threads by, in a process that stands still or in what one has left: `debugger/greenloop.py` reads it.
//!
//! Numbers only, and where each lies. So it needs neither debugging information nor anybody who runs.

use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::fiber::{Fiber, State, Swap};
use super::thread::Thread;

/// OS threads with fibers that are found; further ones are not.
const MOST_THREADS: usize = 512;

/// The script knows it by its name, and each number by its place.
#[repr(C)]
struct Map {
    /// Changed with the rest.
    version: usize,
    most_threads: usize,
    os_thread: usize,
    fiber_list: usize,
    fiber_count: usize,
    current: usize,
    main: usize,
    swap: usize,
    swap_size: usize,
    state: usize,
    idle: usize,
    running: usize,
    parked: usize,
    ready: usize,
    words: usize,
    number: usize,
    description: usize,
    extent: usize,
    extent_shifts: usize,
    threads: [AtomicPtr<Thread>; MOST_THREADS],
}

type WaitsOn = (&'static str, u64);

// SAFETY: no other one of that name is there, since two versions of the library are never in one program (`links` in the manifest).
#[unsafe(no_mangle)]
#[used]
static GREENLOOP_MAP: Map = Map {
    version: 1,
    most_threads: MOST_THREADS,
    os_thread: offset_of!(Thread, os_thread),
    fiber_list: offset_of!(Thread, fiber_list),
    fiber_count: offset_of!(Thread, fiber_count),
    current: offset_of!(Thread, current),
    main: offset_of!(Thread, main),
    swap: offset_of!(Fiber, swap),
    swap_size: size_of::<Option<Swap>>(),
    state: offset_of!(Fiber, state),
    idle: State::Idle as usize,
    running: State::Running as usize,
    parked: State::Parked as usize,
    ready: State::Ready as usize,
    words: offset_of!(Fiber, waits_on) + offset_of!(WaitsOn, 0),
    number: offset_of!(Fiber, waits_on) + offset_of!(WaitsOn, 1),
    description: Fiber::DESCRIPTION,
    extent: offset_of!(Fiber, extent),
    extent_shifts: super::stack::SHIFTS,
    threads: [const { AtomicPtr::new(ptr::null_mut()) }; MOST_THREADS],
};

/// `thread` is there.
pub(super) fn add(thread: &Thread) {
    let address = ptr::from_ref(thread).cast_mut();
    let enter = |place: &AtomicPtr<Thread>| {
        place.compare_exchange(ptr::null_mut(), address, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    };
    let _in_vain_if_full = GREENLOOP_MAP.threads.iter().any(enter);
}

/// `thread` ends.
pub(super) fn remove(thread: &Thread) {
    let address = ptr::from_ref(thread).cast_mut();
    for place in &GREENLOOP_MAP.threads {
        let _ = place.compare_exchange(address, ptr::null_mut(), Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// In the child of a fork, of whose OS threads `own` alone is there.
pub(super) fn forget_others(own: Option<&Thread>) {
    for place in &GREENLOOP_MAP.threads {
        place.store(ptr::null_mut(), Ordering::SeqCst);
    }
    if let Some(own) = own {
        add(own);
    }
}
