//! Mailboxes for mail programs: Inbox as POP3 sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use muralla_mail_directory::{AccountId, AccountView, Directory, LoginRefusal, Protocol};
use muralla_mail_envelope::sasl::Password;
use muralla_mail_store::{
    Account, BodyId, Flags, Folder, FolderId, FolderPath, Purpose, Store, StoreError,
};
use muralla_pop3::listing::Message;
use muralla_pop3::{
    Body, Changes, Client, Facts, Handler, Listing, Maildrop, MaildropError, Proved, Refused,
    ScramParameters,
};
use muralla_smtp::tls::Certificates;
use tracing::{debug, info, warn};

use crate::post::is_outage;
use crate::shards::Shards;
use crate::sightings::{self, Conduct, Lookout, Service, Sighting};

/// Answers for users and their mailboxes.
pub(crate) struct House {
    pub(crate) directory: Directory,
    pub(crate) shards: Shards,
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) lookout: Arc<dyn Lookout>,
    pub(crate) counters: Arc<Counters>,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    sessions: AtomicU64,
    logins: AtomicU64,
    refused: AtomicU64,
    retrieved: AtomicU64,
    octets: AtomicU64,
    deleted: AtomicU64,
    unavailable: AtomicU64,
    crowded: AtomicU64,
    encrypted: AtomicU64,
}

/// What became of sessions since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Pop3Status {
    /// Sessions that ended.
    pub sessions: u64,
    /// Users who were let in.
    pub logins: u64,
    /// Logins that were refused.
    pub refused: u64,
    /// Messages that went to clients.
    pub retrieved: u64,
    /// Bytes of them.
    pub octets: u64,
    /// Messages that were removed.
    pub deleted: u64,
    /// Questions that the database or the packs did not answer.
    pub unavailable: u64,
    /// Connections that were turned away, as there were too many.
    pub crowded: u64,
    /// Sessions that were encrypted at their end.
    #[serde(default)]
    pub encrypted: u64,
}

/// A question to the database or the packs. One that is given up, as its answer took too long, was not answered.
struct Question {
    counters: Arc<Counters>,
    answered: bool,
}

impl Question {
    fn new(counters: &Arc<Counters>) -> Self {
        Self { counters: Arc::clone(counters), answered: false }
    }

    /// What came of it.
    fn answer<T>(mut self, answer: Result<T, MaildropError>) -> Result<T, MaildropError> {
        self.answered = !matches!(answer, Err(MaildropError::Unavailable));
        answer
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.answered {
            self.counters.unavailable.fetch_add(1, Relaxed);
        }
    }
}

/// Bytes that are read at once.
const CHUNK: u64 = 256 << 10;

/// Messages up to so many bytes are read at once.
const WHOLE: u64 = 512 << 10;

impl House {
    pub(crate) fn status(&self) -> Pop3Status {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let counters = &self.counters;
        Pop3Status {
            sessions: read(&counters.sessions),
            logins: read(&counters.logins),
            refused: read(&counters.refused),
            retrieved: read(&counters.retrieved),
            octets: read(&counters.octets),
            deleted: read(&counters.deleted),
            unavailable: read(&counters.unavailable),
            crowded: read(&counters.crowded),
            encrypted: read(&counters.encrypted),
        }
    }

    fn let_in(&self, client: &Client, account: &AccountView) -> Mailbox {
        self.counters.logins.fetch_add(1, Relaxed);
        let source = client.peer.ip().to_canonical();
        info!(user = %account.name, client = %source, "a login to pop3");
        self.lookout.welcomed(source, account.id);
        Mailbox {
            account: account.id,
            directory: self.directory.clone(),
            shards: self.shards.clone(),
            counters: Arc::clone(&self.counters),
            folder: tokio::sync::OnceCell::new(),
        }
    }

    fn refuse(&self, refusal: LoginRefusal) -> Refused {
        self.counters.refused.fetch_add(1, Relaxed);
        match refusal {
            LoginRefusal::Wrong => Refused::Credentials,
            LoginRefusal::Disabled => Refused::Disabled,
            LoginRefusal::Busy => Refused::Unavailable,
        }
    }
}

impl Handler for House {
    type Maildrop = Mailbox;

    fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.certificates.as_ref().map(|certificates| certificates.server_config())
    }

    async fn login(
        &self,
        client: &Client,
        user: &str,
        password: &Password,
    ) -> Result<Mailbox, Refused> {
        let attempt = self.directory.login(user, Protocol::Pop3);
        match attempt.check(password.reveal()).await {
            Ok(accepted) => Ok(self.let_in(client, &accepted.account)),
            Err(refusal) => Err(self.refuse(refusal)),
        }
    }

    async fn scram(&self, _: &Client, user: &str) -> Result<ScramParameters, Refused> {
        let challenge = self.directory.login(user, Protocol::Pop3).scram();
        Ok(ScramParameters { salt: challenge.salt().to_vec(), iterations: challenge.iterations() })
    }

    async fn prove(
        &self,
        client: &Client,
        user: &str,
        message: &[u8],
        proof: &[u8],
    ) -> Result<Proved<Mailbox>, Refused> {
        let challenge = self.directory.login(user, Protocol::Pop3).scram();
        match challenge.verify(message, proof) {
            Ok((accepted, signature)) => Ok(Proved {
                signature: signature.to_vec(),
                maildrop: self.let_in(client, &accepted.account),
            }),
            Err(refusal) => Err(self.refuse(refusal)),
        }
    }

    fn closed(&self, client: &Client, facts: &Facts) {
        let counters = &self.counters;
        counters.sessions.fetch_add(1, Relaxed);
        counters.encrypted.fetch_add(u64::from(client.encrypted), Relaxed);
        counters.retrieved.fetch_add(u64::from(facts.retrieved), Relaxed);
        counters.octets.fetch_add(facts.octets, Relaxed);
        counters.deleted.fetch_add(u64::try_from(facts.deleted).unwrap_or(0), Relaxed);
        let source = client.peer.ip().to_canonical();
        debug!(%source, ?facts, "a POP3 session ended");
        for (conduct, count) in [
            (Conduct::GuessedPasswords, facts.failures),
            (Conduct::BrokeProtocol, facts.errors / 4),
            (Conduct::Injected, u32::from(facts.injected)),
        ] {
            if count > 0 {
                self.lookout.saw(Sighting { service: Service::Pop3, source, conduct, count });
            }
        }
    }

    fn crowded(&self, peer: std::net::SocketAddr) {
        self.counters.crowded.fetch_add(1, Relaxed);
        self.lookout.saw(sightings::crowded(Service::Pop3, peer.ip().to_canonical()));
    }
}

/// A user's Inbox.
pub(crate) struct Mailbox {
    account: AccountId,
    directory: Directory,
    shards: Shards,
    counters: Arc<Counters>,
    /// As it was when it was listed; none if there was never any mail.
    folder: tokio::sync::OnceCell<Option<Folder>>,
}

impl Mailbox {
    /// The store where he lives now: he may have moved since he logged in.
    async fn store(&self) -> Result<Store, MaildropError> {
        let account = self.directory.account(self.account).ok_or(MaildropError::Broken)?;
        let shard = self.shards.of(account.shard).map_err(|error| {
            warn!(account = self.account.0, %error, "a mailbox can't be opened");
            MaildropError::Unavailable
        })?;
        shard.store().await.map_err(|error| {
            debug!(account = self.account.0, %error, "a mailbox can't be opened");
            MaildropError::Unavailable
        })
    }

    /// What went wrong, in POP3's words. A store that does not answer is not asked again for a while.
    fn failed(&self, error: &StoreError) -> MaildropError {
        if error.is_missing() {
            return MaildropError::Gone;
        }
        if is_outage(error)
            && let Some(account) = self.directory.account(self.account)
            && let Ok(shard) = self.shards.of(account.shard)
        {
            shard.failed(error);
        }
        if error.may_pass() {
            return MaildropError::Unavailable;
        }
        warn!(account = self.account.0, %error, "a mailbox can't be read");
        MaildropError::Broken
    }

    async fn folder(&self, store: &Store) -> Result<Option<FolderId>, MaildropError> {
        let inbox: FolderPath = Purpose::Inbox.into();
        let find = || store.folder(Account(self.account.0), &inbox);
        let folder = self.folder.get_or_try_init(find).await;
        let folder = folder.map_err(|error| self.failed(&error))?;
        Ok(folder.as_ref().map(|folder| folder.id))
    }

    async fn open(&self, message: Message) -> Result<(Store, BodyId, u64), MaildropError> {
        let store = self.store().await?;
        let folder = self.folder(&store).await?.ok_or(MaildropError::Gone)?;
        let uid = u32::try_from(message.uid).map_err(|_| MaildropError::Gone)?;
        let found = store.message(Account(self.account.0), folder, uid).await;
        let found = found.map_err(|error| self.failed(&error))?;
        Ok((store, found.body, found.size))
    }
}

impl Mailbox {
    async fn list(&self) -> Result<Listing, MaildropError> {
        let store = self.store().await?;
        let Some(folder) = self.folder(&store).await? else { return Ok(Listing::default()) };
        let listed = store.listing_with_names(Account(self.account.0), folder).await;
        let (listed, names) = listed.map_err(|error| self.failed(&error))?;
        let folder = self.folder.get().and_then(Option::as_ref);
        let validity = folder.map_or(0, |it| it.uidvalidity);
        let mut listing = Listing::with_capacity(u64::from(validity), listed.len());
        for message in listed {
            let (uid, size) = (u64::from(message.uid), u64::from(message.size));
            match names.get(&message.uid) {
                // One that could be the name of another message of ours would be no name.
                Some(name) if !folder.is_some_and(|folder| folder.may_call(name)) => {
                    if listing.push_named(uid, size, name).is_err() {
                        listing.push(uid, size);
                    }
                }
                _ => listing.push(uid, size),
            }
        }
        Ok(listing)
    }

