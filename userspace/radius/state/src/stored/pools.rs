//! Pools in the database: entered, listed, and removed when nobody has anything of them.
//!
//! An address may go from one pool to another when nobody has it, and no server may give it out of the former. Both are known
//! only as far as all servers have told: see [`heard_until`].

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use muralla_database::{DatabaseError, Row, Work, dialect};
use sqlx::AssertSqlSafe;

use super::{entries, small};
use crate::addresses::Plan;
use crate::interims;
use crate::leases::{Horizon, LIVES, first_of, heard_until};
use crate::{Assigned, PoolEntry, State, StateError};

/// Seconds after which a server that was not heard of may be away.
const AWAY: i64 = 60;

/// What became of removing a pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Removal {
    /// It is gone.
    Done,
    /// There is none.
    Missing,
    /// It has no ranges any more, and these servers have not said yet that they give nothing of it. They do within seconds: ask
    /// again then.
    Waits(Vec<String>),
}

/// A block of another pool that has something of a pool, and out of which its owner may have given something that nobody has
/// told yet.
#[derive(Clone, Debug)]
pub(crate) struct Reserved {
    /// What of it is in question, in the numbers of the pool.
    pub(crate) numbers: RangeInclusive<u64>,
    /// The block.
    pub(crate) first: String,
    /// The other pool.
    pub(crate) pool: String,
    /// The server.
    pub(crate) owner: String,
}

impl State {
    /// Enters a pool, new or instead of the one of that name. What is given out already stays so. Tells whose sessions are
    /// heard of too seldom for its leases.
    ///
    /// # Errors
    ///
    /// If it makes no sense, overlaps another pool, would change the size of its blocks, somebody has something of what is new in
    /// it, or the database is away.
    pub async fn put_pool(&self, entry: &PoolEntry) -> Result<Vec<String>, StateError> {
        self.watched(async {
            let mut work = self.inner.engine.write().await?;
            // One operator after the other: what two enter at once may overlap.
            dialect::alone(&mut work).await?;
            let notes = enter_pool(&mut work, entry).await?;
            work.commit().await?;
            Ok(notes)
        })
        .await
    }

    /// Removes a pool of which nobody has anything. First its ranges go, so that servers give nothing of it any more; when none
    /// has any of it reserved, the pool goes: ask again while this says [`Removal::Waits`]. By `force` it goes at once. What is
    /// given out stays in use then until its sessions end, but nobody knows of it any more: another pool may give it to
    /// somebody else.
    ///
    /// # Errors
    ///
    /// If something is given out or a server that is away may give something, and it is not by force; or the database is
    /// away.
    pub async fn remove_pool(&self, name: &str, force: bool) -> Result<Removal, StateError> {
        self.watched(async {
            let mut work = self.inner.engine.write().await?;
            dialect::alone(&mut work).await?;
            // Servers that reserve something of it come before this, or find no ranges.
            let lock = format!(
                "SELECT name FROM radius_pool WHERE name = $1{}",
                work.flavour().for_update()
            );
            let known = work.row(AssertSqlSafe(lock), vec![name.into()]).await?.is_some();
            if known && !force {
                let waits = servers_of(&mut work, name).await?;
                if !waits.is_empty() {
                    let sql = "DELETE FROM radius_pool_range WHERE pool = $1";
                    work.execute(sql, vec![name.into()]).await?;
                    work.commit().await?;
                    return Ok(Removal::Waits(waits));
                }
            }
            for table in ["radius_lease", "radius_block"] {
                let sql = format!("DELETE FROM {table} WHERE pool = $1");
                work.execute(AssertSqlSafe(sql), vec![name.into()]).await?;
            }
            work.execute("DELETE FROM radius_pool WHERE name = $1", vec![name.into()]).await?;
            work.commit().await?;
            Ok(if known { Removal::Done } else { Removal::Missing })
        })
        .await
    }

    /// All pools, in the order of their names.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn pools(&self) -> Result<Vec<PoolEntry>, StateError> {
        self.watched(async {
            let mut work = self.inner.engine.read().await?;
            Ok(pools(&mut work).await?)
        })
        .await
    }
}

