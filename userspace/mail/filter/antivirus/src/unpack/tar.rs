//! tar: the old form, POSIX' and GNU's.

use std::borrow::Cow;

use crate::bytes::{at_most, from, narrow};
use crate::name::FileName;
use crate::unpack::{Entry, Facts, Stop, Walk};

const BLOCK: usize = 512;

pub(crate) fn unpack(
    _: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    let mut at = 0_usize;
    let mut long: Option<String> = None;
    while let Some(header) = content.get(at..at.saturating_add(BLOCK)) {
        at += BLOCK;
        if header.iter().all(|&octet| octet == 0) {
            // Two of them are the end for who reads tapes; others read on.
            continue;
        }
        walk.count()?;
        let Some(size) =
            octal(at_most(header, 124, 12)).and_then(|size| usize::try_from(size).ok())
        else {
            facts.broken = true;
            facts.unsupported = true;
            return Ok(());
        };
        let kind = header.get(156).copied().unwrap_or_default();
        let data = at_most(content, at, size);
        facts.broken |= data.len() < size;
        at = at.saturating_add(size.div_ceil(BLOCK).saturating_mul(BLOCK));
        match kind {
            b'L' => long = Some(narrow(until_nul(at_most(data, 0, 4096)))),
            b'x' | b'g' => long = pax_path(data).or(long),
            // The name of what a link leads to.
            b'K' => {}
            // Links, folders, devices.
            b'1'..=b'6' if data.is_empty() => long = None,
            // A kind that a program does not know is a file to it.
            _ => {
                let name = long.take().unwrap_or_else(|| short_name(header));
                walk.borrow(data.len())?;
                walk.entry(&Entry::new(name, data))?;
            }
        }
    }
    Ok(())
}

fn short_name(header: &[u8]) -> String {
    let name = narrow(until_nul(at_most(header, 0, 100)));
    let prefix = until_nul(at_most(header, 345, 155));
    if prefix.is_empty() || at_most(header, 257, 5) != b"ustar" {
        name
    } else {
        format!("{}/{name}", narrow(prefix))
    }
}

/// The path among POSIX' further values, each with its length before it: `17 path=a/b/c.txt`.
fn pax_path(data: &[u8]) -> Option<String> {
    let mut rest = at_most(data, 0, 64 << 10);
    while let Some(blank) = memchr::memchr(b' ', at_most(rest, 0, 20)) {
        let length: usize = std::str::from_utf8(at_most(rest, 0, blank)).ok()?.parse().ok()?;
        let record = at_most(rest, 0, length);
        if let Some(path) = from(record, blank + 1).strip_prefix(b"path=") {
            return Some(narrow(path.trim_ascii_end()));
        }
        rest = from(rest, length.max(1));
    }
    None
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or_default()
}

/// A number: octal digits between blanks, or, after an octet with the highest bit, binary as GNU has it.
pub(crate) fn octal(field: &[u8]) -> Option<u64> {
    if let Some((first, rest)) = field.split_first().filter(|(first, _)| **first & 0x80 != 0) {
        let zero = (u64::from(first & 0x7f), 0_u32);
        let (value, over) = rest.iter().fold(zero, |(value, over), &octet| {
            (value << 8 | u64::from(octet), over | u32::from(value >> 56 != 0))
        });
        return (over == 0).then_some(value);
    }
    let digits: Cow<'_, str> = String::from_utf8_lossy(field);
    let digits = digits.trim_matches(|sign: char| sign == '\0' || sign.is_whitespace());
    let digits = digits.split('\0').next().unwrap_or_default().trim();
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"    644 ", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"89\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(octal(field), expected, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn paths() {
        assert_eq!(pax_path(b"12 mtime=12\n14 path=a.exe\n").as_deref(), Some("a.exe"));
        assert_eq!(pax_path(b"99999999999999999999 path=a"), None);
        assert_eq!(pax_path(b"0 path=a\n"), None);
        assert_eq!(pax_path(b""), None);
    }
}
