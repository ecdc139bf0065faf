//! The database is asked what may be given again.

use std::collections::HashMap;

use muralla_database::{DatabaseError, Value, dialect};

use super::rows::{LIVES, Of, adopt, heard_until, known, lock};
use super::{Leases, MOST_ENDED, Pool};
use crate::Assigned;
use crate::addresses::Plan;
use crate::book::{Ended, Known, Moment};

/// What the database says of something whose time has ended here.
enum Answer {
    Free,
    Held(Known),
    /// Some server has not told everything yet.
    Unknown,
}

impl Leases {
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
        lock(&mut work, released.iter().map(|(address, ..)| address.clone())).await?;
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
                // Also of a range that the pool has no more.
                if let Some(number) = book.number(assigned) {
                    book.question(number, now);
                }
            }
        }
        Ok(())
    }

    /// Asks the database about what has ended here: another server may have heard of it since.
    pub(super) async fn ask_ended(&self) -> Result<(), DatabaseError> {
        for pool in self.pools() {
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
        let addresses: Vec<String> =
            ended.iter().map(|ended| plan.assigned(ended.number).to_string()).collect();
        let keys: Vec<Value> = addresses.iter().map(|address| address.as_str().into()).collect();
        lock(&mut work, addresses).await?;
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
}
