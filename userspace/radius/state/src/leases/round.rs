//! What is done again and again: the database hears what was given, and is asked what may be given again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use muralla_database::{DatabaseError, Value, dialect};
use parking_lot::Mutex;
use tracing::warn;

use super::rows::{LIVES, Of, adopt, columns, heard_until, known, leases_in};
use super::{
    BEAT, Leases, MOST_BLOCKS, MOST_ENDED, News, Pace, Pool, READ_FIXED, Round, Telling, WANTED,
    first_of, lifetime, milliseconds, seconds, text_of,
};
use crate::addresses::Plan;
use crate::book::{Book, Ended, Known, Moment};
use crate::convert::{MAY_OWN, owned_by_items};
use crate::stored::{plan, readable_pools};
use crate::{Assigned, PoolEntry};

/// The incarnation of blocks whose owner has told everything at its end.
const PUT_DOWN: i64 = -1;

/// What the database says of something whose time has ended here.
enum Answer {
    Free,
    Held(Known),
    /// Some server has not told everything yet.
    Unknown,
}

impl Leases {
    pub(super) async fn keep_all(&self, round: &mut Round) -> Result<(), DatabaseError> {
        if self.is_fenced() {
            return Ok(());
        }
        let replanned = self.read_pools().await?;
        let now = self.now();
        let is_due = |last: Option<Moment>, every: Duration| {
            last.is_none_or(|last| now.saturating_sub(last) >= milliseconds(every))
        };
        if replanned || is_due(round.fixed_read, READ_FIXED) {
            self.read_fixed().await?;
            round.fixed_read = Some(now);
        }
        match self.tell(is_due(round.told, BEAT)).await? {
            Telling::Fenced => return Ok(()),
            Telling::Everything => round.told = Some(now),
            Telling::Nothing => {}
        }
        let hold = self.inner.state.inner.options.hold_blocks;
        if is_due(round.extended, (hold / 4).min(Duration::from_secs(60))) {
            self.extend(hold).await?;
            round.extended = Some(now);
        }
        self.look_again().await?;
        self.hear_releases().await?;
        self.ask_ended().await?;
        let pools: Vec<Arc<Pool>> = self.inner.pools.read().values().cloned().collect();
        for pool in pools {
            self.give_up_outside(&pool).await?;
            self.stock(&pool, hold).await?;
        }
        Ok(())
    }

    /// Takes over the blocks of an earlier life. What it may have offered and not written down rests.
    pub(super) async fn resume(&self) -> Result<(), DatabaseError> {
        self.read_pools().await?;
        let hold = self.inner.state.inner.options.hold_blocks;
        let before = self.now();
        let mut work = self.inner.state.inner.engine.write().await?;
        let now = dialect::now(&mut work).await?;
        let values = [self.me(), vec![now.into()]].concat();
        let mine = work
            .execute(
                "UPDATE radius_server SET seen = $3 WHERE name = $1 AND incarnation = $2",
                values,
            )
            .await?;
        if mine == 0 {
            // Another life began meanwhile; the first round finds out.
            return Ok(());
        }
        let mut blocks: Vec<(String, String)> = Vec::new();
        // Of those that were put down in order all is told that was given.
        let mut told: HashSet<(String, String)> = HashSet::new();
        work.each(
            "SELECT pool, first, incarnation FROM radius_block WHERE owner = $1",
            vec![self.inner.state.server().into()],
            |row| {
                let block = (row.text(0)?, row.text(1)?);
                if row.int(2)? == PUT_DOWN {
                    told.insert(block.clone());
                }
                blocks.push(block);
                Ok(())
            },
        )
        .await?;
        let pools = self.inner.pools.read().clone();
        let mut taken = Vec::new();
        for (name, pool) in &pools {
            let plan = pool.book.lock().plan().clone();
            let offer = pool.offer_seconds.load(Ordering::Relaxed);
            let own: Vec<u64> = blocks
                .iter()
                .filter(|(of, _)| of == name)
                .filter_map(|(_, first)| first_of(&plan, first))
                .collect();
            let until = now.saturating_add(seconds(hold));
            let values = [
                Value::from(name.as_str()),
                self.inner.state.server().into(),
                self.inner.incarnation.into(),
                until.into(),
                until.saturating_add_unsigned(offer).into(),
            ];
            let keys: Vec<Value> = own.iter().map(|block| text_of(&plan, *block).into()).collect();
            work.execute_in(
                "UPDATE radius_block SET incarnation = $3, until = $4, free_at = $5 WHERE pool = $1 AND owner = $2 AND first IN ({})",
                &values,
                &keys,
            )
            .await?;
            let of = Of { pool: name, plan: &plan, lease_seconds: pool.lease_seconds() };
            let known = leases_in(&self.inner.state, &mut work, of, &own, now, before).await?;
            taken.push((Arc::clone(pool), own, known, offer));
        }
        work.commit().await?;
        let until = before.saturating_add(lifetime(hold));
        for (pool, own, mut known, offer) in taken {
            let now = self.now();
            let rest = now.saturating_add(offer.saturating_mul(1000));
            for block in own {
                let known = known.remove(&block).unwrap_or_default();
                let mut book = pool.book.lock();
                let is_told = told.contains(&(pool.name.clone(), text_of(book.plan(), block)));
                book.take_block(block, until, (!is_told).then_some(rest), known, now);
            }
        }
        Ok(())
    }

