//! How a hub has a witness: at no cost while it is not.
//!
//! A switch asks anyway whether there is something to attend to; a fresh green thread begins with whatever function the hub names; who is
//! parked before a witness is in a state of its own, which a wake finds where it finds none that it knows; and a witness has the hub spin, so
//! that it is asked before the hub blocks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::current::local_hub;
use super::door::{Letter, open_doors};
use super::fork::generation;
use super::jobs::{run_jobs, run_witnessed_jobs};
use super::state::HubState;
use super::witness::{WITNESS_ONLY, Witness};
use crate::fiber::FiberRef;

/// What makes witnesses.
static MAKER: OnceLock<fn() -> Box<dyn Witness>> = OnceLock::new();
/// In which process hubs have witnesses: one more than its [generation](generation), or 0 for none.
static WITNESSED: AtomicU32 = AtomicU32::new(0);

/// Gives each hub of the process a witness, those to come too, whom `make` makes, which is the same in each call.
pub(crate) fn witness_all(make: fn() -> Box<dyn Witness>) {
    MAKER.get_or_init(|| make);
    WITNESSED.store(generation() + 1, Ordering::SeqCst);
    on_all_hubs(HubState::follow_witness);
}

/// Ends that.
pub(crate) fn witness_none() {
    WITNESSED.store(0, Ordering::SeqCst);
    on_all_hubs(HubState::follow_witness);
}

/// Runs `tell` on each hub: at once on the calling thread's, by a letter on the others.
pub(crate) fn on_all_hubs(tell: fn(&HubState)) {
    let own = local_hub();
    if let Some(own) = own {
        tell(&own);
    }
    for door in open_doors() {
        if own.is_none_or(|own| !door.is(own.door())) {
            let run = move || {
                if let Some(hub) = local_hub() {
                    tell(&hub);
                }
            };
            door.send(door.epoch(), Letter::Run(Box::new(run)));
        }
    }
}

impl HubState {
    /// Has a witness from now on, or no more, as all are to have that are not the library's own. A hub that opens its door before it asks
    /// misses nothing.
    pub(super) fn follow_witness(&self) {
        if WITNESSED.load(Ordering::SeqCst) != generation() + 1 || self.door().is_hidden() {
            return self.dismiss_witness();
        }
        let Some(make) = MAKER.get() else { return };
        self.witness.get_or_init(|| make());
        self.is_witnessed.set(true);
        self.entry.set(run_witnessed_jobs);
        if self.spin.get().is_zero() {
            self.spin.set(WITNESS_ONLY);
        }
        self.thread.tell_switches(Some(switched));
    }

    /// Has no witness any more.
    pub(super) fn dismiss_witness(&self) {
        if !self.is_witnessed.replace(false) {
            return;
        }
        self.entry.set(run_jobs);
        if self.spin.get() == WITNESS_ONLY {
            self.spin.set(Duration::ZERO);
        }
        self.thread.tell_switches(None);
        if let Some(witness) = self.witness.get() {
            witness.stops();
        }
    }
}

/// The current greenlet is about to be `target`.
fn switched(target: FiberRef) {
    if let Some(witness) = local_hub().as_ref().and_then(|hub| hub.witness()) {
        witness.passes(target);
    }
}
