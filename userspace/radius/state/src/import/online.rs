//! Who was online at FreeRADIUS, so that nobody else is given what he has.
//!
//! His session goes on at the NAS, which tells this server of it by the next accounting record. Until then a lease keeps the
//! address. It is not entered as a session: FreeRADIUS' table does not tell what the NAS calls itself, so that the session would
//! be there twice; and its rows of which a Stop was lost would never end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use muralla_database::{Value, Work, dialect};
use muralla_radius_accounting::export::printable;
use muralla_radius_policy::Names;
use muralla_radius_policy::names::LONGEST_NAME;

use crate::addresses::Plan;
use crate::import::Import;
use crate::leases::text_of;
use crate::stored::{plan, readable_pools};
use crate::{Assigned, DatabaseError, PoolEntry, State, StateError};

/// Seconds for which an address is kept of whose session nothing is heard: as long as a session is taken to go on without a
/// record. NASes that send interim records tell much sooner. What has been silent for longer before is not kept at all.
const KEPT: i64 = 2 * DAY;

const DAY: i64 = 86_400;

/// Of those that stay free, how many are told by name.
const TOLD: usize = 5;

/// Somebody who was online.
#[derive(Clone, Debug, PartialEq)]
pub struct Online {
    /// His User-Name.
    pub user: String,
    /// NAS-IP-Address.
    pub nas: Option<IpAddr>,
    /// Acct-Session-Id.
    pub session: String,
    /// When FreeRADIUS last heard of it, in seconds since 1970, or later; none if its row does not tell.
    pub heard: Option<i64>,
    /// What he had.
    pub addresses: Vec<Assigned>,
}

/// An address, and who had it.
struct Kept<'i> {
    address: String,
    pool: usize,
    block: String,
    online: &'i Online,
    /// Until when it is kept if nothing is heard.
    until: i64,
}

/// What becomes of the addresses of those who are online.
#[derive(Default)]
struct Sorted<'i> {
    kept: BTreeMap<String, Kept<'i>>,
    /// Those of which nothing was heard for too long, and for how many seconds.
    silent: BTreeMap<String, (&'i Online, i64)>,
    /// How many are in no pool.
    nowhere: u64,
}

impl<'i> Sorted<'i> {
    fn new(
        online: &'i [Online],
        known: &HashSet<(String, String)>,
        keys: &[String],
        pools: &[(PoolEntry, Plan)],
        now: i64,
    ) -> Self {
        let mut sorted = Self::default();
        for (one, key) in online.iter().zip(keys) {
            // This server was told of it: what became of it is known better here.
            if known.contains(&(key.clone(), one.session.clone())) {
                continue;
            }
            let heard = one.heard.unwrap_or(now).min(now);
            for assigned in &one.addresses {
                let place = pools.iter().enumerate().find_map(|(at, (pool, plan))| {
                    let block = text_of(plan, plan.block_of(plan.number(*assigned)?));
                    Some((at, block, KEPT.max(pool.lease_seconds.into())))
                });
                let Some((pool, block, life)) = place else {
                    sorted.nowhere += 1;
                    continue;
                };
                let (address, until) = (assigned.to_string(), heard.saturating_add(life));
                if until <= now {
                    sorted.silent.insert(address, (one, now.saturating_sub(heard)));
                    continue;
                }
                // Of two that had it, the one that was entered later.
                let one = Kept { address: address.clone(), pool, block, online: one, until };
                sorted.kept.insert(address, one);
            }
        }
        sorted.silent.retain(|address, _| !sorted.kept.contains_key(address));
        sorted
    }

    /// Which stay free because nothing is heard of who had them, and whose they were.
    fn silence(&self) -> Option<(String, String)> {
        let count = self.silent.len();
        let told = self.silent.iter().take(TOLD).map(|(address, (online, silent))| {
            format!("{address} ({}, silent for {} days)", online.user, silent / DAY)
        });
        let mut told: Vec<String> = told.collect();
        if count > TOLD {
            told.push(format!("and {} more", count - TOLD));
        }
        let reason = format!(
            "they stay free, as nothing was heard of these sessions for too long and their Stop is taken for lost: {}",
            told.join(", ")
        );
        (count > 0).then(|| (format!("{count} addresses of open sessions"), reason))
    }
}

/// By which spelling the session of a user is known.
fn key_of(names: &Names, user: &str) -> String {
    let mut spelling = [0; LONGEST_NAME];
    printable(names.key(user.as_bytes(), &mut spelling).unwrap_or(user.as_bytes()))
}

