//! Why the database can't be read or changed.

use std::fmt;

use crate::Location;

/// Why the database can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
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
    Away(#[source] Said),
    /// Others wrote the same at the same moment, and the database chose them.
    #[error("the database let others go first: {0}")]
    Conflict(#[source] Said),
    /// It took too long.
    #[error("the database took longer than {0} seconds for {1}")]
    Slow(u64, &'static str),
    /// The database answers, and refuses what was to be written: other data it may take.
    #[error("the database refuses it: {0}")]
    Refused(#[source] Said),
    /// The database answers, and can't do it as it is, whatever the data: a table or a right is missing, a function fails.
    #[error("the database can not do it as it is: {0}")]
    Unfit(#[source] Said),
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
    /// A row holds what it must not.
    #[error("a row of the database can not be read: {0}")]
    Row(String),
}

impl DatabaseError {
    /// Whether the same may succeed later, unchanged.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.is_away() || matches!(self, Self::Conflict(_))
    }

    /// Whether it is the data that the database refuses, so that the same will never be written.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// Whether a table that was named is not there.
    #[must_use]
    pub fn is_missing_table(&self) -> bool {
        let Self::Unfit(Said(sqlx::Error::Database(said))) = self else { return false };
        // SQLite has one code for whatever is wrong in a statement.
        match said.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
            Some(said) => said.code() == "42P01",
            None => said.message().starts_with("no such table"),
        }
    }

    /// Whether the database does not answer.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Slow(..))
    }
}

/// What the database said. It knows more than it shows: PostgreSQL tells the whole row that it refuses, secrets included.
pub struct Said(sqlx::Error);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            sqlx::Error::Database(said) => f.write_str(said.message()),
            other => other.fmt(f),
        }
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl std::error::Error for Said {}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        let refused = match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                let postgres =
                    database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some();
                let conflict =
                    if postgres { is_postgres_conflict(&code) } else { is_sqlite_conflict(&code) };
                if conflict {
                    return Self::Conflict(Said(error));
                }
                let unfit =
                    if postgres { is_postgres_unfit(&code) } else { is_sqlite_unfit(&code) };
                if unfit {
                    return Self::Unfit(Said(error));
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
        let error = Said(error);
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

/// Whether it is the data: class 22 (data), 23 (integrity), 54 (limits).
fn is_postgres_refusal(code: &str) -> bool {
    matches!(code.get(..2), Some("22" | "23" | "54"))
}

/// Whether it is what the operator made of the database: class 21 (cardinality), 42 (syntax and rights), 44 (a view's
/// check), P0 (raised by a function).
fn is_postgres_unfit(code: &str) -> bool {
    matches!(code.get(..2), Some("21" | "42" | "44" | "P0"))
}

/// The data by SQLite's primary result code, the low byte: TOOBIG 18, CONSTRAINT 19, MISMATCH 20, RANGE 25.
fn is_sqlite_refusal(code: &str) -> bool {
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18 | 19 | 20 | 25))
}

/// What became of the database in the same way: ERROR 1, of a table or a column that is not there.
fn is_sqlite_unfit(code: &str) -> bool {
    code.parse::<u32>().is_ok_and(|code| code & 0xff == 1)
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
    fn what_the_operator_did_to_the_database_is_no_fault_of_the_data() {
        for (code, unfit) in
            [("42501", true), ("42P01", true), ("P0001", true), ("23505", false), ("53300", false)]
        {
            assert_eq!(is_postgres_unfit(code), unfit, "{code}");
        }
        for (code, unfit) in [("1", true), ("257", true), ("19", false), ("5", false)] {
            assert_eq!(is_sqlite_unfit(code), unfit, "{code}");
        }
    }

    #[test]
    fn only_what_the_data_did_is_a_refusal() {
        for (code, refused) in [
            ("23505", true),  // unique
            ("22021", true),  // bytes that are no text
            ("54000", true),  // too much
            ("42501", false), // no right
            ("42P01", false), // no table
            ("P0001", false), // raised by a function
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
            ("1", false),   // no such table
            ("5", false),   // busy
            ("13", false),  // full
            ("778", false), // input or output
            ("nonsense", false),
        ] {
            assert_eq!(is_sqlite_refusal(code), refused, "{code}");
        }
    }
}
