//! Which wait, among all of those behind a door.

/// Which wait behind a door, in one word: from the top, the number of the fiber in its thread (28 bits), the epoch (12), the
/// generation (24).
///
/// The latter two are cut. When a generation has come round there may be a wake for no reason, which every wait expects. An epoch
/// does not come round: a door that has had as many hubs as there are numbers is not used again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wait(u64);

impl Wait {
    const GENERATION: u64 = (1 << 24) - 1;
    pub(super) const EPOCH: u32 = (1 << 12) - 1;

    #[inline]
    pub(super) fn new(fiber: u32, epoch: u32, generation: u64) -> Wait {
        debug_assert!(fiber < 1 << 28, "more green threads than memory can hold");
        Wait(u64::from(fiber) << 36 | u64::from(epoch & Wait::EPOCH) << 24 | generation & Wait::GENERATION)
    }

    #[inline]
    pub(super) fn fiber(self) -> u32 {
        (self.0 >> 36) as u32
    }

    #[inline]
    pub(super) fn epoch(self) -> u32 {
        (self.0 >> 24) as u32 & Wait::EPOCH
    }

    /// As far as it is kept.
    pub(crate) fn generation(self) -> u64 {
        self.0 & Wait::GENERATION
    }

    #[inline]
    pub(super) fn is_of_generation(self, generation: u64) -> bool {
        (self.0 ^ generation) & Wait::GENERATION == 0
    }
}
