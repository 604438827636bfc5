//! What a stack does on which green threads begin.

use super::current::local_hub;
use super::ended;
use super::state::BUDGET;
use crate::fiber::FiberRef;

/// What one that begins counts as beside a switch, on a stack where another one has just ended.
const SWITCHES_PER_BEGINNING: usize = 2;

/// A fiber's work for the hub: green threads, one after another, as long as fresh ones may begin in this pass. The next
/// one begins on the same warm stack, with no switch.
pub(super) fn run_jobs(fiber: FiberRef) -> Option<FiberRef> {
    run::<false>(fiber)
}

/// The same, where each is told of to a witness.
pub(super) fn run_witnessed_jobs(fiber: FiberRef) -> Option<FiberRef> {
    run::<true>(fiber)
}

#[inline(always)]
fn run<const WITNESSED: bool>(fiber: FiberRef) -> Option<FiberRef> {
    let hub = local_hub().expect("a hub that begins green threads");
    let mut next = hub.starting.take();
    while let Some(job) = next {
        let number = if WITNESSED && !job.has_ended() { Some(job.number()) } else { None };
        if let Some((witness, number)) = hub.witness_if(WITNESSED).zip(number) {
            witness.begins(fiber, number, job.description());
        }
        match job.run(fiber) {
            Some(ended) => ended::publish(job, ended),
            None => drop(job),
        }
        if let Some((witness, number)) = hub.witness_if(WITNESSED).zip(number) {
            witness.ends(number);
        }
        fiber.end_run();
        next = hub.ready.borrow_mut().pop_fresh_if(|job| job.stack() == fiber.class());
        if next.is_none() && hub.feed().is_some() {
            next = hub.next_meal(fiber);
        }
        if next.is_some() {
            hub.unlooked.set(hub.unlooked.get() + SWITCHES_PER_BEGINNING);
            hub.budget.set(BUDGET);
        }
    }
    None
}
