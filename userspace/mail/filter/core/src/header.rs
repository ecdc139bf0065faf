//! The verdict in the message itself: `X-Muralla`, in words that a user can read.

use crate::opinion::Opinion;
use crate::outcome::Outcome;

/// The name of the field.
pub const NAME: &str = "X-Muralla";

/// Reasons that are told.
const MOST_REASONS: usize = 8;

/// What a finding must be worth to be told, in log-odds.
const WORTH_TELLING: f32 = 0.3;

/// Where lines are folded, in characters (RFC 5322 section 2.1.1).
const LINE: usize = 78;

/// The field, ended by CRLF: verdict, log-odds, and what speaks most for it and against it. It is ASCII, whatever was found.
#[must_use]
pub fn field(outcome: Outcome, opinion: &Opinion) -> String {
    let mut out = format!(
        "{NAME}: {}; score={:.1}; content={:.1}",
        outcome.name(),
        opinion.log_odds + opinion.personal,
        opinion.content + opinion.personal,
    );
    let told = opinion.reasons.iter().filter(|(_, worth)| worth.abs() >= WORTH_TELLING);
    for (reason, worth) in told.take(MOST_REASONS) {
        out.push_str(";\r\n\t");
        let mut column = 8;
        let sentence = format!("{} ({worth:+.1}): {}", reason.name, reason.words);
        for word in ascii(&sentence).split(' ').filter(|word| !word.is_empty()) {
            let first = column == 8;
            if !first && column + 1 + word.len() > LINE {
                out.push_str("\r\n\t");
                column = 8;
            } else if !first {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += word.len();
        }
    }
    out.push_str("\r\n");
    out
}

/// Anything as it can stand in a line of a header.
fn ascii(text: &str) -> String {
    let shown = |char: char| match char {
        ' '..='~' if char != ';' => char,
        ';' => ',',
        char if char.is_whitespace() => ' ',
        _ => '?',
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::{Reason, Stage};

    #[test]
    fn it_is_one_field_of_short_lines() {
        let reason = |name: &'static str, words: &str| Reason {
            stage: Stage::Origin,
            name: name.into(),
            weight: 5.0,
            words: words.to_owned(),
        };
        let opinion = Opinion {
            log_odds: 7.25,
            content: 4.0,
            personal: -1.0,
            reasons: vec![
                (
                    reason(
                        "listed",
                        "The computer that sent the message is on a list of those that send spam: bl.example.",
                    ),
                    1.8,
                ),
                (
                    reason("false-link", "A link leads to \u{430}pple.com\r\nSubject: forged; x."),
                    1.5,
                ),
                (reason("no-subject", "The message has no subject."), 0.0),
            ],
        };
        let field = field(Outcome::Spam, &opinion);
        assert!(
            field.starts_with("X-Muralla: spam; score=6.2; content=3.0;\r\n\tlisted (+1.8): The"),
            "{field}"
        );
        let mut lines = field.split_inclusive("\r\n");
        assert!(lines.next().is_some());
        for line in lines {
            assert!(line.starts_with('\t') && line.ends_with("\r\n"), "{line:?}");
            assert!(line.is_ascii() && line.len() < 90, "{line:?}");
            assert!(!line.trim().is_empty() && !line.trim_end().contains(['\r', '\n']), "{line:?}");
        }
        assert!(field.contains("?pple.com Subject: forged, x."), "{field}");
        assert!(!field.contains("no-subject"), "{field}");
    }
}
