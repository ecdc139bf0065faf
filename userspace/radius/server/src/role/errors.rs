//! Why the role does not do what it is asked to.

use std::io;
use std::path::{Path, PathBuf};

use muralla_journal::{AppendError, JournalError};
use muralla_radius_dictionary::DictionaryError;
use muralla_radius_state::StateError;

use crate::listening::ListenError;

/// Why the role can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration asks for what can't be.
    #[error("{}", .0.join("; "))]
    Config(Vec<String>),
    /// A socket can't be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A dictionary can't be read.
    #[error("[radius] dictionaries: {0}")]
    Dictionary(#[from] DictionaryError),
    /// The journal can't be kept.
    #[error("[radius.journal]: {0}")]
    Journal(#[from] JournalError),
    /// The journal can't be kept where it is to be: nothing may be written there.
    #[error(
        "[radius.journal]: {error}; systemd lets the service write below /var/lib/muralla-radius alone, so that for another place \
         `systemctl edit muralla-radius` has to say, below [Service], ReadWritePaths={}",
        .folder.display()
    )]
    ReadOnly {
        /// What was tried.
        error: JournalError,
        /// Where.
        folder: PathBuf,
    },
    /// The state can't be used.
    #[error("[radius.state]: {0}")]
    State(#[from] StateError),
    /// The system refuses threads or descriptors.
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// Of a journal that is to be in a folder.
    pub(super) fn of_journal(error: JournalError, folder: &Path) -> Self {
        match &error {
            JournalError::Disk { source, .. }
                if source.kind() == io::ErrorKind::ReadOnlyFilesystem =>
            {
                Self::ReadOnly { error, folder: folder.to_owned() }
            }
            _ => Self::Journal(error),
        }
    }
}

/// Why a new configuration was not taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It asks for what can't be.
    #[error("{}", .0.join("; "))]
    Config(Vec<String>),
}

/// Why an order of the operator's was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// No session fits.
    #[error("no session is open that fits; `muralla radius sessions` shows those that are")]
    NoSession,
    /// An item is none, or has no place in a packet.
    #[error("{0}")]
    Item(String),
    /// The role answers nowhere, or has stopped.
    #[error("{0}")]
    NotHere(&'static str),
    /// The journal refuses.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal takes nothing in at the moment.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The request has too many items.
    #[error(transparent)]
    TooLong(#[from] muralla_radius_wire::TooLong),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_the_journal_elsewhere_is_told_what_systemd_wants() {
        let disk = |source: io::Error| JournalError::Disk {
            what: "create",
            name: "/srv/journal/lock".to_owned(),
            source,
        };
        let said = |error: io::Error| {
            StartError::of_journal(disk(error), Path::new("/srv/journal")).to_string()
        };
        let text = said(io::ErrorKind::ReadOnlyFilesystem.into());
        assert!(text.contains("ReadWritePaths=/srv/journal"), "{text}");
        assert!(!said(io::ErrorKind::StorageFull.into()).contains("systemd"));
    }
}
