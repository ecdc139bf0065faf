//! Names of what is ours: accounts and aliases, as they are looked up.

use std::fmt;
use std::str::FromStr;

use muralla_mail_envelope::{Address, Domain, LocalPart};
use serde::{Deserialize, Serialize};

use crate::DirectoryError;

/// The name of an account or an alias: an address in the one form in which ours are looked up. Its local part is in lower
/// case and Unicode's form C and has no quotes, even where the wire needs them; its domain is in A-labels.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

impl Name {
    /// Reads a name as people write it: an address, in quotes where the wire needs them or without.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Invalid`] if it is no address.
    pub fn parse(text: &str) -> Result<Self, DirectoryError> {
        let text = text.trim();
        let invalid = |why: &dyn fmt::Display| {
            let shown: String = text.chars().filter(|char| !char.is_control()).take(80).collect();
            DirectoryError::invalid(shown, why)
        };
        let address = match Address::parse(text) {
            Ok(address) => address,
            Err(error) => {
                let bare = text.rsplit_once('@').and_then(|(local, domain)| {
                    Some(Address::new(LocalPart::new(local).ok()?, Domain::parse(domain).ok()?))
                });
                bare.ok_or_else(|| invalid(&error))?
            }
        };
        Self::of(&address)
            .ok_or_else(|| invalid(&"a mailbox of ours is written as name@domain, and has no quotation mark in its name"))
    }

    /// The name under which an address is looked up; none if it has no domain, or no local part that could be ours.
    #[must_use]
    pub fn of(address: &Address) -> Option<Self> {
        Self::join(&address.local.folded(), address.domain()?.as_str())
    }

    /// Of a folded local part and a domain.
    pub(crate) fn join(local: &str, domain: &str) -> Option<Self> {
        // Nobody has such a name, and as text it could be taken for another one.
        if local.contains(['"', '\\']) || local.trim() != local {
            return None;
        }
        // Folding may have made it longer.
        LocalPart::new(local).ok()?;
        let mut name = String::with_capacity(local.len() + 1 + domain.len());
        name.push_str(local);
        name.push('@');
        name.push_str(domain);
        Some(Self(name.into()))
    }

    /// Takes a name as it is stored.
    pub(crate) fn stored(name: &str) -> Option<Self> {
        let (local, domain) = name.rsplit_once('@')?;
        Domain::parse(domain).ok()?;
        Self::join(local, domain)
    }

    /// Whether a name that is stored is one as they are looked up.
    pub(crate) fn is_folded(name: &str) -> bool {
        let folded = Self::stored(name).and_then(|stored| Self::of(&stored.to_address()?));
        folded.is_some_and(|folded| folded.as_str() == name)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its local part, without quotes.
    #[must_use]
    pub fn local(&self) -> &str {
        split(&self.0).0
    }

    /// Its domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        split(&self.0).1
    }

    /// The address that it is.
    #[must_use]
    pub fn to_address(&self) -> Option<Address> {
        address_of(&self.0)
    }
}

/// The local part and the domain of a name.
pub(crate) fn split(name: &str) -> (&str, &str) {
    // A local part may hold an at sign, a domain may not.
    name.rsplit_once('@').unwrap_or(("", name))
}

/// The address of a name.
pub(crate) fn address_of(name: &str) -> Option<Address> {
    let (local, domain) = split(name);
    Some(Address::new(LocalPart::new(local).ok()?, Domain::parse(domain).ok()?))
}

impl FromStr for Name {
    type Err = DirectoryError;

    fn from_str(text: &str) -> Result<Self, DirectoryError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Name {
    type Error = DirectoryError;

    fn try_from(text: String) -> Result<Self, DirectoryError> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.into()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_form_for_each_name() {
        for (text, name) in [
            ("Ann@Example.ORG", "ann@example.org"),
            ("\"ann\"@example.org", "ann@example.org"),
            ("\"Ann Lee\"@example.org", "ann lee@example.org"),
            ("ann lee@example.org", "ann lee@example.org"),
            ("\"a@b\"@example.org", "a@b@example.org"),
            ("a@b@example.org", "a@b@example.org"),
            ("JÜRGEN@bücher.example", "jürgen@xn--bcher-kva.example"),
            (" ann@example.org\n", "ann@example.org"),
        ] {
            let parsed = Name::parse(text).unwrap();
            assert_eq!(parsed.as_str(), name, "{text}");
            assert_eq!(Name::of(&parsed.to_address().unwrap()).unwrap(), parsed);
        }
        for text in [
            "",
            "ann",
            "@example.org",
            "ann@",
            "ann@[192.0.2.1]",
            "a\nb@example.org",
            "\"a\\\"b\"@example.org",
        ] {
            assert!(Name::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parts_are_found_where_the_local_part_has_an_at_sign() {
        let name = Name::parse("\"a@b\"@example.org").unwrap();
        assert_eq!((name.local(), name.domain()), ("a@b", "example.org"));
    }

    proptest! {
        #[test]
        fn a_name_is_the_name_of_its_address(text in "\\PC{1,20}@[a-z]{1,10}\\.example") {
            if let Ok(name) = Name::parse(&text) {
                let address = name.to_address().unwrap();
                prop_assert_eq!(Name::of(&address).unwrap(), name.clone());
                prop_assert_eq!(Name::parse(name.as_str()).unwrap(), name.clone());
                prop_assert_eq!(Name::parse(&address.to_string()).unwrap(), name);
            }
        }
    }
}
