//! The texts of a session, in one allocation.

use std::net::Ipv6Addr;

use crate::record::{Prefix6, Record};

/// What a text is.
pub(crate) const USER: u8 = 1;
/// Acct-Session-Id.
pub(crate) const SESSION: u8 = 2;
/// The subscriber, if it is not called as the user is.
pub(crate) const SUBSCRIBER: u8 = 3;
/// Calling-Station-Id.
pub(crate) const CALLING: u8 = 4;
/// NAS-Port-Id.
pub(crate) const PORT_ID: u8 = 5;
/// Framed-IPv6-Prefix: 16 octets and the length.
pub(crate) const PREFIX: u8 = 6;
/// Framed-IPv6-Address.
pub(crate) const ADDRESS6: u8 = 7;
/// Delegated-IPv6-Prefix, as the other prefix.
pub(crate) const DELEGATED: u8 = 8;

const KINDS: [u8; 8] = [USER, SESSION, SUBSCRIBER, CALLING, PORT_ID, PREFIX, ADDRESS6, DELEGATED];

/// Texts one after the other: kind, length, and as many bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Text(Box<[u8]>);

impl Text {
    /// What a record says.
    pub(crate) fn of(record: &Record<'_>) -> Self {
        Self::gather(|kind| Part::of(record, kind))
    }

    /// With what a record of the same session adds; none if nothing. A newer record's texts are
    /// better than those there are, an older one's only fill gaps. What the session is known by
    /// never changes.
    pub(crate) fn with(&self, record: &Record<'_>, newer: bool) -> Option<Self> {
        let line = record.session.is_empty();
        let learnt = |kind: u8| {
            let fixed = matches!(kind, USER | SESSION) || line && matches!(kind, CALLING | PORT_ID);
            let part = Part::of(record, kind).filter(|_| !fixed)?;
            let known = self.part(kind);
            (known != Some(part.bytes()) && (newer || known.is_none())).then_some(part)
        };
        KINDS
            .into_iter()
            .any(|kind| learnt(kind).is_some())
            .then(|| Self::gather(|kind| learnt(kind).or_else(|| self.part(kind).map(Part::Lent))))
    }

