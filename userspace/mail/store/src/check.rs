//! Reads everything and tells what is wrong: every frame of every pack, and every row.
//!
//! Mail goes on coming and going meanwhile. So what seems wrong is looked at again, in one transaction, before it is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use bytes::Bytes;
use muralla_database::Value;
use sqlx::AssertSqlSafe;

use crate::bodies::{Bodies, BodyId, FrameRead, Live, number, part_hash, part_hashes, place};
use crate::codec::DecodeError;
use crate::compaction::named;
use crate::error::BodyError;
use crate::frame::{Header, PartHash, Subject};
use crate::packs::scan::{Found, Scan};
use crate::packs::{PackError, PackId, Place};

/// How far a check is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CheckProgress {
    /// Packs that were read.
    pub packs: u64,
    /// Packs that there are.
    pub of_packs: u64,
    /// Frames that were read.
    pub frames: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Faults found.
    pub faults: u64,
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// How much was read.
    pub read: CheckProgress,
    /// Frames that no row names: they are removed when their packs are compacted.
    pub dead: u64,
    /// Bytes of those.
    pub dead_bytes: u64,
    /// Counts that were wrong and are right now.
    pub corrected: u64,
    /// Rows that named a pack that is not there, and name the one now that their frame was found in.
    pub mended: u64,
    /// What is wrong, at most [`CheckReport::MOST`] of it.
    pub faults: Vec<Fault>,
}

/// Something wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// A message that can't be read.
    Body {
        /// Which one.
        id: BodyId,
        /// Where it should lie.
        place: Place,
        /// Why not.
        reason: DecodeError,
    },
    /// A part that can't be read, and with it all messages that have it.
    Part {
        /// Which one.
        hash: PartHash,
        /// Where it should lie.
        place: Place,
        /// Why not.
        reason: DecodeError,
    },
    /// A body whose row names a part that has no row.
    PartMissing {
        /// The body.
        id: BodyId,
        /// The part.
        hash: PartHash,
    },
    /// A pack that rows name is not there.
    PackMissing {
        /// Which one.
        pack: PackId,
        /// How many rows name it.
        rows: u64,
    },
    /// Bytes within a pack that are no frame.
    Gap {
        /// The pack.
        pack: PackId,
        /// Where they begin.
        start: u64,
        /// Where they end.
        end: u64,
    },
}

impl CheckReport {
    /// Faults that are kept; more are counted.
    pub const MOST: usize = 10_000;

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.read.faults == 0
    }

    fn fault(&mut self, fault: Fault) {
        self.read.faults += 1;
        if self.faults.len() < Self::MOST {
            self.faults.push(fault);
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |place: &Place| format!("{} at {}", place.pack.name(), place.start);
        match self {
            Self::Body { id, place, reason } => {
                write!(f, "message body {id} in {}: {reason}", at(place))
            }
            Self::Part { hash, place, reason } => {
                let hash = data_encoding::HEXLOWER.encode(&hash.0);
                write!(f, "attachment {hash} in {}: {reason}", at(place))
            }
            Self::PartMissing { id, hash } => {
                let hash = data_encoding::HEXLOWER.encode(&hash.0);
                write!(f, "message body {id} needs attachment {hash}, which has no row")
            }
            Self::PackMissing { pack, rows } => {
                write!(f, "{} is not there, and {rows} rows name it", pack.name())
            }
            Self::Gap { pack, start, end } => {
                write!(f, "{} is damaged from {start} to {end}", pack.name())
            }
        }
    }
}

/// What rows say of a pack.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Said {
    rows: u64,
    bytes: i64,
}

/// What lies in packs that are not there, as rows say.
#[derive(Debug, Default)]
struct Lost {
    bodies: HashMap<i64, Place>,
    parts: HashMap<PartHash, Place>,
}

impl Lost {
    fn of(&self, subject: Subject) -> Option<Place> {
        match subject {
            Subject::Message { id, .. } => self.bodies.get(&id).copied(),
            Subject::Part { hash } => self.parts.get(&hash).copied(),
        }
    }
}

/// Frames that are compared with rows at a time.
const STEP: usize = 500;