/// The servers that may give out of a pool still.
///
/// # Errors
///
/// If somebody has something of it, or one of them is away.
async fn servers_of(work: &mut Work, name: &str) -> Result<Vec<String>, StateError> {
    let invalid = |reason: String| Err(StateError::invalid(format!("pool {name}"), reason));
    let now = dialect::now(work).await?;
    let horizon = heard_until(work, now).await?;
    let in_use = format!(
        "SELECT count(*) FROM radius_lease WHERE pool = $1 AND released = 0 AND (expires > $2 OR {LIVES})"
    );
    let mut counts = [0; 2];
    for (count, until) in counts.iter_mut().zip([now, horizon.until]) {
        let values = vec![name.into(), until.into()];
        *count = work.number(AssertSqlSafe(in_use.clone()), values).await?;
    }
    let [live, unheard] = counts;
    if live > 0 {
        return invalid(format!(
            "{live} of it are in use: give the profiles and subscribers that have it another pool, and wait until their sessions \
             and offers have ended, or disconnect them; --force removes it at once, and nobody knows any more who has what"
        ));
    }
    if unheard > 0 {
        let why = unheard_of(&horizon, now);
        return invalid(format!(
            "{unheard} of it may be in use: {why}; --force removes it at once"
        ));
    }
    let mut servers: BTreeMap<String, i64> = BTreeMap::new();
    work.each(
        "SELECT b.owner, s.seen FROM radius_block b JOIN radius_server s ON s.name = b.owner WHERE b.pool = $1 AND b.free_at > $2 AND b.incarnation >= 0",
        vec![name.into(), horizon.until.into()],
        |row| {
            servers.insert(row.text(0)?, row.int(1)?);
            Ok(())
        },
    )
    .await?;
    // One that is cut off goes on giving out of what it has reserved.
    if let Some((server, _)) = servers.iter().find(|(_, seen)| **seen < now.saturating_sub(AWAY)) {
        return invalid(format!(
            "server {server} has reserved some of it and was not heard of for a minute: it may still give it out, or not have told \
             what it gave. Start it, or wait until `muralla radius server list` shows that it is there; if it will never come back, \
             `muralla radius server forget {server}`; --force removes the pool at once"
        ));
    }
    Ok(servers.into_keys().collect())
}

/// Why it is not known whether somebody has what was given to him, and what to do.
fn unheard_of(horizon: &Horizon, now: i64) -> String {
    match &horizon.last {
        Some((server, seen)) if *seen < now.saturating_sub(AWAY) => format!(
            "server {server} was not heard of for {} min, and may have been told so. Bring it back, or if it is gone for good, \
             `muralla radius server forget {server}`",
            now.saturating_sub(*seen) / 60
        ),
        _ => "it was given back a moment ago, and not all servers have told what they know. Try again in a few seconds".to_owned(),
    }
}

