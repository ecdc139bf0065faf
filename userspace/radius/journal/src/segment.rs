//! A segment's name and header.
//!
//! | bytes | |
//! |---|---|
//! | 8 | `MURALLAj` |
//! | 4 | version; later ones keep these three fields |
//! | 4 | CRC-32C of the version and of what follows |
//! | 8 | the journal's own number |
//! | 8 | ordinal of the segment, as in its name |
//! | 8 | ordinal of the segment before it that holds records, or 0 |
//! | 8 | first sequence number that its records may have |
//! | 8 | when it was begun, in nanoseconds since 1970 |
//! | 8 | zeros |

use crc32c::{crc32c, crc32c_append};

use crate::octets::{numbers, u32_at, u64_at};

/// Bytes before the first record.
pub(crate) const HEADER: usize = 64;

const MAGIC: &[u8; 8] = b"MURALLAj";
const VERSION: u32 = 1;

/// What the names of segments end with.
const EXTENSION: &str = ".segment";

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) identity: u64,
    pub(crate) ordinal: u64,
    pub(crate) previous: u64,
    pub(crate) first: u64,
    pub(crate) created: u64,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unfit {
    Damaged,
    Version(u32),
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let fields = [self.identity, self.ordinal, self.previous, self.first, self.created];
        let [identity, ordinal, previous, first, created] = fields;
        let sum =
            crc32c_append(crc32c(&VERSION.to_be_bytes()), &numbers::<{ HEADER - 16 }>(&fields));
        let magic = u64::from_be_bytes(*MAGIC);
        let checked = u64::from(VERSION) << 32 | u64::from(sum);
        numbers(&[magic, checked, identity, ordinal, previous, first, created])
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unfit> {
        Self::checked(bytes).unwrap_or(Err(Unfit::Damaged))
    }

    fn checked(bytes: &[u8]) -> Option<Result<Self, Unfit>> {
        let bytes = bytes.first_chunk::<HEADER>()?;
        let sum = crc32c_append(crc32c(bytes.get(8..12)?), bytes.get(16..)?);
        if !bytes.starts_with(MAGIC) || sum != u32_at(bytes, 12)? {
            return None;
        }
        let version = u32_at(bytes, 8)?;
        if version != VERSION {
            return Some(Err(Unfit::Version(version)));
        }
        Some(Ok(Self {
            identity: u64_at(bytes, 16)?,
            ordinal: u64_at(bytes, 24)?,
            previous: u64_at(bytes, 32)?,
            first: u64_at(bytes, 40)?,
            created: u64_at(bytes, 48)?,
        }))
    }
}

/// The name of a segment's file. Names sort as ordinals do.
pub(crate) fn name(ordinal: u64) -> String {
    format!("{ordinal:020}{EXTENSION}")
}

/// The ordinal that a file's name stands for.
pub(crate) fn ordinal(name: &str) -> Option<u64> {
    let ordinal = name.strip_suffix(EXTENSION)?.parse().ok()?;
    // One file has one name.
    (self::name(ordinal) == name).then_some(ordinal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Header =
        Header { identity: 0x0102, ordinal: 3, previous: 2, first: 400, created: 5 };

    #[test]
    fn headers_come_back() {
        let bytes = SAMPLE.encode();
        assert_eq!(&bytes[..12], b"MURALLAj\0\0\0\x01");
        assert_eq!(&bytes[16..24], [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(Header::decode(&bytes), Ok(SAMPLE));
        assert_eq!(Header::decode(&bytes[..63]), Err(Unfit::Damaged));
        assert_eq!(Header::decode(&[0; HEADER]), Err(Unfit::Damaged));
    }

    #[test]
    fn a_changed_bit_is_noticed() {
        for bit in 0..HEADER * 8 {
            let mut bytes = SAMPLE.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes), Err(Unfit::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn a_later_version_is_known_as_such() {
        let mut bytes = SAMPLE.encode();
        bytes[11] = 2;
        let sum = crc32c_append(crc32c(&bytes[8..12]), &bytes[16..]);
        bytes[12..16].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(Header::decode(&bytes), Err(Unfit::Version(2)));
    }

    #[test]
    fn names_stand_for_ordinals() {
        assert_eq!(name(7), "00000000000000000007.segment");
        for number in [0, 7, u64::MAX] {
            assert_eq!(ordinal(&name(number)), Some(number));
        }
        for other in ["7.segment", "+0000000000000000007.segment", "00000000000000000007", "lock"] {
            assert_eq!(ordinal(other), None, "{other}");
        }
    }
}
