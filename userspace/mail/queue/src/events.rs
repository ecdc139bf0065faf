//! Each message's life: what happened to it, when, in words for people.
//!
//! What the queue does is written in the transaction that does it. What others tell ([`Events::note`]) is gathered and written
//! many at once: nobody waits for it, and a crash may forget the last second of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muralla_database::{DatabaseError, Engine, Value, Work};
use muralla_mail_envelope::{Address, MessageId, scan};
use sqlx::AssertSqlSafe;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use crate::rows::{clean, message_id};

/// Something that happened to a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// The message.
    pub message: MessageId,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// What.
    pub kind: EventKind,
    /// What the message calls itself (`Message-ID`): once in a life is enough.
    pub header_id: Option<String>,
    /// Its sender: once in a life is enough. Nothing for `<>`.
    pub sender: Option<String>,
    /// Whom of its recipients it is about.
    pub recipient: Option<String>,
    /// In words.
    pub text: String,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "their names are their documentation")]
pub enum EventKind {
    Accepted,
    Refused,
    Filtered,
    Spooled,
    Queued,
    Delivered,
    Deferred,
    Failed,
    Held,
    Released,
    Dropped,
    Notified,
    Other,
}

impl EventKind {
    const ALL: [Self; 13] = [
        Self::Accepted,
        Self::Refused,
        Self::Filtered,
        Self::Spooled,
        Self::Queued,
        Self::Delivered,
        Self::Deferred,
        Self::Failed,
        Self::Held,
        Self::Released,
        Self::Dropped,
        Self::Notified,
        Self::Other,
    ];

    /// Its name, as traces show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Filtered => "filtered",
            Self::Spooled => "spooled",
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Deferred => "deferred",
            Self::Failed => "failed",
            Self::Held => "held",
            Self::Released => "released",
            Self::Dropped => "dropped",
            Self::Notified => "notified",
            Self::Other => "other",
        }
    }

    /// Of its name. One of a later version is [`EventKind::Other`].
    fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).unwrap_or(Self::Other)
    }
}

/// What a trace asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Traced {
    /// Our id.
    Message(MessageId),
    /// What the message calls itself, with its angle brackets or without.
    HeaderId(String),
    /// A sender or a recipient.
    Address(String),
}

impl Traced {
    /// Guesses what text means: our id, an address, or a Message-ID if it has angle brackets.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if let Ok(id) = text.parse() {
            return Self::Message(id);
        }
        match Address::parse(text) {
            Ok(_) => Self::Address(text.to_owned()),
            Err(_) => Self::HeaderId(text.to_owned()),
        }
    }
}

impl Event {
    const COLUMNS: &str = "message, at_ms, kind, header_id, sender, recipient, text";

    /// One of now, in seconds since 1970.
    #[must_use]
    pub fn new(message: MessageId, kind: EventKind, text: impl Into<String>, now: i64) -> Self {
        Self {
            message,
            at_ms: in_ms(now),
            kind,
            header_id: None,
            sender: None,
            recipient: None,
            text: text.into(),
        }
    }

    /// With what finds it: the message's own name for itself, and its sender.
    #[must_use]
    pub fn of(mut self, raw: &[u8], sender: Option<&Address>) -> Self {
        self.header_id = header_id(raw);
        self.sender = sender.map(Address::to_string);
        self
    }

    pub(crate) async fn insert(work: &mut Work, events: &[Self]) -> Result<(), DatabaseError> {
        let rows = events.iter().map(|event| {
            vec![
                event.message.as_bytes().as_slice().into(),
                event.at_ms.into(),
                event.kind.as_str().into(),
                event.header_id.as_deref().map(clean).into(),
                event.sender.as_deref().map(found_by).into(),
                event.recipient.as_deref().map(found_by).into(),
                clean(&event.text).into(),
            ]
        });
        let head = format!("INSERT INTO mail_event ({})", Self::COLUMNS);
        work.bulk(&head, "", 7, rows.collect()).await
    }
}

/// Writes what others tell, and reads lives. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Events {
    engine: Engine,
    notes: mpsc::Sender<Note>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Note {
    Event(Box<Event>),
    Flush(oneshot::Sender<()>),
}

