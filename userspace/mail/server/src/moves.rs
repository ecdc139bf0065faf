//! Who moves a mailbox, and how it ends when he does not go on.
//!
//! Whoever moves one holds it in the directory, and says there again and again that he is at work. When nothing was heard of him for a
//! while, the upkeep of any process with mail takes over and ends it, one way or the other: what the directory says decides. Until the
//! directory was told, the mailbox lives where it did, and what was copied goes; after that it lives in the new place, and what is left
//! in the old one goes.

use std::time::Duration;

use muralla_mail_directory::{MoveLease, Registry, ShardId};
use muralla_mail_store::{Account, Fence, Store};
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::tools::ToolsError;

/// How often is said that somebody is at work: often enough that a database which is away for a moment costs nothing.
const RENEW: Duration = Duration::from_secs(20);

/// Does something with a mailbox for as long as nobody else has taken it over; none if somebody has, and what was under way is dropped.
pub(crate) async fn held<T>(
    registry: &Registry,
    lease: &MoveLease,
    work: impl Future<Output = T>,
) -> Option<T> {
    let lost = async {
        loop {
            sleep(RENEW).await;
            match registry.renew_move(lease).await {
                Ok(true) => {}
                Ok(false) => return,
                // Nobody takes anything over from where nobody answers.
                Err(error) => {
                    debug!(%error, "the directory is not told that a mailbox is being moved")
                }
            }
        }
    };
    tokio::select! {
        done = work => Some(done),
        () = lost => None,
    }
}

/// Ends a move that was taken over: where the directory says that the mailbox lives, it takes changes again, and what a move has left
/// elsewhere goes. `from` and `to` are the stores that it was moved between.
///
/// # Errors
///
/// [`ToolsError`]: it is tried again by whoever takes it over next.
pub(crate) async fn end(
    registry: &Registry,
    lease: &MoveLease,
    from: &Store,
    to: &Store,
) -> Result<(), ToolsError> {
    let ended = async {
        let account = registry.account_of(lease.account).await?;
        let lives = account.and_then(|entry| entry.shard);
        // Mail of an account that is gone goes where it was, later, as all of its kind.
        let home = lives.unwrap_or(lease.from);
        put_right(lease, home, [(lease.from, from), (lease.to, to)]).await
    };
    match held(registry, lease, ended).await {
        Some(ended) => ended?,
        None => {
            return Err(ToolsError::Store(
                "somebody else goes on with the move of this mailbox".to_owned(),
            ));
        }
    }
    registry.end_move(lease).await?;
    Ok(())
}

async fn put_right(
    lease: &MoveLease,
    home: ShardId,
    places: [(ShardId, &Store); 2],
) -> Result<(), ToolsError> {
    let (account, fence) = (Account(lease.account.0), Fence(lease.fence));
    // First where its owner waits for it.
    for (_, store) in places.iter().filter(|(id, _)| *id == home) {
        store.stay(account, fence).await?;
    }
    for (id, store) in places.iter().filter(|(id, _)| *id != home) {
        if !store.let_go(account, fence).await? {
            warn!(
                account = account.0,
                shard = %id,
                "a shard has mail of an account that lives in another one, which nobody sees: nothing was done to it"
            );
        }
    }
    Ok(())
}
