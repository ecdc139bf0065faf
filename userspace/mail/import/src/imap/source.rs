//! A mailbox that is read by IMAP, as a source.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use muralla_mail_store::Purpose;
use muralla_mail_store::frame::MOST;
use muralla_mail_store::transfer::{Entry, Fetched, Listing, Problem, Source, TransferError};

use super::answers::{self, Answer, Done, End, Listed};
use super::client::{Client, Limits};
use super::exchange::Command;
use super::folders::{Remote, choose};
use crate::error::{RemoteError, shown};
use crate::location::ServerLocation;
use crate::options::Options;
use crate::received::received;

/// Folders that a server may have.
const MOST_FOLDERS: u64 = 10_000;

/// Messages that are asked for at once, and bytes of them.
const MESSAGES: usize = 64;
const BYTES: u64 = 8 << 20;

/// Answers that may come beside those that were asked for.
const BESIDE: u64 = 10_000;

/// Messages of a mailbox.
const MOST_MESSAGES: usize = 4_000_000;

/// A mailbox that is read by IMAP. Folders are opened for reading alone, and messages are not marked as read.
pub struct ImapSource {
    location: ServerLocation,
    options: Options,
    client: Option<Client>,
    folders: Vec<Folder>,
    /// By the positions of the entries.
    messages: Vec<Message>,
    /// Those that will be fetched and were not asked for yet.
    expected: VecDeque<usize>,
    /// Those that came and were not taken yet.
    fetched: HashMap<usize, Fetched>,
    /// The folder that is open.
    open: Option<usize>,
}

/// A folder, and its numbers.
#[derive(Clone, Debug)]
struct Folder {
    remote: Remote,
    validity: u32,
}

/// A message of a folder.
#[derive(Clone, Copy, Debug)]
struct Message {
    folder: u32,
    uid: u32,
    size: u32,
}

impl ImapSource {
    /// The mailbox of who logs in. Nobody is called yet.
    #[must_use]
    pub fn new(location: ServerLocation, options: Options) -> Self {
        Self {
            location,
            options,
            client: None,
            folders: Vec::new(),
            messages: Vec::new(),
            expected: VecDeque::new(),
            fetched: HashMap::new(),
            open: None,
        }
    }

    async fn read(&mut self) -> Result<Listing, RemoteError> {
        let mut client = Client::open(&self.location, &self.options).await?;
        let mut listing = Listing::default();
        let foreign = namespaces(&mut client).await?;
        let listed = folders(&mut client, &mut listing.problems).await?;
        let chosen = choose(&listed, &foreign, &self.options.choice, &mut listing.problems);
        for remote in chosen {
            let place = shown(remote.path.as_bytes());
            listing.folders.push(remote.folder.clone());
            match self.read_folder(&mut client, remote, &mut listing).await {
                Ok(()) => {}
                // One that this user may not read, or that is damaged, is no reason to leave the others behind.
                Err(RemoteError::Refused { text, .. }) => {
                    let reason = format!("the server refuses it: {text}");
                    listing.problems.push(Problem { place, reason });
                }
                Err(error) => return Err(error),
            }
        }
        self.client = Some(client);
        Ok(listing)
    }

