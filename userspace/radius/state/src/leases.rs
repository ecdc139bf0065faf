//! Addresses and prefixes out of pools, given out of blocks that this server has reserved.
//!
//! A login is answered from memory: no round trip to the database, and it goes on while the database is away, as long as the
//! reservations live. Beside it, [`Leases::keep`] writes down what was given, makes reservations longer, reserves more where
//! little is left and gives back what other servers need. Why nothing is given out twice: see the module `book`.
//!
//! All times in the database are by its clock; in memory they are by a clock that nobody sets. Servers' own clocks may say
//! what they like.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hasher;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;
use muralla_database::{Backoff, DatabaseError, Row, Value, Work, dialect};
use muralla_radius_policy::PoolError;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use tracing::{info, warn};

use crate::addresses::Plan;
use crate::book::{Book, Fresh, Known, Moment, Who};
use crate::interims::UPDATES;
use crate::sessions::port_of;
use crate::state::unix_now;
use crate::stored::{plan, pools, readable_pools};
use crate::{Assigned, PoolEntry, State, StateError};

/// How often it is seen to that there is enough, and that the database knows what was given.
const ROUND: Duration = Duration::from_secs(1);

/// How often the database hears that this server lives, if there is nothing else to tell.
const BEAT: Duration = Duration::from_secs(10);

/// How often what belongs to subscribers for good is read as a whole; changes come by the log.
const READ_FIXED: Duration = Duration::from_secs(3600);

/// Seconds for which a pool counts as wanted after a server found nothing in it.
const WANTED: i64 = 120;

/// Blocks that are reserved in one go at most.
const MOST_BLOCKS: usize = 64;

/// Addresses about which the database is asked in one go at most.
const MOST_ENDED: usize = 1024;

/// Holds of a lease whose session is open: nobody else has its address, however long nothing was heard of it.
pub(crate) const LIVES: &str =
    "EXISTS (SELECT 1 FROM radius_session s WHERE s.id = radius_lease.session AND s.state = 0)";

/// Who holds an address: what tells this login from others.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// The subscriber's name.
    pub user: &'a str,
    /// The NAS's name.
    pub nas: &'a str,
    /// NAS-Port-Id, NAS-Port or Calling-Station-Id: what tells two logins of a user at one NAS apart. Without any, a repeated
    /// login gets another address.
    pub port: Option<&'a str>,
}

/// What an accounting record tells of the session that has something of a pool.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// Time since the session began.
    pub began: Duration,
    /// Time since the record came.
    pub came: Duration,
    /// Whether nothing was heard of the session before: whatever was offered last was offered to it.
    pub first: bool,
}

/// What this server gives out of pools. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Leases {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    incarnation: i64,
    born: Instant,
    pools: RwLock<BTreeMap<String, Arc<Pool>>>,
    /// Another process took this server's name over: nothing is given any more.
    fenced: AtomicBool,
    /// One round at a time.
    round: tokio::sync::Mutex<Round>,
}

#[derive(Debug, Default)]
struct Round {
    told: Option<Instant>,
    fixed_read: Option<Instant>,
    extended: Option<Instant>,
}

#[derive(Debug)]
struct Pool {
    name: String,
    book: Mutex<Book<Label>>,
    /// What belongs to subscribers for good, of this pool.
    fixed: Mutex<Vec<RangeInclusive<u64>>>,
    offer_seconds: AtomicU64,
    lease_seconds: AtomicU64,
    exhausted: AtomicU64,
    conflicts: AtomicU64,
    pace: Mutex<Pace>,
}

/// How many are given out each second, smoothed over some minutes.
#[derive(Debug)]
struct Pace {
    counted: Instant,
    each_second: f64,
}

#[derive(Clone, Debug)]
struct Label {
    user: String,
    nas: String,
}

/// What became of telling.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Telling {
    Everything,
    /// There was nothing to tell.
    Nothing,
    /// Somebody else has this server's name: nothing is ours any more.
    Fenced,
}

/// What the database is to be told of a pool.
struct News {
    pool: Arc<Pool>,
    plan: Plan,
    fresh: Vec<Fresh<Label>>,
    gone: Vec<u64>,
}

/// A pool as this server sees it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// How many it has.
    pub size: u64,
    /// Blocks that this server has reserved.
    pub blocks: u64,
    /// How many this server knows to be held, in those blocks.
    pub held: u64,
    /// How many it can give at once.
    pub spare: u64,
    /// Logins that found nothing left.
    pub exhausted: u64,
    /// Accounting records of somebody who has what was given to another.
    pub conflicts: u64,
}

