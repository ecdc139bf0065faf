use proptest::prelude::*;

use super::*;
use crate::samples;
use crate::vendor::{CISCO, MICROSOFT};

/// A packet with these attribute bytes.
fn framed(attributes: &[u8]) -> Vec<u8> {
    let length = (HEADER + attributes.len()) as u16;
    [&[1, 7], &length.to_be_bytes()[..], &[9; 16], attributes].concat()
}

#[test]
fn what_is_read_of_an_access_request() {
    let bytes = samples::nemo();
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!((packet.code(), packet.id()), (Code::ACCESS_REQUEST, 0));
    assert_eq!(packet.authenticator()[..], samples::hex("0f403f9473978057bd83d5cb98f4227a"));
    assert_eq!(packet.bytes(), bytes);
    assert_eq!(packet.attribute_bytes(), &bytes[20..]);
    assert_eq!(packet.text(kind::USER_NAME), Some("nemo"));
    assert_eq!(packet.first(kind::USER_PASSWORD), Some(&bytes[28..44]));
    assert_eq!(packet.address(kind::NAS_IP_ADDRESS), Some(Ipv4Addr::new(192, 168, 1, 16)));
    assert_eq!(packet.number(kind::NAS_PORT), Some(3));
    assert_eq!(packet.first(kind::STATE), None);
    assert!(packet.has(kind::NAS_PORT) && !packet.has(kind::STATE));
    let read: Vec<_> = packet.attributes().map(|one| (one.kind, one.value.len(), one.at)).collect();
    assert_eq!(read, [(1, 4, 20), (2, 16, 26), (4, 4, 44), (5, 4, 50)]);
    assert_eq!(
        format!("{packet:?}"),
        "Packet { code: Code(1), id: 0, length: 56, .. }",
        "no values"
    );
}

#[test]
fn values_of_another_form_are_not_there() {
    let bytes = framed(&[1, 4, 0xff, 0xfe, 5, 5, 1, 2, 3, 5, 6, 0, 0, 0, 1, 18, 2]);
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.text(kind::USER_NAME), None);
    // The first counts, malformed or not.
    assert_eq!(packet.number(kind::NAS_PORT), None);
    assert_eq!(packet.all(kind::NAS_PORT).map(<[u8]>::len).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(packet.text(kind::REPLY_MESSAGE), Some(""));
    let bytes = framed(&[&[95, 18][..], &[0; 15], &[1]].concat());
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.address6(kind::NAS_IPV6_ADDRESS), Some(Ipv6Addr::LOCALHOST));
}

#[test]
fn datagrams_that_are_no_packets() {
    let whole = samples::nemo();
    let with_length = |length: u16| {
        let mut bytes = whole.clone();
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes
    };
    let long = |length: u16| {
        let mut bytes = with_length(length);
        bytes.resize(usize::from(length), 0);
        bytes
    };
    let cases = [
        (vec![], Malformed::Short),
        (whole[..19].to_vec(), Malformed::Short),
        (with_length(0), Malformed::LengthTooSmall),
        (with_length(19), Malformed::LengthTooSmall),
        (long(4_097), Malformed::LengthTooBig),
        (with_length(u16::MAX), Malformed::LengthTooBig),
        (with_length(57), Malformed::Truncated),
        (with_length(4_096), Malformed::Truncated),
        (with_length(55), Malformed::AttributeTorn),
        (with_length(51), Malformed::AttributeTorn),
        (framed(&[1]), Malformed::AttributeTorn),
        (framed(&[1, 3]), Malformed::AttributeTorn),
        (framed(&[1, 255, 0]), Malformed::AttributeTorn),
        (framed(&[1, 0]), Malformed::AttributeTooShort),
        (framed(&[1, 2, 1, 1]), Malformed::AttributeTooShort),
        (framed(&[1, 2].repeat(256)), Malformed::TooManyAttributes),
        (framed(&[&[1, 2].repeat(255)[..], &[1]].concat()), Malformed::AttributeTorn),
    ];
    for (bytes, expected) in cases {
        assert_eq!(Packet::parse(&bytes).err(), Some(expected), "{bytes:?}");
    }
}

#[test]
fn limits_are_taken_in_full() {
    let bytes = framed(&[1, 2].repeat(MOST_ATTRIBUTES));
    assert_eq!(Packet::parse(&bytes).unwrap().attributes().count(), MOST_ATTRIBUTES);
    let values: Vec<u8> = (0..16)
        .flat_map(|_| [&[18, 254][..], &[7; 252]].concat())
        .chain([18, 12].into_iter().chain([7; 10]))
        .collect();
    let bytes = framed(&values);
    assert_eq!(bytes.len(), LONGEST);
    assert_eq!(Packet::parse(&bytes).unwrap().all(18).count(), 17);
}

#[test]
fn what_follows_length_is_padding() {
    for bytes in [samples::nemo(), samples::request(Code::ACCOUNTING_REQUEST)] {
        let padded = [&bytes[..], &[0xff; 33]].concat();
        let (packet, padded) = (Packet::parse(&bytes).unwrap(), Packet::parse(&padded).unwrap());
        assert_eq!(padded.bytes(), packet.bytes());
        assert!(padded.attributes().eq(packet.attributes()));
    }
}