impl Bodies {
    /// Reads every pack and compares it with the rows. `progress` is called again and again.
    ///
    /// Counts of live bytes that are wrong are put right, and a frame that lies in another pack than its row says, and not in that one, is
    /// named where it is: so it is when the database was put back to an earlier state and packs were emptied since. Nothing else is
    /// changed: mail that can't be read stays named, so that it is there again when its pack is restored from a copy.
    ///
    /// # Errors
    ///
    /// [`BodyError`], when the check itself can't go on.
    pub async fn check(
        &self,
        mut progress: impl FnMut(CheckProgress),
    ) -> Result<CheckReport, BodyError> {
        let mut report = CheckReport::default();
        // Rows first: a pack that one of them names is older than the list of packs.
        let said = self.said().await?;
        let packs = self.inner.packs.list().await?;
        report.read.of_packs = packs.len() as u64;
        let there: BTreeSet<PackId> = packs.iter().map(|info| info.pack).collect();
        let missing: Vec<PackId> =
            said.keys().filter(|pack| !there.contains(pack)).copied().collect();
        let lost = self.lost(&missing).await?;
        for info in packs {
            let expected = said.get(&info.pack).copied().unwrap_or_default();
            self.check_pack(info.pack, expected, &lost, &mut report, &mut progress).await?;
            report.read.packs += 1;
            progress(report.read);
        }
        for pack in missing {
            let rows = self.said_of(pack).await?.rows;
            // It may have been emptied and deleted since, or what was in it was found.
            if rows > 0 {
                report.fault(Fault::PackMissing { pack, rows });
            }
        }
        self.check_parts(&mut report).await?;
        self.correct_live(&mut report).await?;
        progress(report.read);
        Ok(report)
    }

    async fn check_pack(
        &self,
        pack: PackId,
        expected: Said,
        lost: &Lost,
        report: &mut CheckReport,
        progress: &mut impl FnMut(CheckProgress),
    ) -> Result<(), BodyError> {
        let key = self.inner.numbers.key().await?;
        let mut scan = Scan::new(&*self.inner.packs, pack, key.seed);
        let mut frames = Vec::new();
        let mut sound = 0;
        loop {
            let found = match scan.next().await {
                Ok(found) => found,
                // Deleted meanwhile.
                Err(PackError::Gone(_)) => None,
                Err(error) => return Err(error.into()),
            };
            let ended = found.is_none();
            match found {
                Some(Found::Frame { place, header, payload }) => {
                    report.read.frames += 1;
                    report.read.bytes += u64::from(place.length);
                    frames.push((place, header, payload));
                }
                Some(Found::Gap { start, end, last: false, .. }) => {
                    report.fault(Fault::Gap { pack, start, end });
                }
                Some(Found::Gap { .. }) | None => {}
            }
            if ended || frames.len() >= STEP {
                sound += self.check_frames(std::mem::take(&mut frames), lost, report).await?;
                progress(report.read);
            }
            if ended {
                break;
            }
        }
        // Fewer frames than rows: some are lost, or were moved or removed while we looked.
        if sound < expected.rows {
            self.check_rows(pack, report).await?;
        }
        Ok(())
    }

    /// Sees that frames can be decoded. Returns how many a row names.
    async fn check_frames(
        &self,
        frames: Vec<(Place, Header, Bytes)>,
        lost: &Lost,
        report: &mut CheckReport,
    ) -> Result<u64, BodyError> {
        let mut work = self.inner.engine.read().await?;
        let subjects = frames.iter().map(|(place, header, _)| (header.subject, *place));
        let named = named(&mut work, subjects).await?;
        drop(work);
        for (place, header, payload) in frames {
            if named.contains(&place) {
                // Only what somebody needs is worth telling.
                if let Err(reason) = self.check_frame(header, payload).await? {
                    report.fault(fault(header.subject, place, reason));
                }
                continue;
            }
            if let Some(old) = lost.of(header.subject)
                && self.check_frame(header, payload).await?.is_ok()
                && self.name(header.subject, old, place).await?
            {
                report.mended += 1;
                continue;
            }
            report.dead += 1;
            report.dead_bytes += u64::from(place.length);
        }
        Ok(named.len() as u64)
    }

    /// What rows say that lies in packs.
    async fn lost(&self, packs: &[PackId]) -> Result<Lost, BodyError> {
        let mut lost = Lost::default();
        for pack in packs {
            for (subject, place) in self.rows_of(*pack).await? {
                match subject {
                    Subject::Message { id, .. } => lost.bodies.insert(id, place),
                    Subject::Part { hash } => lost.parts.insert(hash, place),
                };
            }
        }
        Ok(lost)
    }

