//! Who was online at FreeRADIUS, so that nobody else is given what he has.
//!
//! His session goes on at the NAS, which tells this server of it by the next accounting record. Until then a lease keeps the
//! address. It is not entered as a session: FreeRADIUS' table does not tell what the NAS calls itself, so that the session would
//! be there twice; and its rows of which a Stop was lost would never end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use muralla_database::{Value, Work, dialect};

use crate::addresses::Plan;
use crate::import::Import;
use crate::leases::text_of;
use crate::stored::{plan, readable_pools};
use crate::{Assigned, DatabaseError, PoolEntry, State, StateError};

/// Seconds for which an address is kept of whose session nothing is heard: as long as a session is taken to go on without a
/// record. NASes that send interim records tell much sooner.
const KEPT: i64 = 2 * 86_400;

/// Somebody who was online.
#[derive(Clone, Debug, PartialEq)]
pub struct Online {
    /// His User-Name.
    pub user: String,
    /// NAS-IP-Address.
    pub nas: Option<IpAddr>,
    /// Acct-Session-Id.
    pub session: String,
    /// What he had.
    pub addresses: Vec<Assigned>,
}

/// An address, and who had it.
struct Kept<'i> {
    address: String,
    pool: usize,
    block: String,
    online: &'i Online,
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
        let kept = self
            .watched(async {
                let mut work = self.inner.engine.write().await?;
                let now = dialect::now(&mut work).await?;
                let (pools, _) = readable_pools(&mut work).await?;
                let pools: Vec<(PoolEntry, Plan)> = pools
                    .into_iter()
                    .filter_map(|pool| plan(&pool).ok().map(|plan| (pool, plan)))
                    .collect();
                let ended = ended(&mut work, &online).await?;
                let mut kept: BTreeMap<String, Kept<'_>> = BTreeMap::new();
                let mut nowhere = 0u64;
                for one in &online {
                    // This server was told of it: what became of it is known better here.
                    if ended.contains(&(one.user.as_str().into(), one.session.as_str().into())) {
                        continue;
                    }
                    for assigned in &one.addresses {
                        let place = pools.iter().enumerate().find_map(|(at, (_, plan))| {
                            Some((at, text_of(plan, plan.block_of(plan.number(*assigned)?))))
                        });
                        let Some((pool, block)) = place else {
                            nowhere += 1;
                            continue;
                        };
                        let address = assigned.to_string();
                        // Of two that had it, the one that was entered later.
                        let one = Kept { address: address.clone(), pool, block, online: one };
                        kept.insert(address, one);
                    }
                }
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
                        Some(self.row_of(kept, pool, &import.nas_names, now))
                    });
                    let sql = format!(
                        "ON CONFLICT (address) DO UPDATE SET pool = excluded.pool, block = excluded.block, user_name = excluded.user_name, nas = excluded.nas, line = excluded.line, session = NULL, since = excluded.since, expires = excluded.expires, released = 0 WHERE radius_lease.released = 1 OR radius_lease.expires <= excluded.expires - {KEPT}"
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
                Ok((kept.len() as u64, nowhere, servers))
            })
            .await;
        let (count, nowhere, servers) = match kept {
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
        for server in servers {
            let reason = "it has reserved some of these addresses already, and learns who has them when it starts: restart it now";
            import.note("radacct", &format!("server {server}"), reason);
        }
        Ok(count)
    }

    fn row_of(
        &self,
        kept: &Kept<'_>,
        pool: &PoolEntry,
        nases: &[(IpNet, String)],
        now: i64,
    ) -> Vec<Value> {
        let Kept { address, block, online, .. } = kept;
        let user = match self.inner.options.fold_names {
            true => online.user.to_ascii_lowercase(),
            false => online.user.clone(),
        };
        let mine = |address: IpAddr| {
            let all = nases.iter().filter(move |(prefix, _)| prefix.contains(&address));
            all.max_by_key(|(prefix, _)| prefix.prefix_len()).map(|(_, name)| name.as_str())
        };
        vec![
            address.as_str().into(),
            pool.name.as_str().into(),
            block.as_str().into(),
            user.into(),
            online.nas.and_then(mine).unwrap_or_default().into(),
            // Which line it is, the table does not tell as a login would.
            0i64.into(),
            // Before whatever session its Stop tells of.
            1i64.into(),
            now.saturating_add(KEPT.max(pool.lease_seconds.into())).into(),
            0i64.into(),
        ]
    }
}

/// Of which of these sessions the database knows already, by user and Acct-Session-Id.
async fn ended(
    work: &mut Work,
    online: &[Online],
) -> Result<HashSet<(Box<str>, Box<str>)>, DatabaseError> {
    let users: HashSet<&str> = online.iter().map(|one| one.user.as_str()).collect();
    let users: Vec<Value> = users.into_iter().map(Value::from).collect();
    let mut known = HashSet::new();
    let sql = "SELECT login, acct_session_id FROM radius_session WHERE user_name IN ({})";
    work.each_in(sql, &[], &users, |row| {
        known.insert((row.text(0)?.into(), row.text(1)?.into()));
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
