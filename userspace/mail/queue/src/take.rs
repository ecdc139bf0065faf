//! Hands out what is due.
//!
//! Destinations that have something due are read from an index, the longest due first; of each that isn't busy a few messages
//! are taken. What is taken is due again when its lease ends, in the same index: so what a dead owner had comes back by itself,
//! without anybody looking for it. Each taking raises a number, and who reports with an older one is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muralla_database::{Flavour, Value, Work};
use muralla_mail_envelope::{Address, Envelope, MessageId, Recipient};
use muralla_mail_store::BodyId;
use sqlx::AssertSqlSafe;
use tracing::error;

use crate::destination::share;
use crate::error::{QueueError, again};
use crate::in_hand::Leases;
use crate::lanes;
use crate::owners::Life;
use crate::queue::{Inner, Queue};
use crate::rows::{MessageRow, message_id};

/// Recipients of one message to be tried at one destination.
#[derive(Clone, Debug)]
pub struct Job {
    /// The message.
    pub message: MessageId,
    /// Its envelope, with these recipients.
    pub envelope: Envelope,
    /// The account that forwards its mail to each of them, in their order, by its number; none for who gets it of himself.
    pub accounts: Vec<Option<i64>>,
    /// Where they go.
    pub destination: String,
    /// Its body: see [`Queue::content`].
    pub body: BodyId,
    /// Bytes of it.
    pub size: u64,
    /// When it was queued, in seconds since 1970.
    pub created: i64,
    /// Until when it is tried.
    pub expires: i64,
    /// When the lease ends.
    pub until: i64,
    /// Attempts that were counted before this one: the most of any of these recipients.
    pub attempts: i64,
    /// Whether the destination has more that is due: its connection is worth keeping.
    pub more: bool,
    pub(crate) leases: Arc<Leases>,
}

/// Destinations that are looked at for one taking: more than one process is busy with at once.
const LOOKED_AT: i64 = 2048;

/// Recipients that are taken of one destination at once at most.
const RECIPIENTS: i64 = 2000;

/// What was taken.
struct Taken {
    number: i64,
    address: String,
    parameters: Option<String>,
    attempts: i64,
    fence: i64,
    account: Option<i64>,
}

impl Queue {
    /// Takes jobs that are due: at most so many, or a few more if messages have very many recipients. `free` tells how many
    /// transactions may begin with a destination; nobody gets a second before everybody had one.
    ///
    /// What somebody in this process still has is not handed out again, though its lease ended: he has it anew. May be abandoned:
    /// then nobody has what was taken until the lease ends.
    ///
    /// # Errors
    ///
    /// [`QueueError`].
    pub async fn take(
        &self,
        most: usize,
        now: i64,
        free: impl Fn(&str) -> usize,
    ) -> Result<Vec<Job>, QueueError> {
        let mut names = Vec::new();
        {
            let mut work = self.inner.engine.read().await?;
            let sql =
                "SELECT name FROM mail_queue_destination WHERE due <= $1 ORDER BY due LIMIT $2";
            work.each(sql, vec![now.into(), LOOKED_AT.into()], |row| {
                names.push(row.text(0)?);
                Ok(())
            })
            .await?;
        }
        let free: Vec<usize> = names.iter().map(|name| free(name)).collect();
        let wanted: BTreeMap<String, usize> =
            names.into_iter().zip(share(&free, most)).filter(|(_, share)| *share > 0).collect();
        if wanted.is_empty() {
            if self.inner.in_hand.any() {
                self.live(now).await?;
            }
            return Ok(Vec::new());
        }
        let life = self.inner.owner.life(&self.inner.engine).await?;
        // Whoever finds that he reports too late waits here, and looks whether it was us who took it from him.
        let _taking = self.inner.taking.lock().await;
        again!(self.inner.take(&wanted, life, now))
    }

    /// When something is due next, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`QueueError`].
    pub async fn next_due(&self) -> Result<Option<i64>, QueueError> {
        let mut work = self.inner.engine.read().await?;
        let sql = "SELECT min(due) FROM mail_queue_destination";
        let row = work.row(sql, Vec::new()).await?;
        let due = row.map(|row| row.int_or_none(0)).transpose()?.flatten();
        Ok(due.filter(|due| *due < lanes::FAR))
    }

    /// Begins a job's lease anew. False if somebody else has it, or something became of it: stop.
    ///
    /// # Errors
    ///
    /// [`QueueError`].
    pub async fn renew(&self, job: &Job, now: i64) -> Result<bool, QueueError> {
        let life = self.inner.owner.life(&self.inner.engine).await?;
        let _taking = self.inner.taking.lock().await;
        again!(self.inner.renew(job, life, now))
    }
}

