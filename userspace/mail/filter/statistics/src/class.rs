//! The two kinds of mail.

/// What a message is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Class {
    /// Mail that somebody wants.
    Ham,
    /// Mail that nobody asked for.
    Spam,
}

impl Class {
    /// The probability of spam that would have been right.
    pub(crate) const fn target(self) -> f32 {
        match self {
            Self::Ham => 0.0,
            Self::Spam => 1.0,
        }
    }

    /// The other one.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Ham => Self::Spam,
            Self::Spam => Self::Ham,
        }
    }
}
