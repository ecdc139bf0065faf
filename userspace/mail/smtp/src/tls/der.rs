//! As much of DER as certificates need beside what webpki tells of them: RFC 5280 section 4.1. Not worth a parser of X.509.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

/// Parts of a certificate: of any version, and signed by whomever.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Certificate<'a> {
    /// Content of `issuer`.
    pub(super) issuer: &'a [u8],
    /// Content of `validity`.
    pub(super) validity: &'a [u8],
    /// Content of `subject`.
    pub(super) subject: &'a [u8],
    /// `subjectPublicKeyInfo`, whole.
    pub(super) key: &'a [u8],
}

/// Reads a certificate.
pub(super) fn certificate(der: &[u8]) -> Option<Certificate<'_>> {
    let (signed, _) = take(der, SEQUENCE)?;
    let (mut rest, _) = take(signed, SEQUENCE)?;
    // The version has a default, and so may be missing.
    if let Some((_, behind)) = take(rest, VERSION) {
        rest = behind;
    }
    let (_serial, rest) = take(rest, INTEGER)?;
    let (_algorithm, rest) = take(rest, SEQUENCE)?;
    let (issuer, rest) = take(rest, SEQUENCE)?;
    let (validity, rest) = take(rest, SEQUENCE)?;
    let (subject, rest) = take(rest, SEQUENCE)?;
    let (key, _) = whole(rest, SEQUENCE)?;
    Some(Certificate { issuer, validity, subject, key })
}

/// Content of an element, and what is behind it.
pub(super) fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == tag).then_some((content, rest))
}

/// An element with its tag and length, and what is behind it.
fn whole(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (_, rest) = take(der, tag)?;
    der.split_at_checked(der.len().checked_sub(rest.len())?)
}

/// Tag and content of an element, and what is behind it.
pub(super) fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, length, rest @ ..] = der else { return None };
    let octets = usize::from(*length);
    let (content, rest) = if octets < 0x80 {
        rest.split_at_checked(octets)?
    } else {
        let (bytes, rest) = rest.split_at_checked(octets & 0x7f).filter(|(it, _)| it.len() <= 4)?;
        let length = bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        rest.split_at_checked(length)?
    };
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements() {
        for (der, expected) in [
            (&[0x30, 2, 1, 2, 3][..], Some((0x30, &[1, 2][..], &[3][..]))),
            (&[0x02, 0], Some((2, &[], &[]))),
            (&[0x04, 0x81, 1, 7], Some((4, &[7], &[]))),
            (&[0x04, 0x82, 0, 1, 7, 8], Some((4, &[7], &[8]))),
            (&[0x04, 0x80, 7], Some((4, &[], &[7]))),
            (&[0x30], None),
            (&[0x30, 1], None),
            (&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], None),
            (&[0x30, 0x85, 0, 0, 0, 0, 0], None),
        ] {
            assert_eq!(element(der), expected, "{der:?}");
        }
        assert_eq!(take(&[2, 0], SEQUENCE), None);
        assert_eq!(whole(&[2, 1, 7, 8], INTEGER), Some((&[2, 1, 7][..], &[8][..])));
    }

    proptest! {
        #[test]
        fn any_octets_are_read_without_harm(der in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = certificate(&der);
            if let Some((_, content, rest)) = element(&der) {
                prop_assert!(content.len() + rest.len() + 2 <= der.len());
            }
        }
    }
}
