//! Stores: checked, compacted, counted; and mailboxes that move between them.

use std::process::ExitCode;

use indicatif::ProgressBar;
use muralla_mail::config::MailConfig;
use muralla_mail::tools::moving::{self, Moved};
use muralla_mail::tools::places::{Place, Places};
use muralla_mail::tools::stores::{self, Checked};
use muralla_mail_directory::{Progress, Registry};
use muralla_mail_store::{BodyOptions, Census, Maintained, Store, StoreOptions, Usage};
use serde::Serialize;

use super::directory::{open, parsed_name};
use super::{now, tell};
use crate::cli::mail::{StoreCommand, WhichShards};
use crate::commands::radius::bar;
use crate::commands::{Call, code};
use crate::configuration::size;
use crate::top::table;

/// `muralla mail store`
pub(super) async fn act(
    call: &Call,
    config: &MailConfig,
    command: StoreCommand,
) -> anyhow::Result<ExitCode> {
    let registry = open(config).await?;
    let which = match &command {
        StoreCommand::Check { which, .. }
        | StoreCommand::Compact { which, .. }
        | StoreCommand::Stats { which }
        | StoreCommand::Purge { which, .. } => which,
    };
    let places = places(config, &registry, which).await?;
    let code = match command {
        StoreCommand::Check { repair, give_up, .. } => {
            check(call, &registry, &places, repair, give_up).await?
        }
        StoreCommand::Compact { dead, .. } => compact(call, &places, dead).await?,
        StoreCommand::Stats { .. } => stats(call, &places).await?,
        StoreCommand::Purge { yes, .. } => purge(call, &registry, &places, yes).await?,
    };
    registry.close().await;
    Ok(code)
}

async fn places(
    config: &MailConfig,
    registry: &Registry,
    which: &WhichShards,
) -> anyhow::Result<Vec<Place>> {
    Ok(Places::read(config, registry).await?.all_or(which.shard.as_deref())?)
}

async fn opened(place: &Place) -> anyhow::Result<Store> {
    Ok(place.store(StoreOptions::default()).await?)
}

async fn check(
    call: &Call,
    registry: &Registry,
    places: &[Place],
    repair: bool,
    give_up: bool,
) -> anyhow::Result<ExitCode> {
    let mut all = Vec::new();
    for place in places {
        let store = opened(place).await?;
        if give_up {
            let given_up = stores::give_up(&store, now()).await?;
            eprintln!("shard {}: {given_up} packs that are not there are given up", place.name);
        }
        let bar = bar();
        let checked =
            stores::check(registry, place, &store, repair, |progress| advance(&bar, progress));
        let checked = checked.await;
        bar.finish_and_clear();
        store.close().await;
        all.push(checked?);
    }
    tell(call, &all, |all| all.iter().map(checked_text).collect())?;
    Ok(code(all.iter().all(Checked::is_clean)))
}

fn checked_text(checked: &Checked) -> String {
    let Checked { shard, packs, frames, bytes, unneeded, unneeded_bytes, .. } = checked;
    let mut text = String::new();
    for finding in &checked.findings {
        text.push_str(&format!("! {}\n  {}\n", finding.what, finding.advice));
    }
    if checked.more > 0 {
        text.push_str(&format!("! and {} more of that kind\n", checked.more));
    }
    text.push_str(&format!(
        "shard {shard}: {packs} packs read, {frames} frames, {}; nobody needs {unneeded} of them, {}\n",
        size::about(*bytes),
        size::about(*unneeded_bytes)
    ));
    for (count, what) in [
        (checked.corrected, "counts of packs put right"),
        (checked.mended, "messages found in another pack, and there again"),
        (checked.repaired, "counts of mailboxes and messages put right"),
    ] {
        if count > 0 {
            text.push_str(&format!("  {count} {what}\n"));
        }
    }
    if checked.is_clean() {
        text.push_str("  nothing is wrong\n");
    }
    text
}

/// What was done for a shard, or is in it, with its name.
#[derive(Serialize)]
struct Of<T> {
    shard: String,
    #[serde(flatten)]
    what: T,
}

#[derive(Serialize)]
struct Compacted {
    packs_emptied: u64,
    bytes_copied: u64,
    packs_deleted: u64,
    messages_removed: u64,
    missing: u64,
    dead_bytes_before: u64,
    dead_bytes: u64,
}

async fn compact(call: &Call, places: &[Place], dead: i64) -> anyhow::Result<ExitCode> {
    let mut all = Vec::new();
    for place in places {
        let bodies = BodyOptions { dead, ..BodyOptions::default() };
        let store = place.store(StoreOptions { bodies, ..StoreOptions::default() }).await?;
        let before = store.bodies().totals().await?;
        let bar = bar();
        bar.set_message("bytes copied");
        let done = stores::compact(&store, now, |done| {
            // How much will be copied depends on which packs are dead enough.
            bar.set_length(before.live.max(done.bytes_copied));
            bar.set_position(done.bytes_copied);
        });
        let done = done.await;
        bar.finish_and_clear();
        let after = store.bodies().totals().await;
        store.close().await;
        let (done, after): (Maintained, _) = (done?, after?);
        let what = Compacted {
            packs_emptied: done.packs_emptied,
            bytes_copied: done.bytes_copied,
            packs_deleted: done.packs_deleted,
            messages_removed: done.bodies_removed,
            missing: done.missing,
            dead_bytes_before: before.bytes.saturating_sub(before.live),
            dead_bytes: after.bytes.saturating_sub(after.live),
        };
        all.push(Of { shard: place.name.clone(), what });
    }
    tell(call, &all, |all| all.iter().map(compacted_text).collect())?;
    Ok(code(all.iter().all(|one| one.what.missing == 0)))
}

