//! Blocks are reserved, kept and given back, in the database first, and then in the book.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use muralla_database::{DatabaseError, Value, Work, dialect};

use super::clock::{lifetime, seconds};
use super::rows::{Of, heard_until, leases_in};
use super::{Leases, MOST_BLOCKS, Pool, WANTED, first_of, text_of};
use crate::addresses::Plan;
use crate::book::Moment;
use crate::stored::reserved_elsewhere;

impl Leases {
    /// Makes the reservations longer. What is no more ours is given up.
    pub(super) async fn extend(&self, hold: Duration) -> Result<(), DatabaseError> {
        let before = self.now();
        let pools = self.inner.pools.read().clone();
        let mut work = self.inner.state.inner.engine.write().await?;
        let now = dialect::now(&mut work).await?;
        let until = now.saturating_add(seconds(hold));
        for pool in pools.values() {
            let offer = pool.offer_seconds.load(Ordering::Relaxed);
            let values = [
                self.me(),
                vec![
                    pool.name.as_str().into(),
                    until.into(),
                    until.saturating_add_unsigned(offer).into(),
                ],
            ];
            work.execute(
                "UPDATE radius_block SET until = $4, free_at = $5 WHERE owner = $1 AND incarnation = $2 AND pool = $3",
                values.concat(),
            )
            .await?;
        }
        let mut ours: HashMap<String, Vec<String>> = HashMap::new();
        work.each(
            "SELECT pool, first FROM radius_block WHERE owner = $1 AND incarnation = $2",
            self.me(),
            |row| {
                ours.entry(row.text(0)?).or_default().push(row.text(1)?);
                Ok(())
            },
        )
        .await?;
        work.commit().await?;
        let until = before.saturating_add(lifetime(hold));
        let mut stray: Vec<(String, Vec<Value>)> = Vec::new();
        for pool in pools.values() {
            let ours = ours.remove(&pool.name).unwrap_or_default();
            let plan = pool.book.lock().plan().clone();
            let mut ours: BTreeSet<u64> =
                ours.iter().filter_map(|first| first_of(&plan, first)).collect();
            for block in pool.blocks() {
                // One at a time: logins wait for the lock.
                let mut book = pool.book.lock();
                if ours.remove(&block) {
                    book.extend(block, until);
                } else {
                    book.drop_block(block);
                }
            }
            let unknown: Vec<Value> =
                ours.iter().map(|block| text_of(&plan, *block).into()).collect();
            if !unknown.is_empty() {
                stray.push((pool.name.clone(), unknown));
            }
        }
        for (pool, blocks) in stray {
            // An answer was lost when they were reserved or given back. Nothing was given out of them, so others may have
            // them; with a question first, as the one stands for which they were perhaps reserved.
            let mut work = self.inner.state.inner.engine.write().await?;
            work.execute_in(
                "UPDATE radius_block SET owner = NULL, until = 0, free_at = 1 WHERE owner = $1 AND incarnation = $2 AND pool = $3 AND first IN ({})",
                &[self.me(), vec![pool.into()]].concat(),
                &blocks,
            )
            .await?;
            work.commit().await?;
        }
        Ok(())
    }

