//! Mail on its way out: what is due is taken from the queue and handed over, and senders are told what they are owed.

pub(crate) mod dane;
pub mod hosts;
pub(crate) mod maildir;
pub(crate) mod notices;
pub(crate) mod remote;
pub mod sts;
pub mod stub;

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use muralla_database::Backoff;
use muralla_mail_directory::{AccountId, Backend, BackendId, Name};
use muralla_mail_envelope::{Address, EnhancedCode, Envelope, Reply, ReversePath, prvs};
use muralla_mail_queue::{
    Destinations, Ended, Handed, Job, Outcome, Queue, QueueError, Report, Ticket,
};
use muralla_smtp::client::Speaks;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::clock;
use crate::dkim::Signer;
use crate::letter::Letter;
use crate::measures::Fates;
use crate::post::{self, Post};
use crate::recipients::Recipients;
use crate::routes::Route;
pub use remote::TransportStatus;
use remote::{Called, Caller, Place};

/// Takes from the queue and hands over. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Outgoing(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) post: Post,
    pub(crate) caller: Caller,
    pub(crate) notices: notices::Notices,
    destinations: Mutex<Destinations>,
    transactions: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    memory_units: u32,
    sign_senders: bool,
    lease: Duration,
    owed: Notify,
    counters: Counters,
}

/// How it is made.
pub(crate) struct Parts {
    pub(crate) post: Post,
    pub(crate) caller: Caller,
    pub(crate) notices: notices::Notices,
    pub(crate) limits: muralla_mail_queue::Limits,
    pub(crate) transactions: usize,
    pub(crate) memory: u64,
    /// Whether senders of ours are signed, so that what comes back is known.
    pub(crate) sign_senders: bool,
    /// How long a lease lasts.
    pub(crate) lease: Duration,
}

#[derive(Debug, Default)]
struct Counters {
    taken: AtomicU64,
    delivered: AtomicU64,
    deferred: AtomicU64,
    failed: AtomicU64,
    unreachable: AtomicU64,
    told: AtomicU64,
    panics: AtomicU64,
}

/// What became of what was due, since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct OutgoingStatus {
    /// Jobs that were taken.
    pub taken: u64,
    /// Recipients that have it.
    pub delivered: u64,
    /// Recipients that are tried again.
    pub deferred: u64,
    /// Recipients that were refused.
    pub failed: u64,
    /// Recipients whose servers could not be reached.
    pub unreachable: u64,
    /// Notices to senders.
    pub told: u64,
    /// Transactions that are under way.
    pub under_way: u64,
    /// Connections that are kept.
    pub kept_connections: u64,
    /// Destinations that are left alone.
    pub left_alone: u64,
    /// How other servers were spoken with.
    #[serde(default)]
    pub transport: TransportStatus,
    /// Panics: of a delivery, which is tried again later, of a notice, or of what is done now and then.
    #[serde(default)]
    pub panics: u64,
}

/// Bytes that a permit of memory stands for.
const UNIT: u64 = 64 << 10;

/// Jobs that are taken at once.
const AT_ONCE: usize = 64;

/// How long the store may take for something out of the queue.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often what is kept is looked through.
const SWEEP: Duration = Duration::from_secs(5);

/// How often it is looked whether anybody is owed a notice.
const LOOK: Duration = Duration::from_secs(30);

/// How long after a panic something begins again.
const RECOVERY: Duration = Duration::from_secs(1);

impl Outgoing {
    pub(crate) fn new(parts: Parts) -> Self {
        let units = u32::try_from((parts.memory / UNIT).max(1)).unwrap_or(u32::MAX);
        let units = units.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Self(Arc::new(Inner {
            post: parts.post,
            caller: parts.caller,
            notices: parts.notices,
            destinations: Mutex::new(Destinations::new(parts.limits)),
            transactions: Arc::new(Semaphore::new(parts.transactions.max(1))),
            memory: Arc::new(Semaphore::new(usize::try_from(units).unwrap_or(1))),
            memory_units: units,
            sign_senders: parts.sign_senders,
            lease: parts.lease,
            owed: Notify::new(),
            counters: Counters::default(),
        }))
    }

