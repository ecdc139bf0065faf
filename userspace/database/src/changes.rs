//! The log of changes, read so that nothing is ever passed over.
//!
//! With SQLite there is one writer at a time, so the numbers of the log are in the order of the commits: what comes after the
//! last number is new.
//!
//! With PostgreSQL a transaction draws its numbers long before it commits. A reader that remembers the highest number would
//! pass over a lower one that becomes visible later. To wait for the oldest transaction that still runs would be right, but
//! one forgotten `BEGIN` in somebody's shell would stop every server. So the reader remembers its last snapshot, which says
//! exactly which transactions it saw: all below `xmax`, but for those that were running. What it did not see then and sees
//! now is what is new. Each row has its transaction's number for that.

use std::fmt;

use sqlx::AssertSqlSafe;

use crate::dialect;
use crate::engine::{Flavour, Value, Work};
use crate::error::DatabaseError;

/// Rows that are read at once at most.
const MOST: i64 = 20_000;

/// A log of changes: a table with the columns `sequence`, `kind`, `name` and `at`, and with PostgreSQL `xact`, the number of
/// the row's transaction. Triggers write it, so that nobody has to remember to.
#[derive(Clone, Copy, Debug)]
pub struct ChangeLog {
    /// The table's name.
    pub table: &'static str,
    /// Kinds that change so much more often than all others that they must not keep anybody from reading of those. In `table`
    /// an index is of the other kinds alone.
    pub frequent: &'static [&'static str],
}

/// Up to where a log was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Position {
    place: Place,
    /// The database's time of the reading, in seconds since 1970.
    pub at: i64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Place {
    /// The last number.
    Number(i64),
    /// All transactions below `below` were seen, but for those that ran.
    Snapshot { below: i64, running: Vec<i64> },
}

/// For who keeps a position beyond the process' end: [`Position::parse`] reads it.
impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Number(number) => write!(out, "number {number}")?,
            Place::Snapshot { below, running } => {
                write!(out, "snapshot {below}:{below}:")?;
                for (at, xact) in running.iter().enumerate() {
                    write!(out, "{}{xact}", if at == 0 { "" } else { "," })?;
                }
            }
        }
        write!(out, " at {}", self.at)
    }
}

impl Position {
    /// What was written down of a position; none if it is nothing of the kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let [kind, place, "at", at] = words.as_slice() else { return None };
        let place = match *kind {
            "number" => Place::Number(place.parse().ok()?),
            "snapshot" => snapshot(place)?,
            _ => return None,
        };
        Some(Self { place, at: at.parse().ok()? })
    }
}

/// The last row of a log at some time: another database, or one from before, has not that very row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LastChange {
    /// Its number in the log.
    pub sequence: i64,
    /// What it says.
    pub change: Change,
}

/// A row of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// What kind of thing was changed.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// When, by the database's clock, in seconds since 1970.
    pub at: i64,
}

/// What came after a position.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum News {
    /// These, in their order.
    Changes(Vec<Change>),
    /// These, and of some of the frequent kinds more than is read one by one: whoever follows those reads all of them again.
    Rare {
        /// The changes of the other kinds, in their order.
        changes: Vec<Change>,
        /// The kinds that there is too much of.
        too_many: Vec<&'static str>,
    },
    /// Too much, or what can't be followed: read everything.
    Everything,
}