/// Enters a pool; see [`State::put_pool`].
pub(super) async fn enter_pool(
    work: &mut Work,
    entry: &PoolEntry,
) -> Result<Vec<String>, StateError> {
    let invalid = |reason: String| StateError::invalid(format!("pool {}", entry.name), reason);
    if entry.name.is_empty() {
        return Err(invalid("it has no name: give it one".into()));
    }
    if entry.lease_seconds == 0 || entry.offer_seconds == 0 {
        return Err(invalid("a lease and an offer live for one second at least".into()));
    }
    let ranges = || entry.ranges.iter().map(String::as_str);
    let size = Plan::new(entry.length, 1, ranges()).map_err(invalid)?.size();
    let mut known = None;
    for other in pools(work).await? {
        if other.name == entry.name {
            known = Some(other);
            continue;
        }
        let (Ok(ours), Ok(others)) = (Plan::new(entry.length, 1, ranges()), plan(&other)) else {
            continue;
        };
        if let Some(shared) = ours.overlap(&others) {
            let name = other.name;
            return Err(invalid(format!("{shared} is in pool {name} as well: take it out of one")));
        }
    }
    let fitting = || u16::try_from(Plan::fitting_block(size)).unwrap_or(256);
    let block = match &known {
        Some(known) => {
            let block = known.block.unwrap_or_default();
            if known.length != entry.length || entry.block.is_some_and(|wanted| wanted != block) {
                return Err(invalid(
                    "its length and block are fixed, because servers work by them: remove it, or make another"
                        .into(),
                ));
            }
            block
        }
        None => entry.block.unwrap_or_else(fitting),
    };
    let new = Plan::new(entry.length, block.into(), ranges()).map_err(invalid)?;
    let had = known.and_then(|known| plan(&known).ok());
    let gained = had.map_or_else(|| new.clone(), |had| new.beyond(&had));
    refuse_used(work, &entry.name, &gained).await?;
    work.execute(
        "INSERT INTO radius_pool (name, length, block, lease_seconds, offer_seconds, note) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO UPDATE SET lease_seconds = excluded.lease_seconds, offer_seconds = excluded.offer_seconds, note = excluded.note",
        vec![
            entry.name.as_str().into(),
            i64::from(entry.length).into(),
            i64::from(block).into(),
            i64::from(entry.lease_seconds).into(),
            i64::from(entry.offer_seconds).into(),
            entry.note.clone().into(),
        ],
    )
    .await?;
    work.execute("DELETE FROM radius_pool_range WHERE pool = $1", vec![entry.name.as_str().into()])
        .await?;
    let rows = ranges().map(|range| vec![entry.name.as_str().into(), range.into()]).collect();
    work.bulk("INSERT INTO radius_pool_range (pool, addresses)", "", 2, rows).await?;
    let notes = interims::too_slow(std::slice::from_ref(entry), &entries(work).await?);
    Ok(notes)
}

/// Refuses what a pool gains while somebody has something of it, or may be given it, out of another pool that had it before.
async fn refuse_used(work: &mut Work, name: &str, gained: &Plan) -> Result<(), StateError> {
    if gained.size() == 0 {
        return Ok(());
    }
    let now = dialect::now(work).await?;
    let horizon = heard_until(work, now).await?;
    let mut used: Option<(String, String, bool)> = None;
    let sql = format!(
        "SELECT address, pool, CASE WHEN expires > $3 OR {LIVES} THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END FROM radius_lease WHERE pool <> $1 AND released = 0 AND (expires > $2 OR {LIVES})"
    );
    let values = vec![name.into(), horizon.until.into(), now.into()];
    work.each_of_many(AssertSqlSafe(sql), values, |row| {
        let address = row.text(0)?;
        let covered = address.parse::<Assigned>().ok().and_then(|given| gained.covered(given));
        if covered.is_some_and(|covered| gained.touches(&covered)) {
            let is_live = row.int(2)? != 0;
            // Of several, one that is certain.
            if used.as_ref().is_none_or(|(_, _, certain)| is_live && !certain) {
                used = Some((address, row.text(1)?, is_live));
            }
        }
        Ok(())
    })
    .await?;
    let invalid = |reason: String| Err(StateError::invalid(format!("pool {name}"), reason));
    match used {
        Some((address, pool, true)) => {
            return invalid(format!(
                "somebody has {address} still, out of pool {pool}: wait until its sessions and offers have ended, or disconnect them"
            ));
        }
        Some((address, pool, false)) => {
            let why = unheard_of(&horizon, now);
            return invalid(format!(
                "somebody may have {address} still, out of pool {pool}: {why}"
            ));
        }
        None => {}
    }
    let reserved = reserved_elsewhere(work, name, gained, horizon.until).await?;
    match reserved.into_iter().next() {
        None => Ok(()),
        Some(Reserved { first, pool, owner, .. }) => invalid(format!(
            "server {owner} has {first} reserved for pool {pool} still: it gives that up within seconds of the range's leaving that \
             pool, if nobody has any of the range. Try again then; if the server will never come back, `muralla radius server forget \
             {owner}`"
        )),
    }
}

