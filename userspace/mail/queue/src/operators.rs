//! What operators see and do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::Relaxed;

use muralla_database::{DatabaseError, Row, Value};
use muralla_mail_envelope::{EnhancedCode, Envelope, MessageId, Reply};
use muralla_mail_store::BodyId;
use sqlx::AssertSqlSafe;

use crate::error::{QueueError, again};
use crate::events::EventKind;
use crate::notices::Owed;
use crate::queue::{Inner, Queue};
use crate::rows::{HELD, Key, Locked, MessageRow, OVER, RecipientRow, WAITING, message_id};

/// Which recipients are meant: those that fit everything that is said.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// Of this message.
    pub message: Option<MessageId>,
    /// That go there.
    pub destination: Option<String>,
    /// Of messages from this sender, in either letter case; `<>` for those from nobody.
    pub sender: Option<String>,
    /// With this address, in either letter case.
    pub recipient: Option<String>,
    /// In this state.
    pub state: Option<State>,
}

/// The state of a recipient.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum State {
    /// It waits until it is due, or until somebody takes it.
    Waiting,
    /// Somebody is trying it.
    Trying,
    /// It waits for an operator: he holds it, or it failed and nobody could be told.
    Held,
    /// It is over, and its sender is to be told.
    Over,
}

/// A recipient, as operators see it. Times are seconds since 1970.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its message.
    pub message: MessageId,
    /// Its place in the envelope.
    pub number: i64,
    /// Who sent the message; nothing for `<>`.
    pub sender: String,
    /// The address.
    pub recipient: String,
    /// Where it goes.
    pub destination: String,
    /// How it is.
    pub state: State,
    /// When it is due, or until when somebody has it.
    pub due: i64,
    /// Attempts that counted.
    pub attempts: i64,
    /// Bytes of the message.
    pub size: i64,
    /// When the message was queued.
    pub created: i64,
    /// Until when it is tried.
    pub expires: i64,
    /// When it was last tried.
    pub tried: Option<i64>,
    /// What was said then.
    pub reply: Option<Reply>,
    /// By whom.
    pub host: Option<String>,
    /// Who is trying it.
    pub owner: Option<String>,
    /// What its sender is to be told.
    pub owed: Option<Owed>,
    /// Until when it is held; nothing if it isn't, or if an operator holds it, for as long as he likes.
    pub held_until: Option<i64>,
}

/// What is done with recipients.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Change {
    /// Those that wait are due at once, and their destinations are tried whatever was.
    Retry,
    /// They are not tried, and don't expire, until they are released. What is under way goes on.
    Hold,
    /// Those that are held are tried, for a day at least.
    Release,
    /// They fail, and their senders are told as of any failure. What is under way may still arrive.
    Return,
    /// They are gone, and nobody is told. What is under way may still arrive.
    Drop,
}

/// How much there is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Messages.
    pub messages: i64,
    /// Bytes of them.
    pub bytes: i64,
    /// When the oldest was queued, in seconds since 1970.
    pub oldest: Option<i64>,
    /// Recipients that wait and aren't due.
    pub waiting: i64,
    /// Recipients that are due.
    pub due: i64,
    /// Recipients that somebody is trying.
    pub trying: i64,
    /// Recipients that are held.
    pub held: i64,
    /// Recipients of whom a sender is to be told.
    pub owed: i64,
    /// Destinations that something waits for.
    pub destinations: i64,
    /// Of these, those that are left alone.
    pub left_alone: i64,
}

/// A destination, as operators see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// Recipients that wait for it or are being tried.
    pub recipients: i64,
    /// When the first of them is due, in seconds since 1970.
    pub due: i64,
    /// Until when it is left alone.
    pub back_off: Option<i64>,
}

/// Messages in one transaction.
const MOST: i64 = 128;

/// How long what was held is tried at least, in seconds.
const DAY: i64 = 86_400;

