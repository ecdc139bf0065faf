//! Logins: what somebody gives is compared with what is stored, off the threads that others wait for.
//!
//! Whether a name is known must not be told by time, so whoever is not known, or has what is compared quickly, waits for a
//! comparison like that of the others before it is refused. What a comparison costs is bounded: so many run at once, so many
//! wait, and who comes then is told to come again. Outcomes are remembered for minutes, right and wrong alike.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use muralla_credentials::{Check, CostlyCheck, LONGEST_PASSWORD, Scheme, View};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tracing::debug;

use crate::directory::{Directory, Inner, unix_now};
use crate::index::Index;
use crate::recent::Recent;
use crate::record::{Account, Record, Secret};
use crate::resolve::AccountView;
use crate::{AccountId, Name, Options, Protocol, ScramKeys};

/// Outcomes that are remembered, of each kind.
const REMEMBERED: usize = 32_768;

/// Most comparisons of one attempt: the password and a few app passwords that were imported.
const MOST_COSTLY: usize = 8;

/// Longest name that is looked at.
const LONGEST_USER: usize = 400;

/// Who was let in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accepted {
    /// The account.
    pub account: AccountView,
    /// The number of the app password that it was, if it was one.
    pub app_password: Option<i64>,
}

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LoginRefusal {
    /// There is no such account, or it has another password.
    #[error("the name or the password is wrong")]
    Wrong,
    /// The password is the right one, and the account is disabled, or its owner blocked as a subscriber.
    #[error("this account is disabled: please call your provider")]
    Disabled,
    /// Too many log in at this moment.
    #[error("too many log in at this moment: please try again")]
    Busy,
}

/// Somebody who wants to log in, and what is stored of him as of now: make it when the password is there.
#[derive(Clone)]
pub struct LoginAttempt {
    inner: Arc<Inner>,
    index: Arc<Index>,
    user: String,
    protocol: Protocol,
    record: Option<Record>,
}

impl LoginAttempt {
    pub(crate) fn new(directory: &Directory, user: &str, protocol: Protocol) -> Self {
        let inner = Arc::clone(&directory.inner);
        let index = inner.index.load_full();
        let name = name_of(&index, &inner.registry.options, user);
        let record = name.as_ref().and_then(|name| index.account(name.as_str()));
        let user = match name {
            Some(name) => name.into(),
            None => user.chars().take(LONGEST_USER).collect(),
        };
        Self { inner, index, user, protocol, record }
    }

