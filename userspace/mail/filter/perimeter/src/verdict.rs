//! What is answered: what becomes of the message for each of its recipients, and why.

use muralla_mail_envelope::Reply;

use crate::fields::HeaderField;

/// What the filter says of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// What becomes of it, for each recipient in the question's order. Those that are missing were not looked at, which is
    /// never taken for clean. One is enough where the question has no recipients.
    pub outcomes: Vec<Outcome>,
    /// How much speaks against it.
    pub score: f64,
    /// From which score on it is spam.
    pub spam_from: f64,
    /// From which score on it is refused.
    pub refuse_from: f64,
    /// What the score is made of.
    pub reasons: Vec<Reason>,
    /// Header fields that are written above it, wherever it goes.
    pub head: Vec<HeaderField>,
    /// Where it points to: hosts of its links.
    pub urls: Vec<String>,
    /// Addresses in its text.
    pub emails: Vec<String>,
    /// Its `Message-ID`, without brackets.
    pub message_id: Option<String>,
    /// Whether it was let through without being looked at, because that is configured.
    pub skipped: bool,
}

/// What becomes of a message for a recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is delivered.
    Deliver,
    /// It is delivered into the Spam folder.
    Spam,
    /// It is refused, in these words: they say why, and what to do.
    Refuse(Reply),
    /// It has something dangerous in it, and stays where nobody opens it.
    Hold {
        /// What it is.
        why: String,
    },
    /// It was not, or not fully, looked at: an engine was late or down.
    Unscanned {
        /// Which, and what was wrong.
        why: String,
    },
}

/// One of the things that speak for or against a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// Its name: `SPF_FAIL`.
    pub name: String,
    /// How much it is worth; below zero if it speaks for the message.
    pub weight: f64,
    /// In words that a user can read.
    pub words: String,
    /// What exactly was found.
    pub details: Vec<String>,
}

impl Verdict {
    /// Nobody looked at it.
    #[must_use]
    pub fn unscanned(why: &str, recipients: usize) -> Self {
        let outcome = Outcome::Unscanned { why: why.to_owned() };
        Self { outcomes: vec![outcome; recipients.max(1)], ..Self::default() }
    }

    /// What becomes of it for the recipient at that place.
    #[must_use]
    pub fn outcome(&self, recipient: usize) -> Outcome {
        self.outcomes.get(recipient).cloned().unwrap_or_else(|| Outcome::Unscanned {
            why: "there is no verdict for this recipient".to_owned(),
        })
    }

    /// What becomes of it where all recipients have to have the same.
    ///
    /// What is dangerous for one is so for all, and what was not looked at for one was not. It is refused if all want that.
    /// Between folders, the mildest counts: who lets a sender in has to get his mail, while spam too much is deleted by hand.
    #[must_use]
    pub fn common(&self, recipients: usize) -> Outcome {
        let all: Vec<Outcome> = (0..recipients.max(1)).map(|one| self.outcome(one)).collect();
        let is_hold = |one: &&Outcome| matches!(one, Outcome::Hold { .. });
        let is_unscanned = |one: &&Outcome| matches!(one, Outcome::Unscanned { .. });
        let is_refused = |one: &Outcome| matches!(one, Outcome::Refuse(_));
        if let Some(one) = all.iter().find(is_hold).or_else(|| all.iter().find(is_unscanned)) {
            return one.clone();
        }
        match all.first() {
            Some(first) if all.iter().all(is_refused) => first.clone(),
            _ if all.contains(&Outcome::Deliver) => Outcome::Deliver,
            _ => Outcome::Spam,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_for_all() {
        let refuse = |text: &str| Outcome::Refuse(Reply::new(550, None, text));
        let hold = Outcome::Hold { why: "a program".to_owned() };
        let unscanned = Outcome::Unscanned { why: "late".to_owned() };
        let (deliver, spam) = (Outcome::Deliver, Outcome::Spam);
        for (outcomes, recipients, expected) in [
            (vec![deliver.clone()], 1, deliver.clone()),
            (vec![deliver.clone()], 0, deliver.clone()),
            (vec![spam.clone(), deliver.clone()], 2, deliver.clone()),
            (vec![spam.clone(), refuse("a")], 2, spam.clone()),
            (vec![deliver.clone(), refuse("a")], 2, deliver.clone()),
            (vec![refuse("a"), refuse("b")], 2, refuse("a")),
            (vec![deliver.clone(), hold.clone(), unscanned.clone()], 3, hold),
            (vec![deliver, unscanned.clone()], 2, unscanned),
        ] {
            let verdict = Verdict { outcomes, ..Verdict::default() };
            assert_eq!(verdict.common(recipients), expected, "{:?}", verdict.outcomes);
        }
    }

    #[test]
    fn who_has_no_verdict_was_not_looked_at() {
        let verdict = Verdict { outcomes: vec![Outcome::Deliver], ..Verdict::default() };
        assert!(matches!(verdict.outcome(1), Outcome::Unscanned { .. }));
        assert!(matches!(verdict.common(2), Outcome::Unscanned { .. }));
        assert!(matches!(Verdict::default().common(0), Outcome::Unscanned { .. }));
    }
}
