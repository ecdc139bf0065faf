//! Frames, and the head of a pack: what a pack can be read by without the database. Pure.
//!
//! A pack is a head of 32 bytes and frames, one behind the other. A frame is a header of 52 bytes (a message) or 60 (a part) and its
//! payload. All numbers are big-endian.
//!
//! | bytes | of a frame's header |
//! |---|---|
//! | 4 | `9d 4d 46` and the version, 1 |
//! | 1 | what it holds: 1 a message, 2 a part |
//! | 1 | how its content is written: 0 as it is, 1 zstd |
//! | 2 | zero |
//! | 4 | the dictionary's number, or 0 |
//! | 4 | bytes of what it holds |
//! | 4 | bytes of the payload |
//! | 4 | CRC-32C of the payload |
//! | 24 | of a message: its body's number, and the first 16 bytes of its BLAKE3 |
//! | 32 | of a part: the keyed BLAKE3 of what it holds |
//! | 4 | CRC-32C of the header before it, begun with the store's own number |
//!
//! Who sends a message knows nothing of the store's own number, and so can't write bytes into it that are taken for a frame when
//! a damaged pack is searched for the next one.

use bytes::Bytes;

use crate::packs::PackId;

/// Most bytes of a message or part.
pub const MOST: usize = 256 << 20;

/// Bytes of a pack's head.
pub const HEAD: usize = 32;

/// Bytes of the longest header of a frame.
pub const LONGEST_HEADER: usize = 60;

const MAGIC: [u8; 3] = [0x9d, b'M', b'F'];
const VERSION: u8 = 1;
const PACK_MAGIC: [u8; 8] = *b"MURPACK1";

/// What a frame holds.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Subject {
    /// A message, less its large parts.
    Message {
        /// Its body's number.
        id: i64,
        /// The first 16 bytes of the BLAKE3 of the whole message.
        digest: [u8; 16],
    },
    /// A large part.
    Part {
        /// Its hash.
        hash: PartHash,
    },
}

/// The keyed BLAKE3 of what a part holds.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PartHash(pub [u8; 32]);

/// How content is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Coding {
    /// As it is.
    Stored,
    /// A frame of zstd without magic number, length and checksum: the header has them.
    Zstd,
}

/// A frame to be appended.
#[derive(Clone, Debug)]
pub struct Frame {
    header: Header,
    front: Bytes,
    content: Bytes,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// What it holds.
    pub subject: Subject,
    /// How its content is written.
    pub coding: Coding,
    /// The number of the dictionary, or 0.
    pub dictionary: u32,
    /// Bytes of the message or part.
    pub original: u32,
    /// Bytes of the payload.
    pub stored: u32,
    /// CRC-32C of the payload.
    pub checksum: u32,
}

/// The head of a pack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PackHead {
    /// The pack.
    pub pack: PackId,
    /// When it was begun, in seconds since 1970.
    pub created: i64,
    /// The store's own number, which headers' checksums begin with.
    pub seed: u32,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// They end within it.
    #[error("it is cut off")]
    Short,
    /// They don't begin as one.
    #[error("there is no frame")]
    NotAFrame,
    /// A later program wrote it.
    #[error("a newer program wrote it (version {0}): install that one")]
    Newer(u8),
    /// The header's checksum is another.
    #[error("its header is damaged")]
    Header,
    /// The payload's checksum is another.
    #[error("it is damaged")]
    Payload,
}

impl Frame {
    /// A frame of a payload in two pieces. None if one is longer than a frame may be.
    #[must_use]
    pub fn new(
        subject: Subject,
        coding: Coding,
        dictionary: u32,
        original: usize,
        front: Bytes,
        content: Bytes,
    ) -> Option<Self> {
        if original > MOST || front.len().saturating_add(content.len()) > MOST + MOST / 2 {
            return None;
        }
        let header = Header {
            subject,
            coding,
            dictionary,
            original: u32::try_from(original).ok()?,
            stored: u32::try_from(front.len() + content.len()).ok()?,
            checksum: crc32c::crc32c_append(crc32c::crc32c(&front), &content),
        };
        Some(Self { header, front, content })
    }

