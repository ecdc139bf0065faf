//! Messages that a transaction has locked, with their recipients, changed in memory and written back at once.

use std::collections::{BTreeMap, BTreeSet};

use muralla_database::{DatabaseError, Row, Value, Work};
use muralla_mail_envelope::dsn::Fate;
use muralla_mail_envelope::{Address, Envelope, MessageId, Protocol, RcptParameters, Reply};
use muralla_mail_store::BodyId;

use crate::error::QueueError;
use crate::events::{Event, EventKind};
use crate::lanes::Lanes;
use crate::notices::{self, Happened, Notice, Owed};

/// A row of mail_queue.
#[derive(Clone, Debug)]
pub(crate) struct MessageRow {
    pub(crate) envelope: Vec<u8>,
    pub(crate) body: BodyId,
    pub(crate) size: i64,
    pub(crate) sender: String,
    pub(crate) known: bool,
    pub(crate) created: i64,
    pub(crate) expires: i64,
    pub(crate) delay: Option<i64>,
}

/// A row of mail_queue_recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RecipientRow {
    pub(crate) address: String,
    pub(crate) parameters: Option<String>,
    pub(crate) destination: String,
    pub(crate) state: i64,
    pub(crate) due: i64,
    pub(crate) attempts: i64,
    pub(crate) tried: Option<i64>,
    pub(crate) reply: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) fence: i64,
    pub(crate) owed: Option<Owed>,
    /// The account that forwards its mail to him.
    pub(crate) account: Option<i64>,
    /// Until when it is held, where nobody could be told that it failed.
    pub(crate) held_until: Option<i64>,
}

/// The states of a recipient.
pub(crate) const WAITING: i64 = 0;
pub(crate) const HELD: i64 = 1;
pub(crate) const OVER: i64 = 2;

/// How long what failed and of which nobody can be told is held, in seconds: anybody can send what comes to that, and it has an
/// alarm of its own.
const HOLD: i64 = 30 * 86_400;

pub(crate) type Key = (MessageId, i64);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Locked {
    pub(crate) messages: BTreeMap<MessageId, MessageRow>,
    pub(crate) recipients: BTreeMap<Key, RecipientRow>,
    changed: BTreeSet<Key>,
    gone: BTreeSet<Key>,
    looked_at: BTreeSet<MessageId>,
    extended: BTreeMap<MessageId, i64>,
    pub(crate) lanes: Lanes,
    pub(crate) events: Vec<Event>,
    /// Recipients that failed and are held, as nobody can be told.
    untold: u64,
}

impl MessageRow {
    pub(crate) const COLUMNS: &str =
        "id, envelope, body, size, sender, known, created, expires, delay";

    pub(crate) fn of(row: &Row) -> Result<(MessageId, Self), DatabaseError> {
        Ok((
            message_id(row, 0)?,
            Self {
                envelope: row.bytes(1)?,
                body: BodyId(row.int(2)?),
                size: row.int(3)?,
                sender: row.text(4)?,
                known: row.int(5)? != 0,
                created: row.int(6)?,
                expires: row.int(7)?,
                delay: row.int_or_none(8)?,
            },
        ))
    }

    pub(crate) fn values(&self, id: MessageId) -> Vec<Value> {
        vec![
            id.as_bytes().as_slice().into(),
            self.envelope.as_slice().into(),
            self.body.0.into(),
            self.size.into(),
            self.sender.as_str().into(),
            self.known.into(),
            self.created.into(),
            self.expires.into(),
            self.delay.into(),
        ]
    }

    pub(crate) fn envelope(&self, id: MessageId) -> Result<Envelope, QueueError> {
        Envelope::decode(&self.envelope).map_err(|source| QueueError::Envelope { id, source })
    }

    /// Whether it is a notice of ours: nothing else comes from nobody and from ourselves.
    fn is_notice(&self, id: MessageId) -> bool {
        self.sender.is_empty()
            && self.envelope(id).is_ok_and(|envelope| envelope.client.protocol == Protocol::Local)
    }

    /// Why nobody can be told if it fails. Nothing if its sender can, or if it is a notice: what that tells of failed before, and
    /// nothing must ever answer it.
    fn untold(&self, id: MessageId) -> Option<&'static str> {
        match (self.sender.is_empty(), self.known) {
            (true, _) if self.is_notice(id) => None,
            (true, _) => Some("it has no sender who could be told"),
            (false, true) => None,
            (false, false) => Some("anybody may have written the sender there"),
        }
    }

    /// What its sender is owed if this happens.
    pub(crate) fn owes(&self, recipient: &RecipientRow, happened: Happened) -> Option<Owed> {
        let notify = recipient.parameters().notify;
        notices::owed(self.known, self.sender.is_empty(), notify, happened)
    }
}

