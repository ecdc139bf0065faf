//! Random numbers for identifiers and labels: fast, and not secret.

use std::hash::{BuildHasher, RandomState};

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that differs at every call, seeded by the standard library's hash keys.
    pub fn new() -> Self {
        Self(RandomState::new().hash_one(0_u8))
    }

    /// A generator that gives the same numbers for the same seed.
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next 16 bits.
    pub const fn next_u16(&mut self) -> u16 {
        (self.next_u64() >> 48) as u16
    }

    /// Sixteen bytes, the size of a RADIUS authenticator.
    pub const fn block(&mut self) -> [u8; 16] {
        (((self.next_u64() as u128) << 64) | self.next_u64() as u128).to_be_bytes()
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