    async fn begin(&self, message: Message, lines: Option<u64>) -> Result<Pieces, MaildropError> {
        let (store, body, size) = self.open(message).await?;
        let counters = Arc::clone(&self.counters);
        let Some(lines) = lines else {
            return Ok(Pieces { store, counters, body, at: 0, end: size, head: None });
        };
        let head = store.bodies().head(body, lines).await;
        let head = head.map_err(|error| self.failed(&error.into()))?;
        Ok(Pieces { store, counters, body, at: size, end: size, head: Some(head) })
    }

    async fn change(&self, changes: &Changes) -> Result<(), MaildropError> {
        let store = self.store().await?;
        let Some(folder) = self.folder(&store).await? else { return Ok(()) };
        let account = Account(self.account.0);
        let uids = |uids: &[u64]| -> Vec<u32> {
            uids.iter().filter_map(|uid| u32::try_from(*uid).ok()).collect()
        };
        if !changes.deleted.is_empty() {
            let deleted = uids(&changes.deleted);
            let gone = store.expunge(account, folder, &deleted).await;
            gone.map_err(|error| self.failed(&error))?;
        }
        if !changes.retrieved.is_empty() {
            let seen = uids(&changes.retrieved);
            // That a message was read is worth no failure of what was deleted.
            if let Err(error) =
                store.flag(account, folder, &seen, Flags::SEEN, Flags::default()).await
            {
                debug!(account = account.0, %error, "messages are not marked as read");
            }
        }
        Ok(())
    }
}

impl Maildrop for Mailbox {
    type Body = Pieces;

    async fn listing(&self) -> Result<Listing, MaildropError> {
        let question = Question::new(&self.counters);
        question.answer(self.list().await)
    }

    async fn retrieve(&self, message: Message) -> Result<Pieces, MaildropError> {
        let question = Question::new(&self.counters);
        question.answer(self.begin(message, None).await)
    }

    async fn top(&self, message: Message, lines: u64) -> Result<Pieces, MaildropError> {
        let question = Question::new(&self.counters);
        question.answer(self.begin(message, Some(lines)).await)
    }

    fn weight(&self, message: Message) -> u64 {
        // Of a long one, the store has all in memory while pieces of it are read.
        message.size
    }

    async fn commit(&self, changes: &Changes) -> Result<(), MaildropError> {
        if changes.deleted.is_empty() && changes.retrieved.is_empty() {
            return Ok(());
        }
        let question = Question::new(&self.counters);
        question.answer(self.change(changes).await)
    }
}

/// A message on its way out.
pub(crate) struct Pieces {
    store: Store,
    counters: Arc<Counters>,
    body: BodyId,
    at: u64,
    end: u64,
    /// The beginning, where that is all that is wanted.
    head: Option<Bytes>,
}

impl Body for Pieces {
    async fn chunk(&mut self) -> Result<Option<Bytes>, MaildropError> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        if self.at >= self.end {
            return Ok(None);
        }
        let question = Question::new(&self.counters);
        let bodies = self.store.bodies();
        let read = if self.at == 0 && self.end <= WHOLE {
            bodies.get(self.body).await
        } else {
            bodies.get_range(self.body, self.at..self.end.min(self.at + CHUNK)).await
        };
        let chunk = question.answer(read.map_err(|error| {
            let error = StoreError::from(error);
            match (error.is_missing(), error.may_pass()) {
                (true, _) => MaildropError::Gone,
                (false, true) => MaildropError::Unavailable,
                (false, false) => MaildropError::Broken,
            }
        }))?;
        if chunk.is_empty() {
            return Err(MaildropError::Broken);
        }
        self.at += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        Ok(Some(chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_without_an_answer_are_counted() {
        let counters = Arc::new(Counters::default());
        let count = || counters.unavailable.load(Relaxed);
        let ask = || Question::new(&counters);
        assert_eq!(ask().answer(Ok(7)), Ok(7));
        assert_eq!(ask().answer::<()>(Err(MaildropError::Gone)), Err(MaildropError::Gone));
        assert_eq!(count(), 0);
        let unavailable = Err(MaildropError::Unavailable);
        assert_eq!(ask().answer::<()>(unavailable), unavailable);
        assert_eq!(count(), 1);
        // Nobody waited for it any more.
        drop(ask());
        assert_eq!(count(), 2);
    }
}
