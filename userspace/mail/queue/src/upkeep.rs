//! What is done now and then: what has expired ends, senders are told that it takes long, what is old is forgotten.
//!
//! A message expires here even if nothing of it is tried, as its destination is left alone or its worker died.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

use muralla_database::{DatabaseError, Engine, Value};
use muralla_mail_envelope::MessageId;
use sqlx::AssertSqlSafe;

use crate::batch::EXPIRED;
use crate::error::{QueueError, again};
use crate::events::EventKind;
use crate::lanes::FAR;
use crate::notices::{Happened, Notice};
use crate::queue::{Inner, Queue};
use crate::rows::{HELD, Locked, WAITING, message_id};

/// What was done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Kept {
    /// Recipients that failed, as their messages expired.
    pub expired: u64,
    /// Recipients whose senders are to be told that it takes long.
    pub delayed: u64,
    /// Recipients that nobody could be told of, held for so long that they went.
    pub let_go: u64,
    /// Recipients that an earlier life of this owner had.
    pub reclaimed: u64,
    /// Ids of messages that have left which are remembered no longer.
    pub forgotten: u64,
    /// Events that were removed.
    pub events: u64,
}

/// Messages in one transaction.
const MOST: i64 = 128;

/// Transactions of one kind in one call.
const TURNS: usize = 256;

/// Rows that are removed at once.
const SLICE: i64 = 5_000;

impl Queue {
    /// Does what is to be done. To be called each minute or so, by as many processes as like to.
    ///
    /// # Errors
    ///
    /// [`QueueError`]: some of it may be done.
    pub async fn maintain(&self, now: i64) -> Result<Kept, QueueError> {
        let inner = &*self.inner;
        let mut kept = Kept { reclaimed: self.reclaim(now).await?, ..Kept::default() };
        for _ in 0..TURNS {
            let sql = "SELECT id FROM mail_queue WHERE expires <= $1 AND EXISTS (\
                       SELECT 1 FROM mail_queue_recipient WHERE message = id AND state = 0 \
                       AND (owner IS NULL OR due <= $1)) ORDER BY expires LIMIT $2";
            let ids = inner.some(sql, now).await?;
            if ids.is_empty() {
                break;
            }
            kept.expired += again!(inner.expire(&ids, now))?;
        }
        for _ in 0..TURNS {
            let sql = "SELECT id FROM mail_queue WHERE delay <= $1 ORDER BY delay LIMIT $2";
            let ids = inner.some(sql, now).await?;
            if ids.is_empty() {
                break;
            }
            kept.delayed += again!(inner.delay(&ids))?;
        }
        for _ in 0..TURNS {
            let sql = "SELECT DISTINCT message FROM mail_queue_recipient \
                       WHERE state = 1 AND held_until <= $1 LIMIT $2";
            let ids = inner.some(sql, now).await?;
            if ids.is_empty() {
                break;
            }
            kept.let_go += again!(inner.let_go(&ids, now))?;
        }
        let before = now.saturating_sub(inner.options.remember.max(0));
        kept.forgotten = cut(&inner.engine, "mail_queue_done", "at", before).await?;
        kept.events = inner.events.cut(now.saturating_sub(inner.options.events.max(0))).await?;
        let mut work = inner.engine.write().await?;
        // Those that were only ever backed off from.
        let sql = "DELETE FROM mail_queue_destination WHERE due >= $1";
        work.execute(sql, vec![FAR.into()]).await?;
        work.commit().await?;
        Ok(kept)
    }

    /// What senders are to be told of: a notice for each message, of at most so many, behind an id. Others may read the same:
    /// [`Queue::tell`] lets one of them do it.
    ///
    /// # Errors
    ///
    /// [`QueueError`].
    pub async fn notices(
        &self,
        after: Option<MessageId>,
        most: usize,
    ) -> Result<Vec<Notice>, QueueError> {
        let mut work = self.inner.engine.read().await?;
        let sql = "SELECT DISTINCT message FROM mail_queue_recipient \
                   WHERE owed > 0 AND message > $1 ORDER BY message LIMIT $2";
        let after = after.map_or_else(Vec::new, |id| id.as_bytes().to_vec());
        let values =
            vec![Value::Bytes(Some(after)), i64::try_from(most).unwrap_or(i64::MAX).into()];
        let mut ids = BTreeSet::new();
        work.each(sql, values, |row| {
            ids.insert(message_id(&row, 0)?);
            Ok(())
        })
        .await?;
        let read = Locked::read(&mut work, &ids).await?;
        let mut notices = Vec::with_capacity(ids.len());
        for id in ids {
            match read.notice(id) {
                Ok(notice) => notices.extend(notice),
                // A newer program can, perhaps; and the others must not wait for it.
                Err(error) => {
                    tracing::error!(%error, "nobody can be told what became of a message")
                }
            }
        }
        Ok(notices)
    }
}

