//! Writes batches to segments, one segment after the other.

use std::sync::Arc;

use crate::disk::DiskFile;
use crate::record::{self, Head};
use crate::segment::{self, Header};
use crate::store::{Segment, Store, Trouble};

/// The one that writes.
pub(crate) struct Writer {
    store: Arc<Store>,
    current: Option<Current>,
    /// Of the next segment.
    ordinal: u64,
}

/// The segment that is written to. All before `end` is durable.
struct Current {
    ordinal: u64,
    file: Arc<dyn DiskFile>,
    end: u64,
    size: u64,
}

impl Current {
    fn room(&self) -> u64 {
        self.size.saturating_sub(self.end)
    }
}

/// What of a batch is written at once.
struct Piece<'a> {
    bytes: &'a [u8],
    last: u64,
    records: u64,
}

impl Writer {
    /// One that begins a segment of its own when there is something to write.
    pub(crate) fn new(store: Arc<Store>, ordinal: u64) -> Self {
        Self { store, current: None, ordinal }
    }

    /// Writes as many of the records as one segment has room for, and makes them durable. Gives their bytes.
    ///
    /// After an error nothing more is written to the segment: what a failed sync leaves behind can't be told from what
    /// is durable, not even by another sync. The same records are to be given again, and are written to a new segment,
    /// which outdates what the old one may have of them.
    pub(crate) fn commit(&mut self, batch: &[u8], now: u64) -> Result<usize, Trouble> {
        let Some(head) = record::peek(batch) else { return Ok(batch.len()) };
        if self.current.as_ref().is_some_and(|current| current.room() < head.size() as u64) {
            self.seal();
        }
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.begin(&head, now)?,
        };
        let piece = fitting(batch, current.room());
        let written = current
            .file
            .write_at(piece.bytes, current.end)
            .map_err(Trouble::new("write records"))
            .and_then(|()| {
                self.store.sync(&*current.file).map_err(Trouble::new("make records durable"))
            });
        if let Err(trouble) = written {
            Self::leave(&current);
            return Err(trouble);
        }
        current.end += piece.bytes.len() as u64;
        self.store.publish(current.ordinal, current.end, piece.last, piece.records);
        if current.end > current.size / 2 {
            self.store.note_half_full();
        }
        self.current = Some(current);
        Ok(piece.bytes.len())
    }

    /// Ends the segment that is written to.
    pub(crate) fn seal(&mut self) {
        if let Some(current) = self.current.take() {
            Self::leave(&current);
        }
    }

    /// Gives back the room that a segment doesn't need. Its records are durable, and are found without this.
    fn leave(current: &Current) {
        if let Err(error) = current.file.set_len(current.end) {
            tracing::debug!(segment = current.ordinal, %error, "the rest of a segment stays");
        }
    }

    /// Begins a segment, durably, so that what follows in it is found.
    fn begin(&mut self, first: &Head, now: u64) -> Result<Current, Trouble> {
        let spare = self.store.take_spare()?;
        let ordinal = self.ordinal;
        let header = Header {
            identity: self.store.identity,
            ordinal,
            previous: self.store.before(first.sequence),
            first: first.sequence,
            created: now,
        };
        let disk = &*self.store.disk;
        let begun = spare
            .file
            .write_at(&header.encode(), 0)
            .and_then(|()| self.store.sync(&*spare.file))
            .and_then(|()| disk.rename(&spare.name, &segment::name(ordinal)))
            .and_then(|()| disk.sync());
        if let Err(error) = begun {
            // If it has its name already, the next attempt takes that from it.
            let _ = disk.remove(&spare.name);
            return Err(Trouble::new("begin a segment")(error));
        }
        self.ordinal += 1;
        let end = segment::HEADER as u64;
        let segment = Segment { first: first.sequence, end, created: now };
        self.store.begin(ordinal, segment);
        Ok(Current { ordinal, file: spare.file, end, size: spare.size })
    }
}

/// The records at the beginning of a batch that `room` is enough for: at least one, for which there is room always.
fn fitting(batch: &[u8], room: u64) -> Piece<'_> {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    let (mut length, mut last, mut records) = (0, 0, 0);
    while let Some(head) = batch.get(length..).and_then(record::peek)
        && (records == 0 || length + head.size() <= room)
    {
        length += head.size();
        last = head.sequence;
        records += 1;
    }
    Piece { bytes: batch.get(..length).unwrap_or(batch), last, records }
}
