//! Replies as they come: RFC 5321 section 4.2. Servers may be as hostile as clients, and so a reply ends.

use bytes::{Buf, BytesMut};
use memchr::memchr;
use muralla_mail_envelope::{EnhancedCode, Reply};

/// Longest line in octets. RFC 5321 section 4.5.3.1.5 has 512.
const LONGEST_LINE: usize = 4096;

/// Most lines of a reply. EHLO's have some twenty.
const MOST_LINES: usize = 128;

/// Most octets of a reply.
const MOST_OCTETS: usize = 32 << 10;

/// A reply with its lines.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// The code: 200 to 599.
    pub code: u16,
    /// What stands behind it, line by line.
    pub lines: Vec<String>,
}

/// Reads replies, in whatever pieces they come.
#[derive(Debug, Default)]
pub struct Answers {
    code: u16,
    lines: Vec<String>,
    octets: usize,
}

/// Bytes that are no reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// Not a code and text.
    #[error("a reply begins with three digits")]
    Code,
    /// Other codes in other lines.
    #[error("the lines of a reply have one code")]
    Mixed,
    /// No end.
    #[error("a reply is endless")]
    Endless,
}

impl Answers {
    /// Takes a reply, if all of it came.
    ///
    /// # Errors
    ///
    /// If what came is none. Nothing more can be read then.
    pub fn take(&mut self, input: &mut BytesMut) -> Result<Option<Answer>, Malformed> {
        loop {
            let Some(end) = memchr(b'\n', input) else {
                return if input.len() > LONGEST_LINE { Err(Malformed::Endless) } else { Ok(None) };
            };
            let line = input.get(..end).unwrap_or_default();
            self.octets = self.octets.saturating_add(line.len());
            if line.len() > LONGEST_LINE
                || self.octets > MOST_OCTETS
                || self.lines.len() >= MOST_LINES
            {
                return Err(Malformed::Endless);
            }
            let (code, last, text) = read(line).ok_or(Malformed::Code)?;
            if !self.lines.is_empty() && code != self.code {
                return Err(Malformed::Mixed);
            }
            self.code = code;
            self.lines.push(text);
            input.advance(end + 1);
            if last {
                self.octets = 0;
                let lines = std::mem::take(&mut self.lines);
                return Ok(Some(Answer { code, lines }));
            }
        }
    }
}

/// Code, whether it is the last line, text.
fn read(line: &[u8]) -> Option<(u16, bool, String)> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (code, rest) = line.split_first_chunk::<3>()?;
    if !matches!(code, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']) {
        return None;
    }
    let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let (last, text) = match rest {
        [] => (true, rest),
        [b' ', text @ ..] => (true, text),
        [b'-', text @ ..] => (false, text),
        _ => return None,
    };
    Some((code, last, String::from_utf8_lossy(text).into_owned()))
}

impl Answer {
    /// The reply in one line.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let enhanced = self.lines.first().and_then(|line| {
            EnhancedCode::split(line)
                .map(|(code, _)| code)
                .filter(|code| u16::from(code.class) == self.code / 100)
        });
        let mut text = String::new();
        for line in &self.lines {
            // Each line has it: RFC 2034 section 4.
            let line = match EnhancedCode::split(line) {
                Some((code, rest)) if Some(code) == enhanced => rest,
                _ => line,
            };
            if !text.is_empty() && !line.is_empty() {
                text.push(' ');
            }
            text.push_str(line);
        }
        Reply::new(self.code, enhanced, &text)
    }

    /// Whether it says yes: 2xx.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        matches!(self.code, 200..=299)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(wire: &[u8]) -> Result<Vec<Answer>, Malformed> {
        let mut input = BytesMut::from(wire);
        let mut answers = Answers::default();
        let mut all = Vec::new();
        while let Some(answer) = answers.take(&mut input)? {
            all.push(answer);
        }
        Ok(all)
    }

    #[test]
    fn replies() {
        for (wire, expected) in [
            ("220 mx.example.org ESMTP\r\n", &["220 mx.example.org ESMTP"][..]),
            ("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n", &["250 2.1.0 Ok", "250 2.1.5 Ok"]),
            ("250\r\n", &["250"]),
            ("250 \n", &["250"]),
            (
                "550-5.1.1 No such\r\n550-5.1.1 user\r\n550 5.1.1 here\r\n",
                &["550 5.1.1 No such user here"],
            ),
            ("550-5.1.1 No such\r\n550 5.1.2 user\r\n", &["550 5.1.1 No such 5.1.2 user"]),
            ("450-a\r\n450-\r\n450 b\r\n", &["450 a b"]),
            ("450 5.1.1 a\r\n", &["450 5.1.1 a"]),
            ("550 5.1.1 a\rb\r\n55", &["550 5.1.1 a b"]),
            ("554 \u{e9}\r\n", &["554 \u{e9}"]),
            ("250-a\r\n", &[]),
        ] {
            let got: Vec<String> =
                all(wire.as_bytes()).unwrap().iter().map(|it| it.reply().to_string()).collect();
            assert_eq!(got, expected, "{wire:?}");
        }
    }

    #[test]
    fn no_replies() {
        for (wire, error) in [
            ("hello\r\n".to_owned(), Malformed::Code),
            ("\r\n".to_owned(), Malformed::Code),
            ("25\r\n".to_owned(), Malformed::Code),
            ("2500 ok\r\n".to_owned(), Malformed::Code),
            ("150 ok\r\n".to_owned(), Malformed::Code),
            ("600 ok\r\n".to_owned(), Malformed::Code),
            ("250_ok\r\n".to_owned(), Malformed::Code),
            ("250-a\r\n251 b\r\n".to_owned(), Malformed::Mixed),
            ("250-a\r\n".repeat(MOST_LINES + 1), Malformed::Endless),
            (format!("250-{}\r\n", "a".repeat(1000)).repeat(40), Malformed::Endless),
            ("250 ".to_owned() + &"a".repeat(LONGEST_LINE), Malformed::Endless),
            ("250 ".to_owned() + &"a".repeat(LONGEST_LINE) + "\r\n", Malformed::Endless),
        ] {
            assert_eq!(all(wire.as_bytes()), Err(error), "{:?}", wire.get(..20));
        }
    }
}
