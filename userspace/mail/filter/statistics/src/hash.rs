//! An installation's key, and the hashes made with it.
//!
//! Whoever writes spam must not know which words share a slot with which, or he would choose his so that they weigh upon the
//! words of others. So words go through SipHash, and what is cheaper than a word through multiplications with secret numbers.

use std::fmt;

use siphasher::sip::SipHasher13;

/// The key of an installation. Models learned with one can't be read with another.
#[derive(Clone)]
pub struct Key {
    words: SipHasher13,
    grams: (u64, u64),
    pairs: (u64, u64),
    users: (u64, u64),
    check: u64,
}

impl Key {
    /// Makes a key of a secret, of which 16 octets at least should be random.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("muralla mail 2026 filter statistics");
        hasher.update(secret);
        let mut stream = hasher.finalize_xof();
        let mut number = || {
            let mut bytes = [0; 8];
            stream.fill(&mut bytes);
            u64::from_be_bytes(bytes)
        };
        Self {
            words: SipHasher13::new_with_keys(number(), number()),
            grams: (number(), number() | 1),
            pairs: (number(), number() | 1),
            users: (number(), number() | 1),
            check: number(),
        }
    }

    /// A number by which the key is known again. It tells nothing of the others.
    pub(crate) const fn check(&self) -> u64 {
        self.check
    }

    /// The hash of a word, whose first octet says where it stood.
    pub(crate) fn word(&self, bytes: &[u8]) -> u64 {
        self.words.hash(bytes)
    }

    /// The hash of two words that stand `distance` from each other.
    pub(crate) const fn pair(&self, first: u64, second: u64, distance: u64) -> u64 {
        let (addend, factor) = self.pairs;
        folded(
            first.rotate_left(23).wrapping_add(distance.wrapping_mul(factor)) ^ second,
            addend | 1,
        )
    }

    /// The hash of four octets.
    pub(crate) const fn gram(&self, gram: u32) -> u64 {
        let (addend, factor) = self.grams;
        folded(gram as u64 ^ addend, factor)
    }

    /// The hash of a run of so many octets.
    pub(crate) const fn run(&self, run: u64, length: usize) -> u64 {
        let (addend, factor) = self.grams;
        folded(run ^ addend.rotate_left(length as u32), factor)
    }

    /// The hash of what a user has to say of a word.
    pub(crate) const fn personal(&self, user: u64, word: u64) -> u64 {
        let (addend, factor) = self.users;
        folded(folded(user ^ addend, factor) ^ word, factor)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Key").finish_non_exhaustive()
    }
}

/// Both halves of a product, one over the other.
const fn folded(number: u64, factor: u64) -> u64 {
    let product = number as u128 * factor as u128;
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_differ() {
        let (one, same, other) = (Key::new(b"a"), Key::new(b"a"), Key::new(b"b"));
        assert_eq!(one.word(b"\x01word"), same.word(b"\x01word"));
        assert_eq!(one.check(), same.check());
        assert_ne!(one.word(b"\x01word"), other.word(b"\x01word"));
        assert_ne!(one.gram(0x6162_6364), other.gram(0x6162_6364));
        assert_ne!(one.pair(1, 2, 1), other.pair(1, 2, 1));
        assert_ne!(one.personal(1, 2), other.personal(1, 2));
        assert_ne!(one.check(), other.check());
    }

    #[test]
    fn order_and_distance_count() {
        let key = Key::new(b"a");
        let hashes = [(1, 2, 1), (2, 1, 1), (1, 2, 2), (1, 2, 3), (2, 2, 1), (1, 1, 1)]
            .map(|(first, second, distance)| key.pair(first, second, distance));
        assert_eq!(HashSet::from(hashes).len(), hashes.len());
    }

    #[test]
    fn grams_are_spread_over_their_slots() {
        let key = Key::new(b"a");
        let slots: HashSet<u64> =
            (0..50_000_u32).map(|gram| key.gram(0x2020_2020 + gram) >> 44).collect();
        // Thrown at random, 50,000 would meet 48,800 of a million slots.
        assert!(slots.len() > 48_000, "{}", slots.len());
    }
}
