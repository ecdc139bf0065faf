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

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;

use crate::engine::{Flavour, Value, Work};
use crate::{StateError, dialect};

/// Rows that are read at once at most.
const MOST: i64 = 20_000;

/// Up to where the log was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Position {
    place: Place,
    /// The database's time of the reading.
    pub(crate) at: i64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Place {
    /// The last number.
    Number(i64),
    /// All transactions below `below` were seen, but for those that ran.
    Snapshot { below: i64, running: Vec<i64> },
}

/// What was changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Changes {
    pub(crate) subscribers: BTreeSet<String>,
    pub(crate) profiles: bool,
    pub(crate) nases: bool,
    pub(crate) pools: bool,
    pub(crate) sessions: BTreeSet<Vec<u8>>,
    /// Too much, or something that can't be followed: read everything.
    pub(crate) everything: bool,
    /// Rows of the log.
    pub(crate) rows: u64,
    /// When the latest was made, by the database's clock.
    pub(crate) latest: Option<i64>,
}

/// Where the log ends now.
pub(crate) async fn end(work: &mut Work) -> Result<Position, StateError> {
    let place = match work.flavour() {
        Flavour::Sqlite => Place::Number(
            // The log may have been emptied: its numbers go on all the same.
            work.number("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'radius_change'), 0)", Vec::new())
                .await?,
        ),
        Flavour::Postgres => {
            let row = work.row("SELECT CAST(pg_current_snapshot() AS TEXT)", Vec::new()).await?;
            let text = row.ok_or_else(|| StateError::Row("there is no snapshot".into()))?.text(0)?;
            snapshot(&text).ok_or_else(|| StateError::Row(format!("{text:?} is no snapshot")))?
        }
    };
    Ok(Position { place, at: dialect::now(work).await? })
}

/// What was changed after a position, and the new position. `keep` is how many seconds the log reaches back.
pub(crate) async fn after(
    work: &mut Work,
    position: &Position,
    keep: i64,
) -> Result<(Changes, Position), StateError> {
    let end = end(work).await?;
    let mut changes = Changes::default();
    // Half of it, as the two clocks that were asked may differ, and the log is cut between two readings.
    if end.at.saturating_sub(position.at) > keep / 2 {
        changes.everything = true;
        return Ok((changes, end));
    }
    let (sql, values) = match (&position.place, &end.place) {
        (Place::Number(last), Place::Number(end)) if last <= end => (
            "SELECT kind, name, at FROM radius_change WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence LIMIT $3".to_owned(),
            vec![Value::from(*last), (*end).into(), (MOST + 1).into()],
        ),
        (Place::Snapshot { below, running }, Place::Snapshot { below: end, .. }) if below <= end => {
            // Numbers from the database itself, so there is nothing to be quoted. Of another cluster, whose copy this may
            // be, rows may have numbers that are not reached yet: they are none of today.
            let again: String = running.iter().map(|xact| format!(", {xact}")).collect();
            (
                format!("SELECT kind, name, at FROM radius_change WHERE (xact >= $1 OR xact IN (-1{again})) AND xact < $2 ORDER BY sequence LIMIT $3"),
                vec![Value::from(*below), (*end).into(), (MOST + 1).into()],
            )
        }
        // The database is another one than before, or one from before.
        _ => {
            changes.everything = true;
            return Ok((changes, end));
        }
    };
    work.each(AssertSqlSafe(sql), values, |row| {
        changes.note(&row.text(0)?, row.text(1)?, row.int(2)?);
        Ok(())
    })
    .await?;
    if changes.rows > MOST.cast_unsigned() {
        changes.everything = true;
    }
    Ok((changes, end))
}

impl Changes {
    fn note(&mut self, kind: &str, name: String, at: i64) {
        self.rows += 1;
        self.latest = self.latest.max(Some(at));
        match kind {
            "subscriber" => {
                self.subscribers.insert(name);
            }
            "profile" => self.profiles = true,
            "nas" => self.nases = true,
            "pool" => self.pools = true,
            "session" => {
                self.sessions.extend(from_hex(&name));
            }
            // A table was emptied, or a later version of this program logs something new.
            _ => self.everything = true,
        }
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

pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(pair.first()? << 4 | pair.get(1)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn changes_are_gathered() {
        let mut changes = Changes::default();
        changes.note("subscriber", "ann".into(), 5);
        changes.note("subscriber", "ann".into(), 7);
        changes.note("session", "00ff".into(), 6);
        changes.note("session", "nonsense".into(), 6);
        changes.note("pool", "home".into(), 6);
        assert_eq!(changes.subscribers.len(), 1);
        assert_eq!(changes.sessions.first(), Some(&vec![0, 255]));
        assert_eq!((changes.rows, changes.latest, changes.pools), (5, Some(7), true));
        assert!(!changes.everything);
        changes.note("all", "radius_subscriber".into(), 8);
        assert!(changes.everything);
    }

    #[test]
    fn bytes_are_read() {
        assert_eq!(from_hex("00Ff10"), Some(vec![0, 255, 16]));
        assert_eq!(from_hex(""), Some(vec![]));
        for text in ["0", "0g", "é0", "+1"] {
            assert_eq!(from_hex(text), None, "{text}");
        }
    }
}
