//! Checks stores, gives room back, and removes what nobody owns.

use std::collections::{HashMap, HashSet};

use muralla_mail_directory::{AccountId, Name, Progress, Registry, ShardId};
use muralla_mail_store::counting::{Miscount, Uncounted};
use muralla_mail_store::{Account, Bodies, BodyError, Fault, Fence, Maintained, Store, Usage};
use serde::Serialize;

use super::ToolsError;
use super::places::Place;

/// Mailboxes that are looked at at once.
const PIECE: u32 = 500;

/// How often what somebody else changed at the same moment is tried again.
const ATTEMPTS: usize = 5;

/// What a check of a shard found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Checked {
    /// The shard.
    pub shard: String,
    /// Packs that were read.
    pub packs: u64,
    /// Frames in them.
    pub frames: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Frames that nobody needs, which go when their packs are compacted: what was removed, and what a crash left.
    pub unneeded: u64,
    /// Bytes of those.
    pub unneeded_bytes: u64,
    /// Counts of packs that were put right, as they are by every check.
    pub corrected: u64,
    /// Messages that were found in another pack than it was said, as after a restore, and are there again.
    pub mended: u64,
    /// Counts of mailboxes, folders and messages that were put right.
    pub repaired: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// More of it, that isn't told.
    pub more: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// In one word, for scripts.
    pub kind: &'static str,
    /// What it is about, and what is wrong.
    pub what: String,
    /// What to do.
    pub advice: String,
}

impl Checked {
    /// Whether nothing is left to be done.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.more == 0
    }

    fn find(&mut self, kind: &'static str, what: String, advice: impl Into<String>) {
        self.findings.push(Finding { kind, what, advice: advice.into() });
    }
}

/// Reads everything that a shard has and tells what is wrong, and what to do about it. With `repair`, counts of mailboxes and messages
/// that differ are put right. Roles may run meanwhile.
///
/// # Errors
///
/// [`ToolsError`], when the check itself can't go on.
pub async fn check(
    registry: &Registry,
    place: &Place,
    store: &Store,
    repair: bool,
    mut progress: impl FnMut(Progress),
) -> Result<Checked, ToolsError> {
    let mut checked = Checked { shard: place.name.clone(), ..Checked::default() };
    let report = store.bodies().check(|at| {
        progress(Progress { what: "reading packs", done: at.packs, total: Some(at.of_packs) });
    });
    let report = report.await?;
    checked.packs = report.read.packs;
    checked.frames = report.read.frames;
    checked.bytes = report.read.bytes;
    checked.unneeded = report.dead;
    checked.unneeded_bytes = report.dead_bytes;
    checked.corrected = report.corrected;
    checked.mended = report.mended;
    checked.more = report.read.faults.saturating_sub(report.faults.len() as u64);
    for fault in &report.faults {
        let (kind, advice) = advice(fault);
        checked.find(kind, fault.to_string(), advice);
    }

    let mailboxes = Mailboxes::read(registry, place.id, store).await?;
    let total = Some(mailboxes.len() as u64);
    let mut done = 0;
    let miscounts = store.recount(repair, |accounts| {
        done += accounts;
        progress(Progress { what: "counting mailboxes", done, total });
    });
    for miscount in miscounts.await? {
        if repair {
            checked.repaired += 1;
        } else {
            checked.find("count", mailboxes.miscount(&miscount), "--repair puts it right");
        }
    }
    progress(Progress { what: "counting messages", done: 0, total: None });
    for uncounted in store.recount_bodies(repair).await? {
        let Uncounted { body, messages, counted } = uncounted;
        match counted {
            Some(_) if repair => checked.repaired += 1,
            Some(counted) => checked.find(
                "refs",
                format!("message body {body} is counted for {counted} messages, and {messages} have it"),
                "--repair puts it right, before it is taken for one that nobody needs",
            ),
            None => checked.find(
                "body",
                format!("{messages} messages name body {body}, which has no row"),
                "they can't be read: put the database and the packs back to one moment, or tell their owners",
            ),
        }
    }
    mailboxes.tell(place, &mut checked);
    Ok(checked)
}

fn advice(fault: &Fault) -> (&'static str, &'static str) {
    match fault {
        Fault::Body { .. } | Fault::Part { .. } => (
            "damaged",
            "put this pack back from a copy, and check again; until then this can't be read, and nothing else is the worse for it",
        ),
        Fault::PartMissing { .. } => (
            "part",
            "it can't be read: put the database and the packs back to one moment, or tell its owner",
        ),
        Fault::PackMissing { .. } => (
            "pack",
            "put it back from a copy; nothing is tidied up before. If there is no copy: --give-up",
        ),
        Fault::Gap { .. } => (
            "gap",
            "the disk may be failing; what is lost by it is told beside this, if anything is",
        ),
        _ => ("other", "look at the log of the mail role"),
    }
}

/// The mailboxes of a shard, and what the directory says of their owners.
struct Mailboxes {
    all: Vec<muralla_mail_store::census::Mailbox>,
    owners: HashMap<AccountId, (Name, ShardId)>,
    /// Those that take no changes as they are being moved, from here or to here.
    still: HashSet<Account>,
}

