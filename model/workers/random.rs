//! Numbers that are the same at each run.

/// Marsaglia's xorshift64*.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed, which is not zero.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number, evenly from 0 to 1, neither of which it is.
    pub fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        (bits as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// The next time between two of many events that know nothing of each other, `mean` on average.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }
}