impl RecipientRow {
    pub(crate) const COLUMNS: &str = "message, number, address, parameters, destination, state, due, attempts, tried, reply, host, owner, fence, owed, account, held_until";

    /// How many these are.
    pub(crate) const WIDTH: usize = 16;

    pub(crate) fn of(row: &Row) -> Result<(Key, Self), DatabaseError> {
        Ok((
            (message_id(row, 0)?, row.int(1)?),
            Self {
                address: row.text(2)?,
                parameters: row.text_or_none(3)?,
                destination: row.text(4)?,
                state: row.int(5)?,
                due: row.int(6)?,
                attempts: row.int(7)?,
                tried: row.int_or_none(8)?,
                reply: row.text_or_none(9)?,
                host: row.text_or_none(10)?,
                owner: row.text_or_none(11)?,
                fence: row.int(12)?,
                owed: Owed::of(row.int(13)?),
                account: row.int_or_none(14)?,
                held_until: row.int_or_none(15)?,
            },
        ))
    }

    pub(crate) fn values(&self, (message, number): Key) -> Vec<Value> {
        vec![
            message.as_bytes().as_slice().into(),
            number.into(),
            self.address.as_str().into(),
            self.parameters.clone().into(),
            self.destination.as_str().into(),
            self.state.into(),
            self.due.into(),
            self.attempts.into(),
            self.tried.into(),
            self.reply.clone().into(),
            self.host.clone().into(),
            self.owner.clone().into(),
            self.fence.into(),
            Owed::number(self.owed).into(),
            self.account.into(),
            self.held_until.into(),
        ]
    }

    /// What `RCPT TO` said. What can't be read said nothing.
    pub(crate) fn parameters(&self) -> RcptParameters {
        let text = self.parameters.as_deref();
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    pub(crate) fn address(&self) -> Result<Address, DatabaseError> {
        let none = || DatabaseError::Row(format!("{:?} is no address", self.address));
        Address::parse(&self.address).map_err(|_| none())
    }

    /// What was said last.
    pub(crate) fn reply(&self) -> Option<Reply> {
        self.reply.as_deref().and_then(|text| serde_json::from_str(text).ok())
    }

    pub(crate) fn say(&mut self, reply: &Reply, host: Option<&str>, now: i64) {
        self.tried = Some(now);
        self.reply = serde_json::to_string(reply).ok();
        self.host = host.map(clean);
    }

    /// Whether somebody is trying it.
    pub(crate) fn is_leased(&self, now: i64) -> bool {
        self.owner.is_some() && self.due > now
    }

    pub(crate) fn fate(&self, owed: Owed, expires: i64) -> Result<Fate, DatabaseError> {
        let reply = self.reply();
        Ok(Fate {
            recipient: self.address()?,
            orcpt: self.parameters().orcpt,
            action: owed.action(),
            status: notices::status(owed, reply.as_ref()),
            remote: self.host.clone(),
            reply,
            last_attempt: self.tried,
            retry_until: (owed == Owed::Delayed).then_some(expires),
        })
    }
}

impl Locked {
    /// Locks messages with their recipients, in the order of their ids. Those that are gone are left out.
    pub(crate) async fn take(
        work: &mut Work,
        ids: &BTreeSet<MessageId>,
    ) -> Result<Self, DatabaseError> {
        // Recipients too: whoever takes some has no lock on their message.
        let lock = work.flavour().for_update();
        Self::load(work, ids, lock).await
    }

    /// The same without locks: nothing of it may be written.
    pub(crate) async fn read(
        work: &mut Work,
        ids: &BTreeSet<MessageId>,
    ) -> Result<Self, DatabaseError> {
        Self::load(work, ids, "").await
    }

    async fn load(
        work: &mut Work,
        ids: &BTreeSet<MessageId>,
        lock: &str,
    ) -> Result<Self, DatabaseError> {
        let mut this = Self::default();
        let keys: Vec<Value> = ids.iter().map(|id| id.as_bytes().as_slice().into()).collect();
        let sql = format!(
            "SELECT {} FROM mail_queue WHERE id IN ({{}}) ORDER BY id{lock}",
            MessageRow::COLUMNS
        );
        work.each_in(&sql, &[], &keys, |row| {
            let (id, message) = MessageRow::of(&row)?;
            this.messages.insert(id, message);
            Ok(())
        })
        .await?;
        let sql = format!(
            "SELECT {} FROM mail_queue_recipient WHERE message IN ({{}}) ORDER BY message, number{lock}",
            RecipientRow::COLUMNS
        );
        work.each_in(&sql, &[], &keys, |row| {
            let (key, recipient) = RecipientRow::of(&row)?;
            this.recipients.insert(key, recipient);
            Ok(())
        })
        .await?;
        Ok(this)
    }