impl Inner {
    async fn some(&self, sql: &'static str, now: i64) -> Result<BTreeSet<MessageId>, QueueError> {
        let mut work = self.engine.read().await?;
        let mut ids = BTreeSet::new();
        work.each(sql, vec![now.into(), MOST.into()], |row| {
            ids.insert(message_id(&row, 0)?);
            Ok(())
        })
        .await?;
        Ok(ids)
    }

    async fn expire(&self, ids: &BTreeSet<MessageId>, now: i64) -> Result<u64, QueueError> {
        let mut work = self.engine.write().await?;
        let mut locked = Locked::take(&mut work, ids).await?;
        let mut ended = Vec::new();
        for (id, message) in &locked.messages {
            // An operator may have given it more time since it was found.
            if message.expires > now {
                continue;
            }
            let over = locked
                .of(*id)
                .filter(|(_, row)| row.state == WAITING && !row.is_leased(now))
                .map(|(number, row)| ((*id, number), row.clone()));
            ended.extend(over);
        }
        let count = ended.len() as u64;
        for (key, row) in ended {
            locked.fail(key, row, EXPIRED, now);
        }
        let rest = locked.write(&mut work, now).await?;
        let untold = rest.write(&mut work, &self.bodies).await?;
        work.commit().await?;
        self.counters.untold.fetch_add(untold, Relaxed);
        Ok(count)
    }

    async fn let_go(&self, ids: &BTreeSet<MessageId>, now: i64) -> Result<u64, QueueError> {
        let mut work = self.engine.write().await?;
        let mut locked = Locked::take(&mut work, ids).await?;
        let mut over = Vec::new();
        for id in ids {
            let held = locked.of(*id).filter(|(_, row)| {
                // An operator may have seen to it since it was found.
                row.state == HELD && row.held_until.is_some_and(|until| until <= now)
            });
            over.extend(held.map(|(number, row)| ((*id, number), row.clone())));
        }
        let count = over.len() as u64;
        for (key, row) in over {
            let text = "it was held, and nobody saw to it".to_owned();
            locked.event(key.0, EventKind::Dropped, Some(&row), text, now);
            locked.remove(key);
        }
        let rest = locked.write(&mut work, now).await?;
        rest.write(&mut work, &self.bodies).await?;
        work.commit().await?;
        Ok(count)
    }

    async fn delay(&self, ids: &BTreeSet<MessageId>) -> Result<u64, QueueError> {
        let mut work = self.engine.write().await?;
        let mut locked = Locked::take(&mut work, ids).await?;
        let mut delayed = Vec::new();
        for (id, message) in &locked.messages {
            // Another process looked at it since it was found.
            if message.delay.is_none() {
                continue;
            }
            for (number, row) in locked.of(*id) {
                let owed = message.owes(row, Happened::Delayed);
                if row.state == WAITING && row.owed.is_none() && owed.is_some() {
                    let mut row = row.clone();
                    row.owed = owed;
                    delayed.push(((*id, number), row));
                }
            }
        }
        let count = delayed.len() as u64;
        for (key, row) in delayed {
            locked.change(key, row);
        }
        let looked: Vec<MessageId> = locked.messages.keys().copied().collect();
        looked.into_iter().for_each(|id| locked.look_at(id));
        // Nothing of it ends: no time is written.
        let rest = locked.write(&mut work, 0).await?;
        let untold = rest.write(&mut work, &self.bodies).await?;
        work.commit().await?;
        self.counters.untold.fetch_add(untold, Relaxed);
        Ok(count)
    }
}

/// Removes the rows of a table that are from before, a slice at a time so that nobody waits.
pub(crate) async fn cut(
    engine: &Engine,
    table: &str,
    column: &str,
    before: i64,
) -> Result<u64, DatabaseError> {
    let first = format!(
        "SELECT {column} FROM {table} WHERE {column} < $1 ORDER BY {column} LIMIT 1 OFFSET $2"
    );
    let delete = format!("DELETE FROM {table} WHERE {column} < $1");
    let mut gone = 0;
    loop {
        let mut work = engine.write().await?;
        let row = work.row(AssertSqlSafe(first.clone()), vec![before.into(), SLICE.into()]).await?;
        // All that are of one and the same time go together.
        let until = row.as_ref().map(|row| row.int(0)).transpose()?;
        let until = until.map_or(before, |until| until.saturating_add(1));
        gone += work.execute(AssertSqlSafe(delete.clone()), vec![until.into()]).await?;
        work.commit().await?;
        if row.is_none() {
            return Ok(gone);
        }
    }
}