    /// Tells the database everything, and of which blocks this was all: for what it was not told of those the next life of this
    /// server need not fear. Nothing is given any more.
    pub(super) async fn put_down(&self) -> Result<(), DatabaseError> {
        if self.inner.fenced.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        if self.tell(true).await? != Telling::Everything {
            return Ok(());
        }
        let pools: Vec<Arc<Pool>> = self.inner.pools.read().values().cloned().collect();
        let mut work = self.inner.state.inner.engine.write().await?;
        for pool in pools {
            let sure: Vec<Value> = {
                let book = pool.book.lock();
                let blocks = book.blocks().map(|(block, _)| block);
                let sure = blocks.filter(|block| book.is_sure(*block));
                sure.map(|block| text_of(book.plan(), block).into()).collect()
            };
            work.execute_in(
                "UPDATE radius_block SET incarnation = $3 WHERE owner = $1 AND incarnation = $2 AND pool = $4 AND first IN ({})",
                &[self.me(), vec![PUT_DOWN.into(), pool.name.as_str().into()]].concat(),
                &sure,
            )
            .await?;
        }
        work.commit().await
    }

    /// Reads what pools there are. Tells whether there are others than before.
    async fn read_pools(&self) -> Result<bool, DatabaseError> {
        let mut work = self.inner.state.inner.engine.read().await?;
        let (entries, unreadable) = readable_pools(&mut work).await?;
        drop(work);
        for (name, problem) in &unreadable {
            self.problem(format!("pool {name}: {problem}: it goes on as it was, if it was known"));
        }
        let mut changed = false;
        let mut plans: Vec<(PoolEntry, Plan)> = Vec::new();
        for entry in entries {
            let plan = match plan(&entry) {
                Ok(plan) => plan,
                Err(reason) => {
                    self.problem(format!("pool {}: {reason}", entry.name));
                    continue;
                }
            };
            // By an operator's own SQL they may overlap: then the first of them alone is given out of.
            if let Some((other, shared)) =
                plans.iter().find_map(|(other, others)| Some((other, plan.overlap(others)?)))
            {
                self.problem(format!(
                    "pool {}: {shared} is in pool {} as well: nothing is given out of the former until that is changed",
                    entry.name, other.name
                ));
                continue;
            }
            plans.push((entry, plan));
        }
        let now = self.now();
        let mut pools = self.inner.pools.write();
        let before = pools.len();
        pools.retain(|name, _| {
            unreadable.contains_key(name) || plans.iter().any(|(entry, _)| entry.name == *name)
        });
        changed |= pools.len() != before;
        for (entry, plan) in plans {
            let (offer, lease) = (u64::from(entry.offer_seconds), u64::from(entry.lease_seconds));
            match pools.get(&entry.name) {
                Some(pool) => {
                    pool.offer_seconds.store(offer, Ordering::Relaxed);
                    pool.lease_seconds.store(lease, Ordering::Relaxed);
                    let mut book = pool.book.lock();
                    changed |= *book.plan() != plan;
                    book.replan(plan, offer * 1000, lease * 1000, now);
                }
                None => {
                    changed = true;
                    let pool = Pool {
                        name: entry.name.clone(),
                        book: Mutex::new(Book::new(plan, offer * 1000, lease * 1000)),
                        fixed: Mutex::default(),
                        offer_seconds: AtomicU64::new(offer),
                        lease_seconds: AtomicU64::new(lease),
                        exhausted: AtomicU64::new(0),
                        conflicts: AtomicU64::new(0),
                        pace: Mutex::new(Pace { counted: Instant::now(), each_second: 0.0 }),
                    };
                    pools.insert(entry.name, Arc::new(pool));
                }
            }
        }
        Ok(changed)
    }

