//! Domain names in wire form (RFC 1035 section 3.1): labels with their lengths before them, the root's last.
//!
//! A name of wire form can be lower-cased byte by byte: a length is at most 63, below every letter.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::octets::u16_at;

/// Most bytes of a name, all lengths and the root included (RFC 1035 section 2.3.4).
pub const MAX_LEN: usize = 255;

/// Most bytes of a label.
pub const MAX_LABEL: usize = 63;

/// Bytes of a message's header: nothing before it can be pointed at.
const HEADER: usize = 12;

/// A whole name, uncompressed, on the stack. Equality and [`Name::is_within`] do not look at letter case.
#[derive(Clone, Copy)]
pub struct Name {
    bytes: [u8; MAX_LEN],
    len: u8,
}

/// Why something is no name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// A label is longer than [`MAX_LABEL`].
    #[error("a label is longer than 63 bytes")]
    LongLabel,
    /// The name is longer than [`MAX_LEN`].
    #[error("the name is longer than 255 bytes")]
    LongName,
    /// Two dots follow each other, or the text begins with one, or is empty.
    #[error("a label is empty")]
    EmptyLabel,
    /// A backslash is not followed by a character or by three digits up to 255.
    #[error("a backslash is followed by neither a character nor three digits up to 255")]
    Escape,
    /// A space, a control character or one outside ASCII is not escaped.
    #[error("{0:?} must be escaped")]
    Character(char),
    /// The bytes end before the root, go on after it, or hold something else than labels.
    #[error("not a name in wire form")]
    Wire,
}

impl Name {
    /// The root.
    pub const ROOT: Self = Self { bytes: [0; MAX_LEN], len: 1 };

    /// Takes exactly one uncompressed name.
    pub fn from_wire(wire: &[u8]) -> Result<Self, NameError> {
        match wire_len(wire) {
            Some(len) if len == wire.len() => {
                let mut name = Self::ROOT;
                name.fill(wire);
                Ok(name)
            }
            _ => Err(NameError::Wire),
        }
    }

    /// The name at `at` of a message, decompressed, and where the record goes on after it. Pointers must point
    /// backwards.
    pub fn expand(message: &[u8], at: usize) -> Option<(Self, usize)> {
        let mut bytes = [0; MAX_LEN];
        let mut len = 0;
        let end = walk(message, at, |_, element| {
            // The walk sees to the lengths.
            if let [1..=63, ..] = element
                && let Some(place) = bytes.get_mut(len..len + element.len())
            {
                place.copy_from_slice(element);
                len += element.len();
            }
            true
        })?;
        Some((Self { bytes, len: u8::try_from(len + 1).ok()? }, end))
    }

    /// The wire form.
    pub fn as_wire(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[0])
    }

    /// The same name in lower case.
    #[must_use]
    pub fn to_lower(mut self) -> Self {
        self.bytes.make_ascii_lowercase();
        self
    }

    /// Whether it is `zone` or lies below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        is_within(self.as_wire(), zone.as_wire())
    }

    /// The name itself, then each name above it, the root last.
    pub fn ancestry(&self) -> Ancestry<'_> {
        ancestry(self.as_wire())
    }

    fn fill(&mut self, wire: &[u8]) {
        if let Some(place) = self.bytes.get_mut(..wire.len()) {
            place.copy_from_slice(wire);
            self.len = u8::try_from(wire.len()).unwrap_or(u8::MAX);
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_wire().eq_ignore_ascii_case(other.as_wire())
    }
}

impl Eq for Name {}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_presentation(self.as_wire(), f)
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads presentation form (RFC 1035 section 5.1), with `\.` and `\DDD`. All names are taken as absolute,
    /// with or without a dot at their end.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "." {
            return Ok(Self::ROOT);
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        let mut label = Vec::with_capacity(MAX_LABEL);
        let mut characters = text.chars();
        let mut ended = false;
        while let Some(character) = characters.next() {
            ended = character == '.';
            match character {
                '.' => push_label(&mut wire, &mut label)?,
                '\\' => label.push(unescape(&mut characters)?),
                '!'..='~' => label.push(character as u8),
                _ => return Err(NameError::Character(character)),
            }
        }
        if !ended {
            push_label(&mut wire, &mut label)?;
        }
        if wire.len() >= MAX_LEN {
            return Err(NameError::LongName);
        }
        wire.push(0);
        Self::from_wire(&wire)
    }
}

fn push_label(wire: &mut Vec<u8>, label: &mut Vec<u8>) -> Result<(), NameError> {
    let length = u8::try_from(label.len()).map_err(|_| NameError::LongLabel)?;
    match label.len() {
        0 => return Err(NameError::EmptyLabel),
        1..=MAX_LABEL => {}
        _ => return Err(NameError::LongLabel),
    }
    wire.push(length);
    wire.append(label);
    Ok(())
}

