//! Numbers at random, for tests that can be repeated.

/// Numbers that look random and are the same in every run: xorshift64*.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.max(1))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number from 0 up to `end`, not included.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // The high half of the product: no modulo, whose low bits are the weak ones.
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}
