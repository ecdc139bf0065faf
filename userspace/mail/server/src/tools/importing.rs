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

/// How often a mailbox is begun again whose server or store was lost, and of which no more came since.
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
    Again(usize, &'a ImportError),
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
        let again = |error: &ImportError| (*tell.lock())(Told::Again(at, error));
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
    again: impl Fn(&ImportError),
) -> Result<Report, ImportError> {
    let mut source = source(wanted.location.clone(), wanted.options.clone());
    let (mut attempt, mut pause, mut furthest, mut begun) = (0, PAUSE, 0, false);
    loop {
        let mut reached = 0;
        // It may have been moved to another shard meanwhile.
        let brought = match mailboxes.of(&wanted.account).await {
            Ok(mailbox) => {
                begun = true;
                let options = ImportOptions { quota: mailbox.quota, removed_too };
                let far = |progress: Progress| {
                    reached = reached.max(progress.done);
                    far(progress);
                };
                let store = &mailbox.store;
                let brought = store.import(mailbox.account, &mut *source, options, far).await;
                brought.map_err(|error| match error {
                    TransferError::Store(StoreError::OverQuota) => {
                        ImportError::OverQuota(wanted.account.clone())
                    }
                    error => ImportError::Transfer(error),
                })
            }
            Err(error) => Err(ImportError::Account(error)),
        };
        let error = match brought {
            Ok(report) => return Ok(report),
            Err(error) => error,
        };
        if reached > furthest {
            (attempt, pause, furthest) = (0, PAUSE, reached);
        }
        attempt += 1;
        let may_pass = match &error {
            // It was there: what it lies in is away.
            ImportError::Account(_) => begun,
            ImportError::OverQuota(_) => false,
            ImportError::Transfer(error) => error.may_pass(),
        };
        if !may_pass || attempt > ATTEMPTS {
            return Err(error);
        }
        again(&error);
        sleep(pause).await;
        pause *= 3;
    }
}
