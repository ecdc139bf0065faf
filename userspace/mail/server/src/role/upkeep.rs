//! What is done now and then for every store: room is given back, what is old goes, what was broken off is put right.
//!
//! Each duty stands alone, and so does each store: what one of them can't do, the others do all the same. Every process with mail does it;
//! each step is right whoever does it, and whoever dies in it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use muralla_mail_directory::{AccountId, Directory, MoveLease, ShardId};
use muralla_mail_store::{Account, BodyError, Expired, Fence, Purpose, Store, StoreError, rejects};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::clock;
use crate::moves;
use crate::outgoing::Outgoing;
use crate::report::{FailingDuty, StoreCondition, UpkeepStatus};
use crate::shards::{Shard, Shards};

/// After how many days messages are removed; none for never.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Retention {
    pub(super) inbox: Option<u32>,
    pub(super) spam: Option<u32>,
    pub(super) trash: Option<u32>,
}

/// Does the upkeep. Clones are the same one.
#[derive(Clone)]
pub(super) struct Upkeep(Arc<Inner>);

struct Inner {
    directory: Directory,
    shards: Shards,
    /// Whose the queue's upkeep is, where this process hands mail on.
    outgoing: Option<Outgoing>,
    retention: Arc<ArcSwap<Retention>>,
    /// Who it is, for people.
    name: String,
    seen: Mutex<Seen>,
    done: Counts,
}

/// What was done since the start.
#[derive(Default)]
struct Counts {
    expired_inbox: AtomicU64,
    expired_spam: AtomicU64,
    expired_trash: AtomicU64,
    expired_rejects: AtomicU64,
    passes: AtomicU64,
    moves_ended: AtomicU64,
    emptied: AtomicU64,
}

/// What this process saw, and when, in seconds since 1970.
#[derive(Debug, Default)]
struct Seen {
    /// Mailboxes that stand still since a move of them began.
    still: Since,
    /// Mailboxes that were copied to another store whole, and of which something is here still.
    left: Since,
    /// Mailboxes without an account.
    gone: Since,
    /// When it was looked for those.
    looked: HashMap<ShardId, i64>,
    /// How far it was looked for what is old.
    passes: HashMap<(ShardId, Purpose), Pass>,
    /// How the packs of each store were found, and when they were last counted.
    conditions: BTreeMap<ShardId, (StoreCondition, i64)>,
    /// What came to nothing the last time, by store and by what is not done: why, and since when.
    failing: BTreeMap<(String, &'static str), (String, i64)>,
}

/// One look at all folders of a purpose, for what is old.
#[derive(Clone, Copy, Debug)]
struct Pass {
    /// When it began, in seconds since 1970.
    began: i64,
    /// Beyond which account it goes on; none when it has ended.
    next: Option<Account>,
}

type Since = HashMap<(ShardId, Account), i64>;

/// How often packs are counted, in seconds: a large store has hundreds of thousands.
const COUNT: i64 = 600;

/// How often it is done.
const EVERY: Duration = Duration::from_secs(60);

/// How long one duty may take at once. What is left of it is done the next time.
const LONGEST: Duration = Duration::from_secs(600);

/// Pieces of the packs' upkeep in one go.
const ROUNDS: usize = 50;

/// Messages that one go removes because they are old.
const EXPIRED: usize = 20_000;

/// How often all folders are looked at for what is old, in seconds: it is counted in days.
const PASS: i64 = 3600;

/// Moves that nobody goes on with which one go ends.
const MOVES: u32 = 20;

/// How long a mailbox stands still of whose move the directory knows nothing, before it takes mail again, in seconds: some other version
/// of this program may be moving it.
const STILL: i64 = 3 * 3600;

/// How often it is looked for mailboxes without an account, in seconds.
const LOOK: i64 = 3600;

/// Mailboxes that are looked at in one transaction.
const PAGE: usize = 10_000;

/// How long an account has to be gone before its mail goes, in seconds, and how long nothing of its mail may have changed.
const GONE: i64 = 86_400;
const AT_REST: i64 = 7 * 86_400;

/// Mailboxes without an account that are no sign of a directory which was put back, or is another one: so many, or every so many of
/// all.
const FEW: usize = 20;
const SHARE: usize = 20;

/// Mailboxes that one go empties.
const EMPTIED: usize = 100;

impl Upkeep {
    pub(super) fn new(
        directory: Directory,
        shards: Shards,
        outgoing: Option<Outgoing>,
        retention: Arc<ArcSwap<Retention>>,
        name: String,
    ) -> Self {
        let (seen, done) = (Mutex::default(), Counts::default());
        Self(Arc::new(Inner { directory, shards, outgoing, retention, name, seen, done }))
    }