/// A pool as the database knows it, all servers together.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PoolUse {
    /// Its name.
    pub name: String,
    /// How many it has.
    pub size: u64,
    /// How many are leased.
    pub leased: u64,
    /// Blocks that each server has reserved.
    pub blocks: BTreeMap<String, u64>,
}

/// A server of those that share the database.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ServerEntry {
    /// Its name.
    pub name: String,
    /// When it was last heard of, in seconds since 1970 by the database's clock.
    pub seen: i64,
    /// What it received until then is in the database; none if it takes no accounting, or was forgotten.
    pub exported: Option<i64>,
    /// Blocks of addresses that it has reserved.
    pub blocks: u64,
    /// Whether it is the one that asks.
    pub here: bool,
}

/// A lease in the database.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LeaseEntry {
    /// What is leased.
    pub address: String,
    /// Of which pool.
    pub pool: String,
    /// To whom.
    pub user: String,
    /// At which NAS.
    pub nas: String,
    /// Since when, in seconds since 1970 by the database's clock.
    pub since: i64,
    /// Until when, unless it is renewed.
    pub expires: i64,
}

impl Leases {
    /// Takes up what an earlier life of this server had reserved. From now on an earlier life that still runs gives out
    /// nothing more as soon as it hears of this one.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn start(state: &State) -> Result<Self, StateError> {
        let incarnation = state.watched(async { Ok(next_incarnation(state).await?) }).await?;
        let leases = Self {
            inner: Arc::new(Inner {
                state: state.clone(),
                incarnation,
                born: Instant::now(),
                pools: RwLock::default(),
                fenced: AtomicBool::new(false),
                round: tokio::sync::Mutex::default(),
            }),
        };
        state.watched(async { Ok(leases.resume().await?) }).await?;
        leases.keep().await?;
        Ok(leases)
    }

    /// Something out of a pool for a login. The same login gets the same again, and a user at the same port if possible what
    /// he had there last.
    ///
    /// # Errors
    ///
    /// If there is no such pool, or nothing left of it here.
    pub fn lease(
        &self,
        pool: &str,
        holder: &Holder<'_>,
        now: Instant,
    ) -> Result<Assigned, PoolError> {
        let pool = self.inner.pools.read().get(pool).cloned().ok_or(PoolError::Unknown)?;
        let label = Label { user: holder.user.to_owned(), nas: holder.nas.to_owned() };
        let mut book = pool.book.lock();
        // Asked under the lock: after it nothing may be given of which the database will not hear.
        if self.is_fenced() {
            return Err(PoolError::Away);
        }
        let number = book.lease(who(holder), label, self.moment(now));
        let assigned = number.map(|number| book.plan().assigned(number));
        drop(book);
        assigned.ok_or_else(|| {
            pool.exhausted.fetch_add(1, Ordering::Relaxed);
            if self.inner.state.is_away() { PoolError::Away } else { PoolError::Empty }
        })
    }

    /// An accounting record, of a session that goes on, says that somebody has an address. The database hears of it by
    /// [`State::export`].
    pub fn renew(&self, assigned: Assigned, holder: &Holder<'_>, heard: Heard, now: Instant) {
        let now = self.moment(now);
        let began = if heard.first { Moment::MAX } else { before(now, heard.began) };
        self.with_pool_of(assigned, |pool, book, number| {
            if book.renew(number, who(holder), began, now) {
                pool.conflicts.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// An accounting record, the Stop that ended a session, says that somebody has an address no more. To be called only if
    /// no other session has it.
    pub fn release(&self, assigned: Assigned, holder: &Holder<'_>, heard: Heard, now: Instant) {
        let now = self.moment(now);
        let (began, heard) = (before(now, heard.began), before(now, heard.came));
        self.with_pool_of(assigned, |_, book, number| {
            book.release(number, who(holder), began, heard);
        });
    }

    /// A subscriber has this for good: it is given to nobody else from now on.
    pub fn fix(&self, fixed: Assigned) {
        for pool in self.inner.pools.read().values() {
            let mut book = pool.book.lock();
            if let Some(covered) = book.plan().covered(fixed) {
                book.fix(&covered);
                drop(book);
                pool.fixed.lock().push(covered);
            }
        }
    }

    /// How often a session that has something of a pool should tell of itself, in seconds: three times in a lease.
    #[must_use]
    pub fn interim(&self, pool: &str) -> Option<u32> {
        let pool = self.inner.pools.read().get(pool).cloned()?;
        let seconds = pool.lease_seconds.load(Ordering::Relaxed) / u64::from(UPDATES);
        // RFC 2869 section 5.16: no less than a minute.
        u32::try_from(seconds.max(60)).ok()
    }

    /// All pools, as this server sees them.
    #[must_use]
    pub fn status(&self) -> Vec<PoolStatus> {
        let pools: Vec<Arc<Pool>> = self.inner.pools.read().values().cloned().collect();
        let of = |pool: Arc<Pool>| {
            let book = pool.book.lock();
            PoolStatus {
                name: pool.name.clone(),
                size: book.plan().size(),
                blocks: book.blocks().count() as u64,
                held: book.held() as u64,
                spare: book.spare() as u64,
                exhausted: pool.exhausted.load(Ordering::Relaxed),
                conflicts: pool.conflicts.load(Ordering::Relaxed),
            }
        };
        pools.into_iter().map(of).collect()
    }

    /// Keeps everything in order for ever: a round each second, and while the database is away an attempt now and then.
    /// Ends when it is dropped, or when another process took this server's name over.
    pub async fn run(&self) {
        let mut backoff = Backoff::default();
        while !self.is_fenced() {
            let wait = match self.keep().await {
                Ok(()) => {
                    backoff.succeeded();
                    ROUND
                }
                Err(_) => backoff.failed(rand::random()),
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Whether another process took this server's name over.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.inner.fenced.load(Ordering::Acquire)
    }

    /// One round: tells the database what was given and what is free, hears from it what other servers were told, and sees to
    /// it that enough is reserved.
    ///
    /// # Errors
    ///
    /// If the database is away. What could not be told is told in the next round.
    pub async fn keep(&self) -> Result<(), StateError> {
        let mut round = self.inner.round.lock().await;
        self.inner.state.watched(async { Ok(self.keep_all(&mut round).await?) }).await
    }

    async fn keep_all(&self, round: &mut Round) -> Result<(), DatabaseError> {
        if self.is_fenced() {
            return Ok(());
        }
        let replanned = self.read_pools().await?;
        if replanned || round.fixed_read.is_none_or(|read| read.elapsed() >= READ_FIXED) {
            self.read_fixed().await?;
            round.fixed_read = Some(Instant::now());
        }
        let due = round.told.is_none_or(|told| told.elapsed() >= BEAT);
        match self.tell(due).await? {
            Telling::Fenced => return Ok(()),
            Telling::Everything => round.told = Some(Instant::now()),
            Telling::Nothing => {}
        }
        let hold = self.inner.state.inner.options.hold_blocks;
        let due = (hold / 4).min(Duration::from_secs(60));
        if round.extended.is_none_or(|extended| extended.elapsed() >= due) {
            self.extend(hold).await?;
            round.extended = Some(Instant::now());
        }
        self.hear_releases().await?;
        self.ask_ended().await?;
        let pools: Vec<Arc<Pool>> = self.inner.pools.read().values().cloned().collect();
        for pool in pools {
            self.stock(&pool, hold).await?;
        }
        Ok(())
    }

    /// Takes over the blocks of an earlier life. What it may have offered and not written down rests.
    async fn resume(&self) -> Result<(), DatabaseError> {
        self.read_pools().await?;
        let hold = self.inner.state.inner.options.hold_blocks;
        let before = self.moment(Instant::now());
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
        work.each(
            "SELECT pool, first FROM radius_block WHERE owner = $1",
            vec![self.inner.state.server().into()],
            |row| {
                blocks.push((row.text(0)?, row.text(1)?));
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
            let known = leases_in(&mut work, name, &plan, &own, now, before).await?;
            taken.push((Arc::clone(pool), own, known, offer));
        }
        work.commit().await?;
        let until = before.saturating_add(lifetime(hold));
        for (pool, own, mut known, offer) in taken {
            let rest = self.moment(Instant::now()).saturating_add(offer.saturating_mul(1000));
            for block in own {
                let known = known.remove(&block).unwrap_or_default();
                pool.book.lock().take_block(block, until, Some(rest), known);
            }
        }
        Ok(())
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
                    book.replan(plan, offer * 1000, lease * 1000);
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
        let mut work = self.inner.state.inner.engine.read().await?;
        for column in ["address", "prefix6", "delegated6"] {
            if !plans.iter().any(|plan| (plan.length() == 32) == (column == "address")) {
                continue;
            }
            let sql = format!("SELECT {column} FROM radius_subscriber WHERE {column} IS NOT NULL");
            work.each_of_many(sqlx::AssertSqlSafe(sql), Vec::new(), |row| {
                // What can't be read is reported by who loads subscribers.
                if let Ok(one) = row.text(0)?.parse::<Assigned>() {
                    for (plan, fixed) in plans.iter().zip(&mut fixed) {
                        fixed.extend(plan.covered(one).filter(|covered| plan.touches(covered)));
                    }
                }
                Ok(())
            })
            .await?;
        }
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
    async fn tell(&self, due: bool) -> Result<Telling, DatabaseError> {
        let pools: Vec<Arc<Pool>> = self.inner.pools.read().values().cloned().collect();
        let now = self.moment(Instant::now());
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
        match self.write_news(&news, now).await {
            Ok(true) => Ok(Telling::Everything),
            Ok(false) => {
                self.inner.fenced.store(true, Ordering::Release);
                for one in news {
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
            Err(error) => {
                for one in news {
                    one.pool.book.lock().untold(one.fresh, one.gone);
                }
                Err(error)
            }
        }
    }

    async fn write_news(&self, news: &[News], now: Moment) -> Result<bool, DatabaseError> {
        let mut work = self.inner.state.inner.engine.write().await?;
        let database = dialect::now(&mut work).await?;
        // Offers are rather too old by this: one that seemed younger than the Start that followed it would take the lease from
        // its session.
        let read = self.moment(Instant::now());
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
            // Of a session whose end is still in the journal, or which began elsewhere meanwhile, the records decide.
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
                "ON CONFLICT (address) DO UPDATE SET session = CASE WHEN radius_lease.user_name = excluded.user_name AND radius_lease.since >= excluded.since THEN radius_lease.session END, expires = CASE WHEN radius_lease.user_name = excluded.user_name AND radius_lease.expires > excluded.expires THEN radius_lease.expires ELSE excluded.expires END, pool = excluded.pool, block = excluded.block, user_name = excluded.user_name, nas = excluded.nas, line = excluded.line, since = excluded.since, released = 0",
                9,
                rows,
            )
            .await?;
        }
        work.commit().await?;
        Ok(mine > 0)
    }

    /// Makes the reservations longer. What is no more ours is given up.
    async fn extend(&self, hold: Duration) -> Result<(), DatabaseError> {
        let before = self.moment(Instant::now());
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

    /// Hears what other servers had a Stop of.
    async fn hear_releases(&self) -> Result<(), DatabaseError> {
        let mut work = self.inner.state.inner.engine.read().await?;
        let mut released: Vec<(String, String, String)> = Vec::new();
        work.each(
            "SELECT l.address, l.pool, l.user_name FROM radius_lease l JOIN radius_block b ON b.pool = l.pool AND b.first = l.block WHERE l.released = 1 AND b.owner = $1 LIMIT 10000",
            vec![self.inner.state.server().into()],
            |row| {
                released.push((row.text(0)?, row.text(1)?, row.text(2)?));
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
        for (address, pool, user) in released {
            let pool = self.inner.pools.read().get(&pool).cloned();
            if let (Some(pool), Ok(assigned)) = (pool, address.parse::<Assigned>()) {
                let mut book = pool.book.lock();
                if let Some(number) = book.plan().number(assigned) {
                    book.released(number, hash(&[&user]));
                }
            }
        }
        Ok(())
    }

    /// Asks the database about what has ended here: another server may have heard of it since.
    async fn ask_ended(&self) -> Result<(), DatabaseError> {
        let pools: Vec<Arc<Pool>> = self.inner.pools.read().values().cloned().collect();
        for pool in pools {
            let now = self.moment(Instant::now());
            let (plan, ended) = {
                let mut book = pool.book.lock();
                (book.plan().clone(), book.ended(now, MOST_ENDED))
            };
            if ended.is_empty() {
                continue;
            }
            match self.ask_about(&plan, &ended, now).await {
                Ok(answers) => {
                    let mut book = pool.book.lock();
                    let now = self.moment(Instant::now());
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
                    let numbers: Vec<u64> = ended.iter().map(|(number, _)| *number).collect();
                    let then = self.moment(Instant::now()).saturating_add(5_000);
                    pool.book.lock().postpone(&numbers, then);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn ask_about(
        &self,
        plan: &Plan,
        ended: &[(u64, Moment)],
        now: Moment,
    ) -> Result<Vec<(u64, Answer)>, DatabaseError> {
        let mut work = self.inner.state.inner.engine.write().await?;
        let database = dialect::now(&mut work).await?;
        let horizon = heard_until(&mut work, database).await?;
        let keys: Vec<Value> =
            ended.iter().map(|(number, _)| plan.assigned(*number).to_string().into()).collect();
        // What an open session has is its own: NASes that tell nothing between Start and Stop are heard of by this alone.
        let renew = format!(
            "UPDATE radius_lease SET expires = $2 + coalesce((SELECT p.lease_seconds FROM radius_pool p WHERE p.name = radius_lease.pool), 3600) WHERE expires <= $1 AND released = 0 AND {LIVES} AND address IN ({{}})"
        );
        work.execute_in(&renew, &[horizon.into(), database.into()], &keys).await?;
        // Only what nobody renewed, as far as all servers have told.
        work.execute_in(
            "DELETE FROM radius_lease WHERE expires <= $1 AND address IN ({})",
            &[horizon.into()],
            &keys,
        )
        .await?;
        let mut rows: HashMap<u64, (i64, Known)> = HashMap::new();
        work.each_in(
            "SELECT address, user_name, nas, line, expires FROM radius_lease WHERE address IN ({})",
            &[],
            &keys,
            |row| {
                let address = row.text(0)?.parse::<Assigned>();
                if let Some(number) = address.ok().and_then(|address| plan.number(address)) {
                    let known = known(number, &row, 1, database, now)?;
                    rows.insert(number, (row.int(4)?, known));
                }
                Ok(())
            },
        )
        .await?;
        work.commit().await?;
        let answer = |(number, until): &(u64, Moment)| {
            let past = now.saturating_sub(*until) / 1000;
            let ended = database.saturating_sub_unsigned(past);
            let answer = match rows.get(number) {
                Some((expires, known)) if *expires > database => Answer::Held(*known),
                Some(_) => Answer::Unknown,
                None if ended > horizon => Answer::Unknown,
                None => Answer::Free,
            };
            (*number, answer)
        };
        Ok(ended.iter().map(answer).collect())
    }

    /// Sees to it that a pool's blocks here are enough, and not too many.
    async fn stock(&self, pool: &Arc<Pool>, hold: Duration) -> Result<(), DatabaseError> {
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
        let before = self.moment(Instant::now());
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
                if let Some(block) = first_of(&plan, &row.text(0)?) {
                    // Who had it before did not give it back: the database is asked about everything in it first.
                    let left = row.int(1)? != 0;
                    taken.push((block, left.then_some(before)));
                }
                Ok(())
            },
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
        let mut known = leases_in(&mut work, &pool.name, &plan, &blocks, now, before).await?;
        work.commit().await?;
        let until = before.saturating_add(lifetime(hold));
        let fixed = pool.fixed_in(&blocks);
        for (block, rest) in &taken {
            let known = known.remove(block).unwrap_or_default();
            let mut book = pool.book.lock();
            book.take_block(*block, until, *rest, known);
            book.set_fixed(*block, fixed.get(block).map(Vec::as_slice).unwrap_or_default());
        }
        Ok(taken.len())
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

    fn with_pool_of(&self, assigned: Assigned, work: impl FnOnce(&Pool, &mut Book<Label>, u64)) {
        for pool in self.inner.pools.read().values() {
            let mut book = pool.book.lock();
            if let Some(number) = book.plan().number(assigned) {
                return work(pool, &mut book, number);
            }
        }
    }

    fn me(&self) -> Vec<Value> {
        vec![self.inner.state.server().into(), self.inner.incarnation.into()]
    }

    fn moment(&self, now: Instant) -> Moment {
        let since = now.saturating_duration_since(self.inner.born).as_millis();
        // Zero is what was before.
        u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn problem(&self, problem: String) {
        self.inner.state.note_following(|following| following.note_problem(problem));
    }
}

impl muralla_radius_policy::Pools for Leases {
    fn address(
        &self,
        pool: &str,
        holder: &muralla_radius_policy::Holder<'_>,
    ) -> Result<Ipv4Addr, PoolError> {
        match self.lease_for(pool, holder)? {
            Assigned::V4(address) => Ok(address),
            // One of prefixes is no pool of addresses.
            Assigned::V6(_) => Err(PoolError::Unknown),
        }
    }

    fn prefix(
        &self,
        pool: &str,
        holder: &muralla_radius_policy::Holder<'_>,
    ) -> Result<Ipv6Net, PoolError> {
        match self.lease_for(pool, holder)? {
            Assigned::V6(prefix) => Ok(prefix),
            Assigned::V4(_) => Err(PoolError::Unknown),
        }
    }

    fn interim(&self, pool: &str) -> Option<u32> {
        self.interim(pool)
    }
}

impl Leases {
    fn lease_for(
        &self,
        pool: &str,
        holder: &muralla_radius_policy::Holder<'_>,
    ) -> Result<Assigned, PoolError> {
        let port = port_of(holder.port_id, holder.port, holder.station);
        let holder = Holder { user: holder.user, nas: holder.nas, port: port.as_deref() };
        self.lease(pool, &holder, Instant::now())
    }
}

impl State {
    /// All pools, as the database knows them.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn pool_use(&self) -> Result<Vec<PoolUse>, StateError> {
        self.watched(async {
            let mut work = self.inner.engine.read().await?;
            let mut all: Vec<PoolUse> = pools(&mut work)
                .await?
                .into_iter()
                .map(|pool| PoolUse {
                    size: plan(&pool).map_or(0, |plan| plan.size()),
                    name: pool.name,
                    leased: 0,
                    blocks: BTreeMap::new(),
                })
                .collect();
            work.each(
                "SELECT pool, count(*) FROM radius_lease WHERE released = 0 GROUP BY pool",
                Vec::new(),
                |row| {
                    let (name, leased) = (row.text(0)?, row.int(1)?);
                    if let Some(pool) = all.iter_mut().find(|pool| pool.name == name) {
                        pool.leased = leased.max(0).cast_unsigned();
                    }
                    Ok(())
                },
            )
            .await?;
            work.each(
                "SELECT pool, owner, count(*) FROM radius_block WHERE owner IS NOT NULL GROUP BY pool, owner",
                Vec::new(),
                |row| {
                    let (name, owner, blocks) = (row.text(0)?, row.text(1)?, row.int(2)?);
                    if let Some(pool) = all.iter_mut().find(|pool| pool.name == name) {
                        pool.blocks.insert(owner, blocks.max(0).cast_unsigned());
                    }
                    Ok(())
                },
            )
            .await?;
            Ok(all)
        })
        .await
    }

    /// At most `most` leases after an address, in the order of their texts, of one pool or of all.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn leases(
        &self,
        pool: Option<&str>,
        after: &str,
        most: u32,
    ) -> Result<Vec<LeaseEntry>, StateError> {
        let sql = "SELECT address, pool, user_name, nas, since, expires FROM radius_lease WHERE released = 0 AND address > $1 AND ($2 = '' OR pool = $2) ORDER BY address LIMIT $3";
        let values = vec![after.into(), pool.unwrap_or_default().into(), i64::from(most).into()];
        self.select(sql, values, |row| {
            Ok(LeaseEntry {
                address: row.text(0)?,
                pool: row.text(1)?,
                user: row.text(2)?,
                nas: row.text(3)?,
                since: row.int(4)?,
                expires: row.int(5)?,
            })
        })
        .await
    }

    /// All servers that share the database, in the order of their names.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn servers(&self) -> Result<Vec<ServerEntry>, StateError> {
        let sql = "SELECT s.name, s.seen, s.exported, (SELECT count(*) FROM radius_block b WHERE b.owner = s.name AND b.until >= s.seen) FROM radius_server s ORDER BY s.name";
        self.select(sql, Vec::new(), |row| {
            let name = row.text(0)?;
            Ok(ServerEntry {
                here: name == self.server(),
                name,
                seen: row.int(1)?,
                exported: Some(row.int(2)?).filter(|exported| *exported > 0),
                blocks: row.int(3)?.max(0).cast_unsigned(),
            })
        })
        .await
    }

    /// A server will never come back: what it had reserved is free for others when its last offers have ended. Tells how many
    /// blocks it had.
    ///
    /// # Errors
    ///
    /// If it is this server, it was heard of in the last minute, or the database is away.
    pub async fn forget_server(&self, name: &str) -> Result<u64, StateError> {
        let invalid = |reason: &str| Err(StateError::invalid(format!("server {name}"), reason));
        if name == self.server() {
            return invalid("this is the server itself: stop it, and forget it from another one");
        }
        self.watched(async {
            let mut work = self.inner.engine.write().await?;
            let now = dialect::now(&mut work).await?;
            let seen = work.row("SELECT seen FROM radius_server WHERE name = $1", vec![name.into()]).await?;
            let Some(seen) = seen else {
                return Err(StateError::Missing { kind: "server", name: name.to_owned() });
            };
            if seen.int(0)? > now.saturating_sub(60) {
                return invalid("it was heard of in the last minute: stop it first");
            }
            // An earlier incarnation of it that is cut off gives out until its reservation ends, so its number rises as well.
            work.execute(
                "UPDATE radius_server SET incarnation = incarnation + 1, exported = 0 WHERE name = $1",
                vec![name.into()],
            )
            .await?;
            let blocks = work
                .execute(
                    "UPDATE radius_block SET until = $2, free_at = $2 + (SELECT coalesce(max(offer_seconds), 0) FROM radius_pool) WHERE owner = $1",
                    vec![name.into(), now.into()],
                )
                .await?;
            work.commit().await?;
            Ok(blocks)
        })
        .await
    }
}

impl Pool {
    fn blocks(&self) -> Vec<u64> {
        self.book.lock().blocks().map(|(block, _)| block).collect()
    }

    /// What belongs to subscribers, of each of these blocks.
    fn fixed_in(&self, blocks: &[u64]) -> BTreeMap<u64, Vec<RangeInclusive<u64>>> {
        let plan = self.book.lock().plan().clone();
        let mut of: BTreeMap<u64, Vec<_>> =
            blocks.iter().map(|block| (*block, Vec::new())).collect();
        for covered in &*self.fixed.lock() {
            let (start, end) = (*covered.start(), *covered.end());
            if start > end {
                continue;
            }
            for (_, fixed) in of.range_mut(plan.block_of(start)..=end) {
                fixed.push(covered.clone());
            }
        }
        of
    }
}

impl Pace {
    fn count(&mut self, given: u64, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.counted).as_secs_f64();
        if passed > 0.0 {
            self.counted = now;
            let share = (passed / 120.0).min(1.0);
            self.each_second += (given as f64 / passed - self.each_second) * share;
        }
        self.each_second
    }
}

/// What the database says of something whose time has ended here.
enum Answer {
    Free,
    Held(Known),
    /// Some server has not told everything yet.
    Unknown,
}

/// The number of this life of the server.
async fn next_incarnation(state: &State) -> Result<i64, DatabaseError> {
    let mut work = state.inner.engine.write().await?;
    let now = dialect::now(&mut work).await?;
    work.execute(
        "INSERT INTO radius_server (name, incarnation, seen) VALUES ($1, 1, $2) ON CONFLICT (name) DO UPDATE SET incarnation = radius_server.incarnation + 1, seen = excluded.seen",
        vec![state.server().into(), now.into()],
    )
    .await?;
    let incarnation = work
        .number(
            "SELECT incarnation FROM radius_server WHERE name = $1",
            vec![state.server().into()],
        )
        .await?;
    work.commit().await?;
    info!(server = state.server(), incarnation, at = unix_now(), "this server has joined");
    Ok(incarnation)
}

/// Up to when the database knows everything that any server was told: what has expired after that may have been renewed by a
/// record that still lies in a journal. A server that has been silent for a day is not waited for.
pub(crate) async fn heard_until(work: &mut Work, now: i64) -> Result<i64, DatabaseError> {
    let row = work
        .row(
            "SELECT CAST(min(exported) AS BIGINT) FROM radius_server WHERE exported > 0 AND seen > $1",
            vec![now.saturating_sub(86_400).into()],
        )
        .await?;
    let exported = row.map(|row| row.int_or_none(0)).transpose()?.flatten();
    Ok(exported.map_or(now, |exported| exported.min(now)))
}

/// The leases in some blocks, by block. What was given back is forgotten.
async fn leases_in(
    work: &mut Work,
    pool: &str,
    plan: &Plan,
    blocks: &[u64],
    now: i64,
    moment: Moment,
) -> Result<HashMap<u64, Vec<Known>>, DatabaseError> {
    let keys: Vec<Value> = blocks.iter().map(|block| text_of(plan, *block).into()).collect();
    let of = [Value::from(pool)];
    work.execute_in(
        "DELETE FROM radius_lease WHERE released = 1 AND pool = $1 AND block IN ({})",
        &of,
        &keys,
    )
    .await?;
    let mut leases: HashMap<u64, Vec<Known>> = HashMap::new();
    work.each_in(
        "SELECT address, user_name, nas, line, expires FROM radius_lease WHERE pool = $1 AND block IN ({})",
        &of,
        &keys,
        |row| {
            let assigned = row.text(0)?.parse::<Assigned>();
            // Outside of the pool's ranges there is nothing to give out either.
            if let Some(number) = assigned.ok().and_then(|assigned| plan.number(assigned)) {
                let known = known(number, &row, 1, now, moment)?;
                leases.entry(plan.block_of(number)).or_default().push(known);
            }
            Ok(())
        },
    )
    .await?;
    Ok(leases)
}

/// What a row says of a lease: user, NAS, line and end, from column `first` on.
fn known(
    number: u64,
    row: &Row,
    first: usize,
    now: i64,
    moment: Moment,
) -> Result<Known, DatabaseError> {
    let (user, nas) = (row.text(first)?, row.text(first + 1)?);
    let (line, expires) = (row.int(first + 2)?, row.int(first + 3)?);
    let left = expires.saturating_sub(now).max(0).cast_unsigned();
    let line = (line != 0).then_some(line.cast_unsigned());
    Ok(Known {
        number,
        who: Who { user: hash(&[&user]), nas: hash(&[&nas]), line },
        until: moment.saturating_add(left.saturating_mul(1000)),
        learnt: moment,
    })
}

fn who(holder: &Holder<'_>) -> Who {
    let line = holder.port.map(|port| line_of(holder.user, holder.nas, port));
    Who { user: hash(&[holder.user]), nas: hash(&[holder.nas]), line }
}

/// What tells logins apart, as a number; never zero.
pub(crate) fn line_of(user: &str, nas: &str, port: &str) -> u64 {
    hash(&[user, nas, port]).max(1)
}

/// The same on every server, for it lies in the database.
fn hash(texts: &[&str]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x6d75_7261_6c6c_6121, 0x7261_6469_7573_2121);
    for text in texts {
        hasher.write_u64(text.len() as u64);
        hasher.write(text.as_bytes());
    }
    hasher.finish()
}

/// A block's name in the database: what its first number stands for.
pub(crate) fn text_of(plan: &Plan, block: u64) -> String {
    plan.assigned(block).to_string()
}

/// The first number of a block, by its name.
fn first_of(plan: &Plan, text: &str) -> Option<u64> {
    let covered = plan.covered(text.parse().ok()?)?;
    let first = *covered.start();
    (plan.block_of(first) == first).then_some(first)
}

fn before(now: Moment, ago: Duration) -> Moment {
    now.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX / 4)
}

/// How long a reservation counts here: a second less than in the database, which rounds its clock.
fn lifetime(hold: Duration) -> u64 {
    u64::try_from(hold.as_millis()).unwrap_or(u64::MAX / 4).saturating_sub(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_names() {
        let plan = Plan::new(32, 4, ["192.0.2.1-192.0.2.99"]).unwrap();
        for block in plan.blocks() {
            assert_eq!(first_of(&plan, &text_of(&plan, block)), Some(block));
        }
        assert_eq!(
            text_of(&plan, plan.blocks().next().unwrap()),
            "192.0.2.0",
            "outside, but the block's name"
        );
        assert_eq!(first_of(&plan, "192.0.2.1"), None);
        assert_eq!(first_of(&plan, "nonsense"), None);
        let plan = Plan::new(56, 4, ["2001:db8::/40"]).unwrap();
        assert_eq!(first_of(&plan, "2001:db8:0:400::/56"), Some(plan.blocks().nth(1).unwrap()));
    }

    #[test]
    fn hashes_are_the_same_for_ever() {
        // They lie in databases.
        assert_eq!(hash(&["ann"]), hash(&["ann"]));
        assert_ne!(hash(&["ann", "a"]), hash(&["an", "na"]));
        assert_ne!(line_of("ann", "lns", "1"), line_of("ann", "lns1", ""));
    }

    #[test]
    fn a_pace_is_smoothed() {
        let begin = Instant::now();
        let mut pace = Pace { counted: begin, each_second: 0.0 };
        for second in 1..=1200 {
            pace.count(10, begin + Duration::from_secs(second));
        }
        assert!((pace.each_second - 10.0).abs() < 0.1, "{pace:?}");
        pace.count(0, begin + Duration::from_secs(1201));
        assert!(pace.each_second > 9.0);
    }
}