    /// Reads what belongs to subscribers for good.
    async fn read_fixed(&self) -> Result<(), DatabaseError> {
        let pools: Vec<Arc<Pool>> = self.inner.pools.read().values().cloned().collect();
        let plans: Vec<Plan> = pools.iter().map(|pool| pool.book.lock().plan().clone()).collect();
        let mut fixed: Vec<Vec<RangeInclusive<u64>>> = vec![Vec::new(); plans.len()];
        let mut take = |one: Assigned| {
            for (plan, fixed) in plans.iter().zip(&mut fixed) {
                fixed.extend(plan.covered(one).filter(|covered| plan.touches(covered)));
            }
        };
        let mut work = self.inner.state.inner.engine.read().await?;
        for column in ["address", "prefix6", "delegated6"] {
            if !plans.iter().any(|plan| (plan.length() == 32) == (column == "address")) {
                continue;
            }
            let sql = format!("SELECT {column} FROM radius_subscriber WHERE {column} IS NOT NULL");
            work.each_of_many(sqlx::AssertSqlSafe(sql), Vec::new(), |row| {
                // What can't be read is reported by who loads subscribers.
                if let Ok(one) = row.text(0)?.parse::<Assigned>() {
                    take(one);
                }
                Ok(())
            })
            .await?;
        }
        // Or among reply items, where an operator's own SQL wrote it.
        let sql = format!("SELECT reply_items FROM radius_subscriber WHERE {MAY_OWN}");
        work.each_of_many(sqlx::AssertSqlSafe(sql), Vec::new(), |row| {
            owned_by_items(&row.text(0)?).into_iter().for_each(&mut take);
            Ok(())
        })
        .await?;
        drop(work);
        for (pool, fixed) in pools.iter().zip(fixed) {
            *pool.fixed.lock() = fixed;
            for (block, fixed) in pool.fixed_in(&pool.blocks()) {
                pool.book.lock().set_fixed(block, &fixed);
            }
        }
        Ok(())
    }

    /// Tells the database what is new, and if it is `due` that there is nothing.
    pub(super) async fn tell(&self, due: bool) -> Result<Telling, DatabaseError> {
        let pools: Vec<Arc<Pool>> = self.inner.pools.read().values().cloned().collect();
        let now = self.now();
        let mut news = Vec::new();
        for pool in pools {
            let mut book = pool.book.lock();
            let plan = book.plan().clone();
            let (fresh, gone) = book.news();
            drop(book);
            news.push(News { pool, plan, fresh, gone });
        }
        if !due && news.iter().all(|news| news.fresh.is_empty() && news.gone.is_empty()) {
            return Ok(Telling::Nothing);
        }
        match self.write_news(&news, now).await? {
            true => {
                news.iter_mut().for_each(News::told);
                Ok(Telling::Everything)
            }
            false => {
                self.inner.fenced.store(true, Ordering::Release);
                for mut one in news {
                    one.told();
                    for block in one.pool.blocks() {
                        one.pool.book.lock().drop_block(block);
                    }
                }
                warn!(
                    server = self.inner.state.server(),
                    "another process runs under this server's name: this one gives out no more addresses. Give each server a name of its own"
                );
                Ok(Telling::Fenced)
            }
        }
    }

