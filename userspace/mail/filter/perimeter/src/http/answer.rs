//! Verdicts as rspamd writes them.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::fields::HeaderField;
use crate::policy::{Action, Marks};
use crate::verdict::Verdict;

/// What an action is called.
pub(super) const fn named(action: &Action) -> &'static str {
    match action {
        Action::Pass { place: crate::policy::Place::Inbox, .. } => "no action",
        Action::Pass { .. } => "add header",
        Action::Quarantine { .. } => "quarantine",
        Action::Later(_) => "soft reject",
        Action::Refuse(_) => "reject",
    }
}

/// The verdict as JSON.
pub(super) fn json(verdict: &Verdict, action: &Action, marks: &Marks, took: Duration) -> Value {
    let mut symbols = Map::new();
    for reason in &verdict.reasons {
        symbols.insert(
            reason.name.clone(),
            json!({
                "name": reason.name,
                "score": finite(reason.weight),
                "metric_score": finite(reason.weight),
                "description": reason.words,
                "options": reason.details,
            }),
        );
    }
    let mut messages = Map::new();
    let mut fields: &[HeaderField] = &[];
    match action {
        Action::Later(reply) | Action::Refuse(reply) => {
            let text = match reply.enhanced {
                Some(enhanced) => format!("{enhanced} {}", reply.text),
                None => reply.text.clone(),
            };
            messages.insert("smtp_message".to_owned(), text.into());
        }
        Action::Pass { fields: all, .. } | Action::Quarantine { fields: all, .. } => fields = all,
    }
    json!({
        "is_skipped": verdict.skipped,
        "score": finite(verdict.score),
        "required_score": finite(verdict.refuse_from),
        "action": named(action),
        "thresholds": {
            "reject": finite(verdict.refuse_from),
            "add header": finite(verdict.spam_from),
        },
        "symbols": symbols,
        "messages": messages,
        "urls": verdict.urls,
        "emails": verdict.emails,
        "message-id": verdict.message_id.as_deref().unwrap_or("undef"),
        "time_real": took.as_secs_f64(),
        "milter": milter(fields, marks),
    })
}

/// The verdict in lines: what Exim reads.
pub(super) fn lines(verdict: &Verdict, action: &Action) -> String {
    let (name, score) = (named(action), finite(verdict.score));
    let spam = if name == "no action" { "False" } else { "True" };
    let (spam_from, refuse_from) = (finite(verdict.spam_from), finite(verdict.refuse_from));
    // Writing to a String can't fail.
    let mut out = format!(
        "RSPAMD/1.3 0 EX_OK\r\nMetric: default; {spam}; {score:.2} / {spam_from:.2} / {refuse_from:.2}\r\nAction: {name}\r\n"
    );
    for reason in &verdict.reasons {
        let _ = write!(out, "Symbol: {}({:.2})\r\n", line(&reason.name), finite(reason.weight));
    }
    if let Action::Later(reply) | Action::Refuse(reply) = action {
        let _ = write!(out, "Message: {}\r\n", line(&reply.text));
    }
    let id = verdict.message_id.as_deref().unwrap_or("undef");
    let _ = write!(out, "Message-ID: {}\r\n\r\n", line(id));
    out
}

/// Fields to remove and to write. All of a name are removed: whose results of authentication those are can't be said here, and so
/// they stay.
fn milter(fields: &[HeaderField], marks: &Marks) -> Value {
    let mut remove = Map::new();
    for name in [&marks.flag, &marks.state].into_iter().chain(&marks.ours) {
        remove.insert(name.clone(), 0.into());
    }
    let mut add = Map::new();
    for (order, field) in fields.iter().enumerate() {
        let new = json!({ "value": field.value("\n"), "order": order });
        match add.get_mut(field.name()) {
            None => {
                add.insert(field.name().to_owned(), new);
            }
            Some(Value::Array(all)) => all.push(new),
            Some(one) => *one = json!([one.take(), new]),
        }
    }
    json!({ "add_headers": add, "remove_headers": remove })
}

/// JSON has no other numbers, and those who read lines don't expect any.
fn finite(number: f64) -> f64 {
    if number.is_finite() { number } else { 0.0 }
}

