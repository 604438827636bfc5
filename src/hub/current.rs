//! The calling thread's hub.

#![expect(
    unsafe_code,
    reason = "the hub is reached by one thread-local load, without a destructor's bookkeeping"
)]

use std::cell::Cell;
use std::ptr::{self, NonNull};

use super::state::HubState;
use crate::fiber::Local;

/// The hub, from anywhere in its thread.
pub(crate) type HubRef = Local<HubState>;

thread_local! {
    static HUB: Cell<*const HubState> = const { Cell::new(ptr::null()) };
}

/// The calling thread's hub, if it has one.
#[inline]
pub(crate) fn local_hub() -> Option<HubRef> {
    // SAFETY: not null means put there by `set_hub`, whose caller vouches that it stays until it takes it back. A `Local` is not
    // `Send`; what has one and could outlive the hub is a frame of a parked stack, which is never resumed, or a `Hub`, which
    // comes here first. Code of others that runs while the hub is freed finds null.
    NonNull::new(HUB.get().cast_mut()).map(|hub| unsafe { Local::new(hub) })
}

/// Makes `hub` the calling thread's, or takes that back.
///
/// # Safety
///
/// It stays valid until it is taken back, and nothing of this OS thread uses a reference to it after that.
pub(super) unsafe fn set_hub(hub: Option<HubRef>) {
    HUB.set(hub.map_or(ptr::null(), |hub| hub.as_ptr()));
}
