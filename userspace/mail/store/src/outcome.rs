//! Why a mailbox can't be read or changed.

use std::sync::Arc;

use muralla_database::DatabaseError;

use crate::bodies::BodyId;
use crate::error::BodyError;
use crate::folders::{Account, FolderId, MOST_FOLDERS};
use crate::packs::PackError;

/// Why a mailbox can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A body can't be put or read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The account has no such folder.
    #[error("there is no folder {0}")]
    NoFolder(String),
    /// A folder of that name is there.
    #[error("there is a folder {0} already")]
    Exists(String),
    /// Every account has it.
    #[error("the folder {0} can be neither renamed nor removed: every account has it")]
    Permanent(String),
    /// The folder has no such message.
    #[error("there is no message {uid} in folder {}: it was removed meanwhile", folder.0)]
    NoMessage {
        /// The folder.
        folder: FolderId,
        /// The number.
        uid: u32,
    },
    /// A path that can't be.
    #[error("{path:?} is no path of a folder: {reason}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Too many folders.
    #[error("an account has at most {MOST_FOLDERS} folders")]
    TooManyFolders,
    /// A folder has given all its numbers.
    #[error("folder {} has no UID left; move its messages into a new one", .0.0)]
    Exhausted(FolderId),
    /// The quota is used up.
    #[error("the mailbox is full")]
    OverQuota,
    /// The account is being moved, and is there again in a moment.
    #[error("the mailbox of account {} is being moved; it is there again in a moment", .0.0)]
    Leaving(Account),
    /// The account lives in another store.
    #[error("the mailbox of account {} lives in another store: ask the directory again", .0.0)]
    Elsewhere(Account),
    /// Too much waits to be stored.
    #[error("too many messages wait to be stored")]
    Busy,
    /// The process is ending.
    #[error("the store is closing")]
    Closing,
    /// What it was to be stored with failed.
    #[error(transparent)]
    Together(Arc<StoreError>),
}

impl StoreError {
    /// Whether the same may succeed later, unchanged: a temporary failure to whoever sent the message.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Body(error) => error.may_pass(),
            Self::Database(error) => error.may_pass(),
            Self::Together(error) => error.may_pass(),
            Self::Leaving(_) | Self::Elsewhere(_) | Self::Busy | Self::Closing => true,
            _ => false,
        }
    }

    /// Whether a message is not there: its reader was late.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::NoMessage { .. } | Self::Body(BodyError::Missing(BodyId(_))))
    }

    /// Whether the fault is the engine's, and not what was to be stored.
    pub(crate) fn is_away(&self) -> bool {
        match self {
            Self::Database(error) | Self::Body(BodyError::Database(error)) => error.is_away(),
            _ => false,
        }
    }

    /// Whether others came first, and the same may be done again at once.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::Database(DatabaseError::Conflict(_))
                | Self::Body(BodyError::Database(DatabaseError::Conflict(_)))
        )
    }

    pub(crate) fn is_stale(&self) -> bool {
        match self {
            Self::Body(error) => error.is_stale(),
            Self::Together(error) => error.is_stale(),
            _ => false,
        }
    }
}

impl From<PackError> for StoreError {
    fn from(error: PackError) -> Self {
        Self::Body(error.into())
    }
}
