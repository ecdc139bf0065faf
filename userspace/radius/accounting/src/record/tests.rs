use muralla_radius_wire::Packet;
use proptest::prelude::*;

use super::*;
use crate::samples::{Sample, T0};

/// An Accounting-Request around attributes; its authenticator is of no interest here.
fn packet(code: u8, attributes: &[u8]) -> Vec<u8> {
    let mut packet = vec![code, 7];
    packet.extend((attributes.len() as u16 + 20).to_be_bytes());
    packet.extend([0; 16]);
    packet.extend(attributes);
    packet
}

fn source() -> SocketAddr {
    "192.0.2.7:1646".parse().unwrap()
}

#[test]
fn a_packet_is_read() {
    let sample = Sample::new(Status::Interim)
        .at(T0)
        .seconds(600)
        .octets(0x2_0000_0005, 9)
        .number(kind::ACCT_INPUT_PACKETS, 3)
        .number(kind::ACCT_OUTPUT_PACKETS, 4)
        .port(17)
        .port_id("ge-0/0/1")
        .address([198, 51, 100, 9])
        .prefix("2001:db8::ffff/64")
        .with(kind::CLASS, b"one")
        .with(kind::CLASS, b"two")
        .calling("00:00:5e:00:53:01")
        .stamp(T0 - 1)
        .delay(1);
    let bytes = packet(4, sample.attributes());
    let nas = NasName::new("pop-1").unwrap();
    let record = Record::of(&Packet::parse(&bytes).unwrap(), &nas, source(), 5).unwrap();
    assert_eq!(record.status, Status::Interim);
    assert_eq!((record.nas, record.session, record.user), ("pop-1", &b"00000001"[..], &b"ana"[..]));
    assert_eq!(record.nas_identifier, Some(&b"lns-1"[..]));
    assert_eq!(record.nas_address, Some([192, 0, 2, 7].into()));
    assert_eq!((record.nas_port, record.nas_port_id), (Some(17), Some(&b"ge-0/0/1"[..])));
    assert_eq!(record.octets_in, Octets { low: Some(5), gigawords: Some(2) });
    assert_eq!(record.octets_in.total(), Some(0x2_0000_0005));
    assert_eq!((record.packets_in, record.packets_out), (Some(3), Some(4)));
    assert_eq!(record.session_seconds, Some(600));
    assert_eq!(record.framed_address, Some([198, 51, 100, 9].into()));
    assert_eq!(record.framed_prefix.unwrap().to_string(), "2001:db8::/64");
    assert_eq!(record.class, Some(&b"one"[..]));
    assert_eq!((record.event_timestamp, record.delay), (Some(T0 - 1), Some(1)));
    assert!(record.doubts.is_empty());
    assert_eq!(record.attributes, sample.attributes());
    assert_eq!(record.to_owned().record(), record);
}

#[test]
fn what_is_unusable_says_why() {
    let nas = NasName::new("pop-1").unwrap();
    let of = |code, attributes: &[u8]| {
        let bytes = packet(code, attributes);
        Record::of(&Packet::parse(&bytes).unwrap(), &nas, source(), 0).map(|record| record.status)
    };
    let start = [kind::ACCT_STATUS_TYPE, 6, 0, 0, 0, 1];
    let on = [kind::ACCT_STATUS_TYPE, 6, 0, 0, 0, 7];
    let session = [kind::ACCT_SESSION_ID, 3, b'1'];
    let empty = [kind::ACCT_SESSION_ID, 2];
    let port = [kind::NAS_PORT, 6, 0, 0, 0, 1];
    for (code, attributes, expected) in [
        (4, [&start[..], &session].concat(), Ok(Status::Start)),
        (4, [&start[..], &empty, &port].concat(), Ok(Status::Start)),
        (4, on.to_vec(), Ok(Status::On)),
        (1, [&start[..], &session].concat(), Err(Unusable::NotAccounting)),
        (4, session.to_vec(), Err(Unusable::NoStatus)),
        (4, [&[kind::ACCT_STATUS_TYPE, 4, 0, 1][..], &session].concat(), Err(Unusable::NoStatus)),
        (4, start.to_vec(), Err(Unusable::NoSession)),
        (4, [&start[..], &empty].concat(), Err(Unusable::NoSession)),
    ] {
        assert_eq!(of(code, &attributes), expected, "{attributes:?}");
    }
    let torn = Record::of_attributes(&[kind::USER_NAME, 9, 0], "pop-1", source(), 0);
    assert_eq!(torn.unwrap_err(), Unusable::Attributes);
    assert_eq!(Record::of_attributes(&on, "", source(), 0).unwrap_err(), Unusable::Nas);
    let mut reasons: Vec<_> = Unusable::ALL.map(Unusable::reason).to_vec();
    reasons.dedup();
    assert_eq!(reasons.len(), Unusable::ALL.len());
}

