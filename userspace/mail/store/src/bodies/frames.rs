//! Frames of bodies: encoded, read and decoded; and the dictionaries that it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use muralla_database::{DatabaseError, Value};

use crate::bodies::{BodyId, Inner, SHORT, SHORT_TO_READ, part_hash};
use crate::codec::{self, DecodeError, Decoded};
use crate::dictionaries;
use crate::error::BodyError;
use crate::frame::{Frame, Header, MOST, PartHash};
use crate::layout::{Layout, Part};
use crate::numbers::Key;
use crate::packs::{PackError, Place};

/// A message's frames, and those of its parts that weren't there yet.
pub(super) struct Encoded {
    pub(super) message: Frame,
    pub(super) parts: Vec<PartHash>,
    pub(super) new: Vec<(PartHash, Frame)>,
}

/// Why a frame can't be read.
pub(crate) enum FrameRead {
    Failed(PackError),
    Damaged(DecodeError),
    Database(DatabaseError),
}

impl Inner {
    /// Encodes a message, less the parts that are there already.
    pub(super) async fn encode(
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
    pub(super) async fn load_dictionaries(&self) -> Result<(), BodyError> {
        self.loaded.get_or_try_init(|| self.look_for_dictionaries()).await.map(drop)
    }

    /// Loads dictionaries that another process trained.
    pub(crate) async fn look_for_dictionaries(&self) -> Result<(), BodyError> {
        let mut ids = BTreeSet::new();
        for name in self.packs.all_kept().await? {
            let digits = name.strip_suffix(".dictionary").unwrap_or_default();
            ids.extend(u32::from_str_radix(digits, 16));
        }
        let mut work = self.engine.read().await?;
        work.each("SELECT id FROM mail_dictionary", Vec::new(), |row| {
            ids.extend(u32::try_from(row.int(0)?));
            Ok(())
        })
        .await?;
        drop(work);
        for id in ids {
            self.need_dictionary(id).await?;
        }
        Ok(())
    }

    /// One that isn't known yet may have been trained by another process. If there is none, decoding says what is missing.
    async fn need_dictionary(&self, id: u32) -> Result<(), BodyError> {
        if self.dictionaries.find(id).is_some() {
            return Ok(());
        }
        let name = dictionaries::object_name(id);
        match self.packs.kept(name.clone()).await {
            Ok(object) if self.dictionaries.add(&name, &object).is_ok() => return Ok(()),
            Ok(_) | Err(PackError::Gone(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let mut work = self.engine.read().await?;
        let sql = "SELECT object FROM mail_dictionary WHERE id = $1";
        let copy = work.row(sql, vec![Value::from(i64::from(id))]).await?;
        let copy = copy.map(|row| row.bytes(0)).transpose()?.map(Bytes::from);
        drop(work);
        match copy {
            Some(copy) if self.dictionaries.add(&name, &copy).is_ok() => {
                tracing::warn!(name, "a dictionary was lost or damaged: its copy is put there");
                if let Err(error) = self.packs.keep(name, copy).await {
                    tracing::warn!(%error, "the copy of a dictionary could not be written");
                }
            }
            // Mail that needs it can't be read, and all other mail can.
            _ => tracing::error!(name, "a dictionary is lost or damaged: restore it from a backup"),
        }
        Ok(())
    }

    /// Counts something that was found damaged or is not there.
    pub(crate) fn note_damage(&self) {
        self.counters.damaged.fetch_add(1, Relaxed);
    }

    pub(super) fn damaged(&self, id: BodyId, place: Place, reason: DecodeError) -> BodyError {
        self.note_damage();
        let pack = place.pack.name();
        tracing::error!(body = %id, pack, start = place.start, %reason, "mail can not be read");
        BodyError::Damaged { id, pack, reason }
    }

    /// At most so many bodies from all over the store.
    pub(super) async fn spread(&self, most: i64) -> Result<Vec<BodyId>, BodyError> {
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
