//! How maps of 64-byte lines are reached, and the keyed hash over them.
//!
//! Every table of the wall is an array of lines as long as a cache line, eight words each. An array's
//! look-up is inlined by the kernel, never allocates and can't fail for a full table.

/// An array of lines.
pub trait Lines {
    /// One line.
    type Line: Line;

    /// The line of that number; none beyond the end.
    fn line(&self, index: u32) -> Option<Self::Line>;
}

/// Eight words of 64 bits, shared with other CPUs.
pub trait Line: Copy {
    /// One of the words.
    type Word: Word;

    /// The word at `slot`, of which the lowest three bits count.
    fn word(self, slot: u32) -> Self::Word;

    /// What the word at `slot` holds.
    #[inline(always)]
    fn load(self, slot: u32) -> u64 {
        self.word(slot).load()
    }
}

/// A word of 64 bits, shared with other CPUs.
pub trait Word: Copy {
    /// What it holds.
    fn load(self) -> u64;

    /// Stores `new` if `old` is there still. Gives zero if it was, and the difference if it wasn't: a number, so
    /// that several can be added up without a branch for each.
    fn replace(self, old: u64, new: u64) -> u64;
}

/// Words in a line.
pub const SLOTS: u32 = 8;

/// Multiply-shift over vectors of 32-bit numbers: two independent hashes of which the upper 32 bits each
/// are strongly universal, so that no traffic chosen without knowing the seeds collides more often than
/// chance has it. (Dietzfelbinger et al. 1997; Thorup, "High Speed Hashing for Integers and Strings",
/// 2015, section 3.5.)
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Seeds(pub [u64; Self::WORDS]);

/// Two hash values of one key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hash(pub u64, pub u64);

impl Seeds {
    /// Words of key material.
    pub const WORDS: usize = 12;

    /// Seeds that everybody knows, for tests and nothing else.
    #[cfg(not(target_arch = "bpf"))]
    pub const TEST: Self = Self([
        0x9e37_79b9_7f4a_7c15,
        0xbf58_476d_1ce4_e5b9,
        0x94d0_49bb_1331_11eb,
        0xd6e8_feb8_6659_fd93,
        0xa076_1d64_78bd_642f,
        0xe703_7ed1_a0b4_28db,
        0x8ebc_6af0_9c88_c6e3,
        0x5899_65cc_7537_4cc3,
        0x1d8e_4e27_c47d_124f,
        0xeb44_acca_b455_d165,
        0x9c6e_6877_736c_46e3,
        0x5a2c_3f5b_d1e9_97a1,
    ]);
}

impl Hash {
    /// The key's first line in a table of `mask + 1` lines, a power of two up to 2^20.
    #[inline(always)]
    pub const fn first(self, mask: u32) -> u32 {
        (self.0 >> 32) as u32 & mask
    }

    /// The key's second line.
    #[inline(always)]
    pub const fn second(self, mask: u32) -> u32 {
        (self.1 >> 32) as u32 & mask
    }

    /// 24 bits that choose no line: they tell keys of a line apart. Never zero.
    #[inline(always)]
    pub const fn fingerprint(self) -> u64 {
        let bits = (self.0 >> 52) << 12 | self.1 >> 52;
        if bits == 0 { 1 } else { bits }
    }
}

/// The seeds, word by word, wherever they lie.
pub trait Key {
    /// Word `index` of [`Seeds`].
    fn seed(&self, index: u32) -> u64;

    /// Hashes an IPv4 prefix (in the upper half of `hi`) with a tag.
    #[inline(always)]
    fn hash_v4(&self, hi: u64, tag: u32) -> Hash {
        let (x, tag) = (hi >> 32, u64::from(tag));
        Hash(
            self.seed(0)
                .wrapping_mul(x)
                .wrapping_add(self.seed(4).wrapping_mul(tag))
                .wrapping_add(self.seed(5)),
            self.seed(6)
                .wrapping_mul(x)
                .wrapping_add(self.seed(10).wrapping_mul(tag))
                .wrapping_add(self.seed(11)),
        )
    }

    /// Hashes 64 bits of an IPv6 prefix with a tag.
    #[inline(always)]
    fn hash_64(&self, hi: u64, tag: u32) -> Hash {
        let Hash(a, b) = self.hash_v4(hi, tag);
        let x = hi & 0xffff_ffff;
        Hash(
            a.wrapping_add(self.seed(1).wrapping_mul(x)),
            b.wrapping_add(self.seed(7).wrapping_mul(x)),
        )
    }

    /// Hashes 128 bits of an IPv6 prefix with a tag.
    #[inline(always)]
    fn hash_128(&self, hi: u64, lo: u64, tag: u32) -> Hash {
        let Hash(a, b) = self.hash_64(hi, tag);
        let (y, z) = (lo >> 32, lo & 0xffff_ffff);
        Hash(
            a.wrapping_add(self.seed(2).wrapping_mul(y)).wrapping_add(self.seed(3).wrapping_mul(z)),
            b.wrapping_add(self.seed(8).wrapping_mul(y)).wrapping_add(self.seed(9).wrapping_mul(z)),
        )
    }
}

impl Key for Seeds {
    #[inline(always)]
    fn seed(&self, index: u32) -> u64 {
        self.0.get(index as usize).copied().unwrap_or(0)
    }
}

#[cfg(not(target_arch = "bpf"))]
pub use host::{HostLine, HostLines};

#[cfg(not(target_arch = "bpf"))]
mod host {
    use core::sync::atomic::{AtomicU64, Ordering};

    use super::{Line, Lines, Word};

    /// A table in ordinary memory.
    #[derive(Clone, Copy, Debug)]
    pub struct HostLines<'a>(pub &'a [[AtomicU64; 8]]);

    /// A line in ordinary memory.
    #[derive(Clone, Copy, Debug)]
    pub struct HostLine<'a>(&'a [AtomicU64; 8]);

    impl<'a> Lines for HostLines<'a> {
        type Line = HostLine<'a>;

        fn line(&self, index: u32) -> Option<HostLine<'a>> {
            self.0.get(index as usize).map(HostLine)
        }
    }

    impl<'a> Line for HostLine<'a> {
        type Word = &'a AtomicU64;

        fn word(self, slot: u32) -> &'a AtomicU64 {
            let [a, b, c, d, e, f, g, h] = self.0;
            match slot & 7 {
                0 => a,
                1 => b,
                2 => c,
                3 => d,
                4 => e,
                5 => f,
                6 => g,
                _ => h,
            }
        }
    }

    impl Word for &AtomicU64 {
        fn load(self) -> u64 {
            AtomicU64::load(self, Ordering::Relaxed)
        }

        fn replace(self, old: u64, new: u64) -> u64 {
            let seen = self.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed);
            seen.map_or_else(|seen| seen ^ old, |_| 0)
        }
    }
}
