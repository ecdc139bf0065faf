//! From a verdict to what is done with a message: the one place where the two meet, for all ways.
//!
//! | outcome | done |
//! |---|---|
//! | deliver | passed on |
//! | spam | passed on, with a field that the store files it by |
//! | refuse | refused while the sender is connected, in the verdict's words |
//! | hold | by [`OnHold`]: held by the system that asks, refused, put off, or passed on marked |
//! | unscanned | by [`OnUnscanned`]: put off, held, or passed on marked |

use muralla_mail_envelope::{Domain, EnhancedCode, Reply};

use crate::fields::HeaderField;
use crate::verdict::{Outcome, Verdict};

/// What the operator wants done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// With what is dangerous.
    pub hold: OnHold,
    /// With what could not be looked at.
    pub unscanned: OnUnscanned,
    /// What stands behind a refusal of ours for the person who reads it: whom to ask, or where.
    pub way_out: String,
    /// Header fields.
    pub marks: Marks,
}

/// What is done with a message that has something dangerous in it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum OnHold {
    /// Whoever asks keeps it until an operator has looked at it. Where his protocol has no word for that, it is refused.
    #[default]
    Quarantine,
    /// It is refused.
    Refuse,
    /// It is put off; its sender sends it again.
    Later,
    /// It is passed on with a field that says so. For systems that look at that field.
    Mark,
}

/// What is done with a message that could not be looked at.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum OnUnscanned {
    /// It is put off; its sender sends it again.
    #[default]
    Later,
    /// Whoever asks keeps it. Where his protocol has no word for that, it is put off.
    Quarantine,
    /// It is passed on with a field that says so.
    Mark,
}

/// Header fields of ours. Those that a message has already are forged, and removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Marks {
    /// What says YES on spam.
    pub flag: String,
    /// What says why a message is not simply delivered: `spam`, `hold`, `unscanned`.
    pub state: String,
    /// Others that a message may not bring.
    pub ours: Vec<String>,
    /// Whose `Authentication-Results` are ours (RFC 8601 section 5), if we write them.
    pub authserv: Option<Domain>,
}

/// What is done with a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// It is passed on.
    Pass {
        /// As what.
        place: Place,
        /// Fields that are written above it.
        fields: Vec<HeaderField>,
    },
    /// It is kept by whoever asks.
    Quarantine {
        /// For this reason.
        why: String,
        /// Fields that are written above it.
        fields: Vec<HeaderField>,
    },
    /// It is put off.
    Later(Reply),
    /// It is refused.
    Refuse(Reply),
}

/// As what a message is passed on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Place {
    /// As any other.
    Inbox,
    /// As spam.
    Spam,
    /// As dangerous.
    Hold,
    /// As not looked at.
    Unscanned,
}

/// Longest explanation that is written into a header field or a reply, in octets.
const LONGEST_WHY: usize = 300;

impl Default for Policy {
    fn default() -> Self {
        Self {
            hold: OnHold::default(),
            unscanned: OnUnscanned::default(),
            way_out: String::new(),
            marks: Marks::default(),
        }
    }
}

impl Default for Marks {
    fn default() -> Self {
        let ours = ["X-Muralla", "X-Spam", "X-Spam-Level", "X-Spam-Score", "X-Spam-Status"];
        Self {
            flag: "X-Spam-Flag".to_owned(),
            state: "X-Muralla-State".to_owned(),
            ours: ours.map(ToOwned::to_owned).to_vec(),
            authserv: None,
        }
    }
}

impl Policy {
    /// What is done where all recipients have to have the same. `keeps` is whether whoever asks can keep a message.
    #[must_use]
    pub fn common(&self, verdict: &Verdict, recipients: usize, keeps: bool) -> Action {
        self.action(&verdict.common(recipients), &verdict.head, keeps)
    }

    /// What is done for each recipient.
    #[must_use]
    pub fn each(&self, verdict: &Verdict, recipients: usize, keeps: bool) -> Vec<Action> {
        let action = |one| self.action(&verdict.outcome(one), &verdict.head, keeps);
        (0..recipients).map(action).collect()
    }

