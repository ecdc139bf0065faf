//! What is on the disk: the segments, how far they are durable, and who reads them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use crate::consumer::Subscription;
use crate::disk::{self, Disk, DiskFile};
use crate::error::JournalError;
use crate::record;
use crate::segment;

/// What the options say of the disk.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Bytes of a segment.
    pub(crate) segment: u64,
    /// Bytes of the disk that are left free.
    pub(crate) reserve: u64,
    /// As long a segment is kept after the next one was begun.
    pub(crate) keep: Duration,
    /// Whether segments are written with zeros before they are used.
    pub(crate) zeroed: bool,
    /// Most bytes of a consumer's dead letters.
    pub(crate) dead_letters: u64,
}

impl Rules {
    /// Bytes of a segment that is worth beginning.
    fn least(&self) -> u64 {
        self.segment.min((segment::HEADER + 2 * record::LONGEST) as u64)
    }
}

pub(crate) struct Store {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) rules: Rules,
    pub(crate) identity: u64,
    table: RwLock<BTreeMap<u64, Segment>>,
    durable: AtomicU64,
    /// Held by nobody for long: for those who wait until `durable` rises.
    news: Mutex<()>,
    newer: Condvar,
    spare: Mutex<Option<Spare>>,
    /// Files made for segments, so that each has a name of its own.
    made: AtomicU64,
    half_full: AtomicBool,
    deleting: Mutex<Deleting>,
    pub(crate) subscriptions: Mutex<BTreeMap<String, Arc<Subscription>>>,
    pub(crate) counters: Counters,
    /// Nobody else opens the journal as long as this is open.
    _lock: Option<File>,
}

/// What is there when a journal is opened.
pub(crate) struct Contents {
    pub(crate) table: BTreeMap<u64, Segment>,
    pub(crate) leftovers: Vec<u64>,
    pub(crate) durable: u64,
    pub(crate) subscriptions: BTreeMap<String, Arc<Subscription>>,
}

/// One segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// The first number that may be in it. The next one's ends it.
    pub(crate) first: u64,
    /// Where what is durable ends.
    pub(crate) end: u64,
    pub(crate) created: u64,
}

/// Segments are deleted by one at a time.
struct Deleting {
    /// Outdated segments that are to be.
    leftovers: Vec<u64>,
    /// Whether a crash may bring back some that are.
    doubtful: bool,
}

/// What a reader needs to know of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) end: u64,
    /// Numbers from here on are in later segments.
    pub(crate) bound: u64,
}

/// A file that only lacks a header and a name to be a segment.
pub(crate) struct Spare {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) name: String,
    pub(crate) size: u64,
}

/// Bytes that are left for the positions of consumers: without room for these nothing could be deleted either.
const FOR_POSITIONS: u64 = 64 * 1024;

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) records: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) syncs: AtomicU64,
    /// Nanoseconds that syncs of records took.
    pub(crate) sync_time: AtomicU64,
    pub(crate) failures: AtomicU64,
    /// Bytes that readers had to step over.
    pub(crate) damaged: AtomicU64,
    /// Numbers that readers found missing.
    pub(crate) missing: AtomicU64,
    pub(crate) retired: AtomicU64,
}

/// Why something couldn't be written.
#[derive(Debug, thiserror::Error)]
#[error("can't {what}: {source}")]
pub(crate) struct Trouble {
    pub(crate) what: &'static str,
    pub(crate) source: io::Error,
}

impl Trouble {
    pub(crate) fn new(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { what, source }
    }

    /// Whether it is for lack of room.
    pub(crate) fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self.source.kind(), StorageFull | QuotaExceeded)
    }
}