impl State {
    /// Keeps for those who are online what they have of pools; with `enter` unset it is only counted. Tells how many addresses
    /// those are, and notes what is left to be done.
    pub(super) async fn keep_addresses(
        &self,
        import: &mut Import,
        enter: bool,
    ) -> Result<u64, StateError> {
        if import.online.is_empty() {
            return Ok(0);
        }
        let online = std::mem::take(&mut import.online);
        let read = &*import;
        let kept = self
            .watched(async {
                let mut work = self.inner.engine.write().await?;
                let now = dialect::now(&mut work).await?;
                let (pools, _) = readable_pools(&mut work).await?;
                let pools: Vec<(PoolEntry, Plan)> = pools
                    .into_iter()
                    .filter_map(|pool| plan(&pool).ok().map(|plan| (pool, plan)))
                    .collect();
                let keys: Vec<String> =
                    online.iter().map(|one| key_of(&read.names, &one.user)).collect();
                let known = known(&mut work, &keys).await?;
                let sorted = Sorted::new(&online, &known, &keys, &pools, now);
                let kept = &sorted.kept;
                let reserved = reserved(&mut work, now).await?;
                let servers: HashSet<&String> = kept
                    .values()
                    .filter_map(|kept| {
                        let (pool, _) = pools.get(kept.pool)?;
                        reserved.get(&(pool.name.clone(), kept.block.clone()))
                    })
                    .collect();
                let mut servers: Vec<String> = servers.into_iter().cloned().collect();
                servers.sort_unstable();
                if enter {
                    let rows = kept.values().filter_map(|kept| {
                        let (pool, _) = pools.get(kept.pool)?;
                        Some(row_of(kept, pool, read))
                    });
                    // What somebody else has stays his, and what a session here has. What was kept before is kept for longer
                    // where FreeRADIUS heard of it since.
                    let sql = format!(
                        "ON CONFLICT (address) DO UPDATE SET pool = excluded.pool, block = excluded.block, user_name = excluded.user_name, nas = excluded.nas, line = excluded.line, session = NULL, since = excluded.since, expires = excluded.expires, released = 0 WHERE radius_lease.released = 1 OR (radius_lease.expires <= {now} AND NOT EXISTS (SELECT 1 FROM radius_session s WHERE s.id = radius_lease.session AND s.state = 0)) OR (radius_lease.session IS NULL AND radius_lease.line = 0 AND radius_lease.user_name = excluded.user_name AND radius_lease.expires < excluded.expires)"
                    );
                    work.bulk(
                        "INSERT INTO radius_lease (address, pool, block, user_name, nas, line, since, expires, released)",
                        &sql,
                        9,
                        rows.collect(),
                    )
                    .await?;
                    work.commit().await?;
                }
                Ok((kept.len() as u64, sorted.nowhere, sorted.silence(), servers))
            })
            .await;
        let (count, nowhere, silence, servers) = match kept {
            Ok(kept) => kept,
            Err(error) => {
                import.online = online;
                return Err(error);
            }
        };
        import.online = online;
        if nowhere > 0 {
            let reason = "they are in no pool: if one will give them out, enter it and import this again before it is used";
            import.note("radacct", &format!("{nowhere} addresses of open sessions"), reason);
        }
        if let Some((name, reason)) = silence {
            import.note("radacct", &name, reason);
        }
        for server in servers {
            let reason = "it has reserved some of these addresses already, and learns who has them when it starts: restart it now";
            import.note("radacct", &format!("server {server}"), reason);
        }
        Ok(count)
    }
}

fn row_of(kept: &Kept<'_>, pool: &PoolEntry, import: &Import) -> Vec<Value> {
    let Kept { address, block, online, until, .. } = kept;
    let mine = |address: IpAddr| {
        let all = import.nas_names.iter().filter(move |(prefix, _)| prefix.contains(&address));
        all.max_by_key(|(prefix, _)| prefix.prefix_len()).map(|(_, name)| name.as_str())
    };
    vec![
        address.as_str().into(),
        pool.name.as_str().into(),
        block.as_str().into(),
        key_of(&import.names, &online.user).into(),
        online.nas.and_then(mine).unwrap_or_default().into(),
        // Which line it is, the table does not tell as a login would.
        0i64.into(),
        // Before whatever session its Stop tells of.
        1i64.into(),
        (*until).into(),
        0i64.into(),
    ]
}

/// The sessions of these users that the database knows already, by user and Acct-Session-Id.
async fn known(
    work: &mut Work,
    keys: &[String],
) -> Result<HashSet<(String, String)>, DatabaseError> {
    let users: HashSet<&str> = keys.iter().map(String::as_str).collect();
    let users: Vec<Value> = users.into_iter().map(Value::from).collect();
    let mut known = HashSet::new();
    let sql = "SELECT user_name, acct_session_id FROM radius_session WHERE user_name IN ({})";
    work.each_in(sql, &[], &users, |row| {
        known.insert((row.text(0)?, row.text(1)?));
        Ok(())
    })
    .await?;
    Ok(known)
}

/// The blocks that servers have reserved, by pool and first address, and who.
async fn reserved(
    work: &mut Work,
    now: i64,
) -> Result<HashMap<(String, String), String>, DatabaseError> {
    let mut reserved = HashMap::new();
    work.each(
        "SELECT pool, first, owner FROM radius_block WHERE owner IS NOT NULL AND until > $1",
        vec![now.into()],
        |row| {
            reserved.insert((row.text(0)?, row.text(1)?), row.text(2)?);
            Ok(())
        },
    )
    .await?;
    Ok(reserved)
}
