//! Who hears what a hub does.

use std::any::Any;
use std::time::Duration;

use super::door::Door;
use super::wait::Wait;
use crate::fiber::{Describe, FiberRef};

/// How long a hub spins that does not, and has a witness.
pub(super) const WITNESS_ONLY: Duration = Duration::from_nanos(1);

/// Hears of everything that a hub runs, on the hub's OS thread. None of it waits, switches, or calls code of others.
pub(crate) trait Witness: Any {
    /// `target` goes on, and who ran before does not.
    fn passes(&self, target: FiberRef);
    /// A green thread begins on `fiber`.
    fn begins(&self, fiber: FiberRef, number: u64, description: Option<&dyn Describe>);
    /// The green thread that ran has ended.
    fn ends(&self, number: u64);
    /// One that was [witnessed](crate::fiber::State::Witnessed) has been made ready by who runs, or by the hub.
    fn woken(&self, fiber: FiberRef);
    /// Who runs wakes that wait of another hub, whose door this is.
    fn calls(&self, door: &Door, wait: Wait);
    /// A time limit of a green thread has passed.
    fn times_out(&self);
    /// The hub is about to read letters. Whom they wake is only [witnessed](crate::fiber::State::Witnessed) if who has left his stack is.
    fn pauses(&self);
    /// Nobody is ready: the hub is about to wait.
    fn sleeps(&self);
    /// It hears nothing more, perhaps since it is in the child of a fork.
    fn stops(&self);
}
