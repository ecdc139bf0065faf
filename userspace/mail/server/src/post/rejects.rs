//! Copies of what is refused, for those for whom it was.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use muralla_mail_directory::AccountId;
use muralla_mail_store::Account;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{Post, Tried};
use crate::letter::Letter;
use crate::plan::Plan;

impl Post {
    /// Puts copies into mailboxes if that can be done at once: tells into which. Nothing of it waits anywhere: whoever has none hears of
    /// the message otherwise.
    pub(crate) async fn keep(
        &self,
        plan: &Plan,
        letter: &Letter,
        patience: Duration,
    ) -> BTreeSet<AccountId> {
        let Tried { full, gone, boxes, never, error, .. } =
            self.attempt(plan, letter, patience).await;
        let without = [full, gone, boxes, never].into_iter().flatten();
        let without: BTreeSet<AccountId> = without.map(|one| one.account).collect();
        if !without.is_empty() {
            warn!(
                accounts = without.len(),
                error, "copies of a message that is refused can't be kept"
            );
        }
        let all: BTreeSet<AccountId> = plan.boxes.iter().map(|one| one.account).collect();
        let kept: BTreeSet<AccountId> = all.difference(&without).copied().collect();
        let trimming = join_all(kept.iter().map(|account| self.trim_rejects(*account)));
        if timeout(patience, trimming).await.is_err() {
            debug!("old copies of what was refused are removed with the next one");
        }
        kept
    }

    /// Removes the oldest of too many.
    async fn trim_rejects(&self, account: AccountId) {
        let Some(view) = self.directory().account(account) else { return };
        let trimmed = async {
            let shard = self.shards().of(view.shard).map_err(|error| error.to_string())?;
            let store = shard.store().await.map_err(|error| error.to_string())?;
            store.trim_rejects(Account(account.0)).await.map_err(|error| error.to_string())
        };
        if let Err(error) = trimmed.await {
            debug!(
                account = account.0,
                error, "too many copies of what was refused are not removed"
            );
        }
    }
}
