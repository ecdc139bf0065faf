//! What can go wrong, for those who open a journal and read it.

use std::io;

use crate::appender::AppendError;

/// Why a journal can't be opened, read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file system refused something.
    #[error("the journal can't {what} {name}: {source}")]
    Disk {
        /// What was tried.
        what: &'static str,
        /// The file.
        name: String,
        /// What the file system says.
        source: io::Error,
    },
    /// Another process has it open.
    #[error(
        "another process{} has this journal open: stop it first, or give this one a folder of its own",
        .pid.map_or_else(String::new, |pid| format!(" ({pid})"))
    )]
    Locked {
        /// The process, as far as the lock file tells.
        pid: Option<u32>,
    },
    /// A later version wrote it.
    #[error(
        "{name} has format {version}, of a later version: run that one, or give this one a folder of its own"
    )]
    Version {
        /// The file.
        name: String,
        /// Its format.
        version: u32,
    },
    /// The number that all checksums begin with is lost.
    #[error(
        "the file `identity` is missing or damaged, and so is every segment's header: restore that file, or move the \
         folder away and begin anew"
    )]
    NoIdentity,
    /// An option is out of its range.
    #[error("{0}")]
    Options(&'static str),
    /// Not a name for a consumer.
    #[error("{0:?} is no name for a consumer: use 1 to 64 of a-z, 0-9 and -")]
    Name(String),
    /// There is no such consumer.
    #[error("the journal has no consumer {0:?}")]
    Unknown(String),
    /// A consumer is in use by another thread.
    #[error("consumer {0:?} is in use already")]
    InUse(String),
    /// Too many dead letters.
    #[error(
        "the dead letters of {consumer:?} fill their {limit} bytes: replay some, or remove them"
    )]
    DeadLettersFull {
        /// Whose.
        consumer: String,
        /// The bytes allowed.
        limit: u64,
    },
    /// Dead letters couldn't be appended again.
    #[error("a dead letter can't be replayed: {0}")]
    Replay(#[from] AppendError),
    /// It was closed before all was durable.
    #[error(
        "{records} records were appended that never became durable; none of them was acknowledged"
    )]
    NotDurable {
        /// How many.
        records: u64,
    },
}

impl JournalError {
    /// For [`Result::map_err`].
    pub(crate) fn disk(what: &'static str, name: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        let name = name.to_owned();
        move |source| Self::Disk { what, name, source }
    }
}
