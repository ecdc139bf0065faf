//! What one user says against what everybody says.
//!
//! Weights by user and by a few words of a message: who sent it, its subject, where its links lead, what other stages saw.
//! They are added to the fused log-odds, within bounds, and learn only what those had wrong. A slot knows whose it is, so that
//! nobody's lessons are heard by another.

use crate::hash::Key;
use crate::parameters::Parameters;

/// Entries of a bucket.
const WAYS: usize = 8;

/// Highest weight of a word.
const HIGHEST: f32 = 4.0;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Opinion {
    pub(crate) tag: u32,
    pub(crate) weight: f32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(align(64))]
pub(crate) struct Bucket(pub(crate) [Opinion; WAYS]);

#[derive(Clone, Debug)]
pub(crate) struct Personal {
    pub(crate) buckets: Box<[Bucket]>,
    shift: u32,
    rate: f32,
    most: f32,
}

impl Personal {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        let bits = u32::from(parameters.personal_bits) - WAYS.ilog2();
        let buckets = vec![Bucket::default(); 1 << bits].into_boxed_slice();
        Self {
            buckets,
            shift: u64::BITS - bits,
            rate: parameters.personal_rate,
            most: parameters.personal_most,
        }
    }

    /// What the user adds to the log-odds of a message with these words.
    pub(crate) fn log_odds(&self, key: &Key, user: u64, words: &[u64]) -> f32 {
        let sum: f32 = words.iter().filter_map(|&word| self.find(key.personal(user, word))).sum();
        (sum * scale(words)).clamp(-self.most, self.most)
    }

    /// Learns that the user's probability was off.
    pub(crate) fn learn(&mut self, key: &Key, user: u64, words: &[u64], error: f32) {
        let step = error * self.rate * scale(words);
        for &word in words {
            let opinion = self.opinion(key.personal(user, word));
            if let Some(opinion) = opinion {
                opinion.weight = (opinion.weight + step).clamp(-HIGHEST, HIGHEST);
            }
        }
    }

    fn find(&self, hash: u64) -> Option<f32> {
        let tag = tag(hash);
        let bucket = self.buckets.get((hash >> self.shift) as usize)?;
        bucket.0.iter().find(|opinion| opinion.tag == tag).map(|opinion| opinion.weight)
    }

    /// The slot of an opinion. In a full bucket, the weakest goes.
    fn opinion(&mut self, hash: u64) -> Option<&mut Opinion> {
        let tag = tag(hash);
        let bucket = &mut self.buckets.get_mut((hash >> self.shift) as usize)?.0;
        let at = match bucket.iter().position(|opinion| opinion.tag == tag) {
            Some(at) => at,
            None => {
                let strength = |opinion: &Opinion| {
                    if opinion.tag == 0 { -1.0 } else { opinion.weight.abs() }
                };
                let weakest = bucket
                    .iter()
                    .enumerate()
                    .min_by(|(_, a), (_, b)| strength(a).total_cmp(&strength(b)));
                let (at, _) = weakest?;
                *bucket.get_mut(at)? = Opinion { tag, weight: 0.0 };
                at
            }
        };
        bucket.get_mut(at)
    }
}

/// Long messages say no more than short ones.
fn scale(words: &[u64]) -> f32 {
    1.0 / (words.len().max(1) as f32).sqrt()
}

const fn tag(hash: u64) -> u32 {
    match hash as u32 {
        0 => 1,
        tag => tag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn personal() -> (Key, Personal) {
        let parameters = Parameters {
            personal_bits: 10,
            personal_rate: 1.0,
            personal_most: 6.0,
            ..Parameters::default()
        };
        (Key::new(b"a"), Personal::new(&parameters))
    }

    #[test]
    fn opinions_are_their_users_own() {
        let (key, mut personal) = personal();
        let words = [11, 12, 13, 14];
        for _ in 0..5 {
            personal.learn(&key, 1, &words, 1.0);
        }
        assert!(personal.log_odds(&key, 1, &words) > 3.0);
        for user in 2..2000 {
            assert_eq!(personal.log_odds(&key, user, &words), 0.0, "{user}");
        }
        assert_eq!(personal.log_odds(&key, 1, &[21, 22, 23]), 0.0);
    }

    #[test]
    fn opinions_have_bounds() {
        let (key, mut personal) = personal();
        let words: Vec<u64> = (0..50).collect();
        for _ in 0..10_000 {
            personal.learn(&key, 1, &words, -1.0);
        }
        assert_eq!(personal.log_odds(&key, 1, &words), -6.0);
        assert!(personal.buckets.iter().flat_map(|b| &b.0).all(|o| o.weight.abs() <= HIGHEST));
        assert_eq!(personal.log_odds(&key, 1, &[]), 0.0);
    }

    #[test]
    fn a_full_table_forgets_the_weakest() {
        let (key, mut personal) = personal();
        let words: Vec<u64> = (0..20).collect();
        personal.learn(&key, 1, &words, 1.0);
        personal.learn(&key, 1, &words, 1.0);
        for user in 2..500 {
            personal.learn(&key, user, &words, 0.01);
        }
        assert!(personal.log_odds(&key, 1, &words) > 1.0);
    }
}
