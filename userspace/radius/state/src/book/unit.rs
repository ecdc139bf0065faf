//! One address or prefix, as a server knows it that gives it out.

use serde::{Deserialize, Serialize};

use super::{Moment, Sign};

/// Milliseconds by which times that NASes count in seconds may be wrong.
const SLACK: u64 = 1_000;

/// See the module.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Unit {
    pub(super) state: State,
    /// Whether all offers that others made of it have come to light.
    pub(super) sure: bool,
    /// Whether it was offered to its user again before a session of the offer before was heard of.
    pub(super) doubtful: bool,
    pub(super) user: u64,
    /// Zero for none.
    pub(super) line: u64,
    /// When the database is to be asked about it.
    pub(super) until: Moment,
    /// When it was offered last, and how long that offer may be taken; zero if a session has taken it.
    pub(super) offered: Moment,
    pub(super) rest: Moment,
    /// When it was last offered, or a record told of it.
    pub(super) touched: Moment,
    /// The session that has it, and the one that had it before the last offer; zero for none that is known.
    pub(super) session: u64,
    pub(super) before: u64,
    /// Its place in the queue of free ones; zero for none.
    pub(super) queued: u64,
    /// Its place among the ends; zero for none.
    pub(super) ends_at: Moment,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum State {
    Free,
    Held,
    /// Nobody known holds it, but somebody may.
    Resting,
}

impl Unit {
    /// One of which nothing is known yet.
    pub(super) fn resting() -> Self {
        Self {
            state: State::Resting,
            sure: false,
            doubtful: false,
            user: 0,
            line: 0,
            until: 0,
            offered: 0,
            rest: 0,
            touched: 0,
            session: 0,
            before: 0,
            queued: 0,
            ends_at: 0,
        }
    }

    /// Whether a session began with what was offered last.
    pub(super) fn is_taken_by(&self, sign: Sign) -> bool {
        let Some(began) = sign.began.filter(|_| sign.session != self.before) else { return false };
        if sign.starts && !self.doubtful {
            // A late one says how late it is, or is none.
            return self.offered <= began.saturating_add(SLACK);
        }
        self.offered.saturating_add(SLACK) <= began.min(sign.stamped)
    }
}
