//! The words in which the two engines differ: all of them are here, and in the migrations' own files.

use crate::DatabaseError;
use crate::engine::{Flavour, Work};

impl Flavour {
    /// What locks the rows of a question until the end of the transaction. SQLite has one writer anyway.
    pub fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE",
        }
    }

    /// The tables' text in the engine's own words.
    pub fn tables(self, text: &str) -> String {
        match self {
            Self::Sqlite => text
                .replace("BIGINT", "INTEGER")
                .replace("BYTEA", "BLOB")
                .replace(") /* strict */", ") STRICT"),
            Self::Postgres => text.to_owned(),
        }
    }
}

/// The database's clock: the one clock that all servers share, in seconds since 1970.
pub async fn now(work: &mut Work) -> Result<i64, DatabaseError> {
    let sql = match work.flavour() {
        Flavour::Sqlite => "SELECT unixepoch()",
        Flavour::Postgres => "SELECT CAST(floor(extract(epoch FROM clock_timestamp())) AS BIGINT)",
    };
    work.number(sql, Vec::new()).await
}

/// Waits until no other server migrates or numbers itself. Of SQLite the transaction has been alone from its beginning.
pub async fn alone(work: &mut Work) -> Result<(), DatabaseError> {
    match work.flavour() {
        Flavour::Sqlite => Ok(()),
        Flavour::Postgres => {
            work.execute("SELECT pg_advisory_xact_lock(7163254807)", Vec::new()).await.map(drop)
        }
    }
}

/// The greater of what is there and what comes, for an upsert of `table`.
pub fn greater(table: &str, column: &str) -> String {
    format!(
        "{column} = CASE WHEN excluded.{column} > {table}.{column} THEN excluded.{column} ELSE {table}.{column} END"
    )
}

/// The less of the two.
pub fn less(table: &str, column: &str) -> String {
    format!(
        "{column} = CASE WHEN excluded.{column} < {table}.{column} THEN excluded.{column} ELSE {table}.{column} END"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_put_in_the_engines_words() {
        let text = "CREATE TABLE a (\n    b BIGINT NOT NULL,\n    c BYTEA\n) /* strict */;";
        let expected = "CREATE TABLE a (\n    b INTEGER NOT NULL,\n    c BLOB\n) STRICT;";
        assert_eq!(Flavour::Sqlite.tables(text), expected);
        assert_eq!(Flavour::Postgres.tables(text), text);
    }
}
