//! All learners together: judging a message, and learning from what somebody says of it.

use crate::class::Class;
use crate::contexts::Contexts;
use crate::counts::Counts;
use crate::explain::{Evidence, Witness};
use crate::fusion::{Fusion, LEARNERS, Voices, probability};
use crate::grams::{self, Grams};
use crate::hash::Key;
use crate::ledger::Ledger;
use crate::lesson::{Lesson, User};
use crate::lexicon::{Lexicon, UNIT};
use crate::parameters::{Parameters, ParametersError};
use crate::personal::Personal;
use crate::scratch::Scratch;
use crate::tally::Tally;
use crate::text::Text;
use crate::tokens;
use crate::words::Words;

/// What was learned of an installation's mail.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) key: Key,
    pub(crate) parameters: Parameters,
    pub(crate) lexicon: Lexicon,
    pub(crate) grams: Grams,
    pub(crate) contexts: Contexts,
    pub(crate) words: Words,
    pub(crate) counts: Counts,
    pub(crate) fusion: Fusion,
    pub(crate) personal: Personal,
    pub(crate) ledger: Ledger,
    pub(crate) tally: Tally,
}

/// What the model thinks of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Log-odds of spam: 0 is as likely as not, 4.6 is 99 %, -6.9 is one in a thousand.
    pub log_odds: f32,
    /// The same as a probability.
    pub probability: f32,
    /// What each learner said, in log-odds of its own.
    pub voices: [f32; LEARNERS],
    /// How far a user's own lessons moved the log-odds.
    pub personal: f32,
}

/// What came of a lesson.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// What the model thought before.
    pub before: Score,
    /// Whether everybody learned, and not only the user.
    pub common: bool,
}

impl Model {
    /// A model that learned nothing.
    ///
    /// # Errors
    ///
    /// If parameters are out of their ranges.
    pub fn new(key: Key, parameters: Parameters) -> Result<Self, ParametersError> {
        parameters.check()?;
        Ok(Self {
            key,
            lexicon: Lexicon::new(parameters.lexicon_bits),
            grams: Grams::new(&parameters),
            contexts: Contexts::new(&parameters),
            words: Words::new(&parameters),
            counts: Counts::new(&parameters),
            fusion: Fusion::new(&parameters),
            personal: Personal::new(
                parameters.personal_bits,
                parameters.personal_rate,
                parameters.personal_most,
            ),
            ledger: Ledger::new(),
            tally: Tally::default(),
            parameters,
        })
    }

    /// What it was made with.
    #[must_use]
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// How much it learned.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Judges a message, for a user or for nobody in particular.
    #[must_use]
    pub fn score(&self, text: &Text<'_>, user: Option<User>, scratch: &mut Scratch) -> Score {
        self.take_to_pieces(text, scratch);
        self.judge(user, scratch)
    }

    /// Learns what a message is.
    pub fn learn(&mut self, text: &Text<'_>, lesson: &Lesson, scratch: &mut Scratch) -> Learned {
        self.take_to_pieces(text, scratch);
        let before = self.judge(lesson.user(), scratch);
        let weight = self.admitted(lesson);
        if weight > 0.0 {
            let units = units(weight);
            for &hash in scratch.tokens.singles.iter().chain(&scratch.tokens.pairs) {
                if let Some(entry) = self.lexicon.entry(hash) {
                    entry.count(lesson.class, units);
                }
            }
            self.counts.learn(lesson.class, units);
            if self.parameters.x[0] > 0.0 { self.contexts.learn(&self.key, &scratch.letters, lesson.class); }
            self.follow(lesson.class, weight, &before, scratch);
            self.tally.add(lesson.class, lesson.day);
        }
        self.learn_personally(lesson, lesson.class, &before, scratch);
        Learned { before, common: weight > 0.0 }
    }

    /// Takes back a lesson that was learned and was wrong: the lesson as it was given then, but for its day. Learn the right
    /// one after it.
    pub fn unlearn(&mut self, text: &Text<'_>, lesson: &Lesson, scratch: &mut Scratch) -> Learned {
        self.take_to_pieces(text, scratch);
        let before = self.judge(lesson.user(), scratch);
        let weight = self.admitted(lesson);
        if weight > 0.0 {
            let units = units(weight);
            for &hash in scratch.tokens.singles.iter().chain(&scratch.tokens.pairs) {
                if let Some(entry) = self.lexicon.known(hash) {
                    entry.discount(lesson.class, units);
                }
            }
            self.counts.unlearn(lesson.class, units);
            self.follow(lesson.class.opposite(), weight, &before, scratch);
            self.tally.take_back(lesson.class);
        }
        self.learn_personally(lesson, lesson.class.opposite(), &before, scratch);
        Learned { before, common: weight > 0.0 }
    }