    /// Sees to it that a pool's blocks here are enough, and not too many.
    pub(super) async fn stock(
        &self,
        pool: &Arc<Pool>,
        hold: Duration,
    ) -> Result<(), DatabaseError> {
        let (spare, block, size, given) = {
            let mut book = pool.book.lock();
            let (block, size) = (book.plan().last_of(0) + 1, book.plan().size());
            (book.spare() as u64, block, size, book.take_given())
        };
        let pace = pool.pace.lock().count(given, Instant::now());
        // Ten minutes' logins, but never more than a quarter of all: other servers want some too. A sixteenth at least, as all
        // users of a NAS may come at once after a quiet night.
        let least = block.max(size / 16);
        let ahead = least.saturating_add((pace * 600.0) as u64).min((size / 4).max(block));
        let mut work = self.inner.state.inner.engine.read().await?;
        let now = dialect::now(&mut work).await?;
        let wanted = work
            .row("SELECT wanted FROM radius_pool WHERE name = $1", vec![pool.name.as_str().into()])
            .await?;
        drop(work);
        let Some(wanted) = wanted else { return Ok(()) };
        let is_wanted = wanted.int(0)? > now.saturating_sub(WANTED);
        let (target, most) = match is_wanted {
            true => (block, block),
            false => (ahead, ahead.saturating_mul(2).saturating_add(block)),
        };
        if spare < target {
            let several = (target - spare).div_ceil(block);
            let several = usize::try_from(several).unwrap_or(MOST_BLOCKS).min(MOST_BLOCKS);
            let got = self.reserve(pool, several, hold).await?;
            // Said again and again, but not every second.
            let silent = wanted.int(0)? <= now.saturating_sub(WANTED / 4);
            if got == 0 && spare == 0 && silent && size > 0 {
                let mut work = self.inner.state.inner.engine.write().await?;
                work.execute(
                    "UPDATE radius_pool SET wanted = $2 WHERE name = $1",
                    vec![pool.name.as_str().into(), now.into()],
                )
                .await?;
                work.commit().await?;
            }
        } else if spare > most {
            let several = usize::try_from((spare - most) / block).unwrap_or(MOST_BLOCKS);
            self.return_idle(pool, several.min(MOST_BLOCKS)).await?;
        }
        Ok(())
    }

    /// Reserves blocks: what is nobody's first, then what nobody has ever had. Tells how many.
    async fn reserve(
        &self,
        pool: &Arc<Pool>,
        several: usize,
        hold: Duration,
    ) -> Result<usize, DatabaseError> {
        let plan = pool.book.lock().plan().clone();
        let offer = pool.offer_seconds.load(Ordering::Relaxed);
        let before = self.now();
        let mut work = self.inner.state.inner.engine.write().await?;
        // One server after the other.
        if !is_current(&mut work, &pool.name, &plan).await? {
            // The next round reads what it is now.
            return Ok(0);
        }
        let now = dialect::now(&mut work).await?;
        // Of a block whose reservation has ended, its owner may have been told who has what of it, and may not have passed it on.
        let heard = heard_until(&mut work, now).await?.until;
        let mine = work
            .number(
                "SELECT count(*) FROM radius_server WHERE name = $1 AND incarnation = $2",
                self.me(),
            )
            .await?;
        if mine == 0 {
            // The next round finds out.
            return Ok(0);
        }
        let size = plan.last_of(0).saturating_add(1).cast_signed();
        let mut taken: Vec<(u64, Option<Moment>)> = Vec::new();
        // Of ranges that the pool has no more.
        let mut outside: Vec<Value> = Vec::new();
        work.each(
            "SELECT b.first, CASE WHEN b.owner IS NULL AND b.free_at = 0 THEN CAST(0 AS BIGINT) ELSE CAST(1 AS BIGINT) END FROM radius_block b WHERE b.pool = $1 AND b.free_at < $7 AND (b.owner IS NULL OR b.owner <> $5 OR b.incarnation <> $6) AND (SELECT count(*) FROM radius_lease l WHERE l.pool = b.pool AND l.block = b.first AND l.expires > $2 AND l.released = 0) < $3 ORDER BY b.free_at, b.first LIMIT $4",
            vec![
                pool.name.as_str().into(),
                now.into(),
                size.into(),
                i64::try_from(several).unwrap_or(i64::MAX).into(),
                self.inner.state.server().into(),
                self.inner.incarnation.into(),
                heard.into(),
            ],
            |row| {
                let first = row.text(0)?;
                let block = first_of(&plan, &first);
                if block.is_none_or(|block| plan.units(block).next().is_none()) {
                    outside.push(first.into());
                } else if let Some(block) = block {
                    // Who had it before did not give it back: the database is asked about everything in it first.
                    let left = row.int(1)? != 0;
                    taken.push((block, left.then_some(before)));
                }
                Ok(())
            },
        )
        .await?;
        work.execute_in(
            "DELETE FROM radius_block WHERE pool = $1 AND first IN ({})",
            &[pool.name.as_str().into()],
            &outside,
        )
        .await?;
        let until = now.saturating_add(seconds(hold));
        let times = [until.into(), until.saturating_add_unsigned(offer).into()];
        let keys: Vec<Value> =
            taken.iter().map(|(block, _)| text_of(&plan, *block).into()).collect();
        let values = [vec![pool.name.as_str().into()], self.me(), times.to_vec()].concat();
        work.execute_in(
            "UPDATE radius_block SET owner = $2, incarnation = $3, until = $4, free_at = $5, trimmed = 0 WHERE pool = $1 AND first IN ({})",
            &values,
            &keys,
        )
        .await?;
        if taken.len() < several {
            let mut had: HashSet<u64> = HashSet::new();
            work.each(
                "SELECT first FROM radius_block WHERE pool = $1",
                vec![pool.name.as_str().into()],
                |row| {
                    had.extend(first_of(&plan, &row.text(0)?));
                    Ok(())
                },
            )
            .await?;
            // By an operator's own SQL a range may come from a pool out of which another server gives it still.
            let others = match plan.blocks().any(|block| !had.contains(&block)) {
                true => reserved_elsewhere(&mut work, &pool.name, &plan, heard).await?,
                false => Vec::new(),
            };
            let is_others = |block: u64| {
                others.iter().any(|other| {
                    other.owner != self.inner.state.server()
                        && *other.numbers.start() <= plan.last_of(block)
                        && block <= *other.numbers.end()
                })
            };
            let new: Vec<u64> = plan
                .blocks()
                .filter(|block| !had.contains(block) && !is_others(*block))
                .take(several - taken.len())
                .collect();
            let row = |block: &u64| {
                let first: Value = text_of(&plan, *block).into();
                [vec![pool.name.as_str().into(), first], self.me(), times.to_vec()].concat()
            };
            work.bulk(
                "INSERT INTO radius_block (pool, first, owner, incarnation, until, free_at)",
                "",
                6,
                new.iter().map(row).collect(),
            )
            .await?;
            taken.extend(new.into_iter().map(|block| (block, None)));
        }
        let blocks: Vec<u64> = taken.iter().map(|(block, _)| *block).collect();
        let of = Of { pool: &pool.name, plan: &plan, lease_seconds: pool.lease_seconds() };
        let mut known = leases_in(&self.inner.state, &mut work, of, &blocks, now, before).await?;
        work.commit().await?;
        let until = before.saturating_add(lifetime(hold));
        let fixed = pool.fixed_in(&blocks);
        for (block, rest) in &taken {
            let known = known.remove(block).unwrap_or_default();
            let mut book = pool.book.lock();
            book.take_block(*block, until, *rest, known, before);
            book.set_fixed(*block, fixed.get(block).map(Vec::as_slice).unwrap_or_default());
        }
        Ok(taken.len())
    }

