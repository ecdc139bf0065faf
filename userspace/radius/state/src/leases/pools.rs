//! What pools there are, and what of them belongs to subscribers for good, as the database has it.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use muralla_database::DatabaseError;
use parking_lot::Mutex;

use super::{Leases, Pace, Pool};
use crate::addresses::Plan;
use crate::book::Book;
use crate::convert::{MAY_OWN, owned_by_items};
use crate::stored::{plan, readable_pools};
use crate::{Assigned, PoolEntry};

impl Leases {
    /// Reads what pools there are. Tells whether there are others than before.
    pub(super) async fn read_pools(&self) -> Result<bool, DatabaseError> {
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
        pools.retain(|name, pool| {
            let stays =
                unreadable.contains_key(name) || plans.iter().any(|(entry, _)| entry.name == *name);
            if !stays {
                changed = true;
                // What was given of it until now is told yet.
                pool.book.lock().close();
                self.inner.leaving.lock().push(Arc::clone(pool));
            }
            stays
        });
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
    pub(super) async fn read_fixed(&self) -> Result<(), DatabaseError> {
        let pools = self.pools();
        if pools.is_empty() {
            return Ok(());
        }
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
}