    /// The recipients of a message that are still there.
    pub(crate) fn of(&self, message: MessageId) -> impl Iterator<Item = (i64, &RecipientRow)> {
        self.recipients
            .range((message, i64::MIN)..=(message, i64::MAX))
            .filter(|(key, _)| !self.gone.contains(*key))
            .map(|((_, number), row)| (*number, row))
    }

    /// A recipient that is still there.
    pub(crate) fn recipient(&self, key: Key) -> Option<&RecipientRow> {
        self.recipients.get(&key).filter(|_| !self.gone.contains(&key))
    }

    pub(crate) fn change(&mut self, key: Key, row: RecipientRow) {
        self.recipients.insert(key, row);
        self.changed.insert(key);
    }

    pub(crate) fn remove(&mut self, key: Key) {
        self.gone.insert(key);
    }

    /// It has ended: goes, or stays until its sender was told.
    pub(crate) fn end(&mut self, key: Key, mut row: RecipientRow, owed: Option<Owed>) {
        match owed {
            None => self.remove(key),
            Some(_) => {
                row.state = OVER;
                row.owner = None;
                row.owed = owed;
                self.change(key, row);
            }
        }
    }

    /// It will not be tried again. If nobody can be told of that, it is held: what was taken over is not lost without a word. A notice
    /// of ours is not.
    pub(crate) fn fail(&mut self, key: Key, row: RecipientRow, why: &str, now: i64) {
        let untold = self.messages.get(&key.0).and_then(|message| message.untold(key.0));
        match untold {
            None => self.give_up(key, row, why, now),
            Some(untold) => self.hold(key, row, format!("{why}; it is held, as {untold}"), now),
        }
    }

    /// It failed, and nobody can be told: an operator sees to it, within a while.
    fn hold(&mut self, key: Key, mut row: RecipientRow, text: String, now: i64) {
        self.untold += 1;
        self.event(key.0, EventKind::Held, Some(&row), text, now);
        (row.state, row.owner, row.owed) = (HELD, None, None);
        row.held_until = Some(now.saturating_add(HOLD));
        self.change(key, row);
    }

    /// It has failed, and its sender is told if he can be.
    pub(crate) fn give_up(&mut self, key: Key, row: RecipientRow, why: &str, now: i64) {
        let message = self.messages.get(&key.0);
        let owed = message.and_then(|message| message.owes(&row, Happened::Failed));
        self.event(key.0, EventKind::Failed, Some(&row), why.to_owned(), now);
        self.end(key, row, owed);
    }

    /// What is owed of it is done with: its sender was told, or nobody can be, for that reason. Of what failed, an operator has to know.
    pub(crate) fn settle(
        &mut self,
        key: Key,
        mut row: RecipientRow,
        owed: Owed,
        untold: Option<&str>,
        now: i64,
    ) {
        let what = match owed {
            Owed::Delayed => "that it takes long",
            Owed::Relayed | Owed::Delivered => "that it arrived",
            Owed::Failed => "that it failed",
        };
        let (kind, text) = match untold {
            None => (EventKind::Notified, format!("its sender was told {what}")),
            Some(why) if owed == Owed::Failed => {
                let text = format!("nobody could be told {what}, as {why}; it is held");
                return self.hold(key, row, text, now);
            }
            Some(why) => (EventKind::Other, format!("nobody could be told {what}, as {why}")),
        };
        self.event(key.0, kind, Some(&row), text, now);
        if row.state == OVER {
            self.remove(key);
        } else {
            row.owed = None;
            self.change(key, row);
        }
    }

    /// Nobody is told of its delay any more.
    pub(crate) fn look_at(&mut self, message: MessageId) {
        self.looked_at.insert(message);
    }

    /// It is tried until then at least.
    pub(crate) fn extend(&mut self, message: MessageId, expires: i64) {
        if self.messages.get(&message).is_some_and(|row| row.expires < expires) {
            self.extended.insert(message, expires);
        }
    }

    pub(crate) fn event(
        &mut self,
        message: MessageId,
        kind: EventKind,
        recipient: Option<&RecipientRow>,
        text: String,
        now: i64,
    ) {
        let mut event = Event::new(message, kind, text, now);
        event.recipient = recipient.map(|row| row.address.clone());
        self.events.push(event);
    }

    /// What is owed of a message, as a notice.
    pub(crate) fn notice(&self, id: MessageId) -> Result<Option<Notice>, QueueError> {
        let Some(message) = self.messages.get(&id) else { return Ok(None) };
        let (mut about, mut fates) = (Vec::new(), Vec::new());
        for (number, row) in self.of(id) {
            let Some(owed) = row.owed else { continue };
            about.push((number, owed));
            fates.push(row.fate(owed, message.expires)?);
        }
        let size = u64::try_from(message.size).unwrap_or(0);
        Ok(Notice::new(id, message.envelope(id)?, message.body, size, about, fates))
    }

