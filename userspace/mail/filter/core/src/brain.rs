//! Everything that learns: the statistics of words, and how much each finding is worth.
//!
//! As octets: `MURALLAf`, a version, what was learned of findings, and the model of the statistics behind it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use muralla_filter_anatomy::Oddity;
use muralla_filter_origin::Sign;
use muralla_filter_statistics::{
    Class, Evidence, FileError, Key, Lesson, Model, Parameters, ParametersError, Scratch, Tally,
    Teacher, User,
};

use crate::opinion::{MOST_OF_CONTENT, MOST_OF_STAGE, Opinion, bounded};
use crate::reading::Reading;
use crate::reason::{Reason, Stage};

/// A brain can't be had of these octets, or not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrainError {
    /// They can't be read or written, or end too early.
    #[error("a model can't be read or written: {0}")]
    Io(#[from] io::Error),
    /// Something else.
    #[error("this is no model of the filter")]
    Foreign,
    /// Of a later version of this program.
    #[error("the model has version {0}, of which only {VERSION} is known")]
    Version(u32),
    /// The statistics in it.
    #[error(transparent)]
    Statistics(#[from] FileError),
    /// Parameters that no model has.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
}

/// Everything that learns.
#[derive(Clone, Debug)]
pub struct Brain {
    model: Model,
    worths: Worths,
}

const MAGIC: &[u8; 8] = b"MURALLAf";
const VERSION: u32 = 1;

/// Findings that a file may tell of: more than there are.
const MOST_FINDINGS: u32 = 10_000;

/// Octets of a finding's name.
const LONGEST_NAME: usize = 100;

/// What a model may take of memory.
const MOST_MEMORY: u64 = 512 << 20;

impl Brain {
    /// One that learned nothing.
    ///
    /// # Errors
    ///
    /// If parameters are out of their ranges.
    pub fn new(key: Key, parameters: Parameters) -> Result<Self, BrainError> {
        Ok(Self { model: Model::new(key, parameters)?, worths: Worths::default() })
    }

    /// How much it learned, and when.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        self.model.tally()
    }

    /// How likely a message is spam by what it says and by what was found, for a user or for nobody in particular.
    #[must_use]
    pub fn judge(
        &self,
        reading: &Reading,
        reasons: Vec<Reason>,
        user: Option<User>,
        scratch: &mut Scratch,
    ) -> Opinion {
        let score = reading.with_text(|text| self.model.score(text, user, scratch));
        self.opinion(score.log_odds - score.personal, score.personal, reasons)
    }

    /// What users' own lessons add, of a message for several of them.
    #[must_use]
    pub fn personal(&self, reading: &Reading, users: &[User], scratch: &mut Scratch) -> Vec<f32> {
        let of = |user: &User| {
            reading.with_text(|text| self.model.score(text, Some(*user), scratch)).personal
        };
        users.iter().map(of).collect()
    }

    /// Learns what a message is. What was thought before comes back, and whether everybody learned, and not only a user.
    pub fn learn(
        &mut self,
        reading: &Reading,
        reasons: Vec<Reason>,
        lesson: &Lesson,
        scratch: &mut Scratch,
    ) -> (Opinion, bool) {
        let learned = reading.with_text(|text| self.model.learn(text, lesson, scratch));
        let score = learned.before;
        let before = self.opinion(score.log_odds - score.personal, score.personal, reasons);
        // What one user says of a finding would hold for everybody.
        if lesson.teacher == Teacher::Operator {
            self.worths.learn(&before, lesson.class, lesson.weight);
        }
        (before, learned.common)
    }

    /// Takes back a lesson that was wrong.
    pub fn unlearn(&mut self, reading: &Reading, lesson: &Lesson, scratch: &mut Scratch) {
        let _ = reading.with_text(|text| self.model.unlearn(text, lesson, scratch));
    }

    /// The words of a message that say most, for spam and against it: at most so many of each.
    #[must_use]
    pub fn explain(&self, reading: &Reading, most: usize, scratch: &mut Scratch) -> Evidence {
        reading.with_text(|text| self.model.explain(text, most, scratch))
    }

    /// A smaller one, which has forgotten what it saw once.
    #[must_use]
    pub fn condensed(&self) -> Self {
        Self { model: self.model.condensed(), worths: self.worths.clone() }
    }

    /// Writes it.
    ///
    /// # Errors
    ///
    /// If the writer has any.
    pub fn write(&self, mut writer: impl Write) -> Result<(), BrainError> {
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_be_bytes());
        self.worths.write(&mut out);
        writer.write_all(&out)?;
        Ok(self.model.write(writer)?)
    }

    /// Reads one that was learned with this key.
    ///
    /// # Errors
    ///
    /// If it is none, or would take too much memory.
    pub fn read(mut reader: impl Read, key: Key) -> Result<Self, BrainError> {
        let mut magic = [0; 8];
        reader.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(BrainError::Foreign);
        }
        match number(&mut reader)? {
            VERSION => {}
            other => return Err(BrainError::Version(other)),
        }
        let worths = Worths::read(&mut reader)?;
        Ok(Self { model: Model::read(reader, key, MOST_MEMORY)?, worths })
    }

    fn opinion(&self, content: f32, personal: f32, reasons: Vec<Reason>) -> Opinion {
        let content = bounded(content, MOST_OF_CONTENT);
        let mut log_odds = content;
        for stage in [Stage::Origin, Stage::Structure, Stage::Bulk, Stage::Antivirus] {
            let of = reasons.iter().filter(|reason| reason.stage == stage);
            log_odds += bounded(of.map(|reason| self.worths.of(reason)).sum(), MOST_OF_STAGE);
        }
        let mut reasons: Vec<(Reason, f32)> = reasons
            .into_iter()
            .map(|reason| {
                let worth = self.worths.of(&reason);
                (reason, worth)
            })
            .collect();
        reasons.sort_by(|(_, one), (_, other)| other.abs().total_cmp(&one.abs()));
        Opinion { log_odds, content, personal, reasons }
    }
}

