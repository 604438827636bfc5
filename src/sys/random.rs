//! Random numbers that come again with their seed.

/// splitmix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ (number >> 31)
    }

    /// The seed of one that gives the numbers which this one will.
    #[cfg(feature = "monkey")]
    pub(crate) fn state(&self) -> u64 {
        self.0
    }

    /// From 0 up to 1, not included.
    pub(crate) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 0 up to `end`, not included.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // The high half of the product, so that no modulo favours anybody.
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}
