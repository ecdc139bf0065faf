//! Header fields, split from each other: RFC 5322 section 2.2, and what mail programs make of what is none.

use memchr::{memchr, memrchr};

use crate::limits::Limits;

/// A header field as it stands in a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field<'m> {
    /// Its name, without spaces.
    pub name: &'m [u8],
    /// What stands behind the colon, folded as it is, with the end of its last line.
    pub value: &'m [u8],
}

impl Field<'_> {
    /// Whether it has that name, in any letter case.
    #[must_use]
    pub const fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// A header.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block<'m> {
    pub(crate) fields: Vec<Field<'m>>,
    /// Fields that there are, kept or not.
    pub(crate) count: usize,
    /// Lines that belong to no field.
    pub(crate) broken: usize,
    /// Where the content begins.
    pub(crate) end: usize,
    /// Whether something lay beyond a limit.
    pub(crate) cut: bool,
}

/// The header that begins at `at`. It ends at the empty line, and before a line of which `stop` knows that it ends the part.
///
/// A line that is no field is passed over, as mail programs do, but for a first one: there, no header was meant.
pub(crate) fn block<'m>(
    bytes: &'m [u8],
    at: usize,
    limits: &Limits,
    stop: impl Fn(&[u8]) -> bool,
) -> Block<'m> {
    let mut block = Block { end: at, ..Block::default() };
    // Where the value of the field that is being read begins, and its name.
    let mut open: Option<(&'m [u8], usize)> = None;
    let mut position = at;
    while let Some(rest) = bytes.get(position..).filter(|rest| !rest.is_empty()) {
        let next = memchr(b'\n', rest).map_or(bytes.len(), |end| position + end + 1);
        let line = bytes.get(position..next).unwrap_or_default();
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        block.cut |= position - at > limits.header;
        if text.is_empty() {
            block.keep(bytes, open.take(), position, limits);
            block.end = next;
            return block;
        }
        if text.starts_with(b"--") && stop(text) {
            block.keep(bytes, open.take(), position, limits);
            block.end = position;
            return block;
        }
        let folded = matches!(text.first(), Some(b' ' | b'\t'));
        if !folded || open.is_none() {
            block.keep(bytes, open.take(), position, limits);
            match name(text) {
                Some((name, length)) if !block.cut => open = Some((name, position + length + 1)),
                Some(_) => block.count += 1,
                // What some programs put above a message that they store.
                None if position == at && text.starts_with(b"From ") => {}
                None if position == at && !folded => return block,
                None => block.broken += 1,
            }
        }
        position = next;
    }
    block.cut |= position - at > limits.header;
    block.keep(bytes, open.take(), position, limits);
    block.end = bytes.len();
    block
}

impl<'m> Block<'m> {
    fn keep(
        &mut self,
        bytes: &'m [u8],
        open: Option<(&'m [u8], usize)>,
        end: usize,
        limits: &Limits,
    ) {
        let Some((name, start)) = open else { return };
        self.count += 1;
        if self.fields.len() >= limits.fields {
            self.cut = true;
        } else if let Some(value) = bytes.get(start..end) {
            self.fields.push(Field { name, value });
        }
    }

    /// The first field of that name.
    pub(crate) fn first(&self, name: &str) -> Option<Field<'m>> {
        self.fields.iter().find(|field| field.is(name)).copied()
    }
}

/// The name of the field that begins with this line, and where its colon is.
fn name(line: &[u8]) -> Option<(&[u8], usize)> {
    // No name is longer; what is, is a line of text with a colon somewhere.
    let colon = memchr(b':', line.get(..256).unwrap_or(line))?;
    // RFC 5322 section 4.5.8: spaces before the colon are obsolete, and still sent.
    let name = line.get(..colon)?.trim_ascii_end();
    // ftext, section 3.6.8.
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some((name, colon))
}