impl Queue {
    /// Recipients in the order of their messages' ids, behind one.
    ///
    /// # Errors
    ///
    /// [`QueueError`].
    pub async fn list(
        &self,
        filter: &Filter,
        after: Option<(MessageId, i64)>,
        most: usize,
        now: i64,
    ) -> Result<Vec<Entry>, QueueError> {
        let mut clause = filter.clause(now);
        if let Some((message, number)) = after {
            let message = clause.value(message.as_bytes().as_slice());
            let number = clause.value(number);
            clause.and(&format!("(message, number) > ({message}, {number})"));
        }
        let limit = clause.value(i64::try_from(most).unwrap_or(i64::MAX));
        let sql = format!(
            "SELECT {}, sender, size, created, expires FROM mail_queue_recipient \
             JOIN mail_queue ON id = message WHERE {} ORDER BY message, number LIMIT {limit}",
            RecipientRow::COLUMNS,
            clause.sql
        );
        let mut entries = Vec::new();
        let mut work = self.inner.engine.read().await?;
        work.each_of_many(AssertSqlSafe(sql), clause.values, |row| {
            entries.push(Entry::of(&row, now)?);
            Ok(())
        })
        .await?;
        Ok(entries)
    }

    /// A message: its envelope without recipients, and what is left of these.
    ///
    /// # Errors
    ///
    /// [`QueueError`].
    pub async fn show(
        &self,
        message: MessageId,
        now: i64,
    ) -> Result<Option<(Envelope, Vec<Entry>)>, QueueError> {
        let read = {
            let mut work = self.inner.engine.read().await?;
            Locked::read(&mut work, &BTreeSet::from([message])).await?
        };
        let Some(row) = read.messages.get(&message) else { return Ok(None) };
        let envelope = row.envelope(message)?;
        let filter = Filter { message: Some(message), ..Filter::default() };
        Ok(Some((envelope, self.list(&filter, None, usize::MAX, now).await?)))
    }

    /// A message's content, to be read of [`Queue::bodies`], with how many bytes it has; nothing if it is not in the queue.
    ///
    /// # Errors
    ///
    /// [`QueueError`].
    pub async fn body(&self, message: MessageId) -> Result<Option<(BodyId, u64)>, QueueError> {
        let mut work = self.inner.engine.read().await?;
        let sql = "SELECT body, size FROM mail_queue WHERE id = $1";
        let row = work.row(sql, vec![message.as_bytes().as_slice().into()]).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((BodyId(row.int(0)?), u64::try_from(row.int(1)?).unwrap_or(0))))
    }

    /// Changes the recipients that are meant. Tells how many were changed. An empty filter means all.
    ///
    /// # Errors
    ///
    /// [`QueueError`]: some of them may be changed.
    pub async fn change(
        &self,
        filter: &Filter,
        change: Change,
        now: i64,
    ) -> Result<u64, QueueError> {
        let (mut count, mut after) = (0, Vec::new());
        loop {
            let mut clause = filter.clause(now);
            let behind = clause.value(after.as_slice());
            clause.and(&format!("message > {behind}"));
            let sql = format!(
                "SELECT DISTINCT message FROM mail_queue_recipient JOIN mail_queue ON id = message \
                 WHERE {} ORDER BY message LIMIT {MOST}",
                clause.sql
            );
            let mut ids = BTreeSet::new();
            {
                let mut work = self.inner.engine.read().await?;
                work.each_of_many(AssertSqlSafe(sql), clause.values, |row| {
                    ids.insert(message_id(&row, 0)?);
                    Ok(())
                })
                .await?;
            }
            let Some(last) = ids.last() else { break };
            after = last.as_bytes().to_vec();
            count += again!(self.inner.change(&ids, filter, change, now))?;
        }
        if count > 0 {
            self.inner.due.notify_one();
        }
        Ok(count)
    }

    /// How much there is. Reads indexes alone, and these whole: it is no question for each second.
    ///
    /// # Errors
    ///
    /// [`QueueError`].
    pub async fn counts(&self, now: i64) -> Result<Counts, QueueError> {
        let mut counts = Counts::default();
        let mut work = self.inner.engine.read().await?;
        let sql =
            "SELECT count(*), CAST(coalesce(sum(size), 0) AS BIGINT), min(created) FROM mail_queue";
        if let Some(row) = work.row(sql, Vec::new()).await? {
            (counts.messages, counts.bytes, counts.oldest) =
                (row.int(0)?, row.int(1)?, row.int_or_none(2)?);
        }
        // Conditions are those of the indexes: (destination, due), (owner) and (state), each of a part of the rows.
        let sql = "SELECT count(*), CAST(coalesce(sum(CASE WHEN due <= $1 THEN 1 ELSE 0 END), 0) AS BIGINT) \
                   FROM mail_queue_recipient WHERE state = 0";
        let mut open = 0;
        work.each_of_many(sql, vec![now.into()], |row| {
            (open, counts.due) = (row.int(0)?, row.int(1)?);
            Ok(())
        })
        .await?;
        let sql = "SELECT count(*) FROM mail_queue_recipient WHERE owner IS NOT NULL AND state = 0 AND due > $1";
        counts.trying = work.number(sql, vec![now.into()]).await?;
        counts.waiting = open.saturating_sub(counts.due).saturating_sub(counts.trying);
        let sql = "SELECT count(*) FROM mail_queue_recipient WHERE state > 0 AND state = $1";
        counts.held = work.number(sql, vec![HELD.into()]).await?;
        let sql = "SELECT count(*) FROM mail_queue_recipient WHERE owed > 0";
        counts.owed = work.number(sql, Vec::new()).await?;
        let sql = "SELECT count(*) FROM mail_queue_destination";
        counts.destinations = work.number(sql, Vec::new()).await?;
        let sql = "SELECT count(*) FROM mail_queue_destination WHERE backoff > $1";
        counts.left_alone = work.number(sql, vec![now.into()]).await?;
        Ok(counts)
    }

    /// The destinations that most waits for.
    ///
    /// # Errors
    ///
    /// [`QueueError`].
    pub async fn destinations(&self, most: usize, now: i64) -> Result<Vec<Lane>, QueueError> {
        let mut lanes = Vec::new();
        let mut work = self.inner.engine.read().await?;
        let sql = "SELECT destination, count(*), min(due) FROM mail_queue_recipient \
                   WHERE state = 0 GROUP BY destination ORDER BY 2 DESC, 1 LIMIT $1";
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        work.each_of_many(sql, vec![limit.into()], |row| {
            lanes.push(Lane {
                name: row.text(0)?,
                recipients: row.int(1)?,
                due: row.int(2)?,
                back_off: None,
            });
            Ok(())
        })
        .await?;
        let names: Vec<Value> = lanes.iter().map(|lane| lane.name.as_str().into()).collect();
        let mut left_alone = BTreeMap::new();
        let sql =
            "SELECT name, backoff FROM mail_queue_destination WHERE backoff > $1 AND name IN ({})";
        work.each_in(sql, &[now.into()], &names, |row| {
            left_alone.insert(row.text(0)?, row.int(1)?);
            Ok(())
        })
        .await?;
        for lane in &mut lanes {
            lane.back_off = left_alone.get(&lane.name).copied();
        }
        Ok(lanes)
    }
}

