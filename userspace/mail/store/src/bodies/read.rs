//! Reads bodies, whole or in part.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::bodies::frames::FrameRead;
use crate::bodies::{Bodies, BodyId, LONG, Located, READS, SHORT_TO_READ, rows};
use crate::codec::{DecodeError, Decoded};
use crate::error::BodyError;
use crate::frame::{PartHash, Subject};
use crate::packs::{PackError, Place};

impl Bodies {
    /// The message, as it was put.
    ///
    /// # Errors
    ///
    /// [`BodyError`].
    pub async fn get(&self, id: BodyId) -> Result<Bytes, BodyError> {
        let located = self.locate_one(id).await?;
        self.read(&located).await
    }

    /// A range of the message; less where it ends.
    ///
    /// # Errors
    ///
    /// [`BodyError`].
    pub async fn get_range(&self, id: BodyId, range: Range<u64>) -> Result<Bytes, BodyError> {
        if let Some(message) = self.inner.recent.lock().find(id) {
            return Ok(cut(&message, &range));
        }
        let located = self.locate_one(id).await?;
        let range = range.start.min(located.original)..range.end.min(located.original);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let (located, decoded) = self.open(located).await?;
        if decoded.recipe.needed(&range).is_empty() {
            self.inner.counters.read.fetch_add(1, Relaxed);
            return decoded
                .range(&range, &[])
                .map_err(|reason| self.inner.damaged(id, located.place, reason));
        }
        // Who asks for a piece of something large asks for the next one soon.
        let message = self.finish(&located, decoded).await?;
        if located.original >= LONG {
            self.inner.recent.lock().keep(id, message.clone(), self.inner.options.recent);
        }
        Ok(cut(&message, &range))
    }

    /// The header, the empty line, and so many lines of what follows (RFC 1939 section 7, TOP).
    ///
    /// # Errors
    ///
    /// [`BodyError`].
    pub async fn head(&self, id: BodyId, lines: u64) -> Result<Bytes, BodyError> {
        let located = self.locate_one(id).await?;
        let (header, original) = (located.header, located.original);
        let (located, decoded) = self.open(located).await?;
        // Little by little, and no part is read if the lines end before the first one begins.
        let apart = decoded.recipe.first_part().unwrap_or(original);
        let mut more = lines.saturating_mul(64);
        loop {
            let end = header.saturating_add(more).min(original);
            let range = 0..end.min(apart);
            let head = decoded.range(&range, &[]);
            let head = head.map_err(|reason| self.inner.damaged(id, located.place, reason))?;
            let (length, found) = lines_of(&head, header, lines);
            if found == lines || range.end == original {
                self.inner.counters.read.fetch_add(1, Relaxed);
                return Ok(head.slice(..length));
            }
            if end > apart {
                break;
            }
            more = more.saturating_mul(2);
        }
        let message = self.finish(&located, decoded).await?;
        let (length, _) = lines_of(&message, header, lines);
        Ok(message.slice(..length))
    }

    /// Many messages: one question for all of them, and a few reads at a time. In the order of the numbers.
    pub async fn get_many(&self, ids: &[BodyId]) -> Vec<(BodyId, Result<Bytes, BodyError>)> {
        let located = match self.locate(ids).await {
            Ok(located) => located,
            Err(error) => {
                let mut error = Some(error);
                // The first says why; the others are as good as missing with it.
                return ids
                    .iter()
                    .map(|id| (*id, Err(error.take().unwrap_or(BodyError::Closing))))
                    .collect();
            }
        };
        let wanted: Vec<(BodyId, Option<Located>)> =
            ids.iter().map(|id| (*id, located.get(id).cloned())).collect();
        let reads = wanted.into_iter().map(|(id, located)| async move {
            match located {
                Some(located) => (id, self.read(&located).await),
                None => (id, Err(BodyError::Missing(id))),
            }
        });
        stream::iter(reads).buffered(READS).collect().await
    }

    /// Where bodies lie, so that many can be read without asking for each. Good for as long as the grace of a pack, and longer: who
    /// reads what was moved asks again.
    ///
    /// # Errors
    ///
    /// [`BodyError::Database`].
    pub async fn locate(&self, ids: &[BodyId]) -> Result<HashMap<BodyId, Located>, BodyError> {
        let mut work = self.inner.engine.read().await?;
        rows::locate(&mut work, ids).await
    }

