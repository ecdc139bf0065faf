//! Paths: an address in angle brackets, as `MAIL FROM` and `RCPT TO` have it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::address::{Address, AddressDomain, AddressError, LocalPart};

/// Longest path in octets, brackets included: RFC 5321 section 4.5.3.1.3.
pub const LONGEST_PATH: usize = 256;

/// Where a message's failures go.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum ReversePath {
    /// `<>`: nowhere, as for what reports a failure itself.
    #[default]
    Null,
    /// To an address.
    Address(Address),
}

/// Where a message goes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain, which every server must know: RFC 5321 section 4.1.1.3.
    Postmaster,
    /// To an address.
    Address(Address),
}

/// Why text is no path.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// No angle brackets around it.
    #[error("an address stands between < and >")]
    Brackets,
    /// Longer than [`LONGEST_PATH`].
    #[error("a path has at most {LONGEST_PATH} octets")]
    TooLong,
    /// A source route that is none.
    #[error("a source route is written as @one,@two: and better left out")]
    Route,
    /// `<>` as a recipient.
    #[error("a recipient is missing between < and >")]
    Nobody,
    /// Its address.
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl ReversePath {
    /// Reads a path from the beginning of text, and gives what is behind its bracket: nothing, or a space and parameters.
    ///
    /// A source route (`<@one,@two:name@three>`) is read and forgotten, as RFC 5321 section 4.1.1.3 has it.
    ///
    /// # Errors
    ///
    /// [`PathError`] says what is wrong.
    pub fn split(text: &str) -> Result<(Self, &str), PathError> {
        if let Some(rest) = text.strip_prefix("<>") {
            return Ok((Self::Null, rest));
        }
        let (address, rest) = split(text)?;
        Ok((Self::Address(address), rest))
    }

    /// The address, if there is one.
    #[must_use]
    pub const fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }

    /// Whether it is `<>`.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl ForwardPath {
    /// Reads a path from the beginning of text, and gives what is behind its bracket: nothing, or a space and parameters.
    ///
    /// # Errors
    ///
    /// [`PathError`] says what is wrong.
    pub fn split(text: &str) -> Result<(Self, &str), PathError> {
        const POSTMASTER: &str = "<postmaster>";
        if text.starts_with("<>") {
            return Err(PathError::Nobody);
        }
        if let Some((path, rest)) = text.split_at_checked(POSTMASTER.len())
            && path.eq_ignore_ascii_case(POSTMASTER)
        {
            return Ok((Self::Postmaster, rest));
        }
        let (address, rest) = split(text)?;
        Ok((Self::Address(address), rest))
    }
}

fn split(text: &str) -> Result<(Address, &str), PathError> {
    let inner = text.strip_prefix('<').ok_or(PathError::Brackets)?;
    let inner = if inner.starts_with('@') { after_route(inner)? } else { inner };
    let (local, behind) = LocalPart::split(inner)?;
    // No domain and no literal contains a closing bracket, so the first one ends the path.
    let (domain, rest) = behind.split_once('>').ok_or(PathError::Brackets)?;
    if text.len() - rest.len() > LONGEST_PATH {
        return Err(PathError::TooLong);
    }
    let domain = domain.strip_prefix('@').ok_or(AddressError::Incomplete)?;
    Ok((Address { local, domain: AddressDomain::parse(domain)? }, rest))
}

/// A-d-l ":" of RFC 5321 section 4.1.2, where each domain may be a literal with colons in it.
fn after_route(text: &str) -> Result<&str, PathError> {
    let mut rest = text;
    loop {
        rest = rest.strip_prefix('@').ok_or(PathError::Route)?;
        let end = if rest.starts_with('[') {
            rest.find(']').map(|at| at + 1)
        } else {
            rest.find([',', ':', '>'])
        };
        let (hop, behind) =
            end.and_then(|end| rest.split_at_checked(end)).ok_or(PathError::Route)?;
        AddressDomain::parse(hop).map_err(|_| PathError::Route)?;
        if text.len() - behind.len() > LONGEST_PATH {
            return Err(PathError::TooLong);
        }
        match behind.strip_prefix(':') {
            Some(address) => return Ok(address),
            None => rest = behind.strip_prefix(',').ok_or(PathError::Route)?,
        }
    }
}

impl From<Address> for ReversePath {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl TryFrom<String> for ReversePath {
    type Error = AddressError;

    /// Of what spools have: an address without brackets, or nothing.
    fn try_from(text: String) -> Result<Self, AddressError> {
        if text.is_empty() { Ok(Self::Null) } else { Address::parse(&text).map(Self::Address) }
    }
}

impl From<ReversePath> for String {
    fn from(path: ReversePath) -> Self {
        path.address().map(ToString::to_string).unwrap_or_default()
    }
}

/// As it goes on the wire, brackets included.
impl fmt::Display for ReversePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => out.write_str("<>"),
            Self::Address(address) => write!(out, "<{address}>"),
        }
    }
}

/// As it goes on the wire, brackets included.
impl fmt::Display for ForwardPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => out.write_str("<postmaster>"),
            Self::Address(address) => write!(out, "<{address}>"),
        }
    }
}

#[cfg(test)]
mod tests;
