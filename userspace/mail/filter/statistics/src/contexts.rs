//! Which letter follows which letters, in each class: how well either class would have foretold the message.
//!
//! As a compressor does it: longer runs of letters are trusted as far as they were met, and what is new to them is asked of
//! shorter ones. The class that would have compressed the message better is the one that it is of. What a message repeats is
//! heard once: a compressor would have learned it by then.

use crate::class::Class;
use crate::distinct::Distinct;
use crate::hash::Key;
use crate::lexicon::UNIT;
use crate::parameters::Parameters;

/// Longest run of letters that is counted: a letter and those before it.
pub(crate) const LONGEST: usize = 6;

/// Counts of a run of letters in ham and in spam.
pub(crate) type Slot = [u16; 2];

/// What a letter of a lesson of full weight counts.
const FULL: u16 = UNIT / 4;

/// No letter is stranger than this: products of their chances stay numbers.
const LEAST_CHANCE: f32 = 1e-15;

/// Slots of runs of one and two letters, which have one each.
pub(crate) const SHORT: usize = (1 << 16) + (1 << 8);

#[derive(Clone, Debug)]
pub(crate) struct Contexts {
    /// Runs of three letters and more.
    pub(crate) long: Box<[Slot]>,
    /// Runs of two letters, then of one.
    pub(crate) short: Box<[[u32; 2]]>,
    /// All letters.
    pub(crate) total: [u32; 2],
    shift: u32,
    trust: f32,
    longest: usize,
}

impl Contexts {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        let bits = u32::from(parameters.context_bits);
        Self {
            long: vec![[0; 2]; 1 << bits].into_boxed_slice(),
            short: vec![[0; 2]; SHORT].into_boxed_slice(),
            total: [0; 2],
            shift: u64::BITS - bits,
            trust: parameters.context_trust * f32::from(FULL),
            longest: usize::from(parameters.context_longest).min(LONGEST),
        }
    }

    /// Log-odds: what the letters say, by the root of their number, since neighbours say the same.
    pub(crate) fn log_odds(&self, key: &Key, letters: &[u8], seen: &mut Distinct) -> f32 {
        seen.clear();
        let mut run = 0_u64;
        let mut before = [[0_u32; 2]; LONGEST];
        if let Some(first) = before.first_mut() {
            *first = self.total;
        }
        // Logarithms are dear: several letters share one.
        let (mut sum, mut product, mut heard) = (0.0_f32, 1.0_f32, 0_u32);
        for (at, &letter) in letters.iter().enumerate() {
            run = run << 8 | u64::from(letter);
            let mut now = [[0_u32; 2]; LONGEST];
            if let Some(first) = now.first_mut() {
                *first = self.total;
            }
            let mut chance = [1.0_f32 / 256.0; 2];
            let mut strange = false;
            for (length, context) in (1..=self.longest.min(at + 1)).zip(before) {
                if strange && context == [0; 2] {
                    break;
                }
                // What is new to a short run is new to longer ones.
                let counts = if strange { [0; 2] } else { self.counts(key, length, run) };
                strange = counts == [0; 2];
                for ((chance, count), context) in chance.iter_mut().zip(counts).zip(context) {
                    *chance = (count as f32 + self.trust * *chance)
                        / (context.max(count) as f32 + self.trust);
                }
                if let Some(place) = now.get_mut(length) {
                    *place = counts;
                }
            }
            before = now;
            if seen.insert(key.run(run & FAR, LONGEST + 1)) {
                let [ham, spam] = chance.map(|chance| chance.max(LEAST_CHANCE));
                product *= spam / ham;
                heard += 1;
                if !(1e-20..1e20).contains(&product) {
                    sum += product.ln();
                    product = 1.0;
                }
            }
        }
        (sum + product.ln()) / (heard.max(1) as f32).sqrt()
    }

    pub(crate) fn learn(
        &mut self,
        key: &Key,
        letters: &[u8],
        class: Class,
        units: u16,
        seen: &mut Distinct,
    ) {
        let step = (units * FULL / UNIT).max(1);
        let more = |count: u32| count.saturating_add(step.into());
        self.change(key, letters, class, more, |slot, class| slot.count(class, step), seen);
    }

    pub(crate) fn unlearn(
        &mut self,
        key: &Key,
        letters: &[u8],
        class: Class,
        units: u16,
        seen: &mut Distinct,
    ) {
        let step = (units * FULL / UNIT).max(1);
        let less = |count: u32| count.saturating_sub(step.into());
        self.change(key, letters, class, less, |slot, class| slot.discount(class, step), seen);
    }

    /// Goes through all runs of the letters.
    fn change(
        &mut self,
        key: &Key,
        letters: &[u8],
        class: Class,
        short: impl Fn(u32) -> u32,
        long: impl Fn(&mut Slot, Class),
        seen: &mut Distinct,
    ) {
        seen.clear();
        let mut run = 0_u64;
        for (at, &letter) in letters.iter().enumerate() {
            run = run << 8 | u64::from(letter);
            if !seen.insert(key.run(run & FAR, LONGEST + 1)) {
                continue;
            }
            let one = self.short.get_mut(single(run));
            for counts in one.into_iter().chain([&mut self.total]) {
                let count = of(counts, class);
                *count = short(*count);
            }
            if at >= 1
                && let Some(counts) = self.short.get_mut(double(run))
            {
                let count = of(counts, class);
                *count = short(*count);
            }
            for length in 3..=self.longest.min(at + 1) {
                let slot = self.slot(key, length, run);
                if let Some(slot) = self.long.get_mut(slot) {
                    long(slot, class);
                }
            }
        }
    }

    fn counts(&self, key: &Key, length: usize, run: u64) -> [u32; 2] {
        match length {
            1 => self.short.get(single(run)).copied().unwrap_or_default(),
            2 => self.short.get(double(run)).copied().unwrap_or_default(),
            _ => {
                let slot = self.long.get(self.slot(key, length, run));
                slot.copied().unwrap_or_default().map(u32::from)
            }
        }
    }

    fn slot(&self, key: &Key, length: usize, run: u64) -> usize {
        (key.run(run & (u64::MAX >> (64 - 8 * length)), length) >> self.shift) as usize
    }
}