impl Inner {
    async fn take(
        &self,
        wanted: &BTreeMap<String, usize>,
        life: &Life,
        now: i64,
    ) -> Result<Vec<Job>, QueueError> {
        let until = now.saturating_add(self.options.lease.max(1));
        let skip = match self.engine.flavour() {
            Flavour::Sqlite => "",
            Flavour::Postgres => " FOR UPDATE SKIP LOCKED",
        };
        // First those that are due longest, then what else is due for the same messages: they go in one transaction.
        let sql = format!(
            "WITH chosen AS MATERIALIZED (SELECT message AS m FROM mail_queue_recipient \
             WHERE destination = $1 AND state = 0 AND due <= $2 ORDER BY due LIMIT $3{skip}), \
             picked AS MATERIALIZED (SELECT message AS m, number AS n FROM mail_queue_recipient \
             WHERE message IN (SELECT m FROM chosen) AND destination = $1 AND state = 0 AND due <= $2 LIMIT $4{skip}) \
             UPDATE mail_queue_recipient SET owner = $5, due = $6, fence = fence + 1 FROM picked \
             WHERE message = picked.m AND number = picked.n \
             RETURNING message, number, address, parameters, attempts, fence, account"
        );
        let mut work = self.engine.write().await?;
        let said = self.owner.say(&mut work, life, now).await?;
        let mut taken: BTreeMap<(String, MessageId), Vec<Taken>> = BTreeMap::new();
        for (name, share) in wanted {
            let values = vec![
                name.as_str().into(),
                now.into(),
                i64::try_from(*share).unwrap_or(1).into(),
                RECIPIENTS.into(),
                life.text.as_str().into(),
                until.into(),
            ];
            work.each(AssertSqlSafe(sql.clone()), values, |row| {
                let key = (name.clone(), message_id(&row, 0)?);
                taken.entry(key).or_default().push(Taken {
                    number: row.int(1)?,
                    address: row.text(2)?,
                    parameters: row.text_or_none(3)?,
                    attempts: row.int(4)?,
                    fence: row.int(5)?,
                    account: row.int_or_none(6)?,
                });
                Ok(())
            })
            .await?;
        }
        let names: BTreeSet<String> = wanted.keys().cloned().collect();
        let more = lanes::settle(&mut work, &names, now).await?;
        let messages = self.messages(&mut work, &taken).await?;
        work.commit().await?;

        self.owner.heard(said);
        let mut jobs = Vec::with_capacity(taken.len());
        for ((destination, message), mut recipients) in taken {
            recipients.retain(|taken| !self.in_hand.renew((message, taken.number), taken.fence));
            recipients.sort_by_key(|taken| taken.number);
            let Some((row, envelope)) = messages.get(&message) else { continue };
            for recipients in recipients.chunks(self.options.recipients.max(1)) {
                let mut job = Job {
                    message,
                    envelope: envelope.clone(),
                    accounts: Vec::with_capacity(recipients.len()),
                    more: more.contains(&destination),
                    destination: destination.clone(),
                    body: row.body,
                    size: u64::try_from(row.size).unwrap_or(0),
                    created: row.created,
                    expires: row.expires,
                    until,
                    attempts: 0,
                    leases: Leases::new(message, Vec::new()),
                };
                let mut leases = Vec::with_capacity(recipients.len());
                for taken in recipients {
                    let Ok(address) = Address::parse(&taken.address) else {
                        error!(%message, number = taken.number, "a queued recipient can not be read");
                        continue;
                    };
                    let parameters = taken.parameters.as_deref();
                    let parameters = parameters.and_then(|text| serde_json::from_str(text).ok());
                    let parameters = parameters.unwrap_or_default();
                    job.envelope.recipients.push(Recipient { address, parameters });
                    job.accounts.push(taken.account);
                    leases.push((taken.number, taken.fence));
                    job.attempts = job.attempts.max(taken.attempts);
                }
                if !leases.is_empty() {
                    job.leases = Leases::new(message, leases);
                    self.in_hand.hold(&job.leases);
                    jobs.push(job);
                }
            }
        }
        Ok(jobs)
    }

    /// The messages that something was taken of. One that can't be read, as a newer program wrote it, stays with its lease: it is
    /// tried again when that ends, by a program that can, perhaps.
    async fn messages(
        &self,
        work: &mut Work,
        taken: &BTreeMap<(String, MessageId), Vec<Taken>>,
    ) -> Result<BTreeMap<MessageId, (MessageRow, Envelope)>, QueueError> {
        let ids: BTreeSet<MessageId> = taken.keys().map(|(_, message)| *message).collect();
        let keys: Vec<Value> = ids.iter().map(|id| id.as_bytes().as_slice().into()).collect();
        let mut messages = BTreeMap::new();
        let sql = format!("SELECT {} FROM mail_queue WHERE id IN ({{}})", MessageRow::COLUMNS);
        work.each_in(&sql, &[], &keys, |row| {
            let (id, message) = MessageRow::of(&row)?;
            match message.envelope(id) {
                Ok(envelope) => drop(messages.insert(id, (message, envelope))),
                Err(error) => error!(%error, "a queued message can not be sent"),
            }
            Ok(())
        })
        .await?;
        Ok(messages)
    }

    async fn renew(&self, job: &Job, life: &Life, now: i64) -> Result<bool, QueueError> {
        let until = now.saturating_add(self.options.lease.max(1));
        let mut work = self.engine.write().await?;
        let said = self.owner.say(&mut work, life, now).await?;
        for (number, fence) in job.leases.now() {
            let sql = "UPDATE mail_queue_recipient SET due = $1 WHERE message = $2 AND number = $3 \
                       AND fence = $4 AND owner = $5 AND state <> 2";
            let values = vec![
                until.into(),
                job.message.as_bytes().as_slice().into(),
                number.into(),
                fence.into(),
                life.text.as_str().into(),
            ];
            if work.execute(sql, values).await? == 0 {
                return Ok(false);
            }
        }
        work.commit().await?;
        self.owner.heard(said);
        Ok(true)
    }
}