    /// Lists a folder's messages.
    async fn read_folder(
        &mut self,
        client: &mut Client,
        remote: Remote,
        listing: &mut Listing,
    ) -> Result<(), RemoteError> {
        // One that is refused closes the one before as well (RFC 3501 section 6.3.1).
        self.open = None;
        let (validity, exists) = examine(client, &remote).await?;
        self.open = Some(self.folders.len());
        let number = u32::try_from(self.folders.len()).unwrap_or(u32::MAX);
        let is_inbox = remote.name.eq_ignore_ascii_case(b"inbox");
        self.folders.push(Folder { remote: remote.clone(), validity });
        if exists == 0 {
            return Ok(());
        }
        let mut found: Vec<(u32, u32)> = Vec::new();
        let wait = self.options.waits.listing;
        let limits = Limits { answers: u64::from(exists).saturating_mul(2) + BESIDE, wait };
        let room = MOST_MESSAGES.saturating_sub(self.messages.len());
        let command = Command::new("UID FETCH 1:* (UID RFC822.SIZE)");
        let done = client
            .attempt(command, "the list of messages", limits, |answer| {
                if let Answer::Message(answers::Fetched {
                    uid: Some(uid), size: Some(size), ..
                }) = answer
                {
                    if found.len() >= room {
                        return Err(RemoteError::TooMuch("messages"));
                    }
                    found.push((uid, size));
                }
                Ok(())
            })
            .await?;
        if done.end == End::Bad {
            return Err(RemoteError::Refused { what: "the list of messages", text: done.text });
        }
        // In the order in which they came, as their numbers are; each once.
        found.sort_unstable();
        found.dedup_by_key(|(uid, _)| *uid);
        let unlisted = (exists as usize).saturating_sub(found.len());
        if unlisted > 0 {
            let reason = match done.end {
                End::Ok => String::new(),
                _ => format!(": the server says: {}", done.text),
            };
            let reason = format!("{unlisted} of its {exists} messages were not listed{reason}");
            listing.problems.push(Problem { place: shown(remote.path.as_bytes()), reason });
        }
        for (uid, size) in found {
            listing.entries.push(Entry {
                folder: remote.folder.clone(),
                place: format!("{}, message {uid}", shown(remote.path.as_bytes())),
                bytes: u64::from(size),
                identity: Some(self.identity(&remote, validity, uid)),
                uidl: match &self.options.names {
                    Some(format) if is_inbox && remote.folder.purpose() == Purpose::Inbox => {
                        Some(format.name(validity, uid))
                    }
                    _ => None,
                },
            });
            self.messages.push(Message { folder: number, uid, size });
        }
        Ok(())
    }

    /// What this message is called and no other one ever will be: RFC 3501 section 2.3.1.1.
    fn identity(&self, remote: &Remote, validity: u32, uid: u32) -> String {
        let Self { location, options, .. } = self;
        let mut name = String::new();
        for byte in &remote.name {
            // Writing to a String can't fail.
            let _ = write!(name, "{byte:02x}");
        }
        format!("imap {} {} {name} {validity} {uid}", location.host, options.login.owned())
    }

    async fn bring(&mut self, at: usize) -> Result<Fetched, RemoteError> {
        if let Some(fetched) = self.fetched.remove(&at) {
            return Ok(fetched);
        }
        let Some(message) = self.messages.get(at).copied() else { return Ok(Fetched::Nothing) };
        if message.size as usize > MOST {
            let reason = format!("it has {} bytes, and {MOST} are the most", message.size);
            return Ok(Fetched::Refused(reason));
        }
        let batch = self.batch(at, message);
        // What nobody came for would stay for ever.
        self.fetched.clear();
        let Some(mut client) = self.client.take() else {
            return Err(RemoteError::Closed("messages"));
        };
        // A client that failed is not used again.
        let brought = self.bring_batch(&mut client, &batch).await?;
        self.client = Some(client);
        self.fetched = brought;
        Ok(self.fetched.remove(&at).unwrap_or(Fetched::Nothing))
    }

    /// A message, and those behind it that are asked for together with it.
    fn batch(&mut self, at: usize, first: Message) -> Vec<(usize, Message)> {
        let mut batch = vec![(at, first)];
        let mut bytes = u64::from(first.size);
        while let Some(next) = self.expected.front().copied() {
            if next > at {
                let Some(message) = self.messages.get(next).copied() else { break };
                bytes += u64::from(message.size);
                let fits = batch.len() < MESSAGES && bytes <= BYTES;
                if message.folder != first.folder || !fits {
                    break;
                }
                batch.push((next, message));
            }
            self.expected.pop_front();
        }
        batch
    }

