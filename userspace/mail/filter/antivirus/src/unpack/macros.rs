//! The source of macros, packed in a stream behind what was compiled from it: MS-OVBA section 2.4.1.

use crate::bytes::{at_most, from, le16};

/// How every module begins, packed: a mark of what is literal, letters, another mark, letters.
const BEGIN: &[u8] = b"\0Attribut\0e ";

/// The source in a stream, unpacked, if there is some.
pub(crate) fn source(stream: &[u8], most: usize) -> Option<Vec<u8>> {
    let found = memchr::memmem::find(stream, BEGIN)?;
    // One octet of a signature, two of the first chunk's header.
    let begin = found.checked_sub(3)?;
    if stream.get(begin) != Some(&1) {
        return None;
    }
    let out = unpack(from(stream, begin + 1), most);
    (!out.is_empty()).then_some(out)
}

/// Chunks of 4,096 octets unpacked.
fn unpack(packed: &[u8], most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(header) = le16(packed, at) {
        if header >> 12 & 7 != 3 || out.len() >= most {
            break;
        }
        let length = usize::from(header & 0xfff) + 1;
        let data = at_most(packed, at + 2, length);
        if header & 0x8000 == 0 {
            out.extend_from_slice(data);
        } else {
            chunk(data, &mut out);
        }
        at += 2 + length;
    }
    out
}

/// Octets that come out of a chunk at most.
const CHUNK: usize = 4_096;

/// Eight tokens behind an octet that says which of them are copies.
fn chunk(data: &[u8], out: &mut Vec<u8>) {
    let begin = out.len();
    let mut at = 0;
    while let Some(&flags) = data.get(at) {
        at += 1;
        for bit in 0..8 {
            if out.len() - begin >= CHUNK {
                return;
            }
            if flags >> bit & 1 == 0 {
                let Some(&letter) = data.get(at) else { return };
                out.push(letter);
                at += 1;
                continue;
            }
            let Some(token) = le16(data, at) else { return };
            at += 2;
            let done = out.len() - begin;
            // The more there is to refer to, the more bits the offset has, and the fewer the length.
            let offset_bits =
                usize::BITS.saturating_sub(done.saturating_sub(1).leading_zeros()).clamp(4, 12);
            let length_bits = 16 - offset_bits;
            let length = usize::from(token & (0xffff >> offset_bits)) + 3;
            let offset = usize::from(token >> length_bits) + 1;
            let Some(mut from) = out.len().checked_sub(offset).filter(|&from| from >= begin) else {
                return;
            };
            for _ in 0..length.min(CHUNK.saturating_sub(done)) {
                let Some(&letter) = out.get(from) else { return };
                out.push(letter);
                from += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification() {
        // Sections 3.2.1 and 3.2.3: nothing is repeated, and everything is.
        for (packed, expected) in [
            (
                &b"\x19\xb0\x00abcdefgh\x00ijklmnop\x00qrstuv."[..],
                "abcdefghijklmnopqrstuv.".to_owned(),
            ),
            (b"\x03\xb0\x02a\x45\0", "a".repeat(73)),
            (b"", String::new()),
            (b"\x03\xb0\x01\x45\0", String::new()),
        ] {
            assert_eq!(unpack(packed, 1 << 20), expected.as_bytes(), "{}", packed.escape_ascii());
        }
    }

    #[test]
    fn found_behind_what_was_compiled() {
        let source_text = b"Attribute VB_Name = \"ThisDocument\"\r\n";
        let stream =
            [&b"compiled\x01\x01\0"[..], &crate::samples::packed_macro(source_text)].concat();
        assert_eq!(source(&stream, 1 << 20).as_deref(), Some(&source_text[..]));
        assert_eq!(source(b"Attribute VB_Name", 1 << 20), None);
        assert_eq!(source(BEGIN, 1 << 20), None);
    }
}
