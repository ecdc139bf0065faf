//! cpio: the forms with numbers in letters, and the binary ones of old.

use crate::bytes::{at_most, from, narrow, piece};
use crate::name::FileName;
use crate::unpack::{Entry, Facts, Stop, Walk};

/// Where the next file is described.
struct Header {
    octets: usize,
    name: usize,
    data: usize,
    /// Everything is filled up to a multiple of this.
    round: usize,
}

pub(crate) fn unpack(
    _: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    let mut at = 0;
    while let Some(header) = header(from(content, at)) {
        walk.count()?;
        let round = |place: usize| place.div_ceil(header.round).saturating_mul(header.round);
        let name = at_most(content, at.saturating_add(header.octets), header.name);
        let name = narrow(name.strip_suffix(b"\0").unwrap_or(name));
        let begin = round(at.saturating_add(header.octets).saturating_add(header.name));
        if name == "TRAILER!!!" {
            return Ok(());
        }
        let data = at_most(content, begin, header.data);
        facts.broken |= data.len() < header.data;
        if !data.is_empty() {
            walk.borrow(data.len())?;
            walk.entry(&Entry::new(name, data))?;
        }
        at = round(begin.saturating_add(header.data));
    }
    facts.broken = true;
    Ok(())
}

fn header(bytes: &[u8]) -> Option<Header> {
    let number = |at, length, radix| {
        let digits = std::str::from_utf8(piece(bytes, at, length)?).ok()?;
        usize::from_str_radix(digits, radix).ok()
    };
    match bytes.get(..6)? {
        b"070701" | b"070702" => Some(Header {
            octets: 110,
            name: number(94, 8, 16)?,
            data: number(54, 8, 16)?,
            round: 4,
        }),
        b"070707" => {
            Some(Header { octets: 76, name: number(59, 6, 8)?, data: number(65, 11, 8)?, round: 1 })
        }
        // Sizes of four octets are two numbers of two, the higher first, whichever order the octets have.
        &[first, second, ..] if matches!((first, second), (0xc7, 0x71) | (0x71, 0xc7)) => {
            let word = |at| {
                let pair = piece(bytes, at, 2)?.first_chunk().copied()?;
                let value =
                    if first == 0xc7 { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) };
                Some(usize::from(value))
            };
            Some(Header {
                octets: 26,
                name: word(20)?,
                data: word(22)? << 16 | word(24)?,
                round: 2,
            })
        }
        _ => None,
    }
}