    /// A frame that was read from a pack, to be appended to another.
    pub(crate) fn again(header: Header, payload: Bytes) -> Self {
        Self { header, front: Bytes::new(), content: payload }
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of all of it.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.header.length()
    }

    /// All of it, in pieces.
    #[must_use]
    pub fn pieces(&self, seed: u32) -> [Bytes; 3] {
        [Bytes::from(self.header.to_bytes(seed)), self.front.clone(), self.content.clone()]
    }
}

impl Header {
    /// Bytes of the header itself.
    #[must_use]
    pub fn own_length(&self) -> usize {
        match self.subject {
            Subject::Message { .. } => 52,
            Subject::Part { .. } => 60,
        }
    }

    /// Bytes of the frame: the header and the payload.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.stored.saturating_add(match self.subject {
            Subject::Message { .. } => 52,
            Subject::Part { .. } => 60,
        })
    }

    fn to_bytes(self, seed: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LONGEST_HEADER);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        bytes.push(match self.subject {
            Subject::Message { .. } => 1,
            Subject::Part { .. } => 2,
        });
        bytes.push(match self.coding {
            Coding::Stored => 0,
            Coding::Zstd => 1,
        });
        bytes.extend_from_slice(&[0, 0]);
        for number in [self.dictionary, self.original, self.stored, self.checksum] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        match self.subject {
            Subject::Message { id, digest } => {
                bytes.extend_from_slice(&id.to_be_bytes());
                bytes.extend_from_slice(&digest);
            }
            Subject::Part { hash } => bytes.extend_from_slice(&hash.0),
        }
        let checksum = crc32c::crc32c_append(seed, &bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Reads the header at the beginning of some bytes.
    ///
    /// # Errors
    ///
    /// [`FrameError`].
    pub fn parse(bytes: &[u8], seed: u32) -> Result<Self, FrameError> {
        let mut rest = Octets(bytes);
        if rest.take::<3>()? != MAGIC {
            return Err(FrameError::NotAFrame);
        }
        let [version, kind, coding, zero, zero_too] = rest.take::<5>()?;
        if version > VERSION {
            return Err(FrameError::Newer(version));
        }
        let [dictionary, original, stored, checksum] =
            [rest.number()?, rest.number()?, rest.number()?, rest.number()?];
        let subject = match kind {
            1 => Subject::Message { id: i64::from_be_bytes(rest.take()?), digest: rest.take()? },
            2 => Subject::Part { hash: PartHash(rest.take()?) },
            _ => return Err(FrameError::Header),
        };
        let covered = bytes.len() - rest.0.len();
        let expected = rest.number()?;
        let covered = bytes.get(..covered).ok_or(FrameError::Short)?;
        if crc32c::crc32c_append(seed, covered) != expected {
            return Err(FrameError::Header);
        }
        let coding = match (version, coding) {
            (VERSION, 0) => Coding::Stored,
            (VERSION, 1) => Coding::Zstd,
            _ => return Err(FrameError::Header),
        };
        let too_long = original as usize > MOST || stored as usize > MOST + MOST / 2;
        if too_long || [zero, zero_too] != [0, 0] {
            return Err(FrameError::Header);
        }
        Ok(Self { subject, coding, dictionary, original, stored, checksum })
    }

    /// The payload of the frame at the beginning of some bytes.
    ///
    /// # Errors
    ///
    /// [`FrameError`].
    pub fn payload(&self, bytes: &Bytes) -> Result<Bytes, FrameError> {
        let range = self.own_length()..self.length() as usize;
        if bytes.len() < range.end {
            return Err(FrameError::Short);
        }
        let payload = bytes.slice(range);
        if crc32c::crc32c(&payload) == self.checksum {
            Ok(payload)
        } else {
            Err(FrameError::Payload)
        }
    }
}

impl PackHead {
    /// As it lies in the pack.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = Vec::with_capacity(HEAD);
        bytes.extend_from_slice(&PACK_MAGIC);
        bytes.extend_from_slice(&self.pack.0.to_be_bytes());
        bytes.extend_from_slice(&self.created.to_be_bytes());
        bytes.extend_from_slice(&self.seed.to_be_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        let mut head = [0; HEAD];
        for (to, from) in head.iter_mut().zip(bytes) {
            *to = from;
        }
        head
    }

