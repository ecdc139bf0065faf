//! Removes what nobody needs: rows of bodies, packs that nothing names, frames that never got a row.
//!
//! [`Bodies::maintain`] does a bounded piece of it and is called again and again, by as many processes as there are: each step is
//! right whoever does it, and whoever dies in it.
//!
//! A pack goes through four states. In 0 rows may name it. In 1 no new row may: the row of the pack is locked by whoever
//! inserts, so that after the change to 1 all who were before are seen; its frames are looked through then, and those that a row
//! names are copied ([`compaction`](crate::compaction)). In 2 nothing names it, and readers that looked it up before have their
//! time. In 3 it is deleted, and its row refuses those who come very late.

use std::collections::{BTreeMap, BTreeSet};

use muralla_database::{DatabaseError, Value, Work};
use sqlx::AssertSqlSafe;

use crate::bodies::{Bodies, BodyId, Live, number, part_hash, part_hashes, place};
use crate::error::BodyError;
use crate::frame::PartHash;
use crate::packs::{PackId, PackInfo};

/// What one call of [`Bodies::maintain`] did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Maintained {
    /// Rows of bodies that nobody needs any more.
    pub bodies_removed: u64,
    /// Parts that no body has any more.
    pub parts_removed: u64,
    /// Packs that were emptied.
    pub packs_emptied: u64,
    /// Frames copied out of them.
    pub frames_copied: u64,
    /// Bytes of those.
    pub bytes_copied: u64,
    /// Packs deleted.
    pub packs_deleted: u64,
    /// Packs found that no row names.
    pub strays: u64,
    /// Packs that rows name and that are not there: the database was put back to an earlier state, or packs are lost. As long as there are
    /// any, no pack is emptied or deleted, for what is missing may lie in one that seems to be nobody's:
    /// [`check`](Bodies::check) finds it there.
    pub missing: u64,
    /// The number of the dictionary that was trained.
    pub trained: Option<u32>,
    /// Whether there is more to do at once.
    pub more: bool,
}

/// The packs of a store, as the database counts them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PackTotals {
    /// Packs.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of frames that rows name.
    pub live: u64,
}

impl PackTotals {
    /// How much of the bytes nobody needs, from 0 to 1.
    #[must_use]
    pub fn dead_share(&self) -> f64 {
        if self.bytes == 0 {
            return 0.0;
        }
        self.bytes.saturating_sub(self.live) as f64 / self.bytes as f64
    }
}

/// What this process remembers from one call to the next.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    /// When it looked for packs that no row names.
    looked_for_strays: i64,
    /// Packs that were missing then.
    missing: u64,
    /// When it looked for dictionaries.
    looked_for_dictionaries: i64,
    /// When it tried to train one.
    trained: i64,
}

/// Rows of bodies that one transaction removes.
const REMOVED: i64 = 1000;

/// Transactions that remove rows in one call.
const TRANSACTIONS: usize = 20;

/// Packs that one call deletes.
const DELETED: i64 = 200;

/// How long the row of a deleted pack stays: longer than anything is valid that could name it.
const REMEMBERED: i64 = 7 * 86_400;

/// Times between looks, in seconds.
const STRAYS: i64 = 3600;
const DICTIONARIES: i64 = 600;
const TRAINING: i64 = 86_400;

impl Bodies {
    /// Does a bounded piece of the upkeep: removes what nobody needs, gives room back, trains a dictionary when it is time. To be
    /// called every minute or so, and again at once when there is [`more`](Maintained::more) to do. `now` is in seconds since
    /// 1970.
    ///
    /// # Errors
    ///
    /// [`BodyError`]. What was done before it is done.
    pub async fn maintain(&self, now: i64) -> Result<Maintained, BodyError> {
        self.inner.see_that_packs_are_ours().await?;
        let mut upkeep = self.inner.upkeep.lock().await;
        let mut done = Maintained::default();
        self.remove_unneeded(&mut done).await?;
        if now - upkeep.looked_for_strays >= STRAYS {
            upkeep.missing = self.look_for_strays(now, &mut done).await?;
            upkeep.looked_for_strays = now;
        }
        done.missing = upkeep.missing;
        if done.missing == 0 {
            self.compact(now, &mut done).await?;
            self.delete_packs(now, &mut done).await?;
        }
        if now - upkeep.looked_for_dictionaries >= DICTIONARIES {
            self.inner.look_for_dictionaries().await?;
            upkeep.looked_for_dictionaries = now;
        }
        if now - upkeep.trained >= TRAINING && self.is_time_to_train(now).await? {
            upkeep.trained = now;
            done.trained = self.train(now).await?;
        }
        Ok(done)
    }

    /// The packs that there are.
    ///
    /// # Errors
    ///
    /// [`BodyError::Database`].
    pub async fn totals(&self) -> Result<PackTotals, BodyError> {
        let mut totals = PackTotals::default();
        let mut work = self.inner.engine.read().await?;
        let sql = "SELECT CAST(count(*) AS BIGINT), CAST(coalesce(sum(bytes), 0) AS BIGINT), CAST(coalesce(sum(live), 0) AS BIGINT) FROM mail_pack WHERE state < 3";
        work.each(sql, Vec::new(), |row| {
            let count = |column| row.int(column).map(|count| u64::try_from(count).unwrap_or(0));
            totals = PackTotals { packs: count(0)?, bytes: count(1)?, live: count(2)? };
            Ok(())
        })
        .await?;
        Ok(totals)
    }