    fn action(&self, outcome: &Outcome, head: &[HeaderField], keeps: bool) -> Action {
        let pass = |place, why: &str| Action::Pass { place, fields: self.fields(place, why, head) };
        let keep = |place, why: &str| Action::Quarantine {
            why: cut(why).to_owned(),
            fields: self.fields(place, why, head),
        };
        match outcome {
            Outcome::Deliver => pass(Place::Inbox, ""),
            Outcome::Spam => pass(Place::Spam, ""),
            Outcome::Refuse(reply) if reply.is_permanent() => Action::Refuse(reply.clone()),
            // Whoever judges wants it refused, and has mistaken the code.
            Outcome::Refuse(reply) => Action::Refuse(self.refusal(&reply.text)),
            Outcome::Hold { why } => match self.hold {
                OnHold::Quarantine if keeps => keep(Place::Hold, why),
                OnHold::Quarantine | OnHold::Refuse => Action::Refuse(self.refusal(why)),
                OnHold::Later => Action::Later(put_off(why)),
                OnHold::Mark => pass(Place::Hold, why),
            },
            Outcome::Unscanned { why } => match self.unscanned {
                OnUnscanned::Quarantine if keeps => keep(Place::Unscanned, why),
                OnUnscanned::Later | OnUnscanned::Quarantine => {
                    let text = format!("The message could not be examined now: {}", cut(why));
                    Action::Later(put_off(&text))
                }
                OnUnscanned::Mark => pass(Place::Unscanned, why),
            },
        }
    }

    /// RFC 3463 section 3.8: delivery not authorized, message refused.
    fn refusal(&self, why: &str) -> Reply {
        let text = match &*self.way_out {
            "" => format!("Refused: {}", cut(why)),
            way_out => format!("Refused: {}. {way_out}", cut(why)),
        };
        Reply::new(550, Some(EnhancedCode::new(5, 7, 1)), &text)
    }

    fn fields(&self, place: Place, why: &str, head: &[HeaderField]) -> Vec<HeaderField> {
        let Marks { flag, state, .. } = &self.marks;
        let why = cut(why);
        let mut fields = Vec::with_capacity(head.len() + 2);
        let mut mark = |name: &str, value: &str| {
            // A name that can't be one marks nothing; the configuration is checked where it is read.
            fields.extend(HeaderField::new(name, value));
        };
        match place {
            Place::Inbox => {}
            Place::Spam => {
                mark(flag, "YES");
                mark(state, "spam");
            }
            Place::Hold => mark(state, &format!("hold; {why}")),
            Place::Unscanned => mark(state, &format!("unscanned; {why}")),
        }
        fields.extend_from_slice(head);
        fields
    }
}

impl Marks {
    /// Whether a field that a message brings pretends to be ours.
    #[must_use]
    pub fn is_forged(&self, name: &[u8], value: &[u8]) -> bool {
        let named = |ours: &str| name.eq_ignore_ascii_case(ours.as_bytes());
        if named(&self.flag) || named(&self.state) || self.ours.iter().any(|ours| named(ours)) {
            return true;
        }
        let Some(authserv) = &self.authserv else { return false };
        named("Authentication-Results")
            && authserv_id(value).eq_ignore_ascii_case(authserv.as_str().as_bytes())
    }
}

impl Action {
    /// Whether it can only be done by somebody who writes header fields.
    #[must_use]
    pub const fn needs_fields(&self) -> bool {
        match self {
            Self::Pass { fields, .. } | Self::Quarantine { fields, .. } => !fields.is_empty(),
            Self::Later(_) | Self::Refuse(_) => false,
        }
    }
}

fn put_off(text: &str) -> Reply {
    Reply::new(451, Some(EnhancedCode::new(4, 7, 1)), cut(text))
}

fn cut(text: &str) -> &str {
    let mut end = LONGEST_WHY.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().trim_end_matches('.')
}

