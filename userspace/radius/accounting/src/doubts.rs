//! What was not quite right about a record, or a session, that counts nevertheless.

use std::fmt;
use std::ops::BitOr;

/// A set of doubts. They are counted, shown and exported, and never stop a record.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct Doubts(u8);

impl Doubts {
    /// Event-Timestamp is far from when the record came: the NAS's clock is wrong, or ours is. The
    /// record's own arrival less Acct-Delay-Time was taken, and both are kept.
    pub const CLOCK: Self = Self(1);
    /// Acct-Delay-Time is longer than a month, or reaches back before 1970: it was ignored.
    pub const DELAY: Self = Self(1 << 1);
    /// No Acct-Session-Id, or an empty one: the line (port, calling station) stands in for it.
    pub const NO_SESSION_ID: Self = Self(1 << 2);
    /// An attribute that this crate reads has a length that its type can't have: it was ignored.
    pub const LENGTHS: Self = Self(1 << 3);
    /// A counter of 32 bits went round, and the NAS sends no gigawords: the upper half was inferred.
    pub const WRAPPED: Self = Self(1 << 4);
    /// The NAS used the session's id before, for another session.
    pub const REUSED: Self = Self(1 << 5);
    /// Acct-Session-Time does not fit to the time that passed since the session began.
    pub const SESSION_TIME: Self = Self(1 << 6);
    /// The NAS sent a stop and went on with the session.
    pub const AFTER_STOP: Self = Self(1 << 7);

    const NAMES: [(Self, &'static str); 8] = [
        (Self::CLOCK, "clock"),
        (Self::DELAY, "delay"),
        (Self::NO_SESSION_ID, "no_session_id"),
        (Self::LENGTHS, "lengths"),
        (Self::WRAPPED, "wrapped"),
        (Self::REUSED, "reused"),
        (Self::SESSION_TIME, "session_time"),
        (Self::AFTER_STOP, "after_stop"),
    ];

    /// Whether all of `others` are in it.
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As a number, for storage.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From what [`Self::bits`] gave.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Their names in snake case, as counters are called.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |&(doubt, _)| self.has(doubt)).map(|(_, name)| name)
    }
}

impl BitOr for Doubts {
    type Output = Self;

    fn bitor(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

impl fmt::Debug for Doubts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl fmt::Display for Doubts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.names().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_doubt_has_a_bit_and_a_name_of_its_own() {
        let all = Doubts::from_bits(u8::MAX);
        assert_eq!(all.names().count(), 8);
        let sum = Doubts::NAMES.iter().fold(Doubts::default(), |sum, &(doubt, _)| {
            assert!(!sum.has(doubt));
            sum | doubt
        });
        assert_eq!(sum, all);
        assert_eq!((Doubts::CLOCK | Doubts::REUSED).to_string(), "clock,reused");
        assert_eq!(Doubts::default().to_string(), "");
    }
}