    /// From what was saved; none if it is damaged.
    pub(crate) fn restore(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        while let Some((&[kind, length], after)) = rest.split_first_chunk() {
            KINDS.contains(&kind).then_some(())?;
            let (value, after) = after.split_at_checked(usize::from(length))?;
            let fits = match kind {
                PREFIX | DELEGATED => prefix(value).is_some(),
                ADDRESS6 => value.len() == 16,
                SUBSCRIBER => std::str::from_utf8(value).is_ok(),
                _ => true,
            };
            fits.then_some(())?;
            rest = after;
        }
        rest.is_empty().then(|| Self(bytes.into()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn user(&self) -> &[u8] {
        self.part(USER).unwrap_or_default()
    }

    pub(crate) fn session(&self) -> &[u8] {
        self.part(SESSION).unwrap_or_default()
    }

    /// The name by which sessions are counted.
    pub(crate) fn subject(&self) -> &[u8] {
        self.part(SUBSCRIBER).unwrap_or_else(|| self.user())
    }

    pub(crate) fn prefix(&self, kind: u8) -> Option<Prefix6> {
        prefix(self.part(kind)?)
    }

    pub(crate) fn address6(&self) -> Option<Ipv6Addr> {
        Some(Ipv6Addr::from(<[u8; 16]>::try_from(self.part(ADDRESS6)?).ok()?))
    }

    pub(crate) fn part(&self, wanted: u8) -> Option<&[u8]> {
        let mut rest = &*self.0;
        while let Some((&[kind, length], after)) = rest.split_first_chunk() {
            let (value, after) = after.split_at_checked(usize::from(length))?;
            if kind == wanted {
                return Some(value);
            }
            rest = after;
        }
        None
    }

    fn gather<'a>(part: impl Fn(u8) -> Option<Part<'a>>) -> Self {
        let mut bytes = Vec::new();
        for kind in KINDS {
            if let Some(part) = part(kind) {
                // Nothing in a packet is longer than 253 bytes, nor is a name in the journal.
                let value = part.bytes();
                let value = value.get(..253).unwrap_or(value);
                bytes.push(kind);
                bytes.push(value.len() as u8);
                bytes.extend(value);
            }
        }
        Self(bytes.into())
    }
}

/// One text.
enum Part<'a> {
    Lent(&'a [u8]),
    Prefix([u8; 17]),
    Address([u8; 16]),
}

impl<'a> Part<'a> {
    fn of(record: &Record<'a>, kind: u8) -> Option<Self> {
        match kind {
            USER => Some(Self::Lent(record.user)),
            SESSION => Some(Self::Lent(record.session)).filter(|_| !record.session.is_empty()),
            SUBSCRIBER => {
                let name = record.subscriber.map(str::as_bytes);
                // A name cut in two may not be text any more: it is left out, none is so long.
                name.filter(|&name| name != record.user && name.len() <= 253).map(Self::Lent)
            }
            CALLING => record.calling.map(Self::Lent),
            PORT_ID => record.nas_port_id.map(Self::Lent),
            PREFIX => record.framed_prefix.map(Self::of_prefix),
            ADDRESS6 => record.framed_address6.map(|address| Self::Address(address.octets())),
            DELEGATED => record.delegated_prefix.map(Self::of_prefix),
            _ => None,
        }
    }

    fn of_prefix(prefix: Prefix6) -> Self {
        let mut bytes = [prefix.length(); 17];
        for (place, octet) in bytes.iter_mut().zip(prefix.address().octets()) {
            *place = octet;
        }
        Self::Prefix(bytes)
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Prefix(bytes) => bytes,
            Self::Address(bytes) => bytes,
        }
    }
}

fn prefix(bytes: &[u8]) -> Option<Prefix6> {
    let (length, address) = bytes.split_last()?;
    Prefix6::new(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?), *length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Status;
    use crate::samples::Sample;

    #[test]
    fn what_is_learnt_later_is_added_and_identity_stays() {
        let start = Sample::new(Status::Start);
        let text = Text::of(&start.record());
        assert_eq!((text.user(), text.session()), (&b"ana"[..], &b"00000001"[..]));
        assert_eq!(text.subject(), b"ana");
        assert_eq!(text.with(&start.record(), true), None);

        let later = Sample::new(Status::Interim).calling("one").prefix("2001:db8:1::/64");
        let record = later.record().with_subscriber(Some("ana@example.net"));
        let learnt = text.with(&record, false).unwrap();
        assert_eq!(learnt.part(CALLING), Some(&b"one"[..]));
        assert_eq!(learnt.prefix(PREFIX).unwrap().to_string(), "2001:db8:1::/64");
        assert_eq!(learnt.subject(), b"ana@example.net");
        assert_eq!(Text::restore(learnt.bytes()), Some(learnt.clone()));

        let other = Sample::new(Status::Interim).calling("two");
        assert_eq!(learnt.with(&other.record(), false), None, "an older one changes nothing");
        assert_eq!(learnt.with(&other.record(), true).unwrap().part(CALLING), Some(&b"two"[..]));
    }

    #[test]
    fn a_line_that_names_a_session_stays() {
        let start = Sample::new(Status::Start).session("").calling("one");
        let text = Text::of(&start.record());
        let later = Sample::new(Status::Interim).session("").calling("one").port_id("ge-1");
        assert_eq!(text.with(&later.record(), true), None);
    }

    #[test]
    fn damage_is_not_restored() {
        for bytes in
            [&[1][..], &[1, 2, 3], &[0, 0], &[99, 0], &[PREFIX, 1, 0], &[SUBSCRIBER, 1, 255]]
        {
            assert_eq!(Text::restore(bytes), None, "{bytes:?}");
        }
        assert!(Text::restore(&[]).is_some());
    }
}
