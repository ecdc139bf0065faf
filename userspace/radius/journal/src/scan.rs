//! Walks through the records of a file, and over what is damaged to the next good one.

use std::io;

use crate::disk::{self, DiskFile};
use crate::record::{self, ALIGNMENT, HEADER, Head, MARK, Parsed};

/// Bytes that are read at a time.
const CHUNK: usize = 256 * 1024;

/// As long a piece without records is stepped over at once.
const BLANK: [u8; 512] = [0; 512];

/// A place in a file, and the bytes that follow it.
pub(crate) struct Scan {
    seed: u32,
    at: u64,
    window: Vec<u8>,
    start: usize,
}

/// A record, and where it is.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Record<'a> {
    pub(crate) at: u64,
    pub(crate) sequence: u64,
    pub(crate) time: u64,
    pub(crate) payload: &'a [u8],
}

impl Record<'_> {
    /// Where the next one begins.
    pub(crate) fn end(&self) -> u64 {
        self.at + record::size(self.payload.len()) as u64
    }
}

/// What comes next.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Step<'a> {
    /// A record.
    Record(Record<'a>),
    /// Bytes that belong to no record and are not all zero.
    Damage { at: u64, bytes: u64 },
    /// Nothing but zeros, if that.
    End,
}

impl Scan {
    /// Begins at an offset, which is one of a record.
    pub(crate) fn new(seed: u32, at: u64) -> Self {
        Self { seed, at, window: Vec::new(), start: 0 }
    }

