//! Transparency: a dot at the start of a line is sent twice, so that a dot alone ends the message. RFC 5321 section 4.5.2,
//! RFC 1939 section 3.

use memchr::memmem;

/// Doubles the dots of a message that comes in chunks. Nothing is copied.
///
/// A line begins behind each LF, even one without its CR. A receiver that ends lines there would otherwise see the message
/// end where somebody put LF, dot, LF into it, and take what follows for commands or replies; for others, a dot too many
/// stands in such a line. What we store has CRLF alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stuffer {
    /// The last two octets that came.
    last: [Option<u8>; 2],
}

impl Stuffer {
    /// At the start of a message.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: [None; 2] }
    }

    /// The next chunk, in the pieces that go on the wire one after the other.
    pub fn pieces<'a>(&mut self, chunk: &'a [u8]) -> Stuffed<'a> {
        let at_start = matches!(self.last[1], None | Some(b'\n'));
        match *chunk {
            [] => {}
            [only] => self.last = [self.last[1], Some(only)],
            [.., before, last] => self.last = [Some(before), Some(last)],
        }
        Stuffed { rest: chunk, double: at_start && chunk.first() == Some(&b'.') }
    }

    /// What goes on the wire behind the last piece: the dot alone in its line, and before it what ends the last line if
    /// nothing does.
    #[must_use]
    pub const fn ending(&self) -> &'static [u8] {
        match self.last {
            [_, None] | [Some(b'\r'), Some(b'\n')] => b".\r\n",
            // Its last CR finds its LF.
            [_, Some(b'\r')] => b"\n.\r\n",
            _ => b"\r\n.\r\n",
        }
    }
}

/// See [`Stuffer::pieces`].
#[derive(Clone, Debug)]
pub struct Stuffed<'a> {
    rest: &'a [u8],
    double: bool,
}

impl<'a> Iterator for Stuffed<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.double {
            self.double = false;
            return Some(b".");
        }
        if self.rest.is_empty() {
            return None;
        }
        let end = memmem::find(self.rest, b"\n.").map_or(self.rest.len(), |at| at + 1);
        let (piece, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest;
        self.double = !rest.is_empty();
        Some(piece)
    }
}

/// A message as it goes on the wire, in one piece: dots doubled, and ended.
#[must_use]
pub fn stuff(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 64 + 8);
    let mut stuffer = Stuffer::new();
    for piece in stuffer.pieces(message) {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(stuffer.ending());
    out
}

/// The message that was sent as `wire`, without the line that ended it: the first dot of each line is taken away.
///
/// Lines end with CRLF alone.
#[must_use]
pub fn unstuff(wire: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(wire.len());
    let mut rest = wire.strip_prefix(b".").unwrap_or(wire);
    while let Some(at) = memmem::find(rest, b"\r\n.") {
        let (piece, behind) = rest.split_at_checked(at + 2).unwrap_or((rest, &[]));
        out.extend_from_slice(piece);
        rest = behind.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_ways() {
        for (message, wire) in [
            ("", ".\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            ("..\r\n", "...\r\n.\r\n"),
            ("a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"),
            ("a.\r\n.b.\r\n..\r\n", "a.\r\n..b.\r\n...\r\n.\r\n"),
            ("\r\n\r\n.", "\r\n\r\n..\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r", "a\r\n.\r\n"),
            ("a\n", "a\n\r\n.\r\n"),
            ("a\n.\nQUIT\n", "a\n..\nQUIT\n\r\n.\r\n"),
        ] {
            assert_eq!(String::from_utf8(stuff(message.as_bytes())).unwrap(), wire, "{message:?}");
        }
        for (wire, message) in [
            ("", ""),
            (".", ""),
            ("..", "."),
            ("..a\r\n...\r\n.b\r\n", ".a\r\n..\r\nb\r\n"),
            // These are not starts of lines.
            ("a\n.b\r.c\r\n", "a\n.b\r.c\r\n"),
            ("\r\n.\r\n.\r\n", "\r\n\r\n\r\n"),
        ] {
            assert_eq!(String::from_utf8(unstuff(wire.as_bytes())).unwrap(), message, "{wire:?}");
        }
    }

    proptest! {
        /// Messages of lines come back as they were.
        #[test]
        fn of_lines(lines in proptest::collection::vec("[.ab]{0,4}", 0..20)) {
            let message: String = lines.iter().flat_map(|line| [&**line, "\r\n"]).collect();
            let wire = stuff(message.as_bytes());
            let body = wire.strip_suffix(b".\r\n").unwrap();
            prop_assert_eq!(unstuff(body), message.as_bytes());
        }

        /// Nothing in a message ends it, for strict and lax readers alike; and nothing of it is lost.
        #[test]
        fn of_anything(message in "[.\r\na]{0,30}") {
            let wire = stuff(message.as_bytes());
            for end in ["\r\n.\r\n", "\n.\n", "\n.\r", "\n.\r\n"] {
                let padded = [b"\r\n", &wire[..]].concat();
                let found = memmem::find(&padded, end.as_bytes());
                prop_assert!(found.is_none_or(|at| at + end.len() >= padded.len() - 1), "{end:?} in {padded:?}");
            }
            prop_assert!(wire.ends_with(b".\r\n"));
            let plain = wire.iter().filter(|&&byte| byte != b'.').count();
            let lost = plain - message.bytes().filter(|&byte| byte != b'.').count();
            prop_assert!(lost <= 4, "nothing but the ending");
        }

        /// However it is cut into chunks.
        #[test]
        fn of_chunks(message in "[.\r\na]{0,30}", sizes in proptest::collection::vec(0usize..5, 0..20)) {
            let mut stuffer = Stuffer::new();
            let mut wire: Vec<u8> = vec![];
            let mut rest = message.as_bytes();
            for size in sizes {
                let (chunk, behind) = rest.split_at(size.min(rest.len()));
                wire.extend(stuffer.pieces(chunk).flatten());
                rest = behind;
            }
            wire.extend(stuffer.pieces(rest).flatten());
            wire.extend(stuffer.ending());
            prop_assert_eq!(wire, stuff(message.as_bytes()));
        }
    }
}
