//! Brings a mailbox into another shard while it is in use.

use std::process;
use std::time::Duration;

use muralla_mail_directory::{DirectoryError, MoveBegun, MoveLease, Name, Progress, Registry};
use muralla_mail_store::{Account, Fence, StoreError, StoreOptions};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::sleep;

use super::places::{Place, Places};
use super::{ToolsError, registry};
use crate::config::MailConfig;
use crate::moves;

/// How often the directory is told again that does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// What became of it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Moved {
    /// Whose mailbox.
    pub account: Name,
    /// Where it lived; none if it was there already.
    pub from: Option<String>,
    /// Where it lives.
    pub to: String,
    /// Messages that were copied.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What is to be looked at.
    pub remarks: Vec<String>,
}

/// Moves a mailbox to the shard of a name; who moves it there already has lost it, and this goes on where he was. When it lives there
/// already, a move that was broken off is ended: it takes changes again, and what copies there are in other shards go.
///
/// # Errors
///
/// [`ToolsError`]. Nothing is lost, and to do it again goes on. When nobody does so for a while, any process with mail ends it.
pub async fn move_mailbox(
    config: &MailConfig,
    name: &Name,
    to: &str,
    progress: impl FnMut(Progress),
) -> Result<Moved, ToolsError> {
    let registry = registry(config).await?;
    let moved = move_with(config, &registry, name, to, progress).await;
    registry.close().await;
    moved
}

async fn move_with(
    config: &MailConfig,
    registry: &Registry,
    name: &Name,
    to: &str,
    mut progress: impl FnMut(Progress),
) -> Result<Moved, ToolsError> {
    let places = Places::read(config, registry).await?;
    let entry = registry.account(name).await?.ok_or_else(|| ToolsError::NoAccount(name.clone()))?;
    let id = entry.id.ok_or_else(|| ToolsError::NoAccount(name.clone()))?;
    let to = places.named(to)?;
    let mover = format!("muralla mail move, process {} of {}", process::id(), config.hostname);
    let lease = loop {
        match registry.begin_move(id, to.id, &mover).await? {
            MoveBegun::There => return finish(&places, registry, name, Account(id.0), &to).await,
            MoveBegun::Copy(lease) => break lease,
            MoveBegun::End(before) => end(&places, registry, &before).await?,
        }
    };
    let account = Account(id.0);
    let from = places.of(lease.from)?;
    let (old, new) =
        (from.store(StoreOptions::default()).await?, to.store(StoreOptions::default()).await?);
    let total = old.usage(account).await?.messages;
    let (mut messages, mut bytes) = (0_u64, 0_u64);
    let copied = |more: u64, of_bytes: u64| {
        messages += more;
        bytes += of_bytes;
        progress(Progress {
            what: "copying messages",
            done: messages,
            total: Some(total.max(messages)),
        });
    };
    let refused: Mutex<Option<DirectoryError>> = Mutex::new(None);
    let switch = async || loop {
        let error = match registry.switch_shard(&lease).await {
            Ok(true) => return Ok(()),
            // It may have been told without our hearing of it; or somebody else moves it.
            Ok(false) => match registry.account_of(id).await {
                Ok(Some(entry)) if entry.shard == Some(to.id) => return Ok(()),
                Ok(_) => return Err(StoreError::Elsewhere(account)),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if !error.may_pass() {
            *refused.lock() = Some(error);
            return Err(StoreError::Closing);
        }
        // Nobody knows what the directory says until it answers, so nothing can be undone, either.
        tracing::warn!(%error, "the directory is told again where the mailbox lives");
        sleep(RETRY).await;
    };
    let moving = old.move_account(account, &new, Fence(lease.fence), copied, switch);
    let moved = moves::held(registry, &lease, moving).await;
    let moved = moved.unwrap_or(Err(StoreError::Elsewhere(account)));
    old.close().await;
    new.close().await;
    match (moved, refused.into_inner()) {
        (Ok(()), _) => {
            // Whoever takes it over for this finds nothing to do.
            if let Err(error) = registry.end_move(&lease).await {
                tracing::warn!(%error, "the directory is not told that the move has ended");
            }
            Ok(Moved {
                account: name.clone(),
                from: Some(from.name),
                to: to.name,
                messages,
                bytes,
                remarks: Vec::new(),
            })
        }
        (Err(_), Some(error)) => Err(error.into()),
        (Err(error), None) => Err(ToolsError::Store(format!(
            "{name} lives in shard {} still, or is being moved by somebody else: {error}",
            from.name
        ))),
    }
}

/// Ends what another move has begun.
async fn end(places: &Places, registry: &Registry, before: &MoveLease) -> Result<(), ToolsError> {
    let from = places.of(before.from)?.store(StoreOptions::default()).await?;
    let to = places.of(before.to)?.store(StoreOptions::default()).await?;
    let ended = moves::end(registry, before, &from, &to).await;
    from.close().await;
    to.close().await;
    ended
}

async fn finish(
    places: &Places,
    registry: &Registry,
    name: &Name,
    account: Account,
    to: &Place,
) -> Result<Moved, ToolsError> {
    let fence = Fence(registry.fence().await?);
    let store = to.store(StoreOptions::default()).await?;
    let thawed = store.thaw(account, fence).await;
    store.close().await;
    match thawed {
        Err(StoreError::Elsewhere(_)) => {
            return Err(ToolsError::Store(format!(
                "{name} was about to live elsewhere when its move ended: do that move again"
            )));
        }
        thawed => thawed?,
    }
    let mut remarks = Vec::new();
    for entry in places.entries().iter().filter(|entry| entry.id != Some(to.id)) {
        let left = async {
            let other = places.named(&entry.name)?;
            let store = other.store(StoreOptions::default()).await?;
            let gone = store.let_go(account, fence).await;
            store.close().await;
            Ok::<_, ToolsError>(gone?)
        };
        match left.await {
            Ok(true) => {}
            Ok(false) => remarks.push(format!(
                "shard {} has mail of {name}, too, which nobody sees: nothing was done to it",
                entry.name
            )),
            Err(error) => {
                remarks.push(format!("nothing was looked for in shard {}: {error}", entry.name))
            }
        }
    }
    let to = to.name.clone();
    Ok(Moved { account: name.clone(), from: None, to, messages: 0, bytes: 0, remarks })
}
