//! One end of a channel of whatever type, as something that can be chosen.

#![expect(unsafe_code, reason = "a choice may go to another OS thread, though what is sent may not")]

use std::ops::Deref;
use std::ptr;

use super::choice::Arm;

/// A borrowed end of a channel, its type hidden.
#[derive(Clone, Copy)]
pub(crate) struct AnyArm<'a>(&'a dyn Arm);

// SAFETY: what an [`Arm`] does, it does under the channel's lock, to lines, counts and places of values: a value of the channel is
// moved at most, from the channel to the channel, and neither given out, dropped nor looked at. To have one, or to drop it, takes the
// typed end itself, which is `Sync` only if the values are `Send`.
unsafe impl Send for AnyArm<'_> {}
// SAFETY: as for `Send`.
unsafe impl Sync for AnyArm<'_> {}

impl<'a> AnyArm<'a> {
    pub(crate) fn new(end: &'a dyn Arm) -> AnyArm<'a> {
        AnyArm(end)
    }

    /// Whether it is this very end.
    pub(crate) fn is<E>(self, end: &E) -> bool {
        ptr::addr_eq(self.0, end)
    }
}

impl<'a> Deref for AnyArm<'a> {
    type Target = dyn Arm + 'a;

    fn deref(&self) -> &(dyn Arm + 'a) {
        self.0
    }
}
