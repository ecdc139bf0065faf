//! Lessons that were hard, learned again beside new ones.
//!
//! Who follows errors step by step learns less of a lesson than is in it. The last lessons that surprised are kept, as hashes,
//! and a few of them are gone through with every new one, until they surprise no more. A file doesn't keep them: a model that
//! was read begins to collect anew.

use crate::class::Class;
use crate::scratch::Scratch;

/// Hashes of a lesson that are kept, of either kind: what is beyond is not learned again.
const MOST: usize = 4096;

/// A lesson as it was taken to pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    pub(crate) target: f32,
    pub(crate) weight: f32,
    pub(crate) grams: Vec<u32>,
    pub(crate) words: Vec<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Rehearsal {
    past: Vec<Past>,
    most: usize,
    /// Where the next lesson is kept, in a ring.
    end: usize,
    /// Which one is gone through next.
    turn: usize,
}

impl Rehearsal {
    pub(crate) const fn new(most: u16) -> Self {
        Self { past: Vec::new(), most: most as usize, end: 0, turn: 0 }
    }

    pub(crate) fn keep(&mut self, scratch: &Scratch, class: Class, weight: f32) {
        if self.most == 0 {
            return;
        }
        if self.past.len() < self.most {
            self.past.push(Past::default());
        }
        if let Some(past) = self.past.get_mut(self.end) {
            past.target = class.target();
            past.weight = weight;
            past.grams.clear();
            past.grams.extend(scratch.grams.iter().take(MOST));
            past.words.clear();
            past.words.extend(scratch.tokens.all().take(MOST));
        }
        self.end = (self.end + 1) % self.most;
    }

    /// Forgets a message, whatever was said of it.
    pub(crate) fn forget(&mut self, scratch: &Scratch) {
        for past in &mut self.past {
            if past.words.iter().copied().eq(scratch.tokens.all().take(MOST)) {
                past.weight = 0.0;
            }
        }
    }

    /// The one whose turn it is.
    pub(crate) fn again(&mut self) -> Option<&Past> {
        let turn = self.turn.checked_rem(self.past.len())?;
        self.turn = turn + 1;
        self.past.get(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(words: &[u64]) -> Scratch {
        let mut scratch = Scratch::new();
        scratch.tokens.singles.extend(words);
        scratch
    }

    #[test]
    fn the_last_ones_in_turn() {
        let mut rehearsal = Rehearsal::new(3);
        assert!(rehearsal.again().is_none());
        for word in 1..=5 {
            rehearsal.keep(&scratch(&[word]), Class::Spam, 1.0);
        }
        let mut words = || rehearsal.again().map(|past| past.words.clone());
        assert_eq!([1; 4].map(|_| words().unwrap()), [[4], [5], [3], [4]].map(Vec::from));
    }

    #[test]
    fn nothing_of_what_was_taken_back() {
        let mut rehearsal = Rehearsal::new(3);
        rehearsal.keep(&scratch(&[1, 2]), Class::Spam, 1.0);
        rehearsal.keep(&scratch(&[1]), Class::Spam, 1.0);
        rehearsal.forget(&scratch(&[1, 2]));
        let mut weight = || rehearsal.again().map(|past| past.weight);
        assert_eq!([weight(), weight()], [Some(0.0), Some(1.0)]);
    }

    #[test]
    fn none_at_all() {
        let mut rehearsal = Rehearsal::new(0);
        rehearsal.keep(&scratch(&[1]), Class::Ham, 1.0);
        assert!(rehearsal.again().is_none());
    }
}
