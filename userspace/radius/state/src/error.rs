//! Why the state can't be read or changed.

use std::fmt;
use std::io;

use crate::Location;

/// Why the state can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The location can't be used at all.
    #[error("{location} can not be opened: {reason}")]
    Location {
        /// Which one; without its password.
        location: Location,
        /// Why, and what to do.
        reason: String,
    },
    /// The database does not answer, or not now: the same may do later.
    #[error("the database does not answer: {0}")]
    Away(#[source] DatabaseError),
    /// Others wrote the same at the same moment, and the database chose them.
    #[error("the database let others go first: {0}")]
    Conflict(#[source] DatabaseError),
    /// It took too long.
    #[error("the database took longer than {0} seconds for {1}")]
    Slow(u64, &'static str),
    /// The database answers, and refuses what was to be written.
    #[error("the database refuses it: {0}")]
    Refused(#[source] DatabaseError),
    /// The schema is of a newer version.
    #[error(
        "the database has schema {found}, and this program knows {known}: install the newer program, or restore the database from before"
    )]
    Newer {
        /// What the database has.
        found: i64,
        /// What this program knows.
        known: i64,
    },
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
    /// A row holds what it must not.
    #[error("a row of the database can not be read: {0}")]
    Row(String),
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
        self.is_away() || matches!(self, Self::Conflict(_))
    }

    /// Whether the database does not answer.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Slow(..))
    }

    pub(crate) fn invalid(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Invalid { what: what.into(), reason: reason.to_string() }
    }

    pub(crate) fn file(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::File { what, source }
    }
}

/// What the database said. It knows more than it shows: PostgreSQL tells the whole row that it refuses, secrets included.
pub struct DatabaseError(sqlx::Error);

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            sqlx::Error::Database(said) => f.write_str(said.message()),
            other => other.fmt(f),
        }
    }
}

impl fmt::Debug for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl std::error::Error for DatabaseError {}

impl From<sqlx::Error> for StateError {
    fn from(error: sqlx::Error) -> Self {
        let refused = match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                let postgres =
                    database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some();
                let conflict =
                    if postgres { is_postgres_conflict(&code) } else { is_sqlite_conflict(&code) };
                if conflict {
                    return Self::Conflict(DatabaseError(error));
                }
                if postgres { is_postgres_refusal(&code) } else { is_sqlite_refusal(&code) }
            }
            sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => true,
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. } => {
                return Self::Row(error.to_string());
            }
            _ => false,
        };
        let error = DatabaseError(error);
        if refused { Self::Refused(error) } else { Self::Away(error) }
    }
}

/// Serialisation, deadlock, lock not available.
fn is_postgres_conflict(code: &str) -> bool {
    matches!(code, "40001" | "40P01" | "55P03")
}

/// BUSY 5 and LOCKED 6, in the low byte.
fn is_sqlite_conflict(code: &str) -> bool {
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6))
}

/// Whether it is the data or the statement, and not the server's state: class 21 (cardinality), 22 (data), 23
/// (integrity), 42 (syntax and rights), 44 (check), 54 (limits), P0 (raised by a function).
fn is_postgres_refusal(code: &str) -> bool {
    matches!(code.get(..2), Some("21" | "22" | "23" | "42" | "44" | "54" | "P0"))
}

/// The same by SQLite's primary result code, the low byte: ERROR 1, TOOBIG 18, CONSTRAINT 19, MISMATCH 20, RANGE 25.
fn is_sqlite_refusal(code: &str) -> bool {
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 1 | 18 | 19 | 20 | 25))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_second_comes_again() {
        for (code, conflict) in
            [("40001", true), ("40P01", true), ("55P03", true), ("23505", false)]
        {
            assert_eq!(is_postgres_conflict(code), conflict, "{code}");
        }
        for (code, conflict) in
            [("5", true), ("261", true), ("517", true), ("6", true), ("19", false)]
        {
            assert_eq!(is_sqlite_conflict(code), conflict, "{code}");
        }
    }

    #[test]
    fn only_what_the_data_did_is_a_refusal() {
        for (code, refused) in [
            ("23505", true),  // unique
            ("22021", true),  // bytes that are no text
            ("42501", true),  // no right
            ("40001", false), // serialisation
            ("40P01", false), // deadlock
            ("53300", false), // too many connections
            ("57P01", false), // shutting down
            ("57014", false), // cancelled
            ("25006", false), // read only: a standby
            ("08006", false),
            ("", false),
        ] {
            assert_eq!(is_postgres_refusal(code), refused, "{code}");
        }
        for (code, refused) in [
            ("1555", true), // primary key
            ("787", true),  // foreign key
            ("3091", true), // strict types
            ("5", false),   // busy
            ("13", false),  // full
            ("778", false), // input or output
            ("nonsense", false),
        ] {
            assert_eq!(is_sqlite_refusal(code), refused, "{code}");
        }
    }
}