    async fn write_news(&self, news: &[News], now: Moment) -> Result<bool, DatabaseError> {
        let mut work = self.inner.state.inner.engine.write().await?;
        let database = dialect::now(&mut work).await?;
        // Offers are rather too old by this: one that seemed younger than the Start that followed it would take the lease from
        // its session.
        let read = self.now();
        let mine = work
            .execute(
                "UPDATE radius_server SET seen = $3 WHERE name = $1 AND incarnation = $2",
                [self.me(), vec![database.into()]].concat(),
            )
            .await?;
        // What was given is written down in any case: somebody has it.
        for News { pool, plan, fresh, gone } in news {
            let gone: Vec<Value> =
                gone.iter().map(|number| plan.assigned(*number).to_string().into()).collect();
            // Of a session whose end is still in the journal the records decide.
            let free = format!("DELETE FROM radius_lease WHERE address IN ({{}}) AND NOT {LIVES}");
            work.execute_in(&free, &[], &gone).await?;
            let rows = fresh
                .iter()
                .map(|fresh| {
                    let past = read.saturating_sub(fresh.since).div_ceil(1000);
                    let left = fresh.until.saturating_sub(now).div_ceil(1000);
                    vec![
                        plan.assigned(fresh.number).to_string().into(),
                        pool.name.as_str().into(),
                        text_of(plan, plan.block_of(fresh.number)).into(),
                        fresh.label.user.as_str().into(),
                        fresh.label.nas.as_str().into(),
                        fresh.line.unwrap_or(0).cast_signed().into(),
                        database.saturating_sub_unsigned(past).into(),
                        database.saturating_add_unsigned(left).into(),
                        0i64.into(),
                    ]
                })
                .collect();
            work.bulk(
                "INSERT INTO radius_lease (address, pool, block, user_name, nas, line, since, expires, released)",
                "ON CONFLICT (address) DO UPDATE SET session = CASE WHEN radius_lease.user_name = excluded.user_name AND radius_lease.since >= excluded.since THEN radius_lease.session END, released = CASE WHEN radius_lease.user_name = excluded.user_name AND radius_lease.since >= excluded.since THEN radius_lease.released ELSE 0 END, expires = CASE WHEN radius_lease.user_name = excluded.user_name AND radius_lease.expires > excluded.expires THEN radius_lease.expires ELSE excluded.expires END, pool = excluded.pool, block = excluded.block, user_name = excluded.user_name, nas = excluded.nas, line = excluded.line, since = excluded.since",
                9,
                rows,
            )
            .await?;
            // Whose Start was written before, by whatever server.
            let keys: Vec<Value> =
                fresh.iter().map(|fresh| plan.assigned(fresh.number).to_string().into()).collect();
            for column in columns(plan) {
                let open = format!(
                    "s.state = 0 AND s.{column} <> '' AND s.{column} = radius_lease.address AND s.user_name = radius_lease.user_name"
                );
                let its = format!(
                    "UPDATE radius_lease SET session = (SELECT s.id FROM radius_session s WHERE {open} ORDER BY s.started DESC LIMIT 1) WHERE session IS NULL AND EXISTS (SELECT 1 FROM radius_session s WHERE {open}) AND address IN ({{}}) RETURNING address"
                );
                let mut attached = Vec::new();
                work.each_in(&its, &[], &keys, |row| {
                    attached.push(row.text(0)?);
                    Ok(())
                })
                .await?;
                self.inner.state.note_attached(attached);
            }
        }
        work.commit().await?;
        Ok(mine > 0)
    }

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

    /// Hears what was given back, whichever server had the Stop, and will ask about it.
    pub(super) async fn hear_releases(&self) -> Result<(), DatabaseError> {
        let mut work = self.inner.state.inner.engine.read().await?;
        let mut released: Vec<(String, String)> = Vec::new();
        work.each(
            "SELECT l.address, l.pool FROM radius_lease l JOIN radius_block b ON b.pool = l.pool AND b.first = l.block WHERE l.released = 1 AND b.owner = $1 LIMIT 10000",
            vec![self.inner.state.server().into()],
            |row| {
                released.push((row.text(0)?, row.text(1)?));
                Ok(())
            },
        )
        .await?;
        drop(work);
        if released.is_empty() {
            return Ok(());
        }
        let mut work = self.inner.state.inner.engine.write().await?;
        let keys: Vec<Value> =
            released.iter().map(|(address, ..)| address.as_str().into()).collect();
        work.execute_in(
            "DELETE FROM radius_lease WHERE released = 1 AND address IN ({})",
            &[],
            &keys,
        )
        .await?;
        work.commit().await?;
        let now = self.now();
        for (address, pool) in released {
            let pool = self.inner.pools.read().get(&pool).cloned();
            if let (Some(pool), Ok(assigned)) = (pool, address.parse::<Assigned>()) {
                let mut book = pool.book.lock();
                if let Some(number) = book.plan().number(assigned) {
                    book.question(number, now);
                }
            }
        }
        Ok(())
    }

