//! An Inbox that is read by POP3, as a source.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use memchr::memchr_iter;
use muralla_mail_store::frame::MOST;
use muralla_mail_store::transfer::{Entry, Fetched, Listing, Source, TransferError, lines};
use muralla_mail_store::{Flags, Purpose};

use super::replies::{Reply, numbered};
use super::session::{Session, out_of_turn};
use crate::error::RemoteError;
use crate::imap::now;
use crate::location::ServerLocation;
use crate::options::Options;
use crate::received::received;

/// Messages of a maildrop, and bytes of a list of them.
const MOST_MESSAGES: usize = 1_000_000;
const LIST: usize = 100 << 20;

/// Messages that are asked for at once, and bytes of them.
const MESSAGES: usize = 64;
const BYTES: u64 = 8 << 20;

/// An Inbox that is read by POP3. Nothing is deleted.
pub struct Pop3Source {
    location: ServerLocation,
    options: Options,
    session: Option<Session>,
    /// Numbers and sizes, by the positions of the entries.
    messages: Vec<(u32, u64)>,
    /// Those that will be fetched and were not asked for yet.
    expected: VecDeque<usize>,
    /// Those that came and were not taken yet.
    fetched: HashMap<usize, Fetched>,
}

impl Pop3Source {
    /// The Inbox of who logs in. Nobody is called yet.
    #[must_use]
    pub fn new(location: ServerLocation, options: Options) -> Self {
        Self {
            location,
            options,
            session: None,
            messages: Vec::new(),
            expected: VecDeque::new(),
            fetched: HashMap::new(),
        }
    }

    async fn read(&mut self) -> Result<Listing, RemoteError> {
        let mut session = Session::open(&self.location, &self.options).await?;
        let wait = self.options.waits.listing;
        let what = "the list of messages";
        let sizes = session.list("LIST", what, LIST, wait).await?;
        let sizes = sizes.ok_or(RemoteError::Malformed("it has no LIST"))?;
        let sizes = numbered(&sizes, MOST_MESSAGES)?;
        // It is optional, and what has no name is told from others by what it holds. One that has it, and refuses it now, would have all
        // that came before come again.
        let names = match session.list("UIDL", what, LIST, wait).await? {
            Some(names) => names,
            None if session.can("UIDL") => {
                return Err(RemoteError::Busy("it refuses UIDL, which it says it has".to_owned()));
            }
            None => Bytes::new(),
        };
        let names = names_of(numbered(&names, MOST_MESSAGES)?);
        let mut listing = Listing { folders: vec![Purpose::Inbox.into()], ..Listing::default() };
        let (host, owner) = (&self.location.host, self.options.login.owned());
        for (number, size) in sizes {
            let size = size.parse().map_err(|_| RemoteError::Malformed("a size is no number"))?;
            let name = names.get(&number);
            listing.entries.push(Entry {
                folder: Purpose::Inbox.into(),
                place: format!("message {number}"),
                bytes: size,
                identity: name.map(|name| format!("pop3 {host} {owner} {name}")),
                uidl: name.cloned(),
            });
            self.messages.push((number, size));
        }
        self.session = Some(session);
        Ok(listing)
    }

    async fn bring(&mut self, at: usize) -> Result<Fetched, RemoteError> {
        if let Some(fetched) = self.fetched.remove(&at) {
            return Ok(fetched);
        }
        let Some((number, size)) = self.messages.get(at).copied() else {
            return Ok(Fetched::Nothing);
        };
        if size > MOST as u64 {
            return Ok(Fetched::Refused(format!("it has {size} bytes, and {MOST} are the most")));
        }
        let Some(mut session) = self.session.take() else {
            return Err(RemoteError::Closed("messages"));
        };
        let batch = self.batch(at, number, size, session.pipelines());
        let commands: String =
            batch.iter().map(|(_, number)| format!("RETR {number}\r\n")).collect();
        session.say(commands.as_bytes(), "messages").await?;
        self.fetched.clear();
        for (at, _) in batch {
            let size = self.messages.get(at).map_or(0, |(_, size)| *size);
            let wait = self.options.waits.messages(size);
            let fetched = match session.reply(wait, "messages").await? {
                Reply::Ok => message(session.lines(MOST, wait, "messages").await?),
                Reply::Err { may_pass: true, text } => return Err(RemoteError::Busy(text)),
                Reply::Err { text, .. } => {
                    Fetched::Refused(format!("the server refuses it: {text}"))
                }
                Reply::Go => return Err(out_of_turn()),
            };
            self.fetched.insert(at, fetched);
        }
        self.session = Some(session);
        Ok(self.fetched.remove(&at).unwrap_or(Fetched::Nothing))
    }

    /// A message, and those behind it that are asked for together with it, with their numbers.
    fn batch(&mut self, at: usize, number: u32, size: u64, several: bool) -> Vec<(usize, u32)> {
        let mut batch = vec![(at, number)];
        let mut bytes = size;
        while let Some(next) = self.expected.front().copied() {
            if next > at {
                let Some((number, size)) = self.messages.get(next).copied() else { break };
                bytes = bytes.saturating_add(size);
                if !several || batch.len() >= MESSAGES || bytes > BYTES {
                    break;
                }
                batch.push((next, number));
            }
            self.expected.pop_front();
        }
        batch
    }

    async fn end(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}

impl Source for Pop3Source {
    fn list(&mut self) -> BoxFuture<'_, Result<Listing, TransferError>> {
        async move {
            // It may be listed again after a failure.
            (self.session, self.messages) = (None, Vec::new());
            let listing = self.read().await;
            listing.map_err(|error| error.of(&self.location))
        }
        .boxed()
    }

    fn prepare(&mut self, entries: &[usize]) {
        self.fetched.clear();
        let fits =
            |at: &usize| self.messages.get(*at).is_some_and(|(_, size)| *size <= MOST as u64);
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

/// Names by numbers. One that several messages have is none: they may share it by being the same (RFC 1939 section 7), and some servers
/// give it to others.
fn names_of(named: Vec<(u32, String)>) -> BTreeMap<u32, String> {
    let mut times: HashMap<String, u32> = HashMap::new();
    for (_, name) in &named {
        *times.entry(name.clone()).or_default() += 1;
    }
    named.into_iter().filter(|(_, name)| times.get(name) == Some(&1)).collect()
}

fn message(raw: Bytes) -> Fetched {
    if raw.is_empty() {
        return Fetched::Refused("the server says that it is empty".to_owned());
    }
    // Some servers say lines as they have them on their disk.
    let is_bare = |at: usize| at.checked_sub(1).and_then(|before| raw.get(before)) != Some(&b'\r');
    let raw =
        if memchr_iter(b'\n', &raw).any(is_bare) { Bytes::from(lines::to_crlf(&raw)) } else { raw };
    let received = received(&raw, now());
    Fetched::Message { raw, flags: Flags::default(), received }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        for (raw, text) in [("a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"), ("a\n\r\nb\n", "a\r\n\r\nb\r\n")]
        {
            let fetched = message(Bytes::from_static(raw.as_bytes()));
            let raw = Bytes::from_static(text.as_bytes());
            assert_eq!(fetched, Fetched::Message { raw, flags: Flags::default(), received: None });
        }
        assert!(matches!(message(Bytes::new()), Fetched::Refused(_)));
    }
}
