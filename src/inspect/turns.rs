//! How often each greenlet of a hub has gone on, and how long it ran.

use std::cell::RefCell;
use std::time::Duration;

use crate::fiber::FiberRef;

/// What is known of a greenlet since it is timed.
#[derive(Clone, Copy, Default, Debug)]
struct Turn {
    /// Of which run of the fiber that is true.
    run: u64,
    count: u64,
    nanoseconds: u64,
}

/// By the fiber's index.
#[derive(Default)]
pub(super) struct Turns(RefCell<Vec<Turn>>);

impl Turns {
    pub(super) fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    /// Who is on `fiber` goes on.
    pub(super) fn enter(&self, fiber: FiberRef) {
        let mut turns = self.0.borrow_mut();
        match turns.get_mut(fiber.index() as usize) {
            Some(turn) if turn.run == fiber.runs.get() => turn.count += 1,
            _ => {
                drop(turns);
                self.begin(fiber);
            }
        }
    }

    /// Who is on `fiber` goes on, for the first time that is known.
    pub(super) fn begin(&self, fiber: FiberRef) {
        let mut turns = self.0.borrow_mut();
        let index = fiber.index() as usize;
        if turns.len() <= index {
            turns.resize(index + 1, Turn::default());
        }
        turns[index] = Turn { run: fiber.runs.get(), count: 1, nanoseconds: 0 };
    }

    /// Who went on there last has run for so long.
    pub(super) fn ran(&self, fiber: FiberRef, nanoseconds: u64) {
        if let Some(turn) = self.0.borrow_mut().get_mut(fiber.index() as usize) {
            turn.nanoseconds += nanoseconds;
        }
    }

    /// How often who is in this run of the fiber has gone on, and how long it ran.
    pub(super) fn of(&self, index: u32, run: u64) -> Option<(u64, Duration)> {
        let turn = self.0.borrow().get(index as usize).copied().filter(|turn| turn.run == run)?;
        Some((turn.count, Duration::from_nanos(turn.nanoseconds)))
    }
}
