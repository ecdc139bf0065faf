//! What a POP3 server says: a line, or a line and many more that end with a dot (RFC 1939 section 3).

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use crate::error::{RemoteError, shown};

/// Longest first line, in bytes. The standard has 512, and some servers say more.
const LONGEST: usize = 4096;

/// Bytes of the last line before its end.
const DOT: usize = 2;

/// A first line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Reply {
    /// `+OK`
    Ok,
    /// `-ERR`
    Err {
        /// What the server says of it.
        text: String,
        /// Whether it may be otherwise in a moment (RFC 2449 section 8.1, RFC 3206).
        may_pass: bool,
    },
    /// `+`: more is to be said.
    Go,
}

impl Reply {
    /// Takes one off the front, if it is there as a whole.
    pub(crate) fn take(input: &mut BytesMut) -> Result<Option<Self>, RemoteError> {
        let Some(end) = memchr(b'\n', input) else {
            return if input.len() > LONGEST {
                Err(RemoteError::TooMuch("a line without an end"))
            } else {
                Ok(None)
            };
        };
        if end > LONGEST {
            return Err(RemoteError::TooMuch("a line that is too long"));
        }
        let line = input.split_to(end + 1);
        let line = line.trim_ascii();
        let (word, rest) = match memchr(b' ', line) {
            Some(at) => line.split_at_checked(at).unwrap_or((line, &[])),
            None => (line, &[][..]),
        };
        match word {
            b"+" => Ok(Some(Self::Go)),
            _ if word.eq_ignore_ascii_case(b"+OK") => Ok(Some(Self::Ok)),
            _ if word.eq_ignore_ascii_case(b"-ERR") => {
                let text = shown(rest);
                let code = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
                let code = code.map(|(code, _)| code.to_ascii_uppercase()).unwrap_or_default();
                let may_pass = ["IN-USE", "LOGIN-DELAY", "SYS/TEMP"].contains(&code.as_str());
                Ok(Some(Self::Err { text, may_pass }))
            }
            _ => Err(RemoteError::Malformed("what it says begins with neither +OK nor -ERR")),
        }
    }
}

/// Lines behind a first line, until they end.
#[derive(Debug)]
pub(crate) struct Lines {
    most: usize,
    /// Bytes of the line that has no end yet.
    seen: usize,
    taken: BytesMut,
}

impl Lines {
    /// At most so many bytes of them.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, seen: 0, taken: BytesMut::new() }
    }

    /// Takes what is there; returns the lines, dots undone, when all are.
    pub(crate) fn take(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, RemoteError> {
        loop {
            let found = memchr(b'\n', input.get(self.seen..).unwrap_or_default());
            let Some(at) = found else {
                self.seen = input.len();
                // What has come may be the beginning of the end.
                return if self.taken.len() + self.seen > self.most.saturating_add(DOT) {
                    Err(RemoteError::TooMuch("a message without an end"))
                } else {
                    Ok(None)
                };
            };
            let line = input.split_to(self.seen + at + 1);
            self.seen = 0;
            if matches!(&*line, b".\r\n" | b".\n") {
                return Ok(Some(std::mem::take(&mut self.taken).freeze()));
            }
            let line = line.strip_prefix(b".").unwrap_or(&line);
            if self.taken.len() + line.len() > self.most {
                return Err(RemoteError::TooMuch("a message that is too long"));
            }
            self.taken.extend_from_slice(line);
        }
    }
}

