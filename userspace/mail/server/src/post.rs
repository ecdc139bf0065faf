//! Carries plans out: into mailboxes and the queue, and onto this machine's disk while those are away.
//!
//! A message counts as taken when each part of its plan is durable somewhere. If a part can't be done now, it is kept in the
//! spool and done later; parts are known by their ids where they go, so that one whose answer was lost is not done twice.

mod full;
mod outage;
mod parts;
mod rejects;
mod traces;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt, join_all};
use futures_util::stream::{self, StreamExt};
use muralla_mail_directory::{AccountId, Directory, ShardId};
use muralla_mail_envelope::{Address, Envelope, MailParameters, MessageId, Recipient};
use muralla_mail_store::Purpose;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

pub(crate) use full::Full;
pub(crate) use outage::{is_outage, is_outage_of_queue};
pub(crate) use traces::Refused;

use crate::clock;
use crate::letter::Letter;
use crate::measures::{Deliveries, Fates, SPOOL};
use crate::plan::{Mailbox, Parcel, Plan};
use crate::routes::Route;
use crate::shards::Shards;
use crate::spool::{Spool, SpoolError};
use traces::Rations;

/// Takes messages over. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Post(Arc<Inner>);

struct Inner {
    directory: Directory,
    shards: Shards,
    spool: Spool,
    full: Full,
    deliveries: Deliveries,
    rations: Rations,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    taken: AtomicU64,
    spooled: AtomicU64,
    refused: AtomicU64,
    full: AtomicU64,
    unnoted: AtomicU64,
    rationed: AtomicU64,
}

/// What became of messages since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct PostStatus {
    /// Taken, those that were spooled among them.
    pub taken: u64,
    /// Spooled, as something was away.
    pub spooled: u64,
    /// Not taken.
    pub refused: u64,
    /// Deliveries into a mailbox that was found full.
    #[serde(default)]
    pub full: u64,
    /// Events that traces were not told of, as the database was away or too much waited to be written.
    #[serde(default)]
    pub events_lost: u64,
    /// The same of refusals, as there were too many.
    #[serde(default)]
    pub events_rationed: u64,
    /// Recipients that failed and are held in the queue, as nobody can be told.
    #[serde(default)]
    pub untold: u64,
    /// Transactions of the queue that caused a panic.
    #[serde(default)]
    pub panics: u64,
}

/// Where a message that was taken is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Taken {
    /// Where it belongs.
    There,
    /// On this machine's disk, all of it or some.
    Spooled,
}

/// Why a message was not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// All mailboxes that it is for are full.
    Full,
    /// All accounts that it is for are gone.
    Nobody,
    /// It can be kept nowhere now.
    NoRoom(SpoolError),
    /// It can't be stored at all, as it is too large.
    Never(String),
    /// It can't be stored, and that is our fault.
    Fault(String),
}

/// Why something out of the queue is not in a mailbox.
#[derive(Debug)]
pub(crate) enum NotDelivered {
    /// The mailbox is full.
    Full,
    /// The account is gone.
    Gone,
    /// Its store can't take it now.
    Away(String),
    /// Its store can't take it at all, as it is too large.
    Never(String),
    /// Its store can't take it, and that is our fault.
    Fault(String),
}

/// What became of a plan.
#[derive(Debug, Default)]
struct Tried {
    /// Parts that are done.
    done: usize,
    /// Mailboxes that are full.
    full: Vec<Mailbox>,
    /// Mailboxes whose accounts are gone.
    gone: Vec<Mailbox>,
    /// What may be done later.
    boxes: Vec<Mailbox>,
    parcels: Vec<Parcel>,
    /// How many of these wait for a reason that other messages do not have.
    waits: usize,
    /// What the store or the queue refuses.
    never: Vec<Mailbox>,
    never_parcels: Vec<Parcel>,
    /// Whether that is the message's fault.
    blamed: bool,
    /// What was said last.
    error: Option<String>,
}

/// What became of one part.
#[derive(Clone, Debug)]
enum Fate {
    Done,
    Full,
    Later(String),
    /// Later, for a reason that other messages do not have.
    Waits(String),
    /// For the message's fault.
    Never(String),
    /// For ours.
    Fault(String),
}

impl Fate {
    /// In words, where it is not done.
    fn why(&self) -> &str {
        match self {
            Self::Done => "",
            Self::Full => "the mailbox is full",
            Self::Later(why) | Self::Waits(why) | Self::Never(why) | Self::Fault(why) => why,
        }
    }
}

