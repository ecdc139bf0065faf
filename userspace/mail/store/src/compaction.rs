//! Gives room back: copies what is needed out of packs that are mostly dead, and puts small packs together.
//!
//! A pack is first closed to new rows (state 1). Then it is walked through; a frame that a row names is appended to the current
//! pack as it is, and when that is durable the row is changed, if it still says what it said. What was copied in vain is dead in the
//! new pack. A crash leaves the pack in state 1, and whoever comes later walks through it again.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use muralla_database::{Value, Work};

use crate::bodies::{Bodies, Live, number, part_hash, place};
use crate::collection::Maintained;
use crate::error::BodyError;
use crate::frame::{Frame, Header, PartHash, Subject};
use crate::packs::scan::{Found, Scan};
use crate::packs::{PackError, PackId, Place};

/// Bytes that are copied in one step.
const STEP: u64 = 8 << 20;

/// Frames that are copied in one step.
const FRAMES: usize = 1000;

/// How long one who walks through a pack is left alone with it, in seconds.
const LEASE: i64 = 600;

/// How long a pack rests that can't be emptied, in seconds: somebody has to look at it.
const REST: i64 = 86_400;

/// Packs that one call looks at.
const CANDIDATES: i64 = 100;

/// Small packs that there must be before they are put together: fewer if there are many bytes in them.
const SMALL_PACKS: (usize, usize) = (32, 500);

/// Packs that are emptied together.
const TOGETHER: i64 = 256;

/// Frames that were walked past and not yet copied.
#[derive(Default)]
struct Step {
    frames: Vec<Copied>,
    bytes: u64,
}

/// A frame to copy.
struct Copied {
    place: Place,
    header: Header,
    payload: Bytes,
}

impl Bodies {
    /// Empties packs, as many as fit into what one call may copy.
    pub(crate) async fn compact(&self, now: i64, done: &mut Maintained) -> Result<(), BodyError> {
        self.close_candidates(now).await?;
        let most = self.inner.options.copied;
        loop {
            if done.bytes_copied >= most {
                done.more = true;
                return Ok(());
            }
            let packs = self.take_closed(now).await?;
            if packs.is_empty() {
                return Ok(());
            }
            self.empty(&packs, now, done).await?;
        }
    }

    /// Closes packs that are mostly dead, and small ones when there are enough, to new rows.
    async fn close_candidates(&self, now: i64) -> Result<(), BodyError> {
        let inner = &self.inner;
        let mut candidates = Vec::new();
        let mut small = Vec::new();
        let mut small_bytes = 0;
        let mut work = inner.engine.read().await?;
        // In a new one there are frames whose rows are on their way.
        let settled = Value::from(now - inner.options.grace);
        let dead = Value::from(100 - inner.options.dead);
        let values = vec![dead, settled.clone(), Value::from(CANDIDATES)];
        work.each(
            "SELECT id FROM mail_pack WHERE state = 0 AND live * 100 < bytes * $1 AND created <= $2 ORDER BY live LIMIT $3",
            values,
            |row| {
                candidates.push(PackId(row.int(0)?));
                Ok(())
            },
        )
        .await?;
        let least = inner.packs.small();
        let values = vec![number(least), settled, Value::from(10 * CANDIDATES)];
        work.each(
            "SELECT id, bytes FROM mail_pack WHERE state = 0 AND bytes < $1 AND created <= $2 ORDER BY id LIMIT $3",
            values,
            |row| {
                small.push(PackId(row.int(0)?));
                small_bytes += row.int(1)?;
                Ok(())
            },
        )
        .await?;
        drop(work);
        // What comes of it is not small any more, or there are so many that each is copied a few times at most.
        let enough = i64::try_from(least.saturating_mul(2)).unwrap_or(i64::MAX);
        let (few, many) = SMALL_PACKS;
        if small.len() >= many || (small.len() >= few && small_bytes >= enough) {
            candidates.append(&mut small);
        }
        for pack in candidates {
            if !inner.packs.is_sealed(pack).await? {
                continue;
            }
            let mut work = inner.engine.write().await?;
            let sql = "UPDATE mail_pack SET state = 1, since = $2 WHERE id = $1 AND state = 0";
            // Any time that has passed will do, so that it is taken at once.
            work.execute(sql, vec![Value::from(pack.0), Value::from(now - LEASE)]).await?;
            work.commit().await?;
        }
        Ok(())
    }