    /// Gives up blocks of ranges that the pool has no more, as soon as nobody has any of them.
    pub(super) async fn give_up_outside(&self, pool: &Arc<Pool>) -> Result<(), DatabaseError> {
        let (plan, blocks) = {
            let mut book = pool.book.lock();
            let blocks = book.outside();
            for block in &blocks {
                book.drop_block(*block);
            }
            (book.plan().clone(), blocks)
        };
        if blocks.is_empty() {
            return Ok(());
        }
        let keys: Vec<Value> = blocks.iter().map(|block| text_of(&plan, *block).into()).collect();
        let mut work = self.inner.state.inner.engine.write().await?;
        work.execute_in(
            "DELETE FROM radius_block WHERE owner = $1 AND incarnation = $2 AND pool = $3 AND first IN ({})",
            &[self.me(), vec![pool.name.as_str().into()]].concat(),
            &keys,
        )
        .await?;
        work.commit().await
    }

    /// Gives back blocks of which nothing is used.
    async fn return_idle(&self, pool: &Arc<Pool>, several: usize) -> Result<(), DatabaseError> {
        let plan = pool.book.lock().plan().clone();
        let mut blocks: Vec<u64> = Vec::new();
        for block in pool.blocks().into_iter().rev() {
            if blocks.len() >= several {
                break;
            }
            // First here, so that nothing is given out of them while the database is told.
            let mut book = pool.book.lock();
            if book.is_idle(block) {
                book.drop_block(block);
                blocks.push(block);
            }
        }
        let keys: Vec<Value> = blocks.iter().map(|block| text_of(&plan, *block).into()).collect();
        let mut work = self.inner.state.inner.engine.write().await?;
        work.execute_in(
            "UPDATE radius_block SET owner = NULL, until = 0, free_at = 0 WHERE owner = $1 AND incarnation = $2 AND pool = $3 AND first IN ({})",
            &[self.me(), vec![pool.name.as_str().into()]].concat(),
            &keys,
        )
        .await?;
        work.commit().await
    }

