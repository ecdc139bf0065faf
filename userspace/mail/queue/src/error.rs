//! Why the queue can't be read or changed.

use std::sync::Arc;

use muralla_database::DatabaseError;
use muralla_mail_envelope::{EnvelopeError, MessageId};
use muralla_mail_store::BodyError;

/// Why the queue can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// A body can't be put or read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// An envelope that is queued can't be read.
    #[error("message {id}: {source}")]
    Envelope {
        /// Which one.
        id: MessageId,
        /// Why.
        source: EnvelopeError,
    },
    /// A message for nobody.
    #[error("message {0} has no recipients: there is nothing to send")]
    Nobody(MessageId),
    /// Not as many destinations, or outcomes, as recipients.
    #[error(
        "message {id} has {recipients} recipients, and {given} were spoken of: each has one, in their order"
    )]
    Count {
        /// Which one.
        id: MessageId,
        /// Its recipients.
        recipients: usize,
        /// What was given.
        given: usize,
    },
    /// Too much waits to be written.
    #[error("too much waits to be queued: try again later")]
    Busy,
    /// Writing it caused a panic.
    #[error("writing it caused a panic, which the log shows; please report it")]
    Panicked,
    /// The process is ending.
    #[error("the queue is closing")]
    Closing,
    /// What it was to be written with failed.
    #[error(transparent)]
    Together(Arc<QueueError>),
}

impl QueueError {
    /// Whether the same may succeed later, unchanged: a temporary failure to whoever sent the message.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Body(error) => error.may_pass(),
            Self::Database(error) => error.may_pass(),
            Self::Together(error) => error.may_pass(),
            Self::Busy | Self::Panicked | Self::Closing => true,
            Self::Envelope { .. } | Self::Nobody(_) | Self::Count { .. } => false,
        }
    }

    fn database(&self) -> Option<&DatabaseError> {
        match self {
            Self::Database(error) | Self::Body(BodyError::Database(error)) => Some(error),
            _ => None,
        }
    }

    /// Whether the fault is the engine's, and not what was to be written.
    pub(crate) fn is_away(&self) -> bool {
        self.database().is_some_and(DatabaseError::is_away)
    }

    /// Whether others came first, and the same may be done again at once.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self.database(), Some(DatabaseError::Conflict(_)))
    }

    /// Whether the engine refuses it: as it is there already, perhaps.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.database(), Some(DatabaseError::Refused(_)))
    }

    pub(crate) fn is_stale(&self) -> bool {
        match self {
            Self::Body(error) => error.is_stale(),
            Self::Together(error) => error.is_stale(),
            _ => false,
        }
    }
}

/// Does something again whose transaction others came before, a few times.
macro_rules! again {
    ($what:expr) => {{
        let mut attempt = 0;
        loop {
            let answer: Result<_, crate::error::QueueError> = $what.await;
            match answer {
                Err(error) if error.is_conflict() && attempt < 5 => attempt += 1,
                answer => break answer,
            }
        }
    }};
}
pub(crate) use again;
