//! What a server says: code, enhanced code, text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An enhanced status code (RFC 3463): `5.1.1`.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnhancedCode {
    /// 2 for success, 4 for what may pass, 5 for what will not.
    pub class: u8,
    /// What it is about: 1 addresses, 2 mailboxes, 3 the server, 4 the network, 5 the protocol, 6 the content, 7 policy.
    pub subject: u16,
    /// What exactly.
    pub detail: u16,
}

/// A server's reply, its lines joined by a space. Of a foreign one, the text is as hostile as it likes: it was cut, and
/// controls were replaced.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
pub struct Reply {
    /// The code, 200 to 599.
    pub code: u16,
    /// The enhanced code, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enhanced: Option<EnhancedCode>,
    /// The text, without either code.
    pub text: String,
}

/// Longest text that is kept of a reply, in octets: RFC 5321 section 4.5.3.1.5 has lines of 512, and few need more than two.
pub const LONGEST_TEXT: usize = 1024;

impl EnhancedCode {
    /// A code of its three numbers.
    #[must_use]
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Takes a code from the beginning of text, and gives what is behind it and its space.
    #[must_use]
    pub fn split(text: &str) -> Option<(Self, &str)> {
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        Some((code.parse().ok()?, rest.trim_start_matches(' ')))
    }
}

impl Reply {
    /// A reply, its text made fit to be kept, logged and put into a report.
    #[must_use]
    pub fn new(code: u16, enhanced: Option<EnhancedCode>, text: &str) -> Self {
        let mut kept = String::with_capacity(text.len().min(LONGEST_TEXT));
        for char in text.chars() {
            if kept.len() + char.len_utf8() > LONGEST_TEXT {
                break;
            }
            let control = char.is_control() || matches!(char, '\u{2028}' | '\u{2029}');
            kept.push(if control { ' ' } else { char });
        }
        Self { code, enhanced, text: kept }
    }

    /// Of a reply's lines, without codes and hyphens before them: `enhanced` is taken from the first.
    #[must_use]
    pub fn of_text(code: u16, text: &str) -> Self {
        match EnhancedCode::split(text) {
            // A class that differs from the code's is somebody's text, not an enhanced code: RFC 2034 section 4.
            Some((enhanced, rest)) if u16::from(enhanced.class) == code / 100 => {
                Self::new(code, Some(enhanced), rest)
            }
            _ => Self::new(code, None, text),
        }
    }

    /// Whether it says yes.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        matches!(self.code, 200..=399)
    }

    /// Whether it may be otherwise later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self.code, 400..=499)
    }

    /// Whether trying again is no use.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        matches!(self.code, 500..=599)
    }

    /// The status to report: its enhanced code, or the best that its code allows.
    #[must_use]
    pub fn status(&self) -> EnhancedCode {
        self.enhanced.unwrap_or_else(|| {
            let class = match self.code / 100 {
                2 | 3 => 2,
                4 => 4,
                _ => 5,
            };
            EnhancedCode::new(class, 0, 0)
        })
    }
}

impl FromStr for EnhancedCode {
    type Err = NotACode;

    /// RFC 2034 section 4: one digit, and two numbers of up to three digits.
    fn from_str(text: &str) -> Result<Self, NotACode> {
        let mut parts = text.split('.');
        let (Some(class), Some(subject), Some(detail), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotACode);
        };
        let class = match class {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return Err(NotACode),
        };
        Ok(Self { class, subject: number(subject)?, detail: number(detail)? })
    }
}

/// Text that is no enhanced code.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an enhanced status code is written as 5.1.1, and begins with 2, 4 or 5")]
pub struct NotACode;

fn number(text: &str) -> Result<u16, NotACode> {
    if text.is_empty() || text.len() > 3 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotACode);
    }
    text.parse().map_err(|_| NotACode)
}

impl TryFrom<String> for EnhancedCode {
    type Error = NotACode;

    fn try_from(text: String) -> Result<Self, NotACode> {
        text.parse()
    }
}

impl From<EnhancedCode> for String {
    fn from(code: EnhancedCode) -> Self {
        code.to_string()
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl fmt::Debug for EnhancedCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// In one line: `550 5.1.1 No such user`.
impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(out, " {enhanced}")?;
        }
        if self.text.is_empty() { Ok(()) } else { write!(out, " {}", self.text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes() {
        for (text, code) in [
            ("2.0.0", EnhancedCode::new(2, 0, 0)),
            ("5.1.1", EnhancedCode::new(5, 1, 1)),
            ("4.7.999", EnhancedCode::new(4, 7, 999)),
        ] {
            assert_eq!(text.parse(), Ok(code));
            assert_eq!(code.to_string(), text);
        }
        for text in [
            "", "5", "5.1", "5.1.1.1", "3.0.0", "5..1", "5.1.", "5.1.1000", "5.1.x", "5.+1.1",
            " 5.1.1", "05.1.1",
        ] {
            assert_eq!(text.parse::<EnhancedCode>(), Err(NotACode), "{text:?}");
        }
    }

    #[test]
    fn of_text() {
        let told = Reply::of_text(550, "5.1.1 No such user");
        assert_eq!(
            (told.enhanced, &*told.text),
            (Some(EnhancedCode::new(5, 1, 1)), "No such user")
        );
        assert_eq!(told.to_string(), "550 5.1.1 No such user");
        assert_eq!(told.status(), EnhancedCode::new(5, 1, 1));

        // Of another class, it is text.
        let told = Reply::of_text(450, "5.1.1 is not what it was");
        assert_eq!((told.enhanced, &*told.text), (None, "5.1.1 is not what it was"));
        assert_eq!(told.status(), EnhancedCode::new(4, 0, 0));

        assert_eq!(Reply::of_text(250, "2.0.0").to_string(), "250 2.0.0");
        assert_eq!(Reply::of_text(250, "").to_string(), "250");
    }

    #[test]
    fn hostile_text() {
        let told = Reply::new(550, None, "one\r\ntwo\u{2028}three\x00\u{85}");
        assert_eq!(told.text, "one  two three  ");
        let long = Reply::new(550, None, &"\u{e9}".repeat(LONGEST_TEXT));
        assert_eq!(long.text.len(), LONGEST_TEXT);
        let odd = Reply::new(550, None, &format!("x{}", "\u{e9}".repeat(LONGEST_TEXT)));
        assert_eq!(odd.text.len(), LONGEST_TEXT - 1);
    }

    #[test]
    fn kinds() {
        for (code, positive, temporary, permanent) in [
            (250, true, false, false),
            (354, true, false, false),
            (451, false, true, false),
            (554, false, false, true),
            (999, false, false, false),
        ] {
            let reply = Reply::new(code, None, "");
            assert_eq!(
                (reply.is_positive(), reply.is_temporary(), reply.is_permanent()),
                (positive, temporary, permanent)
            );
        }
    }
}
