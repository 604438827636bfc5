//! The calling thread's hub.

#![expect(
    unsafe_code,
    reason = "the hub is reached by one thread-local load, without a destructor's bookkeeping"
)]

use std::cell::Cell;
use std::ptr::{self, NonNull};

use super::HubState;
use crate::fiber::{self, Local};

/// The hub, from anywhere in its thread.
pub(crate) type HubRef = Local<HubState>;

thread_local! {
    static HUB: Cell<*const HubState> = const { Cell::new(ptr::null()) };
}

/// The calling thread's hub, made on first use.
#[inline]
pub(crate) fn hub() -> HubRef {
    match local_hub() {
        Some(hub) => hub,
        None => make_hub(),
    }
}

/// The calling thread's hub, if it has one.
#[inline]
pub(crate) fn local_hub() -> Option<HubRef> {
    // SAFETY: not null means made by `make_hub` and not yet freed by `end_hub`, which sets it to null before. A `Local` is not
    // `Send`; what has one and could outlive the hub is a frame of a parked stack, which is never resumed, or a `Hub`, which
    // comes here first. Code of others that runs while the hub is freed finds null.
    NonNull::new(HUB.get().cast_mut()).map(|hub| unsafe { Local::new(hub) })
}

/// Runs `function` with `hub` as the calling thread's hub, in thread-local variables that have none.
#[cfg(feature = "monkey")]
pub(crate) fn lend_hub(hub: HubRef, function: impl FnOnce()) {
    HUB.set(hub.as_ptr());
    function();
    HUB.set(ptr::null());
}

#[cold]
fn make_hub() -> HubRef {
    super::fork::look_after_forks();
    let thread = fiber::thread();
    // Between the end of its hub and that of its record a thread has no hub.
    assert!(!fiber::is_ending(), "this OS thread ends: it has no hub any more");
    thread.set_on_end(end_hub);
    HUB.set(Box::into_raw(Box::new(HubState::new(thread))));
    hub()
}

/// Called by the thread's record when the thread ends.
fn end_hub() {
    let Some(hub) = local_hub() else { return };
    hub.abandon_all();
    HUB.set(ptr::null());
    // What is left of letters, and of who waited for descriptors, has destructors of others, which find no hub.
    fiber::catch("what is left at the end of a hub", || hub.shut_door());
    // SAFETY: made by `Box::into_raw` in `make_hub`; HUB no longer leads to it, so this is the last use.
    let state = unsafe { Box::from_raw(hub.as_ptr()) };
    fiber::catch("what is left at the end of a hub", || drop(state));
}