/// What is left of a plan after all was done that can be.
struct Rest {
    plan: Plan,
    /// How many of its parts the store or the queue refuses, for a reason of the message's own.
    refused: usize,
    /// How many wait for such a reason.
    waits: usize,
}

/// Why a message is still in the spool.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stays {
    /// It is not there any more, or waits as others do.
    No,
    /// All that is left of it waits for a reason of its own.
    Waits,
    /// All that is left of it is refused.
    Refused,
}

/// Messages that are brought in at once.
const AT_ONCE: usize = 16;

/// Messages that are looked at in one go.
const BATCH: usize = 256;

/// How often the spool is looked through for what another process left there.
const RESCAN: Duration = Duration::from_secs(60);

impl Post {
    pub(crate) fn new(directory: Directory, shards: Shards, spool: Spool) -> Self {
        Self(Arc::new(Inner {
            directory,
            shards,
            spool,
            full: Full::default(),
            deliveries: Deliveries::default(),
            rations: Rations::default(),
            counters: Counters::default(),
        }))
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.0.directory
    }

    pub(crate) fn shards(&self) -> &Shards {
        &self.0.shards
    }

    pub(crate) fn spool(&self) -> &Spool {
        &self.0.spool
    }

    /// Whether the directory in memory is that of after a time, in seconds since 1970, so that who is not in it is not there.
    pub(crate) fn knows_all_until(&self, time: i64) -> bool {
        let status = self.0.directory.status();
        status.away_since.is_none()
            && i64::try_from(status.current).is_ok_and(|current| current > time)
    }

    pub(crate) fn full(&self) -> &Full {
        &self.0.full
    }

    /// How mail is handed over to each place.
    pub(crate) fn deliveries(&self) -> &Deliveries {
        &self.0.deliveries
    }

    pub(crate) fn status(&self) -> PostStatus {
        let Counters { taken, spooled, refused, full, unnoted, rationed } = &self.0.counters;
        let queue = self.0.shards.queue_status().unwrap_or_default();
        PostStatus {
            events_lost: unnoted.load(Relaxed).saturating_add(queue.events_lost),
            events_rationed: rationed.load(Relaxed),
            untold: queue.untold,
            panics: queue.panics,
            taken: taken.load(Relaxed),
            spooled: spooled.load(Relaxed),
            refused: refused.load(Relaxed),
            full: full.load(Relaxed),
        }
    }

    /// Takes a message over: when it returns well, the message is durable.
    pub(crate) async fn take(
        &self,
        plan: Plan,
        letter: &Letter,
        patience: Duration,
    ) -> Result<Taken, Refusal> {
        let taken = self.take_over(plan, letter, patience).await;
        let Counters { taken: all, spooled, refused, .. } = &self.0.counters;
        match &taken {
            Ok(Taken::There) => all.fetch_add(1, Relaxed),
            Ok(Taken::Spooled) => {
                all.fetch_add(1, Relaxed);
                spooled.fetch_add(1, Relaxed)
            }
            Err(_) => refused.fetch_add(1, Relaxed),
        };
        taken
    }

    async fn take_over(
        &self,
        plan: Plan,
        letter: &Letter,
        patience: Duration,
    ) -> Result<Taken, Refusal> {
        let now = clock::now();
        if plan.is_done() {
            // A promise about nothing would be kept by losing it.
            return Err(Refusal::Fault("it goes nowhere".to_owned()));
        }
        let mut tried = self.attempt(&plan, letter, patience).await;
        if tried.is_lost() {
            return Err(tried.refusal());
        }
        let rest = self.promise(&plan.envelope, &mut tried, letter, patience).await;
        let rest = self.put_off(rest.plan, letter, patience).await;
        if rest.is_done() {
            return Ok(Taken::There);
        }
        self.0.spool.keep(&rest, letter, now).await.map_err(Refusal::NoRoom)?;
        debug!(id = %plan.envelope.id, error = tried.error, "a message is spooled");
        Ok(Taken::Spooled)
    }

