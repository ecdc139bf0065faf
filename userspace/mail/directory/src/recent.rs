//! Outcomes of password checks, remembered for a short time: mail programs log in every few minutes with the same password,
//! right or, for weeks, wrong.
//!
//! What is remembered is a keyed hash of who, for what and with which password, so that nothing can be had from it; and a
//! fingerprint of what the password was compared with, so that it is worth nothing as soon as that changes. The table has a
//! fixed size: under a flood of guesses old outcomes are forgotten, and nothing grows.

use parking_lot::Mutex;

/// Places that one outcome may be in.
const WAYS: usize = 8;

/// A table of outcomes.
pub(crate) struct Recent {
    key: [u8; 32],
    buckets: Box<[Mutex<[Slot; WAYS]>]>,
}

/// Who, for what, with which password.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Question([u8; 16]);

#[derive(Clone, Copy)]
struct Slot {
    question: Question,
    fingerprint: u64,
    /// In seconds by the caller's clock; 0 if the slot is free.
    until: u64,
    /// What the caller wants to remember.
    outcome: i64,
}

impl Recent {
    /// A table for so many outcomes, and a secret random key.
    pub(crate) fn new(outcomes: usize, key: [u8; 32]) -> Self {
        let free = Slot { question: Question([0; 16]), fingerprint: 0, until: 0, outcome: 0 };
        let buckets = (outcomes / WAYS).max(1);
        Self { key, buckets: (0..buckets).map(|_| Mutex::new([free; WAYS])).collect() }
    }

    /// The question of these parts.
    pub(crate) fn question(&self, parts: &[&[u8]]) -> Question {
        let mut question = [0; 16];
        for (to, from) in question.iter_mut().zip(self.hash(parts).as_bytes()) {
            *to = *from;
        }
        Question(question)
    }

    /// What must not have changed meanwhile.
    pub(crate) fn fingerprint(&self, bytes: &[u8]) -> u64 {
        let hash = self.hash(&[b"fingerprint", bytes]);
        hash.as_bytes().first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first))
    }

    /// The outcome, if it is remembered.
    pub(crate) fn get(&self, question: Question, fingerprint: u64, now: u64) -> Option<i64> {
        let bucket = self.bucket(question)?.lock();
        bucket
            .iter()
            .find(|slot| {
                slot.question == question && slot.fingerprint == fingerprint && slot.until > now
            })
            .map(|slot| slot.outcome)
    }

    /// Remembers an outcome, in the place of the one that ends first.
    pub(crate) fn put(&self, question: Question, fingerprint: u64, until: u64, outcome: i64) {
        let Some(bucket) = self.bucket(question) else { return };
        let mut bucket = bucket.lock();
        let same = bucket.iter().position(|slot| slot.question == question);
        let slot = match same {
            Some(at) => bucket.get_mut(at),
            None => bucket.iter_mut().min_by_key(|slot| slot.until),
        };
        if let Some(slot) = slot {
            *slot = Slot { question, fingerprint, until, outcome };
        }
    }

    fn bucket(&self, question: Question) -> Option<&Mutex<[Slot; WAYS]>> {
        let first = u64::from_le_bytes(*question.0.first_chunk::<8>()?);
        let at = first % self.buckets.len() as u64;
        self.buckets.get(usize::try_from(at).ok()?)
    }

    /// No two lists of parts have the same bytes.
    fn hash(&self, parts: &[&[u8]]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_remembered_for_its_time_and_for_what_it_was_of() {
        let recent = Recent::new(64, [1; 32]);
        let question = recent.question(&[b"ann", b"secret"]);
        recent.put(question, 7, 100, 3);
        assert_eq!(recent.get(question, 7, 99), Some(3));
        assert_eq!(recent.get(question, 7, 100), None, "its time is over");
        assert_eq!(recent.get(question, 8, 99), None, "the password was changed");
        assert_ne!(question, recent.question(&[b"anns", b"ecret"]));
        assert_eq!(recent.get(recent.question(&[b"ann", b"other"]), 7, 99), None);
        recent.put(question, 8, 200, 4);
        assert_eq!((recent.get(question, 8, 99), recent.get(question, 7, 99)), (Some(4), None));
    }

    #[test]
    fn a_flood_pushes_out_what_ends_first_and_needs_no_more_room() {
        let recent = Recent::new(WAYS, [1; 32]);
        let question = |number: u64| recent.question(&[&number.to_le_bytes()]);
        for number in 0..100 {
            recent.put(question(number), 0, 1_000 + number, 1);
        }
        let kept: Vec<u64> =
            (0..100).filter(|at| recent.get(question(*at), 0, 0).is_some()).collect();
        assert_eq!(kept, (92..100).collect::<Vec<_>>());
    }
}