    /// The pieces of the message that speak most for spam, and those that speak most against it: at most so many of each.
    #[must_use]
    pub fn explain(&self, text: &Text<'_>, most: usize, scratch: &mut Scratch) -> Evidence {
        let before = self.score(text, None, scratch);
        let slopes = self.fusion.slopes(&before.voices);
        let mut witness = Witness::default();
        tokens::read(&self.key, &self.parameters, text, &mut scratch.buffer, &mut witness);
        witness.evidence(most, |hash| {
            let entry = self.lexicon.find(hash)?;
            let [_, words, counts, ..] = slopes;
            let chance = self.counts.chance(entry);
            let counted = if self.counts.counts(chance) { (chance / (1.0 - chance)).ln() } else { 0.0 };
            Some(words * self.words.weight(entry) + counts * counted)
        })
    }

    fn take_to_pieces(&self, text: &Text<'_>, scratch: &mut Scratch) {
        let Scratch { letters, buffer, grams, seen, tokens, .. } = scratch;
        tokens.clear();
        tokens::read(&self.key, &self.parameters, text, buffer, tokens);
        grams::spell(&self.parameters, text, letters);
        grams::slots(&self.key, self.parameters.gram_bits, letters, seen, grams);
    }

    fn judge(&self, user: Option<User>, scratch: &mut Scratch) -> Score {
        let voices = self.voices(scratch);
        let personal = user.map_or(0.0, |user| {
            self.personal.log_odds(&self.key, user.0, &scratch.tokens.personal)
        });
        let least = self.tally.ham.min(self.tally.spam) as f32;
        let log_odds = self.fusion.log_odds(&voices) * (least + self.parameters.x[8] * self.parameters.x[15]) / (least + self.parameters.x[15]) + personal;
        Score { log_odds, probability: probability(log_odds), voices, personal }
    }

    fn voices(&self, scratch: &mut Scratch) -> Voices {
        let Scratch { letters, grams, chances, tokens, .. } = scratch;
        chances.clear();
        let mut words = 0.0;
        let x = &self.parameters.x;
        let single = tokens.singles.len();
        for (at, &hash) in tokens.singles.iter().chain(&tokens.pairs).enumerate() {
            if let Some(entry) = self.lexicon.find(hash) {
                if at < single || x[10] == 0.0 { words += self.words.weight(entry); }
                if at >= single && x[4] > 0.0 { continue; }
                let chance = self.counts.chance(entry);
                if self.counts.counts(chance) {
                    chances.push(chance);
                }
            }
        }
        words *= word_scale(x, tokens);
        let contexts = if self.parameters.x[0] > 0.0 { self.contexts.log_odds(&self.key, letters) } else { 0.0 };
        [self.grams.log_odds(grams), words, { let n = chances.len().max(1) as f32; match x[16] as u8 { 0 => self.counts.log_odds(chances), 1 => chances.iter().map(|c| (c / (1.0 - c)).ln()).sum::<f32>() / n.sqrt(), _ => self.counts.log_odds(chances) / n.sqrt() } }, contexts]
    }

    /// The weight with which a lesson reaches everybody.
    fn admitted(&mut self, lesson: &Lesson) -> f32 {
        let weight = lesson.believed();
        match lesson.user() {
            None => weight,
            Some(user) if weight > 0.0 => {
                let hash = self.key.personal(user.0, 0);
                let most = self.parameters.daily_lessons;
                let admitted = self.ledger.admit(hash, lesson.day, most);
                if admitted { weight * self.parameters.user_weight } else { 0.0 }
            }
            Some(_) => 0.0,
        }
    }

    /// Moves those learners that follow an error.
    fn follow(&mut self, class: Class, weight: f32, before: &Score, scratch: &Scratch) {
        let [grams, words, ..] = before.voices;
        let target = class.target();
        let error = |log_odds| weight * (target - probability(log_odds));
        let x = self.parameters.x;
        let gscale = if x[6] > 0.0 { x[6] / (scratch.grams.len().max(1) as f32) } else { 1.0 };
        let mut log_odds = grams;
        for _ in 0..=(x[7] as usize) {
            let e = error(log_odds);
            if e.abs() < self.parameters.margin { break; }
            self.grams.learn(&scratch.grams, e * gscale);
            log_odds = self.grams.log_odds(&scratch.grams);
        }
        let gradient = -error(words) * word_scale(&x, &scratch.tokens);
        for &hash in scratch.tokens.singles.iter().chain(&scratch.tokens.pairs) {
            if let Some(entry) = self.lexicon.known(hash) {
                self.words.learn(entry, gradient);
            }
        }
        self.fusion.learn(&before.voices, error(self.fusion.log_odds(&before.voices)));
    }

    fn learn_personally(&mut self, lesson: &Lesson, class: Class, before: &Score, scratch: &Scratch) {
        if let Some(user) = lesson.user() {
            let error = lesson.believed() * (class.target() - before.probability);
            self.personal.learn(&self.key, user.0, &scratch.tokens.personal, error);
        }
    }
}

fn word_scale(x: &[f32; 32], tokens: &crate::scratch::Tokens) -> f32 {
    if x[5] > 0.0 {
        let m = tokens.singles.len() + if x[10] > 0.0 { 0 } else { tokens.pairs.len() };
        x[5] / (m.max(1) as f32).sqrt()
    } else { 1.0 }
}

/// What a lesson counts.
fn units(weight: f32) -> u16 {
    (weight * f32::from(UNIT)).round() as u16
}

#[cfg(test)]
pub(crate) mod tests;