    /// Gives out what came to the pool inside of blocks that are here already, once it is certain that no other pool has it
    /// meanwhile.
    pub(super) async fn widen(&self, pool: &Pool) -> Result<(), DatabaseError> {
        let (plan, mut narrow) = {
            let book = pool.book.lock();
            (book.plan().clone(), book.narrow())
        };
        if narrow.is_empty() {
            return Ok(());
        }
        let mut work = self.inner.state.inner.engine.write().await?;
        if !is_current(&mut work, &pool.name, &plan).await? {
            return Ok(());
        }
        let now = dialect::now(&mut work).await?;
        let heard = heard_until(&mut work, now).await?.until;
        for other in reserved_elsewhere(&mut work, &pool.name, &plan, heard).await? {
            if other.owner != self.inner.state.server() {
                narrow.retain(|block| {
                    plan.last_of(*block) < *other.numbers.start() || *other.numbers.end() < *block
                });
            }
        }
        let keys: Vec<Value> = narrow.iter().map(|block| text_of(&plan, *block).into()).collect();
        work.execute_in(
            "UPDATE radius_block SET trimmed = 0 WHERE owner = $1 AND incarnation = $2 AND pool = $3 AND first IN ({})",
            &[self.me(), vec![pool.name.as_str().into()]].concat(),
            &keys,
        )
        .await?;
        work.commit().await?;
        let now = self.now();
        let mut book = pool.book.lock();
        for block in narrow {
            book.widen(block, now);
        }
        Ok(())
    }

    /// Tells the database of which blocks nothing is in use here but what the pool has of them, so that the rest may go to another
    /// pool.
    pub(super) async fn note_trimmed(&self, pool: &Pool) -> Result<(), DatabaseError> {
        let (plan, trimmed) = {
            let book = pool.book.lock();
            (book.plan().clone(), book.trimmed())
        };
        if trimmed.is_empty() {
            return Ok(());
        }
        let keys: Vec<Value> = trimmed.iter().map(|block| text_of(&plan, *block).into()).collect();
        let mut work = self.inner.state.inner.engine.write().await?;
        work.execute_in(
            "UPDATE radius_block SET trimmed = $4 WHERE owner = $1 AND incarnation = $2 AND pool = $3 AND first IN ({})",
            &[self.me(), vec![pool.name.as_str().into(), plan.fingerprint().into()]].concat(),
            &keys,
        )
        .await?;
        work.commit().await?;
        pool.book.lock().told_trimmed(&trimmed);
        Ok(())
    }
}

/// Locks a pool until the end of the transaction, and tells whether its ranges are those of a plan still: what has left it may be
/// another pool's by now.
pub(super) async fn is_current(
    work: &mut Work,
    pool: &str,
    plan: &Plan,
) -> Result<bool, DatabaseError> {
    let sql = format!(
        "SELECT length, block FROM radius_pool WHERE name = $1{}",
        work.flavour().for_update()
    );
    let Some(row) = work.row(sqlx::AssertSqlSafe(sql), vec![pool.into()]).await? else {
        return Ok(false);
    };
    let (length, block) = (u8::try_from(row.int(0)?), u64::try_from(row.int(1)?));
    let (Ok(length), Ok(block)) = (length, block) else { return Ok(false) };
    let mut ranges: Vec<String> = Vec::new();
    work.each(
        "SELECT addresses FROM radius_pool_range WHERE pool = $1",
        vec![pool.into()],
        |row| {
            ranges.push(row.text(0)?);
            Ok(())
        },
    )
    .await?;
    let there = Plan::new(length, block, ranges.iter().map(String::as_str));
    Ok(there.is_ok_and(|there| there == *plan))
}
