//! What is changed in the database, in force here as soon as it is committed, by whomever it was made.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use muralla_database::{Backoff, Change, DatabaseError, Ears, News, Position, Work};
use tokio::time::sleep;
use tracing::warn;

use crate::directory::Inner;
use crate::load::LOG;

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
        News::Changes(changes) | News::Rare { changes, .. } => sort(changes, position),
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
        let mut ears = Ears::new(CHANNEL);
        // Not all servers at once.
        let mut cut = Instant::now() + CUT.mul_f64(rand::random());
        loop {
            ears.wait(&self.registry.engine, self.registry.changed.notified()).await;
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
                    ears.close();
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
}
