//! Mailboxes that were full a moment ago, so that what comes for them is refused before it comes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use muralla_mail_directory::AccountId;
use parking_lot::Mutex;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Full(Mutex<HashMap<AccountId, Instant>>);

/// How long a mailbox is taken for full.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Mailboxes that are remembered at most.
const MOST: usize = 100_000;

impl Full {
    /// It was full.
    pub(crate) fn is_full(&self, account: AccountId) {
        let now = Instant::now();
        let mut full = self.0.lock();
        if full.len() >= MOST {
            full.retain(|_, since| now.duration_since(*since) < REMEMBERED);
        }
        if full.len() < MOST {
            full.insert(account, now);
        }
    }

    /// It took something.
    pub(crate) fn has_room(&self, account: AccountId) {
        let mut full = self.0.lock();
        if !full.is_empty() {
            full.remove(&account);
        }
    }

    /// Whether it was full a moment ago.
    pub(crate) fn was_full(&self, account: AccountId) -> bool {
        let full = self.0.lock();
        full.get(&account).is_some_and(|since| since.elapsed() < REMEMBERED)
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}
