//! What speaks for a message or against it.

use std::borrow::Cow;

use muralla_filter_anatomy as anatomy;
use muralla_filter_antivirus as antivirus;
use muralla_filter_origin as origin;

/// Which part of the filter found something.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// Who sent it: connection, envelope, signatures, what is remembered of them.
    Origin,
    /// How it is made: header, parts, pages, links.
    Structure,
    /// What it says, by what was learned.
    Content,
    /// What else was sent that is like it.
    Bulk,
    /// What is packed in it.
    Antivirus,
}

impl Stage {
    /// Its name, for logs, headers and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Structure => "structure",
            Self::Content => "content",
            Self::Bulk => "bulk",
            Self::Antivirus => "antivirus",
        }
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// Who found it.
    pub stage: Stage,
    /// What, in one word that never means anything else.
    pub name: Cow<'static, str>,
    /// How much it says on its own, from -10 to 10, before anything was learned: 1 is met in good mail every day, 5 seldom, 10
    /// hardly ever; below 0, it speaks for the message.
    pub weight: f32,
    /// A sentence that the reader of the message understands.
    pub words: String,
}

impl Reason {
    /// The message is the one that is sent to see whether there is a filter.
    #[must_use]
    pub fn gtube() -> Self {
        Self {
            stage: Stage::Content,
            name: GTUBE_NAME.into(),
            weight: 10.0,
            words: "The message has the text in it by which filters are tried (GTUBE).".to_owned(),
        }
    }

    /// Whether nothing else needs to be asked.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.name == GTUBE_NAME
    }
}

const GTUBE_NAME: &str = "gtube";

/// The text of the Generic Test for Unsolicited Bulk Email, without its beginning, so that this is none.
const GTUBE: &str = "JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

/// Whether a text has that of the test.
#[must_use]
pub fn is_gtube(text: &str) -> bool {
    text.match_indices(GTUBE)
        .any(|(at, _)| text.get(..at).is_some_and(|before| before.ends_with("XJS*C4")))
}

impl From<&anatomy::Finding> for Reason {
    fn from(finding: &anatomy::Finding) -> Self {
        Self {
            stage: Stage::Structure,
            name: finding.name().into(),
            weight: finding.weight(),
            words: finding.describe(),
        }
    }
}

impl From<&origin::Finding> for Reason {
    fn from(finding: &origin::Finding) -> Self {
        Self {
            stage: Stage::Origin,
            name: finding.name().into(),
            weight: finding.weight(),
            words: finding.describe(),
        }
    }
}

impl From<&antivirus::verdict::Finding> for Reason {
    fn from(finding: &antivirus::verdict::Finding) -> Self {
        Self {
            stage: Stage::Antivirus,
            name: finding.name.clone().into(),
            weight: f32::from(finding.weight.min(10)),
            words: finding.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_is_known() {
        let whole = format!("Hello\n{}{GTUBE}\n", "XJS*C4");
        assert!(is_gtube(&whole));
        for other in ["", "XJS*C4", GTUBE, &whole.replace('*', "+")] {
            assert!(!is_gtube(other), "{other}");
        }
        assert!(Reason::gtube().is_certain());
    }
}
