//! The cache on disk.
//!
//! All numbers are big-endian. The file begins with [`MAGIC`], a version and a hash of the rules by which the answers
//! were found. Each record is a mark, the length of its payload, the payload's checksum, and the payload. Both hashes are
//! SipHash-2-4 with a fixed key: they find damage and differences, not forgery. Nothing in it is trusted: what is damaged is searched for the next mark, and each message is checked
//! as one from the resolver is.

use std::io::{self, Read, Write};

use siphasher::sip::SipHasher24;

use super::{Cache, Inserted, shard};
use crate::answer::{Answer, Facts, Freshness, Kind, MAX_ERROR_TEXT};
use crate::key::Key;
use crate::octets::{u16_at, u32_at};

const MAGIC: &[u8; 8] = b"MURALLAc";
const VERSION: u32 = 2;

/// [`MAGIC`], version and rules.
const FILE_HEAD: usize = 20;

const MARK: &[u8; 4] = b"\xfaA\xf5R";

/// Mark, length and checksum.
const HEAD: usize = 16;

/// Flags, view, facts, length of the extended error and four times.
const FIXED: usize = 20;

const MAX_PAYLOAD: usize = FIXED + 2 + MAX_ERROR_TEXT + u16::MAX as usize;

const SECURE: u8 = 1 << 2;
const AUTHORITATIVE: u8 = 1 << 3;

/// What a file held.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Loaded {
    /// Answers taken in. Later ones may have pushed out earlier ones, if the cache is smaller than it was.
    pub entries: u64,
    /// Answers that are past all use, from the future, or no newer than what the cache has.
    pub expired: u64,
    /// Undamaged answers that are none, or too big for this cache.
    pub refused: u64,
    /// Bytes that belong to no undamaged record.
    pub damaged: u64,
    /// Why nothing of it was read.
    pub skipped: Option<Skipped>,
}

/// Why a file is of no use as a whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Skipped {
    /// It is another version's, or no cache at all.
    #[error("it is not of this version's format")]
    Format,
    /// What it holds was found by other rules.
    #[error("its answers were found with another configuration")]
    Rules,
}

pub(super) fn save(
    cache: &Cache,
    mut writer: impl Write,
    now: u32,
    rules: &str,
) -> io::Result<u64> {
    writer.write_all(MAGIC)?;
    writer.write_all(&VERSION.to_be_bytes())?;
    writer.write_all(&checksum(rules.as_bytes()).to_be_bytes())?;
    let mut count = 0;
    let mut buffer = Vec::new();
    for shard in &cache.shards {
        for chunk in 0.. {
            buffer.clear();
            let more = shard.0.lock().show_chunk(chunk, |hits, answer| {
                if answer.freshness(now) != Freshness::Dead {
                    push_record(&mut buffer, &shard::key_of(answer), hits, answer);
                    count += 1;
                }
            });
            if !more {
                break;
            }
            writer.write_all(&buffer)?;
        }
    }
    writer.flush()?;
    Ok(count)
}

fn push_record(buffer: &mut Vec<u8>, key: &Key, hits: u32, answer: &Answer) {
    let mut payload = Vec::with_capacity(FIXED + answer.message().len());
    let (flags, view) = key.flags();
    let facts = match answer.kind() {
        Kind::Positive => 0,
        Kind::Negative => 1,
        Kind::Failure => 2,
    } | if answer.secure() { SECURE } else { 0 }
        | if answer.authoritative() { AUTHORITATIVE } else { 0 };
    // The code counts as two bytes of the extended error, so that 0 means there is none.
    let error = answer.extended_error();
    let error_len = error.map_or(0, |(_, text)| 2 + text.len());
    payload.extend([flags, view, facts, u8::try_from(error_len).unwrap_or(0)]);
    for number in [answer.born(), answer.ttl(), answer.stale_until(), hits] {
        payload.extend(number.to_be_bytes());
    }
    if let Some((code, text)) = error {
        payload.extend(code.to_be_bytes());
        payload.extend(text);
    }
    payload.extend(answer.message());
    buffer.extend(MARK);
    buffer.extend((payload.len() as u32).to_be_bytes());
    buffer.extend(checksum(&payload).to_be_bytes());
    buffer.extend(payload);
}

fn checksum(payload: &[u8]) -> u64 {
    SipHasher24::new().hash(payload)
}

