//! A store: mailboxes in a database, and their bodies in packs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use muralla_database::{Engine, Location, migrate};
use tokio::sync::{Mutex, mpsc};

use crate::bodies::{Bodies, BodyOptions, BodyStatus};
use crate::deliver::{Delivered, Delivery, Job, WAITING};
use crate::outcome::StoreError;
use crate::packs::{PackLocation, PackOptions, PackStore};
use crate::schema::SCHEMA;

/// A store. Clones are the same one; it ends with the last of them, when what was handed to it is stored.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// How a store works.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// How bodies are kept.
    pub bodies: BodyOptions,
    /// How packs are.
    pub packs: PackOptions,
}

/// How it went since the process began.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StoreStatus {
    /// Messages delivered.
    pub delivered: u64,
    /// Microseconds that these took together, from the call to the commit.
    pub delivery_us: u64,
    /// Transactions that these took.
    pub batches: u64,
    /// Messages that wait for a committer.
    pub waiting: u64,
    /// Messages removed.
    pub expunged: u64,
    /// Bodies and packs.
    pub bodies: BodyStatus,
}

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) bodies: Bodies,
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) counters: Counters,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) delivered: AtomicU64,
    pub(crate) delivery_us: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) expunged: AtomicU64,
}

impl Store {
    /// Opens a store and brings its tables up to date. Within a runtime of tokio, which its committers live in.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn open(
        database: &Location,
        packs: &PackLocation,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        let packs = packs.open(&options.packs)?;
        Self::with_packs(database, packs, options.bodies).await
    }

    /// The same with packs that are open.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn with_packs(
        database: &Location,
        packs: Arc<dyn PackStore>,
        options: BodyOptions,
    ) -> Result<Self, StoreError> {
        let engine = Engine::new(database, "muralla-mail")?;
        migrate(&engine, &SCHEMA).await?;
        let bodies = Bodies::new(engine.clone(), packs, options);
        let (jobs, receiver) = mpsc::channel(WAITING);
        let receiver = Arc::new(Mutex::new(receiver));
        let inner = Inner { engine, bodies, jobs, counters: Counters::default() };
        let store = Self { inner: Arc::new(inner) };
        // PostgreSQL commits several at a time; SQLite has one writer.
        let committers = if store.inner.engine.postgres().is_some() { 4 } else { 1 };
        for _ in 0..committers {
            tokio::spawn(crate::deliver::commit_jobs(
                Arc::downgrade(&store.inner),
                Arc::clone(&receiver),
            ));
        }
        Ok(store)
    }

    /// Stores a message in mailboxes. When it returns, the message is durable and in every listing of those of which the answer
    /// says so, in the order of the destinations. May be abandoned: then the message is stored or not, and to deliver it again
    /// stores it once.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nobody has it, as far as is known.
    pub async fn deliver(&self, delivery: Delivery) -> Result<Vec<Delivered>, StoreError> {
        self.inner.deliver(delivery).await
    }

    /// The bodies, which the queue keeps its own in.
    #[must_use]
    pub fn bodies(&self) -> &Bodies {
        &self.inner.bodies
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        let Inner { jobs, counters, bodies, .. } = &*self.inner;
        StoreStatus {
            delivered: counters.delivered.load(Relaxed),
            delivery_us: counters.delivery_us.load(Relaxed),
            batches: counters.batches.load(Relaxed),
            waiting: jobs.max_capacity().saturating_sub(jobs.capacity()) as u64,
            expunged: counters.expunged.load(Relaxed),
            bodies: bodies.status(),
        }
    }

    /// Ends every connection to the database.
    pub async fn close(self) {
        self.inner.engine.close().await;
    }
}