impl ChangeLog {
    /// Where the log ends now.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn end(self, work: &mut Work) -> Result<Position, DatabaseError> {
        let place = match work.flavour() {
            // The log may have been emptied: its numbers go on all the same.
            Flavour::Sqlite => Place::Number(
                work.number(
                    "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = $1), 0)",
                    vec![self.table.into()],
                )
                .await?,
            ),
            Flavour::Postgres => {
                let sql = "SELECT CAST(pg_current_snapshot() AS TEXT)";
                let row = work.row(sql, Vec::new()).await?;
                let none = || DatabaseError::Row("there is no snapshot".into());
                let text = row.ok_or_else(none)?.text(0)?;
                snapshot(&text)
                    .ok_or_else(|| DatabaseError::Row(format!("{text:?} is no snapshot")))?
            }
        };
        Ok(Position { place, at: dialect::now(work).await? })
    }

    /// What was changed after a position, and the new position. `keep` is how many seconds the log reaches back.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn after(
        self,
        work: &mut Work,
        position: &Position,
        keep: i64,
    ) -> Result<(News, Position), DatabaseError> {
        self.after_but(work, position, keep, &[]).await
    }

    /// The same for who reads all of some of the frequent kinds in any case: there are no news of those.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn after_but(
        self,
        work: &mut Work,
        position: &Position,
        keep: i64,
        left_out: &[&str],
    ) -> Result<(News, Position), DatabaseError> {
        let end = self.end(work).await?;
        if let Some(changes) = self.between(work, position, &end, keep, left_out).await? {
            return Ok((News::Changes(changes), end));
        }
        let frequent: Vec<&'static str> =
            self.frequent.iter().copied().filter(|kind| !left_out.contains(kind)).collect();
        // One of them may be too much by itself, and all of them together.
        let each = frequent.iter().map(|kind| vec![*kind]);
        let together = (frequent.len() > 1).then(|| frequent.clone());
        for too_many in each.chain(together) {
            let without: Vec<&str> = left_out.iter().chain(&too_many).copied().collect();
            if let Some(changes) = self.between(work, position, &end, keep, &without).await? {
                return Ok((News::Rare { changes, too_many }, end));
            }
        }
        Ok((News::Everything, end))
    }

    /// The changes between two positions, those of some kinds left out; none if they are too many, or can't be known.
    async fn between(
        self,
        work: &mut Work,
        position: &Position,
        end: &Position,
        keep: i64,
        left_out: &[&str],
    ) -> Result<Option<Vec<Change>>, DatabaseError> {
        // Half of it, as the two clocks that were asked may differ, and the log is cut between two readings.
        if end.at.saturating_sub(position.at) > keep / 2 {
            return Ok(None);
        }
        let table = self.table;
        // Spelt out, as the index is: no database compares that with a parameter.
        let others: String = left_out.iter().map(|kind| format!(" AND kind <> '{kind}'")).collect();
        let (sql, values) = match (&position.place, &end.place) {
            (Place::Number(last), Place::Number(end)) if last <= end => (
                format!(
                    "SELECT kind, name, at FROM {table} WHERE sequence > $1 AND sequence <= $2{others} ORDER BY sequence LIMIT $3"
                ),
                vec![Value::from(*last), (*end).into(), (MOST + 1).into()],
            ),
            (Place::Snapshot { below, running }, Place::Snapshot { below: end, .. })
                if below <= end =>
            {
                // Numbers from the database itself, so there is nothing to be quoted. Of another cluster, whose copy this
                // may be, rows may have numbers that are not reached yet: they are none of today.
                let again: String = running.iter().map(|xact| format!(", {xact}")).collect();
                (
                    format!(
                        "SELECT kind, name, at FROM {table} WHERE (xact >= $1 OR xact IN (-1{again})) AND xact < $2{others} ORDER BY sequence LIMIT $3"
                    ),
                    vec![Value::from(*below), (*end).into(), (MOST + 1).into()],
                )
            }
            // The database is another one than before, or one from before.
            _ => return Ok(None),
        };
        let mut changes = Vec::new();
        work.each(AssertSqlSafe(sql), values, |row| {
            changes.push(Change { kind: row.text(0)?, name: row.text(1)?, at: row.int(2)? });
            Ok(())
        })
        .await?;
        Ok(i64::try_from(changes.len()).is_ok_and(|rows| rows <= MOST).then_some(changes))
    }

    /// The last row that is there; none if there is none.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn last(self, work: &mut Work) -> Result<Option<LastChange>, DatabaseError> {
        let table = self.table;
        let sql =
            format!("SELECT sequence, kind, name, at FROM {table} ORDER BY sequence DESC LIMIT 1");
        self.one(work, sql, Vec::new()).await
    }

    /// Whether that very row is there.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn has(self, work: &mut Work, last: &LastChange) -> Result<bool, DatabaseError> {
        let table = self.table;
        let sql = format!("SELECT sequence, kind, name, at FROM {table} WHERE sequence = $1");
        Ok(self.one(work, sql, vec![last.sequence.into()]).await?.as_ref() == Some(last))
    }

    async fn one(
        self,
        work: &mut Work,
        sql: String,
        values: Vec<Value>,
    ) -> Result<Option<LastChange>, DatabaseError> {
        let Some(row) = work.row(AssertSqlSafe(sql), values).await? else { return Ok(None) };
        let change = Change { kind: row.text(1)?, name: row.text(2)?, at: row.int(3)? };
        Ok(Some(LastChange { sequence: row.int(0)?, change }))
    }

    /// Forgets what is older than `keep` seconds.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn cut(self, work: &mut Work, keep: i64) -> Result<u64, DatabaseError> {
        let before = dialect::now(work).await?.saturating_sub(keep);
        let sql = format!("DELETE FROM {} WHERE at < $1", self.table);
        work.execute(AssertSqlSafe(sql), vec![before.into()]).await
    }
}

/// Reads `xmin:xmax:running,running`.
fn snapshot(text: &str) -> Option<Place> {
    let mut parts = text.split(':');
    let (_, below, running) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
    let running = running.split(',').filter(|xact| !xact.is_empty());
    let running = running.map(|xact| xact.parse().ok()).collect::<Option<_>>()?;
    parts.next().is_none().then_some(Place::Snapshot { below, running })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_written_down_and_read() {
        for place in [
            Place::Number(0),
            Place::Number(i64::MAX),
            Place::Snapshot { below: 20, running: vec![] },
            Place::Snapshot { below: 20, running: vec![14, 15] },
        ] {
            let position = Position { place, at: -7 };
            assert_eq!(Position::parse(&position.to_string()), Some(position));
        }
        for text in
            ["", "number 5", "number x at 5", "snapshot 5 at 6", "number 5 at 6 ", "row 5 at 6"]
        {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }

    #[test]
    fn snapshots_are_read() {
        for (text, expected) in [
            ("10:20:10,14,15", Some((20, vec![10, 14, 15]))),
            ("10:10:", Some((10, vec![]))),
            ("10:20", None),
            ("10:20:a", None),
            ("10:20:1:2", None),
            ("", None),
        ] {
            let read = snapshot(text).map(|place| match place {
                Place::Snapshot { below, running } => (below, running),
                Place::Number(_) => panic!("no snapshot"),
            });
            assert_eq!(read, expected, "{text}");
        }
    }
}
