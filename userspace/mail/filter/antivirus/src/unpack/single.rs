//! One file, packed: gzip (RFC 1952), bzip2, xz, Zstandard (RFC 8878).

use std::io::Read;

use bzip2::read::MultiBzDecoder;
use lzma_rust2::XzReader;

use crate::bytes::{at_most, from, le16, narrow, until_zero};
use crate::limits::Excess;
use crate::name::FileName;
use crate::unpack::inflate::Inflate;
use crate::unpack::{Entry, Facts, Stop, Walk};

/// The largest window of Zstandard that is taken, as a power of two.
const WINDOW: u32 = 26;
/// Kibibytes that reading xz takes beside the dictionary.
const OVERHEAD: u32 = 1_024;

pub(crate) fn gzip(
    name: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    let mut rest = content;
    let mut all = Vec::new();
    let mut inner = None;
    // Members stand behind each other, and are one file.
    while rest.starts_with(b"\x1f\x8b\x08") {
        walk.count()?;
        let Some((said, packed)) = gzip_header(rest) else {
            facts.broken = true;
            break;
        };
        inner = inner.or(said);
        let mut reader = Inflate::raw(packed);
        let poured = walk.pour(&mut reader, packed.len())?;
        let broken = poured.broken;
        if all.is_empty() {
            all = poured.content;
        } else {
            all.extend(poured.content);
        }
        walk.measure(all.len(), content.len())?;
        if broken {
            facts.broken = true;
            break;
        }
        // Sum and length.
        rest = from(reader.rest(), 8);
    }
    // A header of another kind, or one that nothing comes out behind: what is in it was not seen.
    if all.is_empty() && (facts.broken || !content.starts_with(b"\x1f\x8b\x08")) {
        facts.unsupported = true;
    }
    walk.entry(&Entry::new(inner.unwrap_or_else(|| without_extension(name)), all).among(1))
}

/// The name in a member's header, and what follows the header.
fn gzip_header(member: &[u8]) -> Option<(Option<String>, &[u8])> {
    let flags = *member.get(3)?;
    let mut at = 10;
    if flags & 4 != 0 {
        at += 2 + usize::from(le16(member, at)?);
    }
    let mut name = None;
    if flags & 8 != 0 {
        let (said, next) = until_zero(member, at)?;
        name = Some(narrow(said)).filter(|name| !name.is_empty());
        at = next;
    }
    if flags & 16 != 0 {
        (_, at) = until_zero(member, at)?;
    }
    if flags & 2 != 0 {
        at += 2;
    }
    Some((name, member.get(at..)?))
}

pub(crate) fn bzip2(
    name: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    stream(name, content, &mut MultiBzDecoder::new(content), walk, facts)
}

pub(crate) fn xz(
    name: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    let mut reader = xz_reader(content, walk)?;
    stream(name, content, &mut reader, walk, facts)
}

/// Each block of an xz file asks for a dictionary of its own. The first is looked at here, the others as they come.
pub(crate) fn xz_reader<'c>(
    content: &'c [u8],
    walk: &Walk<'_>,
) -> Result<XzReader<&'c [u8]>, Stop> {
    let most = walk.limits().dictionary;
    if xz_dictionary(content).is_some_and(|octets| octets > most as u64) {
        return Err(Stop::Excess(Excess::Dictionary));
    }
    let kibibytes = u32::try_from(most >> 10).unwrap_or(u32::MAX - OVERHEAD);
    Ok(XzReader::new_mem_limit(content, true, kibibytes.saturating_add(OVERHEAD)))
}

pub(crate) fn zstd(
    name: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    match zstd_reader(content) {
        Some(mut reader) => stream(name, content, &mut reader, walk, facts),
        None => {
            facts.unsupported = true;
            Ok(())
        }
    }
}

pub(crate) fn zstd_reader(content: &[u8]) -> Option<impl Read + use<'_>> {
    let mut reader = zstd::stream::read::Decoder::with_buffer(content).ok()?;
    reader.window_log_max(WINDOW).ok()?;
    Some(reader)
}

fn stream(
    name: &FileName,
    content: &[u8],
    reader: &mut dyn Read,
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    walk.count()?;
    let poured = walk.pour(reader, content.len())?;
    facts.broken |= poured.broken;
    facts.unsupported |= poured.is_lost();
    walk.entry(&Entry::new(without_extension(name), poured.content).among(1))
}

/// The dictionary that the first block of an xz file asks for: section 3.1 of its specification, and 5.3.1.
pub(crate) fn xz_dictionary(content: &[u8]) -> Option<u64> {
    let header = from(content, 12);
    let flags = *header.get(1)?;
    let mut at = 2;
    for flag in [0x40, 0x80] {
        if flags & flag != 0 {
            (_, at) = number(header, at)?;
        }
    }
    for _ in 0..=flags & 3 {
        let (id, next) = number(header, at)?;
        let (size, next) = number(header, next)?;
        if id == 0x21 {
            return Some(dictionary(*header.get(next)?));
        }
        at = next.checked_add(usize::try_from(size).ok()?)?;
    }
    None
}

/// A dictionary's size in the one octet that LZMA2 has for it.
pub(crate) fn dictionary(octet: u8) -> u64 {
    match octet {
        40.. => u64::from(u32::MAX),
        bits => (2 | u64::from(bits & 1)) << (bits / 2 + 11),
    }
}

fn number(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (place, &octet) in at_most(bytes, at, 9).iter().enumerate() {
        value |= u64::from(octet & 0x7f) << (7 * place);
        if octet & 0x80 == 0 {
            return Some((value, at + place + 1));
        }
    }
    None
}

/// The name of what is packed: `a.tar.gz` has `a.tar`, and `a.tgz`, too.
fn without_extension(name: &FileName) -> String {
    let stem = name.base.rsplit_once('.').map_or(name.base.as_str(), |(stem, _)| stem);
    match name.extension.as_str() {
        "tgz" | "tbz" | "tbz2" | "txz" | "tzst" => format!("{stem}.tar"),
        "svgz" => format!("{stem}.svg"),
        _ => stem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_what_is_packed() {
        for (name, expected) in
            [("a.tar.gz", "a.tar"), ("a.tgz", "a.tar"), ("a.js.gz", "a.js"), ("a", "a"), ("", "")]
        {
            assert_eq!(without_extension(&FileName::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn dictionaries() {
        for (octet, octets) in [
            (0, 4 << 10),
            (1, 6 << 10),
            (22, 8 << 20),
            (39, 3 << 30),
            (40, 0xffff_ffff),
            (255, 0xffff_ffff),
        ] {
            assert_eq!(dictionary(octet), octets, "{octet}");
        }
        assert_eq!(
            xz_dictionary(b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46\x02\0\x21\x01\x16\0"),
            Some(8 << 20)
        );
        assert_eq!(xz_dictionary(b"\xfd7zXZ\0"), None);
    }
}
