//! Where an answer ends: behind a line that announces no literal (RFC 3501 section 4.3).

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memrchr};

use crate::error::RemoteError;

/// Bytes of an answer's lines, its literals aside. A list of all flags has some thousands.
const LINES: usize = 256 << 10;

/// Finds answers in what comes.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Bytes of an answer's literals.
    most: usize,
    /// Where the line begins that is looked at; beyond the input, as long as a literal before it isn't there.
    line: usize,
    /// Bytes of that line in which there is no end.
    seen: usize,
    lines: usize,
    literals: usize,
}

impl Frames {
    /// With literals of at most so many bytes in an answer.
    pub(crate) const fn new(most: usize) -> Self {
        Self { most, line: 0, seen: 0, lines: 0, literals: 0 }
    }

    /// Takes an answer off the front, if it is there as a whole. What is longer than it may be is an error as soon as that is known,
    /// and not when it is there.
    pub(crate) fn take(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, RemoteError> {
        loop {
            let line = input.get(self.line..).unwrap_or_default();
            let unseen = line.get(self.seen..).unwrap_or_default();
            let Some(at) = memchr(b'\n', unseen) else {
                self.seen = line.len();
                return if self.lines + self.seen > LINES {
                    Err(RemoteError::TooMuch("a line without an end"))
                } else {
                    Ok(None)
                };
            };
            let length = self.seen + at + 1;
            self.lines += length;
            if self.lines > LINES {
                return Err(RemoteError::TooMuch("lines that are too long"));
            }
            let end = self.line + length;
            match announced(line.get(..length).unwrap_or_default()) {
                None => {
                    let frame = input.split_to(end).freeze();
                    *self = Self::new(self.most);
                    return Ok(Some(frame));
                }
                Some(literal) => {
                    self.literals = self.literals.saturating_add(literal);
                    if self.literals > self.most {
                        return Err(RemoteError::TooMuch("a literal that is too long"));
                    }
                    self.line = end + literal;
                    self.seen = 0;
                }
            }
        }
    }
}

/// How long the literal is that comes behind a line.
fn announced(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line).strip_suffix(b"}")?;
    let opening = memrchr(b'{', line)?;
    let digits = line.get(opening + 1..)?;
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // One that is no number of ours is longer than any may be.
    let number = std::str::from_utf8(digits).ok()?.parse();
    Some(number.unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(input: &[u8], most: usize) -> (Vec<Vec<u8>>, usize) {
        let (mut frames, mut input) = (Frames::new(most), BytesMut::from(input));
        let mut found = Vec::new();
        while let Some(frame) = frames.take(&mut input).unwrap() {
            found.push(frame.to_vec());
        }
        (found, input.len())
    }

    #[test]
    fn answers_and_what_is_left() {
        for (input, answers, left) in [
            ("", vec![], 0),
            ("* OK hi", vec![], 7),
            ("* OK hi\r\n* B", vec!["* OK hi\r\n"], 3),
            ("* OK hi\n", vec!["* OK hi\n"], 0),
            (
                "* 1 FETCH (BODY[] {3}\r\na\nb)\r\nA OK .\r\n",
                vec!["* 1 FETCH (BODY[] {3}\r\na\nb)\r\n", "A OK .\r\n"],
                0,
            ),
            (
                "* 1 FETCH (X {0}\r\n Y {2}\r\n{})\r\n",
                vec!["* 1 FETCH (X {0}\r\n Y {2}\r\n{})\r\n"],
                0,
            ),
            ("* 1 FETCH (X ~{2}\r\nab", vec![], 21),
            ("* 1 FETCH (X {10}\r\nab)\r\n", vec![], 24),
            (
                "* OK {x}\r\n* OK }\r\n* OK {}\r\n3+}\r\n",
                vec!["* OK {x}\r\n", "* OK }\r\n", "* OK {}\r\n", "3+}\r\n"],
                0,
            ),
        ] {
            let (found, rest) = all(input.as_bytes(), 100);
            let found: Vec<String> =
                found.into_iter().map(|one| String::from_utf8(one).unwrap()).collect();
            assert_eq!(
                (found, rest),
                (answers.into_iter().map(str::to_owned).collect(), left),
                "{input:?}"
            );
        }
    }

    #[test]
    fn what_is_too_long_is_known_at_once() {
        for input in [
            "* 1 FETCH (X {101}\r\n",
            "* 1 FETCH (X {60}\r\n123456789012345678901234567890123456789012345678901234567890 Y {41}\r\n",
            "* 1 FETCH (X {4294967296}\r\n",
            "* 1 FETCH (X {99999999999999999999999999}\r\n",
            &"a".repeat(LINES + 1),
            &format!("{}\r\n", "a".repeat(LINES)),
        ] {
            let error = Frames::new(100).take(&mut BytesMut::from(input)).unwrap_err();
            assert!(matches!(error, RemoteError::TooMuch(_)), "{error}");
        }
    }

    proptest! {
        /// In whatever pieces it comes, the answers are the same.
        #[test]
        fn pieces_do_not_matter(
            literals in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..6),
            cut in 1_usize..7,
        ) {
            let mut whole = Vec::new();
            for literal in &literals {
                whole.extend(format!("* 1 FETCH (BODY[] {{{}}}\r\n", literal.len()).into_bytes());
                whole.extend(literal);
                whole.extend(b")\r\n");
            }
            let (mut frames, mut input, mut found) = (Frames::new(100), BytesMut::new(), Vec::new());
            for piece in whole.chunks(cut) {
                input.extend_from_slice(piece);
                while let Some(frame) = frames.take(&mut input).unwrap() {
                    found.push(frame.to_vec());
                }
            }
            prop_assert_eq!(found.len(), literals.len());
            prop_assert_eq!(found.concat(), whole);
        }

        #[test]
        fn nothing_panics(input in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (mut frames, mut input) = (Frames::new(50), BytesMut::from(input.as_slice()));
            while let Ok(Some(_)) = frames.take(&mut input) {}
        }
    }
}
