//! What the cache knows an answer by.

use std::fmt;

use siphasher::sip::SipHasher13;

use crate::name::{self, MAX_LEN, Name, NameError};
use crate::query::Query;

const DNSSEC_OK: u8 = 1;
const CHECKING_DISABLED: u8 = 2;

/// Bytes behind the name: type, class, flags, view.
const TAIL: usize = 6;

/// Name in lower case, type, class, DO, CD and view: all that tells one answer from another. Lives on the stack.
#[derive(Clone, Copy)]
pub struct Key {
    bytes: [u8; MAX_LEN + TAIL],
    len: u16,
}

impl Key {
    /// The key of a query's answer, in view 0.
    pub fn of(query: &Query<'_>) -> Self {
        Self::assemble(query.question, query.dnssec_ok(), query.cd)
    }

    /// The key of a name in wire form, in view 0.
    pub fn new(
        name: &[u8],
        qtype: u16,
        qclass: u16,
        dnssec_ok: bool,
        checking_disabled: bool,
    ) -> Result<Self, NameError> {
        let name = Name::from_wire(name)?;
        let mut question = [0; MAX_LEN + 4];
        let mut out = crate::octets::Writer::new(&mut question);
        let written = out
            .put(name.as_wire())
            .and_then(|()| out.put_u16(qtype))
            .and_then(|()| out.put_u16(qclass))
            .map_or(0, |()| out.written());
        let question = question.get(..written).unwrap_or_default();
        Ok(Self::assemble(question, dnssec_ok, checking_disabled))
    }

    /// The same key in another view.
    #[must_use]
    pub fn in_view(mut self, view: u8) -> Self {
        let at = usize::from(self.len) - 1;
        if let Some(place) = self.bytes.get_mut(at) {
            *place = view;
        }
        self
    }

    /// `question` is a name of at most [`MAX_LEN`] bytes, a type and a class.
    fn assemble(question: &[u8], dnssec_ok: bool, checking_disabled: bool) -> Self {
        let flags = if dnssec_ok { DNSSEC_OK } else { 0 }
            | if checking_disabled { CHECKING_DISABLED } else { 0 };
        Self::with_flags(question, flags, 0)
    }

    /// The key of a stored answer.
    pub(crate) fn with_flags(question: &[u8], flags: u8, view: u8) -> Self {
        let mut bytes = [0; MAX_LEN + TAIL];
        let mut len = 0;
        if let Some(place) = bytes.get_mut(..question.len() + 2)
            && let Some((start, end)) = place.split_last_chunk_mut::<2>()
        {
            start.copy_from_slice(question);
            if let Some((name, _)) = start.split_last_chunk_mut::<4>() {
                name.make_ascii_lowercase();
            }
            *end = [flags, view];
            len = question.len() + 2;
        }
        Self { bytes, len: u16::try_from(len).unwrap_or_default() }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Name in lower case, type and class, as in a message.
    pub fn question(&self) -> &[u8] {
        self.as_bytes().split_last_chunk::<2>().map_or(&[], |(question, _)| question)
    }

    /// The name in wire form, in lower case.
    pub fn name(&self) -> &[u8] {
        self.question().split_last_chunk::<4>().map_or(&[0], |(name, _)| name)
    }

    /// Type asked for.
    pub fn qtype(&self) -> u16 {
        self.tail(0)
    }

    /// Class asked for.
    pub fn qclass(&self) -> u16 {
        self.tail(2)
    }

    fn tail(&self, at: usize) -> u16 {
        crate::octets::u16_at(self.question(), self.name().len() + at).unwrap_or_default()
    }

    /// Flags and view as they are stored.
    pub(crate) fn flags(&self) -> (u8, u8) {
        match self.as_bytes().last_chunk::<2>() {
            Some(&[flags, view]) => (flags, view),
            None => (0, 0),
        }
    }

    /// Whether the answer is for clients that want signatures.
    pub fn dnssec_ok(&self) -> bool {
        self.flags().0 & DNSSEC_OK != 0
    }

    /// Whether the answer is for clients that check signatures by themselves.
    pub fn checking_disabled(&self) -> bool {
        self.flags().0 & CHECKING_DISABLED != 0
    }

    /// The view it belongs to.
    pub fn view(&self) -> u8 {
        self.flags().1
    }

    /// Whether the name is `zone`, in wire form, or lies below it.
    pub fn is_within(&self, zone: &[u8]) -> bool {
        name::is_within(self.name(), zone)
    }

    /// The name itself, then each name above it, the root last, all in wire form.
    pub fn ancestry(&self) -> name::Ancestry<'_> {
        name::ancestry(self.name())
    }

