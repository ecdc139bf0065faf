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
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use muralla_database::{DatabaseError, Engine, Row, Value, Work, dialect};
use parking_lot::Mutex;
use sqlx::AssertSqlSafe;
use tokio::sync::Semaphore;

use crate::codec::{self, DecodeError, Decoded};
use crate::collection::Upkeep;
use crate::dictionaries::{self, Dictionaries, DictionaryError};
use crate::error::BodyError;
use crate::frame::{Frame, Header, MOST, PartHash, Subject};
use crate::layout::{Layout, Part};
use crate::numbers::{Key, Numbers};
use crate::packs::{PackError, PackId, PackStatus, PackStore, Place, now};

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
    /// The level of zstd. 3 compresses 200 MB/s of mail to 0.3 of it; 9 saves a tenth of that and takes four times as long.
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
    /// Bodies that can't be read.
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
            level: 3,
            room: 256 << 20,
            recent: 64 << 20,
            grace: 900,
            stray: 86_400,
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
        locate(&mut work, ids).await
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

    async fn locate_one(&self, id: BodyId) -> Result<Located, BodyError> {
        self.locate(&[id]).await?.remove(&id).ok_or(BodyError::Missing(id))
    }

    /// Reads a body's frame. If it was moved meanwhile, where it is now.
    async fn open(&self, mut located: Located) -> Result<(Located, Decoded), BodyError> {
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

/// A message's frames, and those of its parts that weren't there yet.
struct Encoded {
    message: Frame,
    parts: Vec<PartHash>,
    new: Vec<(PartHash, Frame)>,
}

/// Why a frame can't be read.
pub(crate) enum FrameRead {
    Failed(PackError),
    Damaged(DecodeError),
    Database(DatabaseError),
}

impl Inner {
    /// Encodes a message, less the parts that are there already.
    async fn encode(
        self: &Arc<Self>,
        id: BodyId,
        raw: &Bytes,
        key: &Arc<Key>,
    ) -> Result<Encoded, BodyError> {
        let size = raw.len() as u64;
        let too_large = move || BodyError::TooLarge { size, most: MOST as u64 };
        if raw.len() <= SHORT {
            let encoded = codec::encode(id.0, raw, &key.parts, &self.dictionaries);
            let message = encoded.ok_or_else(too_large)?.message;
            return Ok(Encoded { message, parts: Vec::new(), new: Vec::new() });
        }
        // Without parts to ask for it is all one go.
        enum First {
            Whole(Option<Frame>),
            Apart(Layout),
        }
        let (inner, message, parts_key) = (Arc::clone(self), raw.clone(), Arc::clone(key));
        let first = self.blocking(move || {
            let layout = Layout::of(&message, &parts_key.parts);
            if layout.parts.is_empty() {
                First::Whole(codec::encode_message(id.0, &message, layout, &inner.dictionaries))
            } else {
                First::Apart(layout)
            }
        });
        let mut layout = match first.await? {
            First::Whole(message) => {
                let message = message.ok_or_else(too_large)?;
                return Ok(Encoded { message, parts: Vec::new(), new: Vec::new() });
            }
            First::Apart(layout) => layout,
        };
        let mut new: BTreeMap<PartHash, Part> = BTreeMap::new();
        for part in std::mem::take(&mut layout.parts) {
            new.entry(part.hash).or_insert(part);
        }
        let parts: Vec<PartHash> = new.keys().copied().collect();
        for hash in self.known(&parts).await? {
            if let Some(part) = new.remove(&hash) {
                self.counters.shared_parts.fetch_add(1, Relaxed);
                self.counters.shared_bytes.fetch_add(part.content.len() as u64, Relaxed);
            }
        }
        let (inner, raw) = (Arc::clone(self), raw.clone());
        let frames = self.blocking(move || {
            let message = codec::encode_message(id.0, &raw, layout, &inner.dictionaries)?;
            let new = new
                .into_iter()
                .map(|(hash, part)| Some((hash, codec::encode_part(part, &inner.dictionaries)?)));
            Some((message, new.collect::<Option<Vec<_>>>()?))
        });
        let (message, new) = frames.await?.ok_or_else(too_large)?;
        Ok(Encoded { message, parts, new })
    }

    /// Which of the parts are there.
    async fn known(&self, parts: &[PartHash]) -> Result<Vec<PartHash>, BodyError> {
        let keys: Vec<Value> = parts.iter().map(|hash| Value::from(hash.0.as_slice())).collect();
        let mut known = Vec::new();
        let mut work = self.engine.read().await?;
        let sql = "SELECT hash FROM mail_part WHERE hash IN ({})";
        work.each_in(sql, &[], &keys, |row| {
            let hash = part_hash(&row.bytes(0)?)?;
            // A list is filled up with its last key.
            if !known.contains(&hash) {
                known.push(hash);
            }
            Ok(())
        })
        .await?;
        Ok(known)
    }

    /// Has one of the threads that may take long do something, and no more of them than there are processors.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, BodyError> {
        let _coder = self.coders.acquire().await.map_err(|_| BodyError::Closing)?;
        tokio::task::spawn_blocking(work).await.map_err(|_| BodyError::Closing)
    }

    /// Reads a frame, and sees that it is whole.
    pub(crate) async fn frame(&self, place: Place) -> Result<(Header, Bytes), FrameRead> {
        let key = self.numbers.key().await.map_err(FrameRead::Database)?;
        let bytes = self.packs.read(place).await.map_err(FrameRead::Failed)?;
        let frame = Header::parse(&bytes, key.seed)
            .and_then(|header| Ok((header, header.payload(&bytes)?)));
        frame.map_err(|reason| FrameRead::Damaged(reason.into()))
    }

    pub(crate) async fn decode_message(
        self: &Arc<Self>,
        header: Header,
        payload: Bytes,
    ) -> Result<Result<Decoded, DecodeError>, BodyError> {
        self.need_dictionary(header.dictionary).await?;
        if header.original as usize <= SHORT_TO_READ {
            return Ok(codec::decode_message(&header, &payload, &self.dictionaries));
        }
        let inner = Arc::clone(self);
        self.blocking(move || codec::decode_message(&header, &payload, &inner.dictionaries)).await
    }

    pub(crate) async fn decode_part(
        self: &Arc<Self>,
        header: Header,
        payload: Bytes,
    ) -> Result<Result<Bytes, DecodeError>, BodyError> {
        let inner = Arc::clone(self);
        self.blocking(move || codec::decode_part(&header, &payload, &inner.dictionaries)).await
    }

    /// Refuses to write to, or to tidy up, packs that belong to another database: a disk that isn't mounted, or another shard's
    /// bucket, whose packs nothing here names.
    pub(crate) async fn see_that_packs_are_ours(&self) -> Result<(), BodyError> {
        const NAME: &str = "store.identity";
        let look = || async {
            let key = self.numbers.key().await?;
            let ours = blake3::derive_key("muralla mail store 2026 identity of packs", &key.parts);
            let ours = data_encoding::HEXLOWER.encode(ours.get(..16).unwrap_or_default());
            let reason = match self.packs.kept(NAME.to_owned()).await {
                Ok(found) if found == ours.as_bytes() => return Ok(()),
                Ok(_) => {
                    "they belong to another database; name the database and the packs of one store"
                }
                Err(PackError::Gone(_)) => {
                    let mut work = self.engine.read().await?;
                    let sql = "SELECT id FROM mail_pack WHERE state < 3 LIMIT 1";
                    if work.row(sql, Vec::new()).await?.is_none() {
                        self.packs.keep(NAME.to_owned(), Bytes::from(ours)).await?;
                        return Ok(());
                    }
                    "they are not there, and the database names some: see that the disk is mounted and the bucket is the right one, or restore them"
                }
                Err(error) => return Err(error.into()),
            };
            let location = format!("{:?}", self.packs);
            Err(PackError::Location { location, reason: reason.to_owned() }.into())
        };
        self.ours.get_or_try_init(look).await.map(drop)
    }

    /// Loads the dictionaries, the first time.
    async fn load_dictionaries(&self) -> Result<(), BodyError> {
        self.loaded.get_or_try_init(|| self.look_for_dictionaries()).await.map(drop)
    }

    /// Loads dictionaries that another process trained.
    pub(crate) async fn look_for_dictionaries(&self) -> Result<(), BodyError> {
        for name in self.packs.all_kept().await? {
            let digits = name.strip_suffix(".dictionary").unwrap_or_default();
            let Ok(id) = u32::from_str_radix(digits, 16) else { continue };
            if self.dictionaries.find(id).is_none() {
                self.load_dictionary(id).await?;
            }
        }
        Ok(())
    }

    async fn load_dictionary(&self, id: u32) -> Result<(), BodyError> {
        let name = dictionaries::object_name(id);
        let object = self.packs.kept(name.clone()).await?;
        if let Err(error @ DictionaryError::Damaged(_)) = self.dictionaries.add(&name, &object) {
            // Mail that needs it can't be read, and all other mail can.
            tracing::error!(%error, "a dictionary is damaged");
        }
        Ok(())
    }

    /// One that isn't known yet may have been trained by another process.
    async fn need_dictionary(&self, id: u32) -> Result<(), BodyError> {
        if self.dictionaries.find(id).is_some() {
            return Ok(());
        }
        match self.load_dictionary(id).await {
            // Decoding says what is missing.
            Err(BodyError::Pack(PackError::Gone(_))) => Ok(()),
            answer => answer,
        }
    }

    fn damaged(&self, id: BodyId, place: Place, reason: DecodeError) -> BodyError {
        self.counters.damaged.fetch_add(1, Relaxed);
        let pack = place.pack.name();
        tracing::error!(body = %id, pack, start = place.start, %reason, "mail can not be read");
        BodyError::Damaged { id, pack, reason }
    }

    /// At most so many bodies from all over the store.
    async fn spread(&self, most: i64) -> Result<Vec<BodyId>, BodyError> {
        let mut work = self.engine.read().await?;
        let range = work
            .row("SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM mail_body", Vec::new())
            .await?;
        let (first, last) = match range {
            Some(row) => (row.int(0)?, row.int(1)?),
            None => return Ok(Vec::new()),
        };
        // Stretches of neighbours in even distances: each is one look into the index.
        const STRETCHES: i64 = 64;
        let step = ((last - first) / STRETCHES).max(1);
        let mut ids = Vec::new();
        for stretch in 0..STRETCHES {
            let from = first.saturating_add(stretch.saturating_mul(step));
            let after = ids.last().map_or(from, |last: &BodyId| from.max(last.0 + 1));
            let values = vec![Value::from(after), Value::from(most / STRETCHES)];
            let sql = "SELECT id FROM mail_body WHERE id >= $1 AND refs > 0 ORDER BY id LIMIT $2";
            work.each(sql, values, |row| {
                ids.push(BodyId(row.int(0)?));
                Ok(())
            })
            .await?;
        }
        Ok(ids)
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

/// Bytes of packs that rows name from now on, or no longer.
#[derive(Default)]
pub(crate) struct Live {
    packs: BTreeMap<PackId, Change>,
    parts: Vec<PartHash>,
}

#[derive(Default)]
struct Change {
    more: i64,
    end: u64,
}

impl Live {
    pub(crate) fn add(&mut self, place: Place) {
        let change = self.packs.entry(place.pack).or_default();
        change.more += i64::from(place.length);
        change.end = change.end.max(place.start + u64::from(place.length));
    }

    /// A part, which a list of keys may name twice.
    fn add_once(&mut self, hash: PartHash, place: Place) {
        if !self.parts.contains(&hash) {
            self.parts.push(hash);
            self.add(place);
        }
    }

    pub(crate) fn remove(&mut self, place: Place) {
        self.packs.entry(place.pack).or_default().more -= i64::from(place.length);
    }

    /// Writes it down. Packs that are being emptied take nothing new: that is what a lock on their rows makes sure of.
    pub(crate) async fn enter(self, work: &mut Work) -> Result<(), BodyError> {
        let sql = format!(
            "INSERT INTO mail_pack (id, created, bytes, live, state, since) VALUES ($1, $2, $3, $4, 0, $2) ON CONFLICT (id) DO UPDATE SET live = mail_pack.live + excluded.live, {} WHERE mail_pack.state = 0",
            dialect::greater("mail_pack", "bytes")
        );
        for (pack, change) in self.packs {
            let entered = if change.end > 0 {
                let values = vec![
                    Value::from(pack.0),
                    Value::from(now()),
                    number(change.end),
                    Value::from(change.more),
                ];
                work.execute(AssertSqlSafe(sql.clone()), values).await?
            } else {
                work.execute(
                    "UPDATE mail_pack SET live = live + $2 WHERE id = $1",
                    vec![Value::from(pack.0), Value::from(change.more)],
                )
                .await?;
                1
            };
            if entered == 0 {
                return Err(BodyError::Stale);
            }
        }
        Ok(())
    }
}

/// Counts those who need bodies up or down.
async fn count(work: &mut Work, changes: &[(BodyId, i64)], sign: i64) -> Result<(), BodyError> {
    let mut sums: BTreeMap<BodyId, i64> = BTreeMap::new();
    for (id, change) in changes {
        *sums.entry(*id).or_default() += change * sign;
    }
    let keys: Vec<Value> = sums.keys().map(|id| Value::from(id.0)).collect();
    let mut missing = sums.clone();
    let sql = format!(
        "SELECT id FROM mail_body WHERE id IN ({{}}) ORDER BY id{}",
        work.flavour().for_update()
    );
    work.each_in(&sql, &[], &keys, |row| {
        missing.remove(&BodyId(row.int(0)?));
        Ok(())
    })
    .await?;
    let rows = sums.iter().map(|(id, change)| vec![Value::from(id.0), Value::from(*change)]);
    work.bulk(
        "WITH change (id, more) AS (",
        ") UPDATE mail_body SET refs = mail_body.refs + change.more FROM change WHERE mail_body.id = change.id",
        2,
        rows.collect(),
    )
    .await?;
    match missing.keys().next() {
        Some(missing) => Err(BodyError::Missing(*missing)),
        None => Ok(()),
    }
}

async fn locate(work: &mut Work, ids: &[BodyId]) -> Result<HashMap<BodyId, Located>, BodyError> {
    let keys: Vec<Value> = ids.iter().map(|id| Value::from(id.0)).collect();
    let mut located = HashMap::with_capacity(ids.len());
    let mut with_parts: Vec<(BodyId, Vec<PartHash>)> = Vec::new();
    let sql =
        "SELECT id, pack, start, length, original, header, parts FROM mail_body WHERE id IN ({})";
    work.each_in(sql, &[], &keys, |row| {
        let id = BodyId(row.int(0)?);
        let found = Located {
            id,
            place: place(&row, 1)?,
            original: unsigned(row.int(4)?)?,
            header: unsigned(row.int(5)?)?,
            parts: Vec::new(),
        };
        if located.insert(id, found).is_none()
            && let Some(parts) = row.bytes_or_none(6)?
        {
            with_parts.push((id, part_hashes(&parts)?));
        }
        Ok(())
    })
    .await?;
    let keys: Vec<Value> = with_parts
        .iter()
        .flat_map(|(_, parts)| parts)
        .map(|hash| Value::from(hash.0.as_slice()))
        .collect();
    let mut places = HashMap::new();
    let sql = "SELECT hash, pack, start, length FROM mail_part WHERE hash IN ({})";
    work.each_in(sql, &[], &keys, |row| {
        let (hash, place) = part_row(&row)?;
        places.insert(hash, place);
        Ok(())
    })
    .await?;
    for (id, parts) in with_parts {
        if let Some(located) = located.get_mut(&id) {
            let parts = parts.into_iter();
            located.parts = parts.filter_map(|hash| Some((hash, *places.get(&hash)?))).collect();
        }
    }
    Ok(located)
}

/// The hashes in the column `parts`.
pub(crate) fn part_hashes(bytes: &[u8]) -> Result<Vec<PartHash>, DatabaseError> {
    bytes.chunks(32).map(part_hash).collect()
}

pub(crate) fn part_hash(bytes: &[u8]) -> Result<PartHash, DatabaseError> {
    let hash = <[u8; 32]>::try_from(bytes);
    hash.map(PartHash).map_err(|_| DatabaseError::Row("a part's hash has not 32 bytes".into()))
}

fn part_row(row: &Row) -> Result<(PartHash, Place), DatabaseError> {
    Ok((part_hash(&row.bytes(0)?)?, place(row, 1)?))
}

/// A place in three columns from one on.
pub(crate) fn place(row: &Row, column: usize) -> Result<Place, DatabaseError> {
    let length = row.int(column + 2)?;
    Ok(Place {
        pack: PackId(row.int(column)?),
        start: unsigned(row.int(column + 1)?)?,
        length: u32::try_from(length)
            .map_err(|_| DatabaseError::Row(format!("a frame can't have {length} bytes")))?,
    })
}

fn unsigned(number: i64) -> Result<u64, DatabaseError> {
    u64::try_from(number).map_err(|_| DatabaseError::Row(format!("{number} is less than nothing")))
}

pub(crate) fn number(number: u64) -> Value {
    Value::from(i64::try_from(number).unwrap_or(i64::MAX))
}

fn cut(message: &Bytes, range: &Range<u64>) -> Bytes {
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

#[cfg(test)]
mod tests;