    /// Has a row name the place where its frame is, if it still names the one where it isn't. Tells whether it does.
    async fn name(&self, subject: Subject, old: Place, new: Place) -> Result<bool, BodyError> {
        let (table, column, key) = match subject {
            Subject::Message { id, .. } => ("mail_body", "id", Value::from(id)),
            Subject::Part { hash } => ("mail_part", "hash", Value::from(hash.0.as_slice())),
        };
        let sql = format!(
            "UPDATE {table} SET pack = $4, start = $5, length = $6 \
             WHERE {column} = $1 AND pack = $2 AND start = $3"
        );
        let values = vec![
            key,
            Value::from(old.pack.0),
            number(old.start),
            Value::from(new.pack.0),
            number(new.start),
            Value::from(i64::from(new.length)),
        ];
        let mut work = self.inner.engine.write().await?;
        if work.execute(AssertSqlSafe(sql), values).await? == 0 {
            return Ok(false);
        }
        let mut live = Live::default();
        live.remove(old);
        live.add(new);
        match live.enter(&mut work).await {
            Ok(()) => {}
            // It is being emptied: what is in it now is found in another one then.
            Err(BodyError::Stale) => return Ok(false),
            Err(error) => return Err(error),
        }
        work.commit().await?;
        Ok(true)
    }

    /// What is in a frame is what was put into it, as far as can be told from this frame alone.
    async fn check_frame(
        &self,
        header: Header,
        payload: Bytes,
    ) -> Result<Result<(), DecodeError>, BodyError> {
        let inner = &self.inner;
        match header.subject {
            Subject::Message { .. } => match inner.decode_message(header, payload).await? {
                // Its parts are checked where they lie, and the digest of the whole when it is read.
                Ok(decoded) if !decoded.recipe.parts().is_empty() => Ok(Ok(())),
                Ok(decoded) if header.original < 1 << 16 => Ok(decoded.whole(&[]).map(drop)),
                Ok(decoded) => inner.blocking(move || decoded.whole(&[]).map(drop)).await,
                Err(reason) => Ok(Err(reason)),
            },
            Subject::Part { hash } => {
                let key = inner.numbers.key().await?;
                match inner.decode_part(header, payload).await? {
                    Ok(part) => {
                        let hashed = inner
                            .blocking(move || *blake3::keyed_hash(&key.parts, &part).as_bytes());
                        let same = hashed.await? == hash.0;
                        Ok(if same { Ok(()) } else { Err(DecodeError::Digest) })
                    }
                    Err(reason) => Ok(Err(reason)),
                }
            }
        }
    }

