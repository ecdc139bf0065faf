//! Why a body can't be put or read.

use muralla_database::DatabaseError;

use crate::bodies::BodyId;
use crate::codec::DecodeError;
use crate::packs::PackError;

/// Why a body can't be put or read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The packs.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// What was put can't be named any more: its pack is being emptied, or a part that it shares was removed meanwhile. Put the
    /// same bytes again.
    #[error("the body was put too long ago to be named now: put it again")]
    Stale,
    /// There is no such body.
    #[error("there is no body {0}: its message was removed meanwhile")]
    Missing(BodyId),
    /// Its frame is there, and isn't what it was.
    #[error(
        "body {id} can not be read from pack {pack}: {reason}; run `muralla mail store check` and restore the pack from a copy"
    )]
    Damaged {
        /// Which one.
        id: BodyId,
        /// Where it lies.
        pack: String,
        /// What is wrong.
        #[source]
        reason: DecodeError,
    },
    /// More bytes than a frame holds.
    #[error("a message of {size} bytes is too large: the store takes {most}")]
    TooLarge {
        /// Its bytes.
        size: u64,
        /// How many it may have.
        most: u64,
    },
    /// The process is ending.
    #[error("the store is closing")]
    Closing,
}

impl BodyError {
    /// Whether the same may succeed later, unchanged: a temporary failure to whoever sent the message.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Database(error) => error.may_pass(),
            Self::Pack(error) => error.may_pass(),
            Self::Stale | Self::Closing => true,
            Self::Missing(_) | Self::Damaged { .. } | Self::TooLarge { .. } => false,
        }
    }

    /// Whether the same bytes are to be put again, at once.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Stale)
    }

    /// Whether there is no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Pack(PackError::Full(_)))
    }
}
