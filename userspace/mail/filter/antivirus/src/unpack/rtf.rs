//! Rich text: the objects that lie in it as hexadecimal digits, between all that Word passes over when it reads them.

use crate::bytes::{at_most, from, le32, place32};
use crate::name::FileName;
use crate::unpack::{Entry, Facts, Stop, Walk, compound};

const OBJECT: &[u8] = b"\\objdata";
const COMPOUND: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

pub(crate) fn unpack(
    _: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    _: &mut Facts,
) -> Result<(), Stop> {
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(from(content, at), OBJECT) {
        walk.count()?;
        let begin = at + found + OBJECT.len();
        let (object, length) = digits(from(content, begin));
        at = begin + length;
        walk.borrow(object.len())?;
        if let Some((name, file)) = packaged(&object) {
            walk.borrow(file.len())?;
            walk.entry(&Entry::new(name, file))?;
        }
        if let Some(place) = memchr::memmem::find(&object, COMPOUND) {
            let inner = from(&object, place);
            walk.borrow(inner.len())?;
            walk.entry(&Entry::new("", inner))?;
        }
        walk.entry(&Entry::new("object", object))?;
    }
    Ok(())
}

/// The octets that digits stand for, up to the end of the group, and how much of the text that was.
fn digits(text: &[u8]) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let mut high: Option<u8> = None;
    let mut open = 0_usize;
    let mut at = 0;
    while let Some(&octet) = text.get(at) {
        at += 1;
        match octet {
            b'{' => open += 1,
            b'}' => match open.checked_sub(1) {
                Some(fewer) => open = fewer,
                None => break,
            },
            // A word, or octets as they are, neither of which counts.
            b'\\' => {
                let rest = from(text, at);
                if let Some(length) = rest.strip_prefix(b"bin").map(number) {
                    let digits = length.1;
                    let raw = at_most(rest, 3 + digits + 1, length.0);
                    out.extend_from_slice(raw);
                    at += 3 + digits + 1 + raw.len();
                } else {
                    let word = rest.iter().take_while(|octet| octet.is_ascii_alphabetic()).count();
                    let number = from(rest, word)
                        .iter()
                        .take_while(|octet| octet.is_ascii_digit() || **octet == b'-')
                        .count();
                    at += if word == 0 { 1 } else { word + number };
                }
            }
            _ => {
                let Some(digit) =
                    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
                else {
                    continue;
                };
                match high.take() {
                    Some(high) => out.push(high << 4 | digit),
                    None => high = Some(digit),
                }
            }
        }
    }
    (out, at.min(text.len()))
}

/// A number at the start, and how many digits it has.
fn number(text: &[u8]) -> (usize, usize) {
    let digits = text.iter().take(9).take_while(|octet| octet.is_ascii_digit()).count();
    let value = at_most(text, 0, digits)
        .iter()
        .fold(0, |value, digit| 10 * value + usize::from(digit - b'0'));
    (value, digits)
}

/// The file in an embedded object of the packager's: MS-OLEDS section 2.2.5.
fn packaged(object: &[u8]) -> Option<(String, &[u8])> {
    if le32(object, 4)? != 2 {
        return None;
    }
    let mut at = 8;
    let class = at_most(object, 12, place32(object, at)?);
    if !class.to_ascii_lowercase().starts_with(b"package") {
        return None;
    }
    // The class, the topic, the item; then the length of what follows.
    for _ in 0..3 {
        at = at.checked_add(4)?.checked_add(place32(object, at)?)?;
    }
    compound::package(from(object, at.checked_add(4)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_between_what_is_passed_over() {
        for (text, expected) in [
            (&b" 0105}"[..], &b"\x01\x05"[..]),
            (b"01\r\n 05", b"\x01\x05"),
            (b"0{\\*\\nothing12 x}1\\par 0\\'5\\5 5}behind", b"\x01\x05"),
            (b"01\\bin3 abc05}", b"\x01abc\x05"),
            (b"01\\bin999999999 abc", b"\x01abc"),
            (b"\\", b""),
            (b"", b""),
        ] {
            assert_eq!(digits(text).0, expected, "{}", text.escape_ascii());
            assert!(digits(text).1 <= text.len());
        }
    }
}