fn unescape(characters: &mut std::str::Chars<'_>) -> Result<u8, NameError> {
    let first = characters.next().ok_or(NameError::Escape)?;
    if !first.is_ascii_digit() {
        return u8::try_from(first).ok().filter(u8::is_ascii_graphic).ok_or(NameError::Escape);
    }
    let mut value = first.to_digit(10).unwrap_or_default();
    for _ in 0..2 {
        let digit = characters.next().and_then(|next| next.to_digit(10));
        value = value * 10 + digit.ok_or(NameError::Escape)?;
    }
    u8::try_from(value).map_err(|_| NameError::Escape)
}

/// The length of the uncompressed name that `bytes` begin with; what follows it does not matter.
pub fn wire_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match usize::from(*bytes.get(at)?) {
            0 => return Some(at + 1),
            length if length <= MAX_LABEL && at + 1 + length < MAX_LEN => at += 1 + length,
            _ => return None,
        }
    }
}

/// Where the name at `at` of a message ends, be it compressed or not. Labels and the length of the whole name
/// are within their limits, and every pointer points before the labels that led to it, behind the header, to what ends
/// before the name begins, as a prior occurrence does (RFC 1035 section 4.1.4).
pub(crate) fn skip(message: &[u8], at: usize) -> Option<usize> {
    skip_if(message, at, |_| true)
}

/// Like [`skip`], if all places that the name is read from, pointers and their targets, `may` hold it.
pub(crate) fn skip_if(
    message: &[u8],
    at: usize,
    may: impl Fn(Range<usize>) -> bool,
) -> Option<usize> {
    walk(message, at, |at, element| may(at..at + element.len()))
}

/// Gives `each` element of a name with its place: labels with their length before them, pointers, and the zero at the
/// end; until it returns false.
fn walk(message: &[u8], start: usize, mut each: impl FnMut(usize, &[u8]) -> bool) -> Option<usize> {
    let mut at = start;
    // Each pointer must point below this, so that the walk comes to an end.
    let mut floor = start;
    let mut end = None;
    let mut total = 1;
    loop {
        let first = *message.get(at)?;
        let size = match first {
            0..=0x3f => 1 + usize::from(first),
            0xc0.. => 2,
            _ => return None,
        };
        let element = message.get(at..at + size)?;
        let borrowed_ahead = end.is_some() && at + size > start;
        if borrowed_ahead || !each(at, element) {
            return None;
        }
        match first {
            0 => return Some(end.unwrap_or(at + 1)),
            0xc0.. => {
                let target = usize::from(u16_at(element, 0)? & 0x3fff);
                if !(HEADER..floor).contains(&target) {
                    return None;
                }
                end = end.or(Some(at + 2));
                floor = target;
                at = target;
            }
            _ => {
                total += size;
                if total > MAX_LEN {
                    return None;
                }
                at += size;
            }
        }
    }
}

/// Whether `name` is `zone` or lies below it; both in wire form, letter case does not matter.
pub fn is_within(name: &[u8], zone: &[u8]) -> bool {
    ancestry(name)
        .find(|ancestor| ancestor.len() <= zone.len())
        .is_some_and(|ancestor| ancestor.eq_ignore_ascii_case(zone))
}

/// The name in wire form itself, then each name above it, the root last.
pub fn ancestry(name: &[u8]) -> Ancestry<'_> {
    Ancestry(Some(name))
}

/// See [`ancestry`].
#[derive(Clone, Debug)]
pub struct Ancestry<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Ancestry<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let name = self.0?;
        let length = usize::from(*name.first()?);
        self.0 = if length == 0 { None } else { name.get(1 + length..) };
        Some(name)
    }
}

