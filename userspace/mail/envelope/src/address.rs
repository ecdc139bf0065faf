//! Addresses: a local part and where it is local.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::domain::{Domain, DomainError};

/// Longest local part in octets, as on the wire: RFC 5321 section 4.5.3.1.1.
pub const LONGEST_LOCAL_PART: usize = 64;

/// A mailbox's address (RFC 5321 section 4.1.2, RFC 6531 section 3.3).
///
/// Equal are addresses that every server must take for the same: the domain in any case, the local part letter by letter,
/// with or without needless quotes. Our own mailboxes are looked up by [`LocalPart::folded`].
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    /// What stands before the at sign.
    pub local: LocalPart,
    /// What stands behind it.
    pub domain: AddressDomain,
}

/// Where an address is local.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum AddressDomain {
    /// A domain.
    Domain(Domain),
    /// A machine: `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    Literal(IpAddr),
}

/// A local part: what it says, without the quotes that the wire may need.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LocalPart(Box<str>);

/// Why text is no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// No at sign, or nothing before it.
    #[error("an address is written as name@domain")]
    Incomplete,
    /// A local part that is too long.
    #[error("an address has at most {LONGEST_LOCAL_PART} octets before its at sign")]
    TooLong,
    /// Something that a local part may not contain, or not without quotes.
    #[error("an address has something before its at sign that may not stand there")]
    Character,
    /// A quote without its end, or with something behind its end.
    #[error("an address has a quotation mark that does not end where the name ends")]
    Quote,
    /// Not an address literal that we know.
    #[error("an address literal is written as [192.0.2.1] or [IPv6:2001:db8::1]")]
    Literal,
    /// Its domain.
    #[error(transparent)]
    Domain(#[from] DomainError),
}

impl Address {
    /// Reads an address as it stands in an envelope: without angle brackets, display name or comments.
    ///
    /// # Errors
    ///
    /// [`AddressError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (local, rest) = LocalPart::split(text)?;
        let domain = rest.strip_prefix('@').ok_or(AddressError::Incomplete)?;
        Ok(Self { local, domain: AddressDomain::parse(domain)? })
    }

    /// An address of its two parts.
    #[must_use]
    pub const fn new(local: LocalPart, domain: Domain) -> Self {
        Self { local, domain: AddressDomain::Domain(domain) }
    }

    /// Its domain, if it has one and no literal.
    #[must_use]
    pub const fn domain(&self) -> Option<&Domain> {
        match &self.domain {
            AddressDomain::Domain(domain) => Some(domain),
            AddressDomain::Literal(_) => None,
        }
    }

    /// Whether it can only be said to a server that has SMTPUTF8 (RFC 6531). The domain never needs that: it goes in A-labels.
    #[must_use]
    pub fn needs_utf8(&self) -> bool {
        !self.local.0.is_ascii()
    }

    /// The address for people: domains in their own script.
    #[must_use]
    pub fn to_unicode(&self) -> String {
        match &self.domain {
            AddressDomain::Domain(domain) => format!("{}@{}", self.local, domain.to_unicode()),
            AddressDomain::Literal(_) => self.to_string(),
        }
    }
}

impl LocalPart {
    /// Makes a local part of what it says: without quotes, even where the wire needs them.
    ///
    /// # Errors
    ///
    /// If it is empty, too long, or has control characters.
    pub fn new(content: &str) -> Result<Self, AddressError> {
        if content.is_empty() {
            return Err(AddressError::Incomplete);
        }
        if content.len() > LONGEST_LOCAL_PART {
            return Err(AddressError::TooLong);
        }
        if !content.chars().all(may_be_quoted) {
            return Err(AddressError::Character);
        }
        let local = Self(content.into());
        // Quotes and backslashes count, too: some server on the way may hold it to that.
        if wire_length(content) > LONGEST_LOCAL_PART {
            return Err(AddressError::TooLong);
        }
        Ok(local)
    }

