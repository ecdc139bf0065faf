//! The directory as a role has it: in memory, followed, and with a copy on the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use muralla_database::{Location, Position};
use muralla_mail_envelope::{Address, Domain};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;
use tracing::{info, warn};

use crate::entries::{Backend, DkimKeyEntry, DomainEntry, ShardEntry};
use crate::index::{Index, Small};
use crate::load::Problems;
use crate::login::Doorman;
use crate::resolve::{self, AccountView, Resolution};
use crate::{
    AccountId, BackendId, DirectoryError, LoginAttempt, Name, Options, Protocol, Registry,
    SendingLimits, ShardId, copy, load,
};

/// Domains, accounts, aliases and where mail goes. Clones are the same one.
///
/// Everything that is asked here is answered from memory, and nobody waits for the database; [`Directory::registry`] is where
/// changes are made.
#[derive(Clone, Debug)]
pub struct Directory {
    pub(crate) inner: Arc<Inner>,
    /// Ends what follows and copies, with the last clone.
    _tasks: Arc<Tasks>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) registry: Registry,
    pub(crate) index: ArcSwap<Index>,
    pub(crate) doorman: Doorman,
    /// How much an account may send if nothing else says it, as of now.
    limits: ArcSwap<SendingLimits>,
    seed: [u64; 2],
    /// Up to where the log of changes was read; none if everything is still to be read.
    pub(crate) position: tokio::sync::Mutex<Option<Position>>,
    /// Whether the schema is up to date.
    migrated: AtomicBool,
    health: Mutex<Health>,
    /// Rises with every change in memory.
    pub(crate) edition: AtomicU64,
}

#[derive(Debug)]
struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

#[derive(Debug, Default)]
struct Health {
    away_since: Option<u64>,
    last_error: Option<String>,
    current: u64,
    lag: u64,
    changes: u64,
    reloads: u64,
    problems: Vec<String>,
    refused: u64,
    copied: Option<u64>,
    copy_error: Option<String>,
}

/// How the directory is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Status {
    /// `SQLite` or `PostgreSQL`.
    pub engine: String,
    /// Where; without a password.
    pub location: String,
    /// Domains in memory.
    pub domains: u64,
    /// Accounts in memory.
    pub accounts: u64,
    /// Aliases in memory.
    pub aliases: u64,
    /// Accounts with a password that SCRAM can't be used with.
    pub without_scram: u64,
    /// Since when the database does not answer, in seconds since 1970; none if it does.
    pub away_since: Option<u64>,
    /// What went wrong last, while it is away or can't be followed.
    pub last_error: Option<String>,
    /// When the log of changes was last read to its end, in seconds since 1970; 0 if that was before this start, and what is in
    /// memory is the copy's.
    pub current: u64,
    /// Seconds from the latest change's commit to its being in force here, as far as whole seconds tell.
    pub lag: u64,
    /// Changes read since the start.
    pub changes: u64,
    /// Times that everything was read again.
    pub reloads: u64,
    /// Rows that can't be used, at most 100 of them.
    pub problems: Vec<String>,
    /// How many rows can't be used, as of the last time that everything was read.
    pub refused: u64,
    /// When the copy was last written, in seconds since 1970.
    pub copied: Option<u64>,
    /// Why the copy could not be written.
    pub copy_error: Option<String>,
    /// Logins and their checks since the start.
    pub logins: crate::LoginCounts,
}

impl Directory {
    /// Opens the directory, brings its schema up to date, and loads it. If the database is away, what is in the copy is taken
    /// until it is back. From then on it is followed until the last clone is dropped. Needs a runtime of tokio.
    ///
    /// # Errors
    ///
    /// If the location can't be used, the schema is newer than this program, or the database is away and there is no copy.
    /// In the last case [`DirectoryError::may_pass`] holds. A database without any domain is refused where the copy has some:
    /// it is a disk that is not mounted, or another database, and all mail would be refused for good.
    pub async fn open(location: &Location, options: Options) -> Result<Self, DirectoryError> {
        let registry = Registry::connect(location, options)?;
        let seed = rand::random();
        let doorman = Doorman::new(&registry.options, rand::random());
        let limits = ArcSwap::from_pointee(registry.options.limits);
        let inner = Arc::new(Inner {
            registry,
            index: ArcSwap::from_pointee(Index::new(seed)),
            doorman,
            limits,
            seed,
            position: tokio::sync::Mutex::new(None),
            migrated: AtomicBool::new(false),
            health: Mutex::default(),
            edition: AtomicU64::new(0),
        });
        match inner.catch_up().await {
            Ok(()) => inner.refuse_emptiness().await?,
            Err(error) if error.may_pass() && inner.start_from_copy().await? => {}
            Err(error) => return Err(error),
        }
        let follow = tokio::spawn(Arc::clone(&inner).follow()).abort_handle();
        let copy = tokio::spawn(Arc::clone(&inner).keep_copy()).abort_handle();
        Ok(Self { inner, _tasks: Arc::new(Tasks(vec![follow, copy])) })
    }

