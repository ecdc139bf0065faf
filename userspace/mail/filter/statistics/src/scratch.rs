//! Room that is used again for every message.

use crate::distinct::Distinct;
use crate::tokens::{Origin, Sink};

/// What a message is taken to pieces in. One for each thread; nothing is allocated once it has seen a few messages.
#[derive(Debug)]
pub struct Scratch {
    pub(crate) letters: Vec<u8>,
    pub(crate) buffer: Vec<u8>,
    pub(crate) grams: Vec<u32>,
    pub(crate) chances: Vec<f32>,
    pub(crate) seen: Distinct,
    pub(crate) tokens: Tokens,
}

/// Hashes of a message's pieces, each once.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) seen: Distinct,
    pub(crate) singles: Vec<u64>,
    pub(crate) pairs: Vec<u64>,
    /// Those of the singles that users have opinions of.
    pub(crate) personal: Vec<u64>,
}

/// Words that a user has opinions of, in one message.
const MOST_PERSONAL: usize = 64;

impl Scratch {
    /// Empty room.
    #[must_use]
    pub fn new() -> Self {
        Self {
            letters: Vec::new(),
            buffer: Vec::new(),
            grams: Vec::new(),
            chances: Vec::new(),
            seen: Distinct::new(),
            tokens: Tokens {
                seen: Distinct::new(),
                singles: Vec::new(),
                pairs: Vec::new(),
                personal: Vec::new(),
            },
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Tokens {
    pub(crate) fn clear(&mut self) {
        self.seen.clear();
        self.singles.clear();
        self.pairs.clear();
        self.personal.clear();
    }

    /// All pieces.
    pub(crate) fn all(&self) -> impl Iterator<Item = u64> {
        self.singles.iter().chain(&self.pairs).copied()
    }
}

impl Sink for Tokens {
    fn single(&mut self, hash: u64, origin: Origin, _: &[u8]) {
        if !self.seen.insert(hash) {
            return;
        }
        self.singles.push(hash);
        if origin.is_personal() && self.personal.len() < MOST_PERSONAL {
            self.personal.push(hash);
        }
    }

    fn pair(&mut self, hash: u64, _: [u64; 2], _: usize) {
        if self.seen.insert(hash) {
            self.pairs.push(hash);
        }
    }
}
