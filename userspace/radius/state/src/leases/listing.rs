//! What the database tells people of pools, leases and servers.

use std::collections::BTreeMap;

use muralla_database::dialect;
use serde::{Deserialize, Serialize};

use crate::stored::{plan, pools};
use crate::{State, StateError};

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
            let blocks = work
                .execute(
                    "UPDATE radius_block SET until = $2, free_at = $2 + (SELECT coalesce(max(offer_seconds), 0) FROM radius_pool) WHERE owner = $1",
                    vec![name.into(), now.into()],
                )
                .await?;
            // An earlier incarnation of it that is cut off gives out until its reservation ends, so its number rises as well.
            work.execute(
                "UPDATE radius_server SET incarnation = incarnation + 1, exported = 0 WHERE name = $1",
                vec![name.into()],
            )
            .await?;
            work.commit().await?;
            Ok(blocks)
        })
        .await
    }
}
