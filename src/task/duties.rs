//! What a spawn has to see to beside the spawn: mostly nothing, and then it asks once.

use std::num::NonZero;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::fiber::Describe;
use crate::hub::HubRef;

/// A value that is inherited was made in this process.
pub(super) const HAND_DOWN: u8 = 1;
/// Somebody wants to know who has spawned whom.
const REMEMBER_SPAWNER: u8 = 2;

static DUTIES: AtomicU8 = AtomicU8::new(0);

/// Whether there are any.
#[inline]
pub(super) fn are_there() -> bool {
    // Relaxed, as in all of these: what the calling thread has set itself it sees, and nothing is read that was written with it.
    DUTIES.load(Ordering::Relaxed) != 0
}

/// Whether there is this one.
#[inline]
pub(super) fn have(duty: u8) -> bool {
    DUTIES.load(Ordering::Relaxed) & duty != 0
}

pub(super) fn set(duty: u8, is_due: bool) {
    if is_due {
        DUTIES.fetch_or(duty, Ordering::Relaxed);
    } else {
        DUTIES.fetch_and(!duty, Ordering::Relaxed);
    }
}

/// Has each green thread that is spawned from now on remember who spawns it, or not.
pub(crate) fn remember_spawners(remember: bool) {
    set(REMEMBER_SPAWNER, remember);
}

/// The number of the green thread that spawns, if that is to be remembered.
pub(super) fn spawner(hub: HubRef) -> Option<NonZero<u64>> {
    if !have(REMEMBER_SPAWNER) {
        return None;
    }
    hub.thread.current().description().and_then(Describe::id).and_then(NonZero::new)
}