    /// What was done since the start.
    pub(super) fn status(&self) -> UpkeepStatus {
        let done = &self.0.done;
        let seen = self.0.seen.lock();
        UpkeepStatus {
            stores: seen.conditions.values().map(|(condition, _)| condition.clone()).collect(),
            failing: seen
                .failing
                .iter()
                .map(|((shard, what), (why, since))| FailingDuty {
                    shard: shard.clone(),
                    what: (*what).to_owned(),
                    why: why.clone(),
                    since: *since,
                })
                .collect(),
            expired_inbox: done.expired_inbox.load(Relaxed),
            expired_spam: done.expired_spam.load(Relaxed),
            expired_trash: done.expired_trash.load(Relaxed),
            expired_rejects: done.expired_rejects.load(Relaxed),
            passes: done.passes.load(Relaxed),
            moves_ended: done.moves_ended.load(Relaxed),
            emptied: done.emptied.load(Relaxed),
        }
    }

    /// Works until told to stop.
    pub(super) async fn keep(self, mut stop: watch::Receiver<bool>) {
        let mut at_work = JoinSet::new();
        // A store that takes long has its own time.
        let mut busy = HashSet::new();
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(EVERY) => {}
            }
            while let Some(done) = at_work.try_join_next() {
                if let Ok(id) = done {
                    busy.remove(&id);
                }
            }
            let stores = self.stores();
            self.forget_others(&stores);
            for id in stores {
                if busy.insert(id) {
                    let this = self.clone();
                    at_work.spawn(async move {
                        let once = AssertUnwindSafe(this.once(id, clock::now()));
                        if once.catch_unwind().await.is_err() {
                            error!(%id, "the upkeep of a mail store broke down");
                        }
                        id
                    });
                }
            }
        }
    }

    /// Ends moves of mailboxes whose movers are gone, until told to stop: their owners wait for it, so nothing that takes long is before it.
    pub(super) async fn keep_moves(self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(EVERY) => {}
            }
            let ended = AssertUnwindSafe(self.end_moves()).catch_unwind();
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                ended = timeout(LONGEST, ended) => match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => error!("the end of a move broke down"),
                    Err(_) => warn!("moves that were broken off take long to end: they are gone on with later"),
                }
            }
        }
    }

    async fn end_moves(&self) {
        if !self.knows() {
            return;
        }
        let registry = self.0.directory.registry();
        let leases = match registry.take_over_moves(&self.0.name, MOVES).await {
            Ok(leases) => leases,
            Err(error) => return debug!(%error, "it is not known whose moves were broken off"),
        };
        for lease in leases {
            let account = lease.account.0;
            match self.end_move(&lease).await {
                Ok(()) => {
                    self.0.done.moves_ended.fetch_add(1, Relaxed);
                    info!(account, from = %lease.from, to = %lease.to, "a move that was broken off has ended: the mailbox takes mail");
                }
                Err(error) => {
                    warn!(account, %error, "a move that was broken off can not be ended yet")
                }
            }
        }
    }

    async fn end_move(&self, lease: &MoveLease) -> Result<(), String> {
        let from = self.store(lease.from).await?;
        let to = self.store(lease.to).await?;
        let registry = self.0.directory.registry();
        moves::end(registry, lease, &from, &to).await.map_err(|error| error.to_string())
    }

    async fn store(&self, id: ShardId) -> Result<Store, String> {
        let shard = self.0.shards.of(id).map_err(|error| error.to_string())?;
        shard.store().await.map_err(|error| error.to_string())
    }

    fn stores(&self) -> HashSet<ShardId> {
        let known = self.0.directory.shards();
        known.iter().filter_map(|shard| shard.id).chain([ShardId::MAIN]).collect()
    }

    /// Nothing is told of stores that were taken out.
    fn forget_others(&self, stores: &HashSet<ShardId>) {
        let shards = stores.iter().filter_map(|id| self.0.shards.of(*id).ok());
        let names: HashSet<String> = shards.map(|shard| shard.name().to_owned()).collect();
        let mut seen = self.0.seen.lock();
        seen.conditions.retain(|id, _| stores.contains(id));
        seen.failing.retain(|(name, _), _| names.contains(name));
    }

    /// Does what is to be done for one store. `now` is in seconds since 1970.
    async fn once(&self, id: ShardId, now: i64) {
        let shard = match self.0.shards.of(id) {
            Ok(shard) => shard,
            Err(error) => return debug!(%id, %error, "a mail store has no upkeep here"),
        };
        // That it is away is told by those who want something of it.
        let Ok(store) = shard.store().await else { return };
        if id == ShardId::MAIN {
            let forgotten = self.0.directory.registry().forget_sent(now);
            self.duty(&shard, now, "what accounts sent long ago is not forgotten", forgotten).await;
        }
        if id == ShardId::MAIN
            && let Some(outgoing) = &self.0.outgoing
            && let Ok(queue) = shard.queue().await
        {
            let tidied = outgoing.maintain(&queue, now);
            self.duty(&shard, now, "the queue is not tidied up", tidied).await;
        }
        let tidied = self.packs(id, &shard, &store, now);
        self.duty(&shard, now, "the packs are not tidied up", tidied).await;
        let forgotten = store.forget_removed(now);
        self.duty(&shard, now, "what was removed is not forgotten", forgotten).await;
        let Retention { inbox, spam, trash } = **self.0.retention.load();
        for (purpose, days, failure) in [
            (Purpose::Inbox, inbox, "what is old is not removed from Inbox"),
            (Purpose::Spam, spam, "what is old is not removed from Spam"),
            (Purpose::Trash, trash, "what is old is not removed from Trash"),
            (Purpose::Rejects, Some(rejects::DAYS), "what is old is not removed from Rejects"),
        ] {
            if let Some(days) = days {
                let expired = self.expire(id, &store, purpose, days, now);
                self.duty(&shard, now, failure, expired).await;
            }
        }
        let thawed = self.thaw(id, &store, now);
        self.duty(&shard, now, "moves that were broken off are not put right", thawed).await;
        if self.is_to_look(id, now) {
            let emptied = self.empty(id, &store, now);
            self.duty(&shard, now, "mail of accounts that are gone is not removed", emptied).await;
        }
    }

    /// Does one, and remembers if it comes to nothing.
    async fn duty<T, E: Display>(
        &self,
        shard: &Arc<Shard>,
        now: i64,
        failure: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) {
        let name = shard.name();
        let why = match AssertUnwindSafe(timeout(LONGEST, work)).catch_unwind().await {
            Ok(Ok(Ok(_))) => None,
            Ok(Ok(Err(error))) => {
                warn!(shard = name, %error, "{failure}");
                Some(error.to_string())
            }
            Ok(Err(_)) => {
                warn!(shard = name, "{failure}: it takes long, and is gone on with later");
                return;
            }
            Err(_) => {
                error!(shard = name, "{failure}: something broke down");
                Some("something broke down: the log says what".to_owned())
            }
        };
        let key = (name.to_owned(), failure);
        let mut seen = self.0.seen.lock();
        match why {
            None => {
                seen.failing.remove(&key);
            }
            Some(why) => seen.failing.entry(key).or_insert_with(|| (String::new(), now)).0 = why,
        }
    }

    /// Tidies up the packs of a store, and looks how they are.
    async fn packs(
        &self,
        id: ShardId,
        shard: &Shard,
        store: &Store,
        now: i64,
    ) -> Result<(), BodyError> {
        let mut missing_packs = 0;
        for _ in 0..ROUNDS {
            let done = store.bodies().maintain(now).await?;
            missing_packs = done.missing;
            if !done.more {
                break;
            }
        }
        let counted = {
            let mut seen = self.0.seen.lock();
            let (condition, counted) = seen.conditions.entry(id).or_default();
            condition.shard = shard.name().to_owned();
            condition.missing_packs = missing_packs;
            *counted
        };
        if now.saturating_sub(counted) >= COUNT {
            let totals = store.bodies().totals().await?;
            let mut seen = self.0.seen.lock();
            let (condition, counted) = seen.conditions.entry(id).or_default();
            (condition.bytes, condition.live) = (totals.bytes, totals.live);
            *counted = now;
        }
        Ok(())
    }

    /// Removes what is old, a piece in each go, until all was looked at; then it rests.
    async fn expire(
        &self,
        id: ShardId,
        store: &Store,
        purpose: Purpose,
        days: u32,
        now: i64,
    ) -> Result<(), StoreError> {
        let last = self.0.seen.lock().passes.get(&(id, purpose)).copied();
        let (began, after) = match last {
            Some(Pass { began, next: Some(next) }) => (began, Some(next)),
            Some(Pass { began, next: None }) if (0..PASS).contains(&(now - began)) => return Ok(()),
            _ => (now, None),
        };
        let directory = &self.0.directory;
        // Whose account is gone has another end, but for what nobody counts.
        let of = |account: Account| {
            let known = || directory.account(AccountId(account.0)).is_some();
            (purpose == Purpose::Rejects || known()).then_some(days)
        };
        let Expired { removed, next } = store.expire(purpose, now, after, EXPIRED, of).await?;
        self.0.seen.lock().passes.insert((id, purpose), Pass { began, next });
        let done = &self.0.done;
        let expired = match purpose {
            Purpose::Spam => &done.expired_spam,
            Purpose::Trash => &done.expired_trash,
            Purpose::Rejects => &done.expired_rejects,
            _ => &done.expired_inbox,
        };
        expired.fetch_add(removed as u64, Relaxed);
        if next.is_none() {
            done.passes.fetch_add(1, Relaxed);
        }
        if removed > 0 {
            debug!(removed, ?purpose, "old messages are removed");
        }
        Ok(())
    }

    /// Mailboxes that live here, and of whose move nobody knows any more, take mail again.
    async fn thaw(&self, id: ShardId, store: &Store, now: i64) -> Result<(), String> {
        let said = |error: StoreError| error.to_string();
        let still = store.standing_still().await.map_err(said)?;
        // Those of whose move the directory was never told.
        let left = store.left_behind().await.map_err(said)?;
        let (still, left) = {
            let mut seen = self.0.seen.lock();
            let still = ripe(&mut seen.still, id, &still, now, STILL);
            (still, ripe(&mut seen.left, id, &left, now, STILL))
        };
        if still.is_empty() && left.is_empty() {
            return Ok(());
        }
        let lives_here = |account: &Account| {
            let lives = self.0.directory.account(AccountId(account.0));
            lives.is_some_and(|view| view.shard == id)
        };
        let registry = self.0.directory.registry();
        let moves = registry.moves().await.map_err(|error| error.to_string())?;
        // Who moves one that the directory knows of is at work, or is taken over.
        let moved = |account: &Account| moves.iter().any(|entry| entry.account.0 == account.0);
        for account in still.into_iter().chain(left) {
            if self.knows() && lives_here(&account) && !moved(&account) {
                let fence = registry.fence().await.map_err(|error| error.to_string())?;
                store.stay(account, Fence(fence)).await.map_err(said)?;
                info!(account = account.0, "a mailbox whose move was broken off takes mail again");
            }
        }
        Ok(())
    }

    /// Removes the mail of accounts that are gone for a while.
    async fn empty(&self, id: ShardId, store: &Store, now: i64) -> Result<(), String> {
        let said = |error: StoreError| error.to_string();
        let (mut all, mut gone, mut after) = (0, BTreeMap::new(), None);
        loop {
            let page = store.accounts(after, PAGE).await.map_err(said)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            all += page.len();
            let missing =
                |account: &Account| self.0.directory.account(AccountId(account.0)).is_none();
            gone.extend(page.into_iter().filter(|(account, _)| missing(account)));
        }
        if !self.knows() {
            return Ok(());
        }
        if gone.len() > FEW.max(all / SHARE) {
            return Err(format!(
                "{} of {all} mailboxes have no account: was the directory put back to an earlier state?",
                gone.len()
            ));
        }
        let accounts: Vec<Account> = gone.keys().copied().collect();
        let mut old = ripe(&mut self.0.seen.lock().gone, id, &accounts, now, GONE);
        old.retain(|account| {
            gone.get(account).is_some_and(|changed| now.saturating_sub(*changed) >= AT_REST)
        });
        for account in old.into_iter().take(EMPTIED) {
            // Not only as far as memory knows.
            let row = self.0.directory.registry().account_of(AccountId(account.0)).await;
            if row.map_err(|error| error.to_string())?.is_none() {
                store.clear(account).await.map_err(said)?;
                self.0.done.emptied.fetch_add(1, Relaxed);
                info!(account = account.0, "the mail of an account that is gone is removed");
            }
        }
        Ok(())
    }

    /// Whether it is time to look for mailboxes without an account. What the last look came to stands until then.
    fn is_to_look(&self, id: ShardId, now: i64) -> bool {
        let mut seen = self.0.seen.lock();
        let looked = seen.looked.get(&id).copied();
        let is_due = looked.is_none_or(|looked| now.saturating_sub(looked) >= LOOK);
        if is_due {
            seen.looked.insert(id, now);
        }
        is_due
    }

    /// Whether what the directory does not have is not there.
    fn knows(&self) -> bool {
        self.0.directory.status().away_since.is_none()
    }
}

/// Those of the accounts that were seen so for long enough. Others than these are forgotten.
fn ripe(
    since: &mut Since,
    id: ShardId,
    accounts: &[Account],
    now: i64,
    after: i64,
) -> Vec<Account> {
    let present: HashSet<Account> = accounts.iter().copied().collect();
    since.retain(|(shard, account), _| *shard != id || present.contains(account));
    let mut old = Vec::new();
    for account in accounts {
        let first = *since.entry((id, *account)).or_insert(now);
        if now.saturating_sub(first) >= after {
            old.push(*account);
        }
    }
    old
}

#[cfg(test)]
mod tests;