    /// SipHash-1-3 over all of it: clients who do not know the secret seed can't choose names that collide.
    pub fn hash(&self, seed: [u64; 2]) -> u64 {
        let [key_0, key_1] = seed;
        SipHasher13::new_with_keys(key_0, key_1).hash(self.as_bytes())
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl fmt::Display for Key {
    /// As in `www.example.com. IN AAAA DO CD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name::write_presentation(self.name(), f)?;
        match self.qclass() {
            1 => f.write_str(" IN ")?,
            3 => f.write_str(" CH ")?,
            4 => f.write_str(" HS ")?,
            other => write!(f, " CLASS{other} ")?,
        }
        match MNEMONICS.iter().find(|(number, _)| *number == self.qtype()) {
            Some((_, mnemonic)) => f.write_str(mnemonic)?,
            // RFC 3597 section 5.
            None => write!(f, "TYPE{}", self.qtype())?,
        }
        if self.dnssec_ok() {
            f.write_str(" DO")?;
        }
        if self.checking_disabled() {
            f.write_str(" CD")?;
        }
        match self.view() {
            0 => Ok(()),
            view => write!(f, " view {view}"),
        }
    }
}

/// The types that people ask resolvers for.
const MNEMONICS: [(u16, &str); 28] = [
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (12, "PTR"),
    (13, "HINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (28, "AAAA"),
    (29, "LOC"),
    (33, "SRV"),
    (35, "NAPTR"),
    (37, "CERT"),
    (39, "DNAME"),
    (43, "DS"),
    (44, "SSHFP"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (61, "OPENPGPKEY"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (255, "ANY"),
    (257, "CAA"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, qtype: u16, dnssec_ok: bool, checking_disabled: bool) -> Key {
        let name: Name = name.parse().unwrap();
        Key::new(name.as_wire(), qtype, 1, dnssec_ok, checking_disabled).unwrap()
    }

    #[test]
    fn letter_case_does_not_matter_and_all_else_does() {
        let first = key("www.Example.COM", 1, false, false);
        assert_eq!(first, key("WWW.example.com", 1, false, false));
        let others = [
            key("www.example.org", 1, false, false),
            key("www.example.com", 28, false, false),
            // 'A' is 65: only the name may be lower-cased.
            key("www.example.com", 65, false, false),
            key("www.example.com", 97, false, false),
            key("www.example.com", 1, true, false),
            key("www.example.com", 1, false, true),
            first.in_view(1),
        ];
        let seed = [1, 2];
        for (at, other) in others.iter().enumerate() {
            assert_ne!(first, *other);
            assert_ne!(first.hash(seed), other.hash(seed));
            assert!(others.iter().skip(at + 1).all(|another| another != other));
        }
        assert_ne!(first.hash(seed), first.hash([1, 3]));
    }

    #[test]
    fn a_key_shows_its_parts() {
        let shown = key("a.b", 28, true, true).in_view(7);
        assert_eq!(shown.to_string(), "a.b. IN AAAA DO CD view 7");
        assert_eq!((shown.qtype(), shown.qclass(), shown.view()), (28, 1, 7));
        assert_eq!(key(".", 9999, false, false).to_string(), ". IN TYPE9999");
        assert!(shown.is_within(b"\x01b\0") && !shown.is_within(b"\x01a\0"));
        assert_eq!(shown.ancestry().count(), 3);
        assert!(Key::new(b"\x01a", 1, 1, false, false).is_err());
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "a".repeat(61));
        assert_eq!(key(&longest, 1, true, false).name().len(), MAX_LEN);
    }

    #[test]
    fn a_query_has_the_key_of_its_parts() {
        let packet = b"\0\0\x01\x10\0\x01\0\0\0\0\0\x01\x01A\x01b\0\0\x1c\0\x01\0\0\x29\x04\xd0\0\0\x80\0\0\0";
        let query = Query::parse(packet).unwrap();
        assert_eq!(Key::of(&query), key("a.b", 28, true, true));
    }
}
