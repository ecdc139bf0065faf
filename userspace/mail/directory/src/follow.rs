//! What is changed in the database, in force here as soon as it is committed, by whomever it was made.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use muralla_database::{Backoff, Change, DatabaseError, News, Position, Work};
use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::directory::Inner;
use crate::load::LOG;

/// How often the log is read where nobody says that there is something new.
const POLL: Duration = Duration::from_millis(250);

/// How often it is read where somebody does, because he might be mistaken.
const CHECK: Duration = Duration::from_secs(5);

/// How long is waited for more after the first word of something new.
const GATHER: Duration = Duration::from_millis(20);

/// How often the log is cut.
const CUT: Duration = Duration::from_secs(600);

/// How long is waited when the copy could not be written.
const COPY_AGAIN: Duration = Duration::from_secs(60);

/// The channel that the triggers speak on.
const CHANNEL: &str = "muralla_mail";

/// What was changed.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Fresh {
    pub(crate) accounts: BTreeSet<i64>,
    pub(crate) aliases: BTreeSet<String>,
    /// Domains, back-ends, shards, keys or settings.
    pub(crate) small: bool,
    /// Rows of the log.
    pub(crate) rows: u64,
    /// When the latest was made, by the database's clock.
    pub(crate) latest: Option<i64>,
    pub(crate) position: Position,
}

/// What was changed after a position; none if everything is to be read.
pub(crate) async fn after(
    work: &mut Work,
    from: &Position,
    keep: i64,
) -> Result<Option<Fresh>, DatabaseError> {
    let (news, position) = LOG.after(work, from, keep).await?;
    Ok(match news {
        News::Changes(changes) => sort(changes, position),
        News::Everything => None,
    })
}

fn sort(changes: Vec<Change>, position: Position) -> Option<Fresh> {
    let mut fresh = Fresh {
        accounts: BTreeSet::new(),
        aliases: BTreeSet::new(),
        small: false,
        rows: changes.len() as u64,
        latest: changes.iter().map(|change| change.at).max(),
        position,
    };
    for change in changes {
        match change.kind.as_str() {
            "account" => {
                fresh.accounts.insert(change.name.parse().ok()?);
            }
            "alias" => {
                fresh.aliases.insert(change.name);
            }
            "domain" | "backend" | "shard" | "dkim_key" | "setting" => fresh.small = true,
            // A table was emptied, or a later version of this program logs something new.
            _ => return None,
        }
    }
    Some(fresh)
}

impl Inner {
    /// Follows the log of changes for ever. While the database is away, it is tried again with longer and longer waits.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        let mut ears: Option<Ears> = None;
        // Not all servers at once.
        let mut cut = Instant::now() + CUT.mul_f64(rand::random());
        loop {
            self.wait_for_news(&mut ears).await;
            match self.catch_up().await {
                Ok(()) => {
                    backoff.succeeded();
                    if Instant::now() >= cut {
                        // What fails is tried again at the next time.
                        let _ = self.registry.prune_changes().await;
                        cut = Instant::now() + CUT;
                    }
                }
                Err(error) => {
                    if !error.may_pass() {
                        warn!(%error, "the directory can not be followed");
                    }
                    ears = None;
                    sleep(backoff.failed(rand::random())).await;
                }
            }
        }
    }

    /// Writes the copy from time to time, if there is something new.
    pub(crate) async fn keep_copy(self: Arc<Self>) {
        if self.registry.options.copy.is_none() {
            return;
        }
        let mut written = None;
        loop {
            let edition = self.edition.load(Ordering::Relaxed);
            // 0: nothing but the copy itself is in memory.
            if edition > 0 && written != Some(edition) {
                match self.write_copy().await {
                    Ok(true) => written = Some(edition),
                    Ok(false) => {}
                    Err(error) => {
                        warn!(%error, "the directory has no new copy");
                        sleep(COPY_AGAIN).await;
                    }
                }
            }
            sleep(self.copy_rest()).await;
        }
    }

    /// Waits until there may be something new.
    async fn wait_for_news(&self, ears: &mut Option<Ears>) {
        let nudged = self.registry.changed.notified();
        let Some(pool) = self.registry.engine.postgres() else {
            let _ = timeout(POLL, nudged).await;
            return;
        };
        match ears {
            Some(open) if !open.task.is_finished() => {
                let heard = async {
                    tokio::select! {
                        () = open.heard.notified() => {}
                        () = nudged => {}
                    }
                };
                if timeout(CHECK, heard).await.is_ok() {
                    sleep(GATHER).await;
                }
            }
            _ => {
                // What came before it listened, nobody told it: no long wait now.
                *ears = timeout(CHECK, Ears::open(pool)).await.ok().and_then(Result::ok);
                sleep(POLL).await;
            }
        }
    }
}

/// Listens to PostgreSQL in a task of its own, so that no word is cut off in the middle.
struct Ears {
    heard: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Ears {
    async fn open(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        let heard = Arc::new(Notify::new());
        let says = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            // It ends with the connection, and with it perhaps some words were lost.
            while let Ok(Some(_)) = listener.try_recv().await {
                says.notify_one();
            }
            says.notify_one();
        });
        Ok(Self { heard, task })
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.task.abort();
    }
}
