//! A message on its way to a client: dots doubled, cut for `TOP`, ended. Chunk by chunk, and without a copy.

use memchr::memchr_iter;
use muralla_mail_envelope::dots::{Stuffed, Stuffer};

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Transfer {
    stuffer: Stuffer,
    /// For `TOP`: where in the message it is.
    cut: Option<Cut>,
    octets: u64,
}

/// `TOP`: the header, the empty line, and so many lines more (RFC 1939 section 7).
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Lines of the content that are still to come; the header comes first.
    lines: u64,
    in_header: bool,
    line: Line,
    over: bool,
}

/// What of a line has come so far: chunks may end anywhere in it.
#[derive(Clone, Copy, Debug)]
enum Line {
    Nothing,
    /// A CR alone, so that it is empty if it ends here.
    Cr,
    Something,
}

impl Transfer {
    /// All of a message, or its header and so many lines.
    #[must_use]
    pub const fn new(lines: Option<u64>) -> Self {
        let cut = match lines {
            None => None,
            Some(lines) => Some(Cut { lines, in_header: true, line: Line::Nothing, over: false }),
        };
        Self { stuffer: Stuffer::new(), cut, octets: 0 }
    }

    /// The next chunk, in the pieces that go to the client one after the other.
    pub fn pieces<'a>(&mut self, chunk: &'a [u8]) -> Stuffed<'a> {
        let chunk = match &mut self.cut {
            None => chunk,
            Some(cut) => cut.take(chunk),
        };
        self.octets = self.octets.saturating_add(chunk.len() as u64);
        self.stuffer.pieces(chunk)
    }

    /// Whether nothing of the chunks to come is wanted.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(&self.cut, Some(cut) if cut.over)
    }

    /// What goes to the client behind the last piece.
    #[must_use]
    pub const fn ending(&self) -> &'static [u8] {
        self.stuffer.ending()
    }

    /// How many octets of the message went.
    #[must_use]
    pub const fn octets(&self) -> u64 {
        self.octets
    }
}

impl Cut {
    /// As much of a chunk as is wanted.
    fn take<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let mut start = 0;
        if self.over {
            return &[];
        }
        for at in memchr_iter(b'\n', chunk) {
            let line = chunk.get(start..at).unwrap_or_default();
            self.line = self.line.and(line);
            if !self.in_header {
                self.lines = self.lines.saturating_sub(1);
            }
            self.in_header &= matches!(self.line, Line::Something);
            self.line = Line::Nothing;
            start = at + 1;
            if !self.in_header && self.lines == 0 {
                self.over = true;
                return chunk.get(..start).unwrap_or(chunk);
            }
        }
        self.line = self.line.and(chunk.get(start..).unwrap_or_default());
        chunk
    }
}

impl Line {
    fn and(self, more: &[u8]) -> Self {
        match (self, more) {
            (_, []) => self,
            (Self::Nothing, [b'\r']) => Self::Cr,
            _ => Self::Something,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a client gets, of a message in chunks of such sizes.
    fn wire(message: &[u8], lines: Option<u64>, sizes: &[usize]) -> Vec<u8> {
        let mut transfer = Transfer::new(lines);
        let mut out: Vec<u8> = vec![];
        let mut rest = message;
        for &size in sizes {
            let (chunk, behind) = rest.split_at(size.min(rest.len()));
            out.extend(transfer.pieces(chunk).flatten());
            rest = behind;
        }
        out.extend(transfer.pieces(rest).flatten());
        out.extend(transfer.ending());
        out
    }

    #[test]
    fn tops() {
        let message = "A: b\r\nC: d\r\n\r\none\r\n.two\r\n\r\nfour";
        for (lines, expected) in [
            (0, "A: b\r\nC: d\r\n\r\n.\r\n"),
            (1, "A: b\r\nC: d\r\n\r\none\r\n.\r\n"),
            (2, "A: b\r\nC: d\r\n\r\none\r\n..two\r\n.\r\n"),
            (3, "A: b\r\nC: d\r\n\r\none\r\n..two\r\n\r\n.\r\n"),
            (4, "A: b\r\nC: d\r\n\r\none\r\n..two\r\n\r\nfour\r\n.\r\n"),
            (u64::MAX, "A: b\r\nC: d\r\n\r\none\r\n..two\r\n\r\nfour\r\n.\r\n"),
        ] {
            let top = wire(message.as_bytes(), Some(lines), &[]);
            assert_eq!(String::from_utf8(top).unwrap(), expected, "{lines}");
        }
        for (message, expected) in [
            ("", ".\r\n"),
            ("\r\n", "\r\n.\r\n"),
            ("\r\nbody\r\n", "\r\n.\r\n"),
            ("A: b\r\n", "A: b\r\n.\r\n"),
            ("A: b", "A: b\r\n.\r\n"),
            ("A: b\n\nbody\n", "A: b\n\n\r\n.\r\n"),
        ] {
            let top = wire(message.as_bytes(), Some(0), &[]);
            assert_eq!(String::from_utf8(top).unwrap(), expected, "{message:?}");
        }
    }

    /// A line of CRs is none of the header's end, wherever chunks end.
    #[test]
    fn crs_are_no_empty_line() {
        for sizes in [&[][..], &[1], &[2], &[1, 1]] {
            let top = wire(b"\r\r\n.", Some(0), sizes);
            assert_eq!(top, b"\r\r\n..\r\n.\r\n", "{sizes:?}");
        }
    }

    #[test]
    fn how_much_went() {
        let mut transfer = Transfer::new(Some(0));
        assert!(!transfer.is_over());
        transfer.pieces(b"A: b\r\n\r\nbody\r\n").for_each(drop);
        assert!(transfer.is_over());
        assert_eq!(transfer.octets(), 8);
        assert_eq!(transfer.pieces(b"more").count(), 0);
        assert_eq!(transfer.octets(), 8);
        let mut transfer = Transfer::new(None);
        transfer.pieces(b".\r\n").for_each(drop);
        assert_eq!((transfer.octets(), transfer.is_over()), (3, false));
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            message in "([a.]{0,3}\r\n){0,6}(\r\n)?[a.\r\n]{0,20}",
            lines in proptest::option::of(0u64..6),
            sizes in proptest::collection::vec(0usize..6, 0..20),
        ) {
            let message = message.as_bytes();
            prop_assert_eq!(wire(message, lines, &sizes), wire(message, lines, &[]));
        }

        /// `TOP` gives the beginning of what `RETR` gives.
        #[test]
        fn a_top_is_a_beginning(message in "([a.]{0,3}\r\n){0,9}", lines in 0u64..6) {
            let whole = wire(message.as_bytes(), None, &[]);
            let top = wire(message.as_bytes(), Some(lines), &[]);
            prop_assert!(whole.starts_with(top.strip_suffix(b".\r\n").unwrap()));
            let content = message.split_once("\r\n\r\n").map_or("", |(_, content)| content);
            // A message may begin with the empty line.
            let content = message.strip_prefix("\r\n").unwrap_or(content);
            let expected = (content.matches("\r\n").count() as u64).min(lines);
            let header = message.matches("\r\n").count() - content.matches("\r\n").count();
            let got = String::from_utf8(top).unwrap().matches("\r\n").count();
            prop_assert_eq!(got as u64, header as u64 + expected + 1);
        }
    }
}