    /// Writes what was changed. Gives what else there is to write, and bodies that are needed no longer.
    pub(crate) async fn write(self, work: &mut Work, now: i64) -> Result<Rest, DatabaseError> {
        let Self {
            messages,
            recipients,
            changed,
            gone,
            looked_at,
            extended,
            lanes,
            events,
            untold,
        } = self;
        let rows = changed.difference(&gone).filter_map(|key| {
            let row = recipients.get(key)?;
            Some(vec![
                key.0.as_bytes().as_slice().into(),
                key.1.into(),
                row.state.into(),
                row.due.into(),
                row.attempts.into(),
                row.tried.into(),
                row.reply.clone().into(),
                row.host.clone().into(),
                row.owner.clone().into(),
                Owed::number(row.owed).into(),
                row.held_until.into(),
            ])
        });
        // Not the fence: it is theirs who take.
        work.bulk(
            "WITH change (m, n, state, due, attempts, tried, reply, host, owner, owed, held_until) AS (",
            ") UPDATE mail_queue_recipient SET state = change.state, due = change.due, attempts = change.attempts, \
             tried = change.tried, reply = change.reply, host = change.host, owner = change.owner, \
             owed = change.owed, held_until = change.held_until FROM change WHERE message = change.m AND number = change.n",
            11,
            rows.collect(),
        )
        .await?;
        let rows = gone.iter().map(|key| vec![key.0.as_bytes().as_slice().into(), key.1.into()]);
        work.bulk(
            "WITH gone (m, n) AS (",
            ") DELETE FROM mail_queue_recipient WHERE (message, number) IN (SELECT m, n FROM gone)",
            2,
            rows.collect(),
        )
        .await?;
        let looked: Vec<Value> =
            looked_at.iter().map(|id| id.as_bytes().as_slice().into()).collect();
        let sql = "UPDATE mail_queue SET delay = NULL WHERE id IN ({})";
        work.execute_in(sql, &[], &looked).await?;
        for (id, expires) in extended {
            let values = vec![expires.into(), id.as_bytes().as_slice().into()];
            work.execute("UPDATE mail_queue SET expires = $1 WHERE id = $2", values).await?;
        }
        let left: BTreeSet<MessageId> =
            recipients.keys().filter(|key| !gone.contains(*key)).map(|key| key.0).collect();
        let finished = messages.iter().filter(|(id, _)| !left.contains(*id));
        let (mut ids, mut done, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        for (id, message) in finished {
            ids.push(Value::from(id.as_bytes().as_slice()));
            done.push(vec![id.as_bytes().as_slice().into(), now.into()]);
            bodies.push((message.body, 1));
        }
        work.execute_in("DELETE FROM mail_queue WHERE id IN ({})", &[], &ids).await?;
        let conflict = "ON CONFLICT (id) DO NOTHING";
        work.bulk("INSERT INTO mail_queue_done (id, at)", conflict, 2, done).await?;
        Ok(Rest { lanes, events, bodies, untold })
    }
}

/// What is written last.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) lanes: Lanes,
    pub(crate) events: Vec<Event>,
    pub(crate) bodies: Vec<(BodyId, i64)>,
    untold: u64,
}

impl Rest {
    /// Destinations, events and bodies: in this order, as everybody locks them so. Tells how many recipients failed of whom nobody
    /// can be told.
    pub(crate) async fn write(
        self,
        work: &mut Work,
        bodies: &muralla_mail_store::Bodies,
    ) -> Result<u64, QueueError> {
        self.lanes.enter(work).await?;
        Event::insert(work, &self.events).await?;
        if !self.bodies.is_empty() {
            bodies.release(work, &self.bodies).await?;
        }
        Ok(self.untold)
    }
}

pub(crate) fn message_id(row: &Row, column: usize) -> Result<MessageId, DatabaseError> {
    let bytes = row.bytes(column)?;
    MessageId::try_from(bytes.as_slice())
        .map_err(|_| DatabaseError::Row("a message's id has not 16 bytes".into()))
}

/// Text of somebody else's, fit for a column: PostgreSQL refuses a NUL, and with it the whole transaction.
pub(crate) fn clean(text: &str) -> String {
    const MOST: usize = 1024;
    let mut kept = String::with_capacity(text.len().min(MOST));
    for char in text.chars() {
        if kept.len() + char.len_utf8() > MOST {
            break;
        }
        kept.push(if char.is_control() { ' ' } else { char });
    }
    kept
}