    /// Brings in what waits in the spool, until told to stop.
    pub(crate) async fn bring_in(self, patience: Duration, mut stop: watch::Receiver<bool>) {
        let spool = self.spool().clone();
        let mut scanned = tokio::time::Instant::now();
        loop {
            let woken = async {
                tokio::select! {
                    () = spool.kept() => {}
                    () = self.shards().back() => {}
                    () = tokio::time::sleep(spool.retry()) => {}
                }
            };
            // What comes while the shards are there comes through: only what was left is waited for.
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = woken => {}
            }
            if scanned.elapsed() > RESCAN {
                scanned = tokio::time::Instant::now();
                if let Err(error) = spool.rescan().await {
                    warn!(%error, "the spool can't be read");
                }
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.bring_all(patience) => {}
            }
        }
    }

    /// Tries all of them once, the oldest first.
    async fn bring_all(&self, patience: Duration) {
        let mut after = None;
        loop {
            let keys = self.spool().waiting(after, BATCH);
            let Some(last) = keys.last().copied() else { return };
            after = Some(last);
            stream::iter(keys)
                .for_each_concurrent(AT_ONCE, |key| async move {
                    self.bring(key, patience).await;
                })
                .await;
            // The store of nearly all of them: no need to read each file to find that out.
            if self.shards().main().is_ok_and(|main| main.is_away() || main.is_shut()) {
                return;
            }
        }
    }

    /// Whatever becomes of one, the others are brought in.
    async fn bring(&self, key: (i64, MessageId), patience: Duration) {
        let brought = AssertUnwindSafe(self.bring_one(key, patience)).catch_unwind().await;
        let (why, refused) = match brought {
            Ok(Ok(Stays::No)) => return,
            Ok(Ok(Stays::Waits)) => ("whom it is for takes no mail yet".to_owned(), false),
            Ok(Ok(Stays::Refused)) => ("the mail store refuses it".to_owned(), true),
            // It was put aside.
            Ok(Err(SpoolError::Damaged { .. })) => return,
            Ok(Err(error)) => (error.to_string(), false),
            Err(_) => ("it can't be worked on".to_owned(), true),
        };
        warn!(id = %key.1, why, "a message stays in the spool");
        self.spool().failed(key, &why, refused).await;
    }

    async fn bring_one(
        &self,
        key: (i64, MessageId),
        patience: Duration,
    ) -> Result<Stays, SpoolError> {
        if self.shards().main().is_ok_and(|main| main.is_away() || main.is_shut()) {
            return Ok(Stays::No);
        }
        let Some((plan, letter)) = self.spool().load(key).await? else { return Ok(Stays::No) };
        let mut tried = self.attempt(&plan, &letter, patience).await;
        let Rest { plan: rest, refused, waits } =
            self.promise(&plan.envelope, &mut tried, &letter, patience).await;
        if rest.is_done() {
            self.spool().remove(key).await?;
            self.note_waited(key.0, plan.parts());
            self.note_brought(&plan, &rest, &letter, key.0);
            return Ok(Stays::No);
        }
        if rest.parts() < plan.parts() {
            self.spool().replace(&rest, &letter).await?;
            self.note_brought(&plan, &rest, &letter, key.0);
        }
        debug!(id = %key.1, error = tried.error, "a message waits in the spool");
        Ok(match rest.parts() {
            parts if parts == refused => Stays::Refused,
            parts if parts == refused + waits => Stays::Waits,
            _ => Stays::No,
        })
    }

    /// How long it took from 250 until the last of them had a message that waited here.
    fn note_waited(&self, since: i64, parts: usize) {
        let waited = clock::now().saturating_sub(since).max(0).cast_unsigned();
        let delivered = u64::try_from(parts).unwrap_or(u64::MAX);
        let fates = Fates { delivered, ..Fates::default() };
        self.0.deliveries.note(SPOOL, fates, Duration::from_secs(waited));
    }

    /// What is left of a plan. Others have it, or will, so whoever sent it can't be told of some alone: full mailboxes take it all
    /// the same, and where a folder can't be, Inbox does. What is for accounts that are gone fails in the queue, as what was queued for
    /// them does: there its sender is told, or it is held.
    async fn promise(
        &self,
        envelope: &Envelope,
        tried: &mut Tried,
        letter: &Letter,
        patience: Duration,
    ) -> Rest {
        let mut rest = tried.later(envelope);
        let (mut refused, mut waits) = (0, tried.waits);
        let inbox = Purpose::Inbox.path();
        let full = tried.full.drain(..).map(|one| Mailbox { promised: true, ..one });
        let mut boxes: Vec<Mailbox> = full.collect();
        boxes.extend(tried.never.drain(..).map(|one| Mailbox {
            folder: inbox.to_owned(),
            wished: None,
            ..one
        }));
        let mut gone = std::mem::take(&mut tried.gone);
        if !boxes.is_empty() {
            let again = Plan { envelope: envelope.clone(), boxes, parcels: Vec::new() };
            let again = self.attempt(&again, letter, patience).await;
            for one in again.never.into_iter().chain(again.full) {
                error!(id = %envelope.id, account = one.account.0, error = again.error,
                    "a message can't be stored: it stays in the spool");
                rest.boxes.push(one);
                refused += 1;
            }
            rest.boxes.extend(again.boxes);
            waits += again.waits;
            gone.extend(again.gone);
        }
        for one in gone {
            let Some(parcel) = for_nobody(envelope, &one) else {
                error!(id = %envelope.id, account = one.account.0,
                    "an account is gone, and nobody knows what its address was: the message stays in the spool");
                rest.boxes.push(one);
                refused += 1;
                continue;
            };
            match self.enqueue(&parcel, letter, patience).await {
                Fate::Done | Fate::Full => self.note_gone(envelope, &parcel),
                Fate::Later(error) | Fate::Waits(error) => {
                    tried.error = Some(error);
                    rest.parcels.push(parcel);
                }
                fate @ (Fate::Never(_) | Fate::Fault(_)) => {
                    error!(id = %envelope.id, error = fate.why(),
                        "a message can't be queued: it stays in the spool");
                    rest.parcels.push(parcel);
                    refused += 1;
                }
            }
        }
        for parcel in tried.never_parcels.drain(..) {
            error!(id = %envelope.id, error = tried.error,
                "a message can't be queued: it stays in the spool");
            rest.parcels.push(parcel);
            refused += 1;
        }
        Rest { plan: rest, refused, waits }
    }

    /// Does what can be done of a plan.
    fn attempt<'a>(
        &'a self,
        plan: &'a Plan,
        letter: &'a Letter,
        patience: Duration,
    ) -> BoxFuture<'a, Tried> {
        // Apart from what it is asked by, as it is large.
        self.attempt_all(plan, letter, patience).boxed()
    }

    async fn attempt_all(&self, plan: &Plan, letter: &Letter, patience: Duration) -> Tried {
        let mut tried = Tried::default();
        let mut shards: BTreeMap<ShardId, Vec<(Mailbox, Option<u64>)>> = BTreeMap::new();
        for one in &plan.boxes {
            let Some(account) = self.0.directory.account(one.account) else {
                if self.knows_all_until(plan.envelope.received_at) {
                    // An account that is gone has no mailbox.
                    info!(id = %plan.envelope.id, account = one.account.0, "an account that is gone gets no mail");
                    tried.gone.push(one.clone());
                } else {
                    let why = format!("account {} is not known yet", one.account);
                    tried.error = Some(why);
                    tried.boxes.push(one.clone());
                    tried.waits += 1;
                }
                continue;
            };
            let quota = (account.quota_bytes > 0 && !one.promised).then_some(account.quota_bytes);
            shards.entry(account.shard).or_default().push((one.clone(), quota));
        }
        let into_shards = shards.into_iter().map(|(shard, boxes)| async move {
            self.store_in(plan, letter, shard, boxes, patience).await
        });
        let parcels = plan.parcels.iter().map(|parcel| async move {
            (parcel.clone(), self.enqueue(parcel, letter, patience).await)
        });
        let (stored, queued) = tokio::join!(join_all(into_shards), join_all(parcels));
        for (one, fate) in stored.into_iter().flatten() {
            match fate {
                Fate::Done => {
                    tried.done += 1;
                    // What was promised is there although there is no room.
                    if !one.promised {
                        self.0.full.has_room(one.account);
                    }
                }
                Fate::Full => {
                    self.0.counters.full.fetch_add(1, Relaxed);
                    self.0.full.is_full(one.account, Instant::now());
                    tried.full.push(one);
                }
                Fate::Later(error) => {
                    tried.error = Some(error);
                    tried.boxes.push(one);
                }
                Fate::Waits(error) => {
                    tried.error = Some(error);
                    tried.boxes.push(one);
                    tried.waits += 1;
                }
                fate @ (Fate::Never(_) | Fate::Fault(_)) => {
                    tried.refused(fate);
                    tried.never.push(one);
                }
            }
        }
        for (parcel, fate) in queued {
            match fate {
                Fate::Done | Fate::Full => tried.done += 1,
                Fate::Later(error) | Fate::Waits(error) => {
                    tried.error = Some(error);
                    tried.parcels.push(parcel);
                }
                fate @ (Fate::Never(_) | Fate::Fault(_)) => {
                    tried.refused(fate);
                    tried.never_parcels.push(parcel);
                }
            }
        }
        tried
    }

    /// What waits for a shard that is away waits in the queue, which other machines see, too; if that is there.
    async fn put_off(&self, plan: Plan, letter: &Letter, patience: Duration) -> Plan {
        let Plan { envelope, boxes, parcels } = plan;
        let elsewhere = |one: &Mailbox| {
            let account = self.0.directory.account(one.account);
            account.filter(|account| account.shard != ShardId::MAIN)?.name.to_address()
        };
        let mut put_off: Vec<(Mailbox, Address)> = Vec::new();
        let mut left = Vec::new();
        for one in boxes {
            match elsewhere(&one) {
                Some(address) => put_off.push((one, address)),
                None => left.push(one),
            }
        }
        if put_off.is_empty() {
            return Plan { envelope, boxes: left, parcels };
        }
        // Under its own id, by which mailboxes know it: if some have it after all, they don't get it again.
        let recipients = put_off.iter().map(|(_, address)| Recipient::new(address.clone()));
        let destinations =
            put_off.iter().map(|(one, _)| Route::Store { folder: one.folder.clone() }.to_string());
        let parcel = Parcel {
            envelope: Envelope { recipients: recipients.collect(), ..envelope.clone() },
            destinations: destinations.collect(),
            owners: Vec::new(),
            head: String::new(),
            known: false,
            held: false,
        };
        if !matches!(self.enqueue(&parcel, letter, patience).await, Fate::Done) {
            left.extend(put_off.into_iter().map(|(one, _)| one));
        }
        Plan { envelope, boxes: left, parcels }
    }

    /// Delivers what the queue has for a mailbox of ours.
    pub(crate) async fn deliver_queued(
        &self,
        plan: &Plan,
        letter: &Letter,
        patience: Duration,
    ) -> Result<(), NotDelivered> {
        let tried = self.attempt(plan, letter, patience).await;
        let error = tried.error.unwrap_or_default();
        if !tried.gone.is_empty() {
            Err(NotDelivered::Gone)
        } else if !tried.never.is_empty() {
            Err(if tried.blamed { NotDelivered::Never(error) } else { NotDelivered::Fault(error) })
        } else if !tried.full.is_empty() {
            Err(NotDelivered::Full)
        } else if !tried.boxes.is_empty() {
            Err(NotDelivered::Away(error))
        } else {
            Ok(())
        }
    }
}

