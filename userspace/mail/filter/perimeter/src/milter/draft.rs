//! A message that comes in commands, put together as it will be sent.

use bytes::Bytes;

use crate::policy::Marks;
use crate::question::Party;

/// A message that is coming.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) sender: Party,
    pub(super) recipients: Vec<Party>,
    octets: Vec<u8>,
    /// Whether the header is over.
    in_body: bool,
    /// What did not fit.
    pub(super) complete: bool,
    /// Whether there was no memory for it.
    pub(super) starved: bool,
    /// Fields of the header that may turn out to be forged: how often each name came.
    names: Vec<(Vec<u8>, u32)>,
    /// Those that did, with their place among those of their name.
    pub(super) forged: Vec<(Vec<u8>, u32)>,
}

/// Most fields that are removed. Those beyond stay, below the ones that we write: no mail that anybody wants has so many.
const MOST_FORGED: usize = 1000;

impl Draft {
    pub(super) fn new(sender: Party) -> Self {
        Self {
            sender,
            recipients: Vec::new(),
            octets: Vec::new(),
            in_body: false,
            complete: true,
            starved: false,
            names: Vec::new(),
            forged: Vec::new(),
        }
    }

    /// A field of the header. `spaced` is whether its value came with the space that it begins with.
    pub(super) fn header(
        &mut self,
        name: &[u8],
        value: &[u8],
        spaced: bool,
        marks: &Marks,
        largest: usize,
    ) {
        self.note(name, value, marks);
        let mut field = Vec::with_capacity(name.len() + value.len() + 8);
        field.extend(name.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')));
        field.push(b':');
        if !spaced && !value.is_empty() {
            field.push(b' ');
        }
        // Mail systems fold with LF, some with CRLF. A line that does not begin with a space would be a field of its own, which
        // the mail system does not have.
        for (number, line) in value.split(|&byte| byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if number > 0 {
                field.extend_from_slice(b"\r\n");
                if !line.starts_with(b" ") && !line.starts_with(b"\t") {
                    field.push(b'\t');
                }
            }
            field.extend_from_slice(line);
        }
        field.extend_from_slice(b"\r\n");
        self.keep(&field, largest);
    }

    /// A piece of the body.
    pub(super) fn body(&mut self, piece: &[u8], largest: usize) {
        if piece.is_empty() {
            return;
        }
        self.end_header(largest);
        self.keep(piece, largest);
    }

    pub(super) fn end_header(&mut self, largest: usize) {
        if !std::mem::replace(&mut self.in_body, true) {
            self.keep(b"\r\n", largest);
        }
    }

    /// There is no memory for it: what came is forgotten, and what comes will be.
    pub(super) fn starve(&mut self) {
        self.starved = true;
        self.complete = false;
        self.octets = Vec::new();
    }

    pub(super) fn memory(&self) -> usize {
        self.octets.capacity()
    }

    pub(super) fn message(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.octets))
    }

    /// Counts a name whose fields may be forged, and notes those that are.
    fn note(&mut self, name: &[u8], value: &[u8], marks: &Marks) {
        let forged = marks.is_forged(name, value);
        // Others' results of authentication are no forgery, and count all the same.
        if !forged && !name.eq_ignore_ascii_case(b"Authentication-Results") {
            return;
        }
        let known = self.names.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let place = match known {
            Some((_, count)) => {
                *count = count.saturating_add(1);
                *count
            }
            None => {
                self.names.push((name.to_vec(), 1));
                1
            }
        };
        if forged && self.forged.len() < MOST_FORGED {
            self.forged.push((name.to_vec(), place));
        }
    }

    fn keep(&mut self, octets: &[u8], largest: usize) {
        if !self.complete {
            return;
        }
        let room = largest.saturating_sub(self.octets.len());
        let fits = octets.get(..room);
        self.complete = fits.is_none() || fits == Some(octets);
        self.octets.extend_from_slice(fits.unwrap_or(octets));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(fields: &[(&str, &str)], spaced: bool, body: &[&str], largest: usize) -> Draft {
        let mut draft = Draft::new(Party::nobody());
        for (name, value) in fields {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            draft.header(name, value, spaced, &Marks::default(), largest);
        }
        draft.end_header(largest);
        body.iter().for_each(|piece| draft.body(piece.as_bytes(), largest));
        draft
    }

    #[test]
    fn put_together() {
        for (fields, spaced, body, expected) in [
            (&[("A", " b")][..], true, &["c\r\n"][..], "A: b\r\n\r\nc\r\n"),
            (&[("A", "b")], true, &[], "A:b\r\n\r\n"),
            (&[("A", "b")], false, &["c", "d"], "A: b\r\n\r\ncd"),
            (&[("A", "")], false, &[], "A:\r\n\r\n"),
            (
                &[("A", " b\n\tc"), ("D", " e\r\n f")],
                true,
                &[],
                "A: b\r\n\tc\r\nD: e\r\n f\r\n\r\n",
            ),
            (&[("A", " b\nX: c")], true, &[], "A: b\r\n\tX: c\r\n\r\n"),
            (&[("A\r\nB", " c")], true, &[], "AB: c\r\n\r\n"),
            (&[], true, &["c\r\n"], "\r\nc\r\n"),
        ] {
            let mut draft = draft(fields, spaced, body, 1000);
            assert_eq!(draft.message(), expected);
            assert!(draft.complete);
        }
    }

    #[test]
    fn cut_at_the_limit() {
        for (largest, expected, complete) in [
            (100, "A: b\r\n\r\ncd", true),
            (10, "A: b\r\n\r\ncd", true),
            (9, "A: b\r\n\r\nc", false),
            (3, "A: ", false),
            (0, "", false),
        ] {
            let mut draft = draft(&[("A", " b")], true, &["c", "d"], largest);
            assert_eq!(draft.message(), expected, "{largest}");
            assert_eq!(draft.complete, complete, "{largest}");
        }
    }

    #[test]
    fn forged_ones_by_place() {
        let fields = [
            ("X-Spam-Flag", " NO"),
            ("Subject", " a"),
            ("x-spam-flag", " NO"),
            ("X-Muralla", " a"),
            ("Authentication-Results", " other.example"),
        ];
        let draft = draft(&fields, true, &[], 1000);
        let forged: Vec<(&str, u32)> = draft
            .forged
            .iter()
            .map(|(name, place)| (std::str::from_utf8(name).unwrap(), *place))
            .collect();
        assert_eq!(forged, [("X-Spam-Flag", 1), ("x-spam-flag", 2), ("X-Muralla", 1)]);
    }

    #[test]
    fn without_memory() {
        let mut draft = draft(&[("A", " b")], true, &["c"], 1000);
        assert!(draft.memory() > 0);
        draft.starve();
        draft.body(b"more", 1000);
        assert_eq!((draft.memory(), draft.complete, draft.message()), (0, false, Bytes::new()));
    }
}