/// What was learned of findings: what each is worth more, or less, than its weight says.
#[derive(Clone, Debug, Default, PartialEq)]
struct Worths(BTreeMap<String, f32>);

/// How fast it learns: what is new is learned by words within days; what a finding is worth changes slowly.
const RATE: f32 = 0.05;

/// How far it goes from where it began, in log-odds.
const FARTHEST: f32 = 2.5;

/// What a weight of one above what is met in good mail every day is worth, in log-odds.
const UNIT: f32 = 0.45;

/// The same for what speaks for a message.
const GOOD_UNIT: f32 = 0.6;

impl Worths {
    /// What a finding is worth, in log-odds.
    fn of(&self, reason: &Reason) -> f32 {
        let begin = if reason.weight >= 0.0 {
            UNIT * (reason.weight - 1.0).max(0.0)
        } else {
            GOOD_UNIT * reason.weight
        };
        begin + self.0.get(reason.name.as_ref()).copied().unwrap_or(0.0)
    }

    fn learn(&mut self, before: &Opinion, class: Class, weight: f32) {
        let probability = 1.0 / (1.0 + (-before.log_odds).exp());
        let target = if class == Class::Spam { 1.0 } else { 0.0 };
        let step = RATE * weight.clamp(0.0, 1.0) * (target - probability);
        // What others name, as a virus scanner does, is without end, and says what it says.
        for (reason, _) in before.reasons.iter().filter(|(reason, _)| is_known(&reason.name)) {
            let learned = self.0.entry(reason.name.clone().into_owned()).or_default();
            *learned = (*learned + step).clamp(-FARTHEST, FARTHEST);
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(u32::try_from(self.0.len()).unwrap_or(u32::MAX).to_be_bytes());
        for (name, worth) in &self.0 {
            // No name is as long: they are ours.
            out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            out.extend(name.as_bytes().iter().take(usize::from(u8::MAX)));
            out.extend(worth.to_be_bytes());
        }
    }

    fn read(reader: &mut impl Read) -> Result<Self, BrainError> {
        let count = number(reader)?;
        if count > MOST_FINDINGS {
            return Err(BrainError::Foreign);
        }
        let mut worths = BTreeMap::new();
        for _ in 0..count {
            let mut length = [0];
            reader.read_exact(&mut length)?;
            let [length] = length;
            if usize::from(length) > LONGEST_NAME {
                return Err(BrainError::Foreign);
            }
            let mut name = vec![0; usize::from(length)];
            reader.read_exact(&mut name)?;
            let name = String::from_utf8(name).map_err(|_| BrainError::Foreign)?;
            let worth = f32::from_bits(number(reader)?);
            if !worth.is_finite() {
                return Err(BrainError::Foreign);
            }
            // Those that a later version does not know any more are left out.
            if is_known(&name) {
                worths.insert(name, worth.clamp(-FARTHEST, FARTHEST));
            }
        }
        Ok(Self(worths))
    }
}

fn number(reader: &mut impl Read) -> Result<u32, BrainError> {
    let mut octets = [0; 4];
    reader.read_exact(&mut octets)?;
    Ok(u32::from_be_bytes(octets))
}

/// Whether it is a finding of ours.
fn is_known(name: &str) -> bool {
    Oddity::ALL.iter().any(|oddity| oddity.name() == name)
        || Sign::ALL.iter().any(|sign| sign.name() == name)
}

#[cfg(test)]
mod tests {
    use muralla_filter_anatomy::{Anatomy, Limits};
    use muralla_filter_statistics::Day;

