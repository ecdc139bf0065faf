//! What becomes of a message for a recipient.

use crate::opinion::Opinion;
use crate::reason::Stage;
use crate::tolerance::Tolerance;

/// What becomes of a message for a recipient.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// Into his Inbox.
    Inbox,
    /// Into his Spam folder.
    Spam,
    /// Refused while its sender is connected.
    Refuse,
    /// Something dangerous is in it: it stays where nobody opens it.
    Hold,
    /// Somebody who had to look at it could not: it is looked at again before anybody gets it.
    Unscanned,
}

impl Outcome {
    /// A short name, for logs, headers and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Spam => "spam",
            Self::Refuse => "refuse",
            Self::Hold => "hold",
            Self::Unscanned => "unscanned",
        }
    }
}

/// What was seen in the parts of a message.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Danger {
    /// Nothing.
    #[default]
    None,
    /// Nobody knows yet.
    Unknown,
    /// Something that must not reach anybody.
    Present,
}

/// What an author is worth that a recipient knows, in log-odds, if nothing proves that it is he.
const CLAIMED: f32 = 1.5;

/// Kinds of evidence that have to speak against a message before it is refused: content alone never does, nor does any other stage.
const WITNESSES: usize = 2;

/// What a stage must say to be one of them, in log-odds.
const TESTIMONY: f32 = 1.5;

/// Decides. `known` says whether the recipient knows the author, as he is in his address book or was written to, and `proved` whether
/// the message proves that it is from him.
///
/// Danger comes first, for whoever sends it: an account can be stolen. Then those whom the recipient knows: they are let in if it is proved that
/// it is they. Then how likely it is spam.
#[must_use]
pub fn decide(
    opinion: &Opinion,
    danger: Danger,
    known: bool,
    proved: bool,
    tolerance: Tolerance,
) -> Outcome {
    match danger {
        Danger::Present => return Outcome::Hold,
        Danger::Unknown => return Outcome::Unscanned,
        Danger::None => {}
    }
    let mut log_odds = opinion.log_odds + opinion.personal;
    match (known, proved) {
        (false, _) => {}
        (true, true) => return Outcome::Inbox,
        (true, false) => log_odds -= CLAIMED,
    }
    let certain = opinion.reasons.iter().any(|(reason, _)| reason.is_certain());
    if let Some(refuse_from) = tolerance.refuse_from()
        && (log_odds >= refuse_from || certain)
        && !known
        && (witnesses(opinion) >= WITNESSES || certain)
    {
        return Outcome::Refuse;
    }
    if certain || log_odds >= tolerance.level.spam_from() { Outcome::Spam } else { Outcome::Inbox }
}

/// Stages that speak against it.
fn witnesses(opinion: &Opinion) -> usize {
    let stages = [Stage::Origin, Stage::Structure, Stage::Bulk, Stage::Antivirus];
    let says = |stage: &Stage| {
        let of = opinion.reasons.iter().filter(|(reason, _)| reason.stage == *stage);
        of.map(|(_, worth)| worth).sum::<f32>() >= TESTIMONY
    };
    usize::from(opinion.content >= TESTIMONY) + stages.iter().filter(|stage| says(stage)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;
    use crate::tolerance::Level;

    fn opinion(content: f32, others: &[(Stage, f32)]) -> Opinion {
        let reasons: Vec<_> = others
            .iter()
            .map(|(stage, worth)| {
                let name = "odd".into();
                (
                    Reason { stage: *stage, name, weight: 5.0, words: "It is odd.".to_owned() },
                    *worth,
                )
            })
            .collect();
        let log_odds = content + others.iter().map(|(_, worth)| worth).sum::<f32>();
        Opinion { log_odds, content, personal: 0.0, reasons }
    }

    #[test]
    fn what_becomes_of_it() {
        let usual = Tolerance::default();
        let tolerant = Tolerance { level: Level::Tolerant, cut_off: true };
        let never = Tolerance { cut_off: false, ..usual };
        let bad = opinion(8.0, &[(Stage::Origin, 5.0)]);
        let words_alone = opinion(30.0, &[]);
        for (opinion, danger, known, proved, tolerance, expected) in [
            (&opinion(0.0, &[]), Danger::None, false, false, usual, Outcome::Inbox),
            (&opinion(5.0, &[]), Danger::None, false, false, usual, Outcome::Spam),
            (&opinion(5.0, &[]), Danger::None, true, false, usual, Outcome::Inbox),
            (&opinion(5.0, &[]), Danger::None, false, false, tolerant, Outcome::Inbox),
            (&bad, Danger::None, false, true, usual, Outcome::Refuse),
            (&bad, Danger::None, false, true, tolerant, Outcome::Spam),
            (&bad, Danger::None, false, true, never, Outcome::Spam),
            (&bad, Danger::None, true, true, usual, Outcome::Inbox),
            (&bad, Danger::None, true, false, usual, Outcome::Spam),
            (&bad, Danger::Present, true, true, usual, Outcome::Hold),
            (&bad, Danger::Unknown, true, true, usual, Outcome::Unscanned),
            (&words_alone, Danger::None, false, false, usual, Outcome::Spam),
        ] {
            let decided = decide(opinion, danger, known, proved, tolerance);
            assert_eq!(
                decided, expected,
                "{opinion:?} {danger:?} {known:?} {proved} {tolerance:?}"
            );
        }
    }

    #[test]
    fn what_a_user_taught_counts_for_him() {
        let spam = Opinion { personal: 3.0, ..opinion(3.0, &[]) };
        let good = Opinion { personal: -3.0, ..opinion(6.0, &[]) };
        let decide = |opinion| decide(opinion, Danger::None, false, false, Tolerance::default());
        assert_eq!((decide(&spam), decide(&good)), (Outcome::Spam, Outcome::Inbox));
    }
}