    /// Asks the database about what has ended here: another server may have heard of it since.
    pub(super) async fn ask_ended(&self) -> Result<(), DatabaseError> {
        let pools: Vec<Arc<Pool>> = self.inner.pools.read().values().cloned().collect();
        for pool in pools {
            let now = self.now();
            let (plan, ended) = {
                let mut book = pool.book.lock();
                (book.plan().clone(), book.ended(now, MOST_ENDED))
            };
            if ended.is_empty() {
                continue;
            }
            match self.ask_about(&pool, &plan, &ended, now).await {
                Ok(answers) => {
                    let mut book = pool.book.lock();
                    let now = self.now();
                    for (number, answer) in answers {
                        match answer {
                            Answer::Free => book.confirm(number, None, now),
                            Answer::Held(known) => book.confirm(number, Some(known), now),
                            Answer::Unknown => {
                                let then = now.saturating_add(5_000);
                                book.postpone(&[number], then);
                            }
                        }
                    }
                }
                Err(error) => {
                    let numbers: Vec<u64> = ended.iter().map(|ended| ended.number).collect();
                    let then = self.now().saturating_add(5_000);
                    pool.book.lock().postpone(&numbers, then);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn ask_about(
        &self,
        pool: &Pool,
        plan: &Plan,
        ended: &[Ended],
        now: Moment,
    ) -> Result<Vec<(u64, Answer)>, DatabaseError> {
        let mut work = self.inner.state.inner.engine.write().await?;
        let database = dialect::now(&mut work).await?;
        let horizon = heard_until(&mut work, database).await?;
        let until = horizon.until;
        self.note_horizon(horizon, database);
        let keys: Vec<Value> =
            ended.iter().map(|ended| plan.assigned(ended.number).to_string().into()).collect();
        let lease = pool.lease_seconds();
        // What an open session has is its own: NASes that tell nothing between Start and Stop are heard of by this alone.
        work.execute_in(
            "UPDATE radius_lease SET expires = $1 + $2 WHERE expires <= $1 AND released = 0 AND EXISTS (SELECT 1 FROM radius_session s WHERE s.id = radius_lease.session AND s.state = 0) AND address IN ({})",
            &[database.into(), lease.into()],
            &keys,
        )
        .await?;
        // Only what nobody renewed, as far as all servers have told.
        let free = format!(
            "DELETE FROM radius_lease WHERE expires <= $1 AND NOT {LIVES} AND address IN ({{}})"
        );
        work.execute_in(&free, &[until.into()], &keys).await?;
        let of = Of { pool: &pool.name, plan, lease_seconds: lease };
        adopt(&self.inner.state, &mut work, of, &keys, database).await?;
        let mut rows: HashMap<u64, (i64, Known)> = HashMap::new();
        work.each_in(
            "SELECT address, user_name, line, expires, session FROM radius_lease WHERE address IN ({})",
            &[],
            &keys,
            |row| {
                // Also of a range that the pool has no more.
                let covered = row.text(0)?.parse().ok().and_then(|address| plan.covered(address));
                if let Some(number) = covered.map(|covered| *covered.start()) {
                    let known = known(number, &row, database, now)?;
                    rows.insert(number, (row.int(3)?, known));
                }
                Ok(())
            },
        )
        .await?;
        work.commit().await?;
        let at = |then: Moment| database.saturating_sub_unsigned(now.saturating_sub(then) / 1000);
        let answer = |ended: &Ended| {
            // Who may have told of it by then has told of it here.
            let complete = at(ended.until) <= until;
            let answer = match rows.get(&ended.number) {
                Some((expires, known)) if *expires > database && complete => Answer::Held(*known),
                None if complete => Answer::Free,
                _ => Answer::Unknown,
            };
            (ended.number, answer)
        };
        Ok(ended.iter().map(answer).collect())
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
            if got == 0 && spare == 0 && silent {
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
        let lock =
            format!("SELECT name FROM radius_pool WHERE name = $1{}", work.flavour().for_update());
        if work.row(sqlx::AssertSqlSafe(lock), vec![pool.name.as_str().into()]).await?.is_none() {
            return Ok(0);
        }
        let now = dialect::now(&mut work).await?;
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
            "SELECT b.first, CASE WHEN b.owner IS NULL AND b.free_at = 0 THEN CAST(0 AS BIGINT) ELSE CAST(1 AS BIGINT) END FROM radius_block b WHERE b.pool = $1 AND b.free_at < $2 AND (b.owner IS NULL OR b.owner <> $5 OR b.incarnation <> $6) AND (SELECT count(*) FROM radius_lease l WHERE l.pool = b.pool AND l.block = b.first AND l.expires > $2 AND l.released = 0) < $3 ORDER BY b.free_at, b.first LIMIT $4",
            vec![
                pool.name.as_str().into(),
                now.into(),
                size.into(),
                i64::try_from(several).unwrap_or(i64::MAX).into(),
                self.inner.state.server().into(),
                self.inner.incarnation.into(),
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
            "UPDATE radius_block SET owner = $2, incarnation = $3, until = $4, free_at = $5 WHERE pool = $1 AND first IN ({})",
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
            let new: Vec<u64> = plan
                .blocks()
                .filter(|block| !had.contains(block))
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
    async fn give_up_outside(&self, pool: &Arc<Pool>) -> Result<(), DatabaseError> {
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
}