/// As much of a value as has at most so many octets, cut at a space where there is one.
pub(crate) fn cut(value: &[u8], most: usize) -> &[u8] {
    let Some(head) = value.get(..most).filter(|_| value.len() > most) else { return value };
    match memrchr(b' ', head) {
        Some(space) if space > most / 2 => head.get(..space).unwrap_or(head),
        _ => head,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(bytes: &[u8]) -> (Vec<(&str, &str)>, usize, usize) {
        let block = block(bytes, 0, &Limits::default(), |line| line == b"--b");
        let fields = block.fields.iter().map(|field| {
            (std::str::from_utf8(field.name).unwrap(), std::str::from_utf8(field.value).unwrap())
        });
        (fields.collect(), block.end, block.broken)
    }

    #[test]
    fn where_fields_and_headers_end() {
        for (bytes, fields, end, broken) in [
            (&b""[..], &[][..], 0, 0),
            (b"\r\nbody", &[], 2, 0),
            (b"\nbody", &[], 1, 0),
            (b"A: b", &[("A", " b")], 4, 0),
            (b"A: b\r\n\r\nbody", &[("A", " b\r\n")], 8, 0),
            (b"A: b\n\nbody", &[("A", " b\n")], 6, 0),
            (b"A: b\r\n c\r\nD : e\r\n\r\n", &[("A", " b\r\n c\r\n"), ("D", " e\r\n")], 19, 0),
            (b"A:b\n \nD:e\n\n", &[("A", "b\n \n"), ("D", "e\n")], 11, 0),
            // No header was meant.
            (
                b"body: of words, alone\nA: b\n",
                &[("body", " of words, alone\n"), ("A", " b\n")],
                27,
                0,
            ),
            (b"body alone\nA: b\n\nmore", &[], 0, 0),
            (b"From a@example.org Fri Nov 21\nA: b\n\n", &[("A", " b\n")], 36, 0),
            // What is no field is passed over.
            (b"A: b\nno field\nC: d\n\n", &[("A", " b\n"), ("C", " d\n")], 20, 1),
            (b" folded\nC: d\n\n", &[("C", " d\n")], 14, 1),
            (b"A: b\n\xe9: b\n\n", &[("A", " b\n")], 11, 1),
            // A part without an empty line.
            (b"A: b\n--b\nC: d\n", &[("A", " b\n")], 5, 0),
            (b"A: b\n--c\nC: d\n", &[("A", " b\n"), ("C", " d\n")], 14, 1),
        ] {
            assert_eq!(split(bytes), (fields.to_vec(), end, broken), "{:?}", bytes.escape_ascii());
        }
    }

    #[test]
    fn limits_hold() {
        let limits = Limits { fields: 3, header: 1_000, ..Limits::default() };
        let many = "A: b\n".repeat(10) + "\nbody";
        let read = block(many.as_bytes(), 0, &limits, |_| false);
        assert!(read.cut);
        assert_eq!((read.fields.len(), read.count, read.end), (3, 10, 51));
        let long = format!("A: b\nB: {}\nC: d\n\nbody", "x".repeat(2_000));
        let read = block(long.as_bytes(), 0, &limits, |_| false);
        assert!(read.cut);
        assert_eq!((read.fields.len(), read.count, read.end), (2, 3, long.len() - 4));
        for end in ["", "\n", "\n\nbody"] {
            let last = format!("A: b\nB: {}{end}", "x".repeat(2_000));
            assert!(block(last.as_bytes(), 0, &limits, |_| false).cut, "{end:?}");
        }
    }

    #[test]
    fn values_are_cut_at_spaces() {
        for (value, most, expected) in [
            (&b"a b"[..], 3, &b"a b"[..]),
            (b"aaaa bbbb", 7, b"aaaa"),
            (b"aaaabbbb cccc", 7, b"aaaabbb"),
        ] {
            assert_eq!(cut(value, most), expected);
        }
    }
}
