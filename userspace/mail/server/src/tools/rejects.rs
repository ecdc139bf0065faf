//! What was refused for an account while its sender was connected: seen, and brought back.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use muralla_filter_anatomy::{Anatomy, Limits};
use muralla_mail_directory::Name;
use muralla_mail_envelope::MessageId;
use muralla_mail_queue::{Event, EventKind};
use muralla_mail_store::rejects::DAYS;
use muralla_mail_store::{Message, StoreError};
use serde::Serialize;
use tracing::warn;

use super::{Mailbox, Mailboxes, ToolsError};
use crate::clock;
use crate::rejects::FIELD;

/// A message that was refused. Times are seconds since 1970.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Rejected {
    /// Its number, as long as it is there.
    pub number: u32,
    /// Our id of it, by which traces tell of it; none if that can't be read.
    pub id: Option<String>,
    /// When it was refused.
    pub refused: i64,
    /// When it goes.
    pub until: i64,
    /// Who wrote it, by what it says.
    pub from: String,
    /// What it is about.
    pub subject: String,
    /// What was said of it.
    pub reason: String,
    /// Bytes of it.
    pub bytes: u64,
}

/// One that is in Inbox again.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Restored {
    /// As it was.
    #[serde(flatten)]
    pub rejected: Rejected,
    /// Whether traces tell of it.
    pub traced: bool,
}

/// Headers that are read at once.
const READS: usize = 8;

/// Longest text that is shown of a field, in characters.
const LONGEST: usize = 1_000;

/// What was refused for an account, the oldest first.
///
/// # Errors
///
/// [`ToolsError`].
pub async fn list(mailbox: &Mailbox) -> Result<Vec<Rejected>, ToolsError> {
    let kept = mailbox.store.rejects(mailbox.account).await?;
    let read = stream::iter(kept).map(|message| async move {
        let head = mailbox.store.bodies().head(message.body, 0).await;
        // What can't be read is there all the same.
        Rejected::new(&message, &head.unwrap_or_default())
    });
    Ok(read.buffered(READS).collect().await)
}

/// One of them, whole.
///
/// # Errors
///
/// [`ToolsError`].
pub async fn read(mailbox: &Mailbox, name: &Name, number: u32) -> Result<Bytes, ToolsError> {
    let kept = mailbox.store.rejects(mailbox.account).await?;
    let found = kept.iter().find(|message| message.uid == number);
    let found = found.ok_or_else(|| not_there(name, number))?;
    Ok(mailbox.store.bodies().get(found.body).await?)
}

/// Brings some of them, or all, into Inbox, and tells traces so. If one is not there, or there is no room, all stay where they are.
///
/// # Errors
///
/// [`ToolsError`].
pub async fn restore(
    mailboxes: &Mailboxes,
    name: &Name,
    numbers: Option<&[u32]>,
) -> Result<Vec<Restored>, ToolsError> {
    let mailbox = mailboxes.of(name).await?;
    let mut wanted = list(&mailbox).await?;
    if let Some(numbers) = numbers {
        let is_there = |number: &&u32| wanted.iter().any(|one| one.number == **number);
        if let Some(missing) = numbers.iter().find(|number| !is_there(number)) {
            return Err(not_there(name, *missing));
        }
        wanted.retain(|one| numbers.contains(&one.number));
    }
    let uids: Vec<u32> = wanted.iter().map(|one| one.number).collect();
    let moved = mailbox.store.restore(mailbox.account, &uids, mailbox.quota).await;
    let moved = moved.map_err(|error| match error {
        StoreError::OverQuota => ToolsError::Store(format!(
            "there is no room in Inbox for what is to be restored, so that all of it stays in Rejects; \
             `muralla mail account set {name} --quota SIZE` gives more"
        )),
        error => error.into(),
    })?;
    // What went meanwhile is not among them.
    wanted.retain(|one| moved.iter().any(|(from, _)| *from == one.number));
    let traced = tell(mailboxes, name, &wanted).await;
    Ok(wanted.into_iter().map(|rejected| Restored { rejected, traced }).collect())
}