impl Store {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        rules: Rules,
        identity: u64,
        found: Contents,
        lock: Option<File>,
    ) -> Self {
        let Contents { table, leftovers, durable, subscriptions } = found;
        Self {
            disk,
            rules,
            identity,
            table: RwLock::new(table),
            durable: AtomicU64::new(durable),
            news: Mutex::new(()),
            newer: Condvar::new(),
            spare: Mutex::new(None),
            made: AtomicU64::new(0),
            // The first one is made before it is needed, too.
            half_full: AtomicBool::new(true),
            deleting: Mutex::new(Deleting { leftovers, doubtful: false }),
            subscriptions: Mutex::new(subscriptions),
            counters: Counters::default(),
            _lock: lock,
        }
    }

    /// What all checksums begin with.
    pub(crate) fn seed(&self) -> u32 {
        seed(self.identity)
    }

    /// All numbers up to it are durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Acquire)
    }

    /// Notes that a segment is durable up to `end`, and with it all numbers up to `last`.
    pub(crate) fn publish(&self, ordinal: u64, end: u64, last: u64, records: u64) {
        if let Some(segment) = self.table.write().get_mut(&ordinal) {
            segment.end = end;
        }
        self.counters.records.fetch_add(records, Relaxed);
        self.counters.batches.fetch_add(1, Relaxed);
        // After the table: who sees the number finds the record.
        self.durable.store(last, Release);
        // Who looked at the number before is waiting by the time that the lock is ours.
        drop(self.news.lock());
        self.newer.notify_all();
    }

    /// Waits until numbers above `after` are durable. False if that takes longer than `time`.
    pub(crate) fn wait(&self, after: u64, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut news = self.news.lock();
        while self.durable() <= after {
            if self.newer.wait_until(&mut news, until).timed_out() {
                return self.durable() > after;
            }
        }
        true
    }

    pub(crate) fn sync(&self, file: &dyn DiskFile) -> io::Result<()> {
        let begin = Instant::now();
        let result = file.sync();
        let took = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.counters.syncs.fetch_add(1, Relaxed);
        self.counters.sync_time.fetch_add(took, Relaxed);
        result
    }

    /// Takes a new segment in, and deletes those that it outdates: they hold nothing that was acknowledged.
    pub(crate) fn begin(&self, ordinal: u64, segment: Segment) {
        self.half_full.store(false, Relaxed);
        let outdated: Vec<u64> = {
            let mut table = self.table.write();
            let outdated = table.iter().filter(|(_, older)| older.first >= segment.first);
            let outdated = outdated.map(|(ordinal, _)| *ordinal).collect();
            table.retain(|_, older| older.first < segment.first);
            table.insert(ordinal, segment);
            outdated
        };
        if !outdated.is_empty() {
            let mut deleting = self.deleting.lock();
            deleting.leftovers.extend(outdated);
            if let Err(error) = self.clear_leftovers(&mut deleting) {
                tracing::debug!(%error, "an outdated segment stays");
            }
        }
    }

    fn clear_leftovers(&self, deleting: &mut Deleting) -> Result<(), JournalError> {
        while let Some(leftover) = deleting.leftovers.last() {
            let name = segment::name(*leftover);
            match self.disk.remove(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(JournalError::disk("delete", &name)(error));
                }
                _ => deleting.leftovers.pop(),
            };
            deleting.doubtful = true;
        }
        Ok(())
    }

    /// Makes sure that what is deleted remains so.
    fn settle_deleted(&self, deleting: &mut Deleting) -> Result<(), JournalError> {
        if deleting.doubtful {
            self.disk.sync().map_err(JournalError::disk("sync", "its folder"))?;
            deleting.doubtful = false;
        }
        Ok(())
    }

    /// The last segment that has numbers below `first`, or 0.
    pub(crate) fn before(&self, first: u64) -> u64 {
        let table = self.table.read();
        table.iter().rev().find(|(_, older)| older.first < first).map_or(0, |(ordinal, _)| *ordinal)
    }

    /// The segment in which the number after this one is, or the one after it.
    pub(crate) fn find(&self, after: u64) -> Option<u64> {
        let table = self.table.read();
        let at_or_before =
            table.iter().rev().find(|(_, segment)| segment.first <= after.saturating_add(1));
        at_or_before.or_else(|| table.first_key_value()).map(|(ordinal, _)| *ordinal)
    }

    pub(crate) fn extent(&self, ordinal: u64) -> Option<Extent> {
        let table = self.table.read();
        let segment = table.get(&ordinal)?;
        let next = table.range((Excluded(ordinal), Unbounded)).next();
        let bound = next.map_or(u64::MAX, |(_, next)| next.first);
        Some(Extent { end: segment.end, bound })
    }

    /// The segment after that one.
    pub(crate) fn following(&self, ordinal: u64) -> Option<u64> {
        let table = self.table.read();
        table.range((Excluded(ordinal), Unbounded)).next().map(|(ordinal, _)| *ordinal)
    }

    /// How many segments there are, their bytes, and the oldest.
    pub(crate) fn segments(&self) -> (usize, u64, Option<Segment>) {
        let table = self.table.read();
        let bytes = table.values().map(|segment| segment.end).sum();
        (table.len(), bytes, table.values().next().copied())
    }

    /// Notes that the segment that is written to is half full, so that another one is worth making ahead.
    pub(crate) fn note_half_full(&self) {
        self.half_full.store(true, Relaxed);
    }

    /// Whether to make one. The writer asks after each batch, and does not wait for one that is being made.
    pub(crate) fn wants_spare(&self) -> bool {
        self.half_full.load(Relaxed) && self.spare.try_lock().is_some_and(|spare| spare.is_none())
    }

    /// Makes a spare ahead of its time. Nothing is deleted for it.
    pub(crate) fn make_spare(&self) -> Result<(), Trouble> {
        let mut spare = self.spare.lock();
        if spare.is_none() {
            *spare = Some(self.prepare(false)?);
        }
        Ok(())
    }

    /// The spare, or one made now. One that is being made is waited for: two at a time may find no room where there is room
    /// for one.
    pub(crate) fn take_spare(&self) -> Result<Spare, Trouble> {
        let mut spare = self.spare.lock();
        match spare.take() {
            Some(spare) => Ok(spare),
            None => self.prepare(true),
        }
    }

    /// Deletes the spare, if there is one.
    pub(crate) fn drop_spare(&self) {
        if let Some(spare) = self.spare.lock().take() {
            let _ = self.disk.remove(&spare.name);
        }
    }

    fn prepare(&self, urgent: bool) -> Result<Spare, Trouble> {
        let size = self.room(urgent)?;
        let name = format!("segment-{}{}", self.made.fetch_add(1, Relaxed), disk::NEW);
        let attempt = || -> io::Result<_> {
            let file = self.disk.create(&name)?;
            file.allocate(size)?;
            if self.rules.zeroed {
                disk::fill(&*file, size)?;
            }
            file.sync()?;
            Ok(file)
        };
        match attempt() {
            Ok(file) => Ok(Spare { file, name, size }),
            Err(error) => {
                let _ = self.disk.remove(&name);
                Err(Trouble::new("make a segment")(error))
            }
        }
    }

    /// Bytes that a new segment may have. If it is urgent, what was consumed makes room, however young it is.
    fn room(&self, urgent: bool) -> Result<u64, Trouble> {
        let spared = self.rules.reserve.saturating_add(FOR_POSITIONS);
        loop {
            let free = self.disk.free().map_err(Trouble::new("look for free room"))?;
            let size = free.saturating_sub(spared).min(self.rules.segment);
            if size == self.rules.segment {
                return Ok(size);
            }
            if urgent {
                match self.retire_oldest(u64::MAX, Duration::ZERO) {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, "the journal can't make room"),
                }
            }
            return match size >= self.rules.least() {
                true => Ok(size),
                false => Err(Trouble::new("make a segment")(self.lack_of_room(spared))),
            };
        }
    }

    /// An operator who makes room must know how much, of which most may well be the reserve.
    fn lack_of_room(&self, spared: u64) -> io::Error {
        let needed = spared.saturating_add(self.rules.least()).div_ceil(1 << 20);
        let text =
            format!("no storage space; {needed} MiB must be free, with what `reserve` keeps");
        io::Error::new(io::ErrorKind::StorageFull, text)
    }

    /// Deletes segments that all consumers are past and that are older than is to be kept. Without a consumer nothing
    /// is deleted. Gives how many were.
    pub(crate) fn retire(&self, now: u64) -> Result<usize, JournalError> {
        let mut count = 0;
        while self.retire_oldest(now, self.rules.keep)? {
            count += 1;
        }
        Ok(count)
    }

    fn retire_oldest(&self, now: u64, keep: Duration) -> Result<bool, JournalError> {
        let mut deleting = self.deleting.lock();
        let Some(consumed) = self.consumed() else { return Ok(false) };
        let (ordinal, segment) = {
            let mut table = self.table.write();
            let mut segments = table.iter();
            let (Some((ordinal, segment)), Some((_, next))) = (segments.next(), segments.next())
            else {
                return Ok(false);
            };
            // A clock that was set back makes it young.
            let age = Duration::from_nanos(now.saturating_sub(next.created));
            if next.first > consumed + 1 || age < keep {
                return Ok(false);
            }
            let (ordinal, segment) = (*ordinal, *segment);
            table.remove(&ordinal);
            (ordinal, segment)
        };
        let name = segment::name(ordinal);
        // One after the other, so that no crash leaves a hole among those that are there; what is outdated is between
        // them, and would look like the beginning of one.
        let deleted = self
            .clear_leftovers(&mut deleting)
            .and_then(|()| self.settle_deleted(&mut deleting))
            .and_then(|()| self.disk.remove(&name).map_err(JournalError::disk("delete", &name)));
        if let Err(error) = deleted {
            // It is the first to go the next time.
            self.table.write().insert(ordinal, segment);
            return Err(error);
        }
        self.counters.retired.fetch_add(1, Relaxed);
        deleting.doubtful = true;
        self.settle_deleted(&mut deleting)?;
        Ok(true)
    }

    /// The number up to which all consumers are.
    fn consumed(&self) -> Option<u64> {
        let subscriptions = self.subscriptions.lock();
        subscriptions.values().map(|subscription| subscription.position()).min()
    }
}

/// What the checksums of a journal with this number begin with.
pub(crate) fn seed(identity: u64) -> u32 {
    (identity ^ (identity >> 32)) as u32
}