    use super::*;

    fn key() -> Key {
        Key::new(b"a key of tests, and of nothing else")
    }

    fn reason(name: &'static str, stage: Stage, weight: f32) -> Reason {
        Reason { stage, name: name.into(), weight, words: "It is odd.".to_owned() }
    }

    fn reading(text: &str) -> Reading {
        let message = format!("From: a@example.org\r\nSubject: {text}\r\n\r\n{text}\r\n");
        let limits = Limits::default();
        Reading::of(&Anatomy::read(message.as_bytes(), &limits), &[], &limits)
    }

    fn small() -> Brain {
        Brain::new(key(), Parameters::default()).unwrap()
    }

    #[test]
    fn findings_count_by_their_weight() {
        let brain = small();
        let mut scratch = Scratch::new();
        let mut log_odds = |reasons: &[Reason]| {
            brain.judge(&reading("hello"), reasons.to_vec(), None, &mut scratch).log_odds
        };
        let nothing = log_odds(&[]);
        let everyday = log_odds(&[reason("no-subject", Stage::Structure, 0.5)]);
        let rare = log_odds(&[reason("program", Stage::Structure, 8.0)]);
        let good = log_odds(&[reason("proved", Stage::Origin, -1.0)]);
        assert_eq!(nothing, everyday);
        assert!(rare > nothing + 2.0, "{rare}");
        assert!(good < nothing, "{good}");
        // However many there are, they do not add up without end.
        let all: Vec<_> = Oddity::ALL
            .iter()
            .map(|oddity| reason(oddity.name(), Stage::Structure, oddity.weight()))
            .collect();
        assert!(log_odds(&all) <= nothing + MOST_OF_STAGE);
    }

    #[test]
    fn words_and_findings_are_learned() {
        let mut brain = small();
        let mut scratch = Scratch::new();
        let odd = || vec![reason("no-subject", Stage::Structure, 0.5)];
        for day in 0..60 {
            let spam = Lesson::of_operator(Class::Spam, Day(day));
            let _ = brain.learn(&reading("cheap pills for you"), odd(), &spam, &mut scratch);
            let ham = Lesson::of_operator(Class::Ham, Day(day));
            let _ = brain.learn(&reading("minutes of our meeting"), vec![], &ham, &mut scratch);
        }
        let mut judge = |brain: &Brain, text, reasons| {
            brain.judge(&reading(text), reasons, None, &mut scratch).log_odds
        };
        let spam = judge(&brain, "cheap pills", odd());
        let ham = judge(&brain, "our meeting", vec![]);
        assert!(spam > 3.0 && ham < -3.0, "{spam} {ham}");
        assert!(brain.worths.0["no-subject"] > 0.0);
        let mut octets = Vec::new();
        brain.write(&mut octets).unwrap();
        let again = Brain::read(octets.as_slice(), key()).unwrap();
        assert_eq!(again.worths, brain.worths);
        assert_eq!(judge(&again, "cheap pills", odd()), spam);
        for cut in [0, 7, 11, 15, 20, octets.len() - 1] {
            assert!(Brain::read(&octets[..cut], key()).is_err(), "{cut}");
        }
        assert!(Brain::read(octets.as_slice(), Key::new(b"another")).is_err());
        octets[11] = 9;
        assert!(matches!(Brain::read(octets.as_slice(), key()), Err(BrainError::Version(9))));
    }

    #[test]
    fn what_others_name_is_not_learned() {
        let mut worths = Worths::default();
        let reasons = vec![(reason("Eicar.Test", Stage::Antivirus, 10.0), 4.0)];
        let before = Opinion { reasons, ..Opinion::default() };
        worths.learn(&before, Class::Spam, 1.0);
        assert_eq!(worths, Worths::default());
    }
}
