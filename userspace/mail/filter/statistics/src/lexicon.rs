//! The table of words and pairs: what each learner knows of them lies in one place, so that it is fetched once.
//!
//! Its size is fixed. A word has one bucket that it can be in, of the size of a cache line; when that is full, the word that
//! was met least has to go.

/// What is known of a word.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Entry {
    /// Half of its hash; zero where there is no word.
    pub(crate) tag: u32,
    /// Lessons in which it was met, in [`UNIT`]s.
    pub(crate) ham: u16,
    /// See `ham`.
    pub(crate) spam: u16,
    /// Sum of gradients, less what weights have answered.
    pub(crate) z: f32,
    /// Sum of squared gradients.
    pub(crate) n: f32,
}

/// What a lesson of full weight counts.
pub(crate) const UNIT: u16 = 16;

/// Entries of a bucket.
pub(crate) const WAYS: usize = 4;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(align(64))]
pub(crate) struct Bucket(pub(crate) [Entry; WAYS]);

#[derive(Clone, Debug)]
pub(crate) struct Lexicon {
    pub(crate) buckets: Box<[Bucket]>,
    shift: u32,
}

impl Entry {
    pub(crate) const fn lessons(&self) -> u32 {
        self.ham as u32 + self.spam as u32
    }
}

impl Lexicon {
    /// A table of two to the power of `bits` entries.
    pub(crate) fn new(bits: u8) -> Self {
        let bits = u32::from(bits) - WAYS.ilog2();
        let buckets = vec![Bucket::default(); 1 << bits].into_boxed_slice();
        Self { buckets, shift: u64::BITS - bits }
    }

    pub(crate) fn find(&self, hash: u64) -> Option<&Entry> {
        let tag = tag(hash);
        self.buckets.get((hash >> self.shift) as usize)?.0.iter().find(|entry| entry.tag == tag)
    }

    /// The word's entry, if there is one.
    pub(crate) fn known(&mut self, hash: u64) -> Option<&mut Entry> {
        let tag = tag(hash);
        let bucket = self.buckets.get_mut((hash >> self.shift) as usize)?;
        bucket.0.iter_mut().find(|entry| entry.tag == tag)
    }

    /// The word's entry, which is made if there is none. None if its bucket is full of words that were met more than once.
    pub(crate) fn entry(&mut self, hash: u64) -> Option<&mut Entry> {
        let tag = tag(hash);
        let bucket = &mut self.buckets.get_mut((hash >> self.shift) as usize)?.0;
        let known = bucket.iter().position(|entry| entry.tag == tag);
        let at = match known.or_else(|| bucket.iter().position(|entry| entry.tag == 0)) {
            Some(at) => at,
            None => {
                let (at, least) =
                    bucket.iter_mut().enumerate().min_by_key(|(_, entry)| entry.lessons())?;
                if least.lessons() > u32::from(UNIT) {
                    // Another one of its kind will find it weaker: what is met no more fades.
                    least.ham /= 2;
                    least.spam /= 2;
                    return None;
                }
                *least = Entry::default();
                at
            }
        };
        let entry = bucket.get_mut(at)?;
        entry.tag = tag;
        Some(entry)
    }

    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.buckets.iter().flat_map(|bucket| &bucket.0).filter(|entry| entry.tag != 0).count()
    }
}

/// The half of a hash that names a word within its bucket.
const fn tag(hash: u64) -> u32 {
    // Buckets are chosen by the upper bits.
    match hash as u32 {
        0 => 1,
        tag => tag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Key;

    #[test]
    fn a_bucket_is_a_cache_line() {
        assert_eq!(size_of::<Bucket>(), 64);
    }

    #[test]
    fn words_are_found_again() {
        let mut lexicon = Lexicon::new(8);
        let hash = Key::new(b"a").word(b"\x01word");
        assert_eq!(lexicon.find(hash), None);
        lexicon.entry(hash).unwrap().ham = 5;
        assert_eq!(lexicon.find(hash).unwrap().ham, 5);
        assert_eq!(lexicon.entry(hash).unwrap().ham, 5);
        assert_eq!(lexicon.find(hash ^ 1), None);
        assert_eq!(lexicon.taken(), 1);
    }

    #[test]
    fn the_word_met_least_has_to_go() {
        let mut lexicon = Lexicon::new(4);
        for (hash, lessons) in [(1, 5 * UNIT), (2, UNIT), (3, 3 * UNIT), (4, 2 * UNIT)] {
            lexicon.entry(hash).unwrap().ham = lessons;
        }
        lexicon.entry(5).unwrap().spam = 3 * UNIT;
        assert_eq!(lexicon.find(2), None);
        // Now everybody was met twice: a stranger must come again.
        assert_eq!(lexicon.entry(6), None);
        assert!(lexicon.entry(6).is_some());
        assert_eq!(
            [1, 3, 4, 5].map(|hash| lexicon.find(hash).is_some()),
            [true, true, false, true]
        );
    }
}
