//! What is done again and again, and at the beginning and the end of a life.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use muralla_database::{DatabaseError, Value, dialect};

use super::blocks::is_current;
use super::clock::{lifetime, milliseconds, seconds};
use super::rows::{Of, leases_in};
use super::telling::Telling;
use super::{BEAT, Leases, READ_FIXED, Round, first_of, text_of};
use crate::book::Moment;

/// The incarnation of blocks whose owner has told everything at its end.
const PUT_DOWN: i64 = -1;

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
        for pool in self.pools() {
            self.widen(&pool).await?;
        }
        self.look_again().await?;
        self.hear_releases().await?;
        self.ask_ended().await?;
        for pool in self.pools() {
            self.give_up_outside(&pool).await?;
            self.note_trimmed(&pool).await?;
            self.stock(&pool, hold).await?;
        }
        Ok(())
    }

    /// Takes over the blocks of an earlier life. What it may have offered and not written down rests.
    pub(super) async fn resume(&self) -> Result<(), DatabaseError> {
        // Now and then an operator changes a pool meanwhile.
        let mut left = 3;
        while !self.try_resume(left == 0).await? {
            left -= 1;
        }
        Ok(())
    }

    /// Tells whether the pools were the same from the beginning to the end. If this is the `last` attempt, nothing is taken over
    /// of those that were not.
    async fn try_resume(&self, last: bool) -> Result<bool, DatabaseError> {
        self.read_pools().await?;
        let hold = self.inner.state.inner.options.hold_blocks;
        let before = self.now();
        let mut work = self.inner.state.inner.engine.write().await?;
        let now = dialect::now(&mut work).await?;
        let mut pools = self.inner.pools.read().clone();
        for pool in self.pools() {
            let plan = pool.book.lock().plan().clone();
            if is_current(&mut work, &pool.name, &plan).await? {
                continue;
            }
            if !last {
                return Ok(false);
            }
            pools.remove(&pool.name);
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
                "UPDATE radius_block SET incarnation = $3, until = $4, free_at = $5, trimmed = 0 WHERE pool = $1 AND owner = $2 AND first IN ({})",
                &values,
                &keys,
            )
            .await?;
            let of = Of { pool: name, plan: &plan, lease_seconds: pool.lease_seconds() };
            let known = leases_in(&self.inner.state, &mut work, of, &own, now, before).await?;
            taken.push((Arc::clone(pool), own, known, offer));
        }
        let mine = work
            .execute(
                "UPDATE radius_server SET seen = $3 WHERE name = $1 AND incarnation = $2",
                [self.me(), vec![now.into()]].concat(),
            )
            .await?;
        if mine == 0 {
            // Another life began meanwhile; the first round finds out.
            return Ok(true);
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
        Ok(true)
    }

    /// Nothing is given any more from now on. Tells whether that is new.
    pub(super) fn end(&self) -> bool {
        let ends = !self.inner.fenced.swap(true, Ordering::AcqRel);
        if ends {
            self.inner.may_go_on.store(true, Ordering::Release);
        }
        ends
    }

    /// Tells the database everything, and of which blocks this was all: for what it was not told of those the next life of this
    /// server need not fear. Nothing is given any more.
    pub(super) async fn put_down(&self) -> Result<(), DatabaseError> {
        if !self.end() {
            return Ok(());
        }
        let telling = self.tell(true).await?;
        // From here on the database may know of the end, and have others decide by it.
        self.inner.may_go_on.store(false, Ordering::Release);
        if telling != Telling::Everything {
            return Ok(());
        }
        let mut work = self.inner.state.inner.engine.write().await?;
        for pool in self.pools() {
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
}