    /// Closed packs that nobody works on, enough for one step. From now on we do.
    async fn take_closed(&self, now: i64) -> Result<Vec<PackId>, BodyError> {
        let mut work = self.inner.engine.write().await?;
        let mut free = Vec::new();
        work.each(
            "SELECT id, since, live FROM mail_pack WHERE state = 1 AND since <= $1 ORDER BY since, id LIMIT $2",
            vec![Value::from(now - LEASE), Value::from(TOGETHER)],
            |row| {
                free.push((row.int(0)?, row.int(1)?, row.int(2)?));
                Ok(())
            },
        )
        .await?;
        // In the order in which all lock them.
        free.sort_unstable();
        let mut taken = Vec::new();
        let mut bytes = 0;
        for (pack, since, live) in free {
            let changed = work
                .execute(
                    "UPDATE mail_pack SET since = $3 WHERE id = $1 AND state = 1 AND since = $2",
                    vec![Value::from(pack), Value::from(since), Value::from(now)],
                )
                .await?;
            if changed == 1 {
                taken.push(PackId(pack));
                bytes += u64::try_from(live).unwrap_or_default();
            }
            if bytes >= STEP {
                break;
            }
        }
        work.commit().await?;
        Ok(taken)
    }

    /// Copies what is needed out of closed packs, so that what was in many small ones comes to lie in one.
    async fn empty(
        &self,
        packs: &[PackId],
        now: i64,
        done: &mut Maintained,
    ) -> Result<(), BodyError> {
        let mut step = Step::default();
        for pack in packs {
            self.walk(*pack, &mut step, done).await?;
        }
        self.copy(step, done).await?;
        for pack in packs {
            self.leave(*pack, now, done).await?;
        }
        Ok(())
    }

