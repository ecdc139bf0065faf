//! The stores that mailboxes live in, and the queue beside the first of them. Opened when they are first needed, and left alone
//! while they are away: whoever wants one meanwhile is told so at once, and does not wait for it.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use muralla_database::{Backoff, Location, dialect};
use muralla_mail_directory::{Directory, ShardId};
use muralla_mail_queue::{Options, Queue, QueueError, QueueStatus};
use muralla_mail_store::{PackLocation, Store, StoreError, StoreOptions};
use parking_lot::Mutex;
use tokio::sync::{Notify, OnceCell};
use tracing::{debug, info, warn};

use crate::circuit::{Change, Circuit, Pass};
use crate::config::MailConfig;

/// Why a shard can't be used now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShardError {
    /// It does not answer.
    #[error("shard {0} does not answer")]
    Away(String),
    /// It answers, but takes no mail in time.
    #[error("shard {0} takes no mail in time: one message at a time tries again")]
    Hangs(String),
    /// Nobody knows where it is.
    #[error("nobody knows where shard {0} is: enter it, or name it under [mail.shards]")]
    Nowhere(ShardId),
    /// Its location is no location.
    #[error("shard {0}: {1}")]
    Location(String, String),
    /// It can't be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its queue can't be opened.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// All of them. Clones are the same ones.
#[derive(Clone)]
pub(crate) struct Shards(Arc<Inner>);

struct Inner {
    directory: Directory,
    /// Of the main one, and of those that the configuration names.
    main: (Location, PackLocation),
    named: BTreeMap<String, (Location, PackLocation)>,
    store: StoreOptions,
    queue: Options,
    known: Mutex<BTreeMap<ShardId, Arc<Shard>>>,
    back: Arc<Notify>,
}

/// One of them.
pub(crate) struct Shard {
    name: String,
    place: (Location, PackLocation),
    store_options: StoreOptions,
    queue_options: Options,
    store: OnceCell<Store>,
    queue: OnceCell<Queue>,
    away: AtomicBool,
    /// Whether it is being asked if it answers, as somebody had trouble with it.
    doubted: AtomicBool,
    /// How often in a row it took too long.
    slow: AtomicU32,
    /// Whether deliveries wait for it: its database may answer while its packs do not.
    circuit: Circuit,
    /// Told when it is there again.
    back: Arc<Notify>,
}

/// How one is.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct ShardStatus {
    /// Its name.
    pub name: String,
    /// Whether it was opened.
    pub open: bool,
    /// Whether it does not answer.
    pub away: bool,
    /// Whether it kept deliveries waiting in vain, and only one at a time tries again.
    #[serde(default)]
    pub circuit_open: bool,
    /// How often that came about since the start.
    #[serde(default)]
    pub circuit_opened: u64,
    /// Deliveries that did not wait for it for that reason, since the start.
    #[serde(default)]
    pub circuit_refused: u64,
    /// Messages delivered into it since the start.
    pub delivered: u64,
    /// Microseconds that these took together.
    pub delivery_us: u64,
    /// Bytes of messages put, and of the frames made of them.
    pub put_bytes: u64,
    /// Bytes of the frames.
    pub stored_bytes: u64,
    /// How often mail could not be read since the start, as its frame is damaged or its pack is not there.
    #[serde(default)]
    pub damaged: u64,
}

impl Shards {
    pub(crate) fn new(
        config: &MailConfig,
        directory: Directory,
        store: StoreOptions,
        queue: Options,
    ) -> Result<Self, String> {
        let mut named = BTreeMap::new();
        for (name, shard) in &config.shards {
            let location = Location::from_str(shard.database.reveal())
                .map_err(|error| format!("[mail.shards.{name}] database: {error}"))?;
            named.insert(name.clone(), (location, shard.packs.location()));
        }
        Ok(Self(Arc::new(Inner {
            directory,
            main: (config.location()?, config.packs.location()),
            named,
            store,
            queue,
            known: Mutex::default(),
            back: Arc::default(),
        })))
    }

    /// A shard, by its number.
    pub(crate) fn of(&self, id: ShardId) -> Result<Arc<Shard>, ShardError> {
        let mut known = self.0.known.lock();
        if let Some(shard) = known.get(&id) {
            return Ok(Arc::clone(shard));
        }
        let shard = Shard::begin(&self.0, id)?;
        known.insert(id, Arc::clone(&shard));
        Ok(shard)
    }