    /// Reads a local part as the wire has it, in quotes or without.
    ///
    /// # Errors
    ///
    /// [`AddressError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match Self::split(text)? {
            (local, "") => Ok(local),
            _ => Err(AddressError::Character),
        }
    }

    /// What it says, without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What our own mailboxes are looked up by: in lower case and Unicode's form C.
    #[must_use]
    pub fn folded(&self) -> Cow<'_, str> {
        if self.0.is_ascii() {
            if self.0.bytes().any(|byte| byte.is_ascii_uppercase()) {
                return Cow::Owned(self.0.to_ascii_lowercase());
            }
            return Cow::Borrowed(&self.0);
        }
        let lower: String = self.0.nfc().flat_map(char::to_lowercase).nfc().collect();
        if *lower == *self.0 { Cow::Borrowed(&self.0) } else { Cow::Owned(lower) }
    }

    /// Its name and its detail, as in `name+detail`. No detail without a name.
    #[must_use]
    pub fn detail(&self, separator: char) -> Option<(&str, &str)> {
        self.0.split_once(separator).filter(|(name, _)| !name.is_empty())
    }

    /// Whether it is written in quotes.
    #[must_use]
    pub fn needs_quotes(&self) -> bool {
        !is_dot_string(&self.0)
    }

    /// Takes a local part from the beginning of text, and gives what is behind it.
    pub(crate) fn split(text: &str) -> Result<(Self, &str), AddressError> {
        if text.starts_with('"') { Self::split_quoted(text) } else { Self::split_plain(text) }
    }

    fn split_plain(text: &str) -> Result<(Self, &str), AddressError> {
        let end = text
            .char_indices()
            .take(LONGEST_LOCAL_PART + 1)
            .find(|&(_, char)| !is_atext(char) && char != '.')
            .map_or(text.len().min(LONGEST_LOCAL_PART + 1), |(at, _)| at);
        if end > LONGEST_LOCAL_PART {
            return Err(AddressError::TooLong);
        }
        let (local, rest) = text.split_at_checked(end).ok_or(AddressError::TooLong)?;
        if local.is_empty() {
            return Err(AddressError::Incomplete);
        }
        if !is_dot_string(local) {
            return Err(AddressError::Character);
        }
        Ok((Self(local.into()), rest))
    }

    fn split_quoted(text: &str) -> Result<(Self, &str), AddressError> {
        let mut content = String::new();
        let mut chars = text.char_indices().skip(1);
        while let Some((at, char)) = chars.next() {
            let char = match char {
                '"' => {
                    let rest = text.get(at + 1..).unwrap_or_default();
                    return Ok((Self::new(&content)?, rest));
                }
                // quoted-pairSMTP = "\" %d32-126
                '\\' => match chars.next() {
                    Some((_, escaped @ ' '..='~')) => escaped,
                    _ => return Err(AddressError::Quote),
                },
                other => other,
            };
            if content.len() > LONGEST_LOCAL_PART {
                return Err(AddressError::TooLong);
            }
            content.push(char);
        }
        Err(AddressError::Quote)
    }
}

/// RFC 5322 section 3.2.3, and RFC 6531 section 3.3 for what is not ASCII.
fn is_atext(char: char) -> bool {
    match char {
        'a'..='z' | 'A'..='Z' | '0'..='9' => true,
        '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '/' | '=' | '?' | '^' | '_'
        | '`' | '{' | '|' | '}' | '~' => true,
        other => !other.is_ascii() && may_be_quoted(other),
    }
}

/// No controls, neither of ASCII nor of ISO 8859 (RFC 6532 section 3.1), and no line ends of Unicode, which some programs
/// break header fields at.
fn may_be_quoted(char: char) -> bool {
    !char.is_control() && !matches!(char, '\u{2028}' | '\u{2029}')
}

fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

fn wire_length(content: &str) -> usize {
    if is_dot_string(content) {
        return content.len();
    }
    2 + content.len() + content.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}

impl AddressDomain {
    /// Reads what stands behind an at sign.
    ///
    /// # Errors
    ///
    /// If it is neither a domain nor an address of IPv4 or IPv6 in brackets.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if !text.starts_with('[') {
            return Ok(Self::Domain(Domain::parse(text)?));
        }
        let literal = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .ok_or(AddressError::Literal)?;
        let address = match literal.split_at_checked(5) {
            Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => {
                address.parse::<Ipv6Addr>().map(IpAddr::V6)
            }
            _ => literal.parse::<Ipv4Addr>().map(IpAddr::V4),
        };
        address.map(Self::Literal).map_err(|_| AddressError::Literal)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl From<Domain> for AddressDomain {
    fn from(domain: Domain) -> Self {
        Self::Domain(domain)
    }
}

/// As it goes on the wire, without angle brackets.
impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}@{}", self.local, self.domain)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

impl fmt::Display for AddressDomain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => out.write_str(domain.as_str()),
            Self::Literal(IpAddr::V4(address)) => write!(out, "[{address}]"),
            Self::Literal(IpAddr::V6(address)) => write!(out, "[IPv6:{address}]"),
        }
    }
}

impl fmt::Debug for AddressDomain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// In quotes where the wire needs them.
impl fmt::Display for LocalPart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.needs_quotes() {
            return out.write_str(&self.0);
        }
        out.write_char('"')?;
        for char in self.0.chars() {
            if matches!(char, '"' | '\\') {
                out.write_char('\\')?;
            }
            out.write_char(char)?;
        }
        out.write_char('"')
    }
}

impl fmt::Debug for LocalPart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

#[cfg(test)]
mod tests;
