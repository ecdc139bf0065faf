//! What this server gave is told to the database.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use muralla_database::{DatabaseError, Value, dialect};
use tracing::warn;

use super::rows::{LIVES, columns, lock};
use super::{Label, Leases, Pool, text_of};
use crate::addresses::Plan;
use crate::book::{Fresh, Moment};

/// What became of telling.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Telling {
    Everything,
    /// There was nothing to tell.
    Nothing,
    /// Somebody else has this server's name: nothing is ours any more.
    Fenced,
}

/// What the database is to be told of a pool. Until it was told it is news, whatever becomes of the telling: a role that stops
/// breaks it off anywhere.
struct News {
    pool: Arc<Pool>,
    plan: Plan,
    fresh: Vec<Fresh<Label>>,
    gone: Vec<u64>,
}

impl News {
    fn told(&mut self) {
        self.fresh.clear();
        self.gone.clear();
    }
}

impl Drop for News {
    fn drop(&mut self) {
        let (fresh, gone) = (std::mem::take(&mut self.fresh), std::mem::take(&mut self.gone));
        if !fresh.is_empty() || !gone.is_empty() {
            self.pool.book.lock().untold(fresh, gone);
        }
    }
}

impl Leases {
    /// Tells the database what is new, and if it is `due` that there is nothing.
    pub(super) async fn tell(&self, due: bool) -> Result<Telling, DatabaseError> {
        let leaving = self.inner.leaving.lock().clone();
        let now = self.now();
        let mut news = Vec::new();
        for pool in self.pools().into_iter().chain(leaving.iter().cloned()) {
            let mut book = pool.book.lock();
            let plan = book.plan().clone();
            let (fresh, gone) = book.news();
            drop(book);
            news.push(News { pool, plan, fresh, gone });
        }
        if !due && news.iter().all(|news| news.fresh.is_empty() && news.gone.is_empty()) {
            self.forget(&leaving);
            return Ok(Telling::Nothing);
        }
        match self.write_news(&news, now).await? {
            true => {
                news.iter_mut().for_each(News::told);
                self.forget(&leaving);
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

    /// Of pools that are there no more everything is told.
    fn forget(&self, told: &[Arc<Pool>]) {
        let mut leaving = self.inner.leaving.lock();
        leaving.retain(|pool| !told.iter().any(|told| Arc::ptr_eq(told, pool)));
    }

    async fn write_news(&self, news: &[News], now: Moment) -> Result<bool, DatabaseError> {
        let mut work = self.inner.state.inner.engine.write().await?;
        let database = dialect::now(&mut work).await?;
        // Offers are rather too old by this: one that seemed younger than the Start that followed it would take the lease from
        // its session.
        let read = self.now();
        let addresses = |one: &News| {
            let numbers =
                one.fresh.iter().map(|fresh| fresh.number).chain(one.gone.iter().copied());
            numbers.map(|number| one.plan.assigned(number).to_string()).collect::<Vec<_>>()
        };
        lock(&mut work, news.iter().flat_map(addresses)).await?;
        // What was given is written down in any case: somebody has it.
        for News { pool, plan, fresh, gone } in news {
            let gone: Vec<Value> =
                gone.iter().map(|number| plan.assigned(*number).to_string().into()).collect();
            // Of a session whose end is still in the journal the records decide.
            let free = format!("DELETE FROM radius_lease WHERE address IN ({{}}) AND NOT {LIVES}");
            work.execute_in(&free, &[], &gone).await?;
            let rows: BTreeMap<String, Vec<Value>> = fresh
                .iter()
                .map(|fresh| {
                    let past = read.saturating_sub(fresh.since).div_ceil(1000);
                    let left = fresh.until.saturating_sub(now).div_ceil(1000);
                    let address = plan.assigned(fresh.number).to_string();
                    let row = vec![
                        address.as_str().into(),
                        pool.name.as_str().into(),
                        text_of(plan, plan.block_of(fresh.number)).into(),
                        fresh.label.user.as_str().into(),
                        fresh.label.nas.as_str().into(),
                        fresh.line.unwrap_or(0).cast_signed().into(),
                        database.saturating_sub_unsigned(past).into(),
                        database.saturating_add_unsigned(left).into(),
                        0i64.into(),
                    ];
                    (address, row)
                })
                .collect();
            work.bulk(
                "INSERT INTO radius_lease (address, pool, block, user_name, nas, line, since, expires, released)",
                "ON CONFLICT (address) DO UPDATE SET session = CASE WHEN radius_lease.user_name = excluded.user_name AND radius_lease.since >= excluded.since THEN radius_lease.session END, released = CASE WHEN radius_lease.user_name = excluded.user_name AND radius_lease.since >= excluded.since THEN radius_lease.released ELSE 0 END, expires = CASE WHEN radius_lease.user_name = excluded.user_name AND radius_lease.expires > excluded.expires THEN radius_lease.expires ELSE excluded.expires END, pool = excluded.pool, block = excluded.block, user_name = excluded.user_name, nas = excluded.nas, line = excluded.line, since = excluded.since",
                9,
                rows.into_values().collect(),
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
        let mine = work
            .execute(
                "UPDATE radius_server SET seen = $3 WHERE name = $1 AND incarnation = $2",
                [self.me(), vec![database.into()]].concat(),
            )
            .await?;
        work.commit().await?;
        Ok(mine > 0)
    }
}
