//! Where operators, and the web front for users, make changes: every one a transaction, checked before it is written, and in
//! force on every server within a second.

mod accounts;
mod aliases;
mod census;
mod contacts;
mod domains;
mod keys;
mod moves;
mod passwords;
mod people;
mod places;
mod sent;

use std::sync::Arc;
use std::time::{Duration, Instant};

use muralla_database::{DatabaseError, Engine, Location, Work, dialect, migrate};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::load::{DECOY_SECRET, LOG};
use crate::schema::SCHEMA;
use crate::{DirectoryError, Options};

pub use aliases::AliasUse;
pub use moves::{MoveBegun, MoveEntry, MoveLease};
pub use passwords::AppPassword;
pub use sent::Sent;

/// How long others are let go first when the schema is made, and how often it is tried.
const PATIENCE: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(50);

/// How often a change is tried whose rows others change at the same moment.
const MOST_TRIES: u32 = 8;

/// Rows that are written in one transaction, where many are to be written.
const PIECE: usize = 500;

/// The rows, for those who change them. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(crate) engine: Engine,
    pub(crate) location: Location,
    pub(crate) options: Arc<Options>,
    /// Rung when something was changed here.
    pub(crate) changed: Arc<Notify>,
}

/// How far something that takes long has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// What is being done, in a few words.
    pub what: &'static str,
    /// How many are done.
    pub done: u64,
    /// Of how many, if that is known.
    pub total: Option<u64>,
}

/// Tries what is written again where others were let go first.
macro_rules! patiently {
    ($attempt:expr) => {{
        let mut tries = 0;
        loop {
            match $attempt.await {
                Err(error) if error.is_conflict() && tries < crate::registry::MOST_TRIES => {
                    tries += 1;
                    crate::registry::rest(tries).await;
                }
                outcome => break outcome,
            }
        }
    }};
}
pub(crate) use patiently;

/// Longer each time, and not the same for two who met.
async fn rest(tries: u32) {
    let longest = RETRY.saturating_mul(tries);
    sleep(longest.mul_f64(rand::random::<f64>())).await;
}

impl Registry {
    /// Opens the rows alone, without what a role has in memory, and brings the schema up to date.
    ///
    /// # Errors
    ///
    /// If the location can't be used, the schema is newer than this program, or the database is away. In the last case
    /// [`DirectoryError::may_pass`] holds.
    pub async fn open(location: &Location, options: Options) -> Result<Self, DirectoryError> {
        let registry = Self::connect(location, options)?;
        registry.migrate().await?;
        Ok(registry)
    }

    /// Nothing is asked of the database yet.
    pub(crate) fn connect(location: &Location, options: Options) -> Result<Self, DirectoryError> {
        Ok(Self {
            engine: Engine::new(location, &options.application)?,
            location: location.clone(),
            options: Arc::new(options),
            changed: Arc::default(),
        })
    }

    /// Where the rows are.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Whether the database answers, and how quickly.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub async fn ping(&self) -> Result<Duration, DirectoryError> {
        let begin = Instant::now();
        let mut work = self.engine.read().await?;
        dialect::now(&mut work).await?;
        Ok(begin.elapsed())
    }

    /// Closes the connections. What clones do after that fails.
    pub async fn close(&self) {
        self.engine.close().await;
    }

    pub(crate) async fn migrate(&self) -> Result<(), DirectoryError> {
        let patience = Instant::now() + PATIENCE;
        // Where two make a file of SQLite at once, one of them may be told at once that it is locked.
        while let Err(error) = migrate(&self.engine, &SCHEMA).await {
            if !matches!(error, DatabaseError::Conflict(_)) || Instant::now() > patience {
                return Err(error.into());
            }
            sleep(RETRY).await;
        }
        patiently!(self.ensure_secret())?;
        self.ensure_identity().await;
        Ok(())
    }

    /// Whoever comes first makes it, for all.
    async fn ensure_secret(&self) -> Result<(), DirectoryError> {
        let sql = "SELECT count(*) FROM mail_setting WHERE name = $1";
        let mut work = self.engine.read().await?;
        if work.number(sql, vec![DECOY_SECRET.into()]).await? > 0 {
            return Ok(());
        }
        drop(work);
        let secret: [u8; 32] = rand::random();
        let mut work = self.engine.write().await?;
        work.execute(
            "INSERT INTO mail_setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
            vec![DECOY_SECRET.into(), secret[..].into()],
        )
        .await?;
        Ok(work.commit().await?)
    }

    /// Deletes changes that are older than the log is to reach back.
    pub(crate) async fn prune_changes(&self) -> Result<u64, DirectoryError> {
        let keep = i64::try_from(self.options.keep_changes.as_secs()).unwrap_or(i64::MAX);
        let mut work = self.engine.write().await?;
        let cut = LOG.cut(&mut work, keep).await?;
        work.commit().await?;
        Ok(cut)
    }

    /// Commits, and says so to what follows here.
    async fn commit(&self, work: Work) -> Result<(), DirectoryError> {
        work.commit().await?;
        self.changed.notify_one();
        Ok(())
    }
}

/// Numbers that nobody had before: the first of so many.
async fn numbers(work: &mut Work, kind: &str, count: usize) -> Result<i64, DirectoryError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let sql = "UPDATE mail_number SET last = last + $1 WHERE kind = $2 RETURNING last";
    let last = work.number(sql, vec![count.into(), kind.into()]).await?;
    Ok(last - count + 1)
}