impl Tried {
    /// Something was refused.
    fn refused(&mut self, fate: Fate) {
        if let Fate::Never(error) | Fate::Fault(error) = &fate {
            self.error = Some(error.clone());
        }
        self.blamed |= matches!(fate, Fate::Never(_));
    }

    /// Nobody has it, and nobody will.
    fn is_lost(&self) -> bool {
        let later = self.boxes.len() + self.parcels.len();
        let refused = self.full.len() + self.never.len() + self.never_parcels.len();
        self.done == 0 && later == 0 && refused + self.gone.len() > 0
    }

    /// What is said of one that is lost. Who may come again for one mailbox hears of the others then.
    fn refusal(self) -> Refusal {
        let error = self.error.unwrap_or_default();
        if !self.full.is_empty() {
            Refusal::Full
        } else if self.never.is_empty() && self.never_parcels.is_empty() {
            Refusal::Nobody
        } else if self.blamed {
            Refusal::Never(error)
        } else {
            Refusal::Fault(error)
        }
    }

    /// What may be done later.
    fn later(&mut self, envelope: &Envelope) -> Plan {
        Plan {
            envelope: envelope.clone(),
            boxes: std::mem::take(&mut self.boxes),
            parcels: std::mem::take(&mut self.parcels),
        }
    }
}

/// What is queued for a mailbox whose account is gone; nothing if its address is not known.
fn for_nobody(envelope: &Envelope, one: &Mailbox) -> Option<Parcel> {
    let recipient = one.to.clone()?;
    Some(Parcel {
        envelope: Envelope {
            id: envelope.id.derive("gone", one.account.0.unsigned_abs()),
            mail: MailParameters { size: None, auth: None, ..envelope.mail.clone() },
            recipients: vec![recipient],
            ..envelope.clone()
        },
        destinations: vec![Route::Store { folder: one.folder.clone() }.to_string()],
        owners: Vec::new(),
        head: String::new(),
        known: envelope.client.authenticated.is_some(),
        held: false,
    })
}

/// The plan of those who deliver out of the queue. `promised` is whether it goes into the mailbox although that is full: whose sender
/// can't be told has nobody else to see to it.
pub(crate) fn of_account(
    envelope: &Envelope,
    account: AccountId,
    folder: &str,
    promised: bool,
) -> Plan {
    let folder = folder.to_owned();
    let mailbox = Mailbox { account, to: None, folder, wished: None, promised };
    Plan { envelope: envelope.clone(), boxes: vec![mailbox], parcels: Vec::new() }
}

#[cfg(test)]
mod tests;
