//! Brings mailboxes from other servers: one, or a whole provider's, so many at a time.
//!
//! What was brought is remembered with the message in one transaction. So whatever is interrupted is begun again, brings what is new, and
//! doubles nothing; and a mailbox whose server was lost on the way is begun again by itself.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use muralla_mail_directory::Name;
use muralla_mail_import::{Options, ServerLocation, source};
use muralla_mail_store::StoreError;
use muralla_mail_store::transfer::{ImportOptions, Progress, Report, TransferError};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::{Mailboxes, ToolsError};

/// How often a mailbox is begun again whose server or store was lost, and of which nothing came since.
const ATTEMPTS: u32 = 4;

/// How long is waited before the first of these times; three times as long before each next one.
const PAUSE: Duration = Duration::from_secs(2);

/// A mailbox that is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The account here.
    pub account: Name,
    /// Where it is.
    pub location: ServerLocation,
    /// Who logs in there, and how.
    pub options: Options,
}

/// What became of a mailbox.
#[derive(Debug)]
pub struct Brought {
    /// The account here.
    pub account: Name,
    /// Who it was there.
    pub user: String,
    /// What was brought.
    pub outcome: Result<Report, ImportError>,
}

/// Why a mailbox was not brought, or not all of it. What was brought stays, and to do it again goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The account.
    #[error(transparent)]
    Account(#[from] ToolsError),
    /// There is no more room.
    #[error(
        "the mailbox is full: give it room with `muralla mail account set {0} --quota SIZE`, and do it again"
    )]
    OverQuota(Name),
    /// The server or the store.
    #[error(transparent)]
    Transfer(TransferError),
}

/// What is told meanwhile.
#[derive(Debug)]
pub enum Told<'a> {
    /// A mailbox is so far, by its position among those that are wanted.
    Far(usize, Progress),
    /// It is begun again, for this reason.
    Again(usize, &'a TransferError),
    /// It is done with.
    Ended(usize, &'a Brought),
}

/// Brings mailboxes, so many at a time. What became of each is told, and returned in the order in which they ended.
pub async fn import(
    mailboxes: &Mailboxes,
    wanted: &[Wanted],
    at_once: usize,
    removed_too: bool,
    told: impl FnMut(Told<'_>) + Send,
) -> Vec<Brought> {
    let told = Mutex::new(told);
    let (mailboxes, tell) = (mailboxes, &told);
    let brought = stream::iter(wanted.iter().enumerate()).map(|(at, one)| async move {
        let far = |far| (*tell.lock())(Told::Far(at, far));
        let again = |error: &TransferError| (*tell.lock())(Told::Again(at, error));
        let outcome = bring(mailboxes, one, removed_too, far, again).await;
        let user = one.options.login.user.clone();
        let brought = Brought { account: one.account.clone(), user, outcome };
        (*tell.lock())(Told::Ended(at, &brought));
        brought
    });
    brought.buffer_unordered(at_once.max(1)).collect().await
}

async fn bring(
    mailboxes: &Mailboxes,
    wanted: &Wanted,
    removed_too: bool,
    mut far: impl FnMut(Progress) + Send,
    again: impl Fn(&TransferError),
) -> Result<Report, ImportError> {
    let mut source = source(wanted.location.clone(), wanted.options.clone());
    let (mut attempt, mut pause, mut had) = (0, PAUSE, None);
    loop {
        // It may have been moved to another shard meanwhile.
        let mailbox = mailboxes.of(&wanted.account).await?;
        let has = mailbox.store.usage(mailbox.account).await.map_err(ToolsError::from)?.messages;
        if had.is_some_and(|had| had < has) {
            (attempt, pause) = (0, PAUSE);
        }
        had = Some(has);
        let options = ImportOptions { quota: mailbox.quota, removed_too };
        let error =
            match mailbox.store.import(mailbox.account, &mut *source, options, &mut far).await {
                Ok(report) => return Ok(report),
                Err(TransferError::Store(StoreError::OverQuota)) => {
                    return Err(ImportError::OverQuota(wanted.account.clone()));
                }
                Err(error) => error,
            };
        attempt += 1;
        if !error.may_pass() || attempt > ATTEMPTS {
            return Err(ImportError::Transfer(error));
        }
        again(&error);
        sleep(pause).await;
        pause *= 3;
    }
}