/// Reads lines of a number and something, as `LIST` and `UIDL` have them.
pub(crate) fn numbered(lines: &[u8], most: usize) -> Result<Vec<(u32, String)>, RemoteError> {
    let mut found = Vec::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let wrong =
            || RemoteError::Malformed("a line of a list has no number and what belongs to it");
        let text = std::str::from_utf8(line).map_err(|_| wrong())?;
        let (number, rest) = text.split_once(' ').ok_or_else(wrong)?;
        let number = number.parse().map_err(|_| wrong())?;
        // There may be more behind it.
        let word = rest.split_ascii_whitespace().next().ok_or_else(wrong)?;
        if found.len() >= most {
            return Err(RemoteError::TooMuch("messages"));
        }
        found.push((number, word.to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn first_lines() {
        let err = |text: &str, may_pass| Reply::Err { text: text.to_owned(), may_pass };
        for (line, reply) in [
            ("+OK\r\n", Reply::Ok),
            ("+OK 2 messages\r\n", Reply::Ok),
            ("+ok\n", Reply::Ok),
            ("+ \r\n", Reply::Go),
            ("+\r\n", Reply::Go),
            ("+ c29tZQ==\r\n", Reply::Go),
            ("-ERR\r\n", err("", false)),
            ("-ERR no such message\r\n", err("no such message", false)),
            ("-ERR [in-use] locked\r\n", err("[in-use] locked", true)),
            ("-ERR [SYS/TEMP] later\r\n", err("[SYS/TEMP] later", true)),
            ("-ERR [AUTH] wrong\r\n", err("[AUTH] wrong", false)),
        ] {
            let mut input = BytesMut::from(line);
            assert_eq!(Reply::take(&mut input).unwrap(), Some(reply), "{line:?}");
            assert!(input.is_empty());
        }
        assert_eq!(Reply::take(&mut BytesMut::from("+OK")).unwrap(), None);
        for line in ["* OK IMAP\r\n", "\r\n", "+OKAY\r\n", "220 smtp\r\n"] {
            let error = Reply::take(&mut BytesMut::from(line)).unwrap_err();
            assert!(matches!(error, RemoteError::Malformed(_)), "{line:?}");
        }
        for line in ["a".repeat(LONGEST + 1), format!("+OK {}\r\n", "a".repeat(LONGEST))] {
            let error = Reply::take(&mut BytesMut::from(line.as_str())).unwrap_err();
            assert!(matches!(error, RemoteError::TooMuch(_)));
        }
    }

    #[test]
    fn many_lines() {
        for (input, lines, left) in [
            (".\r\n", Some(""), ""),
            ("a\r\n.\r\n+OK", Some("a\r\n"), "+OK"),
            ("..\r\n...b\r\n.\n", Some(".\r\n..b\r\n"), ""),
            ("a\r\n..", None, ".."),
            ("\r\n\r\n.\r\n", Some("\r\n\r\n"), ""),
        ] {
            let mut bytes = BytesMut::from(input);
            let found = Lines::new(100).take(&mut bytes).unwrap();
            assert_eq!(found.as_deref(), lines.map(str::as_bytes), "{input:?}");
            assert_eq!(&*bytes, left.as_bytes(), "{input:?}");
        }
        for input in ["aaaaaaaaa", "aaa\r\naaa\r\n"] {
            let error = Lines::new(6).take(&mut BytesMut::from(input)).unwrap_err();
            assert!(matches!(error, RemoteError::TooMuch(_)), "{input}");
        }
    }

    #[test]
    fn lists() {
        let read = |text: &str| numbered(text.as_bytes(), 3);
        let one = |number: u32, word: &str| (number, word.to_owned());
        assert!(read("").unwrap().is_empty());
        assert_eq!(read("1 120\r\n2 200 extra\r\n").unwrap(), [one(1, "120"), one(2, "200")]);
        for wrong in ["1\r\n", "a b\r\n", "1 \r\n", "-1 5\r\n"] {
            assert!(matches!(read(wrong), Err(RemoteError::Malformed(_))), "{wrong:?}");
        }
        assert!(matches!(read("1 a\n2 a\n3 a\n4 a\n"), Err(RemoteError::TooMuch(_))));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(message in "([.a\\r]{0,4}\\r\\n){0,8}", cut in 1_usize..5) {
            let stuffed: String = message
                .split_inclusive('\n')
                .map(|line| if line.starts_with('.') { format!(".{line}") } else { line.to_owned() })
                .chain([".\r\n".to_owned()])
                .collect();
            let (mut lines, mut input, mut found) = (Lines::new(1000), BytesMut::new(), None);
            for piece in stuffed.as_bytes().chunks(cut) {
                input.extend_from_slice(piece);
                if let Some(all) = lines.take(&mut input).unwrap() {
                    found = Some(all);
                }
            }
            prop_assert_eq!(found.unwrap(), message.into_bytes());
        }

        #[test]
        fn nothing_panics(input in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reply::take(&mut BytesMut::from(input.as_slice()));
            let _ = Lines::new(50).take(&mut BytesMut::from(input.as_slice()));
            let _ = numbered(&input, 10);
        }
    }
}