/// Writes an uncompressed name in wire form as people read it, with a dot at its end.
pub(crate) fn write_presentation(wire: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    if wire.len() <= 1 {
        return out.write_char('.');
    }
    for ancestor in ancestry(wire) {
        let length = ancestor.first().map_or(0, |&length| usize::from(length));
        let Some(label) = ancestor.get(1..=length).filter(|label| !label.is_empty()) else {
            continue;
        };
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                    write!(out, "\\{}", char::from(byte))?;
                }
                b'!'..=b'~' => out.write_char(char::from(byte))?,
                _ => write!(out, "\\{byte:03}")?,
            }
        }
        out.write_char('.')?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_becomes_wire_and_back() {
        let cases: [(&str, &[u8], &str); 7] = [
            (".", b"\0", "."),
            ("example", b"\x07example\0", "example."),
            ("WWW.Example.com.", b"\x03WWW\x07Example\x03com\0", "WWW.Example.com."),
            (r"a\.b.c", b"\x03a.b\x01c\0", r"a\.b.c."),
            (r"\097\000\255.x", b"\x03a\0\xff\x01x\0", r"a\000\255.x."),
            (r"\@\$\;.", b"\x03@$;\0", r"\@\$\;."),
            ("_25._tcp.mx", b"\x03_25\x04_tcp\x02mx\0", "_25._tcp.mx."),
        ];
        for (text, wire, back) in cases {
            let name: Name = text.parse().unwrap();
            assert_eq!(name.as_wire(), wire, "{text}");
            assert_eq!(name.to_string(), back, "{text}");
            assert_eq!(back.parse(), Ok(name));
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.parse::<Name>().unwrap().as_wire().len(), MAX_LEN);
        let cases = [
            ("".to_owned(), NameError::EmptyLabel),
            ("..".to_owned(), NameError::EmptyLabel),
            (".a".to_owned(), NameError::EmptyLabel),
            ("a..b".to_owned(), NameError::EmptyLabel),
            ("a".repeat(64), NameError::LongLabel),
            ("a".repeat(700), NameError::LongLabel),
            (format!("{longest}a"), NameError::LongName),
            (r"a\".to_owned(), NameError::Escape),
            (r"a\25".to_owned(), NameError::Escape),
            (r"a\256".to_owned(), NameError::Escape),
            (r"a\é".to_owned(), NameError::Escape),
            ("a b".to_owned(), NameError::Character(' ')),
            ("é".to_owned(), NameError::Character('é')),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Name>(), Err(error), "{text}");
        }
        for wire in [&b""[..], b"\x01", b"\x01a", b"\x01a\0\0", b"\xc0\x0c", b"\x40a\0"] {
            assert_eq!(Name::from_wire(wire), Err(NameError::Wire), "{wire:?}");
        }
    }

    #[test]
    fn zones_hold_what_is_below_them_on_label_borders() {
        let cases = [
            ("www.example.com", "example.com", true),
            ("EXAMPLE.com", "example.COM", true),
            ("wwwexample.com", "example.com", false),
            ("com", "example.com", false),
            ("a.b", ".", true),
            (".", ".", true),
            (".", "a", false),
            ("www.example.org", "example.com", false),
        ];
        for (name, zone, within) in cases {
            let (name, zone): (Name, Name) = (name.parse().unwrap(), zone.parse().unwrap());
            assert_eq!(name.is_within(&zone), within, "{name} {zone}");
        }
        let name: Name = "a.b.c".parse().unwrap();
        let above: Vec<String> =
            name.ancestry().map(|wire| Name::from_wire(wire).unwrap().to_string()).collect();
        assert_eq!(above, ["a.b.c.", "b.c.", "c.", "."]);
    }

    #[test]
    fn pointers_point_backwards() {
        let head = [0_u8; 12];
        // (bytes after the header, where the name begins, the name or none)
        type Case = (&'static [u8], usize, Option<(&'static str, usize)>);
        let cases: [Case; 10] = [
            (b"\x01a\0\x01b\xc0\x0c", 3, Some(("b.a.", 7))),
            (b"\x01a\0\xc0\x0c", 3, Some(("a.", 5))),
            (b"\x01a\0\xc0\x0c\x01c\xc0\x0f", 5, Some(("c.a.", 9))),
            (b"\x03ab\xc0\x0c\0", 3, None),
            (b"\xc0\x0c", 0, None),
            (b"\xc0\x0e\x01a\0", 0, None),
            (b"\x01a\xc0\x0c", 0, None),
            (b"\xc0\x00", 0, None),
            (b"\x01a\xc0", 0, None),
            (b"\x80a", 0, None),
        ];
        for (bytes, at, expected) in cases {
            let message = [&head[..], bytes].concat();
            let found = Name::expand(&message, HEADER + at);
            let expected = expected.map(|(name, end)| (name.parse().unwrap(), HEADER + end));
            assert_eq!(found, expected, "{bytes:?}");
            assert_eq!(skip(&message, HEADER + at), expected.map(|(_, end)| end));
        }
    }

    proptest! {
        #[test]
        fn every_wire_name_survives_presentation(
            labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=63), 0..4),
        ) {
            let mut wire = Vec::new();
            for label in &labels {
                wire.push(label.len() as u8);
                wire.extend_from_slice(label);
            }
            wire.push(0);
            let name = Name::from_wire(&wire);
            prop_assert_eq!(name.is_ok(), wire.len() <= MAX_LEN);
            if let Ok(name) = name {
                let back: Name = name.to_string().parse().unwrap();
                prop_assert_eq!(back.as_wire(), &wire[..]);
            }
        }

        #[test]
        fn any_bytes_are_walked_without_harm(
            bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0_usize..320,
        ) {
            let expanded = Name::expand(&bytes, at);
            prop_assert_eq!(expanded.map(|(_, end)| end), skip(&bytes, at));
            if let Some((name, _)) = expanded {
                prop_assert!(Name::from_wire(name.as_wire()).is_ok());
            }
        }
    }
}
