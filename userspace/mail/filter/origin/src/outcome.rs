//! How a mechanism ends.

use std::fmt;

/// How a mechanism ends, in the words of RFC 8601 section 2.7.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// There is nothing to go by.
    #[default]
    None,
    /// Good.
    Pass,
    /// Bad.
    Fail,
    /// Bad, says somebody who is not sure (SPF).
    SoftFail,
    /// Its owner does not say (SPF), or nothing follows from it.
    Neutral,
    /// It may be good, but not in a way that we accept.
    Policy,
    /// It can't be told now.
    TempError,
    /// It can't be told, because something is written wrongly.
    PermError,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Pass,
        Self::Fail,
        Self::SoftFail,
        Self::Neutral,
        Self::Policy,
        Self::TempError,
        Self::PermError,
    ];

    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Neutral => "neutral",
            Self::Policy => "policy",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }

    /// Whether it is [`Outcome::Pass`].
    #[must_use]
    pub const fn passed(self) -> bool {
        matches!(self, Self::Pass)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}