#[test]
fn what_does_not_fit_is_left_out_with_a_doubt() {
    let odd = Sample::new(Status::Stop)
        .with(kind::ACCT_INPUT_OCTETS, &[0; 8])
        .with(kind::FRAMED_IPV6_PREFIX, &[0, 129])
        .with(kind::EVENT_TIMESTAMP, &[0; 4])
        .address([255, 255, 255, 254]);
    let record = odd.record();
    assert_eq!(record.octets_in.total(), None);
    assert_eq!((record.framed_prefix, record.framed_address), (None, None));
    assert_eq!(record.event_timestamp, None);
    assert!(record.doubts.has(Doubts::LENGTHS));
    // A second appearance does not undo the first.
    let twice = Sample::new(Status::Stop).seconds(5).seconds(6);
    assert_eq!(twice.record().session_seconds, Some(5));
}

#[test]
fn the_time_of_an_event_is_the_same_for_each_attempt() {
    let (clock, delay, none) = (Doubts::CLOCK, Doubts::DELAY, Doubts::default());
    for (what, sample, at, exact, doubts) in [
        ("nothing told", Sample::new(Status::Stop), T0, false, none),
        ("first attempt", Sample::new(Status::Stop).delay(0), T0, true, none),
        ("third attempt", Sample::new(Status::Stop).at(T0 + 9).delay(9), T0, true, none),
        ("stamped", Sample::new(Status::Stop).at(T0 + 9).stamp(T0), T0, true, none),
        (
            "stamped and delayed",
            Sample::new(Status::Stop).at(T0 + 500).stamp(T0).delay(499),
            T0,
            true,
            none,
        ),
        ("a clock an hour ahead", Sample::new(Status::Stop).stamp(T0 + 3_600), T0, false, clock),
        ("a clock of 1970", Sample::new(Status::Stop).stamp(35).delay(2), T0 - 2, true, clock),
        (
            "milliseconds",
            Sample::new(Status::Stop).at(T0 + 4).stamp(T0).delay(4_000),
            T0,
            true,
            delay,
        ),
        ("rubbish", Sample::new(Status::Stop).delay(u32::MAX), T0, false, delay),
        (
            "rubbish, stamped",
            Sample::new(Status::Stop).delay(u32::MAX).stamp(T0 - 5),
            T0 - 5,
            true,
            delay,
        ),
    ] {
        assert_eq!(sample.record().event(120), Event { at, exact, doubts }, "{what}");
    }
}

#[test]
fn an_event_has_one_name() {
    let stop = Sample::new(Status::Stop).seconds(60).stamp(T0);
    let name = stop.record().event_id();
    let again = stop.clone().at(T0 + 30).delay(30).with(kind::PROXY_STATE, b"7");
    assert_eq!(again.record().event_id(), name);
    assert_ne!(Sample::new(Status::Stop).seconds(61).stamp(T0).record().event_id(), name);
    assert_ne!(stop.nas("pop-2").record().event_id(), name);
}

#[test]
fn prefixes_are_cut_to_their_length() {
    let address = "2001:db8:1:2:3::".parse().unwrap();
    for (length, text) in [
        (0, "::/0"),
        (32, "2001:db8::/32"),
        (63, "2001:db8:1:2::/63"),
        (128, "2001:db8:1:2:3::/128"),
    ] {
        let prefix = Prefix6::new(address, length).unwrap();
        assert_eq!(prefix.to_string(), text);
        assert!(prefix.contains(address));
    }
    assert_eq!(Prefix6::new(address, 129), None);
    assert!(!Prefix6::new(address, 64).unwrap().contains("2001:db8:1:3::".parse().unwrap()));
}

#[test]
fn names_of_nases_are_text() {
    for (name, good) in
        [("pop-1", true), ("Ñandú", true), ("", false), ("a\nb", false), (&"x".repeat(254), false)]
    {
        assert_eq!(NasName::new(name).is_ok(), good, "{name:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(attributes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(record) = Record::of_attributes(&attributes, "pop-1", source(), 1) {
            let owned = record.to_owned();
            prop_assert_eq!(owned.record(), record);
            let event = record.event(120);
            prop_assert!(u64::from(event.at) <= record.received / NANOS + 120);
        }
    }
}
