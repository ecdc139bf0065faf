//! Messages that lie in files: their parts, whatever the tree is that they make. Those of the message itself are not read here.

use crate::bytes::{at_most, from};
use crate::unpack::{Entry, Stop, Walk, embedded, narrow_name};

/// Octets in which a message says that it is one.
const HEAD: usize = 8 << 10;
/// Octets of a part's header.
const HEADER: usize = 16 << 10;

/// Whether a text begins as messages and saved pages do.
pub(crate) fn is_one(text: &[u8]) -> bool {
    let head = at_most(text, 0, HEAD).trim_ascii_start();
    let name = head.iter().take_while(|octet| matches!(octet, b'!'..=b'9' | b';'..=b'~')).count();
    let begins = head.starts_with(b"From ") || name > 0 && head.get(name) == Some(&b':');
    begins && {
        let head = head.to_ascii_lowercase();
        [&b"\nmime-version:"[..], b"\ncontent-"]
            .iter()
            .any(|field| memchr::memmem::find(&head, field).is_some())
    }
}

/// The parts, one behind the other: whatever stands between lines that begin as boundaries do.
pub(crate) fn parts(text: &[u8], walk: &mut Walk<'_>) -> Result<(), Stop> {
    let mut at = 0;
    while at < text.len() {
        walk.time()?;
        let rest = from(text, at);
        let length = memchr::memmem::find(rest, b"\n--").map_or(rest.len(), |end| end + 1);
        part(at_most(rest, 0, length), walk)?;
        at += length;
        // The boundary's own line.
        at += memchr::memchr(b'\n', from(text, at)).map_or(text.len(), |end| end + 1);
    }
    Ok(())
}

/// A part, under the name that its header has for it, and decoded if that says how.
fn part(part: &[u8], walk: &mut Walk<'_>) -> Result<(), Stop> {
    let head = at_most(part, 0, HEADER);
    let blank = [&b"\n\n"[..], b"\n\r\n"]
        .iter()
        .filter_map(|blank| memchr::memmem::find(head, blank).map(|at| at + blank.len()))
        .min();
    // What begins with a blank line has no header.
    let Some(begin) = blank.filter(|_| !head.starts_with(b"\n") && !head.starts_with(b"\r\n"))
    else {
        return Ok(());
    };
    let header = at_most(head, 0, begin);
    let lower = header.to_ascii_lowercase();
    let name = ["filename=", "name="].iter().find_map(|field| value(header, &lower, field));
    let encoded = memchr::memmem::find(&lower, b"content-transfer-encoding:")
        .is_some_and(|at| from(&lower, at + 26).trim_ascii_start().starts_with(b"base64"));
    let body = from(part, begin);
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    walk.count()?;
    let name = narrow_name(name.unwrap_or_default());
    if encoded {
        // What follows the filling is not of it.
        let length = memchr::memchr(b'=', body).unwrap_or(body.len());
        let file = embedded::decode(at_most(body, 0, length));
        walk.borrow(file.len())?;
        walk.entry(&Entry::new(name, file))
    } else {
        walk.borrow(body.len())?;
        walk.entry(&Entry::new(name, body))
    }
}

/// What a parameter is said to be, with or without quotation marks.
fn value<'h>(header: &'h [u8], lower: &[u8], field: &str) -> Option<&'h [u8]> {
    let at = memchr::memmem::find(lower, field.as_bytes())? + field.len();
    let rest = from(header, at);
    let (rest, ends): (&[u8], fn(&u8) -> bool) = match rest.strip_prefix(b"\"") {
        Some(quoted) => (quoted, |octet| matches!(octet, b'"' | b'\r' | b'\n')),
        None => (rest, |octet| octet.is_ascii_whitespace() || *octet == b';'),
    };
    let length = rest.iter().position(ends).unwrap_or(rest.len());
    Some(at_most(rest, 0, length)).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognised() {
        for (text, expected) in [
            ("From: a\r\nMIME-Version: 1.0\r\n\r\n", true),
            ("From a  Thu Jul 31\nFrom: a\ncontent-type: text/plain\n\n", true),
            ("Subject: x\n\nno more", false),
            ("a sentence: with\nContent-Type: text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_one(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn parameters() {
        let header = b"Content-Disposition: attachment;\r\n FileName=\"a b.js\"\r\nX: name=c;d\r\n";
        let lower = header.to_ascii_lowercase();
        assert_eq!(value(header, &lower, "filename="), Some(&b"a b.js"[..]));
        assert_eq!(value(header, &lower, "; name="), None);
        assert_eq!(value(b"name=c;d", b"name=c;d", "name="), Some(&b"c"[..]));
        assert_eq!(value(b"name=", b"name=", "name="), None);
    }
}
