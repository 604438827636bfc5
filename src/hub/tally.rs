//! How much a hub has done, told by what it keeps in any case.

use super::state::{HubState, NUMBERS_AT_A_TIME};

/// What a hub has done since it was made, or since its process was forked.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Tally {
    /// Green threads that were to run here.
    pub(crate) spawned: u64,
    /// Those of them that have ended.
    pub(crate) ended: u64,
    /// Waits that were begun.
    pub(crate) waits: u64,
}

impl HubState {
    /// How much it has done. Nothing is counted for it: each green thread has a number, and each wait.
    pub(crate) fn tally(&self) -> Tally {
        let spawned = self.spawned().cast_unsigned();
        Tally {
            spawned,
            ended: spawned - self.alive.get() as u64,
            waits: self.generation.get() - self.first_generation.get(),
        }
    }

    /// In the child of a fork, none of that was here.
    pub(super) fn forget_tally(&self) {
        self.strangers.set(self.strangers.get() - self.spawned());
        self.first_generation.set(self.generation.get());
    }

    fn spawned(&self) -> i64 {
        // A block has one number less than its size.
        let whole = self.number_blocks.get().saturating_sub(1) * (NUMBERS_AT_A_TIME - 1);
        let next = self.next_number.get();
        let of_last = next.checked_sub(1).map_or(0, |last| last % NUMBERS_AT_A_TIME);
        (whole + of_last).cast_signed() + self.strangers.get()
    }
}
