//! What comes out, each with a sentence that the owner of a mailbox can read.

use std::fmt;

use crate::limits::Excess;

/// What there is to say of a part, or of a message: that of its worst part.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Verdict {
    /// Everything was looked at, and nothing was found.
    #[default]
    Clean,
    /// Something that is now and then in good mail, and often in bad.
    Suspicious(Finding),
    /// It was not looked at, or not by everyone who should, or not into everything: it is held, and looked at again if that can
    /// help. Never clean.
    Unscanned(Why),
    /// It can't be looked at within the limits, now or later: it is held.
    Excessive(Excess),
    /// Something dangerous: it is held.
    Found(Finding),
}

impl Verdict {
    /// The worse of the two.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    /// Whether it must not reach a mailbox.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self, Self::Unscanned(_) | Self::Excessive(_) | Self::Found(_))
    }

    /// Whether looking again can change it.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unscanned(why) if why.is_passing())
    }

    /// A short name, for logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Suspicious(_) => "suspicious",
            Self::Unscanned(_) => "unscanned",
            Self::Excessive(_) => "excessive",
            Self::Found(_) => "found",
        }
    }

    fn rank(&self) -> (u8, u8) {
        match self {
            Self::Clean => (0, 0),
            Self::Suspicious(finding) => (1, finding.weight),
            // What another look can change is milder than what none can.
            Self::Unscanned(why) => (2, u8::from(!why.is_passing())),
            Self::Excessive(_) => (3, 0),
            Self::Found(finding) => (4, finding.weight),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => formatter.write_str("Nothing dangerous was found."),
            Self::Suspicious(finding) | Self::Found(finding) => finding.fmt(formatter),
            Self::Unscanned(why) => {
                let yet = if why.is_passing() { " yet" } else { "" };
                write!(formatter, "It is not known{yet} whether it is safe: {why}.")
            }
            Self::Excessive(excess) => write!(formatter, "It can't be looked through: {excess}."),
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Finding {
    /// Its name, for logs, headers and models: `Program.Windows`, or what a scanner calls it.
    pub name: String,
    /// The file that it is in, with those that it is packed in before it, as it can be shown.
    pub what: String,
    /// What is the matter with it, so that it completes a sentence which begins with the file.
    pub reason: String,
    /// How much it says on its own, from 0 to 10: 1 is met in good mail every day, 5 seldom, 10 hardly ever.
    pub weight: u8,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.what.is_empty() {
            write!(formatter, "A part of the message {}.", self.reason)
        } else {
            write!(formatter, "\u{201c}{}\u{201d} {}.", self.what, self.reason)
        }
    }
}

/// Why something was not looked at.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Why {
    /// The scanner does not answer.
    Down,
    /// The time was over.
    Late,
    /// It is larger than what the scanner takes.
    TooLarge,
    /// The scanner said that it could not, in these words.
    Refused(String),
    /// Whoever looked at it broke down.
    Failed,
    /// Something in it is packed in a way that nobody here can unpack: it is held, for no other look would see more.
    Unsupported,
}

impl Why {
    /// Whether looking again can help.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Down | Self::Late | Self::Refused(_))
    }

    /// A short name, for logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Late => "late",
            Self::TooLarge => "too-large",
            Self::Refused(_) => "refused",
            Self::Failed => "failed",
            Self::Unsupported => "unsupported",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => formatter.write_str("the virus scanner does not answer"),
            Self::Late => formatter.write_str("looking through it took too long"),
            Self::TooLarge => formatter.write_str("it is larger than what the virus scanner takes"),
            Self::Refused(words) => {
                write!(formatter, "the virus scanner said \u{201c}{words}\u{201d}")
            }
            Self::Failed => formatter.write_str("the virus scanner broke down while looking at it"),
            Self::Unsupported => {
                formatter.write_str("it is packed in a way that can't be looked into here")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(weight: u8) -> Finding {
        Finding {
            name: "Program.Windows".into(),
            what: "a.zip \u{203a} a.exe".into(),
            reason: "is a program for Windows".into(),
            weight,
        }
    }

    #[test]
    fn the_worse_wins() {
        let order = [
            Verdict::Clean,
            Verdict::Suspicious(finding(2)),
            Verdict::Suspicious(finding(5)),
            Verdict::Unscanned(Why::Late),
            Verdict::Unscanned(Why::Unsupported),
            Verdict::Excessive(Excess::Ratio),
            Verdict::Found(finding(1)),
        ];
        for (left, one) in order.iter().enumerate() {
            for (right, other) in order.iter().enumerate() {
                let expected = order[left.max(right)].clone();
                assert_eq!(one.clone().worse(other.clone()), expected, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn sentences() {
        for (verdict, held, passing, sentence) in [
            (Verdict::Clean, false, false, "Nothing dangerous was found."),
            (
                Verdict::Found(finding(9)),
                true,
                false,
                "\u{201c}a.zip \u{203a} a.exe\u{201d} is a program for Windows.",
            ),
            (
                Verdict::Suspicious(Finding { what: String::new(), ..finding(1) }),
                false,
                false,
                "A part of the message is a program for Windows.",
            ),
            (
                Verdict::Unscanned(Why::Down),
                true,
                true,
                "It is not known yet whether it is safe: the virus scanner does not answer.",
            ),
            (
                Verdict::Unscanned(Why::TooLarge),
                true,
                false,
                "It is not known whether it is safe: it is larger than what the virus scanner takes.",
            ),
            (
                Verdict::Unscanned(Why::Unsupported),
                true,
                false,
                "It is not known whether it is safe: it is packed in a way that can't be looked into here.",
            ),
            (
                Verdict::Excessive(Excess::Ratio),
                true,
                false,
                "It can't be looked through: it unpacks to hundreds of times its size.",
            ),
        ] {
            assert_eq!(verdict.to_string(), sentence);
            assert_eq!((verdict.is_held(), verdict.is_passing()), (held, passing), "{sentence}");
        }
    }
}
