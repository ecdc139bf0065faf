//! Why the state can't be read or changed.

use std::io;

use muralla_database::DatabaseError;

/// Why the state can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The database can't be read or written.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What was given makes no sense.
    #[error("{what}: {reason}")]
    Invalid {
        /// Of what kind and name it is.
        what: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// There is no such thing.
    #[error("there is no {kind} {name}")]
    Missing {
        /// What was looked for.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A file can't be read or written.
    #[error("{what}: {source}")]
    File {
        /// Which one.
        what: String,
        /// Why.
        source: io::Error,
    },
}

impl StateError {
    /// Whether the same may succeed later, unchanged.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Database(error) if error.may_pass())
    }

    /// Whether it is what was given that is wrong, so that the same will never be written.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Database(error) => error.is_refusal(),
            Self::Invalid { .. } => true,
            Self::Missing { .. } | Self::File { .. } => false,
        }
    }

    /// Whether the database does not answer.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_away())
    }

    /// Whether it is about what was configured, whatever the database is like.
    #[must_use]
    pub fn is_of_configuration(&self) -> bool {
        matches!(self, Self::Invalid { .. } | Self::Database(DatabaseError::Location { .. }))
    }

    /// Whether a newer program than this one brought the schema up to date.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Database(DatabaseError::Newer { .. }))
    }

    pub(crate) fn invalid(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Invalid { what: what.into(), reason: reason.to_string() }
    }

    pub(crate) fn file(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::File { what, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_through() {
        let slow = StateError::from(DatabaseError::Slow(60, "a statement"));
        assert!(slow.may_pass() && slow.is_away());
        assert_eq!(slow.to_string(), "the database took longer than 60 seconds for a statement");
        let newer = StateError::from(DatabaseError::Newer { found: 9, known: 1 });
        assert!(!newer.may_pass() && !newer.is_away() && !newer.is_refusal());
        assert!(newer.is_newer() && !newer.is_of_configuration());
        let row = StateError::from(DatabaseError::Row("it has no name".into()));
        assert!(!row.is_refusal(), "it is about what lies there, not about what is given");
        let invalid = StateError::invalid("pool home", "it is empty");
        assert!(!invalid.may_pass() && invalid.is_refusal());
        assert!(invalid.is_of_configuration() && !slow.is_of_configuration());
    }
}