    /// Where changes are made, and what is not in memory is asked for.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// How the role uses it.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.inner.registry.options
    }

    /// Says anew how much an account may send if nothing else says it.
    pub fn set_limits(&self, limits: SendingLimits) {
        self.inner.limits.store(Arc::new(limits));
    }

    /// What becomes of mail for an address.
    #[must_use]
    pub fn resolve(&self, address: &Address) -> Resolution {
        resolve::resolve(&self.inner.index.load(), self.options(), address)
    }

    /// Whether a domain is one of ours.
    #[must_use]
    pub fn is_local(&self, domain: &Domain) -> bool {
        self.inner.index.load().small().domain(domain.as_str()).is_some()
    }

    /// A domain of ours, as it was entered; an alias leads to what it is an alias of.
    #[must_use]
    pub fn domain(&self, domain: &Domain) -> Option<DomainEntry> {
        let index = self.inner.index.load();
        let small = index.small();
        small.domain(domain.as_str()).map(|ours| ours.entry.clone())
    }

    /// The account of a number.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Option<AccountView> {
        let index = self.inner.index.load();
        let record = index.account_of(id.0)?;
        self.inner.view(&record, &index.small())
    }

    /// The account of a name; a domain that is an alias leads to the domain that it is an alias of.
    #[must_use]
    pub fn account_named(&self, name: &Name) -> Option<AccountView> {
        let index = self.inner.index.load();
        let small = index.small();
        let ours = small.domain(name.domain())?;
        let name = Name::join(name.local(), ours.entry.name.as_str())?;
        let record = index.account(name.as_str())?;
        self.inner.view(&record, &small)
    }

    /// Whether an account may send as an address: its own with any detail, in any domain that is an alias of its own, an
    /// alias that leads straight to it, or what it was allowed.
    #[must_use]
    pub fn may_send_as(&self, account: AccountId, address: &Address) -> bool {
        resolve::may_send_as(&self.inner.index.load(), account, address)
    }

    /// A back-end; none if there is none of that number (what is for it waits).
    #[must_use]
    pub fn backend(&self, id: BackendId) -> Option<Backend> {
        if id == BackendId::STORE {
            return Some(Backend::Store);
        }
        let index = self.inner.index.load();
        let small = index.small();
        small.backends.get(&id).map(|entry| entry.backend.clone())
    }

    /// A back-end's name, for logs.
    #[must_use]
    pub fn backend_name(&self, id: BackendId) -> Option<String> {
        if id == BackendId::STORE {
            return Some(Backend::STORE.to_owned());
        }
        let index = self.inner.index.load();
        let small = index.small();
        small.backends.get(&id).map(|entry| entry.name.clone())
    }

    /// A shard.
    #[must_use]
    pub fn shard(&self, id: ShardId) -> Option<Arc<ShardEntry>> {
        self.inner.index.load().small().shards.get(&id).cloned()
    }

    /// All shards.
    #[must_use]
    pub fn shards(&self) -> Vec<Arc<ShardEntry>> {
        self.inner.index.load().small().shards.values().cloned().collect()
    }

    /// The keys that mail of a domain is signed with, the newest first.
    #[must_use]
    pub fn dkim_keys(&self, domain: &Domain) -> Vec<DkimKeyEntry> {
        let index = self.inner.index.load();
        let small = index.small();
        let keys = small.keys.get(domain.as_str());
        keys.into_iter().flat_map(|keys| keys.iter()).filter(|key| key.active).cloned().collect()
    }

    /// Somebody wants to log in. Whoever it is, known or not, this takes the same time, and so do the checks of what it gives.
    #[must_use]
    pub fn login(&self, user: &str, protocol: Protocol) -> LoginAttempt {
        LoginAttempt::new(self, user, protocol)
    }

    /// Whether SCRAM may be offered: there are keys for every account that has a password. Otherwise a mail program that
    /// prefers it would be refused with the right password.
    #[must_use]
    pub fn offers_scram(&self) -> bool {
        self.options().scram && self.inner.index.load().without_scram() == 0
    }

    /// Takes over what was changed until now, by whomever. What is changed is taken over within a second by itself; this is
    /// for who wants to see his own change at once.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn catch_up(&self) -> Result<(), DirectoryError> {
        self.inner.catch_up().await
    }

    /// Whether the database did not answer the last time.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.inner.is_away()
    }

    /// Writes the copy now; false if there is none to be written, or another process writes it.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub async fn write_copy(&self) -> Result<bool, DirectoryError> {
        self.inner.write_copy().await
    }

    /// How the directory is.
    #[must_use]
    pub fn status(&self) -> Status {
        let index = self.inner.index.load();
        let health = self.inner.health.lock();
        let location = &self.inner.registry.location;
        Status {
            engine: location.engine().to_owned(),
            location: location.to_string(),
            domains: index.small().domains.len() as u64,
            accounts: index.accounts() as u64,
            aliases: index.aliases() as u64,
            without_scram: index.without_scram() as u64,
            away_since: health.away_since,
            last_error: health.last_error.clone(),
            current: health.current,
            lag: health.lag,
            changes: health.changes,
            reloads: health.reloads,
            problems: health.problems.clone(),
            refused: health.refused,
            copied: health.copied,
            copy_error: health.copy_error.clone(),
            logins: self.inner.doorman.counts(),
        }
    }
}