fn compacted_text(of: &Of<Compacted>) -> String {
    let Compacted { packs_emptied, bytes_copied, messages_removed, missing, .. } = of.what;
    if missing > 0 {
        return format!(
            "! shard {}: {missing} packs are not there, and nothing is tidied up before they are: `muralla mail store check`\n",
            of.shard
        );
    }
    format!(
        "shard {}: {packs_emptied} packs emptied, {} copied, {messages_removed} messages that nobody had removed; \
         {} were dead, and what is left is deleted within a quarter of an hour\n",
        of.shard,
        size::about(bytes_copied),
        size::about(of.what.dead_bytes_before),
    )
}

#[derive(Serialize)]
struct Stats {
    mailboxes: u64,
    messages: u64,
    bytes: u64,
    stored_messages: u64,
    stored_bytes: u64,
    frames_bytes: u64,
    parts: u64,
    parts_bytes: u64,
    stored_per_byte: Option<f64>,
    packs: u64,
    packs_bytes: u64,
    dead_share: f64,
    unneeded: u64,
}

impl From<Census> for Stats {
    fn from(census: Census) -> Self {
        Self {
            mailboxes: census.mailboxes,
            messages: census.held.messages,
            bytes: census.held.bytes,
            stored_messages: census.stored.messages,
            stored_bytes: census.stored.bytes,
            frames_bytes: census.frames,
            parts: census.parts.messages,
            parts_bytes: census.parts.bytes,
            stored_per_byte: census.stored_per_byte(),
            packs: census.packs.packs,
            packs_bytes: census.packs.bytes,
            dead_share: census.packs.dead_share(),
            unneeded: census.unneeded,
        }
    }
}

async fn stats(call: &Call, places: &[Place]) -> anyhow::Result<ExitCode> {
    let mut all = Vec::new();
    for place in places {
        let store = opened(place).await?;
        let census = store.census().await;
        store.close().await;
        all.push(Of { shard: place.name.clone(), what: Stats::from(census?) });
    }
    tell(call, &all, |all| stats_text(all))?;
    Ok(ExitCode::SUCCESS)
}

fn stats_text(all: &[Of<Stats>]) -> String {
    let rows: Vec<[String; 8]> = all
        .iter()
        .map(|Of { shard, what }| {
            [
                shard.clone(),
                what.mailboxes.to_string(),
                what.messages.to_string(),
                size::about(what.bytes),
                size::about(what.stored_bytes),
                what.stored_per_byte.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}")),
                size::about(what.packs_bytes),
                format!("{:.0} %", what.dead_share * 100.0),
            ]
        })
        .collect();
    table(
        [
            "shard",
            "mailboxes",
            "messages",
            "of users",
            "stored once",
            "per byte",
            "in packs",
            "dead",
        ],
        &rows,
    )
}

#[derive(Serialize)]
struct Purged {
    mailboxes: u64,
    messages: u64,
    bytes: u64,
    removed: bool,
}

async fn purge(
    call: &Call,
    registry: &Registry,
    places: &[Place],
    yes: bool,
) -> anyhow::Result<ExitCode> {
    let mut all = Vec::new();
    for place in places {
        let store = opened(place).await?;
        let purged = purge_one(registry, place, &store, yes).await;
        store.close().await;
        all.push(Of { shard: place.name.clone(), what: purged? });
    }
    tell(call, &all, |all| all.iter().map(purged_text).collect())?;
    Ok(ExitCode::SUCCESS)
}

async fn purge_one(
    registry: &Registry,
    place: &Place,
    store: &Store,
    yes: bool,
) -> anyhow::Result<Purged> {
    let ownerless = stores::ownerless(registry, place, store).await?;
    let mut purged = Purged { mailboxes: 0, messages: 0, bytes: 0, removed: yes };
    let bar = bar();
    bar.set_message("mailboxes");
    bar.set_length(ownerless.len() as u64);
    for (account, Usage { messages, bytes }) in ownerless {
        if !yes || stores::purge(registry, store, account).await? {
            purged.mailboxes += 1;
            purged.messages += messages;
            purged.bytes += bytes;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(purged)
}

fn purged_text(of: &Of<Purged>) -> String {
    let Purged { mailboxes, messages, bytes, removed } = of.what;
    let what = format!(
        "shard {}: {mailboxes} mailboxes of accounts that were removed, with {messages} messages, {}",
        of.shard,
        size::about(bytes)
    );
    match removed {
        true => format!("{what}: removed\n"),
        false if mailboxes == 0 => format!("{what}\n"),
        false => format!("{what}: `muralla mail store purge --yes` removes them\n"),
    }
}

/// `muralla mail move`
pub(super) async fn move_mailbox(
    call: &Call,
    config: &MailConfig,
    account: &str,
    to: &str,
) -> anyhow::Result<ExitCode> {
    let name = parsed_name(account)?;
    let bar = bar();
    let moved = moving::move_mailbox(config, &name, to, |progress| advance(&bar, progress)).await;
    bar.finish_and_clear();
    let moved = moved?;
    tell(call, &moved, moved_text)?;
    Ok(code(moved.remarks.is_empty()))
}

fn moved_text(moved: &Moved) -> String {
    let Moved { account, from, to, messages, bytes, remarks } = moved;
    let mut text = match from {
        Some(from) => format!(
            "{account}: moved from {from} to {to}, {messages} messages copied, {}\n",
            size::about(*bytes)
        ),
        None => format!("{account}: lives in {to}; no move of it is under way\n"),
    };
    for remark in remarks {
        text.push_str(&format!("! {remark}\n"));
    }
    text
}

fn advance(bar: &ProgressBar, progress: Progress) {
    if let Some(total) = progress.total {
        bar.set_length(total);
    }
    bar.set_message(progress.what);
    bar.set_position(progress.done);
}