impl Mailboxes {
    async fn read(registry: &Registry, here: ShardId, store: &Store) -> Result<Self, ToolsError> {
        let (mut all, mut owners) = (Vec::new(), HashMap::new());
        let still: HashSet<Account> = store.standing_still().await?.into_iter().collect();
        let mut after = Account(i64::MIN);
        loop {
            // First the mailboxes: an owner is entered before he has one.
            let some = store.mailboxes(after, PIECE).await?;
            let Some(last) = some.last() else { break };
            after = last.account;
            let ids: Vec<AccountId> = some.iter().map(|one| AccountId(one.account.0)).collect();
            owners.extend(registry.placed(&ids).await?);
            // Of those that live elsewhere only what is left here is of interest.
            let lives = |account: Account| {
                owners.get(&AccountId(account.0)).is_some_and(|(_, shard)| *shard == here)
            };
            all.extend(some.into_iter().filter(|one| {
                let account = one.account;
                one.is_here || one.usage.messages > 0 || still.contains(&account) || lives(account)
            }));
        }
        Ok(Self { all, owners, still })
    }

    fn len(&self) -> usize {
        self.all.len()
    }

    fn name(&self, account: Account) -> String {
        match self.owners.get(&AccountId(account.0)) {
            Some((name, _)) => name.to_string(),
            None => format!("account {}", account.0),
        }
    }

    fn miscount(&self, miscount: &Miscount) -> String {
        let Miscount { account, folder, counted, found } = miscount;
        let place =
            folder.map_or_else(|| "all folders".to_owned(), |id| format!("folder {}", id.0));
        format!(
            "{}, {place}: {} messages and {} bytes are counted, and {} and {} are there",
            self.name(*account),
            counted[0],
            counted[2],
            found[0],
            found[2]
        )
    }

    /// Mailboxes whose owners are gone, or live elsewhere, or that stand still.
    fn tell(&self, place: &Place, checked: &mut Checked) {
        let mut gone = Usage::default();
        let mut ownerless = 0_u64;
        for mailbox in &self.all {
            let name = self.name(mailbox.account);
            match self.owners.get(&AccountId(mailbox.account.0)) {
                None if mailbox.usage.messages == 0 => {}
                None => {
                    ownerless += 1;
                    gone.messages += mailbox.usage.messages;
                    gone.bytes += mailbox.usage.bytes;
                }
                Some((_, shard)) if *shard == place.id && !mailbox.is_here => checked.find(
                    "still",
                    format!("{name} takes no changes: its move was broken off, or is under way"),
                    format!(
                        "if nobody moves it: `muralla mail move {name} --to {}`, or to where it was to go",
                        place.name
                    ),
                ),
                Some((_, shard))
                    if *shard != place.id
                        && (mailbox.usage.messages > 0
                            || self.still.contains(&mailbox.account)) =>
                {
                    checked.find(
                        "copy",
                        format!("{name} lives in shard {shard}, and something of it is here, too"),
                        "a move brings it just now, or has left it: to move it once more to where it lives removes it",
                    );
                }
                Some(_) => {}
            }
        }
        if ownerless > 0 {
            checked.find(
                "ownerless",
                format!(
                    "{ownerless} mailboxes with {} messages of {} bytes are of accounts that were removed",
                    gone.messages, gone.bytes
                ),
                "`muralla mail store purge` removes them",
            );
        }
    }
}

/// Gives up packs that are not there and of which there is no copy: how many.
///
/// # Errors
///
/// [`ToolsError`].
pub async fn give_up(store: &Store, now: i64) -> Result<u64, ToolsError> {
    Ok(store.bodies().give_up_missing(now).await?)
}

/// Empties packs that are mostly dead until there are none, and tells how far it is. What was emptied is deleted by the roles some minutes
/// later, when nobody can be reading it any more.
///
/// # Errors
///
/// [`ToolsError`]. What was done is done.
pub async fn compact(
    store: &Store,
    now: impl Fn() -> i64,
    mut progress: impl FnMut(&Maintained),
) -> Result<Maintained, ToolsError> {
    let mut all = Maintained::default();
    loop {
        let done = maintain(store.bodies(), now()).await?;
        all.bodies_removed += done.bodies_removed;
        all.parts_removed += done.parts_removed;
        all.packs_emptied += done.packs_emptied;
        all.frames_copied += done.frames_copied;
        all.bytes_copied += done.bytes_copied;
        all.packs_deleted += done.packs_deleted;
        all.strays += done.strays;
        all.missing = done.missing;
        all.trained = done.trained.or(all.trained);
        progress(&all);
        if !done.more {
            return Ok(all);
        }
    }
}

async fn maintain(bodies: &Bodies, now: i64) -> Result<Maintained, BodyError> {
    let mut attempt = 0;
    loop {
        match bodies.maintain(now).await {
            // What was copied lies in a pack that somebody else empties now.
            Err(error) if error.is_stale() && attempt < ATTEMPTS => attempt += 1,
            done => return done,
        }
    }
}

/// Mailboxes of accounts that were removed.
///
/// # Errors
///
/// [`ToolsError`].
pub async fn ownerless(
    registry: &Registry,
    place: &Place,
    store: &Store,
) -> Result<Vec<(Account, Usage)>, ToolsError> {
    let mailboxes = Mailboxes::read(registry, place.id, store).await?;
    let gone = mailboxes.all.iter().filter(|one| {
        one.usage.messages > 0 && !mailboxes.owners.contains_key(&AccountId(one.account.0))
    });
    Ok(gone.map(|one| (one.account, one.usage)).collect())
}

/// Removes all mail of a mailbox whose account was removed; numbers of accounts are never given twice. Tells whether it did: an account
/// that is there keeps its mail.
///
/// # Errors
///
/// [`ToolsError`].
pub async fn purge(
    registry: &Registry,
    store: &Store,
    account: Account,
) -> Result<bool, ToolsError> {
    if registry.account_of(AccountId(account.0)).await?.is_some() {
        return Ok(false);
    }
    // What a move has left goes in another way.
    if !store.let_go(account, Fence(registry.fence().await?)).await? {
        store.clear(account).await?;
    }
    Ok(true)
}