    /// What comes next before `end`, which may rise from call to call. Each call goes on after what the last one gave.
    pub(crate) fn next(&mut self, file: &dyn DiskFile, end: u64) -> io::Result<Step<'_>> {
        if self.at >= end {
            return Ok(Step::End);
        }
        if let Some(head) = self.good(file, end)? {
            return Ok(Step::Record(self.take(head)));
        }
        let from = self.at;
        match self.search(file, end) {
            Ok(None) => Ok(Step::End),
            Ok(Some(to)) => Ok(Step::Damage { at: from, bytes: to - from }),
            Err(error) => {
                // Nothing is passed over that nobody was told of.
                self.at = from;
                self.window.clear();
                self.start = 0;
                Err(error)
            }
        }
    }

    /// The record that begins here, if one does.
    fn good(&mut self, file: &dyn DiskFile, end: u64) -> io::Result<Option<Head>> {
        let mut need = HEADER;
        loop {
            let seed = self.seed;
            match record::parse(self.ahead(file, need, end)?, seed) {
                Parsed::Good(head) => return Ok(Some(head)),
                Parsed::Short(length) if length > need => need = length,
                Parsed::Short(_) | Parsed::Bad => return Ok(None),
            }
        }
    }

    /// Leaves a record that is good and so is in the window.
    fn take(&mut self, head: Head) -> Record<'_> {
        let (at, from) = (self.at, self.start + HEADER);
        self.advance(head.size());
        let payload = self.window.get(from..from + head.length).unwrap_or_default();
        Record { at, sequence: head.sequence, time: head.time, payload }
    }

    /// Goes on to the next record or to the end. Gives the end of what is not zero before it, if anything is.
    fn search(&mut self, file: &dyn DiskFile, end: u64) -> io::Result<Option<u64>> {
        let mut written = None;
        while self.at < end {
            let at = self.at;
            let ahead = self.ahead(file, ALIGNMENT + HEADER, end)?;
            if ahead.is_empty() {
                self.at = end;
                break;
            }
            let blank = ahead.chunks_exact(BLANK.len()).take_while(|chunk| **chunk == BLANK);
            let blank = blank.count() * BLANK.len();
            if blank > 0 {
                // A record may begin right after it.
                self.advance(blank - ALIGNMENT);
                continue;
            }
            let passed = ahead.get(..ALIGNMENT).unwrap_or(ahead);
            if let Some(last) = passed.iter().rposition(|byte| *byte != 0) {
                written = Some(at + last as u64 + 1);
            }
            let marked = ahead.get(ALIGNMENT..).is_some_and(|next| next.starts_with(&MARK));
            self.advance(ALIGNMENT);
            if marked && self.good(file, end)?.is_some() {
                // Zeros before a record are no end of the records: something was lost there.
                return Ok(Some(self.at));
            }
        }
        Ok(written)
    }

    fn advance(&mut self, count: usize) {
        self.at += count as u64;
        self.start += count;
    }

    /// The next `need` bytes at least, fewer only at the end.
    fn ahead(&mut self, file: &dyn DiskFile, need: usize, end: u64) -> io::Result<&[u8]> {
        let left = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        if self.window.len().saturating_sub(self.start) < need.min(left) {
            self.window.drain(..self.start.min(self.window.len()));
            self.start = 0;
            let mut filled = self.window.len();
            let wanted = left.min(need.max(CHUNK));
            self.window.resize(wanted, 0);
            while let Some(rest) = self.window.get_mut(filled..)
                && !rest.is_empty()
            {
                match disk::read_legible(file, rest, self.at + filled as u64) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) => {
                        self.window.truncate(filled);
                        return Err(error);
                    }
                }
            }
            self.window.truncate(filled);
        }
        let ahead = self.window.get(self.start..).unwrap_or_default();
        Ok(ahead.get(..left).unwrap_or(ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Memory;

    const SEED: u32 = 77;

    fn push(buffer: &mut Vec<u8>, sequence: u64, payload: &[u8]) {
        let head = Head { sequence, time: sequence * 10, length: payload.len() };
        record::push(buffer, &head, &[payload], record::checksum(SEED, &[payload]));
    }

    /// Records by their numbers, damage by its place.
    fn walk(bytes: Vec<u8>) -> Vec<(u64, u64)> {
        let (file, mut scan, mut seen) = (Memory(bytes), Scan::new(SEED, 0), Vec::new());
        let end = file.0.len() as u64;
        loop {
            match scan.next(&file, end).unwrap() {
                Step::Record(record) => seen.push((record.sequence, 0)),
                Step::Damage { at, bytes } => seen.push((at, bytes)),
                Step::End => return seen,
            }
        }
    }

    fn three() -> Vec<u8> {
        let mut bytes = Vec::new();
        push(&mut bytes, 1, &[1; 60]); // 0..96
        push(&mut bytes, 2, &[2; 8]); // 96..136
        push(&mut bytes, 3, b""); // 136..168
        bytes
    }

    #[test]
    fn damage_is_stepped_over() {
        let whole = [(1, 0), (2, 0), (3, 0)];
        assert_eq!(walk(three()), whole);

        let mut zeros_follow = three();
        zeros_follow.resize(1 << 20, 0);
        assert_eq!(walk(zeros_follow.clone()), whole);

        zeros_follow[900_001] = 9;
        assert_eq!(walk(zeros_follow), [(1, 0), (2, 0), (3, 0), (168, 900_002 - 168)]);

        for place in 96..136 {
            let mut middle = three();
            middle[place] ^= 0x40;
            assert_eq!(walk(middle), [(1, 0), (96, 40), (3, 0)], "at {place}");
        }

        let mut lost = three();
        lost[..136].fill(0);
        assert_eq!(walk(lost), [(0, 136), (3, 0)]);

        for end in 137..168 {
            let mut torn = three();
            torn.truncate(end);
            // The mark's bytes are none of them zero, and 3 stands for the sequence.
            let seen = walk(torn);
            assert_eq!(&seen[..2], [(1, 0), (2, 0)]);
            assert_eq!((seen.len(), seen[2].0), (3, 136), "cut at {end}");
        }
    }

    #[test]
    fn a_long_hole_is_found_at_its_end() {
        for hole in [512, 520, 1024, 4096, CHUNK - 8, CHUNK, CHUNK + 8, 3 * CHUNK + 512] {
            let mut bytes = three();
            let from = bytes.len() as u64;
            bytes.resize(bytes.len() + hole, 0);
            push(&mut bytes, 9, b"after");
            let expected = [(1, 0), (2, 0), (3, 0), (from, hole as u64), (9, 0)];
            assert_eq!(walk(bytes), expected, "a hole of {hole}");
        }
    }

    #[test]
    fn it_follows_a_writer() {
        let mut bytes = Vec::new();
        for sequence in 1..=2_000 {
            push(&mut bytes, sequence, &vec![7; usize::try_from(sequence).unwrap() % 500]);
        }
        let (file, mut scan) = (Memory(bytes), Scan::new(SEED, 0));
        let mut ends = vec![0];
        let mut at = 0;
        while let Some(head) = record::peek(&file.0[at..]) {
            at += head.size();
            ends.push(at as u64);
        }
        let mut sequence = 0;
        for end in ends.into_iter().step_by(7) {
            while let Step::Record(record) = scan.next(&file, end).unwrap() {
                sequence += 1;
                assert_eq!((record.sequence, record.time), (sequence, sequence * 10));
            }
            assert_eq!(scan.at, end, "no further than it may");
        }
        assert_eq!(sequence, 1_995);
    }
}
