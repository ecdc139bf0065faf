//! From what the filter says to what is done: by our own mx, and by other mail systems that ask.

use muralla_filter::{Outcome, Verdict};
use muralla_filter_perimeter::{self as other, HeaderField, Reason};
use muralla_mail_envelope::{EnhancedCode, Reply};

use crate::perimeter::{Judgement, Placement, Refusal};

/// What is done with a verdict. A message that some refuse is refused for them. What could not be looked through stays with its sender, who
/// sends it again: it is neither let in nor lost, and looked at each time.
pub(super) fn judgement(verdict: Verdict) -> Judgement {
    if verdict.outcomes.contains(&Outcome::Unscanned) {
        return Judgement::Refuse(Refusal::of_all(come_again(&verdict.danger)));
    }
    let placements = verdict.outcomes.iter().map(|outcome| match outcome {
        Outcome::Inbox => Some(Placement::Inbox),
        Outcome::Spam => Some(Placement::Spam),
        Outcome::Refuse => None,
        Outcome::Hold | Outcome::Unscanned => Some(Placement::Hold),
    });
    let placements: Vec<Option<Placement>> = placements.collect();
    if placements.contains(&None) {
        let (reply, keep) = (refusal(&verdict), verdict.danger.is_empty());
        return Judgement::Refuse(Refusal { reply, keep, head: verdict.head, placements });
    }
    Judgement::Take { placements: placements.into_iter().flatten().collect(), head: verdict.head }
}

/// Reasons that a refusal tells.
const TOLD: usize = 2;

/// Why a message is refused, and what somebody can do who wrote it himself.
fn refusal(verdict: &Verdict) -> Reply {
    let reasons = verdict.opinion.reasons.iter().filter(|(_, worth)| *worth > 0.0).take(TOLD);
    let words: Vec<&str> = reasons.map(|(reason, _)| reason.words.as_str()).collect();
    let text = format!(
        "This looks like spam. {} If you wrote it yourself: write to postmaster, in plain words and without links",
        words.join(" ")
    );
    let code = EnhancedCode { class: 5, subject: 7, detail: 1 };
    Reply::new(550, Some(code), &text)
}

/// Somebody who had to look at it could not.
fn come_again(why: &str) -> Reply {
    let code = EnhancedCode { class: 4, subject: 7, detail: 1 };
    Reply::new(451, Some(code), &format!("{why} Send it again in a while"))
}

/// The same for other mail systems.
pub(super) fn for_others(
    verdict: Verdict,
    spam_from: f32,
    refuse_from: Option<f32>,
) -> other::Verdict {
    let refusal = refusal(&verdict);
    let outcomes = verdict.outcomes.iter().map(|outcome| match outcome {
        Outcome::Inbox => other::Outcome::Deliver,
        Outcome::Spam => other::Outcome::Spam,
        Outcome::Refuse => other::Outcome::Refuse(refusal.clone()),
        Outcome::Hold => other::Outcome::Hold { why: verdict.danger.clone() },
        Outcome::Unscanned => other::Outcome::Unscanned { why: verdict.danger.clone() },
    });
    let reasons = verdict.opinion.reasons.iter().filter(|(_, worth)| *worth != 0.0);
    let reasons = reasons.map(|(reason, worth)| Reason {
        name: reason.name.replace('-', "_").to_ascii_uppercase(),
        weight: f64::from(*worth),
        words: reason.words.clone(),
        details: Vec::new(),
    });
    other::Verdict {
        outcomes: outcomes.collect(),
        score: f64::from(verdict.opinion.log_odds),
        spam_from: f64::from(spam_from),
        // Nothing is as bad as this.
        refuse_from: refuse_from.map_or(100.0, f64::from),
        reasons: reasons.collect(),
        head: fields(&verdict.head),
        ..other::Verdict::default()
    }
}