    async fn remove_unneeded(&self, done: &mut Maintained) -> Result<(), BodyError> {
        for _ in 0..TRANSACTIONS {
            let removed = self.remove_some(done).await?;
            if removed < REMOVED as usize {
                return Ok(());
            }
        }
        done.more = true;
        Ok(())
    }

    async fn remove_some(&self, done: &mut Maintained) -> Result<usize, BodyError> {
        let mut work = self.inner.engine.write().await?;
        let sql = format!(
            "SELECT id, pack, start, length, parts FROM mail_body WHERE refs <= 0 ORDER BY id LIMIT $1{}",
            work.flavour().for_update()
        );
        let mut ids = Vec::new();
        let mut live = Live::default();
        let mut parts: BTreeMap<PartHash, i64> = BTreeMap::new();
        work.each(AssertSqlSafe(sql), vec![Value::from(REMOVED)], |row| {
            ids.push(Value::from(row.int(0)?));
            live.remove(place(&row, 1)?);
            if let Some(hashes) = row.bytes_or_none(4)? {
                for hash in part_hashes(&hashes)? {
                    *parts.entry(hash).or_default() += 1;
                }
            }
            Ok(())
        })
        .await?;
        if ids.is_empty() {
            return Ok(0);
        }
        work.execute_in("DELETE FROM mail_body WHERE id IN ({})", &[], &ids).await?;
        let parts_removed = release_parts(&mut work, &parts, &mut live).await?;
        live.enter(&mut work).await?;
        work.commit().await?;
        done.bodies_removed += ids.len() as u64;
        done.parts_removed += parts_removed;
        Ok(ids.len())
    }

    /// All packs, and the numbers of those that rows name and that are not there.
    async fn packs_and_missing(&self) -> Result<(Vec<PackInfo>, Vec<Value>), BodyError> {
        const SELECT: &str = "SELECT id FROM mail_pack WHERE state < 2 AND live > 0";
        let mut named = BTreeSet::new();
        let mut work = self.inner.engine.read().await?;
        work.each_of_many(SELECT, Vec::new(), |row| {
            named.insert(PackId(row.int(0)?));
            Ok(())
        })
        .await?;
        drop(work);
        // A pack is made before its row, so those are in the list, but for what was deleted meanwhile.
        let packs = self.inner.packs.list().await?;
        for info in &packs {
            named.remove(&info.pack);
        }
        let keys: Vec<Value> = named.into_iter().map(|pack| Value::from(pack.0)).collect();
        let mut missing = BTreeSet::new();
        let mut work = self.inner.engine.read().await?;
        work.each_in(&format!("{SELECT} AND id IN ({{}})"), &[], &keys, |row| {
            missing.insert(row.int(0)?);
            Ok(())
        })
        .await?;
        Ok((packs, missing.into_iter().map(Value::from).collect()))
    }

    /// Gives up packs that rows name and that are not there, when there is no copy of them: mail in them stays unreadable, and the rest
    /// is tidied up again. Returns how many they are.
    ///
    /// # Errors
    ///
    /// [`BodyError`].
    pub async fn give_up_missing(&self, now: i64) -> Result<u64, BodyError> {
        let mut upkeep = self.inner.upkeep.lock().await;
        let (_, missing) = self.packs_and_missing().await?;
        let mut work = self.inner.engine.write().await?;
        let sql = "UPDATE mail_pack SET state = 3, since = $1 WHERE state < 2 AND id IN ({})";
        let given_up = work.execute_in(sql, &[Value::from(now)], &missing).await?;
        work.commit().await?;
        upkeep.looked_for_strays = 0;
        Ok(given_up)
    }

    /// Packs that no row names: what is in them was put and never inserted. Whoever would insert it now is refused, and then they are
    /// looked through as any other. Returns how many packs are missing; if there are any, none is a stray.
    async fn look_for_strays(&self, now: i64, done: &mut Maintained) -> Result<u64, BodyError> {
        let inner = &self.inner;
        let mut old: BTreeMap<PackId, u64> = BTreeMap::new();
        let (packs, missing) = self.packs_and_missing().await?;
        if !missing.is_empty() {
            let missing = missing.len() as u64;
            tracing::error!(
                missing,
                "packs that rows name are not there, and nothing is tidied up: run `muralla mail store check`"
            );
            return Ok(missing);
        }
        for info in packs {
            if info.modified < now - inner.options.stray {
                old.insert(info.pack, info.bytes);
            }
        }
        let keys: Vec<Value> = old.keys().map(|pack| Value::from(pack.0)).collect();
        let mut work = inner.engine.read().await?;
        // A pack that was deleted and is here again was never deleted.
        let sql = "SELECT id FROM mail_pack WHERE id IN ({}) AND state < 3";
        work.each_in(sql, &[], &keys, |row| {
            old.remove(&PackId(row.int(0)?));
            Ok(())
        })
        .await?;
        drop(work);
        for (pack, bytes) in old {
            if !inner.packs.is_sealed(pack).await? {
                continue;
            }
            let mut work = inner.engine.write().await?;
            let values = vec![Value::from(pack.0), Value::from(now), number(bytes)];
            let entered = work
                .execute(
                    "INSERT INTO mail_pack (id, created, bytes, live, state, since) VALUES ($1, $2, $3, 0, 1, 0) ON CONFLICT (id) DO UPDATE SET state = 1, since = 0 WHERE mail_pack.state = 3",
                    values,
                )
                .await?;
            work.commit().await?;
            done.strays += entered;
        }
        Ok(0)
    }

