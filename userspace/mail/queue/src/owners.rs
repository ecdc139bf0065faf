//! Who takes from the queue. A process that begins again under the same name is another one: each life has a number of its own.
//!
//! Whoever holds leases says now and then that he lives. What a life held that has ended, or that was not heard of for [`SILENT`]
//! seconds, is given back before its leases end; a life that is heard of keeps what it has, so that during an upgrade the old
//! process finishes what the new one must not begin again. Numbers are never given twice: the newest life of a name stays
//! written down.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use muralla_database::{DatabaseError, Engine, Value, Work};
use tokio::sync::OnceCell;

use crate::error::{QueueError, again};
use crate::lanes::Lanes;
use crate::queue::{Inner, Queue};

/// How often a life that holds leases says so, in seconds.
pub const HEARD: i64 = 15;

/// After how long it is taken for dead, in seconds: it may miss a few times, as its database was slow.
pub const SILENT: i64 = 120;

/// Who takes.
#[derive(Debug)]
pub(crate) struct Owner {
    name: String,
    /// Drawn when it is first needed: who only looks has none.
    life: OnceCell<Life>,
    /// When the database was last told of it.
    seen: AtomicI64,
}

/// One life of an owner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Life {
    number: i64,
    /// What stands in the rows that it has.
    pub(crate) text: String,
}