    /// What rows say that lies in a pack.
    async fn rows_of(&self, pack: PackId) -> Result<Vec<(Subject, Place)>, BodyError> {
        let mut rows: Vec<(Subject, Place)> = Vec::new();
        let mut work = self.inner.engine.read().await?;
        let sql = "SELECT id, pack, start, length FROM mail_body WHERE pack = $1";
        work.each_of_many(sql, vec![Value::from(pack.0)], |row| {
            let subject = Subject::Message { id: row.int(0)?, digest: [0; 16] };
            rows.push((subject, place(&row, 1)?));
            Ok(())
        })
        .await?;
        let sql = "SELECT hash, pack, start, length FROM mail_part WHERE pack = $1";
        work.each_of_many(sql, vec![Value::from(pack.0)], |row| {
            let subject = Subject::Part { hash: part_hash(&row.bytes(0)?)? };
            rows.push((subject, place(&row, 1)?));
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    /// Reads what each row of a pack names.
    async fn check_rows(&self, pack: PackId, report: &mut CheckReport) -> Result<(), BodyError> {
        for (subject, place) in self.rows_of(pack).await? {
            let reason = match self.inner.frame(place).await {
                Ok((header, _)) if is_same(header.subject, subject) => continue,
                Ok(_) | Err(FrameRead::Failed(PackError::Gone(_))) => DecodeError::Other,
                Err(FrameRead::Damaged(reason)) => reason,
                Err(FrameRead::Failed(error)) => return Err(error.into()),
                Err(FrameRead::Database(error)) => return Err(error.into()),
            };
            let mut work = self.inner.engine.read().await?;
            if !named(&mut work, std::iter::once((subject, place))).await?.is_empty() {
                report.fault(fault(subject, place, reason));
            }
        }
        Ok(())
    }

    /// Sees that every part that a body names has a row, and that it is counted.
    async fn check_parts(&self, report: &mut CheckReport) -> Result<(), BodyError> {
        let mut missing: Vec<(BodyId, PartHash)> = Vec::new();
        let mut needed: BTreeMap<PartHash, i64> = BTreeMap::new();
        let mut work = self.inner.engine.read().await?;
        let mut counted: BTreeMap<PartHash, i64> = BTreeMap::new();
        work.each_of_many("SELECT hash, refs FROM mail_part", Vec::new(), |row| {
            counted.insert(part_hash(&row.bytes(0)?)?, row.int(1)?);
            Ok(())
        })
        .await?;
        let sql = "SELECT id, parts FROM mail_body WHERE parts IS NOT NULL";
        work.each_of_many(sql, Vec::new(), |row| {
            let id = BodyId(row.int(0)?);
            for hash in part_hashes(&row.bytes(1)?)? {
                *needed.entry(hash).or_default() += 1;
                if !counted.contains_key(&hash) {
                    missing.push((id, hash));
                }
            }
            Ok(())
        })
        .await?;
        drop(work);
        for (id, hash) in missing {
            report.fault(Fault::PartMissing { id, hash });
        }
        // Both were read at one moment, so a difference is one. It stays the same whatever comes and goes.
        for (hash, needed) in needed {
            if let Some(counted) = counted.get(&hash)
                && *counted != needed
            {
                let mut work = self.inner.engine.write().await?;
                let values = vec![Value::from(hash.0.as_slice()), Value::from(needed - counted)];
                let sql = "UPDATE mail_part SET refs = refs + $2 WHERE hash = $1";
                report.corrected += work.execute(sql, values).await?;
                work.commit().await?;
            }
        }
        Ok(())
    }

    /// Puts the counts of live bytes right.
    async fn correct_live(&self, report: &mut CheckReport) -> Result<(), BodyError> {
        let mut work = self.inner.engine.read().await?;
        let mut counted: BTreeMap<PackId, i64> = BTreeMap::new();
        let sql = "SELECT id, live FROM mail_pack WHERE state < 3";
        work.each_of_many(sql, Vec::new(), |row| {
            counted.insert(PackId(row.int(0)?), row.int(1)?);
            Ok(())
        })
        .await?;
        let said = said(&mut work).await?;
        drop(work);
        for (pack, counted) in counted {
            let more = said.get(&pack).copied().unwrap_or_default().bytes - counted;
            if more != 0 {
                let mut work = self.inner.engine.write().await?;
                let sql = "UPDATE mail_pack SET live = live + $2 WHERE id = $1";
                let values = vec![Value::from(pack.0), Value::from(more)];
                report.corrected += work.execute(sql, values).await?;
                work.commit().await?;
            }
        }
        Ok(())
    }

    async fn said(&self) -> Result<BTreeMap<PackId, Said>, BodyError> {
        let mut work = self.inner.engine.read().await?;
        said(&mut work).await
    }

    async fn said_of(&self, pack: PackId) -> Result<Said, BodyError> {
        let mut said = Said::default();
        let mut work = self.inner.engine.read().await?;
        for sql in [
            "SELECT CAST(count(*) AS BIGINT), CAST(coalesce(sum(length), 0) AS BIGINT) FROM mail_body WHERE pack = $1",
            "SELECT CAST(count(*) AS BIGINT), CAST(coalesce(sum(length), 0) AS BIGINT) FROM mail_part WHERE pack = $1",
        ] {
            work.each_of_many(sql, vec![Value::from(pack.0)], |row| {
                said.rows += u64::try_from(row.int(0)?).unwrap_or_default();
                said.bytes += row.int(1)?;
                Ok(())
            })
            .await?;
        }
        Ok(said)
    }
}

/// What rows say of all packs, at one moment.
async fn said(work: &mut muralla_database::Work) -> Result<BTreeMap<PackId, Said>, BodyError> {
    let mut all: BTreeMap<PackId, Said> = BTreeMap::new();
    for sql in [
        "SELECT pack, CAST(count(*) AS BIGINT), CAST(sum(length) AS BIGINT) FROM mail_body GROUP BY pack",
        "SELECT pack, CAST(count(*) AS BIGINT), CAST(sum(length) AS BIGINT) FROM mail_part GROUP BY pack",
    ] {
        work.each_of_many(sql, Vec::new(), |row| {
            let said = all.entry(PackId(row.int(0)?)).or_default();
            said.rows += u64::try_from(row.int(1)?).unwrap_or_default();
            said.bytes += row.int(2)?;
            Ok(())
        })
        .await?;
    }
    Ok(all)
}

fn fault(subject: Subject, place: Place, reason: DecodeError) -> Fault {
    match subject {
        Subject::Message { id, .. } => Fault::Body { id: BodyId(id), place, reason },
        Subject::Part { hash } => Fault::Part { hash, place, reason },
    }
}

fn is_same(found: Subject, expected: Subject) -> bool {
    match (found, expected) {
        (Subject::Message { id: found, .. }, Subject::Message { id: expected, .. }) => {
            found == expected
        }
        (found, expected) => found == expected,
    }
}
