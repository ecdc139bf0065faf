//! How much of what may be spam somebody puts up with.

/// How sure the filter must be before it takes a message away from somebody's Inbox: from the strictest of five levels to the most
/// tolerant.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// Rather miss a newsletter than see spam.
    Strict,
    /// Between the two.
    Careful,
    /// What most people want.
    #[default]
    Usual,
    /// Between the two.
    Patient,
    /// Rather see spam than miss anything.
    Tolerant,
}

impl Level {
    /// All of them, the strictest first.
    pub const ALL: [Self; 5] =
        [Self::Strict, Self::Careful, Self::Usual, Self::Patient, Self::Tolerant];

    /// From 1, the strictest, to 5.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Strict => 1,
            Self::Careful => 2,
            Self::Usual => 3,
            Self::Patient => 4,
            Self::Tolerant => 5,
        }
    }

    /// The other way.
    #[must_use]
    pub const fn of_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Strict),
            2 => Some(Self::Careful),
            3 => Some(Self::Usual),
            4 => Some(Self::Patient),
            5 => Some(Self::Tolerant),
            _ => None,
        }
    }

    /// From which log-odds on a message is spam: odds of 12, 33, 90, 400 and 3,000 to one.
    #[must_use]
    pub const fn spam_from(self) -> f32 {
        match self {
            Self::Strict => 2.5,
            Self::Careful => 3.5,
            Self::Usual => 4.5,
            Self::Patient => 6.0,
            Self::Tolerant => 8.0,
        }
    }
}

/// What holds for a recipient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tolerance {
    /// What goes into his Spam folder.
    pub level: Level,
    /// Whether what is spam without any doubt is refused while its sender is connected.
    pub cut_off: bool,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { level: Level::default(), cut_off: true }
    }
}

impl Tolerance {
    /// From which log-odds on a message is refused: never below what a message must have to be spam and six besides, so that who
    /// is tolerant sees in his Spam folder what others do not see at all.
    #[must_use]
    pub fn refuse_from(self) -> Option<f32> {
        self.cut_off.then(|| (self.level.spam_from() + 6.0).max(12.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_in_order() {
        for pair in Level::ALL.windows(2) {
            assert!(pair[0].spam_from() < pair[1].spam_from());
            assert!(pair[0] < pair[1]);
        }
        for level in Level::ALL {
            assert_eq!(Level::of_number(level.number()), Some(level));
            let refused = Tolerance { level, cut_off: true }.refuse_from().unwrap();
            assert!(refused >= level.spam_from() + 6.0, "{level:?}");
            assert_eq!(Tolerance { level, cut_off: false }.refuse_from(), None);
        }
        assert_eq!((Level::of_number(0), Level::of_number(6)), (None, None));
    }
}