impl Owner {
    pub(crate) fn new(name: String) -> Self {
        Self { name, life: OnceCell::new(), seen: AtomicI64::new(i64::MIN) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// This life.
    pub(crate) async fn life(&self, engine: &Engine) -> Result<&Life, QueueError> {
        self.life
            .get_or_try_init(|| async {
                let mut attempt = 0;
                loop {
                    match again!(draw(engine, &self.name)) {
                        // Another life began at the same moment.
                        Err(error) if error.is_refused() && attempt < ATTEMPTS => attempt += 1,
                        drawn => break drawn,
                    }
                }
            })
            .await
    }

    /// Whether it is time to say that it lives.
    pub(crate) fn is_silent(&self, now: i64) -> bool {
        now.saturating_sub(self.seen.load(Relaxed)) >= HEARD
    }

    /// Says in a transaction that it lives. To be called before recipients are locked; what it gives is for [`Owner::heard`].
    pub(crate) async fn say(
        &self,
        work: &mut Work,
        life: &Life,
        now: i64,
    ) -> Result<Option<i64>, DatabaseError> {
        if !self.is_silent(now) {
            return Ok(None);
        }
        // Somebody may have removed the row, as nothing was heard of it for long.
        let sql = "INSERT INTO mail_queue_owner (name, life, seen) VALUES ($1, $2, $3) \
                   ON CONFLICT (name, life) DO UPDATE SET seen = excluded.seen";
        work.execute(sql, vec![self.name.as_str().into(), life.number.into(), now.into()]).await?;
        Ok(Some(now))
    }

    /// It was said, and is durable.
    pub(crate) fn heard(&self, said: Option<i64>) {
        if let Some(said) = said {
            self.seen.store(said, Relaxed);
        }
    }
}

/// How often a number is drawn that others draw at the same time.
const ATTEMPTS: usize = 10;

async fn draw(engine: &Engine, name: &str) -> Result<Life, QueueError> {
    let mut work = engine.write().await?;
    let sql = "INSERT INTO mail_queue_owner (name, life, seen) \
               SELECT $1, coalesce(max(life), 0) + 1, 0 FROM mail_queue_owner WHERE name = $1 RETURNING life";
    let number = work.number(sql, vec![name.into()]).await?;
    work.commit().await?;
    Ok(Life { number, text: text(name, number) })
}

async fn say_alone(
    engine: &Engine,
    owner: &Owner,
    life: &Life,
    now: i64,
) -> Result<(), QueueError> {
    let mut work = engine.write().await?;
    let said = owner.say(&mut work, life, now).await?;
    work.commit().await?;
    owner.heard(said);
    Ok(())
}

fn text(name: &str, life: i64) -> String {
    format!("{name}#{life}")
}

impl Queue {
    /// Gives back what earlier lives of this owner had, at once and not when its leases end: of those that said farewell, and of
    /// those that were not heard of for [`SILENT`] seconds. [`Queue::maintain`] does it too. Tells how many recipients that were.
    ///
    /// # Errors
    ///
    /// [`QueueError`].
    pub async fn reclaim(&self, now: i64) -> Result<u64, QueueError> {
        let life = self.inner.owner.life(&self.inner.engine).await?;
        let count = again!(self.inner.reclaim(life, now))?;
        if count > 0 {
            self.inner.due.notify_one();
        }
        Ok(count)
    }

    /// Says that this process holds what it holds. [`Queue::take`] and [`Queue::renew`] do it too: this is for who has so much to
    /// do that he does neither for [`HEARD`] seconds.
    ///
    /// # Errors
    ///
    /// [`QueueError`].
    pub async fn live(&self, now: i64) -> Result<(), QueueError> {
        let Inner { owner, engine, .. } = &*self.inner;
        if !owner.is_silent(now) {
            return Ok(());
        }
        let life = owner.life(engine).await?;
        again!(say_alone(engine, owner, life, now))
    }

    /// Says farewell: what this process took and did not report is due at once, for others. Nothing may be reported after it.
    /// Tells how many recipients that were.
    ///
    /// # Errors
    ///
    /// [`QueueError`]: they are due when their leases end.
    pub async fn leave(&self, now: i64) -> Result<u64, QueueError> {
        let Inner { owner, .. } = &*self.inner;
        // Who never took has nothing.
        let Some(life) = owner.life.get() else { return Ok(0) };
        let count = again!(self.inner.leave(life, now))?;
        self.inner.in_hand.forget_all();
        Ok(count)
    }
}

impl Inner {
    async fn reclaim(&self, life: &Life, now: i64) -> Result<u64, QueueError> {
        let name = self.owner.name();
        let before = now.saturating_sub(SILENT);
        let mut dead: Vec<i64> = Vec::new();
        let values = || vec![name.into(), life.number.into(), before.into()];
        {
            // Most of the time there is none, and nobody has to wait for that.
            let sql = "SELECT count(*) FROM mail_queue_owner WHERE name = $1 AND life < $2 AND seen <= $3";
            if self.engine.read().await?.number(sql, values()).await? == 0 {
                return Ok(0);
            }
        }
        let mut work = self.engine.write().await?;
        // Under their locks: who says at this moment that he lives is seen, or finds out by the number of what he has.
        let sql = format!(
            "SELECT life FROM mail_queue_owner WHERE name = $1 AND life < $2 AND seen <= $3 ORDER BY life{}",
            work.flavour().for_update()
        );
        work.each(sqlx::AssertSqlSafe(sql), values(), |row| {
            dead.push(row.int(0)?);
            Ok(())
        })
        .await?;
        let texts: Vec<Value> = dead.iter().map(|life| text(name, *life).into()).collect();
        let count = self.give_back(&mut work, &texts, now).await?;
        let lives: Vec<Value> = dead.into_iter().map(Value::from).collect();
        let sql = "DELETE FROM mail_queue_owner WHERE name = $1 AND life IN ({})";
        work.execute_in(sql, &[name.into()], &lives).await?;
        work.commit().await?;
        Ok(count)
    }

    async fn leave(&self, life: &Life, now: i64) -> Result<u64, QueueError> {
        let mut work = self.engine.write().await?;
        let sql = "UPDATE mail_queue_owner SET seen = 0 WHERE name = $1 AND life = $2";
        work.execute(sql, vec![self.owner.name().into(), life.number.into()]).await?;
        let count = self.give_back(&mut work, &[life.text.as_str().into()], now).await?;
        work.commit().await?;
        Ok(count)
    }

    /// What these lives had is due, and none of them can report it any more.
    async fn give_back(
        &self,
        work: &mut Work,
        owners: &[Value],
        now: i64,
    ) -> Result<u64, QueueError> {
        let mut lanes = Lanes::default();
        let mut count = 0;
        let sql = "UPDATE mail_queue_recipient SET owner = NULL, due = $1, fence = fence + 1 \
                   WHERE owner IN ({}) RETURNING destination";
        work.each_in(sql, &[now.into()], owners, |row| {
            lanes.due(&row.text(0)?, now);
            count += 1;
            Ok(())
        })
        .await?;
        lanes.enter(work).await?;
        Ok(count)
    }
}