impl Inner {
    async fn change(
        &self,
        ids: &BTreeSet<MessageId>,
        filter: &Filter,
        change: Change,
        now: i64,
    ) -> Result<u64, QueueError> {
        let mut work = self.engine.write().await?;
        let mut locked = Locked::take(&mut work, ids).await?;
        let mut meant = Vec::new();
        for (id, message) in &locked.messages {
            let rows = locked.of(*id).filter(|(_, row)| filter.fits(*id, message, row, now));
            meant.extend(rows.map(|(number, row)| ((*id, number), row.clone())));
        }
        let mut count = 0;
        for (key, row) in meant {
            count += u64::from(apply(&mut locked, key, row, change, now));
        }
        let rest = locked.write(&mut work, now).await?;
        let untold = rest.write(&mut work, &self.bodies).await?;
        work.commit().await?;
        self.counters.untold.fetch_add(untold, Relaxed);
        Ok(count)
    }
}

/// Changes one recipient. False if it is not for it.
fn apply(locked: &mut Locked, key: Key, mut row: RecipientRow, change: Change, now: i64) -> bool {
    let leased = row.is_leased(now);
    match (change, row.state) {
        (Change::Retry, WAITING) if !leased => {
            row.due = now;
            locked.lanes.revive(&row.destination);
            locked.lanes.due(&row.destination, now);
            locked.change(key, row);
        }
        // What is held as nobody can be told goes some day; what an operator holds stays.
        (Change::Hold, state) if state == WAITING || state == HELD && row.held_until.is_some() => {
            (row.state, row.held_until) = (HELD, None);
            let text = "an operator holds it".to_owned();
            locked.event(key.0, EventKind::Held, Some(&row), text, now);
            locked.change(key, row);
        }
        (Change::Release, HELD) => {
            (row.state, row.held_until) = (WAITING, None);
            if !leased {
                row.due = now;
            }
            locked.lanes.due(&row.destination, row.due);
            locked.extend(key.0, now.saturating_add(DAY));
            let text = "an operator released it".to_owned();
            locked.event(key.0, EventKind::Released, Some(&row), text, now);
            locked.change(key, row);
        }
        (Change::Return, WAITING | HELD) => {
            let text = "an operator returned it to its sender";
            let reply = Reply::new(554, Some(EnhancedCode::new(5, 0, 0)), text);
            row.say(&reply, None, now);
            locked.give_up(key, row, text, now);
        }
        (Change::Drop, _) => {
            let text = "an operator dropped it".to_owned();
            locked.event(key.0, EventKind::Dropped, Some(&row), text, now);
            locked.remove(key);
        }
        _ => return false,
    }
    true
}

