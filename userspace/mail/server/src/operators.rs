//! What operators see of the queue and of a message's life, and what they do about it. All of it can be written as JSON.

use std::time::Duration;

use data_encoding::BASE64;
use muralla_mail_envelope::MessageId;
use muralla_mail_queue::{self as queue, Change, Filter, State, Traced};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tracing::info;

use crate::clock;
use crate::role::Role;

/// Which recipients in the queue are meant: those that fit everything that is said.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueForm {
    /// Of this message, by our id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// That go there: a domain, `backend/NUMBER`, or `store/FOLDER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Of messages from this sender; `<>` for those from nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// With this address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<QueueState>,
    /// At most so many are listed; it means nothing to changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<usize>,
}

/// The state of a recipient.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueState {
    /// It waits until it is due.
    Waiting,
    /// It is being tried.
    Trying,
    /// An operator, or the filter, holds it.
    Held,
    /// It is over, and its sender is to be told.
    Over,
}

/// What is done with recipients.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueAction {
    /// Those that wait are tried at once.
    Retry,
    /// They are not tried, and don't expire, until they are released.
    Hold,
    /// Those that are held are tried, for a day at least.
    Release,
    /// They fail, and their senders are told.
    Return,
    /// They are gone, and nobody is told.
    Remove,
}

/// A recipient in the queue. Times are seconds since 1970.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct QueueEntry {
    /// Our id of its message.
    pub message: String,
    /// Who sent the message; nothing for `<>`.
    pub sender: String,
    /// The address.
    pub recipient: String,
    /// Where it goes.
    pub destination: String,
    /// How it is.
    pub state: QueueState,
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
    pub reply: Option<String>,
    /// By whom.
    pub host: Option<String>,
    /// Until when it is held; nothing if it isn't, or if an operator holds it, for as long as he likes.
    pub held_until: Option<i64>,
}

/// How many destinations are told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DestinationsForm {
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<usize>,
}

/// A destination that something waits for. Times are seconds since 1970.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct QueueDestination {
    /// Its name: a domain, `backend/NUMBER`, or `store/FOLDER`.
    pub name: String,
    /// Recipients that wait for it or are being tried.
    pub recipients: i64,
    /// When the first of them is due.
    pub due: i64,
    /// Until when it is left alone, because it did not answer.
    pub left_alone: Option<i64>,
}

/// Which message in the queue is read.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MessageForm {
    /// Our id of it.
    pub message: String,
    /// Whether its header is enough.
    #[serde(default)]
    pub header: bool,
}

/// A message in the queue.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct QueuedMessage {
    /// Our id of it.
    pub message: String,
    /// Bytes of it.
    pub size: u64,
    /// All of it, or its header, in base64.
    pub content: String,
}

impl QueuedMessage {
    /// What it has; nothing if that is no base64.
    #[must_use]
    pub fn octets(&self) -> Option<Vec<u8>> {
        BASE64.decode(self.content.as_bytes()).ok()
    }
}

/// Something that happened to a message.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct TraceEvent {
    /// Our id of it.
    pub message: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// What, in one word.
    pub kind: String,
    /// What the message calls itself, where it was written down.
    pub header_id: Option<String>,
    /// Its sender, where he was written down; nothing for `<>`.
    pub sender: Option<String>,
    /// Whom of its recipients it is about.
    pub recipient: Option<String>,
    /// In words.
    pub text: String,
}

/// How much is in the queue of all servers, as of a moment ago.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct QueueFigures {
    /// Messages.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Seconds since the oldest was queued.
    pub oldest: u64,
    /// Recipients that wait and aren't due.
    pub waiting: u64,
    /// Recipients that are due.
    pub due: u64,
    /// Recipients that are being tried.
    pub trying: u64,
    /// Recipients that are held.
    pub held: u64,
    /// Recipients of whom a sender is to be told.
    pub owed: u64,
    /// Destinations that something waits for.
    pub destinations: u64,
    /// Of these, those that are left alone.
    pub left_alone: u64,
}

/// Recipients, or destinations, that are listed if nobody says how many.
const LISTED: usize = 1_000;

/// Bytes of a message that are shown at most: it is in memory a few times meanwhile.
const LARGEST_SHOWN: u64 = 40 << 20;

/// How long it may take to read one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Destinations that an operator's wish is told to at most.
const MOST_LANES: usize = 100_000;

impl Role {
    /// Recipients in the queue that are meant, in the order of their messages' ids.
    ///
    /// # Errors
    ///
    /// What is wrong, for people.
    pub async fn list_queue(&self, form: &QueueForm) -> Result<Vec<QueueEntry>, String> {
        let filter = form.filter()?;
        let queue = self.open_queue().await?;
        let most = form.most.unwrap_or(LISTED);
        let listed = queue.list(&filter, None, most, clock::now()).await;
        let listed = listed.map_err(|error| error.to_string())?;
        Ok(listed.into_iter().map(QueueEntry::from).collect())
    }

    /// The destinations that most waits for, those first.
    ///
    /// # Errors
    ///
    /// What is wrong, for people.
    pub async fn list_destinations(
        &self,
        form: DestinationsForm,
    ) -> Result<Vec<QueueDestination>, String> {
        let queue = self.open_queue().await?;
        let lanes = queue.destinations(form.most.unwrap_or(LISTED), clock::now()).await;
        let lanes = lanes.map_err(|error| error.to_string())?;
        let told = lanes.into_iter().map(|lane| QueueDestination {
            name: lane.name,
            recipients: lane.recipients,
            due: lane.due,
            left_alone: lane.back_off,
        });
        Ok(told.collect())
    }

