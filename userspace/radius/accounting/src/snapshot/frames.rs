//! A file of many small items, in frames with checksums.
//!
//! All numbers are big-endian. A head of twelve bytes names the format, what the file holds, the
//! version that wrote it and the least version that can read it. A frame is its length, the
//! checksum of its payload (SipHash-2-4 with a fixed key: it finds damage, not forgery), and the
//! payload: items, each with its length. The last frame has a length of zero, and the number of
//! items in place of a checksum: a file that was cut short has none.

use std::io::{self, Read, Write};

use siphasher::sip::SipHasher24;

use super::SnapshotError;
use crate::fields::Cut;

/// What a file of sessions holds.
pub(crate) const SESSIONS: u8 = b's';
/// What a file of sums holds.
pub(crate) const USAGE: u8 = b'u';

const MAGIC: &[u8; 8] = b"MURALLAa";
const VERSION: u8 = 1;
const READABLE_BY: u8 = 1;

/// Payload after which a frame is written.
const FULL: usize = 32 * 1024;

/// Payload of a frame at most: a full one, and an item more.
const MOST: usize = FULL + 2 + u16::MAX as usize;

pub(crate) struct Writer<W> {
    writer: W,
    payload: Vec<u8>,
    items: u64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(mut writer: W, holds: u8) -> io::Result<Self> {
        writer.write_all(MAGIC)?;
        writer.write_all(&[holds, VERSION, READABLE_BY, 0])?;
        Ok(Self { writer, payload: Vec::with_capacity(MOST), items: 0 })
    }

    /// Appends an item of less than 64 KiB.
    pub(crate) fn push(&mut self, item: &[u8]) -> io::Result<()> {
        let length = u16::try_from(item.len()).map_err(io::Error::other)?;
        self.payload.extend(length.to_be_bytes());
        self.payload.extend(item);
        self.items += 1;
        if self.payload.len() >= FULL { self.frame() } else { Ok(()) }
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        if !self.payload.is_empty() {
            self.frame()?;
        }
        self.writer.write_all(&[0; 4])?;
        self.writer.write_all(&self.items.to_be_bytes())?;
        self.writer.flush()
    }

    fn frame(&mut self) -> io::Result<()> {
        self.writer.write_all(&(self.payload.len() as u32).to_be_bytes())?;
        self.writer.write_all(&checksum(&self.payload).to_be_bytes())?;
        self.writer.write_all(&self.payload)?;
        self.payload.clear();
        Ok(())
    }
}

pub(crate) struct Reader<R> {
    reader: R,
    items: u64,
    complete: bool,
    ended: bool,
}

/// What stood where a frame should be.
pub(crate) enum Frame {
    Whole(Vec<u8>),
    Damaged,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(mut reader: R, holds: u8) -> Result<Self, SnapshotError> {
        let mut head = [0; 12];
        if !fill(&mut reader, &mut head)? {
            return Err(SnapshotError::Format);
        }
        let rest = head.strip_prefix(MAGIC).ok_or(SnapshotError::Format)?;
        let &[found, wrote, needs, _] = rest else { return Err(SnapshotError::Format) };
        if found != holds {
            return Err(SnapshotError::Format);
        }
        if needs > VERSION {
            return Err(SnapshotError::Version { wrote, needs });
        }
        Ok(Self { reader, items: 0, complete: false, ended: false })
    }

    /// The next frame; none at the end, or where nothing more can be made out.
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame>> {
        let mut head = [0; 12];
        if self.ended || !fill(&mut self.reader, &mut head)? {
            return Ok(None);
        }
        let (length, sum) = head.split_at(4);
        let length = length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        let sum = sum.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        if length == 0 || length > MOST {
            self.ended = true;
            self.complete = length == 0 && sum == self.items;
            return Ok((length > 0).then_some(Frame::Damaged));
        }
        let mut payload = vec![0; length];
        if !fill(&mut self.reader, &mut payload)? {
            self.ended = true;
            return Ok(Some(Frame::Damaged));
        }
        if checksum(&payload) != sum {
            return Ok(Some(Frame::Damaged));
        }
        self.items += items(&payload).filter(Result::is_ok).count() as u64;
        Ok(Some(Frame::Whole(payload)))
    }

    /// Whether everything that was written was read.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }
}

/// The items of a frame.
pub(crate) fn items(payload: &[u8]) -> impl Iterator<Item = Result<&[u8], Cut>> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let item = rest.split_first_chunk().and_then(|(length, after)| {
            after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        Some(match item {
            Some((item, after)) => {
                rest = after;
                Ok(item)
            }
            None => {
                rest = &[];
                Err(Cut)
            }
        })
    })
}

/// Fills a buffer; false if the end comes first.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn checksum(payload: &[u8]) -> u64 {
    SipHasher24::new().hash(payload)
}