    async fn walk(
        &self,
        pack: PackId,
        step: &mut Step,
        done: &mut Maintained,
    ) -> Result<(), BodyError> {
        let inner = &self.inner;
        let key = inner.numbers.key().await?;
        let mut scan = Scan::new(&*inner.packs, pack, key.seed);
        loop {
            match scan.next().await {
                Ok(Some(Found::Frame { place, header, payload })) => {
                    step.bytes += u64::from(place.length);
                    step.frames.push(Copied { place, header, payload });
                }
                Ok(Some(Found::Gap { start, end, reason, last: false })) => {
                    inner.note_damage();
                    tracing::error!(%pack, start, end, %reason, "a pack is damaged");
                }
                // What a crash left of a batch that nobody was told of.
                Ok(Some(Found::Gap { .. })) => {}
                // It is deleted, by whomever: whether rows name it is found when it is left.
                Ok(None) | Err(PackError::Gone(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if step.bytes >= STEP || step.frames.len() >= FRAMES {
                self.copy(std::mem::take(step), done).await?;
            }
        }
    }

    async fn leave(&self, pack: PackId, now: i64, done: &mut Maintained) -> Result<(), BodyError> {
        let mut work = self.inner.engine.write().await?;
        let emptied = work
            .execute(
                // The rows say so, and not the count of live bytes, which may be wrong.
                "UPDATE mail_pack SET state = 2, since = $2, live = 0 WHERE id = $1 AND state = 1 AND NOT EXISTS (SELECT 1 FROM mail_body WHERE pack = $1) AND NOT EXISTS (SELECT 1 FROM mail_part WHERE pack = $1)",
                vec![Value::from(pack.0), Value::from(now)],
            )
            .await?;
        if emptied == 0 {
            let resting = work
                .execute(
                    "UPDATE mail_pack SET since = $2 WHERE id = $1 AND state = 1",
                    vec![Value::from(pack.0), Value::from(now + REST)],
                )
                .await?;
            if resting > 0 {
                self.inner.note_damage();
                tracing::error!(%pack, "rows name mail that is not in its pack any more: run `muralla mail store check`");
            }
        }
        work.commit().await?;
        done.packs_emptied += emptied;
        Ok(())
    }

    /// Copies those of the frames that a row names, and changes the rows.
    async fn copy(&self, step: Step, done: &mut Maintained) -> Result<(), BodyError> {
        let inner = &self.inner;
        let frames = self.needed(step.frames).await?;
        if frames.is_empty() {
            return Ok(());
        }
        let writer = inner.numbers.writer().await?;
        let again = frames.iter().map(|copied| Frame::again(copied.header, copied.payload.clone()));
        let places = inner.packs.append(again.collect(), &writer.identity).await?;
        let mut work = inner.engine.write().await?;
        let mut live = Live::default();
        let mut bodies = Vec::new();
        let mut parts = Vec::new();
        for (copied, to) in frames.iter().zip(&places) {
            let row = |key: Value| {
                vec![
                    key,
                    Value::from(copied.place.pack.0),
                    number(copied.place.start),
                    Value::from(to.pack.0),
                    number(to.start),
                ]
            };
            match copied.header.subject {
                Subject::Message { id, .. } => bodies.push((id, row(Value::from(id)))),
                Subject::Part { hash } => {
                    parts.push((hash, row(Value::from(hash.0.as_slice()))));
                }
            }
        }
        bodies.sort_by_key(|(id, _)| *id);
        parts.sort_by_key(|(hash, _)| *hash);
        let ids: Vec<Value> = bodies.iter().map(|(id, _)| Value::from(*id)).collect();
        lock(&mut work, "mail_body", "id", &ids).await?;
        let rows = bodies.into_iter().map(|(_, row)| row).collect();
        work.bulk(
            "WITH moved (id, old_pack, old_start, pack, start) AS (",
            ") UPDATE mail_body SET pack = moved.pack, start = moved.start FROM moved WHERE mail_body.id = moved.id AND mail_body.pack = moved.old_pack AND mail_body.start = moved.old_start",
            5,
            rows,
        )
        .await?;
        let hashes: Vec<Value> =
            parts.iter().map(|(hash, _)| Value::from(hash.0.as_slice())).collect();
        lock(&mut work, "mail_part", "hash", &hashes).await?;
        let rows = parts.into_iter().map(|(_, row)| row).collect();
        work.bulk(
            "WITH moved (hash, old_pack, old_start, pack, start) AS (",
            ") UPDATE mail_part SET pack = moved.pack, start = moved.start FROM moved WHERE mail_part.hash = moved.hash AND mail_part.pack = moved.old_pack AND mail_part.start = moved.old_start",
            5,
            rows,
        )
        .await?;
        // Those that were removed meanwhile are dead in the new pack.
        let moved = named(
            &mut work,
            frames.iter().zip(&places).map(|(copied, to)| (copied.header.subject, *to)),
        )
        .await?;
        for (copied, to) in frames.iter().zip(&places) {
            if moved.contains(to) {
                live.remove(copied.place);
                live.add(*to);
                done.frames_copied += 1;
                done.bytes_copied += u64::from(to.length);
            }
        }
        match live.enter(&mut work).await {
            Ok(()) => work.commit().await?,
            Err(error) => {
                // The current pack is being emptied itself: go on in another.
                inner.packs.seal();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Those that rows name.
    async fn needed(&self, frames: Vec<Copied>) -> Result<Vec<Copied>, BodyError> {
        let mut work = self.inner.engine.read().await?;
        let subjects = frames.iter().map(|copied| (copied.header.subject, copied.place));
        let named = named(&mut work, subjects).await?;
        Ok(frames.into_iter().filter(|copied| named.contains(&copied.place)).collect())
    }
}

/// Locks rows in the order in which all lock them: an update of many takes them as it likes.
async fn lock(work: &mut Work, table: &str, key: &str, sorted: &[Value]) -> Result<(), BodyError> {
    let for_update = work.flavour().for_update();
    // SQLite has locked everything already.
    if !for_update.is_empty() {
        let sql =
            format!("SELECT {key} FROM {table} WHERE {key} IN ({{}}) ORDER BY {key}{for_update}");
        work.each_in(&sql, &[], sorted, |_| Ok(())).await?;
    }
    Ok(())
}

/// Which of the places rows of these subjects name.
pub(crate) async fn named(
    work: &mut Work,
    subjects: impl Iterator<Item = (Subject, Place)>,
) -> Result<BTreeSet<Place>, BodyError> {
    let mut bodies: BTreeMap<i64, Vec<Place>> = BTreeMap::new();
    let mut parts: BTreeMap<PartHash, Vec<Place>> = BTreeMap::new();
    for (subject, place) in subjects {
        match subject {
            Subject::Message { id, .. } => bodies.entry(id).or_default().push(place),
            Subject::Part { hash } => parts.entry(hash).or_default().push(place),
        }
    }
    let mut named = BTreeSet::new();
    let keys: Vec<Value> = bodies.keys().map(|id| Value::from(*id)).collect();
    let sql = "SELECT id, pack, start, length FROM mail_body WHERE id IN ({})";
    work.each_in(sql, &[], &keys, |row| {
        let place = place(&row, 1)?;
        if bodies.get(&row.int(0)?).is_some_and(|places| places.contains(&place)) {
            named.insert(place);
        }
        Ok(())
    })
    .await?;
    let keys: Vec<Value> = parts.keys().map(|hash| Value::from(hash.0.as_slice())).collect();
    let sql = "SELECT hash, pack, start, length FROM mail_part WHERE hash IN ({})";
    work.each_in(sql, &[], &keys, |row| {
        let place = place(&row, 1)?;
        if parts.get(&part_hash(&row.bytes(0)?)?).is_some_and(|places| places.contains(&place)) {
            named.insert(place);
        }
        Ok(())
    })
    .await?;
    Ok(named)
}