pub(super) fn load(cache: &Cache, reader: impl Read, now: u32, rules: &str) -> io::Result<Loaded> {
    let mut loaded = Loaded::default();
    let mut window = Window { reader, buffer: Vec::new(), start: 0, ended: false };
    let head = window.ahead(FILE_HEAD)?;
    let head = head.strip_prefix(MAGIC).and_then(|head| head.strip_prefix(&VERSION.to_be_bytes()));
    let same = head.map(|head| head == checksum(rules.as_bytes()).to_be_bytes());
    loaded.skipped = match same {
        None => Some(Skipped::Format),
        Some(false) => Some(Skipped::Rules),
        Some(true) => None,
    };
    if loaded.skipped.is_some() {
        return Ok(loaded);
    }
    window.skip(FILE_HEAD);
    loop {
        let head = window.ahead(HEAD)?;
        if head.is_empty() {
            return Ok(loaded);
        }
        let length = u32_at(head, 4).map_or(usize::MAX, |length| length as usize);
        let mut good = false;
        if head.starts_with(MARK) && (FIXED..=MAX_PAYLOAD).contains(&length) {
            let record = window.ahead(HEAD + length)?;
            if let Some((head, payload)) = record.split_first_chunk::<HEAD>()
                && payload.len() == length
                && head.ends_with(&checksum(payload).to_be_bytes())
            {
                take_in(cache, payload, now, &mut loaded);
                good = true;
            }
        }
        if good {
            window.skip(HEAD + length);
        } else {
            loaded.damaged += window.skip_to_mark()?;
        }
    }
}

fn take_in(cache: &Cache, payload: &[u8], now: u32, loaded: &mut Loaded) {
    let count = match read_payload(payload) {
        None => &mut loaded.refused,
        Some((_, _, answer)) if answer.freshness(now) == Freshness::Dead || answer.born() > now => {
            &mut loaded.expired
        }
        Some((key, _, answer)) if cache.has_newer(&key, &answer) => &mut loaded.expired,
        Some((key, hits, answer)) => match cache.insert_at(&key, answer, now, hits) {
            Inserted::Stored | Inserted::Remembered => &mut loaded.entries,
            Inserted::TooBig | Inserted::OtherQuestion => &mut loaded.refused,
        },
    };
    *count += 1;
}

fn read_payload(payload: &[u8]) -> Option<(Key, u32, Answer)> {
    let (&[flags, view, marks, error_len], _) = payload.split_first_chunk()?;
    let (error, message) = payload.get(FIXED..)?.split_at_checked(usize::from(error_len))?;
    let extended_error = match error.split_first_chunk::<2>() {
        Some((code, text)) => {
            Some((u16::from_be_bytes(*code), std::str::from_utf8(text).ok()?.into()))
        }
        None if error.is_empty() => None,
        None => return None,
    };
    let facts = Facts {
        kind: match marks & 3 {
            0 => Kind::Positive,
            1 => Kind::Negative,
            2 => Kind::Failure,
            _ => return None,
        },
        secure: marks & SECURE != 0,
        authoritative: marks & AUTHORITATIVE != 0,
        extended_error,
        born: u32_at(payload, 4)?,
        ttl: u32_at(payload, 8)?,
        stale_until: u32_at(payload, 12)?,
    };
    // A message's response code is four bits, and the flags of a key two.
    (flags <= 3 && u16_at(message, 0)? == 0).then_some(())?;
    let answer = Answer::build(message, facts).ok()?;
    let key = Key::with_flags(answer.question(), flags, view);
    Some((key, u32_at(payload, 16)?, answer))
}

/// A reader with a look ahead of at most one record.
struct Window<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
}

impl<R: Read> Window<R> {
    /// The next `count` bytes, fewer only at the end of the file.
    fn ahead(&mut self, count: usize) -> io::Result<&[u8]> {
        const STEP: usize = 64 * 1024;
        while self.buffer.len() - self.start < count && !self.ended {
            if self.start >= STEP {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let read = (&mut self.reader).take(STEP as u64).read_to_end(&mut self.buffer)?;
            self.ended = read < STEP;
        }
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        Ok(rest.get(..count).unwrap_or(rest))
    }

    /// Leaves bytes that were looked at.
    fn skip(&mut self, count: usize) {
        self.start = (self.start + count).min(self.buffer.len());
    }

    /// Leaves at least one byte, and all up to the next mark. Gives their number.
    fn skip_to_mark(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let ahead = self.ahead(MAX_PAYLOAD)?;
            let found = ahead.windows(MARK.len()).skip(1).position(|bytes| bytes == MARK);
            let count = match found {
                Some(position) => position + 1,
                // A mark may begin in the last bytes.
                None if ahead.len() == MAX_PAYLOAD => MAX_PAYLOAD - MARK.len(),
                None => ahead.len(),
            };
            self.skip(count);
            skipped += count as u64;
            if found.is_some() || count < MAX_PAYLOAD - MARK.len() {
                return Ok(skipped);
            }
        }
    }
}