    /// Changes recipients in the queue that are meant: how many.
    ///
    /// # Errors
    ///
    /// What is wrong; some may be changed.
    pub async fn change_queue(&self, form: &QueueForm, action: QueueAction) -> Result<u64, String> {
        let filter = form.filter()?;
        let queue = self.open_queue().await?;
        let now = clock::now();
        if action == QueueAction::Retry
            && let Some(outgoing) = self.outgoing()
        {
            let lanes = queue.destinations(MOST_LANES, now).await;
            let lanes = lanes.map_err(|error| error.to_string())?;
            let meant = lanes
                .iter()
                .map(|lane| lane.name.as_str())
                .filter(|name| filter.destination.as_deref().is_none_or(|wanted| wanted == *name));
            outgoing.revive(meant);
        }
        queue.change(&filter, action.into(), now).await.map_err(|error| error.to_string())
    }

    /// A message in the queue, as it came, or its header.
    ///
    /// # Errors
    ///
    /// What is wrong, for people.
    pub async fn read_queued(&self, form: &MessageForm) -> Result<QueuedMessage, String> {
        let id = message_id(&form.message)?;
        let queue = self.open_queue().await?;
        let reading = async {
            let found = queue.body(id).await.map_err(|error| error.to_string())?;
            let (body, size) = found.ok_or_else(|| format!("{id} is not in the queue"))?;
            if !form.header && size > LARGEST_SHOWN {
                return Err(format!(
                    "{id} has {size} bytes, and at most {LARGEST_SHOWN} are shown: its header is less"
                ));
            }
            let bodies = queue.bodies();
            let content = match form.header {
                true => bodies.head(body, 0).await,
                false => bodies.get(body).await,
            };
            Ok((size, content.map_err(|error| error.to_string())?))
        };
        let read = timeout(PATIENCE, reading).await;
        let (size, content) = read.map_err(|_| format!("{id} can't be read now"))??;
        let shown = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if shown > LARGEST_SHOWN {
            return Err(format!("{id} has a header of {shown} bytes: that is too much"));
        }
        info!(%id, header = form.header, "an operator reads a message in the queue");
        Ok(QueuedMessage { message: id.to_string(), size, content: BASE64.encode(&content) })
    }

    /// What happened to messages: by our id, by what they call themselves, or of an address. The latest come last.
    ///
    /// # Errors
    ///
    /// What is wrong, for people.
    pub async fn trace(&self, what: &str) -> Result<Vec<TraceEvent>, String> {
        let queue = self.open_queue().await?;
        queue.events().flush().await;
        let events = queue.events().trace(&Traced::parse(what)).await;
        let events = events.map_err(|error| error.to_string())?;
        Ok(events.into_iter().map(TraceEvent::from).collect())
    }

    async fn open_queue(&self) -> Result<queue::Queue, String> {
        self.post().shards().queue().await.map_err(|error| error.to_string())
    }
}

fn message_id(text: &str) -> Result<MessageId, String> {
    text.parse()
        .map_err(|_| format!("{text} is no id of ours: `muralla mail queue list` shows them"))
}

impl QueueForm {
    fn filter(&self) -> Result<Filter, String> {
        let message = self.message.as_deref().map(message_id);
        Ok(Filter {
            message: message.transpose()?,
            destination: self.destination.clone(),
            sender: self.sender.clone(),
            recipient: self.recipient.clone(),
            state: self.state.map(State::from),
        })
    }
}

impl QueueFigures {
    pub(crate) fn new(counts: &queue::Counts, now: i64) -> Self {
        let count = |count: i64| u64::try_from(count).unwrap_or_default();
        Self {
            messages: count(counts.messages),
            bytes: count(counts.bytes),
            oldest: counts.oldest.map_or(0, |oldest| count(now.saturating_sub(oldest))),
            waiting: count(counts.waiting),
            due: count(counts.due),
            trying: count(counts.trying),
            held: count(counts.held),
            owed: count(counts.owed),
            destinations: count(counts.destinations),
            left_alone: count(counts.left_alone),
        }
    }
}

impl From<queue::Entry> for QueueEntry {
    fn from(entry: queue::Entry) -> Self {
        Self {
            message: entry.message.to_string(),
            sender: entry.sender,
            recipient: entry.recipient,
            destination: entry.destination,
            state: entry.state.into(),
            due: entry.due,
            attempts: entry.attempts,
            size: entry.size,
            created: entry.created,
            expires: entry.expires,
            tried: entry.tried,
            reply: entry.reply.map(|reply| reply.to_string()),
            host: entry.host,
            held_until: entry.held_until,
        }
    }
}

impl From<queue::Event> for TraceEvent {
    fn from(event: queue::Event) -> Self {
        Self {
            message: event.message.to_string(),
            at_ms: event.at_ms,
            kind: event.kind.as_str().to_owned(),
            header_id: event.header_id,
            sender: event.sender,
            recipient: event.recipient,
            text: event.text,
        }
    }
}

impl From<QueueState> for State {
    fn from(state: QueueState) -> Self {
        match state {
            QueueState::Waiting => Self::Waiting,
            QueueState::Trying => Self::Trying,
            QueueState::Held => Self::Held,
            QueueState::Over => Self::Over,
        }
    }
}

impl From<State> for QueueState {
    fn from(state: State) -> Self {
        match state {
            State::Waiting => Self::Waiting,
            State::Trying => Self::Trying,
            State::Held => Self::Held,
            State::Over => Self::Over,
        }
    }
}

impl From<QueueAction> for Change {
    fn from(action: QueueAction) -> Self {
        match action {
            QueueAction::Retry => Self::Retry,
            QueueAction::Hold => Self::Hold,
            QueueAction::Release => Self::Release,
            QueueAction::Return => Self::Return,
            QueueAction::Remove => Self::Drop,
        }
    }
}
