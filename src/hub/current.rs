//! The calling thread's hub.

#![expect(
    unsafe_code,
    reason = "the hub is reached by one thread-local load, without a destructor's bookkeeping"
)]

use std::cell::Cell;
use std::ptr::{self, NonNull};

use super::HubState;
use crate::greenlet::{self, Local};

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
    // SAFETY: not null means made by `make_hub` and not yet freed by `end_hub`, which runs when the thread ends, after the
    // last use: a `Local` is not `Send`, and parked stacks that hold one are never resumed again.
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
    let thread = greenlet::thread();
    thread.wait_in_hub.set(Some(|| hub().run()));
    thread.withdraw.set(Some(|fiber| {
        hub().ready.borrow_mut().withdraw(&fiber);
    }));
    thread.recall.set(Some(|fiber| hub().recall(fiber)));
    thread.end_hub.set(Some(end_hub));
    HUB.set(Box::into_raw(Box::new(HubState::new(thread))));
    hub()
}

/// Called by the thread's record when the thread ends.
fn end_hub() {
    let Some(hub) = local_hub() else { return };
    hub.end();
    HUB.set(ptr::null());
    // SAFETY: made by `Box::into_raw` in `make_hub`; HUB no longer leads to it, so this is the last use.
    drop(unsafe { Box::from_raw(hub.as_ptr()) });
}
