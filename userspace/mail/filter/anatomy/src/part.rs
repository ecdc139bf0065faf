//! The parts of a message, each with its content.

use std::borrow::Cow;

use crate::kind::Kind;
use crate::limits::{Problem, prefix};
use crate::structure::{self, Found, Mime, Room, Shape};
use crate::transfer::{self, Transfer};
use crate::values::Values;

/// How often a message may be encoded within an encoded one. No program encodes them at all.
const MOST_ENCODED: u8 = 2;

/// A part of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Part<'m> {
    /// The part that it belongs to, by its place in the list.
    pub parent: Option<usize>,
    /// How deep it lies; the message itself is at zero.
    pub depth: usize,
    /// What is done with it.
    pub role: Role,
    /// Its type and subtype as it says, in lower case; what holds where it says nothing.
    pub media: String,
    /// Whether it said anything.
    pub declared: bool,
    /// What its content is.
    pub kind: Kind,
    /// Its file name.
    pub name: Option<String>,
    /// The charset that it says its text is in.
    pub charset: Option<String>,
    /// The name that other parts have for it.
    pub id: Option<String>,
    /// Whether it says that it is to be shown with the text.
    pub inline: bool,
    /// How its content was encoded.
    pub transfer: Transfer,
    /// Its content, decoded; nothing if it has parts, whose content it is.
    pub content: Cow<'m, [u8]>,
    /// Whether its encoding was broken somewhere.
    pub broken: bool,
    /// Whether it has parts that did not end as it said, or said that it has some and has none.
    pub open_ended: bool,
}

/// What is done with a part.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// It has others.
    Container,
    /// It is a message, whose parts follow.
    Message,
    /// Its text is shown.
    Text,
    /// Its page is shown.
    Page,
    /// It is offered to be opened, or shown by what else refers to it.
    Attachment,
}

impl Part<'_> {
    /// Octets of its content.
    #[must_use]
    pub fn size(&self) -> usize {
        self.content.len()
    }

    /// Whether the page refers to it: an image that is part of what is shown.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.role == Role::Attachment && self.id.is_some() && self.media.starts_with("image/")
    }

    fn into_owned(self) -> Part<'static> {
        Part { content: Cow::Owned(self.content.into_owned()), ..self }
    }
}

/// What may still be taken.
#[derive(Debug)]
pub(crate) struct Work<'v, 'l> {
    pub(crate) values: &'v mut Values<'l>,
    pub(crate) room: Room,
    /// Octets that may be decoded.
    pub(crate) decoded: usize,
}

/// The parts of which the structure was found in these octets.
pub(crate) fn parts<'m>(
    bytes: &'m [u8],
    found: Vec<Found<'m>>,
    work: &mut Work<'_, '_>,
) -> Vec<Part<'m>> {
    parts_within(bytes, found, 0, work)
}

fn parts_within<'m>(
    bytes: &'m [u8],
    found: Vec<Found<'m>>,
    encoded: u8,
    work: &mut Work<'_, '_>,
) -> Vec<Part<'m>> {
    let mut parts: Vec<Part<'m>> = Vec::with_capacity(found.len());
    // Where each was put: those within encoded messages come in between.
    let mut places = Vec::with_capacity(found.len());
    let mut has_parts = vec![false; found.len()];
    for parent in found.iter().filter_map(|part| part.parent) {
        if let Some(parent) = has_parts.get_mut(parent) {
            *parent = true;
        }
    }
    for (found, has_parts) in found.into_iter().zip(has_parts) {
        let parent = found.parent.and_then(|parent| places.get(parent)).copied();
        let place = parts.len();
        places.push(place);
        let Found { depth, body, mime, shape, open_ended, .. } = found;
        let (content, broken) = if has_parts || shape == Shape::Message {
            (Cow::Borrowed(&b""[..]), false)
        } else {
            decode(bytes.get(body).unwrap_or_default(), &mime, work)
        };
        let kind = Kind::of(&content);
        let role = match shape {
            Shape::Message => Role::Message,
            Shape::Multipart if has_parts => Role::Container,
            _ => role(&mime, kind),
        };
        // What promised parts and has none is shown as it is.
        let empty = !has_parts && mime.is_multipart();
        let mut part = Part {
            parent,
            depth,
            role,
            kind,
            content,
            broken,
            media: mime.media,
            declared: mime.declared,
            name: mime.name,
            charset: mime.charset,
            id: mime.id,
            inline: mime.inline,
            transfer: mime.transfer,
            open_ended: open_ended || empty,
        };
        let within = within(&mut part, place, encoded, work);
        parts.push(part);
        parts.extend(within);
    }
    parts
}

