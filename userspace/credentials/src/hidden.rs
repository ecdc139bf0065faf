//! Texts that nobody should see by accident.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// A text that nobody should see by accident, such as a password, a key or a URL with one in it: `Debug` leaves it out, and
/// where it is serialised stands [`Hidden::MARK`], which is not taken back for a text.
///
/// # Examples
///
/// ```
/// use muralla_credentials::Hidden;
///
/// let secret = Hidden::new("arctangent");
/// assert_eq!(secret.reveal(), "arctangent");
/// assert_eq!(format!("{secret:?}"), "hidden");
/// ```
#[derive(Clone, Default, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct Hidden(String);

/// [`Hidden::MARK`] was read where a text should be.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("\"{}\" stands where a secret was not shown: write the secret itself", Hidden::MARK)]
pub struct Marked;

impl Hidden {
    /// What is written in place of a text. Whoever reads back what was written so must not make it everybody's secret.
    pub const MARK: &str = "(hidden)";

    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_empty() { "none" } else { "hidden" })
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { Self::MARK })
    }
}

impl TryFrom<String> for Hidden {
    type Error = Marked;

    fn try_from(text: String) -> Result<Self, Marked> {
        if text == Self::MARK { Err(Marked) } else { Ok(Self(text)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_and_never_written() {
        let read: Hidden = serde_json::from_str("\"arctangent\"").unwrap();
        assert_eq!(read, Hidden::new("arctangent"));
        assert_eq!(serde_json::to_string(&read).unwrap(), "\"(hidden)\"");
        assert_eq!(format!("{read:?} {:?}", Hidden::default()), "hidden none");
    }

    #[test]
    fn what_was_written_is_no_secret_when_it_is_read_back() {
        for hidden in [None, Some(Hidden::new(""))] {
            let text = serde_json::to_string(&hidden).unwrap();
            assert_eq!(serde_json::from_str::<Option<Hidden>>(&text).unwrap(), hidden);
        }
        let text = serde_json::to_string(&Hidden::new("arctangent")).unwrap();
        let error = serde_json::from_str::<Hidden>(&text).unwrap_err().to_string();
        assert!(error.contains("write the secret itself"), "{error}");
    }
}