    /// Who it says it is, in the form in which names are looked up.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The account of that name, for limits and reports; nothing of it is for whoever wants to log in.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        Some(Account::read(self.record.as_deref()?)?.id)
    }

    /// Compares a password with the account's, and with its app passwords that are good for the protocol.
    ///
    /// # Errors
    ///
    /// [`LoginRefusal`].
    pub async fn check(&self, password: &[u8]) -> Result<Accepted, LoginRefusal> {
        let doorman = &self.inner.doorman;
        let outcome = self.checked(password).await;
        doorman.count(&outcome);
        outcome
    }

    async fn checked(&self, password: &[u8]) -> Result<Accepted, LoginRefusal> {
        // This tells nothing of the name.
        if password.is_empty() || password.len() > LONGEST_PASSWORD {
            return Err(LoginRefusal::Wrong);
        }
        let doorman = &self.inner.doorman;
        let now = doorman.now();
        let parts = [self.user.as_bytes(), self.protocol.name().as_bytes(), password];
        let question = doorman.good.question(&parts);
        let fingerprint = doorman.good.fingerprint(self.record.as_deref().unwrap_or_default());
        if let Some(which) = doorman.good.get(question, fingerprint, now) {
            doorman.remembered.fetch_add(1, Relaxed);
            return self.accepted(which);
        }
        if doorman.wrong.get(question, fingerprint, now).is_some() {
            doorman.remembered.fetch_add(1, Relaxed);
            return Err(LoginRefusal::Wrong);
        }
        let fits = match self.quickly(password) {
            Ok(which) => Some(which),
            Err(candidates) => {
                let find = move || candidates.iter().find_map(Candidate::fits);
                doorman.run(find).await.ok_or(LoginRefusal::Busy)?
            }
        };
        match fits {
            Some(which) => {
                let until = now.saturating_add(doorman.remember.min(self.seconds_left(which)));
                doorman.good.put(question, fingerprint, until, which);
                if which == MAIN {
                    self.upgrade(password);
                }
                self.accepted(which)
            }
            None => {
                doorman.wrong.put(question, fingerprint, now.saturating_add(doorman.remember), 0);
                Err(LoginRefusal::Wrong)
            }
        }
    }

    /// What fits without much work, or what is still to be compared: never nothing.
    fn quickly(&self, password: &[u8]) -> Result<i64, Vec<Candidate>> {
        let mut candidates = Vec::new();
        for (which, secret) in self.secrets() {
            let what = match secret.scheme() {
                // Nobody's door is open to all, whatever a row says.
                Scheme::Anything => continue,
                Scheme::None => match secret.scram() {
                    Some(keys) => What::Scram(keys, password.into()),
                    None => continue,
                },
                _ => match secret.credential().check(password) {
                    Check::Fits => return Ok(which),
                    Check::Wrong => continue,
                    Check::Costly(check) => What::Stored(check),
                },
            };
            if candidates.len() < MOST_COSTLY {
                candidates.push(Candidate { which, what });
            }
        }
        if candidates.is_empty() {
            let what = match View::of(&self.index.decoy()).check(password) {
                Check::Costly(check) => What::Decoy(check),
                Check::Fits | Check::Wrong => return Err(candidates),
            };
            candidates.push(Candidate { which: MAIN, what });
        }
        Err(candidates)
    }

    /// The account's password, and the app passwords that are good for the protocol, with their numbers.
    fn secrets(&self) -> Vec<(i64, Secret<'_>)> {
        let Some(account) = self.record.as_deref().and_then(Account::read) else {
            return Vec::new();
        };
        let now = unix_now().cast_signed();
        let apps = account.apps().into_iter();
        let good = apps.filter(|app| app.protocols.has(self.protocol) && app.expires > now);
        let mut secrets = vec![(MAIN, account.secret)];
        secrets.extend(good.map(|app| (app.id, app.secret)));
        secrets
    }

    /// How long an app password is still good.
    fn seconds_left(&self, which: i64) -> u64 {
        let account = self.record.as_deref().and_then(Account::read);
        let apps = account.map(|account| account.apps()).unwrap_or_default();
        let app = apps.into_iter().find(|app| which != MAIN && app.id == which);
        app.map_or(u64::MAX, |app| {
            app.expires.saturating_sub(unix_now().cast_signed()).max(0).cast_unsigned()
        })
    }

    fn accepted(&self, which: i64) -> Result<Accepted, LoginRefusal> {
        let record = self.record.as_deref().ok_or(LoginRefusal::Wrong)?;
        let small = self.index.small();
        let account = self.inner.view(record, &small).ok_or(LoginRefusal::Wrong)?;
        if account.disabled || account.refused {
            return Err(LoginRefusal::Disabled);
        }
        Ok(Accepted { account, app_password: (which != MAIN).then_some(which) })
    }

    /// Stores a password anew that was imported in another form, if there is nothing better to do at this moment.
    fn upgrade(&self, password: &[u8]) {
        let options = &self.inner.registry.options;
        let Some(account) = self.record.as_deref().and_then(Account::read) else { return };
        // A password that is a subscriber's as well stays in the form in which his logins need it.
        let stays = account.subscriber.is_some() || account.secret.scheme() == Scheme::Argon2;
        let ours = stays && (account.secret.has_scram() || !options.scram);
        if !options.upgrade || ours || self.inner.is_away() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.inner.doorman.upgrades).try_acquire_owned() else {
            return;
        };
        let (id, password) = (account.id, password.to_vec());
        let packed = account.secret.packed_credential().to_vec();
        let registry = self.inner.registry.clone();
        tokio::spawn(async move {
            let _permit = permit;
            match registry.upgrade(id, &packed, password).await {
                Ok(true) => debug!(account = id.0, "a password is stored anew"),
                // It was changed meanwhile, or the next login comes here again.
                Ok(false) => {}
                Err(error) => debug!(account = id.0, %error, "a password could not be stored anew"),
            }
        });
    }

    /// Begins SCRAM-SHA-256 (RFC 5802): what the server says of salt and passes. For who is not known it looks the same.
    #[must_use]
    pub fn scram(&self) -> ScramChallenge {
        let keys =
            self.secrets().into_iter().filter_map(|(which, secret)| Some((which, secret.scram()?)));
        let mut keys: Vec<(i64, ScramKeys)> = keys.collect();
        let decoy = || ScramKeys::decoy(&self.user, &self.index.small().secret);
        let first = keys.first().map(|(_, keys)| keys.clone()).unwrap_or_else(decoy);
        // One salt is said, so other keys than its own can't be meant.
        keys.retain(|(_, keys)| keys.salt == first.salt && keys.iterations == first.iterations);
        ScramChallenge { attempt: self.clone(), first, keys }
    }
}

/// Without who it is.
impl fmt::Debug for LoginAttempt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LoginAttempt").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

/// The number of the account's own password among the app passwords'.
const MAIN: i64 = 0;

/// The server's half of SCRAM-SHA-256.
#[derive(Clone, Debug)]
pub struct ScramChallenge {
    attempt: LoginAttempt,
    first: ScramKeys,
    keys: Vec<(i64, ScramKeys)>,
}