fn decode<'m>(raw: &'m [u8], mime: &Mime, work: &mut Work<'_, '_>) -> (Cow<'m, [u8]>, bool) {
    if mime.transfer == Transfer::Plain {
        return (Cow::Borrowed(raw), false);
    }
    let taken = prefix(raw, work.decoded);
    if taken.len() < raw.len() {
        work.values.problems.add(Problem::Decoded);
    }
    let (content, broken) = mime.transfer.decode(taken);
    work.decoded -= taken.len().min(work.decoded);
    (content, broken)
}

fn role(mime: &Mime, kind: Kind) -> Role {
    let text = matches!(kind, Kind::Text | Kind::Html | Kind::Svg | Kind::Script | Kind::Empty);
    match mime.media.as_str() {
        _ if mime.attachment => Role::Attachment,
        "text/html" | "application/xhtml+xml" => Role::Page,
        // Whoever has a name and is not to be shown is offered.
        "text/plain" if mime.inline || mime.name.is_none() => Role::Text,
        "text/enriched" | "text/richtext" if mime.name.is_none() => Role::Text,
        _ if mime.is_multipart() || !mime.declared && text => Role::Text,
        _ => Role::Attachment,
    }
}

/// What is in a part that is no container: an encoded message, or a file between lines of text.
fn within(
    part: &mut Part<'_>,
    place: usize,
    encoded: u8,
    work: &mut Work<'_, '_>,
) -> Vec<Part<'static>> {
    let is_message = part.media == "message/rfc822" || part.media == "message/global";
    if is_message && part.role == Role::Attachment && part.transfer != Transfer::Plain {
        return encoded_message(part, place, encoded, work);
    }
    if part.role != Role::Text || work.room.parts == 0 {
        return Vec::new();
    }
    let Some(file) = transfer::uuencoded(&part.content) else { return Vec::new() };
    if file.content.len() > work.decoded {
        work.values.problems.add(Problem::Decoded);
        return Vec::new();
    }
    work.decoded -= file.content.len();
    work.room.parts -= 1;
    let (before, behind) = (
        part.content.get(..file.start).unwrap_or_default(),
        part.content.get(file.end..).unwrap_or_default(),
    );
    let rest = [before, behind].concat();
    part.content = Cow::Owned(rest);
    vec![Part {
        parent: Some(place),
        depth: part.depth + 1,
        role: Role::Attachment,
        media: "application/octet-stream".to_owned(),
        declared: false,
        kind: Kind::of(&file.content),
        name: Some(file.name),
        charset: None,
        id: None,
        inline: false,
        transfer: Transfer::Uuencode,
        content: Cow::Owned(file.content),
        broken: false,
        open_ended: false,
    }]
}