/// Events that may wait to be written.
const WAITING: usize = 16_384;

/// Events in one transaction at most.
const MOST: usize = 512;

/// How long is gathered.
const GATHERED: Duration = Duration::from_millis(500);

/// Messages that one trace tells of.
const MESSAGES: i64 = 100;

/// How often a transaction is tried again until its events are given up.
const PATIENCE: u32 = 20;

impl Events {
    /// Within a runtime of tokio, which what writes lives in. The tables must be there.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        let (notes, receiver) = mpsc::channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        tokio::spawn(write(engine.clone(), receiver, Arc::clone(&lost)));
        Self { engine, notes, lost }
    }

    /// Notes what happened. Never waits: if the database is away for long, it is forgotten, and counted.
    pub fn note(&self, event: Event) {
        if self.notes.try_send(Note::Event(Box::new(event))).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Waits until everything that was noted before is written, or given up.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.notes.send(Note::Flush(done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Events that were forgotten.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// The lives of messages: the newest hundred of them, each from its beginning.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn trace(&self, what: &Traced) -> Result<Vec<Event>, DatabaseError> {
        let mut work = self.engine.read().await?;
        let ids: Vec<Value> = match what {
            Traced::Message(id) => vec![id.as_bytes().as_slice().into()],
            Traced::HeaderId(text) => {
                let bare = text.trim().trim_start_matches('<').trim_end_matches('>');
                newest(&mut work, "header_id", &clean(&format!("<{bare}>"))).await?
            }
            Traced::Address(text) => {
                let bare = text.trim();
                let text = found_by(text);
                let mut ids = newest(&mut work, "sender", &text).await?;
                ids.extend(newest(&mut work, "recipient", &text).await?);
                // A Message-ID without its brackets looks the same.
                if ids.is_empty() {
                    ids = newest(&mut work, "header_id", &clean(&format!("<{bare}>"))).await?;
                }
                ids
            }
        };
        let mut events = Vec::new();
        let sql = format!("SELECT {} FROM mail_event WHERE message IN ({{}})", Event::COLUMNS);
        work.each_in(&sql, &[], &ids, |row| {
            events.push(Event {
                message: message_id(&row, 0)?,
                at_ms: row.int(1)?,
                kind: EventKind::of(&row.text(2)?),
                header_id: row.text_or_none(3)?,
                sender: row.text_or_none(4)?,
                recipient: row.text_or_none(5)?,
                text: row.text(6)?,
            });
            Ok(())
        })
        .await?;
        events.sort_by_key(|event| (event.message, event.at_ms));
        // Messages in the order in which they began.
        let begins: std::collections::HashMap<MessageId, i64> =
            events.iter().rev().map(|event| (event.message, event.at_ms)).collect();
        events
            .sort_by_key(|event| (begins.get(&event.message).copied(), event.message, event.at_ms));
        Ok(events)
    }

    /// Removes what is older, a slice at a time so that nobody waits. Tells how many are gone.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn cut(&self, before: i64) -> Result<u64, DatabaseError> {
        let before = before.saturating_mul(1000);
        crate::upkeep::cut(&self.engine, "mail_event", "at_ms", before).await
    }
}

async fn newest(work: &mut Work, column: &str, text: &str) -> Result<Vec<Value>, DatabaseError> {
    let sql = format!(
        "SELECT message, max(at_ms) FROM mail_event WHERE {column} = $1 GROUP BY message ORDER BY 2 DESC LIMIT $2"
    );
    let mut ids = Vec::new();
    work.each(AssertSqlSafe(sql), vec![text.into(), MESSAGES.into()], |row| {
        ids.push(row.bytes(0)?.as_slice().into());
        Ok(())
    })
    .await?;
    Ok(ids)
}

