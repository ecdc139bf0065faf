//! Gives records back in order.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use crate::disk::DiskFile;
use crate::error::JournalError;
use crate::record;
use crate::scan::{Scan, Step};
use crate::segment;
use crate::store::Store;

/// A record that was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its number: higher than that of all entries before it.
    pub sequence: u64,
    /// When it was appended.
    pub time: SystemTime,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// Reads the durable records in order, and follows those who append more.
pub struct Reader {
    store: Arc<Store>,
    /// All up to here was read, or isn't there.
    last: u64,
    place: Option<Place>,
    /// Whether something was read, so that a gap after it is one.
    begun: bool,
    missing: u64,
}

/// Where in the journal it is.
struct Place {
    ordinal: u64,
    file: Arc<dyn DiskFile>,
    scan: Scan,
}

impl Reader {
    pub(crate) fn new(store: Arc<Store>, after: u64) -> Self {
        Self { store, last: after, place: None, begun: false, missing: 0 }
    }

    /// The next record, or none as long as no other is durable. What is damaged is stepped over, logged, and counted in
    /// [`Status::damaged`](crate::Status::damaged).
    ///
    /// # Errors
    /// When a segment can't be read. The next call tries again.
    #[expect(clippy::should_implement_trait, reason = "an iterator would end at the first None")]
    pub fn next(&mut self) -> Result<Option<Entry>, JournalError> {
        loop {
            let durable = self.store.durable();
            if self.last >= durable {
                return Ok(None);
            }
            if self.place.is_none() {
                match self.store.find(self.last) {
                    Some(ordinal) => self.enter(ordinal)?,
                    None => return Ok(None),
                }
            }
            let Some(place) = &mut self.place else { continue };
            let Some(extent) = self.store.extent(place.ordinal) else {
                // It was deleted: what is left of it is behind all consumers, and so behind us if we are one.
                self.place = None;
                continue;
            };
            let ordinal = place.ordinal;
            let name = || segment::name(ordinal);
            match place.scan.next(&*place.file, extent.end) {
                Err(source) => {
                    return Err(JournalError::Disk { what: "read", name: name(), source });
                }
                Ok(Step::Record(record)) if record.sequence <= self.last => {}
                // The next segment outdates the rest of this one.
                Ok(Step::Record(record)) if record.sequence >= extent.bound => self.go_on()?,
                Ok(Step::Record(record)) => {
                    let entry = Entry {
                        sequence: record.sequence,
                        time: record::moment(record.time),
                        payload: record.payload.to_vec(),
                    };
                    self.note_gap(entry.sequence);
                    self.last = entry.sequence;
                    self.begun = true;
                    return Ok(Some(entry));
                }
                Ok(Step::Damage { at, bytes }) => {
                    self.store.counters.damaged.fetch_add(bytes, Relaxed);
                    tracing::warn!(segment = name(), at, bytes, "the journal is damaged here");
                }
                Ok(Step::End) if extent.bound < u64::MAX => self.go_on()?,
                Ok(Step::End) => {
                    // All that was durable when we looked lies before the end, or nowhere.
                    self.last = self.last.max(durable);
                    return Ok(None);
                }
            }
        }
    }

    /// Waits until there is more to read, but not longer than `time`. False if there isn't.
    pub fn wait(&self, time: Duration) -> bool {
        self.store.wait(self.last, time)
    }

    /// The number up to which all that can be read was read.
    pub fn position(&self) -> u64 {
        self.last
    }

    /// Numbers between those that were read that nothing was found of.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    fn note_gap(&mut self, sequence: u64) {
        let gap = sequence - self.last - 1;
        if gap > 0 && self.begun {
            self.missing += gap;
            self.store.counters.missing.fetch_add(gap, Relaxed);
            tracing::warn!(after = self.last, before = sequence, "the journal lacks records here");
        }
    }

    /// Goes to the next segment.
    fn go_on(&mut self) -> Result<(), JournalError> {
        let here = self.place.as_ref().map(|place| place.ordinal);
        match here.and_then(|ordinal| self.store.following(ordinal)) {
            Some(next) => self.enter(next),
            None => {
                self.place = None;
                Ok(())
            }
        }
    }

    fn enter(&mut self, ordinal: u64) -> Result<(), JournalError> {
        let name = segment::name(ordinal);
        match self.store.disk.open(&name) {
            Ok(file) => {
                let scan = Scan::new(self.store.seed(), segment::HEADER as u64);
                self.place = Some(Place { ordinal, file, scan });
                Ok(())
            }
            // It was deleted since we looked.
            Err(_) if self.store.extent(ordinal).is_none() => {
                self.place = None;
                Ok(())
            }
            Err(error) => Err(JournalError::disk("open", &name)(error)),
        }
    }
}