    async fn bring_batch(
        &mut self,
        client: &mut Client,
        batch: &[(usize, Message)],
    ) -> Result<HashMap<usize, Fetched>, RemoteError> {
        let Some((_, first)) = batch.first() else { return Ok(HashMap::new()) };
        self.open_folder(client, first.folder as usize).await?;
        let messages: Vec<Message> = batch.iter().map(|(_, message)| *message).collect();
        let (mut came, unreadable, done) =
            self.ask(client, &messages, "(UID FLAGS INTERNALDATE BODY.PEEK[])").await?;
        let mut fetched = HashMap::new();
        for (at, message) in batch {
            let one = match came.remove(&message.uid) {
                Some(Some(one)) => one,
                // It was removed meanwhile.
                None if !unreadable && done.end == End::Ok => Fetched::Nothing,
                Some(None) | None => self.fetch_alone(client, *message).await?,
            };
            fetched.insert(*at, one);
        }
        Ok(fetched)
    }

    /// A message that came with others and could not be read, or for which the server refused them: without what may be wrong about it.
    async fn fetch_alone(
        &self,
        client: &mut Client,
        message: Message,
    ) -> Result<Fetched, RemoteError> {
        let (mut came, unreadable, done) =
            self.ask(client, &[message], "(UID BODY.PEEK[])").await?;
        Ok(match came.remove(&message.uid) {
            Some(Some(one)) => one,
            Some(None) => Fetched::Refused("it came without its text".to_owned()),
            None if done.end != End::Ok => {
                Fetched::Refused(format!("the server refuses it: {}", done.text))
            }
            None if unreadable => Fetched::Refused("the server's answer can't be read".to_owned()),
            None => Fetched::Nothing,
        })
    }

    /// Asks for messages. Tells which came (nothing for one that came without its text), whether something came that can't be read, and how
    /// it ended.
    async fn ask(
        &self,
        client: &mut Client,
        messages: &[Message],
        items: &str,
    ) -> Result<(HashMap<u32, Option<Fetched>>, bool, Done), RemoteError> {
        let uids: Vec<u32> = messages.iter().map(|message| message.uid).collect();
        let expected: u64 = messages.iter().map(|message| u64::from(message.size)).sum();
        let limits = Limits {
            answers: messages.len() as u64 * 4 + BESIDE,
            wait: self.options.waits.messages(expected),
        };
        // Sizes are estimates with some servers, though no wild ones.
        let most = expected.saturating_mul(2).saturating_add(BYTES);
        let (mut came, mut bytes, mut unreadable) = (HashMap::new(), 0_u64, false);
        let command = Command::new(&format!("UID FETCH {} {items}", set(&uids)));
        let done = client
            .attempt(command, "messages", limits, |answer| {
                match answer {
                    Answer::Message(fetched) => {
                        bytes += fetched.raw.as_ref().map_or(0, |raw| raw.len() as u64);
                        if bytes > most {
                            return Err(RemoteError::TooMuch("messages longer than it said"));
                        }
                        // Others are not ours, or only marked by somebody.
                        if let Some(uid) = fetched.uid.filter(|uid| uids.contains(uid)) {
                            let one: &mut answers::Fetched = came.entry(uid).or_default();
                            one.join(fetched);
                        }
                    }
                    Answer::Unreadable(_) => unreadable = true,
                    _ => {}
                }
                Ok(())
            })
            .await?;
        if done.end == End::Bad {
            return Err(RemoteError::Refused { what: "messages", text: done.text });
        }
        let now = now();
        let came = came.into_iter().map(|(uid, one)| {
            let answers::Fetched { raw, flags, received: at, .. } = one;
            let fetched = raw.map(|raw| match raw.is_empty() {
                true => Fetched::Refused("the server says that it is empty".to_owned()),
                false => {
                    let received = at.or_else(|| received(&raw, now));
                    Fetched::Message { raw, flags: flags.unwrap_or_default(), received }
                }
            });
            (uid, fetched)
        });
        Ok((came.collect(), unreadable, done))
    }

    async fn open_folder(&mut self, client: &mut Client, at: usize) -> Result<(), RemoteError> {
        if self.open == Some(at) {
            return Ok(());
        }
        let Some(folder) = self.folders.get(at) else { return Ok(()) };
        self.open = None;
        let (validity, _) = examine(client, &folder.remote).await?;
        if validity != folder.validity {
            return Err(RemoteError::Renumbered(shown(folder.remote.path.as_bytes())));
        }
        self.open = Some(at);
        Ok(())
    }

    async fn end(&mut self) {
        if let Some(client) = self.client.take() {
            client.close().await;
        }
    }
}