impl Inner {
    /// An account as the servers see it now.
    pub(crate) fn view(&self, record: &[u8], small: &Small) -> Option<AccountView> {
        AccountView::of(record, small, &self.registry.options, **self.limits.load())
    }

    /// Reads what is new, or everything if it has to be.
    pub(crate) async fn catch_up(&self) -> Result<(), DirectoryError> {
        let mut position = self.position.lock().await;
        let outcome = self.read_news(&mut position).await;
        match &outcome {
            Ok(()) => self.note_back(),
            Err(error) if error.is_away() => self.note_away(error),
            // That something was refused is an answer, but not what is in memory goes on from.
            Err(error) => self.health.lock().last_error = Some(error.to_string()),
        }
        outcome
    }

    async fn read_news(&self, position: &mut Option<Position>) -> Result<(), DirectoryError> {
        if !self.migrated.load(Ordering::Acquire) {
            self.registry.migrate().await?;
            self.migrated.store(true, Ordering::Release);
        }
        let mut work = self.registry.engine.read().await?;
        let news = match position.as_ref() {
            None => None,
            Some(from) => crate::follow::after(&mut work, from, self.keep_changes()).await?,
        };
        let mut problems = Problems::default();
        let Some(news) = news else {
            let index = Index::new(self.seed);
            let begin = Instant::now();
            let new = load::everything(&mut work, &index, &mut problems).await?;
            info!(
                accounts = index.accounts(),
                aliases = index.aliases(),
                unusable = problems.all,
                milliseconds = begin.elapsed().as_millis(),
                "the directory is loaded"
            );
            self.index.store(Arc::new(index));
            *position = Some(new);
            self.edition.fetch_add(1, Ordering::Relaxed);
            let mut health = self.health.lock();
            health.reloads += 1;
            health.current = unix_now();
            health.refused = problems.all;
            health.problems.clear();
            health.note(problems.first);
            return Ok(());
        };
        let index = self.index.load_full();
        if !news.accounts.is_empty() {
            load::some_accounts(&mut work, &index, &news.accounts, &mut problems).await?;
        }
        if !news.aliases.is_empty() {
            load::some_aliases(&mut work, &index, &news.aliases, &mut problems).await?;
        }
        if news.small {
            load::small(&mut work, &index, &mut problems).await?;
        }
        let now = news.position.at;
        *position = Some(news.position);
        if news.rows > 0 {
            self.edition.fetch_add(1, Ordering::Relaxed);
        }
        let mut health = self.health.lock();
        health.current = unix_now();
        health.changes += news.rows;
        if let Some(latest) = news.latest {
            health.lag = now.saturating_sub(latest).max(0).cast_unsigned();
        }
        health.note(problems.first);
        Ok(())
    }

