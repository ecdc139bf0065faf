//! Why the directory can't be read or changed.

use std::io;

use muralla_database::DatabaseError;

/// Why the directory can't be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What was to be entered makes no sense.
    #[error("{what}: {why}")]
    Invalid {
        /// What it is about, such as an account's name.
        what: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// There is nothing of that name.
    #[error("there is no {kind} {name}: {hint}")]
    Missing {
        /// What kind of thing.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What to do.
        hint: &'static str,
    },
    /// There is something of that name already.
    #[error("there is {kind} {name} already: {hint}")]
    Taken {
        /// What kind of thing, with its article.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What to do.
        hint: &'static str,
    },
    /// Something else depends on it.
    #[error("{kind} {name} is in use by {by}: {hint}")]
    InUse {
        /// What kind of thing.
        kind: &'static str,
        /// Its name.
        name: String,
        /// By what.
        by: String,
        /// What to do.
        hint: &'static str,
    },
    /// A file.
    #[error("{what}: {source}")]
    File {
        /// Which one, and what was done with it.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl DirectoryError {
    /// Whether the same may succeed later, unchanged.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Database(error) if error.may_pass())
    }

    /// Whether the database does not answer.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_away())
    }

    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Database(DatabaseError::Conflict(_)))
    }

    pub(crate) fn invalid(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Invalid { what: what.into(), why: why.to_string() }
    }

    pub(crate) fn row(why: impl Into<String>) -> Self {
        Self::Database(DatabaseError::Row(why.into()))
    }
}
