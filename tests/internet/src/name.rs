//! Names in canonical form: lower case, uncompressed (RFC 4034 section 6.2), and in canonical order (section 6.1).

use std::cmp::Ordering;
use std::fmt::{self, Write as _};

use anyhow::{Context as _, Result, ensure};

/// A name in lower-case wire form, with its root label.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct DomainName(Box<[u8]>);

/// Longest name in octets (RFC 1035 section 3.1).
const MAX_NAME: usize = 255;
/// Longest label in octets.
const MAX_LABEL: usize = 63;

impl DomainName {
    /// The root.
    pub fn root() -> Self {
        Self(Box::new([0]))
    }

    /// An absolute name as people write it; the last dot may be left out.
    pub fn absolute(text: &str) -> Result<Self> {
        Self::relative(text.strip_suffix('.').unwrap_or(text), &Self::root())
            .with_context(|| format!("name {text:?}"))
    }

    /// A name as in a zone file: `@` is the origin, and what does not end in a dot is below it.
    pub fn parse(text: &str, origin: &Self) -> Result<Self> {
        match text {
            "@" => Ok(origin.clone()),
            _ if text.ends_with('.') => Self::absolute(text),
            _ => Self::relative(text, origin).with_context(|| format!("name {text:?}")),
        }
    }

    fn relative(text: &str, origin: &Self) -> Result<Self> {
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in text.split('.').filter(|_| !text.is_empty()) {
            let octets = unescape(label)?;
            ensure!(!octets.is_empty() && octets.len() <= MAX_LABEL, "label of a wrong length");
            wire.push(octets.len() as u8);
            wire.extend(octets.iter().map(u8::to_ascii_lowercase));
        }
        wire.extend_from_slice(&origin.0);
        ensure!(wire.len() <= MAX_NAME, "too long");
        Ok(Self(wire.into()))
    }

    /// The uncompressed name at the start of `wire` and its length there.
    pub fn from_wire(wire: &[u8]) -> Option<(Self, usize)> {
        let mut at = 0;
        loop {
            let length = usize::from(*wire.get(at)?);
            at += 1 + length;
            if length == 0 {
                let octets = wire.get(..at)?;
                return (at <= MAX_NAME).then(|| (Self(octets.to_ascii_lowercase().into()), at));
            }
            if length > MAX_LABEL || at > MAX_NAME {
                return None;
            }
        }
    }

    /// The wire form.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels from the left, without the root's.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (&length, after) = rest.split_first()?;
            let (label, next) = after.split_at_checked(usize::from(length))?;
            rest = next;
            (length > 0).then_some(label)
        })
    }

    /// How many labels, the root's not counted.
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Whether the first label is an asterisk.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(b"\x01*")
    }

    /// The name without its first label; the root has none.
    pub fn parent(&self) -> Option<Self> {
        let first = usize::from(*self.0.first()?);
        (first > 0).then(|| Self(self.0.get(first + 1..).unwrap_or(&[0]).into()))
    }

    /// This name and all above it up to the root, deepest first.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self.clone()), Self::parent)
    }

    /// The last `count` labels.
    pub fn suffix(&self, count: usize) -> Self {
        let mut name = self.clone();
        for _ in count..self.label_count() {
            name = name.parent().unwrap_or_else(Self::root);
        }
        name
    }

    /// Whether this is `other` or below it.
    pub fn is_within(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.label_count(), other.label_count());
        mine >= theirs && self.0.ends_with(&other.0) && self.suffix(theirs) == *other
    }

    /// The name with one more label before it, unless that is too long.
    pub fn child(&self, label: &[u8]) -> Option<Self> {
        let fits = !label.is_empty() && label.len() <= MAX_LABEL;
        let mut wire = Vec::with_capacity(label.len() + 1 + self.0.len());
        wire.push(label.len() as u8);
        wire.extend(label.iter().map(u8::to_ascii_lowercase));
        wire.extend_from_slice(&self.0);
        (fits && wire.len() <= MAX_NAME).then(|| Self(wire.into()))
    }

    /// Octets that compare as the names do in canonical order.
    pub(crate) fn sort_key(&self) -> Vec<u8> {
        let labels: Vec<&[u8]> = self.labels().collect();
        let mut key = Vec::with_capacity(self.0.len());
        for label in labels.into_iter().rev() {
            for &octet in label {
                // 0 ends a label, so that 0 and 1 in one need a mark before them.
                if octet <= 1 {
                    key.push(1);
                }
                key.push(octet.max(1).wrapping_add(u8::from(octet == 1)));
            }
            key.push(0);
        }
        key
    }
}

impl Ord for DomainName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sort_key().cmp(&other.sort_key())
    }
}

impl PartialOrd for DomainName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_char('.');
        }
        for label in self.labels() {
            for &octet in label {
                match octet {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(octet))?,
                    b'!'..=b'~' => f.write_char(octet.into())?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_char('.')?;
        }
        Ok(())
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A label's octets; only `\DDD` is known as an escape.
fn unescape(label: &str) -> Result<Vec<u8>> {
    let mut octets = Vec::with_capacity(label.len());
    let mut rest = label.as_bytes();
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        if octet != b'\\' {
            octets.push(octet);
            continue;
        }
        let (digits, after) = rest.split_at_checked(3).context("escape without three digits")?;
        octets.push(std::str::from_utf8(digits)?.parse().context("escape that is no octet")?);
        rest = after;
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DomainName {
        DomainName::absolute(text).unwrap()
    }

    #[test]
    fn canonical_order_is_that_of_rfc_4034() {
        // Section 6.1 of the RFC.
        let sorted = [
            "example",
            "a.example",
            "yljkjljk.a.example",
            "Z.a.example",
            "zABC.a.EXAMPLE",
            "z.example",
            "\\001.z.example",
            "*.z.example",
            "\\200.z.example",
        ];
        for pair in sorted.windows(2) {
            assert!(name(pair[0]) < name(pair[1]), "{pair:?}");
        }
        assert!(name("\\000.z.example") < name("\\001.z.example"));
        assert!(name("a\\000.example") > name("a.example"));
    }

    #[test]
    fn within_counts_labels_and_not_letters() {
        assert!(name("www.example.test").is_within(&name("example.test")));
        assert!(name("example.test").is_within(&name("example.test")));
        assert!(!name("badexample.test").is_within(&name("example.test")));
        assert!(name("x").is_within(&DomainName::root()));
    }

    #[test]
    fn wire_form_is_read_with_limits() {
        assert_eq!(DomainName::from_wire(b"\x03WwW\x00rest").unwrap(), (name("www"), 5));
        for bad in [&b""[..], b"\x03ww", b"\xc0\x0c", b"\x40"] {
            assert!(DomainName::from_wire(bad).is_none(), "{bad:?}");
        }
        assert!(DomainName::from_wire(&[1; 300]).is_none());
    }
}
