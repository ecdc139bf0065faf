//! Mailboxes that were full when something came for them, so that what comes next is refused before it comes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use muralla_mail_directory::{AccountId, BackendId, Target};
use muralla_mail_store::Account;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::Post;
use crate::plan::Known;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Full(Mutex<HashMap<AccountId, Instant>>);

/// What is remembered of a mailbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Remembered {
    Nothing,
    /// It was full a moment ago.
    Now,
    /// It was full once: it is looked at again.
    Once,
}

/// How long a mailbox is taken for full before it is looked at again.
const FRESH: Duration = Duration::from_secs(60);

/// Mailboxes that are remembered at most; beyond that all are found out anew.
const MOST: usize = 100_000;

/// How long a look at a mailbox may take, while somebody waits who writes to it.
const GLANCE: Duration = Duration::from_secs(2);

impl Full {
    /// It was full.
    pub(super) fn is_full(&self, account: AccountId, now: Instant) {
        let mut full = self.0.lock();
        if full.len() >= MOST {
            full.clear();
        }
        full.insert(account, now);
    }

    /// It took something that was not promised to it.
    pub(super) fn has_room(&self, account: AccountId) {
        let mut full = self.0.lock();
        if !full.is_empty() {
            full.remove(&account);
        }
    }

    fn remembered(&self, account: AccountId, now: Instant) -> Remembered {
        match self.0.lock().get(&account) {
            None => Remembered::Nothing,
            Some(since) if now.saturating_duration_since(*since) < FRESH => Remembered::Now,
            Some(_) => Remembered::Once,
        }
    }

    /// How many were full a moment ago.
    pub(crate) fn len(&self) -> usize {
        let now = Instant::now();
        let full = self.0.lock();
        full.values().filter(|since| now.saturating_duration_since(**since) < FRESH).count()
    }
}

impl Post {
    /// Whether nothing of what is sent there could be kept, as far as is known.
    pub(crate) async fn is_full(&self, known: &Known) -> bool {
        let Known::Targets(targets) = known else { return false };
        for target in targets {
            let full = match target {
                Target::Mailbox { account, backends, .. } if **backends == [BackendId::STORE] => {
                    self.is_mailbox_full(*account, Instant::now()).await
                }
                _ => false,
            };
            if !full {
                return false;
            }
        }
        true
    }

    async fn is_mailbox_full(&self, account: AccountId, now: Instant) -> bool {
        let full = self.full();
        match full.remembered(account, now) {
            Remembered::Nothing => return false,
            Remembered::Now => return true,
            Remembered::Once => {}
        }
        let Some(view) = self.directory().account(account) else { return false };
        // Before it is known, so that not everybody looks.
        full.is_full(account, now);
        let usage = async {
            let store = self.shards().of(view.shard).ok()?.store().await.ok()?;
            store.usage(Account(account.0)).await.ok()
        };
        // What can't be looked at now is what it was.
        let Ok(Some(usage)) = timeout(GLANCE, usage).await else { return true };
        if view.quota_bytes > 0 && usage.bytes >= view.quota_bytes {
            return true;
        }
        full.has_room(account);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_full_stays_so_until_it_is_looked_at() {
        let (full, now) = (Full::default(), Instant::now());
        let ann = AccountId(1);
        assert_eq!(full.remembered(ann, now), Remembered::Nothing);
        full.is_full(ann, now);
        assert_eq!(full.remembered(ann, now + FRESH / 2), Remembered::Now);
        assert_eq!(full.remembered(ann, now + FRESH), Remembered::Once);
        assert_eq!(full.remembered(ann, now + 1000 * FRESH), Remembered::Once);
        full.has_room(ann);
        assert_eq!(full.remembered(ann, now), Remembered::Nothing);
    }
}