impl Source for ImapSource {
    fn list(&mut self) -> BoxFuture<'_, Result<Listing, TransferError>> {
        async move {
            // It may be listed again after a failure.
            (self.folders, self.messages, self.open) = (Vec::new(), Vec::new(), None);
            self.client = None;
            let listing = self.read().await;
            listing.map_err(|error| error.of(&self.location))
        }
        .boxed()
    }

    fn prepare(&mut self, entries: &[usize]) {
        self.fetched.clear();
        let fits = |at: &usize| {
            self.messages.get(*at).is_some_and(|message| message.size as usize <= MOST)
        };
        self.expected = entries.iter().copied().filter(fits).collect();
    }

    fn fetch(&mut self, entry: usize) -> BoxFuture<'_, Result<Fetched, TransferError>> {
        async move {
            let brought = self.bring(entry).await;
            brought.map_err(|error| error.of(&self.location))
        }
        .boxed()
    }

    fn finish(&mut self) -> BoxFuture<'_, ()> {
        self.end().boxed()
    }
}

/// How names of other people's folders begin.
async fn namespaces(client: &mut Client) -> Result<Vec<Vec<u8>>, RemoteError> {
    let mut foreign = Vec::new();
    if client.can("NAMESPACE") {
        let limits = client.few();
        let command = Command::new("NAMESPACE");
        // One that offers it and refuses it has one namespace.
        client
            .attempt(command, "its namespaces", limits, |answer| {
                if let Answer::Foreign(prefixes) = answer {
                    foreign = prefixes;
                }
                Ok(())
            })
            .await?;
    }
    Ok(foreign)
}

async fn folders(
    client: &mut Client,
    problems: &mut Vec<Problem>,
) -> Result<Vec<Listed>, RemoteError> {
    // Others that know of special folders tell of them unasked: RFC 6154 section 2.
    let asks = client.can("SPECIAL-USE") && client.can("LIST-EXTENDED");
    let command = if asks { "LIST \"\" \"*\" RETURN (SPECIAL-USE)" } else { "LIST \"\" \"*\"" };
    let limits = Limits { answers: MOST_FOLDERS, ..client.few() };
    let mut listed = Vec::new();
    client
        .run(Command::new(command), "its folders", limits, |answer| {
            match answer {
                Answer::Folder(folder) => listed.push(folder),
                Answer::Unreadable(line) => {
                    let reason = "the server's answer can't be read".to_owned();
                    problems.push(Problem { place: line, reason });
                }
                _ => {}
            }
            Ok(())
        })
        .await?;
    Ok(listed)
}

/// Opens a folder for reading alone. Returns its UIDVALIDITY, and how many messages it has.
async fn examine(client: &mut Client, remote: &Remote) -> Result<(u32, u32), RemoteError> {
    let (mut validity, mut exists) = (None, 0);
    let command = Command::new("EXAMINE ").string(&remote.name);
    let limits = client.few();
    client
        .run(command, "a folder", limits, |answer| {
            match answer {
                Answer::Validity(number) => validity = Some(number),
                Answer::Exists(number) => exists = number,
                _ => {}
            }
            Ok(())
        })
        .await?;
    let validity = validity.ok_or(RemoteError::Malformed("a folder has no UIDVALIDITY"))?;
    Ok((validity, exists))
}

/// Numbers as a set (RFC 3501 section 9): those that follow each other as a range.
fn set(uids: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for uid in uids {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*uid) => *last = *uid,
            _ => ranges.push((*uid, *uid)),
        }
    }
    let mut text = String::new();
    for (first, last) in ranges {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a String can't fail.
        let _ = match first == last {
            true => write!(text, "{comma}{first}"),
            false => write!(text, "{comma}{first}:{last}"),
        };
    }
    text
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        for (uids, text) in [
            (&[][..], ""),
            (&[7][..], "7"),
            (&[1, 2, 3, 5, 7, 8][..], "1:3,5,7:8"),
            (&[u32::MAX - 1, u32::MAX, 1][..], "4294967294:4294967295,1"),
        ] {
            assert_eq!(set(uids), text);
        }
    }
}
