//! Puts messages and reads them, whole or in part.
//!
//! [`Bodies::put`] makes a message's frames durable and returns what to insert; [`Bodies::insert`] does that in the caller's
//! transaction, so that the body and what names it are one step. A row is there as long as somebody needs it: [`Bodies::retain`]
//! and [`Bodies::release`] count.
//!
//! Rows are locked in one order, so that two transactions don't wait for each other: the caller's own first, then bodies by their
//! number, parts by their hash, packs by their number. So insert last.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use muralla_database::{Engine, Value, Work};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::bodies::frames::Encoded;
use crate::bodies::rows::{count, part_row};
use crate::collection::Upkeep;
use crate::dictionaries::{self, Dictionaries};
use crate::error::BodyError;
use crate::frame::{Frame, MOST, PartHash};
use crate::numbers::Numbers;
use crate::packs::{PackError, PackStatus, PackStore, Place};

pub(crate) use frames::FrameRead;
pub(crate) use rows::{Live, number, part_hash, part_hashes, place};

/// A body, by its number: unique in its store, rising with time, never given twice. In another store the same message has
/// another one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BodyId(pub i64);

/// Bodies of a store. Clones are the same one.
#[derive(Clone)]
pub struct Bodies {
    pub(crate) inner: Arc<Inner>,
}

/// How bodies are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BodyOptions {
    /// The level of zstd. Of the letters of `bench mail` 3 leaves 0.391, and 6 leaves 0.383, with a dictionary of 128 KiB.
    pub level: i32,
    /// Bytes of messages that may be on their way into packs at once.
    pub room: usize,
    /// Bytes of large messages that are kept in memory while they are read piece by piece.
    pub recent: usize,
    /// How long a pack that nothing names is kept, in seconds, for readers that are under way.
    pub grace: i64,
    /// How old a pack must be that no row names, in seconds, before it is looked through.
    pub stray: i64,
    /// Percent of a pack that may be dead.
    pub dead: i64,
    /// Most bytes that one call of [`Bodies::maintain`] copies.
    pub copied: u64,
    /// Bodies that there must be before a dictionary is trained, and seconds before the next one. Never if 0.
    pub train_after: (i64, i64),
}

/// A body that was put and whose row isn't there yet.
#[derive(Clone, Debug)]
pub struct BodyRow {
    id: BodyId,
    place: Place,
    original: u64,
    header: u64,
    /// Its parts; with a place if they were put together with it.
    parts: Vec<(PartHash, Option<Place>)>,
    put: Instant,
}

/// How it went since the process began.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BodyStatus {
    /// Bodies put, and bytes of the messages.
    pub put: u64,
    /// Bytes of them.
    pub put_bytes: u64,
    /// Bytes of the frames that were made of them.
    pub stored_bytes: u64,
    /// Parts that were there already, and their bytes.
    pub shared_parts: u64,
    /// Bytes of them, decoded.
    pub shared_bytes: u64,
    /// Bodies read, whole or in part.
    pub read: u64,
    /// How often a body could not be read, or something in a pack was found damaged.
    pub damaged: u64,
    /// The dictionary that is compressed with.
    pub dictionary: u32,
    /// The packs.
    pub packs: PackStatus,
}

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) packs: Arc<dyn PackStore>,
    pub(crate) options: BodyOptions,
    pub(crate) numbers: Numbers,
    pub(crate) dictionaries: Dictionaries,
    /// Whether the dictionaries were loaded once.
    loaded: tokio::sync::OnceCell<()>,
    /// Whether the packs were found to be this store's.
    ours: tokio::sync::OnceCell<()>,
    /// Those who encode and decode: no more than there are processors.
    coders: Semaphore,
    room: Semaphore,
    room_bytes: usize,
    recent: Mutex<Recent>,
    counters: Counters,
    pub(crate) upkeep: tokio::sync::Mutex<Upkeep>,
}

#[derive(Default)]
struct Counters {
    put: AtomicU64,
    put_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    shared_parts: AtomicU64,
    shared_bytes: AtomicU64,
    read: AtomicU64,
    damaged: AtomicU64,
}

/// Large messages that were just read.
#[derive(Default)]
struct Recent {
    messages: VecDeque<(BodyId, Bytes)>,
    bytes: usize,
}

/// Where a body lies, as the database says.
#[derive(Clone, Debug)]
pub struct Located {
    id: BodyId,
    place: Place,
    original: u64,
    header: u64,
    parts: Vec<(PartHash, Place)>,
}