fn line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use muralla_mail_envelope::Reply;

    use super::*;
    use crate::policy::Policy;
    use crate::verdict::{Outcome, Reason};

    fn verdict(outcome: Outcome) -> Verdict {
        Verdict {
            outcomes: vec![outcome],
            score: 5.25,
            spam_from: 5.0,
            refuse_from: 15.0,
            reasons: vec![Reason {
                name: "SPF_FAIL".to_owned(),
                weight: 1.5,
                words: "its sender's domain does not send from there".to_owned(),
                details: vec!["192.0.2.1".to_owned()],
            }],
            head: vec![
                HeaderField::new("X-Muralla", "a;\r\n\tb").unwrap(),
                HeaderField::new("X-Muralla", "c").unwrap(),
            ],
            message_id: Some("1@example.org".to_owned()),
            ..Verdict::default()
        }
    }

    fn written(outcome: Outcome, keeps: bool) -> Value {
        let (verdict, policy) = (verdict(outcome), Policy::default());
        let action = policy.common(&verdict, 1, keeps);
        json(&verdict, &action, &policy.marks, Duration::from_millis(2))
    }

    #[test]
    fn as_json() {
        let all = written(Outcome::Spam, false);
        assert_eq!(all["action"], "add header");
        assert_eq!((&all["score"], &all["required_score"]), (&json!(5.25), &json!(15.0)));
        assert_eq!(all["is_skipped"], false);
        assert_eq!(all["symbols"]["SPF_FAIL"]["score"], 1.5);
        assert_eq!(all["symbols"]["SPF_FAIL"]["options"], json!(["192.0.2.1"]));
        assert_eq!(all["message-id"], "1@example.org");
        assert_eq!(all["messages"], json!({}));
        assert_eq!(all["time_real"], 0.002);
        let add = &all["milter"]["add_headers"];
        assert_eq!(add["X-Spam-Flag"], json!({ "value": "YES", "order": 0 }));
        assert_eq!(
            add["X-Muralla"],
            json!([{ "value": "a;\n\tb", "order": 2 }, { "value": "c", "order": 3 }])
        );
        assert_eq!(all["milter"]["remove_headers"]["X-Spam-Flag"], 0);
    }

    #[test]
    fn by_outcome() {
        let hold = || Outcome::Hold { why: "a program".to_owned() };
        let unscanned = || Outcome::Unscanned { why: "late".to_owned() };
        let refuse = || Outcome::Refuse(Reply::of_text(550, "5.7.1 spam"));
        for (outcome, keeps, action, message) in [
            (Outcome::Deliver, false, "no action", json!(null)),
            (refuse(), false, "reject", json!("5.7.1 spam")),
            (hold(), true, "quarantine", json!(null)),
            (hold(), false, "reject", json!("5.7.1 Refused: a program")),
            (
                unscanned(),
                false,
                "soft reject",
                json!("4.7.1 The message could not be examined now: late"),
            ),
        ] {
            let all = written(outcome, keeps);
            assert_eq!(all["action"], action);
            assert_eq!(all["messages"]["smtp_message"], message);
        }
    }

    #[test]
    fn as_lines() {
        let mut verdict = verdict(Outcome::Refuse(Reply::of_text(550, "5.7.1 spam")));
        verdict.message_id = Some("a\r\nb".to_owned());
        let action = Policy::default().common(&verdict, 1, false);
        assert_eq!(
            lines(&verdict, &action),
            "RSPAMD/1.3 0 EX_OK\r\nMetric: default; True; 5.25 / 5.00 / 15.00\r\nAction: reject\r\nSymbol: SPF_FAIL(1.50)\r\nMessage: spam\r\nMessage-ID: a  b\r\n\r\n"
        );
    }

    #[test]
    fn odd_numbers() {
        let mut verdict = verdict(Outcome::Deliver);
        verdict.score = f64::NAN;
        verdict.refuse_from = f64::INFINITY;
        let policy = Policy::default();
        let action = policy.common(&verdict, 1, false);
        let all = json(&verdict, &action, &policy.marks, Duration::ZERO);
        assert_eq!((&all["score"], &all["required_score"]), (&json!(0.0), &json!(0.0)));
        assert!(lines(&verdict, &action).contains("False; 0.00 / 5.00 / 0.00\r\n"));
    }
}