/// A packet that lost its end never becomes another one.
#[test]
fn truncation_at_every_byte() {
    let [challenge, ..] = samples::mopsy();
    let samples = samples::requests().into_iter().chain([samples::nemo(), challenge]);
    for bytes in samples {
        for length in 0..bytes.len() {
            let expected = if length < HEADER { Malformed::Short } else { Malformed::Truncated };
            assert_eq!(Packet::parse(&bytes[..length]).err(), Some(expected));

            // The same with a Length to match: read up to an attribute's end, or refused.
            if length >= HEADER {
                let mut short = bytes[..length].to_vec();
                short[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                let ends = Packet::parse(&bytes)
                    .unwrap()
                    .attributes()
                    .any(|one| one.at + 2 + one.value.len() == length);
                let read = Packet::parse(&short);
                assert_eq!(read.is_ok(), ends || length == HEADER, "{length} of {bytes:?}");
            }
        }
    }
}

#[test]
fn attributes_of_vendors() {
    let bytes = framed(
        &[
            // Two in one, as Microsoft does it.
            &[26, 18, 0, 0, 1, 55, 16, 4, 1, 2, 17, 8, 1, 2, 3, 4, 5, 6][..],
            &[26, 9, 0, 0, 0, 9, 1, 3, b'x'],
            // Too short for a vendor, without anything of the vendor's, and one that does not add up.
            &[26, 5, 0, 0, 1],
            &[26, 6, 0, 0, 1, 55],
            &[26, 12, 0, 0, 1, 55, 18, 3, 1, 19, 4, 1],
            &[26, 9, 0, 0, 0, 9, 1, 3, b'y'],
        ]
        .concat(),
    );
    let packet = Packet::parse(&bytes).unwrap();
    let read: Vec<_> =
        packet.vendor_attributes().map(|one| (one.vendor, one.kind, one.value)).collect();
    assert_eq!(
        read,
        [
            (MICROSOFT, 16, &[1, 2][..]),
            (MICROSOFT, 17, &[1, 2, 3, 4, 5, 6]),
            (CISCO, 1, b"x"),
            (MICROSOFT, 18, &[1]),
            (CISCO, 1, b"y"),
        ]
    );
    assert_eq!(packet.vendor(MICROSOFT, 17), Some(&[1, 2, 3, 4, 5, 6][..]));
    assert_eq!(packet.vendor(CISCO, 1), Some(&b"x"[..]));
    assert_eq!(packet.vendor(CISCO, 17), None);
    assert_eq!(packet.vendor(MICROSOFT, 19), None);
    assert_eq!(packet.extended().count(), 0);
}

#[test]
fn extended_attributes_of_a_packet() {
    let bytes = framed(&[241, 4, 1, 9, 1, 3, b'x', 245, 6, 1, 0, 7, 8]);
    let packet = Packet::parse(&bytes).unwrap();
    let read: Vec<_> =
        packet.extended().map(|one| (one.kind, one.number, one.value.whole())).collect();
    assert_eq!(read, [(241, 1, Some(&[9][..])), (245, 1, Some(&[7, 8]))]);
}

#[test]
fn reasons_are_names_of_counters() {
    let reasons: std::collections::HashSet<_> = Malformed::ALL.map(Malformed::reason).into();
    assert_eq!(reasons.len(), Malformed::ALL.len());
    for reason in reasons {
        assert!(reason.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_'));
    }
}

proptest! {
    /// Whatever is read adds up to the whole.
    #[test]
    fn attributes_lie_end_to_end(
        values in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..30),
        padding in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let attributes: Vec<u8> = values
            .iter()
            .flat_map(|(kind, value)| [&[*kind, 2 + value.len() as u8], &value[..]].concat())
            .collect();
        let bytes = [framed(&attributes), padding].concat();
        let packet = Packet::parse(&bytes).unwrap();
        let read: Vec<_> =
            packet.attributes().map(|one| (one.kind, one.value.to_vec())).collect();
        prop_assert_eq!(&read, &values);
        for kind in 0..=u8::MAX {
            let all: Vec<_> = packet.all(kind).collect();
            let expected: Vec<_> =
                values.iter().filter(|one| one.0 == kind).map(|one| &one.1[..]).collect();
            prop_assert_eq!(packet.has(kind), !expected.is_empty());
            prop_assert_eq!(packet.first(kind), expected.first().copied());
            prop_assert_eq!(all, expected);
        }
        let mut walk = Attributes::of(&attributes);
        prop_assert_eq!(walk.by_ref().count(), values.len());
        prop_assert!(walk.rest().is_empty());
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..100), length in 0_u16..120) {
        let mut bytes = bytes;
        if let Some(at) = bytes.get_mut(2..4) {
            at.copy_from_slice(&length.to_be_bytes());
        }
        if let Ok(packet) = Packet::parse(&bytes) {
            prop_assert_eq!(packet.bytes().len(), usize::from(length));
            packet.vendor_attributes().for_each(drop);
            prop_assert!(packet.extended().all(|one| !one.value.is_empty()));
        }
    }
}