    /// The one with the queue.
    pub(crate) fn main(&self) -> Result<Arc<Shard>, ShardError> {
        self.of(ShardId::MAIN)
    }

    /// The queue.
    pub(crate) async fn queue(&self) -> Result<Queue, ShardError> {
        self.main()?.queue().await
    }

    /// How it went with the queue since the start; none before it was opened.
    pub(crate) fn queue_status(&self) -> Option<QueueStatus> {
        Some(self.main().ok()?.queue.get()?.status())
    }

    /// Waits until one that was away is there again.
    pub(crate) async fn back(&self) {
        self.0.back.notified().await;
    }

    pub(crate) fn status(&self) -> Vec<ShardStatus> {
        self.0.known.lock().values().map(|shard| shard.status()).collect()
    }

    /// Ends all connections.
    pub(crate) async fn close(&self) {
        let all: Vec<Arc<Shard>> = self.0.known.lock().values().cloned().collect();
        for shard in all {
            if let Some(store) = shard.store.get() {
                store.clone().close().await;
            }
        }
    }
}

impl Shard {
    fn begin(inner: &Inner, id: ShardId) -> Result<Arc<Self>, ShardError> {
        let entry = inner.directory.shard(id);
        let name = entry.as_ref().map_or_else(|| id.to_string(), |entry| entry.name.clone());
        let said = entry.as_ref().and_then(|entry| {
            Some((entry.location.clone()?, entry.packs.clone().unwrap_or_default()))
        });
        let place = match (inner.named.get(&name), said) {
            (Some(place), _) => place.clone(),
            (None, Some((location, packs))) => {
                let location = Location::from_str(location.reveal())
                    .map_err(|error| ShardError::Location(name.clone(), error.to_string()))?;
                if !packs.reveal().starts_with('/') {
                    let why = "its packs are no folder: name a bucket under [mail.shards]";
                    return Err(ShardError::Location(name, why.to_owned()));
                }
                (location, PackLocation::Folder(packs.reveal().into()))
            }
            (None, None) if id == ShardId::MAIN => inner.main.clone(),
            (None, None) => return Err(ShardError::Nowhere(id)),
        };
        Ok(Arc::new(Self {
            name,
            place,
            store_options: inner.store.clone(),
            queue_options: inner.queue.clone(),
            store: OnceCell::new(),
            queue: OnceCell::new(),
            away: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            slow: AtomicU32::new(0),
            circuit: Circuit::default(),
            back: Arc::clone(&inner.back),
        }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Relaxed)
    }

    /// The store.
    pub(crate) async fn store(self: &Arc<Self>) -> Result<Store, ShardError> {
        if self.is_away() {
            return Err(ShardError::Away(self.name.clone()));
        }
        self.open().await
    }

    /// Takes a store of a test's.
    #[cfg(test)]
    pub(crate) fn take_store(&self, store: Store) {
        assert!(self.store.set(store).is_ok(), "it has one");
    }

    /// The queue.
    pub(crate) async fn queue(self: &Arc<Self>) -> Result<Queue, ShardError> {
        let store = self.store().await?;
        let open = || Queue::open(store.bodies().clone(), self.queue_options.clone());
        Ok(self.queue.get_or_try_init(open).await?.clone())
    }

    async fn open(self: &Arc<Self>) -> Result<Store, ShardError> {
        let (database, packs) = &self.place;
        let open = || async {
            let opened = Store::open(database, packs, self.store_options.clone()).await;
            match &opened {
                Ok(store) => self.look_for_carelessness(store).await,
                Err(error) => self.fell(error),
            }
            opened
        };
        Ok(self.store.get_or_try_init(open).await?.clone())
    }

    /// Whether its database keeps what it says that it keeps: a 250 is no promise otherwise.
    async fn look_for_carelessness(&self, store: &Store) {
        let engine = store.bodies().engine();
        let asked = async {
            let mut work = engine.read().await?;
            dialect::careless(&mut work).await
        };
        // Whoever needs the database says that it is away.
        let Ok(off) = asked.await else { return };
        for setting in off {
            warn!(
                shard = self.name,
                "PostgreSQL has {setting} = off: a power cut takes mail along that was acknowledged: turn it on"
            );
        }
    }

    /// Somebody's connection to it failed. One may break by itself, or be slow for what was asked over it: it is away if it answers
    /// nobody else either.
    pub(crate) fn failed(self: &Arc<Self>, error: &dyn std::fmt::Display) {
        if self.is_away() || self.doubted.swap(true, Relaxed) {
            return;
        }
        let (shard, error) = (Arc::clone(self), error.to_string());
        tokio::spawn(async move {
            let mut answered = false;
            for _ in 0..QUESTIONS {
                let asked = tokio::time::timeout(SOON, shard.answers()).await;
                answered = matches!(asked, Ok(Ok(())));
                if answered {
                    break;
                }
            }
            shard.doubted.store(false, Relaxed);
            if answered {
                debug!(shard = shard.name, error, "the mail store answers, though not everybody");
            } else {
                shard.fell(&error);
            }
        });
    }

    /// It does not answer: nobody asks it until it does.
    fn fell(self: &Arc<Self>, error: &dyn std::fmt::Display) {
        if !self.away.swap(true, Relaxed) {
            warn!(shard = self.name, %error, "a mail store does not answer");
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// It kept somebody waiting. A large message may do that; if several in a row do, it is asked whether it answers.
    pub(crate) fn took_too_long(self: &Arc<Self>) {
        if self.slow.fetch_add(1, Relaxed) + 1 >= SLOW {
            self.slow.store(0, Relaxed);
            self.failed(&"it took too long, several times in a row");
        }
    }

    /// It answered in time.
    pub(crate) fn was_quick(&self) {
        self.slow.store(0, Relaxed);
    }

    /// Lets a delivery through, unless it would wait in vain.
    pub(crate) fn enter(&self) -> Result<Pass<'_>, ShardError> {
        self.circuit.enter(Instant::now()).ok_or_else(|| ShardError::Hangs(self.name.clone()))
    }

    /// Whether no delivery would be let through now.
    pub(crate) fn is_shut(&self) -> bool {
        self.circuit.is_shut(Instant::now())
    }

    /// A delivery was done.
    pub(crate) fn answered(&self, pass: Pass<'_>) {
        if pass.succeeded() == Change::Closed {
            info!(shard = self.name, "the mail store takes mail in time again");
            self.back.notify_one();
        }
    }

    /// A delivery waited in vain, or the packs failed.
    pub(crate) fn hung(&self, pass: Pass<'_>, why: &str) {
        if pass.failed(Instant::now()) == Change::Opened {
            warn!(
                shard = self.name,
                why,
                "a mail store keeps mail waiting: what is for it waits elsewhere, and one message at a time tries again"
            );
        }
    }

    async fn answers(self: &Arc<Self>) -> Result<(), ShardError> {
        let store = self.open().await?;
        let engine = store.bodies().engine().clone();
        let asked = async {
            let mut work = engine.read().await?;
            dialect::now(&mut work).await
        };
        asked.await.map_err(StoreError::from)?;
        Ok(())
    }

    fn status(&self) -> ShardStatus {
        let store = self.store.get().map(Store::status).unwrap_or_default();
        let circuit = self.circuit.status();
        ShardStatus {
            name: self.name.clone(),
            open: self.store.initialized(),
            away: self.is_away(),
            circuit_open: circuit.open,
            circuit_opened: circuit.opened,
            circuit_refused: circuit.refused,
            delivered: store.delivered,
            delivery_us: store.delivery_us,
            put_bytes: store.bodies.put_bytes,
            stored_bytes: store.bodies.stored_bytes,
            damaged: store.bodies.damaged,
        }
    }
}

/// Asks a shard that fell until it answers, or nobody has it any more.
async fn watch(shard: Weak<Shard>) {
    let mut backoff = Backoff::default();
    loop {
        tokio::time::sleep(backoff.failed(rand::random()).min(LONGEST)).await;
        let Some(shard) = shard.upgrade() else { return };
        match tokio::time::timeout(PATIENCE, shard.answers()).await {
            Ok(Ok(())) => {
                shard.away.store(false, Relaxed);
                info!(shard = shard.name, "the mail store answers again");
                shard.back.notify_one();
                return;
            }
            Ok(Err(error)) => debug!(shard = shard.name, %error, "it is still away"),
            Err(_) => {}
        }
    }
}

/// How often in a row it may take too long.
const SLOW: u32 = 3;

/// How often in a row it does not answer before it is away.
const QUESTIONS: u32 = 2;

/// How long it has for each of these answers.
const SOON: Duration = Duration::from_secs(5);

/// Longest time between two questions to a shard that is away.
const LONGEST: Duration = Duration::from_secs(5);

/// Longest time for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests;
