//! The parts of a message, found in one pass: RFC 2046 section 5.1.
//!
//! Every line that begins with two hyphens is compared with the boundaries that are open, from the innermost out, so that time
//! grows with the message and its depth, and nothing is read twice. Nothing recurses. mail-parser's own pass is not used for three
//! reasons: it looks for a missing boundary anew for each part that declares one, which takes a minute for a megabyte; it gives
//! messages within messages as values within values, and to drop ten thousand of those ends the process; and it looks into
//! encoded messages before anybody could have counted what is in there.

use std::ops::Range;

use memchr::{memchr, memmem};

use crate::fields::{self, Block};
use crate::limits::Problem;
use crate::transfer::Transfer;
use crate::values::Values;

/// The longest boundary that is looked for. RFC 2046 has 70; some programs write more.
const LONGEST_BOUNDARY: usize = 256;

/// A part, as far as it is known before its content is looked at.
#[derive(Debug)]
pub(crate) struct Found<'m> {
    /// The part that it belongs to, by its place in the list.
    pub(crate) parent: Option<usize>,
    pub(crate) depth: usize,
    pub(crate) header: Block<'m>,
    /// Its content; means nothing if it has parts.
    pub(crate) body: Range<usize>,
    pub(crate) mime: Mime,
    pub(crate) shape: Shape,
    /// Whether its parts ended before it said so.
    pub(crate) open_ended: bool,
}

/// What a part is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    Leaf,
    Multipart,
    Message,
}

/// What a part says of itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Mime {
    /// Type and subtype in lower case; what holds where nothing is said.
    pub(crate) media: String,
    /// Whether anything was said.
    pub(crate) declared: bool,
    pub(crate) boundary: Option<String>,
    pub(crate) charset: Option<String>,
    pub(crate) attachment: bool,
    pub(crate) inline: bool,
    pub(crate) name: Option<String>,
    pub(crate) transfer: Transfer,
    pub(crate) id: Option<String>,
}

impl Mime {
    pub(crate) fn is_multipart(&self) -> bool {
        self.media.starts_with("multipart/")
    }

    pub(crate) fn is_message(&self) -> bool {
        matches!(self.media.as_str(), "message/rfc822" | "message/global" | "message/news")
    }
}

/// A part that others are in, of which the end was not met.
#[derive(Debug)]
struct Open {
    part: usize,
    /// Nothing for a message, which ends where what is around it does.
    boundary: Option<Vec<u8>>,
    digest: bool,
}

/// What the parts of all messages in a message may be together.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) parts: usize,
    pub(crate) messages: usize,
}

/// The parts of a message, in their order; at least one.
pub(crate) fn structure<'m>(
    bytes: &'m [u8],
    depth: usize,
    values: &mut Values<'_>,
    room: &mut Room,
) -> Vec<Found<'m>> {
    let mut parts: Vec<Found<'m>> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    loop {
        let stop = |line: &[u8]| delimiter(line, &open).is_some();
        let header = fields::block(bytes, at, values.limits, stop);
        if header.cut {
            values.problems.add(Problem::Header);
        }
        let parent = open.last().map(|open| open.part);
        let digest = open.last().is_some_and(|open| open.digest);
        let mime = mime(&header, digest, values);
        let depth = depth + open.len();
        let start = header.end;
        let index = parts.len();
        let boundary = mime
            .boundary
            .as_ref()
            .filter(|boundary| mime.is_multipart() && !boundary.is_empty())
            .map(|boundary| boundary.as_bytes().to_vec())
            .filter(|boundary| boundary.len() <= LONGEST_BOUNDARY);
        let mut shape = if boundary.is_some() {
            Shape::Multipart
        } else if mime.is_message() && mime.transfer == Transfer::Plain {
            Shape::Message
        } else {
            Shape::Leaf
        };
        if shape != Shape::Leaf && depth >= values.limits.depth {
            values.problems.add(Problem::Depth);
            shape = Shape::Leaf;
        }
        if shape == Shape::Message {
            if room.messages == 0 {
                values.problems.add(Problem::Messages);
                shape = Shape::Leaf;
            } else {
                room.messages -= 1;
            }
        }
        room.parts = room.parts.saturating_sub(1);
        let digest = mime.media == "multipart/digest";
        parts.push(Found {
            parent,
            depth,
            header,
            body: start..bytes.len(),
            mime,
            shape,
            open_ended: false,
        });
        if room.parts == 0 {
            values.problems.add(Problem::Parts);
            break;
        }
        match shape {
            Shape::Message => {
                open.push(Open { part: index, boundary: None, digest: false });
                at = start;
                continue;
            }
            Shape::Multipart => open.push(Open { part: index, boundary, digest }),
            Shape::Leaf => {}
        }
        match next_part(bytes, start, &mut open, &mut parts) {
            Some(next) => at = next,
            None => break,
        }
    }
    for Open { part, boundary, .. } in open {
        if let Some(part) = parts.get_mut(part)
            && boundary.is_some()
        {
            part.open_ended = true;
        }
    }
    parts
}

