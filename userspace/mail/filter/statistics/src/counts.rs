//! In how many messages of each class a word was met, and the chance that such words come together by accident.
//!
//! Robinson's way: a word's chance is its share of spam, pulled towards an even one while it is seldom; the strongest words'
//! chances are multiplied, and Fisher's method says how improbable the product is for a message of no class. It is kept as
//! a logarithm to the end: the messages that matter lie where probabilities have long become 0 and 1.

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
    most: usize,
}

impl Counts {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        Self {
            ham: 0,
            spam: 0,
            strength: parameters.count_strength,
            deviation: parameters.count_deviation,
            most: usize::from(parameters.count_most),
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
    pub(crate) fn log_odds(&self, chances: &mut [f32]) -> f32 {
        let strongest = if chances.len() > self.most {
            let away = |chance: &f32| -(chance - 0.5).abs();
            chances.select_nth_unstable_by(self.most, |a, b| away(a).total_cmp(&away(b))).0
        } else {
            chances
        };
        let (mut for_ham, mut for_spam) = (0.0, 0.0);
        for chance in &*strongest {
            for_ham -= (1.0 - chance).ln();
            for_spam -= chance.ln();
        }
        let words = strongest.len();
        log_accident(for_spam, words) - log_accident(for_ham, words)
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

/// The logarithm of the chance that a sum of `2 * terms` squared normal numbers is more than twice `half`.
fn log_accident(half: f32, terms: usize) -> f32 {
    // exp(-half) * (1 + half + half^2/2! + ...), with the series scaled so that it never overflows.
    let (mut sum, mut term, mut log_scale) = (0.0_f64, 1.0_f64, 0.0_f64);
    let half = f64::from(half);
    for number in 0..terms {
        if number > 0 {
            term *= half / number as f64;
        }
        sum += term;
        if sum > 1e200 {
            sum *= 1e-200;
            term *= 1e-200;
            log_scale += 200.0 * std::f64::consts::LN_10;
        }
    }
    if terms == 0 {
        return 0.0;
    }
    (log_scale + sum.ln() - half).min(0.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accidents() {
        // Chi-square survival functions with 2, 4 and 20 degrees of freedom.
        for (half, terms, chance) in
            [(0.5, 1, 0.606_53), (1.0, 2, 0.735_76), (5.0, 10, 0.968_17), (15.0, 10, 0.069_85)]
        {
            let found = log_accident(half, terms).exp();
            assert!((found - chance).abs() < 1e-4, "{half} {terms}: {found}");
        }
        assert_eq!(log_accident(0.0, 0), 0.0);
        assert!(log_accident(20_000.0, 150).is_finite());
        assert!(log_accident(20_000.0, 150) < log_accident(10_000.0, 150));
    }

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
        let counts = counts();
        let of = |chances: &[f32]| counts.log_odds(&mut chances.to_vec());
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
