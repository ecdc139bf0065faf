//! Walks through a pack from frame to frame, without the database.
//!
//! What is no frame is stepped over to where the next one begins. At the end of a pack that is what a crash left of a batch that
//! nobody was told of; within it, it is damage.

use bytes::{Bytes, BytesMut};

use crate::frame::{FrameError, HEAD, Header, LONGEST_HEADER, PackHead, next_magic};
use crate::packs::{PackError, PackId, PackStore, Place};

/// Bytes that are asked for at a time.
const WINDOW: u32 = 8 << 20;

/// What lies in a pack.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    /// A frame, whole.
    Frame {
        /// Where it lies.
        place: Place,
        /// Its header.
        header: Header,
        /// Its payload.
        payload: Bytes,
    },
    /// Bytes that are no frame, or one that is damaged.
    Gap {
        /// Where they begin.
        start: u64,
        /// Where they end.
        end: u64,
        /// Why they are none.
        reason: FrameError,
        /// They are the last ones.
        last: bool,
    },
}

/// A walk through a pack.
pub(crate) struct Scan<'a> {
    packs: &'a dyn PackStore,
    pack: PackId,
    seed: u32,
    /// What was read and not yet walked through, and where it begins.
    window: BytesMut,
    at: u64,
    /// Nothing follows the window.
    ended: bool,
    begun: bool,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(packs: &'a dyn PackStore, pack: PackId, seed: u32) -> Self {
        Self { packs, pack, seed, window: BytesMut::new(), at: 0, ended: false, begun: false }
    }

    /// What comes next; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Found>, PackError> {
        if !self.begun {
            self.begun = true;
            self.fill(HEAD).await?;
            if let Err(reason) = self.head() {
                let start = self.at;
                self.skip(HEAD);
                let last = self.window.is_empty() && self.ended;
                return Ok((self.at > start).then_some(Found::Gap {
                    start,
                    end: self.at,
                    reason,
                    last,
                }));
            }
            self.skip(HEAD);
        }
        self.fill(LONGEST_HEADER).await?;
        if self.window.is_empty() {
            return Ok(None);
        }
        let start = self.at;
        let reason = match Header::parse(&self.window, self.seed) {
            Ok(header) => {
                let length = header.length();
                self.fill(length as usize).await?;
                if self.window.len() < length as usize {
                    FrameError::Short
                } else {
                    let frame = self.window.split_to(length as usize).freeze();
                    self.at += u64::from(length);
                    let place = Place { pack: self.pack, start, length };
                    return Ok(Some(match header.payload(&frame) {
                        Ok(payload) => Found::Frame { place, header, payload },
                        Err(reason) => {
                            // The header is sound: the next frame is where this one ends.
                            self.fill(1).await?;
                            Found::Gap { start, end: self.at, reason, last: self.is_over() }
                        }
                    }));
                }
            }
            Err(reason) => reason,
        };
        self.skip(1);
        self.find_next().await?;
        Ok(Some(Found::Gap { start, end: self.at, reason, last: self.is_over() }))
    }

    fn head(&self) -> Result<(), FrameError> {
        let head = PackHead::parse(&self.window)?;
        if head.pack == self.pack && head.seed == self.seed {
            Ok(())
        } else {
            Err(FrameError::Header)
        }
    }

    /// Steps over what is no frame.
    async fn find_next(&mut self) -> Result<(), PackError> {
        loop {
            self.fill(LONGEST_HEADER).await?;
            if self.is_over() {
                return Ok(());
            }
            match next_magic(&self.window, 0) {
                Some(0) => {
                    if let Ok(header) = Header::parse(&self.window, self.seed) {
                        self.fill(header.length() as usize).await?;
                        // One that is cut off is no frame, and there may be another in it.
                        if self.window.len() >= header.length() as usize {
                            return Ok(());
                        }
                    }
                    self.skip(1);
                }
                Some(found) => self.skip(found),
                // The beginning of one may be at its end.
                None if self.ended => self.skip(self.window.len()),
                None => self.skip(self.window.len().saturating_sub(2).max(1)),
            }
        }
    }

    fn is_over(&self) -> bool {
        self.ended && self.window.is_empty()
    }

    /// Reads until there are so many bytes, or nothing more.
    async fn fill(&mut self, length: usize) -> Result<(), PackError> {
        while !self.ended && self.window.len() < length {
            let from = self.at + self.window.len() as u64;
            let more = self.packs.read_some(self.pack, from, WINDOW).await?;
            self.ended = more.len() < WINDOW as usize;
            self.window.extend_from_slice(&more);
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) {
        let bytes = bytes.min(self.window.len());
        let _ = self.window.split_to(bytes);
        self.at += bytes as u64;
    }
}

#[cfg(test)]
mod tests;