impl State {
    fn of(row: &RecipientRow, now: i64) -> Self {
        match row.state {
            HELD => Self::Held,
            OVER => Self::Over,
            _ if row.is_leased(now) => Self::Trying,
            _ => Self::Waiting,
        }
    }
}

impl Entry {
    /// Of a row of a recipient with four columns of its message behind it.
    fn of(row: &Row, now: i64) -> Result<Self, DatabaseError> {
        const BEHIND: usize = RecipientRow::WIDTH;
        let ((message, number), recipient) = RecipientRow::of(row)?;
        Ok(Self {
            message,
            number,
            state: State::of(&recipient, now),
            reply: recipient.reply(),
            recipient: recipient.address,
            destination: recipient.destination,
            due: recipient.due,
            attempts: recipient.attempts,
            tried: recipient.tried,
            host: recipient.host,
            owner: recipient.owner,
            owed: recipient.owed,
            held_until: recipient.held_until,
            sender: row.text(BEHIND)?,
            size: row.int(BEHIND + 1)?,
            created: row.int(BEHIND + 2)?,
            expires: row.int(BEHIND + 3)?,
        })
    }
}

/// What stands behind WHERE, and its values.
struct Clause {
    sql: String,
    values: Vec<Value>,
}

impl Clause {
    fn and(&mut self, condition: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
    }

    /// A value; gives how it is called in the statement.
    fn value(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }
}

impl Filter {
    fn clause(&self, now: i64) -> Clause {
        let mut clause = Clause { sql: "1 = 1".to_owned(), values: Vec::new() };
        if let Some(message) = &self.message {
            let value = clause.value(message.as_bytes().as_slice());
            clause.and(&format!("message = {value}"));
        }
        if let Some(destination) = &self.destination {
            let value = clause.value(destination.as_str());
            clause.and(&format!("destination = {value}"));
        }
        if let Some(sender) = &self.sender {
            let value = clause.value(folded(sender));
            clause.and(&format!("sender = {value}"));
        }
        if let Some(recipient) = &self.recipient {
            let value = clause.value(recipient.as_str());
            let lower = clause.value(folded(recipient));
            clause.and(&format!("(address = {value} OR lower(address) = {lower})"));
        }
        match self.state {
            None => {}
            Some(State::Held) => clause.and("state = 1"),
            Some(State::Over) => clause.and("state = 2"),
            Some(State::Trying) => {
                let value = clause.value(now);
                clause.and(&format!("state = 0 AND owner IS NOT NULL AND due > {value}"));
            }
            Some(State::Waiting) => {
                let value = clause.value(now);
                clause.and(&format!("state = 0 AND (owner IS NULL OR due <= {value})"));
            }
        }
        clause
    }

    /// The same of rows that are locked: they may have changed since they were found.
    fn fits(&self, id: MessageId, message: &MessageRow, row: &RecipientRow, now: i64) -> bool {
        self.message.is_none_or(|wanted| wanted == id)
            && self.destination.as_ref().is_none_or(|wanted| *wanted == row.destination)
            && self.sender.as_ref().is_none_or(|wanted| folded(wanted) == message.sender)
            && self.recipient.as_ref().is_none_or(|wanted| {
                *wanted == row.address || folded(wanted) == row.address.to_ascii_lowercase()
            })
            && self.state.is_none_or(|wanted| wanted == State::of(row, now))
    }
}

fn folded(address: &str) -> String {
    let address = address.trim();
    if address == "<>" { String::new() } else { address.to_ascii_lowercase() }
}
