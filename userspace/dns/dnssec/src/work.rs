//! What one question may cost.

use crate::Failure;

/// What validating the answers to one question may cost, and what it did cost.
///
/// Without a bound, a single response keeps a validator busy for minutes: keys and signatures with the same tag
/// are tried against each other (KeyTrap, CVE-2023-50387), and a closest encloser is looked for with thousands of
/// hash rounds a label (CVE-2023-50868). Make one for a question, and hand it to every function on the way.
#[derive(Debug)]
pub struct Work {
    max_signatures: u32,
    max_hashes: u32,
    signatures: u32,
    hashes: u32,
}

impl Work {
    /// Signatures by default: a chain of a dozen zones, twice over. About 3 ms of one core with
    /// Ed25519 or P-256, and at worst, all P-384, 70 ms.
    pub const SIGNATURES: u32 = 64;
    /// Hash blocks by default: an ip6.arpa name of 34 labels, with 100 rounds for each. About a millisecond.
    pub const HASHES: u32 = 4_096;

    /// Allows `signatures` attempts to verify a signature, and `hashes` blocks of 64 octets to be hashed for NSEC3
    /// names and DS digests.
    pub fn new(signatures: u32, hashes: u32) -> Self {
        Self { max_signatures: signatures, max_hashes: hashes, signatures: 0, hashes: 0 }
    }

    /// What was spent: signatures tried, blocks hashed. Never above what was allowed.
    pub fn spent(&self) -> (u32, u32) {
        (self.signatures, self.hashes)
    }

    /// Pays for one attempt to verify a signature, before it is made.
    pub(crate) fn signature(&mut self) -> Result<(), Failure> {
        if self.signatures >= self.max_signatures {
            return Err(Failure::TooMuchWork);
        }
        self.signatures += 1;
        Ok(())
    }

    /// Pays for hashing `rounds` times `octets`, before it is done.
    pub(crate) fn hash(&mut self, octets: usize, rounds: u32) -> Result<(), Failure> {
        // A hash appends at least nine octets (padding and length) and works on blocks of 64.
        let blocks = u32::try_from((octets + 9).div_ceil(64)).unwrap_or(u32::MAX);
        let spent = self.hashes.saturating_add(blocks.saturating_mul(rounds));
        if spent > self.max_hashes {
            return Err(Failure::TooMuchWork);
        }
        self.hashes = spent;
        Ok(())
    }
}

impl Default for Work {
    fn default() -> Self {
        Self::new(Self::SIGNATURES, Self::HASHES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_spent_beyond_what_is_allowed() {
        let mut work = Work::new(2, 5);
        assert_eq!(work.signature(), Ok(()));
        assert_eq!(work.signature(), Ok(()));
        assert_eq!(work.signature(), Err(Failure::TooMuchWork));
        // 55 octets fill one block, 56 need two.
        assert_eq!(work.hash(55, 1), Ok(()));
        assert_eq!(work.hash(56, 2), Ok(()));
        assert_eq!(work.hash(0, 1), Err(Failure::TooMuchWork));
        assert_eq!(work.spent(), (2, 5));
        assert_eq!(Work::new(0, u32::MAX).hash(usize::MAX / 2, u32::MAX), Ok(()));
    }
}