    async fn delete_packs(&self, now: i64, done: &mut Maintained) -> Result<(), BodyError> {
        let inner = &self.inner;
        let mut packs = Vec::new();
        let mut work = inner.engine.read().await?;
        let values = vec![Value::from(now - inner.options.grace), Value::from(DELETED)];
        work.each(
            "SELECT id FROM mail_pack WHERE state = 2 AND since <= $1 ORDER BY since LIMIT $2",
            values,
            |row| {
                packs.push(PackId(row.int(0)?));
                Ok(())
            },
        )
        .await?;
        drop(work);
        for pack in &packs {
            inner.packs.delete(*pack).await?;
        }
        let mut work = inner.engine.write().await?;
        let keys: Vec<Value> = packs.iter().map(|pack| Value::from(pack.0)).collect();
        let before = [Value::from(now)];
        work.execute_in(
            "UPDATE mail_pack SET state = 3, since = $1, bytes = 0, live = 0 WHERE state = 2 AND id IN ({})",
            &before,
            &keys,
        )
        .await?;
        work.execute(
            "DELETE FROM mail_pack WHERE state = 3 AND since < $1",
            vec![Value::from(now - REMEMBERED)],
        )
        .await?;
        work.commit().await?;
        done.packs_deleted += packs.len() as u64;
        done.more |= packs.len() as i64 >= DELETED;
        Ok(())
    }

    async fn is_time_to_train(&self, now: i64) -> Result<bool, BodyError> {
        let (least, every) = self.inner.options.train_after;
        let made = self.inner.dictionaries.current().made();
        if every <= 0 || (made > 0 && now - made < every) {
            return Ok(false);
        }
        let sql = "SELECT CAST(count(*) AS BIGINT) FROM (SELECT id FROM mail_body LIMIT $1) AS few";
        let mut work = self.inner.engine.read().await?;
        Ok(work.number(sql, vec![Value::from(least)]).await? >= least)
    }

    /// Bodies that nobody needs and whose rows wait to be removed, for a test or a report.
    ///
    /// # Errors
    ///
    /// [`BodyError::Database`].
    pub async fn unneeded(&self, most: i64) -> Result<Vec<BodyId>, BodyError> {
        let mut ids = Vec::new();
        let mut work = self.inner.engine.read().await?;
        let sql = "SELECT id FROM mail_body WHERE refs <= 0 ORDER BY id LIMIT $1";
        work.each(sql, vec![Value::from(most)], |row| {
            ids.push(BodyId(row.int(0)?));
            Ok(())
        })
        .await?;
        Ok(ids)
    }
}

/// Counts bodies that have parts down, and removes the parts that none has. Returns how many.
async fn release_parts(
    work: &mut Work,
    parts: &BTreeMap<PartHash, i64>,
    live: &mut Live,
) -> Result<u64, DatabaseError> {
    if parts.is_empty() {
        return Ok(0);
    }
    let keys: Vec<Value> = parts.keys().map(|hash| Value::from(hash.0.as_slice())).collect();
    let sql = format!(
        "SELECT hash, pack, start, length, refs FROM mail_part WHERE hash IN ({{}}) ORDER BY hash{}",
        work.flavour().for_update()
    );
    let mut seen = BTreeSet::new();
    let mut gone = Vec::new();
    let mut fewer = Vec::new();
    work.each_in(&sql, &[], &keys, |row| {
        let hash = part_hash(&row.bytes(0)?)?;
        if !seen.insert(hash) {
            return Ok(());
        }
        let less = parts.get(&hash).copied().unwrap_or_default();
        if row.int(4)? <= less {
            gone.push(Value::from(hash.0.as_slice()));
            live.remove(place(&row, 1)?);
        } else {
            fewer.push(vec![Value::from(hash.0.as_slice()), Value::from(less)]);
        }
        Ok(())
    })
    .await?;
    work.execute_in("DELETE FROM mail_part WHERE hash IN ({})", &[], &gone).await?;
    work.bulk(
        "WITH change (hash, less) AS (",
        ") UPDATE mail_part SET refs = mail_part.refs - change.less FROM change WHERE mail_part.hash = change.hash",
        2,
        fewer,
    )
    .await?;
    Ok(gone.len() as u64)
}