fn encoded_message(
    part: &mut Part<'_>,
    place: usize,
    encoded: u8,
    work: &mut Work<'_, '_>,
) -> Vec<Part<'static>> {
    let depth = part.depth + 1;
    if work.room.messages == 0 || work.room.parts == 0 {
        work.values.problems.add(Problem::Messages);
        return Vec::new();
    }
    if encoded >= MOST_ENCODED || depth > work.values.limits.depth {
        work.values.problems.add(Problem::Depth);
        return Vec::new();
    }
    work.room.messages -= 1;
    part.role = Role::Message;
    let content = std::mem::take(&mut part.content);
    let found = structure::structure(&content, depth, work.values, &mut work.room);
    let inside = parts_within(&content, found, encoded + 1, work);
    // What is in a copy has to be one itself.
    let size: usize = inside.iter().map(Part::size).sum();
    work.decoded = work.decoded.saturating_sub(size);
    inside
        .into_iter()
        .map(|inner| Part {
            parent: Some(inner.parent.map_or(place, |parent| place + 1 + parent)),
            ..inner.into_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn read<'m>(message: &'m [u8], limits: &Limits) -> (Vec<Part<'m>>, Vec<Problem>) {
        let mut values = Values::new(limits);
        let mut room = Room { parts: limits.parts, messages: limits.messages };
        let found = structure::structure(message, 0, &mut values, &mut room);
        let mut work = Work { values: &mut values, room, decoded: limits.decoded };
        let parts = parts(message, found, &mut work);
        (parts, values.problems.iter().collect())
    }

    #[test]
    fn roles() {
        for (header, body, role) in [
            ("", "text", Role::Text),
            ("Content-Type: text/plain\n", "text", Role::Text),
            ("Content-Type: text/plain; name=a.txt\n", "text", Role::Attachment),
            (
                "Content-Type: text/plain; name=a.txt\nContent-Disposition: inline\n",
                "text",
                Role::Text,
            ),
            ("Content-Type: text/html\n", "<p>", Role::Page),
            ("Content-Type: text/html\nContent-Disposition: attachment\n", "<p>", Role::Attachment),
            ("Content-Type: application/pdf\n", "%PDF-", Role::Attachment),
            ("Content-Type: multipart/mixed; boundary=b\n", "nothing", Role::Text),
            ("Content-Type: multipart/mixed\n", "nothing", Role::Text),
            ("Content-Type: multipart/mixed; boundary=b\n", "--b\n\nx\n--b--", Role::Container),
            ("Content-Type: message/rfc822\n", "A: b\n\nx", Role::Message),
        ] {
            let message = format!("{header}\n{body}");
            let (parts, problems) = read(message.as_bytes(), &Limits::default());
            assert_eq!(parts[0].role, role, "{header:?} {body:?}");
            assert!(problems.is_empty());
        }
    }

    #[test]
    fn decoded_contents() {
        let message = b"Content-Type: multipart/mixed; boundary=b\n\n\
            --b\nContent-Transfer-Encoding: base64\n\nSGVsbG8=\n\
            --b\nContent-Transfer-Encoding: quoted-printable\n\na=3Db\n\
            --b\n\nplain\n--b--\n";
        let (parts, _) = read(message, &Limits::default());
        let contents: Vec<_> = parts[1..].iter().map(|part| &*part.content).collect();
        assert_eq!(contents, [&b"Hello"[..], b"a=b", b"plain"]);
        assert!(matches!(parts[3].content, Cow::Borrowed(_)));
        assert!(parts.iter().all(|part| !part.broken));
    }

    #[test]
    fn an_encoded_message() {
        // "Subject: x\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\none\n--c\n\ntwo\n--c--\n"
        let inner = "U3ViamVjdDogeApDb250ZW50LVR5cGU6IG11bHRpcGFydC9taXhlZDsgYm91bmRhcnk9YwoKLS1jCgpvbmUKLS1jCgp0d28KLS1jLS0K";
        let message = format!(
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\
             Content-Transfer-Encoding: base64\n\n{inner}\n--b\n\nlast\n--b--\n"
        );
        let (parts, _) = read(message.as_bytes(), &Limits::default());
        let seen: Vec<_> = parts.iter().map(|part| (part.role, part.parent, part.depth)).collect();
        assert_eq!(
            seen,
            [
                (Role::Container, None, 0),
                (Role::Message, Some(0), 1),
                (Role::Container, Some(1), 2),
                (Role::Text, Some(2), 3),
                (Role::Text, Some(2), 3),
                (Role::Text, Some(0), 1),
            ]
        );
        assert_eq!(&*parts[4].content, b"two");
        assert_eq!(&*parts[5].content, b"last");
    }

    #[test]
    fn a_file_between_lines() {
        let message = b"Subject: x\n\nHello\nbegin 644 cat.exe\n#0V%T\n`\nend\nbye\n";
        let (parts, _) = read(message, &Limits::default());
        assert_eq!(&*parts[0].content, b"Hello\nbye\n");
        assert_eq!((&*parts[1].content, parts[1].name.as_deref()), (&b"Cat"[..], Some("cat.exe")));
        assert_eq!((parts[1].parent, parts[1].role), (Some(0), Role::Attachment));
    }

    #[test]
    fn limits_hold() {
        let limits = Limits { decoded: 10, ..Limits::default() };
        let message = b"Content-Transfer-Encoding: base64\n\nSGVsbG8gdGhlcmUsIHdvcmxk\n";
        let (parts, problems) = read(message, &limits);
        assert_eq!(problems, [Problem::Decoded]);
        assert!(parts[0].size() <= 10);
        // A message in a message in a message, each encoded.
        let mut message = b"Subject: x\n\ninnermost".to_vec();
        for _ in 0..6 {
            let encoded: String = message.iter().map(|byte| format!("={byte:02X}")).collect();
            message = format!(
                "Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n{encoded}"
            )
            .into_bytes();
        }
        let (parts, problems) = read(&message, &Limits::default());
        assert_eq!(problems, [Problem::Depth]);
        assert_eq!(parts.len(), 3);
    }
}