/// Where the next part begins. Ends those that are met on the way, and the last one's content.
fn next_part(
    bytes: &[u8],
    from: usize,
    open: &mut Vec<Open>,
    parts: &mut [Found<'_>],
) -> Option<usize> {
    let mut from = from;
    // Content ends at the first delimiter, whoever's it is.
    let mut last = parts.last_mut();
    loop {
        let (line, next) = next_delimiter(bytes, from, open)?;
        let text = line_text(bytes, line, next);
        let (which, closing) = delimiter(text, open)?;
        if let Some(last) = last.take() {
            last.body.end = before_break(bytes, line).max(last.body.start);
        }
        // What is open within has ended, too.
        open.truncate(if closing { which } else { which + 1 });
        if !closing {
            return Some(next);
        }
        // What is behind belongs to nobody; a message around it has ended with it.
        from = next;
    }
}

/// The next line that delimits anything: where it begins, and where what is behind it does.
fn next_delimiter(bytes: &[u8], from: usize, open: &[Open]) -> Option<(usize, usize)> {
    if open.iter().all(|open| open.boundary.is_none()) {
        return None;
    }
    let mut at = from;
    loop {
        let rest = bytes.get(at..)?;
        let line = if at == from && rest.starts_with(b"--") {
            at
        } else {
            at + memmem::find(rest, b"\n--")? + 1
        };
        let next = bytes
            .get(line..)
            .and_then(|rest| memchr(b'\n', rest))
            .map_or(bytes.len(), |end| line + end + 1);
        if delimiter(line_text(bytes, line, next), open).is_some() {
            return Some((line, next));
        }
        // The break at the end of this line may be the one before the next.
        at = next.saturating_sub(1).max(line + 1);
    }
}

fn line_text(bytes: &[u8], line: usize, next: usize) -> &[u8] {
    let text = bytes.get(line..next).unwrap_or_default();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

/// Which of those that are open a line delimits, and whether it ends it.
fn delimiter(line: &[u8], open: &[Open]) -> Option<(usize, bool)> {
    let text = line.strip_prefix(b"--")?;
    open.iter().enumerate().rev().find_map(|(index, open)| {
        let rest = text.strip_prefix(open.boundary.as_deref()?)?;
        if rest.trim_ascii().is_empty() {
            Some((index, false))
        } else {
            rest.starts_with(b"--").then_some((index, true))
        }
    })
}

/// Where content that ends before this line does: the break in front of a delimiter belongs to it.
fn before_break(bytes: &[u8], line: usize) -> usize {
    let before = bytes.get(..line).unwrap_or_default();
    let before = before.strip_suffix(b"\n").unwrap_or(before);
    before.strip_suffix(b"\r").unwrap_or(before).len()
}

/// What a part's header says of it.
fn mime(header: &Block<'_>, digest: bool, values: &mut Values<'_>) -> Mime {
    let kind = header.first("Content-Type").and_then(|field| values.parameterised(field));
    let disposition =
        header.first("Content-Disposition").and_then(|field| values.parameterised(field));
    let transfer = header
        .first("Content-Transfer-Encoding")
        .map(|field| Transfer::of(String::from_utf8_lossy(field.value).trim()))
        .unwrap_or_default();
    let id = header.first("Content-ID").and_then(|field| values.ids(field).into_iter().next());
    let default = if digest { "message/rfc822" } else { "text/plain" };
    let declared = kind.is_some();
    let kind = kind.unwrap_or_default();
    let media = match (kind.kind.as_str(), kind.subkind.as_str()) {
        ("", _) => default.to_owned(),
        // RFC 2045 section 5.2: what can't be read is text, and programs write `text` alone.
        ("text", "") => "text/plain".to_owned(),
        (kind, subkind) => format!("{kind}/{subkind}"),
    };
    let owned = |value: Option<&str>| {
        value.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let name = disposition
        .as_ref()
        .and_then(|disposition| owned(disposition.parameter("filename")))
        .or_else(|| owned(kind.parameter("name")))
        .or_else(|| owned(kind.parameter("filename")));
    let disposed = |how: &str| disposition.as_ref().is_some_and(|known| known.kind == how);
    Mime {
        boundary: kind.parameter("boundary").map(|boundary| boundary.trim_end().to_owned()),
        charset: owned(kind.parameter("charset")),
        attachment: disposed("attachment"),
        inline: disposed("inline"),
        name,
        media,
        declared,
        transfer,
        id,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::Limits;

    /// Media, depth and body of each part.
    fn parts(message: &str) -> Vec<(String, usize, String)> {
        let limits = Limits::default();
        let mut values = Values::new(&limits);
        let mut room = Room { parts: limits.parts, messages: limits.messages };
        let found = structure(message.as_bytes(), 0, &mut values, &mut room);
        assert!(values.problems.is_empty());
        found
            .iter()
            .map(|part| {
                (part.mime.media.clone(), part.depth, message[part.body.clone()].to_owned())
            })
            .collect()
    }

    fn leaves(message: &str) -> Vec<String> {
        let limits = Limits::default();
        let mut values = Values::new(&limits);
        let mut room = Room { parts: limits.parts, messages: limits.messages };
        structure(message.as_bytes(), 0, &mut values, &mut room)
            .iter()
            .filter(|part| part.shape == Shape::Leaf)
            .map(|part| message[part.body.clone()].to_owned())
            .collect()
    }

    #[test]
    fn simple_ones() {
        let part = |media: &str, depth, body: &str| (media.to_owned(), depth, body.to_owned());
        for (message, expected) in [
            ("", vec![part("text/plain", 0, "")]),
            ("A: b\n\nbody\n", vec![part("text/plain", 0, "body\n")]),
            ("Content-Type: TEXT/HTML\n\n<p>", vec![part("text/html", 0, "<p>")]),
            ("Content-Type: text\n\nx", vec![part("text/plain", 0, "x")]),
            ("Content-Type: ;;;\n\nx", vec![part("text/plain", 0, "x")]),
        ] {
            assert_eq!(parts(message), expected, "{message}");
        }
    }

    #[test]
    fn multiparts() {
        let header = "Content-Type: multipart/mixed; boundary=b\n\n";
        for (body, expected) in [
            ("--b\n\none\n--b\n\ntwo\n--b--\n", &["one", "two"][..]),
            ("pre\n--b\r\n\r\none\r\n--b--\r\nbehind\r\n", &["one"]),
            ("--b \t\n\none\n--b--", &["one"]),
            ("--b\n\none", &["one"]),
            ("--b\n\none\n--bc\n--b--", &["one\n--bc"]),
            ("--b\n\none--b\n--b--", &["one--b"]),
            ("--b\nA: c\n--b\n\ntwo\n--b--", &["", "two"]),
            ("--b\n--b\n--b--", &["", ""]),
            ("--b\n\n\n--b--", &[""]),
            ("--b\n\n\n\n--b--", &["\n"]),
            ("--b--\nnothing", &[]),
            ("nothing", &[]),
            ("--b\n\none\n--b--\n--b\n\nbehind the end", &["one"]),
        ] {
            let message = format!("{header}{body}");
            assert_eq!(leaves(&message), expected, "{body:?}");
        }
    }

    #[test]
    fn nested_ones() {
        let message = "Content-Type: multipart/mixed; boundary=\"outer\"\n\n\
            --outer\nContent-Type: multipart/alternative; boundary=inner\n\n\
            --inner\n\nplain\n--inner\nContent-Type: text/html\n\nhtml\n--inner--\n\n\
            --outer\nContent-Type: message/rfc822\n\nSubject: x\nContent-Type: multipart/mixed; boundary=third\n\n\
            --third\n\ninside\n--outer\n\nlast\n--outer--\n";
        let found: Vec<_> =
            parts(message).into_iter().map(|(media, depth, _)| (media, depth)).collect();
        let expected = [
            ("multipart/mixed", 0),
            ("multipart/alternative", 1),
            ("text/plain", 2),
            ("text/html", 2),
            ("message/rfc822", 1),
            ("multipart/mixed", 2),
            ("text/plain", 3),
            ("text/plain", 1),
        ];
        assert_eq!(found, expected.map(|(media, depth)| (media.to_owned(), depth)));
        // An outer boundary ends what is open inside.
        assert_eq!(leaves(message), ["plain", "html", "inside", "last"]);
    }

    #[test]
    fn digests() {
        let message = "Content-Type: multipart/digest; boundary=b\n\n\
            --b\n\nSubject: one\n\nfirst\n--b\n\nSubject: two\n\nsecond\n--b--\n";
        let media: Vec<_> = parts(message).into_iter().map(|(media, ..)| media).collect();
        assert_eq!(
            media,
            ["multipart/digest", "message/rfc822", "text/plain", "message/rfc822", "text/plain"]
        );
        assert_eq!(leaves(message), ["first", "second"]);
    }

    #[test]
    fn what_a_part_says() {
        let message = "Content-Type: application/pdf; name=b.pdf\nContent-Disposition: attachment; filename=\"a.pdf\"\n\
            Content-Transfer-Encoding: Base64\nContent-ID: <x@y>\n\n";
        let limits = Limits::default();
        let mut values = Values::new(&limits);
        let found =
            structure(message.as_bytes(), 0, &mut values, &mut Room { parts: 9, messages: 9 });
        let mime = &found[0].mime;
        assert_eq!(mime.name.as_deref(), Some("a.pdf"));
        assert_eq!(mime.id.as_deref(), Some("x@y"));
        assert_eq!((mime.transfer, mime.attachment, mime.inline), (Transfer::Base64, true, false));
    }

    fn problems(message: &[u8], limits: &Limits) -> (usize, Vec<Problem>) {
        let mut values = Values::new(limits);
        let mut room = Room { parts: limits.parts, messages: limits.messages };
        let count = structure(message, 0, &mut values, &mut room).len();
        (count, values.problems.iter().collect())
    }

    #[test]
    fn limits_hold() {
        let limits = Limits { parts: 5, depth: 4, messages: 2, ..Limits::default() };
        let many =
            "Content-Type: multipart/mixed; boundary=b\n\n".to_owned() + &"--b\n\nx\n".repeat(100);
        assert_eq!(problems(many.as_bytes(), &limits), (5, vec![Problem::Parts]));
        let nested = "Content-Type: message/rfc822\n\n".repeat(100);
        assert_eq!(problems(nested.as_bytes(), &limits), (3, vec![Problem::Messages]));
        let deep: String = (0..100)
            .map(|level| {
                format!("Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n")
            })
            .collect();
        assert_eq!(problems(deep.as_bytes(), &limits), (5, vec![Problem::Depth, Problem::Parts]));
    }

    /// What takes others minutes, or ends their process.
    #[test]
    fn bombs() {
        let limits = Limits::default();
        let missing: String = "Content-Type: multipart/mixed; boundary=b\n\n".to_owned()
            + &"--b\nContent-Type: multipart/mixed; boundary=missing\n\n".repeat(20_000);
        problems(missing.as_bytes(), &limits);
        let messages = "Content-Type: message/rfc822\n\n".repeat(100_000);
        assert!(problems(messages.as_bytes(), &limits).1.contains(&Problem::Depth));
        let hyphens =
            "Content-Type: multipart/mixed; boundary=b\n\n".to_owned() + &"--\n".repeat(1_000_000);
        assert_eq!(problems(hyphens.as_bytes(), &limits).0, 1);
        let one_line =
            "Content-Type: multipart/mixed; boundary=b\n\n".to_owned() + &"--b".repeat(1_000_000);
        assert_eq!(problems(one_line.as_bytes(), &limits).0, 1);
    }

    proptest! {
        /// Bodies lie within what they belong to, and what is in one part lies in no other.
        #[test]
        fn anything(pieces in proptest::collection::vec(prop_oneof![
            Just("--b\n"), Just("--c\r\n"), Just("--b--\n"), Just("--c--"), Just("\n"), Just("\r\n"), Just("text"),
            Just("Content-Type: multipart/mixed; boundary=b\n"), Just("Content-Type: multipart/digest; boundary=c\n"),
            Just("Content-Type: message/rfc822\n"), Just("A: b\n"), Just(" "), Just("--"), Just("b"),
        ], 0..60)) {
            let message = pieces.concat();
            let limits = Limits { parts: 30, depth: 6, messages: 5, ..Limits::default() };
            let mut values = Values::new(&limits);
            let mut room = Room { parts: limits.parts, messages: limits.messages };
            let found = structure(message.as_bytes(), 0, &mut values, &mut room);
            prop_assert!(!found.is_empty() && found.len() <= 30);
            let mut before = 0;
            for part in &found {
                prop_assert!(part.body.start <= part.body.end && part.body.end <= message.len());
                prop_assert!(part.depth <= 6);
                prop_assert_eq!(part.header.end, part.body.start);
                if let Some(parent) = part.parent {
                    let parent = &found[parent];
                    prop_assert!(parent.shape != Shape::Leaf);
                    prop_assert_eq!(parent.depth + 1, part.depth);
                    prop_assert!(parent.body.start <= part.body.start);
                }
                if part.shape == Shape::Leaf {
                    prop_assert!(part.body.start >= before);
                    before = part.body.end;
                }
            }
        }
    }
}