/// RFC 8601 section 2.2: comments, then the name, which may stand in quotes.
fn authserv_id(value: &[u8]) -> &[u8] {
    let mut rest = value.trim_ascii_start();
    while rest.first() == Some(&b'(') {
        let mut depth = 0_usize;
        let end = rest.iter().position(|byte| {
            match byte {
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0
        });
        rest = end.and_then(|end| rest.get(end + 1..)).unwrap_or_default().trim_ascii_start();
    }
    let quoted = rest.strip_prefix(b"\"");
    let rest = quoted.unwrap_or(rest);
    let ends = |byte: &u8| match quoted {
        Some(_) => *byte == b'"',
        None => byte.is_ascii_whitespace() || matches!(byte, b';' | b'(' | b'/'),
    };
    let end = rest.iter().position(ends).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(outcome: Outcome) -> Verdict {
        let head = vec![HeaderField::new("X-Muralla", "score=1").unwrap()];
        Verdict { outcomes: vec![outcome], head, ..Verdict::default() }
    }

    /// What is done, in words.
    fn done(policy: &Policy, outcome: Outcome, keeps: bool) -> String {
        let fields = |fields: &[HeaderField]| {
            let one = |field: &HeaderField| format!("{}={}", field.name(), field.value(""));
            fields.iter().map(one).collect::<Vec<_>>().join(",")
        };
        match policy.common(&verdict(outcome), 1, keeps) {
            Action::Pass { place, fields: all } => format!("{place:?} {}", fields(&all)),
            Action::Quarantine { why, fields: all } => format!("keep {why} {}", fields(&all)),
            Action::Later(reply) | Action::Refuse(reply) => reply.to_string(),
        }
    }

    #[test]
    fn by_outcome() {
        let plain = Policy::default();
        let refuse = |code, text: &str| Outcome::Refuse(Reply::new(code, None, text));
        let hold = || Outcome::Hold { why: "a program inside".to_owned() };
        let unscanned = || Outcome::Unscanned { why: "clamd is down".to_owned() };
        let with = |on_hold, on_unscanned| Policy {
            hold: on_hold,
            unscanned: on_unscanned,
            way_out: "Ask postmaster@example.net".to_owned(),
            ..Policy::default()
        };
        let refusing = with(OnHold::Refuse, OnUnscanned::Later);
        let marking = with(OnHold::Mark, OnUnscanned::Mark);
        let later = with(OnHold::Later, OnUnscanned::Quarantine);
        for (policy, outcome, keeps, expected) in [
            (&plain, Outcome::Deliver, true, "Inbox X-Muralla=score=1"),
            (
                &plain,
                Outcome::Spam,
                true,
                "Spam X-Spam-Flag=YES,X-Muralla-State=spam,X-Muralla=score=1",
            ),
            (&plain, refuse(554, "5.7.1 spam"), true, "554 5.7.1 spam"),
            (&plain, refuse(250, "spam"), true, "550 5.7.1 Refused: spam"),
            (
                &plain,
                hold(),
                true,
                "keep a program inside X-Muralla-State=hold; a program inside,X-Muralla=score=1",
            ),
            (&plain, hold(), false, "550 5.7.1 Refused: a program inside"),
            (
                &refusing,
                hold(),
                true,
                "550 5.7.1 Refused: a program inside. Ask postmaster@example.net",
            ),
            (
                &marking,
                hold(),
                true,
                "Hold X-Muralla-State=hold; a program inside,X-Muralla=score=1",
            ),
            (&later, hold(), true, "451 4.7.1 a program inside"),
            (
                &plain,
                unscanned(),
                true,
                "451 4.7.1 The message could not be examined now: clamd is down",
            ),
            (
                &later,
                unscanned(),
                true,
                "keep clamd is down X-Muralla-State=unscanned; clamd is down,X-Muralla=score=1",
            ),
            (
                &later,
                unscanned(),
                false,
                "451 4.7.1 The message could not be examined now: clamd is down",
            ),
            (
                &marking,
                unscanned(),
                false,
                "Unscanned X-Muralla-State=unscanned; clamd is down,X-Muralla=score=1",
            ),
        ] {
            assert_eq!(done(policy, outcome, keeps), expected);
        }
    }

    #[test]
    fn forged() {
        let marks =
            Marks { authserv: Some(Domain::parse("mx.example.net").unwrap()), ..Marks::default() };
        for (name, value, expected) in [
            ("x-spam-flag", "NO", true),
            ("X-Muralla", "", true),
            ("X-Muralla-State", "", true),
            ("X-Mailer", "", false),
            ("Authentication-Results", " MX.example.net; spf=pass", true),
            ("Authentication-Results", "(a (b)) mx.example.net 1; spf=pass", true),
            ("Authentication-Results", "\"mx.example.net\"; spf=pass", true),
            ("Authentication-Results", "mx.example.net", true),
            ("Authentication-Results", "other.example; spf=pass", false),
            ("Authentication-Results", "((", false),
            ("Authentication-Results", "", false),
        ] {
            assert_eq!(
                marks.is_forged(name.as_bytes(), value.as_bytes()),
                expected,
                "{name}: {value}"
            );
        }
        let others = Marks::default();
        assert!(!others.is_forged(b"Authentication-Results", b"mx.example.net"));
    }

    #[test]
    fn long_reasons_are_cut() {
        let outcome = Outcome::Hold { why: "\u{e9}".repeat(5000) };
        let Action::Refuse(reply) = Policy::default().common(&verdict(outcome), 1, false) else {
            panic!("held")
        };
        assert!(reply.text.len() <= LONGEST_WHY + 20);
    }
}
