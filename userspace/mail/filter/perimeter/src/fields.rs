//! Header fields that are written above a message, and those that only pretend to be ours.

use std::fmt::Write;

use bytes::Bytes;
use muralla_mail_envelope::scan::{self, Field};

/// A header field to be written. Nothing in it makes another field of itself.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HeaderField {
    name: String,
    /// Its lines, each but the first with the space that it begins with.
    lines: Vec<String>,
}

/// Why text is no header field.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the name of a header field has at most {LONGEST_NAME} printable characters, and no colon")]
pub struct NotAName;

/// Longest name of a field in octets.
const LONGEST_NAME: usize = 76;

impl HeaderField {
    /// A field. Its value may be folded: a line end, whatever it is, begins a line that continues it.
    ///
    /// # Errors
    ///
    /// If the name can't be one.
    pub fn new(name: &str, value: &str) -> Result<Self, NotAName> {
        // ftext: RFC 5322 section 3.6.8.
        let may_stand = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(may_stand) {
            return Err(NotAName);
        }
        let mut lines: Vec<String> = Vec::new();
        for line in value.split(['\r', '\n']) {
            let clean = |char: char| if char.is_control() && char != '\t' { ' ' } else { char };
            let line: String = line.chars().map(clean).collect();
            let line = line.trim_end();
            match lines.len() {
                0 => lines.push(line.trim_start().to_owned()),
                // A line of spaces alone is obsolete (RFC 5322 section 4.2).
                _ if line.trim_start().is_empty() => {}
                _ if line.starts_with([' ', '\t']) => lines.push(line.to_owned()),
                _ => lines.push(format!("\t{line}")),
            }
        }
        Ok(Self { name: name.to_owned(), lines })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value, with these line ends where it is folded.
    #[must_use]
    pub fn value(&self, line_end: &str) -> String {
        self.lines.join(line_end)
    }

    /// As it stands in a message, its last line ended.
    pub(crate) fn write(&self, out: &mut String) {
        // Writing to a String can't fail.
        let _ = write!(out, "{}: {}\r\n", self.name, self.value("\r\n"));
    }
}

/// The message without the fields that are forged, and with others above it, which are whole lines.
pub(crate) fn edited(
    message: &Bytes,
    is_forged: impl Fn(&[u8], &[u8]) -> bool,
    above: &str,
) -> Bytes {
    let is_forged = |field: &Field<'_>| is_forged(field.name, field.value);
    let is_clean = !scan::fields(message).any(|field| is_forged(&field));
    if is_clean && above.is_empty() {
        return message.clone();
    }
    let mut out = Vec::with_capacity(above.len() + message.len());
    out.extend_from_slice(above.as_bytes());
    if is_clean {
        out.extend_from_slice(message);
        return Bytes::from(out);
    }
    let mut all = scan::fields(message);
    for field in all.by_ref().filter(|field| !is_forged(field)) {
        out.extend_from_slice(field.whole);
    }
    out.extend_from_slice(message.get(all.position()..).unwrap_or_default());
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        for (name, value, expected) in [
            ("X-A", "b", Ok("X-A: b\r\n")),
            ("X-A", "", Ok("X-A: \r\n")),
            ("X-A", " b\r\nX-C: d\r\n\r\nbody", Ok("X-A: b\r\n\tX-C: d\r\n\tbody\r\n")),
            ("X-A", "b;\n c\0d\n  \n", Ok("X-A: b;\r\n c d\r\n")),
            ("X:A", "b", Err(NotAName)),
            ("X A", "b", Err(NotAName)),
            ("", "b", Err(NotAName)),
            ("X-\u{e9}", "b", Err(NotAName)),
        ] {
            let written = HeaderField::new(name, value).map(|field| {
                let mut out = String::new();
                field.write(&mut out);
                out
            });
            assert_eq!(written, expected.map(ToOwned::to_owned), "{name:?} {value:?}");
        }
    }

    #[test]
    fn above_and_without() {
        let ours = "X-New: 1\r\n";
        for (message, above, expected) in [
            ("a: b\r\n\r\nc", ours, "X-New: 1\r\na: b\r\n\r\nc"),
            ("a: b\r\n\r\nc", "", "a: b\r\n\r\nc"),
            ("X-Old: 1\r\n 2\r\na: b\r\nx-OLD: 3\r\n\r\nX-Old: c", "", "a: b\r\n\r\nX-Old: c"),
            ("X-Old: 1\r\n\r\n", ours, "X-New: 1\r\n\r\n"),
            ("", ours, "X-New: 1\r\n"),
            ("no header\r\n", ours, "X-New: 1\r\nno header\r\n"),
        ] {
            let message = Bytes::copy_from_slice(message.as_bytes());
            let forged = |name: &[u8], _: &[u8]| name.eq_ignore_ascii_case(b"X-Old");
            assert_eq!(edited(&message, forged, above), expected, "{message:?}");
        }
    }
}
