//! All learners together: judging a message, and learning from what somebody says of it.

use crate::class::Class;
use crate::contexts::Contexts;
use crate::counts::{Counts, logit};
use crate::explain::{Evidence, Witness};
use crate::fusion::{Fusion, LEARNERS, Voices, probability};
use crate::grams::{self, Grams};
use crate::hash::Key;
use crate::ledger::Ledger;
use crate::lesson::{Lesson, User};
use crate::lexicon::{Lexicon, UNIT};
use crate::parameters::{Parameters, ParametersError};
use crate::personal::Personal;
use crate::rehearsal::Rehearsal;
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
    pub(crate) rehearsal: Rehearsal,
    pub(crate) personal: Personal,
    pub(crate) ledger: Ledger,
    pub(crate) tally: Tally,
}

/// What a model dares to say that learned nothing yet, of what it will dare.
const LEAST_COURAGE: f32 = 0.4;

/// What the model thinks of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Log-odds of spam: 0 is as likely as not, 4.6 is 99 %, -6.9 is one in a thousand.
    pub log_odds: f32,
    /// The same as a probability.
    pub probability: f32,
    /// What each learner said, in log-odds of its own: fours of letters, words followed, words counted, letters foretold.
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
            rehearsal: Rehearsal::new(parameters.rehearsed),
            personal: Personal::new(&parameters),
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
            for hash in scratch.tokens.all() {
                if let Some(entry) = self.lexicon.entry(hash) {
                    entry.count(lesson.class, units);
                }
            }
            self.counts.learn(lesson.class, units);
            let Scratch { letters, seen, .. } = &mut *scratch;
            self.contexts.learn(&self.key, letters, lesson.class, units, seen);
            self.follow(lesson.class, weight, &before, scratch);
            // What users say is not gone through again: their reach has a limit.
            let off = (lesson.class.target() - before.probability).abs();
            if lesson.user().is_none() {
                if off > self.parameters.hard {
                    self.rehearsal.keep(scratch, lesson.class, weight);
                }
                self.rehearse();
            }
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
            for hash in scratch.tokens.all() {
                if let Some(entry) = self.lexicon.known(hash) {
                    entry.discount(lesson.class, units);
                }
            }
            self.counts.unlearn(lesson.class, units);
            let Scratch { letters, seen, .. } = &mut *scratch;
            self.contexts.unlearn(&self.key, letters, lesson.class, units, seen);
            self.rehearsal.forget(scratch);
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
        let [_, of_words, of_counts, _] = self.fusion.slopes(&before.voices);
        let mut witness = Witness::default();
        tokens::read(&self.key, &self.parameters, text, &mut scratch.buffer, &mut witness);
        let pieces = scratch.tokens.all().count();
        let of_words = of_words * self.words.scale(pieces);
        let of_counts = of_counts / (scratch.chances.len().max(1) as f32).sqrt();
        witness.evidence(most, |hash| {
            let entry = self.lexicon.find(hash)?;
            let chance = self.counts.chance(entry);
            let counted = if self.counts.counts(chance) { logit(chance) } else { 0.0 };
            Some(of_words * self.words.weight(entry) + of_counts * counted)
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
        let log_odds = self.fusion.log_odds(&voices) * self.courage() + personal;
        Score { log_odds, probability: probability(log_odds), voices, personal }
    }

    /// What a model dares to say, of what its learners say: little, while it knows little of either class.
    fn courage(&self) -> f32 {
        let (least, youth) = (self.tally.ham.min(self.tally.spam) as f32, self.parameters.youth);
        if youth == 0.0 { 1.0 } else { (least + LEAST_COURAGE * youth) / (least + youth) }
    }

    fn voices(&self, scratch: &mut Scratch) -> Voices {
        let Scratch { letters, grams, chances, seen, tokens, .. } = scratch;
        chances.clear();
        let (mut words, mut pieces) = (0.0, 0);
        for hash in tokens.all() {
            pieces += 1;
            let Some(entry) = self.lexicon.find(hash) else { continue };
            words += self.words.weight(entry);
            let chance = self.counts.chance(entry);
            if self.counts.counts(chance) {
                chances.push(chance);
            }
        }
        [
            self.grams.log_odds(grams),
            words * self.words.scale(pieces),
            Counts::log_odds(chances),
            self.contexts.log_odds(&self.key, letters, seen),
        ]
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
        self.grams.learn(&scratch.grams, error(grams));
        let gradient = -error(words) * self.words.scale(scratch.tokens.all().count());
        for hash in scratch.tokens.all() {
            if let Some(entry) = self.lexicon.known(hash) {
                self.words.learn(entry, gradient);
            }
        }
        self.fusion.learn(&before.voices, error(self.fusion.log_odds(&before.voices)));
    }

    /// Goes through some hard lessons again.
    fn rehearse(&mut self) {
        for _ in 0..self.parameters.rehearsals {
            let Some(past) = self.rehearsal.again() else { return };
            let error = |log_odds| past.weight * (past.target - probability(log_odds));
            let off = error(self.grams.log_odds(&past.grams));
            if off.abs() > self.parameters.margin {
                self.grams.learn(&past.grams, off);
            }
            let known = past.words.iter().filter_map(|&hash| self.lexicon.find(hash));
            let scale = self.words.scale(past.words.len());
            let off = error(known.map(|entry| self.words.weight(entry)).sum::<f32>() * scale);
            if off.abs() > self.parameters.margin {
                for &hash in &past.words {
                    if let Some(entry) = self.lexicon.known(hash) {
                        self.words.learn(entry, -off * scale);
                    }
                }
            }
        }
    }

    fn learn_personally(
        &mut self,
        lesson: &Lesson,
        class: Class,
        before: &Score,
        scratch: &Scratch,
    ) {
        if let Some(user) = lesson.user() {
            let error = lesson.believed() * (class.target() - before.probability);
            self.personal.learn(&self.key, user.0, &scratch.tokens.personal, error);
        }
    }
}

/// What a lesson counts.
fn units(weight: f32) -> u16 {
    (weight * f32::from(UNIT)).round() as u16
}

#[cfg(test)]
pub(crate) mod tests;