/// The last seven letters.
const FAR: u64 = u64::MAX >> 8;

const fn single(run: u64) -> usize {
    (run & 0xff) as usize + (1 << 16)
}

const fn double(run: u64) -> usize {
    (run & 0xffff) as usize
}

/// The count of a class.
const fn of<T>(counts: &mut [T; 2], class: Class) -> &mut T {
    let [ham, spam] = counts;
    match class {
        Class::Ham => ham,
        Class::Spam => spam,
    }
}

trait Counter {
    fn count(&mut self, class: Class, step: u16);
    fn discount(&mut self, class: Class, step: u16);
}

impl Counter for Slot {
    fn count(&mut self, class: Class, step: u16) {
        if of(self, class).checked_add(step).is_none() {
            // Their ratio is what counts.
            *self = self.map(|count| count / 2);
        }
        let count = of(self, class);
        *count = count.saturating_add(step);
    }

    fn discount(&mut self, class: Class, step: u16) {
        let count = of(self, class);
        *count = count.saturating_sub(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts() -> (Key, Contexts, Distinct) {
        let parameters = Parameters { context_bits: 14, ..Parameters::default() };
        (Key::new(b"a"), Contexts::new(&parameters), Distinct::new())
    }

    #[test]
    fn who_learned_nothing_says_nothing() {
        let (key, contexts, mut seen) = contexts();
        for letters in [&b""[..], b"a", b"anything at all"] {
            assert_eq!(contexts.log_odds(&key, letters, &mut seen), 0.0);
        }
    }

    #[test]
    fn the_class_that_foretold_it_better() {
        let (key, mut contexts, mut seen) = contexts();
        for _ in 0..3 {
            contexts.learn(&key, b"the minutes of the meeting", Class::Ham, UNIT, &mut seen);
            contexts.learn(&key, b"cheap pills for your money", Class::Spam, UNIT, &mut seen);
        }
        let mut of = |letters: &[u8]| contexts.log_odds(&key, letters, &mut seen);
        assert!(of(b"a meeting, and its minutes") < -1.0);
        assert!(of(b"money for cheap, cheap pills") > 1.0);
        assert!(of(b"\xff\xfe\x80").abs() < 0.5);
    }

    #[test]
    fn what_is_taken_back_is_gone() {
        let (key, mut contexts, mut seen) = contexts();
        contexts.learn(&key, b"cheap pills", Class::Spam, UNIT, &mut seen);
        contexts.unlearn(&key, b"cheap pills", Class::Spam, UNIT, &mut seen);
        assert_eq!(contexts.total, [0; 2]);
        assert!(contexts.long.iter().all(|slot| *slot == [0; 2]));
        assert!(contexts.short.iter().all(|slot| *slot == [0; 2]));
    }

    #[test]
    fn counters_do_not_overflow() {
        let mut slot: Slot = [u16::MAX - 1, 1000];
        slot.count(Class::Ham, FULL);
        assert_eq!(slot, [32_767 + FULL, 500]);
        slot.discount(Class::Spam, 600);
        assert_eq!(slot, [32_767 + FULL, 0]);
    }
}
