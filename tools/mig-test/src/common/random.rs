// SPDX-License-Identifier: GPL-2.0
//! Pseudo-random numbers from a seed (Marsaglia's xorshift64*).

/// A sequence of numbers.
pub struct Random(u64);

impl Random {
    /// Creates the sequence of a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns the next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((self.next_u64() >> 16) % bound as u64) as usize
    }

    /// Returns a number from 1 to `most`, small ones as likely as large ones.
    pub fn size(&mut self, most: usize) -> usize {
        let bits = 1 + self.below(most.ilog2() as usize + 1);
        1 + self.below(most.min(1 << bits))
    }

    /// Returns true or false with equal probability.
    pub fn coin(&mut self) -> bool {
        self.below(2) == 1
    }
}
