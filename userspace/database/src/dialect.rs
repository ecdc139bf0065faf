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

/// Which transactions go on, by their numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Running {
    /// All below it have ended.
    pub ended: i64,
    /// What begins to write from now on has this or more.
    pub next: i64,
}

/// Which transactions go on; none of SQLite, where one at a time writes.
pub async fn running(work: &mut Work) -> Result<Option<Running>, DatabaseError> {
    const SQL: &str = "SELECT CAST(CAST(pg_snapshot_xmin(s) AS TEXT) AS BIGINT), CAST(CAST(pg_snapshot_xmax(s) AS TEXT) AS BIGINT) FROM pg_current_snapshot() s";
    if work.flavour() == Flavour::Sqlite {
        return Ok(None);
    }
    let row = work.row(SQL, Vec::new()).await?;
    row.map(|row| Ok(Running { ended: row.int(0)?, next: row.int(1)? })).transpose()
}

/// Settings of the database that are off, without any of which a power cut may take along what was committed. SQLite's are our own.
pub async fn careless(work: &mut Work) -> Result<Vec<&'static str>, DatabaseError> {
    const SETTINGS: [&str; 3] = ["fsync", "full_page_writes", "synchronous_commit"];
    const SQL: &str = "SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')";
    if work.flavour() == Flavour::Sqlite {
        return Ok(Vec::new());
    }
    let mut off = Vec::new();
    if let Some(row) = work.row(SQL, Vec::new()).await? {
        for (column, name) in SETTINGS.into_iter().enumerate() {
            if row.text(column)? == "off" {
                off.push(name);
            }
        }
    }
    Ok(off)
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
