//! Files that lie in text as base64: in the scripts of pages that put a file together where no scanner sees it, and in messages
//! that lie in archives.

use crate::bytes::{at_most, from};
use crate::format::Format;
use crate::name::FileName;
use crate::unpack::{Entry, Facts, Stop, Walk};

/// Letters of the shortest run that is decoded.
const SHORTEST: usize = 256;
/// Runs that are decoded.
const MOST: usize = 200;

pub(crate) fn unpack(
    _: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    _: &mut Facts,
) -> Result<(), Stop> {
    let wide = matches!(content, [0xff, 0xfe, ..]);
    let narrowed: Vec<u8>;
    let text = if wide {
        narrowed = content.iter().copied().filter(|&octet| octet != 0).collect();
        narrowed.as_slice()
    } else {
        content
    };
    let mut at = 0;
    let mut left = MOST;
    while let Some((begin, end)) = run(text, at) {
        at = end;
        let letters = at_most(text, begin, end - begin);
        // The first few say whether it is worth it.
        let format = Format::of(&decode(at_most(letters, 0, 4096)));
        if !format.is_telling() {
            continue;
        }
        let Some(fewer) = left.checked_sub(1) else { break };
        left = fewer;
        walk.count()?;
        let file = decode(letters);
        walk.borrow(file.len())?;
        walk.entry(&Entry::new("", file))?;
    }
    Ok(())
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

fn decode(letters: &[u8]) -> Vec<u8> {
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
