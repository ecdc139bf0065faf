//! One record.
//!
//! | bytes | |
//! |---|---|
//! | 4 | the mark |
//! | 4 | CRC-32C of the payload and then of the rest of this head, begun with the journal's own number |
//! | 4 | length of the payload |
//! | 4 | zero |
//! | 8 | sequence number, from 1 |
//! | 8 | time, in nanoseconds since 1970 |
//! | n | the payload, and zeros up to the next multiple of 8 |

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crc32c::crc32c_append;

use crate::octets::{numbers, u32_at, u64_at};

/// Longest payload of a record, in bytes.
pub const MOST_PAYLOAD: usize = 64 * 1024;

/// Bytes that a dead letter may have before the payload.
pub(crate) const MOST_PREFACE: usize = 2048;

/// Bytes before the payload.
pub(crate) const HEADER: usize = 32;

/// Every record begins at a multiple of it.
pub(crate) const ALIGNMENT: usize = 8;

/// What every record begins with.
pub(crate) const MARK: [u8; 4] = *b"\xfaJ\xf5r";

/// Longest record, in bytes.
pub(crate) const LONGEST: usize = size(MOST_PAYLOAD + MOST_PREFACE);

/// What stands before a payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Head {
    pub(crate) sequence: u64,
    pub(crate) time: u64,
    /// Of the payload.
    pub(crate) length: usize,
}

impl Head {
    /// Bytes of the whole record.
    pub(crate) fn size(&self) -> usize {
        size(self.length)
    }

    /// All but the mark and the checksum.
    fn fields(&self) -> [u8; HEADER - 8] {
        numbers(&[(self.length as u64) << 32, self.sequence, self.time])
    }
}

/// Bytes of a record with such a payload.
pub(crate) const fn size(payload: usize) -> usize {
    (HEADER + payload).next_multiple_of(ALIGNMENT)
}

/// The first part of a record's checksum, which needs neither its number nor a lock.
pub(crate) fn checksum(seed: u32, parts: &[&[u8]]) -> u32 {
    parts.iter().fold(seed, |sum, part| crc32c_append(sum, part))
}

/// Adds a record. `checksum` is that of the parts, which are `head.length` bytes together.
pub(crate) fn push(buffer: &mut Vec<u8>, head: &Head, parts: &[&[u8]], checksum: u32) {
    let end = buffer.len() + head.size();
    let fields = head.fields();
    buffer.extend_from_slice(&MARK);
    buffer.extend_from_slice(&crc32c_append(checksum, &fields).to_be_bytes());
    buffer.extend_from_slice(&fields);
    for part in parts {
        buffer.extend_from_slice(part);
    }
    buffer.resize(end, 0);
}

/// What some bytes begin with.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Parsed {
    /// A record.
    Good(Head),
    /// Perhaps a record, of which so many bytes must be seen.
    Short(usize),
    /// No record.
    Bad,
}

/// Looks whether bytes begin with a record.
pub(crate) fn parse(bytes: &[u8], seed: u32) -> Parsed {
    if bytes.len() < HEADER {
        return Parsed::Short(HEADER);
    }
    let Some((checked, head)) = head(bytes) else { return Parsed::Bad };
    if head.length > MOST_PAYLOAD + MOST_PREFACE || head.sequence == 0 {
        return Parsed::Bad;
    }
    let Some(payload) = bytes.get(HEADER..HEADER + head.length) else {
        return Parsed::Short(HEADER + head.length);
    };
    // The fields as they stand, so that the zero counts as well.
    let fields = bytes.get(8..HEADER).unwrap_or_default();
    match crc32c_append(checksum(seed, &[payload]), fields) == checked {
        true => Parsed::Good(head),
        false => Parsed::Bad,
    }
}

/// What our own bytes begin with.
pub(crate) fn peek(bytes: &[u8]) -> Option<Head> {
    head(bytes).map(|(_, head)| head)
}

fn head(bytes: &[u8]) -> Option<(u32, Head)> {
    if !bytes.starts_with(&MARK) || u32_at(bytes, 12)? != 0 {
        return None;
    }
    let length = u32_at(bytes, 8)? as usize;
    let head = Head { sequence: u64_at(bytes, 16)?, time: u64_at(bytes, 24)?, length };
    Some((u32_at(bytes, 4)?, head))
}

/// A time as records have it. Times before 1970 become 1970.
pub(crate) fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The time that a record has.
pub(crate) fn moment(nanoseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(seed: u32, sequence: u64, time: u64, parts: &[&[u8]]) -> Vec<u8> {
        let length = parts.iter().map(|part| part.len()).sum();
        let mut buffer = Vec::new();
        let head = Head { sequence, time, length };
        push(&mut buffer, &head, parts, checksum(seed, parts));
        buffer
    }

    #[test]
    fn the_format_stays_as_it_is() {
        let record = encoded(0, 0x0102, 0x0304, &[b"12345", b"6789"]);
        assert_eq!(record.len(), 48);
        assert_eq!(&record[..4], b"\xfaJ\xf5r");
        assert_eq!(&record[8..16], [0, 0, 0, 9, 0, 0, 0, 0]);
        assert_eq!(&record[16..32], [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 3, 4]);
        assert_eq!(&record[32..], b"123456789\0\0\0\0\0\0\0");
        // The check value of CRC-32C, continued over the fields.
        let sum = crc32c_append(0xe306_9283, &record[8..32]);
        assert_eq!(&record[4..8], sum.to_be_bytes());
    }

    #[test]
    fn short_ones_say_what_they_need() {
        let record = encoded(7, 1, 2, &[&[5; 100]]);
        assert_eq!(parse(&record[..31], 7), Parsed::Short(32));
        assert_eq!(parse(&record[..32], 7), Parsed::Short(132));
        assert_eq!(parse(&record[..131], 7), Parsed::Short(132));
        assert!(matches!(parse(&record[..132], 7), Parsed::Good(_)));
        assert_eq!(parse(&record, 8), Parsed::Bad, "of another journal");
        assert_eq!(parse(&encoded(7, 0, 2, &[]), 7), Parsed::Bad, "there is no number 0");
        assert_eq!(parse(&[0; 200], 7), Parsed::Bad);
    }

    #[test]
    fn times_come_back() {
        let time = UNIX_EPOCH + Duration::new(1_800_000_000, 123_456_789);
        assert_eq!(moment(nanoseconds(time)), time);
        assert_eq!(nanoseconds(UNIX_EPOCH - Duration::from_secs(1)), 0);
    }

    proptest! {
        #[test]
        fn records_come_back(
            seed: u32,
            sequence in 1u64..,
            time: u64,
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..4),
        ) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let payload = parts.concat();
            let record = encoded(seed, sequence, time, &parts);
            let head = Head { sequence, time, length: payload.len() };
            prop_assert_eq!(parse(&record, seed), Parsed::Good(head));
            prop_assert_eq!(peek(&record), Some(head));
            prop_assert_eq!(record.len(), head.size());
            prop_assert_eq!(&record[HEADER..HEADER + payload.len()], &payload[..]);
        }

        #[test]
        fn a_changed_bit_is_noticed(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            bit: prop::sample::Index,
        ) {
            let mut record = encoded(1, 2, 3, &[&payload]);
            let bits = (HEADER + payload.len()) * 8;
            let bit = bit.index(bits);
            record[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!matches!(parse(&record, 1), Parsed::Good(_)));
        }
    }
}