/// The blocks of other pools that have something of a plan, and out of which their owners may have given it after `heard`, up to
/// when all servers have told what they know. Of a block of which its owner has nothing but what the other pool has, none of
/// that is meant.
pub(crate) async fn reserved_elsewhere(
    work: &mut Work,
    name: &str,
    wanted: &Plan,
    heard: i64,
) -> Result<Vec<Reserved>, DatabaseError> {
    let (others, _) = readable_pools(work).await?;
    let others: HashMap<String, (Plan, i64)> = others
        .into_iter()
        .filter_map(|other| {
            let plan = plan(&other).ok()?;
            let fingerprint = plan.fingerprint();
            Some((other.name, (plan, fingerprint)))
        })
        .collect();
    let mut reserved = Vec::new();
    work.each(
        "SELECT pool, first, owner, trimmed FROM radius_block WHERE pool <> $1 AND owner IS NOT NULL AND incarnation >= 0 AND free_at > $2",
        vec![name.into(), heard.into()],
        |row| {
            let (pool, first) = (row.text(0)?, row.text(1)?);
            let Some((other, fingerprint)) = others.get(&pool) else { return Ok(()) };
            let Some(block) = first_of(other, &first) else { return Ok(()) };
            if row.int(3)? == *fingerprint {
                return Ok(());
            }
            let ends = [block, other.last_of(block)].map(|number| wanted.covered(other.assigned(number)));
            if let [Some(start), Some(end)] = ends {
                let numbers = *start.start()..=*end.end();
                if wanted.touches(&numbers) {
                    reserved.push(Reserved { numbers, first, pool, owner: row.text(2)? });
                }
            }
            Ok(())
        },
    )
    .await?;
    Ok(reserved)
}

/// All pools with their ranges.
pub(crate) async fn pools(work: &mut Work) -> Result<Vec<PoolEntry>, DatabaseError> {
    let mut pools: Vec<PoolEntry> = Vec::new();
    work.each(POOLS, Vec::new(), |row| add_pool(&mut pools, &row)).await?;
    Ok(pools)
}

/// The pools whose rows can be read; and of the others the names, and what is wrong.
pub(crate) async fn readable_pools(
    work: &mut Work,
) -> Result<(Vec<PoolEntry>, BTreeMap<String, String>), DatabaseError> {
    let (mut pools, mut problems) = (Vec::new(), BTreeMap::new());
    work.each(POOLS, Vec::new(), |row| {
        if let Err(error) = add_pool(&mut pools, &row) {
            problems.entry(row.text(0).unwrap_or_default()).or_insert_with(|| error.to_string());
        }
        Ok(())
    })
    .await?;
    pools.retain(|pool| !problems.contains_key(&pool.name));
    Ok((pools, problems))
}

const POOLS: &str = "SELECT p.name, p.length, p.block, p.lease_seconds, p.offer_seconds, p.note, r.addresses FROM radius_pool p LEFT JOIN radius_pool_range r ON r.pool = p.name ORDER BY p.name, r.addresses";

fn add_pool(pools: &mut Vec<PoolEntry>, row: &Row) -> Result<(), DatabaseError> {
    let name = row.text(0)?;
    if pools.last().is_none_or(|pool| pool.name != name) {
        pools.push(PoolEntry {
            name,
            length: small(row.int(1)?)?,
            ranges: Vec::new(),
            block: Some(small(row.int(2)?)?),
            lease_seconds: small(row.int(3)?)?,
            offer_seconds: small(row.int(4)?)?,
            note: row.text_or_none(5)?,
        });
    }
    if let (Some(pool), Some(range)) = (pools.last_mut(), row.text_or_none(6)?) {
        pool.ranges.push(range);
    }
    Ok(())
}

/// The plan of a pool as it lies in the database.
pub(crate) fn plan(pool: &PoolEntry) -> Result<Plan, String> {
    let block = u64::from(pool.block.unwrap_or(64));
    Plan::new(pool.length, block, pool.ranges.iter().map(String::as_str))
}
