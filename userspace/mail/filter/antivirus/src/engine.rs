//! Unpacks the parts of a message, and lets the rules look at everything that comes out.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::limits::Limits;
use crate::name::FileName;
use crate::part::Part;
use crate::rules::{self, Hit, Silence};
use crate::unpack::{Object, Stop, Walk};
use crate::verdict::{Finding, Verdict, Why};

/// Findings of a part that are kept; the worst are among them.
const MOST_FINDINGS: usize = 32;

/// Changes with whatever changes what comes out of the same octets, other than rules and limits.
const GENERATION: u32 = 2;

/// An engine can't be had.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The rules are built in, and do not compile on this machine.
    #[error("the rules of the virus scanner do not compile: {0}")]
    Rules(String),
}

/// What was seen in a part.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Examination {
    /// What there is to say of it.
    pub verdict: Verdict,
    /// Everything that was found, the worst first.
    pub findings: Vec<Finding>,
    /// Files that were looked at, the part itself counted.
    pub files: usize,
    /// Whether the same octets give the same, whatever came before them in the message.
    pub lasting: bool,
}

impl Examination {
    /// Of a part that nobody looked at.
    #[must_use]
    pub fn unscanned(why: Why) -> Self {
        Self { verdict: Verdict::Unscanned(why), ..Self::default() }
    }

    /// The same with the part's name before the names of the files that are packed in it.
    #[must_use]
    pub fn of(mut self, part: &Part) -> Self {
        let name = FileName::new(part.name.as_deref().unwrap_or_default());
        let complete = |finding: &mut Finding| {
            if finding.what.is_empty() {
                name.shown().clone_into(&mut finding.what);
            } else if !name.shown().is_empty() {
                finding.what = format!("{} \u{203a} {}", name.shown(), finding.what);
            }
        };
        self.findings.iter_mut().for_each(complete);
        if let Verdict::Found(finding) | Verdict::Suspicious(finding) = &mut self.verdict {
            complete(finding);
        }
        self
    }
}

/// Looks through parts. One serves any number of threads.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    time: Duration,
    version: [u8; 32],
}

impl Engine {
    /// An engine with these limits. `time` is what the rules may take for one file: in whole seconds, at least one, and up to one
    /// more, for they count the seconds of a clock that runs already.
    ///
    /// # Errors
    ///
    /// If the rules do not compile, which the tests of this crate rule out for all but machines without memory.
    pub fn new(limits: Limits, time: Duration) -> Result<Self, EngineError> {
        rules::prepare().map_err(EngineError::Rules)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&GENERATION.to_le_bytes());
        hasher.update(format!("{limits:?}").as_bytes());
        for (name, text) in rules::SOURCES {
            hasher.update(name.as_bytes());
            hasher.update(&text.len().to_le_bytes());
            hasher.update(text.as_bytes());
        }
        Ok(Self { limits, time, version: *hasher.finalize().as_bytes() })
    }

    /// Changes when the same octets may give another answer.
    #[must_use]
    pub const fn version(&self) -> &[u8; 32] {
        &self.version
    }

    /// Looks through the parts of a message, until `expired` says that the time is over. There is an answer for each, in order;
    /// those that were not reached are unscanned. The names of parts are not in what was found yet: [`Examination::of`].
    #[must_use]
    pub fn examine(&self, parts: &[Part], expired: &dyn Fn() -> bool) -> Vec<Examination> {
        let seen = RefCell::new(Seen::default());
        let mut look = |object: &Object<'_>| {
            let answer = rules::look(object, self.time);
            seen.borrow_mut().add(object, answer);
        };
        let mut walk = Walk::new(&self.limits, expired, &mut look);
        let mut examinations = Vec::with_capacity(parts.len());
        for part in parts {
            let fresh = walk.is_fresh();
            let name = part.name.as_deref().unwrap_or_default();
            // What a panic leaves half done is begun anew with the next part.
            let result =
                catch_unwind(AssertUnwindSafe(|| walk.part(name, &part.content, part.shown)));
            let mut examination = seen.take().examination();
            let (verdict, whole) = match result {
                Ok(Ok(())) => (Verdict::Clean, true),
                // What was found before a limit was met would have been less or more, had others not come before it.
                Ok(Err(Stop::Excess(excess))) => (Verdict::Excessive(excess), fresh),
                Ok(Err(Stop::Late)) => (Verdict::Unscanned(Why::Late), false),
                Err(_) => (Verdict::Unscanned(Why::Failed), false),
            };
            examination.verdict = examination.verdict.worse(verdict);
            examination.lasting &= whole;
            examinations.push(examination);
        }
        examinations
    }
}

/// What the rules said of the files of a part.
#[derive(Debug, Default)]
struct Seen {
    files: usize,
    hits: Vec<(String, Hit)>,
    silence: Option<Silence>,
    /// Whether something in it could not be unpacked.
    unsupported: bool,
}

impl Seen {
    fn add(&mut self, object: &Object<'_>, answer: Result<Vec<Hit>, Silence>) {
        self.files += 1;
        self.unsupported |= object.facts.unsupported;
        match answer {
            Ok(hits) => {
                for hit in hits {
                    self.keep(object, hit);
                }
            }
            Err(silence) => self.silence = self.silence.or(Some(silence)),
        }
    }

    fn keep(&mut self, object: &Object<'_>, hit: Hit) {
        let rank = |hit: &Hit| (hit.found, hit.weight);
        if self.hits.len() >= MOST_FINDINGS {
            let least = self.hits.iter().enumerate().min_by_key(|(_, (_, hit))| rank(hit));
            let Some((place, (_, least))) = least else { return };
            if rank(least) >= rank(&hit) {
                return;
            }
            self.hits.swap_remove(place);
        }
        self.hits.push((object.path.to_owned(), hit));
    }

    fn examination(mut self) -> Examination {
        self.hits.sort_by_key(|(_, hit)| std::cmp::Reverse((hit.found, hit.weight)));
        let mut verdict = match self.silence {
            Some(Silence::Late) => Verdict::Unscanned(Why::Late),
            Some(Silence::Failed) => Verdict::Unscanned(Why::Failed),
            None => Verdict::Clean,
        };
        if self.unsupported {
            verdict = verdict.worse(Verdict::Unscanned(Why::Unsupported));
        }
        let mut findings = Vec::with_capacity(self.hits.len());
        for (what, Hit { name, reason, weight, found }) in self.hits {
            let finding = Finding { name, what, reason, weight };
            let said = if found { Verdict::Found } else { Verdict::Suspicious };
            verdict = verdict.worse(said(finding.clone()));
            findings.push(finding);
        }
        Examination { verdict, findings, files: self.files, lasting: self.silence.is_none() }
    }
}

#[cfg(test)]
#[cfg(feature = "rules")]
mod tests;
