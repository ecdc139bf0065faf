//! What the log of changes says, gathered: of what is to be read again.

use std::collections::BTreeSet;

use muralla_database::{ChangeLog, DatabaseError, News, Position, Work};

/// The log, which the schema's triggers write. Of half a million subscribers some hundred go on-line and off-line each second,
/// as many use up a little of what they have paid for, and few are changed by anybody.
pub(crate) const LOG: ChangeLog =
    ChangeLog { table: "radius_change", frequent: &[SESSION, CREDIT] };

const SESSION: &str = "session";
/// What a subscriber may still use, when nothing else of him was changed.
const CREDIT: &str = "credit";

/// What was changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Changes {
    pub(crate) subscribers: BTreeSet<String>,
    pub(crate) profiles: bool,
    pub(crate) nases: bool,
    pub(crate) pools: bool,
    pub(crate) sessions: BTreeSet<Vec<u8>>,
    /// More sessions than are told one by one: read all of them again.
    pub(crate) all_sessions: bool,
    /// More credits than that.
    pub(crate) all_credits: bool,
    /// Too much, or something that can't be followed: read everything.
    pub(crate) everything: bool,
    /// Rows of the log.
    pub(crate) rows: u64,
    /// When the latest was made, by the database's clock.
    pub(crate) latest: Option<i64>,
}

/// What was changed after a position, and the new position. `keep` is how many seconds the log reaches back.
pub(crate) async fn after(
    work: &mut Work,
    position: &Position,
    keep: i64,
) -> Result<(Changes, Position), DatabaseError> {
    let (news, position) = LOG.after(work, position, keep).await?;
    Ok((Changes::of(news), position))
}

/// The same for who reads all sessions in any case.
pub(crate) async fn after_but_sessions(
    work: &mut Work,
    position: &Position,
    keep: i64,
) -> Result<(Changes, Position), DatabaseError> {
    let (news, position) = LOG.after_but(work, position, keep, &[SESSION]).await?;
    Ok((Changes::of(news), position))
}

impl Changes {
    fn of(news: News) -> Self {
        let mut changes = Self::default();
        let all = match news {
            News::Everything => {
                changes.everything = true;
                return changes;
            }
            News::Changes(all) => all,
            News::Rare { changes: rare, too_many } => {
                changes.all_sessions = too_many.contains(&SESSION);
                changes.all_credits = too_many.contains(&CREDIT);
                rare
            }
        };
        for change in all {
            changes.note(&change.kind, change.name, change.at);
        }
        changes
    }

    fn note(&mut self, kind: &str, name: String, at: i64) {
        self.rows += 1;
        self.latest = self.latest.max(Some(at));
        match kind {
            "subscriber" | CREDIT => {
                self.subscribers.insert(name);
            }
            "profile" => self.profiles = true,
            "nas" => self.nases = true,
            "pool" => self.pools = true,
            SESSION => {
                self.sessions.extend(from_hex(&name));
            }
            // A table was emptied, or a later version of this program logs something new.
            _ => self.everything = true,
        }
    }
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
    fn changes_are_gathered() {
        let mut changes = Changes::default();
        changes.note("subscriber", "ann".into(), 5);
        changes.note("credit", "ann".into(), 7);
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
