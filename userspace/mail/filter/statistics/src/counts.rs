//! In how many messages of each class a word was met: a naive judge, who needs few lessons.
//!
//! A word's chance is its share of spam, pulled towards an even one while it is seldom (Robinson's way). Logarithms of the
//! chances that say something are added up, and divided by the root of their number: words of one message are no strangers to
//! each other, and a long message must not be surer than a short one by its length.

use crate::class::Class;
use crate::lexicon::{Entry, UNIT};
use crate::parameters::Parameters;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Weights of lessons that were learned, in [`UNIT`]s.
    pub(crate) ham: u64,
    /// See `ham`.
    pub(crate) spam: u64,
    strength: f32,
    deviation: f32,
}

impl Counts {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        Self {
            ham: 0,
            spam: 0,
            strength: parameters.count_strength,
            deviation: parameters.count_deviation,
        }
    }

    /// A word's chance to be of spam.
    pub(crate) fn chance(&self, entry: &Entry) -> f32 {
        let share = |part: u16, whole: u64| f32::from(part) / (whole as f32).max(1.0);
        let (ham, spam) = (share(entry.ham, self.ham), share(entry.spam, self.spam));
        let lessons = entry.lessons() as f32 / f32::from(UNIT);
        if lessons == 0.0 {
            return 0.5;
        }
        (self.strength * 0.5 + lessons * spam / (ham + spam)) / (self.strength + lessons)
    }

    pub(crate) fn counts(&self, chance: f32) -> bool {
        (chance - 0.5).abs() >= self.deviation
    }

    /// Log-odds of words with these chances.
    pub(crate) fn log_odds(chances: &[f32]) -> f32 {
        let sum: f32 = chances.iter().copied().map(logit).sum();
        sum / (chances.len().max(1) as f32).sqrt()
    }

    pub(crate) fn learn(&mut self, class: Class, units: u16) {
        match class {
            Class::Ham => self.ham += u64::from(units),
            Class::Spam => self.spam += u64::from(units),
        }
    }

    pub(crate) fn unlearn(&mut self, class: Class, units: u16) {
        match class {
            Class::Ham => self.ham = self.ham.saturating_sub(u64::from(units)),
            Class::Spam => self.spam = self.spam.saturating_sub(u64::from(units)),
        }
    }
}

impl Entry {
    pub(crate) fn count(&mut self, class: Class, units: u16) {
        let counter = |entry: &Self| match class {
            Class::Ham => entry.ham,
            Class::Spam => entry.spam,
        };
        if counter(self).checked_add(units).is_none() {
            // Their ratio is what counts.
            self.ham /= 2;
            self.spam /= 2;
        }
        match class {
            Class::Ham => self.ham = self.ham.saturating_add(units),
            Class::Spam => self.spam = self.spam.saturating_add(units),
        }
    }

    pub(crate) fn discount(&mut self, class: Class, units: u16) {
        match class {
            Class::Ham => self.ham = self.ham.saturating_sub(units),
            Class::Spam => self.spam = self.spam.saturating_sub(units),
        }
    }
}

pub(crate) fn logit(chance: f32) -> f32 {
    (chance / (1.0 - chance)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Counts {
        Counts { ham: 100 * 16, spam: 50 * 16, ..Counts::new(&Parameters::default()) }
    }

    #[test]
    fn chances() {
        let counts = counts();
        let of = |ham, spam| {
            counts.chance(&Entry { ham: ham * UNIT, spam: spam * UNIT, ..Entry::default() })
        };
        assert_eq!(of(0, 0), 0.5);
        // As often as its class allows.
        assert!((of(20, 10) - 0.5).abs() < 1e-6);
        assert!(of(0, 1) > 0.9 && of(0, 9) > of(0, 1));
        assert!(of(1, 0) < 0.1 && of(9, 0) < of(1, 0));
        assert!((of(3, 0) + of(0, 3) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn evidence_adds_up_and_cancels() {
        let of = Counts::log_odds;
        assert_eq!(of(&[]), 0.0);
        assert!((of(&[0.9]) + of(&[0.1])).abs() < 1e-5);
        assert!(of(&[0.9, 0.9]) > of(&[0.9]));
        assert!(of(&[0.9, 0.1]).abs() < 1e-5);
        assert!(of(&[0.99; 300]).is_finite());
    }

    #[test]
    fn counters_do_not_overflow() {
        let mut entry = Entry { ham: u16::MAX - 3, spam: 1000, ..Entry::default() };
        entry.count(Class::Ham, UNIT);
        assert_eq!((entry.ham, entry.spam), (u16::MAX / 2 - 1 + UNIT, 500));
        entry.discount(Class::Spam, 600);
        assert_eq!(entry.spam, 0);
    }
}