/// Messages up to this long are encoded at once: to have another thread do it takes as long.
const SHORT: usize = 16 << 10;

/// Messages up to this long are decoded at once, which takes a fraction of that time.
const SHORT_TO_READ: usize = 64 << 10;

/// Messages longer than this are kept in memory when a range of them is read.
const LONG: u64 = 256 << 10;

/// How long after it was put a body may be inserted. Whoever deletes packs waits longer.
const VALID: Duration = Duration::from_secs(3600);

/// Reads for one caller at once.
const READS: usize = 8;

impl Default for BodyOptions {
    fn default() -> Self {
        Self {
            level: 6,
            room: 256 << 20,
            recent: 64 << 20,
            grace: 900,
            // If the database is put back to an earlier state, that is the time to find out.
            stray: 7 * 86_400,
            dead: 40,
            copied: 256 << 20,
            train_after: (2000, 30 * 86_400),
        }
    }
}

impl Bodies {
    /// Bodies in a database and packs. Nothing is asked of either yet. The tables must be there when it is:
    /// [`SCHEMA`](crate::SCHEMA).
    #[must_use]
    pub fn new(engine: Engine, packs: Arc<dyn PackStore>, options: BodyOptions) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let room_bytes = options.room.clamp(1 << 20, u32::MAX as usize);
        let inner = Inner {
            numbers: Numbers::new(engine.clone()),
            engine,
            packs,
            dictionaries: Dictionaries::new(options.level),
            loaded: tokio::sync::OnceCell::new(),
            ours: tokio::sync::OnceCell::new(),
            coders: Semaphore::new(cores),
            room: Semaphore::new(room_bytes),
            room_bytes,
            recent: Mutex::new(Recent::default()),
            counters: Counters::default(),
            upkeep: tokio::sync::Mutex::new(Upkeep::default()),
            options,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The database that the rows are in.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// Makes a message durable. Nobody finds it before its row is [inserted](Self::insert), and it is removed by and by if
    /// that isn't done within the hour. Those who put at the same time share the work of the disk. May be abandoned.
    ///
    /// # Errors
    ///
    /// [`BodyError`].
    pub async fn put(&self, raw: Bytes) -> Result<BodyRow, BodyError> {
        let inner = &self.inner;
        if raw.len() > MOST {
            return Err(BodyError::TooLarge { size: raw.len() as u64, most: MOST as u64 });
        }
        // The message, what was decoded of it and what it was compressed to are there at once.
        let wanted = raw.len().saturating_mul(2).min(inner.room_bytes);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let _room = inner.room.acquire_many(wanted).await.map_err(|_| BodyError::Closing)?;
        inner.see_that_packs_are_ours().await?;
        inner.load_dictionaries().await?;
        let put = Instant::now();
        let (id, writer) = inner.numbers.next().await?;
        let Encoded { message, parts, new } = inner.encode(id, &raw, &writer.key).await?;
        let hashes: Vec<PartHash> = new.iter().map(|(hash, _)| *hash).collect();
        let mut frames: Vec<Frame> = new.into_iter().map(|(_, frame)| frame).collect();
        frames.push(message);
        let stored: u64 = frames.iter().map(|frame| u64::from(frame.length())).sum();
        let mut places = inner.packs.append(frames, &writer.identity).await?;
        let place = places.pop().ok_or(PackError::Closed)?;
        let new: HashMap<PartHash, Place> = hashes.into_iter().zip(places).collect();
        let counters = &inner.counters;
        counters.put.fetch_add(1, Relaxed);
        counters.put_bytes.fetch_add(raw.len() as u64, Relaxed);
        counters.stored_bytes.fetch_add(stored, Relaxed);
        Ok(BodyRow {
            id,
            place,
            original: raw.len() as u64,
            header: header_length(&raw),
            parts: parts.into_iter().map(|hash| (hash, new.get(&hash).copied())).collect(),
            put,
        })
    }

    /// Inserts rows for bodies that were put, each with the number of those who need it. In the caller's transaction, as its last
    /// step. When it fails the transaction is to be given up.
    ///
    /// # Errors
    ///
    /// [`BodyError::Stale`]: put the same messages again. Otherwise [`BodyError::Database`].
    pub async fn insert(&self, work: &mut Work, rows: &[(BodyRow, i64)]) -> Result<(), BodyError> {
        if rows.iter().any(|(row, _)| row.put.elapsed() > VALID) {
            return Err(BodyError::Stale);
        }
        let mut sorted: Vec<&(BodyRow, i64)> = rows.iter().collect();
        sorted.sort_by_key(|(row, _)| row.id);
        let values = sorted.iter().map(|(row, refs)| row.values(*refs)).collect();
        work.bulk(
            "INSERT INTO mail_body (id, pack, start, length, original, header, refs, parts)",
            "",
            8,
            values,
        )
        .await?;
        // What of the packs has a row from now on.
        let mut live = Live::default();
        for (row, _) in &sorted {
            live.add(row.place);
        }
        self.insert_parts(work, &sorted, &mut live).await?;
        live.enter(work).await
    }

    async fn insert_parts(
        &self,
        work: &mut Work,
        rows: &[&(BodyRow, i64)],
        live: &mut Live,
    ) -> Result<(), BodyError> {
        let mut parts: BTreeMap<PartHash, (i64, Option<Place>)> = BTreeMap::new();
        for (hash, place) in rows.iter().flat_map(|(row, _)| &row.parts) {
            let part = parts.entry(*hash).or_default();
            part.0 += 1;
            part.1 = part.1.or(*place);
        }
        if parts.is_empty() {
            return Ok(());
        }
        let mut new = Vec::new();
        for (hash, (refs, place)) in &parts {
            if let Some(place) = place {
                new.push(vec![
                    Value::from(hash.0.as_slice()),
                    Value::from(place.pack.0),
                    number(place.start),
                    Value::from(i64::from(place.length)),
                    Value::from(*refs),
                ]);
            } else {
                // It was there when the body was put. If it is gone since, nothing holds it.
                let changed = work
                    .execute(
                        "UPDATE mail_part SET refs = refs + $2 WHERE hash = $1",
                        vec![Value::from(hash.0.as_slice()), Value::from(*refs)],
                    )
                    .await?;
                if changed == 0 {
                    return Err(BodyError::Stale);
                }
            }
        }
        let keys: Vec<Value> = new.iter().filter_map(|values| values.first().cloned()).collect();
        work.bulk(
            "INSERT INTO mail_part (hash, pack, start, length, refs)",
            "ON CONFLICT (hash) DO UPDATE SET refs = mail_part.refs + excluded.refs",
            5,
            new,
        )
        .await?;
        // Another may have been first, and its place is the one.
        let sql = "SELECT hash, pack, start, length FROM mail_part WHERE hash IN ({})";
        work.each_in(sql, &[], &keys, |row| {
            let (hash, place) = part_row(&row)?;
            if parts.get(&hash).is_some_and(|(_, own)| *own == Some(place)) {
                live.add_once(hash, place);
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// More who need bodies: so many for each. In the caller's transaction; each body once.
    ///
    /// # Errors
    ///
    /// [`BodyError::Missing`] if a body isn't there any more.
    pub async fn retain(
        &self,
        work: &mut Work,
        changes: &[(BodyId, i64)],
    ) -> Result<(), BodyError> {
        count(work, changes, 1).await
    }

    /// Fewer who need bodies. One that nobody needs is removed by [`maintain`](Self::maintain). In the caller's transaction; each
    /// body once.
    ///
    /// # Errors
    ///
    /// [`BodyError::Database`].
    pub async fn release(
        &self,
        work: &mut Work,
        changes: &[(BodyId, i64)],
    ) -> Result<(), BodyError> {
        match count(work, changes, -1).await {
            // It is gone already.
            Err(BodyError::Missing(_)) => Ok(()),
            answer => answer,
        }
    }

    /// Trains a dictionary with mail of the store, and compresses with it from now on. Returns its number, or nothing if there is too
    /// little mail.
    ///
    /// # Errors
    ///
    /// [`BodyError`].
    pub async fn train(&self, now: i64) -> Result<Option<u32>, BodyError> {
        let inner = &self.inner;
        inner.see_that_packs_are_ours().await?;
        inner.load_dictionaries().await?;
        let samples = self.samples().await?;
        let trained = inner.blocking(move || dictionaries::train(&samples, now)).await?;
        let (name, object) = match trained {
            Ok(trained) => trained,
            Err(error) => {
                tracing::info!(%error, "no dictionary was trained");
                return Ok(None);
            }
        };
        // It is durable before a frame needs it.
        inner.packs.keep(name.clone(), object.clone()).await?;
        let mut work = inner.engine.write().await?;
        let number = dictionaries::number(&object);
        let values = vec![Value::from(i64::from(number)), Value::from(&object[..])];
        let sql = "INSERT INTO mail_dictionary (id, object) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        work.execute(sql, values).await?;
        work.commit().await?;
        let id = inner.dictionaries.add(&name, &object);
        Ok(id.inspect_err(|error| tracing::error!(%error, "a dictionary is lost")).ok())
    }

    /// Contents of messages from all over the store, as they are compressed.
    async fn samples(&self) -> Result<Vec<Bytes>, BodyError> {
        const MESSAGES: i64 = 8000;
        const LONGEST: usize = 16 << 10;
        let inner = &self.inner;
        let ids = inner.spread(MESSAGES).await?;
        let mut samples = Vec::new();
        let mut bytes = 0;
        for chunk in ids.chunks(64) {
            let located = self.locate(chunk).await?;
            let opens = located.into_values().map(|located| self.open(located));
            let mut opened = stream::iter(opens).buffer_unordered(READS);
            while let Some(opened) = opened.next().await {
                // One that was moved, removed or damaged meanwhile teaches nothing.
                let Ok((_, decoded)) = opened else { continue };
                let content = decoded.content.slice(..decoded.content.len().min(LONGEST));
                if content.len() >= 64 {
                    bytes += content.len();
                    // Copied, so that the rest of a long message isn't held.
                    samples.push(Bytes::copy_from_slice(&content));
                }
            }
            if bytes > dictionaries::SAMPLES {
                break;
            }
        }
        Ok(samples)
    }

    /// How it goes.
    #[must_use]
    pub fn status(&self) -> BodyStatus {
        let inner = &self.inner;
        let counters = &inner.counters;
        BodyStatus {
            put: counters.put.load(Relaxed),
            put_bytes: counters.put_bytes.load(Relaxed),
            stored_bytes: counters.stored_bytes.load(Relaxed),
            shared_parts: counters.shared_parts.load(Relaxed),
            shared_bytes: counters.shared_bytes.load(Relaxed),
            read: counters.read.load(Relaxed),
            damaged: counters.damaged.load(Relaxed),
            dictionary: inner.dictionaries.current().id(),
            packs: inner.packs.status(),
        }
    }
}

impl BodyRow {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> BodyId {
        self.id
    }

    /// Bytes of the message.
    #[must_use]
    pub fn original(&self) -> u64 {
        self.original
    }

    /// Bytes of its header, with the empty line that ends it.
    #[must_use]
    pub fn header(&self) -> u64 {
        self.header
    }

    fn values(&self, refs: i64) -> Vec<Value> {
        let parts: Vec<u8> = self.parts.iter().flat_map(|(hash, _)| hash.0).collect();
        vec![
            Value::from(self.id.0),
            Value::from(self.place.pack.0),
            number(self.place.start),
            Value::from(i64::from(self.place.length)),
            number(self.original),
            number(self.header),
            Value::from(refs),
            Value::from((!parts.is_empty()).then_some(parts)),
        ]
    }
}

impl Located {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> BodyId {
        self.id
    }

    /// Bytes of the message.
    #[must_use]
    pub fn original(&self) -> u64 {
        self.original
    }

    /// Where its frame lies.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }
}

impl fmt::Display for BodyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Bodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bodies({:?})", self.inner.packs)
    }
}

impl Recent {
    fn find(&self, id: BodyId) -> Option<Bytes> {
        self.messages.iter().find(|(other, _)| *other == id).map(|(_, message)| message.clone())
    }

    fn keep(&mut self, id: BodyId, message: Bytes, most: usize) {
        if message.len() > most || self.find(id).is_some() {
            return;
        }
        self.bytes += message.len();
        self.messages.push_back((id, message));
        while self.bytes > most
            && let Some((_, oldest)) = self.messages.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }
}

/// Bytes of the header, with the empty line that ends it.
fn header_length(raw: &[u8]) -> u64 {
    let mut line = 0;
    for newline in memchr::memchr_iter(b'\n', raw) {
        let text = raw.get(line..newline).unwrap_or_default();
        line = newline + 1;
        if text.is_empty() || text == b"\r" {
            return line as u64;
        }
    }
    raw.len() as u64
}

mod frames;
mod read;
mod rows;

#[cfg(test)]
mod tests;