/// Tells traces; whether they were told.
async fn tell(mailboxes: &Mailboxes, name: &Name, restored: &[Rejected]) -> bool {
    let queue = match mailboxes.shards.queue().await {
        Ok(queue) => queue,
        Err(error) => {
            warn!(%error, "traces can't be told what was restored");
            return false;
        }
    };
    let now = clock::now();
    for one in restored {
        let Some(Ok(id)) = one.id.as_deref().map(str::parse::<MessageId>) else { continue };
        let event =
            Event::new(id, EventKind::Released, "it was restored from Rejects into Inbox", now);
        queue.events().note(Event { recipient: Some(name.to_string()), ..event });
    }
    queue.events().flush().await;
    queue.events().lost() == 0
}

fn not_there(name: &Name, number: u32) -> ToolsError {
    ToolsError::Store(format!(
        "there is no message {number} in the Rejects of {name}; `muralla mail rejects list {name}` shows what is there"
    ))
}

impl Rejected {
    fn new(message: &Message, head: &[u8]) -> Self {
        let limits = Limits::default();
        let fields = Anatomy::read(head, &limits).decoded_fields(&limits);
        let first = |name: &str| {
            let found = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
            found.map(|(_, value)| harmless(value)).unwrap_or_default()
        };
        // The uppermost is ours.
        let why = first(FIELD);
        let (id, reason) = match why.split_once(' ') {
            Some((id, reason)) if id.parse::<MessageId>().is_ok() => (Some(id.to_owned()), reason),
            _ => (None, why.as_str()),
        };
        Self {
            number: message.uid,
            id,
            refused: message.saved,
            until: message.saved.saturating_add(i64::from(DAYS) * 86_400),
            from: first("From"),
            subject: first("Subject"),
            reason: reason.to_owned(),
            bytes: message.size,
        }
    }
}

/// What somebody else wrote, for a line that it does nothing else to: neither controls nor what turns letters round.
fn harmless(text: &str) -> String {
    let shown = |char: char| match char {
        char if char.is_whitespace() => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '?',
        char if char.is_control() => '?',
        char => char,
    };
    text.trim().chars().take(LONGEST).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use muralla_mail_envelope::{EnhancedCode, Reply};
    use muralla_mail_store::{BodyId, Flags, FolderId};

    use super::*;
    use crate::rejects::field;

    #[test]
    fn what_is_told_of_it_is_ours_and_does_nothing() {
        let message = Message {
            folder: FolderId(3),
            uid: 29_000_000,
            body: BodyId(5),
            size: 1_234,
            flags: Flags::default(),
            received: 1_700_000_000,
            saved: 1_800_000_000,
            modseq: 1,
        };
        let id = MessageId([7; 16]);
        for words in ["This looks like spam.", "Dies sieht nach Spam aus, Händler!"] {
            let reply = Reply::new(550, Some(EnhancedCode::new(5, 7, 1)), words);
            let head = format!(
                "Return-Path: <x@example.org>\r\n{}X-Muralla-Reject: aaaa 250 fine\r\nFrom: =?utf-8?q?J=C3=BCrgen?= <x@example.org>\r\n\
                 Subject: =?utf-8?b?G1sySgo=?= \u{202e}txt\r\n\r\n",
                field(&id, &reply)
            );
            let read = Rejected::new(&message, head.as_bytes());
            assert_eq!(read.id, Some(id.to_string()), "{read:?}");
            assert_eq!(read.reason, format!("550 5.7.1 {words}"));
            assert_eq!((read.number, read.bytes), (29_000_000, 1_234));
            assert_eq!(read.until - read.refused, 14 * 86_400);
            assert!(
                read.from.contains("Jürgen") && read.from.contains("x@example.org"),
                "{read:?}"
            );
            assert!(!read.subject.contains(['\u{1b}', '\n', '\u{202e}']), "{read:?}");
            assert!(read.subject.contains("txt"), "{read:?}");
        }
        let nothing = Rejected::new(&message, b"");
        assert_eq!((nothing.id, nothing.reason.as_str()), (None, ""));
    }
}