    fn keep_changes(&self) -> i64 {
        i64::try_from(self.registry.options.keep_changes.as_secs()).unwrap_or(i64::MAX)
    }

    /// Takes what is in the copy; false if there is none.
    async fn start_from_copy(self: &Arc<Self>) -> Result<bool, DirectoryError> {
        let Some(path) = self.registry.options.copy.clone() else { return Ok(false) };
        let index = Index::new(self.seed);
        let read = blocking("the copy of the directory", move || {
            let copied = copy::read(&index, &path)?;
            Ok(copied.map(|copied| (index, copied)))
        })
        .await;
        match read {
            Ok(Some((index, copied))) => {
                warn!(
                    accounts = copied.accounts,
                    aliases = copied.aliases,
                    at = copied.at,
                    "the database is away: going on from the copy of the directory"
                );
                self.index.store(Arc::new(index));
                self.health.lock().copied = Some(copied.at);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) => {
                warn!(%error, "the database is away");
                Ok(false)
            }
        }
    }

    async fn refuse_emptiness(&self) -> Result<(), DirectoryError> {
        let Some(path) = self.registry.options.copy.clone() else { return Ok(()) };
        if !self.index.load().small().domains.is_empty() {
            return Ok(());
        }
        let shown = path.display().to_string();
        let domains =
            blocking("the copy of the directory", move || Ok(copy::domains(&path))).await?;
        if domains == 0 {
            return Ok(());
        }
        Err(DirectoryError::invalid(
            self.registry.location.to_string(),
            format!(
                "the database has no domain, and its copy in {shown} has {domains}: look whether it is the right database and its \
                 disk is mounted, or delete the copy if this is meant"
            ),
        ))
    }

    pub(crate) async fn write_copy(self: &Arc<Self>) -> Result<bool, DirectoryError> {
        let Some(path) = self.registry.options.copy.clone() else { return Ok(false) };
        let index = self.index.load_full();
        let written =
            blocking("the copy of the directory", move || copy::write(&index, &path, unix_now()))
                .await;
        let mut health = self.health.lock();
        match written {
            Ok(Some(copied)) => {
                health.copied = Some(copied.at);
                health.copy_error = None;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) => {
                health.copy_error = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// How long a copy of so many records is let alone: to write it takes time and wears the disk.
    pub(crate) fn copy_rest(&self) -> Duration {
        let index = self.index.load();
        let records = (index.accounts() + index.aliases()) as u64;
        Duration::from_micros(500 * records).clamp(Duration::from_secs(1), Duration::from_secs(300))
    }

    /// Whether the database does not answer.
    pub(crate) fn is_away(&self) -> bool {
        self.health.lock().away_since.is_some()
    }

    fn note_away(&self, error: &DirectoryError) {
        let mut health = self.health.lock();
        health.last_error = Some(error.to_string());
        if health.away_since.is_none() {
            health.away_since = Some(unix_now());
            drop(health);
            let location = &self.registry.location;
            warn!(%location, %error, "the database is away: the directory answers from memory");
        }
    }

    fn note_back(&self) {
        let mut health = self.health.lock();
        health.last_error = None;
        if let Some(since) = health.away_since.take() {
            drop(health);
            let seconds = unix_now().saturating_sub(since);
            info!(location = %self.registry.location, seconds, "the database is back");
        }
    }
}

impl Health {
    fn note(&mut self, problems: Vec<String>) {
        for problem in problems {
            if self.problems.contains(&problem) {
                continue;
            }
            warn!(problem, "a row of the directory can not be used");
            if self.problems.len() >= Problems::MOST {
                self.problems.remove(0);
            }
            self.problems.push(problem);
        }
    }
}

/// Does something where nobody waits for the thread.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T, DirectoryError> + Send + 'static,
) -> Result<T, DirectoryError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(DirectoryError::File {
            what: what.to_owned(),
            source: std::io::Error::other(error),
        }),
    }
}

/// Seconds since 1970 by this machine's clock, for people to read and for what is cut to seconds in any case.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
