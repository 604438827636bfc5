//! What decides in a hub of a test, in place of the clock and of the order of arrival.

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;

use super::faults::Faults;
use super::steps::Steps;
use crate::fiber::FiberRef;
use crate::sys::virtual_clock::VirtualClock;

/// Says who runs next.
pub(crate) trait Schedule {
    /// The place of one of those `count` who are ready, of whom there is at least one. `number` tells them apart, by place: of green threads
    /// the number, of main 0, and of all else any.
    fn choose(&self, count: usize, number: &dyn Fn(usize) -> u64) -> usize;

    /// One of `count` ways to go on, where the library would take one at random.
    fn pick(&self, count: usize) -> usize;

    /// Which of some things goes wrong, each of which has a chance: its place and one more, or 0.
    fn fault(&self, chances: &[f64]) -> usize;

    /// What has been chosen so far, as it can be chosen again.
    fn script(&self) -> String;
}

/// What decides in place of the clock and of the order of arrival.
pub(crate) struct World {
    pub(crate) clock: Arc<VirtualClock>,
    /// Without one all run in order of arrival.
    pub(super) schedule: OnceCell<Box<dyn Schedule>>,
    /// What may go wrong, if something may; there is a schedule then.
    pub(super) faults: OnceCell<Box<Faults>>,
    /// How many bytes were on their way when it last looked, and how often in a row.
    pub(super) on_their_way: Cell<(usize, u32)>,
    /// How often in a row it looked, a millisecond of real time from one to the next, and something held its clock.
    pub(super) held: Cell<u32>,
    /// Who ran lately, where a schedule chooses.
    pub(super) steps: Steps,
    /// Who pauses between two looks at what nobody tells.
    pub(super) looking: RefCell<Vec<FiberRef>>,
    /// Whether a hub has ended, so that somebody who stands in a line is to look again.
    pub(super) is_somebody_gone: Cell<bool>,
    /// How often it was asked to pick without one.
    picks: Cell<usize>,
}

impl World {
    pub(crate) fn new(clock: Arc<VirtualClock>, schedule: Option<Box<dyn Schedule>>) -> World {
        World {
            clock,
            schedule: schedule.map_or_else(OnceCell::new, OnceCell::from),
            faults: OnceCell::new(),
            on_their_way: Cell::new((0, 0)),
            held: Cell::new(0),
            steps: Steps::default(),
            looking: RefCell::new(Vec::new()),
            is_somebody_gone: Cell::new(false),
            picks: Cell::new(0),
        }
    }

    #[inline]
    pub(super) fn chooses(&self) -> bool {
        self.schedule.get().is_some()
    }

    /// One of `count` ways to go on, where there would be one at random: without a schedule each in turn.
    pub(super) fn pick(&self, count: usize) -> usize {
        match self.schedule.get() {
            Some(schedule) => schedule.pick(count),
            None => self.picks.replace(self.picks.get().wrapping_add(1)) % count,
        }
    }
}
