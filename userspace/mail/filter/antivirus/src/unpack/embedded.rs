//! Files that lie in text: as base64 in the scripts of pages that put a file together where no scanner sees it, uuencoded, and as
//! parts of messages that lie in archives.

use crate::bytes::{at_most, from};
use crate::format::Format;
use crate::name::FileName;
use crate::unpack::{Entry, Facts, Stop, Walk, message, narrow_name};

/// Letters of the shortest run that is decoded.
const SHORTEST: usize = 256;

pub(crate) fn unpack(
    _: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    _: &mut Facts,
) -> Result<(), Stop> {
    let wide = matches!(content, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
    let narrowed: Vec<u8>;
    let text = if wide {
        narrowed = content.iter().copied().filter(|&octet| octet != 0).collect();
        narrowed.as_slice()
    } else {
        content
    };
    uuencoded(text, walk)?;
    if message::is_one(text) {
        return message::parts(text, walk);
    }
    let mut at = 0;
    while let Some((begin, end)) = run(text, at) {
        at = end;
        walk.time()?;
        let letters = at_most(text, begin, end - begin);
        // The first few say whether it is worth it.
        let format = Format::of(&decode(at_most(letters, 0, 4096)));
        if !format.is_telling() {
            continue;
        }
        walk.count()?;
        let file = decode(letters);
        walk.borrow(file.len())?;
        walk.entry(&Entry::new("", file))?;
    }
    Ok(())
}

/// What is shown is a letter, and no file in which others are.
pub(crate) fn shown(
    _: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    _: &mut Facts,
) -> Result<(), Stop> {
    uuencoded(content, walk)
}

/// The next run of letters of base64 that is long enough, over the ends of lines.
fn run(text: &[u8], mut at: usize) -> Option<(usize, usize)> {
    loop {
        let begin = at + from(text, at).iter().position(|&octet| value(octet).is_some())?;
        let rest = from(text, begin);
        let mut letters = 0;
        let mut end = rest.len();
        let mut line = 0;
        let mut first_line = 0;
        for (place, &octet) in rest.iter().enumerate() {
            if value(octet).is_some() {
                letters += 1;
                line += 1;
            } else if matches!(octet, b'\r' | b'\n') {
                // Lines of text are as long as their words; those of base64 are all of a length.
                if line > 0 {
                    if first_line == 0 {
                        first_line = line;
                    }
                    if line < first_line || first_line < 40 {
                        end = place;
                        break;
                    }
                }
                line = 0;
            } else {
                end = place;
                break;
            }
        }
        at = begin + end.max(1);
        if letters >= SHORTEST {
            return Some((begin, begin + end));
        }
    }
}

const fn value(octet: u8) -> Option<u8> {
    match octet {
        b'A'..=b'Z' => Some(octet - b'A'),
        b'a'..=b'z' => Some(octet - b'a' + 26),
        b'0'..=b'9' => Some(octet - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// Files between lines that say `begin 644 name` and `end`, as mail had them before there was MIME.
fn uuencoded(text: &[u8], walk: &mut Walk<'_>) -> Result<(), Stop> {
    const BEGIN: &[u8] = b"begin ";
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(from(text, at), BEGIN) {
        walk.time()?;
        let begin = at + found;
        at = begin + BEGIN.len();
        if begin.checked_sub(1).is_some_and(|before| text.get(before) != Some(&b'\n')) {
            continue;
        }
        let (header, mut next) = line(text, at);
        let mode = header.iter().take_while(|octet| matches!(octet, b'0'..=b'7')).count();
        if !matches!(mode, 3..=4) || header.get(mode) != Some(&b' ') {
            continue;
        }
        let mut file = Vec::new();
        loop {
            let (letters, behind) = line(text, next);
            match uuencoded_line(letters, &mut file) {
                Some(()) if behind > next => next = behind,
                _ => break,
            }
        }
        at = next.max(at);
        if !file.is_empty() {
            walk.count()?;
            walk.borrow(file.len())?;
            walk.entry(&Entry::new(narrow_name(from(header, mode + 1)), file))?;
        }
    }
    Ok(())
}

/// A letter for the number of octets, then four letters for each three of them. Nothing if the line is none or the last.
fn uuencoded_line(line: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let value = |letter: u8| matches!(letter, b' '..=b'`').then(|| (letter - b' ') & 0x3f);
    let (&first, letters) = line.split_first()?;
    let length = usize::from(value(first)?);
    if length == 0 || letters.len() + 3 < length.div_ceil(3) * 4 {
        return None;
    }
    let end = out.len() + length;
    for group in letters.chunks(4).take(length.div_ceil(3)) {
        let bits = (0..4).try_fold(0_u32, |bits, place| {
            // Blanks at the end of a line got lost on many ways.
            let letter = group.get(place).copied().unwrap_or(b' ');
            value(letter).map(|value| bits << 6 | u32::from(value))
        })?;
        out.extend_from_slice(bits.to_be_bytes().get(1..).unwrap_or_default());
    }
    out.truncate(end);
    Some(())
}

/// A line without its end, and the place behind it.
fn line(text: &[u8], at: usize) -> (&[u8], usize) {
    let rest = from(text, at);
    let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    let line = at_most(rest, 0, length);
    (line.strip_suffix(b"\r").unwrap_or(line), at.saturating_add(length + 1).min(text.len()))
}

/// What letters of base64 stand for; whatever else stands between them is passed over.
pub(super) fn decode(letters: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(letters.len() / 4 * 3);
    let mut bits = 0_u32;
    let mut count = 0;
    for value in letters.iter().filter_map(|&octet| value(octet)) {
        bits = bits << 6 | u32::from(value);
        count += 1;
        if count == 4 {
            out.extend_from_slice(bits.to_be_bytes().get(1..).unwrap_or_default());
            (bits, count) = (0, 0);
        }
    }
    match count {
        2 => out.extend((bits >> 4).to_be_bytes().get(3..).unwrap_or_default()),
        3 => out.extend((bits >> 2).to_be_bytes().get(2..).unwrap_or_default()),
        _ => {}
    }
    out
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;

    #[test]
    fn decoded() {
        for length in 0..20_u8 {
            let content: Vec<u8> = (0..length).collect();
            let letters = BASE64.encode(&content);
            assert_eq!(decode(letters.as_bytes()), content);
        }
    }

    #[test]
    fn uuencoded_lines() {
        for (line, expected) in [
            (&b"#0V%T"[..], Some(&b"Cat"[..])),
            (b"!00  ", Some(b"A")),
            (b"!00", Some(b"A")),
            (b"`", None),
            (b"", None),
            (b"end", None),
            (b"M0V%T", None),
            (b"#0v%T", None),
        ] {
            let mut out = Vec::new();
            let read = uuencoded_line(line, &mut out).map(|()| out.as_slice());
            assert_eq!(read, expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn runs() {
        let letters = "A".repeat(300);
        for (text, expected) in [
            (format!("var file = '{letters}';"), Some(300)),
            (letters.clone(), Some(300)),
            (
                format!(
                    "{}\r\n{}\r\n{}\r\n\r\nbehind",
                    "A".repeat(76),
                    "B".repeat(76),
                    "C".repeat(76)
                ),
                None,
            ),
            (format!("{0}\r\n{0}\r\n{0}\r\n{0}\r\nCCC\r\n\r\n", "A".repeat(76)), Some(315)),
            ("many words of a text ".repeat(100), None),
            ("word\n".repeat(500), None),
            (String::new(), None),
        ] {
            let found = run(text.as_bytes(), 0).map(|(begin, end)| end - begin);
            assert_eq!(found, expected, "{text}");
        }
    }
}