    /// The message at a place.
    ///
    /// # Errors
    ///
    /// [`BodyError`].
    pub async fn read(&self, located: &Located) -> Result<Bytes, BodyError> {
        let (located, decoded) = self.open(located.clone()).await?;
        self.finish(&located, decoded).await
    }

    async fn locate_one(&self, id: BodyId) -> Result<Located, BodyError> {
        self.locate(&[id]).await?.remove(&id).ok_or(BodyError::Missing(id))
    }

    /// Reads a body's frame. If it was moved meanwhile, where it is now.
    pub(super) async fn open(&self, mut located: Located) -> Result<(Located, Decoded), BodyError> {
        let id = located.id;
        for _ in 0..3 {
            let read = self.inner.frame(located.place).await;
            let reason = match read {
                Ok((header, payload)) => match header.subject {
                    Subject::Message { id: found, .. } if found == id.0 => {
                        match self.inner.decode_message(header, payload).await? {
                            Ok(decoded) => return Ok((located, decoded)),
                            Err(reason) => reason,
                        }
                    }
                    _ => DecodeError::Other,
                },
                Err(FrameRead::Damaged(reason)) => reason,
                Err(FrameRead::Failed(PackError::Gone(_))) => DecodeError::Other,
                Err(FrameRead::Failed(error)) => return Err(error.into()),
                Err(FrameRead::Database(error)) => return Err(error.into()),
            };
            let again = self.locate_one(id).await?;
            if again.place == located.place {
                return Err(self.inner.damaged(id, located.place, reason));
            }
            located = again;
        }
        Err(PackError::Gone(located.place.pack.name()).into())
    }

    /// Reads the parts that a message needs, and puts it together.
    async fn finish(&self, located: &Located, decoded: Decoded) -> Result<Bytes, BodyError> {
        let inner = &self.inner;
        inner.counters.read.fetch_add(1, Relaxed);
        let mut parts = HashMap::new();
        if !decoded.recipe.parts().is_empty() {
            let reads = located.parts.clone().into_iter();
            let reads = reads.map(|(hash, place)| self.part(located, hash, place));
            parts = stream::iter(reads).buffer_unordered(READS).try_collect().await?;
        }
        let parts: Vec<Option<Bytes>> =
            decoded.recipe.parts().iter().map(|hash| parts.get(hash).cloned()).collect();
        let whole = if located.original > SHORT_TO_READ as u64 {
            inner.blocking(move || decoded.whole(&parts)).await?
        } else {
            decoded.whole(&parts)
        };
        whole.map_err(|reason| inner.damaged(located.id, located.place, reason))
    }

    async fn part(
        &self,
        located: &Located,
        hash: PartHash,
        mut place: Place,
    ) -> Result<(PartHash, Bytes), BodyError> {
        let inner = &self.inner;
        for _ in 0..3 {
            let reason = match inner.frame(place).await {
                Ok((header, payload)) if header.subject == (Subject::Part { hash }) => {
                    match inner.decode_part(header, payload).await? {
                        Ok(part) => return Ok((hash, part)),
                        Err(reason) => reason,
                    }
                }
                Ok(_) | Err(FrameRead::Failed(PackError::Gone(_))) => DecodeError::Other,
                Err(FrameRead::Damaged(reason)) => reason,
                Err(FrameRead::Failed(error)) => return Err(error.into()),
                Err(FrameRead::Database(error)) => return Err(error.into()),
            };
            let again = self.locate_one(located.id).await?;
            let again = again.parts.iter().find(|(other, _)| *other == hash).map(|(_, at)| *at);
            match again {
                Some(again) if again != place => place = again,
                _ => return Err(inner.damaged(located.id, place, reason)),
            }
        }
        Err(PackError::Gone(place.pack.name()).into())
    }
}

pub(super) fn cut(message: &Bytes, range: &Range<u64>) -> Bytes {
    let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(message.len());
    let (start, end) = (at(range.start), at(range.end));
    message.slice(start..end.max(start))
}

/// Bytes of a header and of so many lines behind it, or of all there is; and how many lines there are in them.
fn lines_of(message: &[u8], header: u64, lines: u64) -> (usize, u64) {
    let header = usize::try_from(header).unwrap_or(usize::MAX).min(message.len());
    if lines == 0 {
        return (header, 0);
    }
    let body = message.get(header..).unwrap_or_default();
    let mut found = 0;
    for newline in memchr::memchr_iter(b'\n', body) {
        found += 1;
        if found == lines {
            return (header + newline + 1, found);
        }
    }
    (message.len(), found)
}