    /// Who signs notices, and users' mail where that is sent from here.
    pub(crate) fn signer(&self) -> &Signer {
        &self.0.notices.signer
    }

    pub(crate) fn status(&self, transactions: usize) -> OutgoingStatus {
        let Inner { counters, destinations, caller, notices, transactions: free, .. } = &*self.0;
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        OutgoingStatus {
            taken: read(&counters.taken),
            delivered: read(&counters.delivered),
            deferred: read(&counters.deferred),
            failed: read(&counters.failed),
            unreachable: read(&counters.unreachable),
            told: read(&counters.told),
            under_way: count(transactions.saturating_sub(free.available_permits())),
            kept_connections: count(caller.kept()),
            left_alone: count(destinations.lock().left_alone(clock::now())),
            transport: caller.status(),
            panics: read(&counters.panics).saturating_add(read(&notices.panics)),
        }
    }

    /// Destinations are tried whatever was, as an operator wants it.
    pub(crate) fn revive<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let mut destinations = self.0.destinations.lock();
        names.for_each(|name| destinations.revive(name));
    }

    /// Works until told to stop, and then until what is under way has ended.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut aside = JoinSet::new();
        aside.spawn(self.clone().unending("the upkeep of connections", Self::tidy));
        aside.spawn(self.clone().unending("telling senders", Self::tell));
        let mut jobs = JoinSet::new();
        let mut backoff = Backoff::default();
        while !*stop.borrow() {
            while jobs.try_join_next().is_some() {}
            let worked = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                worked = AssertUnwindSafe(self.begin(&mut jobs)).catch_unwind() => worked,
            };
            let worked = worked.unwrap_or_else(|_| {
                self.0.counters.panics.fetch_add(1, Relaxed);
                error!("taking from the queue caused a panic; please report it");
                Err("it caused a panic".to_owned())
            });
            let pause = async {
                match worked {
                    Ok(queue) => {
                        backoff.succeeded();
                        // A place that became free may be for what is due already.
                        tokio::select! {
                            () = queue.woken() => {}
                            Some(_) = jobs.join_next(), if !jobs.is_empty() => {}
                        }
                    }
                    Err(error) => {
                        debug!(error, "nothing can be taken from the queue");
                        sleep(backoff.failed(rand::random())).await;
                    }
                }
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = pause => {}
            }
        }
        while jobs.join_next().await.is_some() {}
        aside.shutdown().await;
        self.0.caller.sweep(true).await;
        if let Ok(queue) = self.0.post.shards().queue().await
            && let Err(error) = queue.leave(clock::now()).await
        {
            warn!(%error, "the queue hears later that this process has ended");
        }
    }

    /// Takes what is due and begins with it.
    async fn begin(&self, jobs: &mut JoinSet<()>) -> Result<Queue, String> {
        let queue = self.0.post.shards().queue().await.map_err(|error| error.to_string())?;
        loop {
            let room = self.0.transactions.available_permits().min(AT_ONCE);
            if room == 0 {
                return Ok(queue);
            }
            let now = clock::now();
            let free = |name: &str| self.0.destinations.lock().free(name, now);
            let taken = queue.take(room, now, free).await.map_err(|error| self.failed(&error))?;
            if taken.is_empty() {
                return Ok(queue);
            }
            for job in taken {
                self.0.counters.taken.fetch_add(1, Relaxed);
                let Ok(permit) = Arc::clone(&self.0.transactions).acquire_owned().await else {
                    return Ok(queue);
                };
                // Before the next taking asks how many more may begin.
                let ticket = self.0.destinations.lock().begun(&job.destination, now);
                let (this, queue) = (self.clone(), queue.clone());
                jobs.spawn(async move {
                    this.work(&queue, &job, ticket).await;
                    drop(permit);
                });
            }
        }
    }

    fn failed(&self, error: &QueueError) -> String {
        if post::is_outage_of_queue(error)
            && let Ok(main) = self.0.post.shards().main()
        {
            main.failed(error);
        }
        error.to_string()
    }

    /// Tries one job, and says what became of it.
    async fn work(&self, queue: &Queue, job: &Job, ticket: Ticket) {
        let tried = tokio::select! {
            called = AssertUnwindSafe(self.attempt(queue, job)).catch_unwind() => Some(called),
            () = self.keep(queue, job) => None,
        };
        let tried = tried.map(|called| called.unwrap_or_else(|_| self.broke_down(job)));
        let now = clock::now();
        let (outcomes, ended) = match tried {
            Some(Called { outcomes, ended }) => (outcomes, ended),
            // Somebody else has it.
            None => (Vec::new(), Ended::Untried),
        };
        let back_off =
            self.0.destinations.lock().ended(&job.destination, ticket, ended, now, rand::random());
        if outcomes.is_empty() {
            return;
        }
        self.count(&outcomes);
        let report = Report { outcomes, back_off };
        let mut backoff = Backoff::default();
        loop {
            match queue.report(job, report.clone(), clock::now()).await {
                Ok(reported) => {
                    if reported.owed > 0 {
                        self.0.owed.notify_one();
                    }
                    return;
                }
                Err(error) if error.may_pass() => {
                    debug!(id = %job.message, %error, "what became of a message is said later");
                    sleep(backoff.failed(rand::random())).await;
                }
                Err(error) => {
                    error!(id = %job.message, %error, "what became of a message can't be written down: it is tried again");
                    return;
                }
            }
        }
    }

    /// What a panic comes to: as if a server had put it off, so that it is tried again, and not for ever.
    fn broke_down(&self, job: &Job) -> Called {
        ours(job, &self.broken(job))
    }

    /// The same for one recipient.
    fn broken(&self, job: &Job) -> Outcome {
        self.0.counters.panics.fetch_add(1, Relaxed);
        error!(id = %job.message, "handing a message over caused a panic; please report it. It is tried again");
        let reply = temporary(3, 0, "the message can't be worked on now");
        Outcome::Temporary { reply, host: None }
    }

    /// Begins the lease anew, again and again, until somebody else has it.
    async fn keep(&self, queue: &Queue, job: &Job) {
        loop {
            sleep(self.0.lease / 3).await;
            match queue.renew(job, clock::now()).await {
                Ok(true) => {}
                Ok(false) => {
                    info!(id = %job.message, "somebody else has this message now");
                    return;
                }
                Err(error) => debug!(id = %job.message, %error, "a lease is not renewed"),
            }
        }
    }

    fn count(&self, outcomes: &[Outcome]) {
        let counters = &self.0.counters;
        for outcome in outcomes {
            let counter = match outcome {
                Outcome::Delivered { .. } => &counters.delivered,
                Outcome::Temporary { .. } => &counters.deferred,
                Outcome::Permanent { .. } => &counters.failed,
                Outcome::Unreachable { .. } => &counters.unreachable,
                Outcome::Untried => continue,
            };
            counter.fetch_add(1, Relaxed);
        }
    }

    async fn attempt(&self, queue: &Queue, job: &Job) -> Called {
        let units = u32::try_from(job.size.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let units = units.clamp(1, self.0.memory_units);
        let _memory = self.0.memory.acquire_many(units).await;
        let content = match timeout(PATIENCE, queue.content(job)).await {
            Ok(Ok(content)) => content,
            Ok(Err(error)) => {
                warn!(id = %job.message, %error, "a message can't be read now");
                let reply = temporary(3, 0, "the message can't be read now");
                return ours(job, &Outcome::Unreachable { reply, host: None });
            }
            Err(_) => {
                let reply = temporary(3, 0, "the message can't be read now");
                return ours(job, &Outcome::Unreachable { reply, host: None });
            }
        };
        match Route::parse(&job.destination) {
            Route::Store { folder } => self.to_store(job, &content, &folder).await,
            Route::Backend(id) => self.to_backend(job, &content, id).await,
            Route::Domain(domain) => {
                let place = Place::Domain(&domain);
                let envelope = self.signed(&job.envelope);
                let began = Instant::now();
                let mut called =
                    self.0.caller.deliver(&domain, &place, &envelope, &content, job.more).await;
                self.note("remote", &called, began);
                self.bring_home(job, &content, &mut called.outcomes).await;
                called
            }
        }
    }

    /// The envelope with its sender signed, if he is a user of ours who proved it. The signature is that of the day on which the
    /// message came: whoever lists senders sees the same one at each attempt.
    fn signed<'a>(&self, envelope: &'a Envelope) -> Cow<'a, Envelope> {
        let recipients = self.0.notices.recipients.load();
        let (Some(keys), Some(sender)) = (&recipients.keys, envelope.from.address()) else {
            return Cow::Borrowed(envelope);
        };
        let ours = sender.domain().is_some_and(|domain| recipients.directory.is_local(domain));
        if !(self.0.sign_senders && ours && envelope.client.authenticated.is_some()) {
            return Cow::Borrowed(envelope);
        }
        match prvs::sign(sender, keys, clock::today(envelope.received_at)) {
            Some(signed) => {
                let from = ReversePath::Address(signed);
                Cow::Owned(Envelope { from, ..envelope.clone() })
            }
            None => Cow::Borrowed(envelope),
        }
    }

    /// What an account forwards and nobody takes comes into its own mailbox: its sender may be forged, so nobody else could be told.
    async fn bring_home(&self, job: &Job, content: &Bytes, outcomes: &mut [Outcome]) {
        let expired = clock::now() >= job.expires;
        let directory = self.0.post.directory();
        let owners = job.accounts.iter().copied();
        for ((recipient, owner), outcome) in
            job.envelope.recipients.iter().zip(owners).zip(outcomes)
        {
            // Not what the client wrote beside the recipient (ORCPT), but who really forwards to him.
            let Some(owner) = owner.and_then(|owner| directory.account(AccountId(owner))) else {
                continue;
            };
            let reply = match outcome {
                Outcome::Permanent { reply, .. } => reply,
                Outcome::Temporary { reply, .. } | Outcome::Unreachable { reply, .. }
                    if expired =>
                {
                    reply
                }
                _ => continue,
            };
            info!(id = %job.message, owner = %owner.name, to = %recipient.address, %reply, "what can't be forwarded comes home");
            let home = self.to_account(job, content, "Inbox", owner.id, true).await;
            match home {
                Outcome::Delivered { .. } => *outcome = home,
                // It is tried again, and comes home then.
                other if !matches!(other, Outcome::Permanent { .. }) => *outcome = other,
                _ => {}
            }
        }
    }

    /// Delivers into mailboxes of our own.
    async fn to_store(&self, job: &Job, content: &Bytes, folder: &str) -> Called {
        let mut outcomes = Vec::with_capacity(job.envelope.recipients.len());
        for recipient in &job.envelope.recipients {
            outcomes.push(self.to_mailbox(job, content, folder, &recipient.address).await);
        }
        Called { outcomes, ended: Ended::Spoke }
    }

    async fn to_mailbox(
        &self,
        job: &Job,
        content: &Bytes,
        folder: &str,
        address: &Address,
    ) -> Outcome {
        let directory = self.0.post.directory();
        let account = Name::of(address).and_then(|name| directory.account_named(&name));
        let Some(account) = account else {
            if !self.0.post.knows_all_until(job.created) {
                let reply = temporary(3, 0, "whether anybody has this address can't be told now");
                return Outcome::Unreachable { reply, host: None };
            }
            return Outcome::Permanent {
                reply: permanent(550, 1, 1, "nobody has this address any more"),
                host: None,
            };
        };
        // A user who sent it is told that the mailbox is full; nobody else can be.
        let promised = job.envelope.client.authenticated.is_none();
        self.to_account(job, content, folder, account.id, promised).await
    }

    async fn to_account(
        &self,
        job: &Job,
        content: &Bytes,
        folder: &str,
        account: AccountId,
        promised: bool,
    ) -> Outcome {
        let plan = post::of_account(&job.envelope, account, folder, promised);
        let letter = Letter::new(&plan, "", content);
        match self.0.post.deliver_queued(&plan, &letter, PATIENCE).await {
            Ok(()) => Outcome::Delivered {
                reply: Reply::new(250, Some(EnhancedCode::new(2, 1, 5)), "it is in the mailbox"),
                host: None,
                handed: Handed::Home,
            },
            Err(post::NotDelivered::Full) => {
                Outcome::Temporary { reply: temporary(2, 2, "the mailbox is full"), host: None }
            }
            // It was there a moment ago.
            Err(post::NotDelivered::Gone) => Outcome::Permanent {
                reply: permanent(550, 1, 1, "nobody has this address any more"),
                host: None,
            },
            Err(post::NotDelivered::Away(why)) => {
                Outcome::Unreachable { reply: temporary(2, 0, &why), host: None }
            }
            Err(post::NotDelivered::Never(why)) => {
                Outcome::Permanent { reply: permanent(552, 3, 4, &why), host: None }
            }
            Err(post::NotDelivered::Fault(why)) => {
                error!(id = %job.message, why, "a message can't be put into a mailbox");
                Outcome::Temporary { reply: temporary(3, 0, &why), host: None }
            }
        }
    }

    /// How handing something over fared.
    fn note(&self, to: &str, called: &Called, began: Instant) {
        self.0.post.deliveries().note(to, Fates::of(&called.outcomes), began.elapsed());
    }

    /// Hands over to another store or server of the operator's.
    async fn to_backend(&self, job: &Job, content: &Bytes, id: BackendId) -> Called {
        let began = Instant::now();
        let called = self.call_backend(job, content, id).await;
        // Our own store is counted by itself.
        if id != BackendId::STORE {
            let name = self.0.post.directory().backend_name(id);
            let name = name.unwrap_or_else(|| id.to_string());
            self.note(&format!("backend/{name}"), &called, began);
        }
        called
    }

    async fn call_backend(&self, job: &Job, content: &Bytes, id: BackendId) -> Called {
        let caller = &self.0.caller;
        let (host, port, speaks) = match self.0.post.directory().backend(id) {
            Some(Backend::Store) => return self.to_store(job, content, "Inbox").await,
            Some(backend @ Backend::Maildir { .. }) => {
                return self.to_maildir(job, content, backend).await;
            }
            Some(Backend::Lmtp { host, port }) => (host, port, Speaks::Lmtp),
            Some(Backend::Smtp { host, port }) => (host, port, Speaks::Smtp),
            None => {
                let reply = temporary(3, 5, "nobody knows this back-end: enter it again");
                return ours(job, &Outcome::Temporary { reply, host: None });
            }
        };
        let place = Place::Server { host: &host, port, speaks };
        let Job { destination, envelope, more, .. } = job;
        caller.deliver(destination, &place, envelope, content, *more).await
    }

    async fn to_maildir(&self, job: &Job, content: &Bytes, backend: Backend) -> Called {
        let envelope = &job.envelope;
        let head = muralla_mail_envelope::headers::return_path(&envelope.from);
        let message = Bytes::from([head.as_bytes(), content].concat());
        let mut outcomes = Vec::with_capacity(envelope.recipients.len());
        for recipient in &envelope.recipients {
            let folder = Name::of(&recipient.address).map(|name| backend.maildir(&name));
            let Some(Ok(folder)) = folder else {
                let reply = temporary(3, 5, "this name has no Maildir: rename the account");
                outcomes.push(Outcome::Temporary { reply, host: None });
                continue;
            };
            let (message, id, at) = (message.clone(), job.message, envelope.received_at);
            let written = spawn_blocking(move || {
                maildir::deliver(&folder, id, at, &message)
                    .map_err(|error| maildir::told(&folder, &error))
            });
            outcomes.push(match written.await {
                Ok(Ok(())) => Outcome::Delivered {
                    reply: Reply::new(
                        250,
                        Some(EnhancedCode::new(2, 1, 5)),
                        "it is in the Maildir",
                    ),
                    host: None,
                    handed: Handed::Home,
                },
                Ok(Err(why)) => {
                    warn!(id = %job.message, why, "a message can't be written into a Maildir");
                    let reply = temporary(3, 0, "the Maildir can't be written to now");
                    Outcome::Temporary { reply, host: None }
                }
                Err(_) => self.broken(job),
            });
        }
        Called { outcomes, ended: Ended::Spoke }
    }

    /// Does something that never ends, and begins it again should a panic end it.
    async fn unending<F: Future<Output = ()> + Send>(self, what: &str, work: fn(Self) -> F) {
        while AssertUnwindSafe(work(self.clone())).catch_unwind().await.is_err() {
            self.0.counters.panics.fetch_add(1, Relaxed);
            error!("{what} caused a panic; please report it. It begins again");
            sleep(RECOVERY).await;
        }
    }

    /// Tells senders what they are owed.
    async fn tell(self) {
        loop {
            tokio::select! {
                () = self.0.owed.notified() => {}
                () = sleep(LOOK) => {}
            }
            let Ok(queue) = self.0.post.shards().queue().await else { continue };
            match self.0.notices.tell_all(&queue).await {
                Ok(told) => {
                    self.0.counters.told.fetch_add(told, Relaxed);
                }
                Err(error) => warn!(%error, "senders are told later"),
            }
        }
    }

    /// Does what is to be done now and then about connections and leases.
    async fn tidy(self) {
        loop {
            sleep(SWEEP).await;
            let now = clock::now();
            self.0.caller.sweep(false).await;
            self.0.caller.save(now).await;
            self.0.destinations.lock().forget(3600, now);
            if let Ok(queue) = self.0.post.shards().queue().await {
                // That this process lives, also where it has so much to do that it takes nothing.
                let _ = queue.live(now).await;
            }
        }
    }

    /// What is to be done about the queue now and then: what has expired ends, and senders are told.
    pub(crate) async fn maintain(&self, queue: &Queue, now: i64) -> Result<(), QueueError> {
        let done = queue.maintain(now).await?;
        if done.let_go > 0 {
            warn!(
                recipients = done.let_go,
                "mail that was held for 30 days, as nobody could be told that it failed, is gone"
            );
        }
        if done.expired + done.delayed > 0 {
            self.0.owed.notify_one();
        }
        Ok(())
    }

    /// Other keys, or another domain for what is forwarded.
    pub(crate) fn reconfigure(&self, recipients: Recipients) {
        self.0.notices.recipients.store(Arc::new(recipients));
    }
}

fn ours(job: &Job, outcome: &Outcome) -> Called {
    let outcomes = vec![outcome.clone(); job.envelope.recipients.len()];
    Called { outcomes, ended: Ended::Spoke }
}

fn temporary(subject: u16, detail: u16, text: &str) -> Reply {
    Reply::new(451, Some(EnhancedCode::new(4, subject, detail)), text)
}

fn permanent(code: u16, subject: u16, detail: u16, text: &str) -> Reply {
    Reply::new(code, Some(EnhancedCode::new(5, subject, detail)), text)
}
