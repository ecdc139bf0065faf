//! Domain names of mail: lower case, A-labels, within DNS' limits.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Serialize};

/// Longest name in octets, as text. RFC 5321 section 4.5.3.1.2 allows 255, but a longer one than this does not fit into DNS
/// (RFC 1035 section 3.1).
pub const LONGEST_DOMAIN: usize = 253;

/// Longest label in octets: RFC 1035 section 2.3.4.
pub const LONGEST_LABEL: usize = 63;

/// A domain name as it stands in DNS and on the wire: lower case, A-labels (RFC 5890), without the dot at its end.
///
/// An address literal such as `[192.0.2.1]` is none, and neither is a name whose last label is a number.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(Box<str>);

/// Why text is no domain.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DomainError {
    /// Nothing there.
    #[error("a domain is missing")]
    Empty,
    /// Longer than DNS allows, as a whole or in a label.
    #[error("a domain has at most {LONGEST_DOMAIN} octets, and {LONGEST_LABEL} between two dots")]
    TooLong,
    /// Two dots in a row, or one at an end.
    #[error("a domain has a letter or digit on each side of each dot")]
    EmptyLabel,
    /// A hyphen at an end of a label.
    #[error("between the dots of a domain, a hyphen stands neither first nor last")]
    Hyphen,
    /// Something else than letters, digits, hyphens and underscores.
    #[error("a domain consists of letters, digits and hyphens")]
    Character,
    /// The last label is a number, as in an address without its brackets.
    #[error(
        "a domain does not end in a number: write an address as [192.0.2.1] or [IPv6:2001:db8::1]"
    )]
    Number,
    /// Not what IDNA allows (UTS 46).
    #[error("a domain in another script is written as IDNA allows")]
    International,
}

impl Domain {
    /// Reads a domain, in U-labels or A-labels and any letter case.
    ///
    /// Underscores are taken although RFC 5321 has none: DNS has them (RFC 2181 section 11), and so have hosts that send.
    ///
    /// # Errors
    ///
    /// [`DomainError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        // Before anything looks at all of it. A name that fits may be longer in U-labels, by no more than this.
        if text.len() > 4 * LONGEST_DOMAIN {
            return Err(DomainError::TooLong);
        }
        if text.is_ascii() && !has_a_label(text) {
            check(text)?;
            return Ok(Self(text.to_ascii_lowercase().into()));
        }
        let name = Uts46::new()
            .to_ascii(
                text.as_bytes(),
                AsciiDenyList::EMPTY,
                Hyphens::CheckFirstLast,
                DnsLength::Ignore,
            )
            .map_err(|_| DomainError::International)?;
        check(&name)?;
        Ok(Self(name.into()))
    }

    /// The name, as on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name for people: in U-labels where it has A-labels.
    #[must_use]
    pub fn to_unicode(&self) -> String {
        if !has_a_label(&self.0) {
            return self.0.to_string();
        }
        match Uts46::new().to_unicode(
            self.0.as_bytes(),
            AsciiDenyList::EMPTY,
            Hyphens::CheckFirstLast,
        ) {
            (name, Ok(())) => name.into_owned(),
            (_, Err(_)) => self.0.to_string(),
        }
    }

    /// The domain above it: `example.org` for `mail.example.org`, nothing for `org`.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, parent)| parent)
    }

    /// Whether it is `other` or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0
            .strip_suffix(other.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

fn check(name: &str) -> Result<(), DomainError> {
    if name.is_empty() {
        return Err(DomainError::Empty);
    }
    if name.len() > LONGEST_DOMAIN {
        return Err(DomainError::TooLong);
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err(DomainError::EmptyLabel);
        }
        if label.len() > LONGEST_LABEL {
            return Err(DomainError::TooLong);
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(DomainError::Hyphen);
        }
        if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err(DomainError::Character);
        }
    }
    // RFC 3696 section 2: no top-level domain is all numeric, so that names and addresses can't be confused.
    match name.rsplit('.').next() {
        Some(last) if last.bytes().all(|byte| byte.is_ascii_digit()) => Err(DomainError::Number),
        _ => Ok(()),
    }
}

fn has_a_label(name: &str) -> bool {
    name.split('.')
        .any(|label| label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--")))
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Domain {
    type Error = DomainError;

    fn try_from(text: String) -> Result<Self, DomainError> {
        Self::parse(&text)
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> Self {
        domain.0.into()
    }
}

/// As maps are looked into without making a `Domain`.
impl Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Domain {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

#[cfg(test)]
mod tests;
