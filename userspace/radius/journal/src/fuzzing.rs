//! What the fuzz targets do with arbitrary bytes: each function panics if a promise is broken.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "panics are its findings")]

use crate::disk::Memory;
use crate::record::{self, Head, MOST_PAYLOAD, MOST_PREFACE, Parsed};
use crate::scan::{Scan, Step};
use crate::segment::Header;

const SEED: u32 = 0x5eed_0001;

/// A segment's file of arbitrary bytes: all of it is read, each byte once, and nothing is a record that isn't one.
pub fn segment(bytes: &[u8]) {
    if let Ok(header) = Header::decode(bytes) {
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }
    for seed in [0, SEED] {
        walk(bytes, seed);
    }
}

/// A file as a journal writes it, with arbitrary records and arbitrary damage: every record that was left alone is found,
/// and no other. The bytes are orders: each takes a few.
pub fn damaged(mut orders: &[u8]) {
    let mut file = Vec::new();
    let mut written = Vec::new();
    while let Some((&[order, length], rest)) = orders.split_first_chunk() {
        orders = rest;
        let length = usize::from(length) * if order & 0x80 != 0 { 97 } else { 1 };
        let begin = file.len();
        let sequence = written.len() as u64 + 1;
        // Payloads that look like records are the worst.
        let payload: Vec<u8> =
            orders.iter().chain(&record::MARK).copied().cycle().take(length).collect();
        let head = Head { sequence, time: u64::from(order), length };
        record::push(&mut file, &head, &[&payload], record::checksum(SEED, &[&payload]));
        let intact = match order & 7 {
            0 => {
                let at = begin + usize::from(order) % (record::HEADER + length);
                file[at] ^= 1 << (order >> 4 & 7);
                false
            }
            1 => {
                file[begin..].fill(0);
                false
            }
            _ => true,
        };
        written.push((begin as u64, head, intact));
    }
    let found = walk(&file, SEED);
    let expected: Vec<(u64, u64)> = written
        .iter()
        .filter(|(_, _, intact)| *intact)
        .map(|(at, head, _)| (*at, head.sequence))
        .collect();
    assert_eq!(found, expected);
}

/// Where records are, and their numbers.
fn walk(bytes: &[u8], seed: u32) -> Vec<(u64, u64)> {
    let file = Memory(bytes.to_vec());
    let end = bytes.len() as u64;
    let mut scan = Scan::new(seed, 0);
    let (mut reached, mut found) = (0, Vec::new());
    loop {
        match scan.next(&file, end).unwrap() {
            Step::Record(record) => {
                assert_eq!(record.at, reached, "what is between records is damage");
                assert!(record.payload.len() <= MOST_PAYLOAD + MOST_PREFACE);
                let at = usize::try_from(record.at).unwrap();
                let head = Head {
                    sequence: record.sequence,
                    time: record.time,
                    length: record.payload.len(),
                };
                assert_eq!(record::parse(&bytes[at..], seed), Parsed::Good(head));
                let mut again = Vec::new();
                let checksum = record::checksum(seed, &[record.payload]);
                record::push(&mut again, &head, &[record.payload], checksum);
                let whole = record::HEADER + record.payload.len();
                assert_eq!(again[..whole], bytes[at..at + whole]);
                reached = record.end();
                found.push((record.at, record.sequence));
            }
            Step::Damage { at, bytes: count } => {
                assert!(at == reached && count > 0);
                reached = at + count;
                // After the last record, zeros follow damage that are none.
                let rest = usize::try_from(reached).unwrap();
                let to_next = bytes[rest..].iter().take_while(|byte| **byte == 0).count();
                if rest + to_next == bytes.len() {
                    reached = end;
                }
            }
            Step::End => break,
        }
    }
    let rest = usize::try_from(reached.min(end)).unwrap();
    assert!(bytes[rest..].iter().all(|byte| *byte == 0), "nothing was left out");
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            super::segment(&bytes);
        }

        #[test]
        fn arbitrary_damage(orders in prop::collection::vec(any::<u8>(), 0..120)) {
            super::damaged(&orders);
        }
    }
}