/// Takes what was noted and writes it, until nobody can note any more.
async fn write(engine: Engine, mut notes: mpsc::Receiver<Note>, lost: Arc<AtomicU64>) {
    loop {
        let mut gathered = Vec::new();
        if notes.recv_many(&mut gathered, MOST).await == 0 {
            return;
        }
        let hurry = |gathered: &[Note]| gathered.iter().any(|note| matches!(note, Note::Flush(_)));
        if gathered.len() < MOST && !hurry(&gathered) {
            let deadline = tokio::time::Instant::now() + GATHERED;
            while gathered.len() < MOST && !hurry(&gathered) {
                let left = MOST - gathered.len();
                let more = notes.recv_many(&mut gathered, left);
                if !matches!(tokio::time::timeout_at(deadline, more).await, Ok(more) if more > 0) {
                    break;
                }
            }
        }
        let (mut events, mut flushes) = (Vec::new(), Vec::new());
        for note in gathered {
            match note {
                Note::Event(event) => events.push(*event),
                Note::Flush(done) => flushes.push(done),
            }
        }
        let count = events.len();
        // In a task of its own: should these bring it down, the next are written.
        let written = tokio::spawn(insist(engine.clone(), events)).await;
        let panicked = written.as_ref().is_err_and(tokio::task::JoinError::is_panic);
        if panicked {
            error!(events = count, "events caused a panic, and are forgotten; please report it");
        }
        if panicked || matches!(written, Ok(false)) {
            lost.fetch_add(count as u64, Relaxed);
        }
        for done in flushes {
            let _ = done.send(());
        }
    }
}

/// Writes events, again and again for a while. Tells whether they are written.
async fn insist(engine: Engine, events: Vec<Event>) -> bool {
    let mut backoff = muralla_database::Backoff::default();
    let mut attempt = 0;
    while let Err(error) = insert(&engine, &events).await {
        attempt += 1;
        if !error.may_pass() || attempt > PATIENCE {
            warn!(%error, events = events.len(), "events are forgotten");
            return false;
        }
        tokio::time::sleep(backoff.failed(rand::random())).await;
    }
    true
}

async fn insert(engine: &Engine, events: &[Event]) -> Result<(), DatabaseError> {
    if events.is_empty() {
        return Ok(());
    }
    let mut work = engine.write().await?;
    Event::insert(&mut work, events).await?;
    work.commit().await
}

/// What a message calls itself.
fn header_id(raw: &[u8]) -> Option<String> {
    let text = scan::first(raw, "Message-ID")?.text().trim().to_owned();
    let fits = (3..=250).contains(&text.len()) && text.starts_with('<') && text.ends_with('>');
    fits.then(|| clean(&text))
}

/// Addresses are found in either letter case.
fn found_by(text: &str) -> String {
    clean(text.trim()).to_ascii_lowercase()
}

/// With the milliseconds of this second, if it is this one: so that events of one second keep their order.
fn in_ms(now: i64) -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let clock = i64::try_from(since.as_millis()).unwrap_or(0);
    let begin = now.saturating_mul(1000);
    if clock.saturating_sub(begin) < 1000 && clock >= begin { clock } else { begin }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_kinds_come_back() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::of(kind.as_str()), kind);
        }
        assert_eq!(EventKind::of("teleported"), EventKind::Other);
    }

    #[test]
    fn what_a_trace_may_ask() {
        let id = MessageId([7; 16]);
        for (text, traced) in [
            (id.to_string(), Traced::Message(id)),
            (" ann@example.org ".to_owned(), Traced::Address("ann@example.org".to_owned())),
            ("<a.b@c>".to_owned(), Traced::HeaderId("<a.b@c>".to_owned())),
            ("nothing".to_owned(), Traced::HeaderId("nothing".to_owned())),
        ] {
            assert_eq!(Traced::parse(&text), traced);
        }
    }

    #[test]
    fn a_message_id_is_taken_if_it_is_one() {
        for (raw, expected) in [
            ("Message-ID: <a@b>\r\n\r\n", Some("<a@b>")),
            ("Subject: x\r\nmessage-id:\r\n <folded@b>\r\n\r\n", Some("<folded@b>")),
            ("Message-ID: none\r\n\r\n", None),
            ("Subject: x\r\n\r\nMessage-ID: <a@b>\r\n", None),
        ] {
            assert_eq!(header_id(raw.as_bytes()).as_deref(), expected, "{raw:?}");
        }
    }
}