    /// Reads the head of a pack.
    ///
    /// # Errors
    ///
    /// [`FrameError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut rest = Octets(bytes);
        if rest.take::<8>()? != PACK_MAGIC {
            return Err(FrameError::NotAFrame);
        }
        let pack = PackId(i64::from_be_bytes(rest.take()?));
        let created = i64::from_be_bytes(rest.take()?);
        let seed = rest.number()?;
        let expected = rest.number()?;
        let covered = bytes.get(..HEAD - 4).ok_or(FrameError::Short)?;
        if crc32c::crc32c(covered) != expected {
            return Err(FrameError::Header);
        }
        Ok(Self { pack, created, seed })
    }
}

/// Where the next header may begin in some bytes, from a place on.
#[must_use]
pub fn next_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    memchr::memmem::find(rest, &MAGIC).map(|found| from + found)
}

/// Bytes that are read from the front.
struct Octets<'a>(&'a [u8]);

impl Octets<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(FrameError::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u32, FrameError> {
        self.take().map(u32::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(subject: Subject) -> Frame {
        let (front, content) = (Bytes::from_static(b"\0\x05"), Bytes::from_static(b"hello"));
        Frame::new(subject, Coding::Zstd, 7, 5, front, content).unwrap()
    }

    fn whole(frame: &Frame, seed: u32) -> Bytes {
        Bytes::from(frame.pieces(seed).concat())
    }

    const MESSAGE: Subject = Subject::Message { id: 0x0102_0304_0506_0708, digest: [9; 16] };
    const PART: Subject = Subject::Part { hash: PartHash([3; 32]) };

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        for (subject, length) in [(MESSAGE, 59), (PART, 67)] {
            let frame = frame(subject);
            let bytes = whole(&frame, 5);
            assert_eq!((bytes.len(), frame.length()), (length, length as u32));
            let header = Header::parse(&bytes, 5).unwrap();
            assert_eq!(header, *frame.header());
            assert_eq!(header.payload(&bytes).unwrap(), &b"\0\x05hello"[..]);
        }
    }

    #[test]
    fn every_byte_is_covered() {
        for subject in [MESSAGE, PART] {
            let bytes = whole(&frame(subject), 5);
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut bytes = bytes.to_vec();
                    bytes[at] ^= 1 << bit;
                    let bytes = Bytes::from(bytes);
                    let read = Header::parse(&bytes, 5).and_then(|header| header.payload(&bytes));
                    assert!(read.is_err(), "byte {at}, bit {bit}");
                }
            }
            for length in 0..bytes.len() {
                let bytes = bytes.slice(..length);
                let read = Header::parse(&bytes, 5).and_then(|header| header.payload(&bytes));
                assert_eq!(read, Err(FrameError::Short), "{length}");
            }
        }
    }

    #[test]
    fn another_store_s_frame_is_none() {
        let bytes = whole(&frame(MESSAGE), 5);
        assert_eq!(Header::parse(&bytes, 6), Err(FrameError::Header));
    }

    #[test]
    fn a_newer_frame_says_so() {
        let mut bytes = whole(&frame(MESSAGE), 5).to_vec();
        bytes[3] = 2;
        assert_eq!(Header::parse(&bytes, 5), Err(FrameError::Newer(2)));
    }

    #[test]
    fn heads_of_packs() {
        let head = PackHead { pack: PackId(77), created: 1_800_000_000, seed: 0xdead_beef };
        let bytes = head.to_bytes();
        assert_eq!(PackHead::parse(&bytes), Ok(head));
        for at in 0..HEAD {
            let mut bytes = bytes;
            bytes[at] ^= 1;
            assert!(PackHead::parse(&bytes).is_err(), "{at}");
        }
        assert_eq!(PackHead::parse(&bytes[..31]), Err(FrameError::Short));
    }

    #[test]
    fn the_next_frame_is_found() {
        let mut bytes = b"rubbish \x9dMX and more ".to_vec();
        let at = bytes.len();
        bytes.extend_from_slice(&whole(&frame(PART), 5));
        assert_eq!(next_magic(&bytes, 0), Some(at));
        assert_eq!(next_magic(&bytes, at + 1), None);
    }
}