/// Whole header fields, taken apart.
fn fields(head: &str) -> Vec<HeaderField> {
    let mut fields = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in head.split_inclusive("\r\n") {
        match (&mut open, line.starts_with([' ', '\t'])) {
            (Some((_, value)), true) => value.push_str(line),
            _ => {
                fields.extend(open.take());
                open = line.split_once(':').map(|(name, value)| (name, value.to_owned()));
            }
        }
    }
    fields.extend(open);
    fields.iter().filter_map(|(name, value)| HeaderField::new(name, value.trim()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use muralla_filter::{Opinion, Reason, Stage};

    use super::*;

    fn verdict(outcomes: &[Outcome]) -> Verdict {
        let reason = Reason {
            stage: Stage::Origin,
            name: "helo-ours".into(),
            weight: 7.0,
            words: "It gives a name of ours for its own.".to_owned(),
        };
        let opinion =
            Opinion { log_odds: 13.0, reasons: vec![(reason, 2.7)], ..Opinion::default() };
        Verdict {
            outcomes: outcomes.to_vec(),
            opinion,
            danger: "It is a program.".to_owned(),
            head: "A: b;\r\n\tc\r\nX-Muralla: spam\r\n".to_owned(),
            ..Verdict::default()
        }
    }

    #[test]
    fn what_all_refuse_is_refused() {
        let of = |outcomes: &[Outcome]| {
            let judged = judgement(Verdict { danger: String::new(), ..verdict(outcomes) });
            let Judgement::Refuse(refusal) = judged else { panic!("{judged:?}") };
            refusal
        };
        let refused = of(&[Outcome::Refuse, Outcome::Refuse]);
        assert!(refused.keep && refused.placements == [None, None], "{refused:?}");
        let text = refused.reply.to_string();
        assert!(
            text.starts_with("550 5.7.1 This looks like spam. It gives a name of ours"),
            "{text}"
        );
        assert!(text.contains("postmaster"), "{text}");
        use Placement::{Hold, Inbox, Spam};
        let some = of(&[Outcome::Refuse, Outcome::Inbox, Outcome::Spam, Outcome::Hold]);
        assert_eq!(some.placements, [None, Some(Inbox), Some(Spam), Some(Hold)]);
        assert!(some.head.starts_with("A: b"), "{some:?}");
        let others = judgement(verdict(&[Outcome::Inbox, Outcome::Spam]));
        let Judgement::Take { placements, head } = others else { panic!("{others:?}") };
        assert_eq!(placements, [Inbox, Spam]);
        assert!(head.starts_with("A: b"), "{head}");
        assert!(matches!(judgement(verdict(&[])), Judgement::Take { .. }));
        // Nobody sees what is dangerous.
        let Judgement::Refuse(refusal) = judgement(verdict(&[Outcome::Refuse])) else { panic!() };
        assert!(!refusal.keep);
    }

    #[test]
    fn what_was_not_looked_through_comes_again() {
        let both = [Outcome::Refuse, Outcome::Unscanned];
        let Judgement::Refuse(refusal) = judgement(verdict(&both)) else { panic!() };
        let reply = refusal.reply.to_string();
        assert!(reply.starts_with("451 4.7.1 It is a program."), "{reply}");
        assert!(!refusal.keep && refusal.placements.is_empty(), "it is for all: {refusal:?}");
    }

    #[test]
    fn others_hear_the_same() {
        let all = [Outcome::Inbox, Outcome::Refuse, Outcome::Hold, Outcome::Unscanned];
        let said = for_others(verdict(&all), 6.0, None);
        assert_eq!(said.outcomes[0], other::Outcome::Deliver);
        assert!(matches!(&said.outcomes[1], other::Outcome::Refuse(reply) if reply.code == 550));
        assert_eq!(said.outcomes[2], other::Outcome::Hold { why: "It is a program.".to_owned() });
        assert!(matches!(&said.outcomes[3], other::Outcome::Unscanned { .. }));
        assert_eq!((said.reasons[0].name.as_str(), said.refuse_from), ("HELO_OURS", 100.0));
        let fields: Vec<_> =
            said.head.iter().map(|field| (field.name(), field.value(""))).collect();
        assert_eq!(fields, [("A", "b;\tc".to_owned()), ("X-Muralla", "spam".to_owned())]);
    }
}