impl ScramChallenge {
    /// The salt, as bytes.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.first.salt
    }

    /// The passes.
    #[must_use]
    pub fn iterations(&self) -> u32 {
        self.first.iterations
    }

    /// Compares a client's proof; gives the server's signature with who was let in. `message` is what the RFC calls
    /// AuthMessage. Costs next to nothing, whoever it is.
    ///
    /// # Errors
    ///
    /// [`LoginRefusal`].
    pub fn verify(
        &self,
        message: &[u8],
        proof: &[u8],
    ) -> Result<(Accepted, [u8; 32]), LoginRefusal> {
        let mut fits = None;
        for (which, keys) in &self.keys {
            if let Some(signature) = keys.verify(message, proof) {
                fits.get_or_insert((*which, signature));
            }
        }
        if self.keys.is_empty() {
            let _ = self.first.verify(message, proof);
        }
        let outcome = match fits {
            Some((which, signature)) => {
                self.attempt.accepted(which).map(|accepted| (accepted, signature))
            }
            None => Err(LoginRefusal::Wrong),
        };
        self.attempt.inner.doorman.count(&outcome);
        outcome
    }
}

/// Something to compare.
struct Candidate {
    which: i64,
    what: What,
}

enum What {
    Stored(CostlyCheck),
    Scram(ScramKeys, Box<[u8]>),
    /// Whatever comes of it, it does not fit.
    Decoy(CostlyCheck),
}

impl Candidate {
    fn fits(&self) -> Option<i64> {
        let fits = match &self.what {
            What::Stored(check) => check.run(),
            What::Scram(keys, password) => keys.fits(password),
            What::Decoy(check) => {
                let _ = check.run();
                false
            }
        };
        fits.then_some(self.which)
    }
}

/// The name of an account that somebody means.
fn name_of(index: &Index, options: &Options, user: &str) -> Option<Name> {
    let user = user.trim();
    if user.len() > LONGEST_USER {
        return None;
    }
    let name = match &options.default_domain {
        Some(domain) if !user.contains('@') => Name::parse(&format!("{user}@{domain}")),
        _ => Name::parse(user),
    };
    let name = name.ok()?;
    let small = index.small();
    match small.domain(name.domain()) {
        Some(ours) => Name::join(name.local(), ours.entry.name.as_str()),
        None => Some(name),
    }
}

/// Who compares, and what he remembers.
pub(crate) struct Doorman {
    permits: Arc<Semaphore>,
    /// Of one: what is stored anew must not keep those who log in waiting, and a database that does not answer even less.
    upgrades: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
    good: Recent,
    wrong: Recent,
    /// Seconds.
    remember: u64,
    begin: Instant,
    accepted: AtomicU64,
    refused: AtomicU64,
    disabled: AtomicU64,
    busy: AtomicU64,
    remembered: AtomicU64,
    compared: AtomicU64,
}

/// Logins since the start.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LoginCounts {
    /// Let in.
    pub accepted: u64,
    /// With a wrong name or password.
    pub wrong: u64,
    /// With the right password, for an account that is disabled.
    pub disabled: u64,
    /// Told to come again.
    pub busy: u64,
    /// Answered from memory.
    pub remembered: u64,
    /// Comparisons that take their time.
    pub compared: u64,
    /// Logins that wait for one now.
    pub waiting: u64,
}

impl Doorman {
    /// `key` must be secret and random.
    pub(crate) fn new(options: &Options, key: [u8; 32]) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(options.checks.clamp(1, 1024))),
            upgrades: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
            most_waiting: options.waiting,
            good: Recent::new(REMEMBERED, key),
            wrong: Recent::new(REMEMBERED, key),
            remember: options.remember.as_secs(),
            begin: Instant::now(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            disabled: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            remembered: AtomicU64::new(0),
            compared: AtomicU64::new(0),
        }
    }

    pub(crate) fn counts(&self) -> LoginCounts {
        LoginCounts {
            accepted: self.accepted.load(Relaxed),
            wrong: self.refused.load(Relaxed),
            disabled: self.disabled.load(Relaxed),
            busy: self.busy.load(Relaxed),
            remembered: self.remembered.load(Relaxed),
            compared: self.compared.load(Relaxed),
            waiting: self.waiting.load(Relaxed) as u64,
        }
    }

    /// Seconds since the start, and never 0.
    fn now(&self) -> u64 {
        self.begin.elapsed().as_secs() + 1
    }

    /// Does what takes its time when it is its turn; none if too many wait.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _place = Place::take(&self.waiting, self.most_waiting)?;
                Arc::clone(&self.permits).acquire_owned().await.ok()?
            }
        };
        self.compared.fetch_add(1, Relaxed);
        // It goes on when nobody waits for it any more, and keeps its permit for so long.
        let done = spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.ok()
    }

    fn count<T>(&self, outcome: &Result<T, LoginRefusal>) {
        let counter = match outcome {
            Ok(_) => &self.accepted,
            Err(LoginRefusal::Wrong) => &self.refused,
            Err(LoginRefusal::Disabled) => &self.disabled,
            Err(LoginRefusal::Busy) => &self.busy,
        };
        counter.fetch_add(1, Relaxed);
    }
}

impl fmt::Debug for Doorman {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Doorman").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// A place among those who wait, given back when it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let place = Self(waiting);
        let before = waiting.fetch_add(1, Relaxed);
        (before < most).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
