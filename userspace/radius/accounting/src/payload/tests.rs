use muralla_radius_wire::kind;
use proptest::prelude::*;

use super::*;
use crate::record::Status;
use crate::samples::{Sample, T0};

fn encoded(record: &Record<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    encode(record, &mut payload);
    payload
}

fn full() -> Sample {
    Sample::new(Status::Stop).at(T0).seconds(60).octets(5 << 33, 6).calling("x").delay(2)
}

#[test]
fn a_record_comes_back() {
    let sample = full();
    let uptime = Some(Uptime { boot: 77, nanos: 123_456_789_012 });
    for source in ["192.0.2.7:1646", "[2001:db8::7]:1"] {
        let sample = sample.clone().source(source);
        for record in [
            sample.record(),
            sample.record().with_subscriber(Some("ana@example")).with_telco(Some("north")),
            sample.record().with_uptime(uptime),
        ] {
            assert_eq!(decode(&encoded(&record)), Ok(record));
        }
    }
    let payload = encoded(&sample.record());
    assert!(payload.len() < sample.attributes().len() + 64, "{}", payload.len());
}

#[test]
fn the_format_is_the_one_that_lies_in_journals() {
    let sample = Sample::new(Status::On).anonymous();
    let expected = [
        &b"A\x01\x01"[..],
        b"\x01\0\x05pop-1",
        b"\x02\0\x06\xc0\0\x02\x07\x06\x6e",
        b"\x03\0\x08",
        &(u64::from(T0) * 1_000_000_000).to_be_bytes(),
        b"\x04\0\x06\x28\x06\0\0\0\x07",
    ]
    .concat();
    assert_eq!(encoded(&sample.record()), expected);
}

#[test]
fn a_later_version_is_read_as_far_as_it_allows() {
    let sample = full();
    let mut payload = encoded(&sample.record());
    fields::push(&mut payload, 200, b"something new");
    payload[1] = VERSION + 1;
    assert_eq!(decode(&payload), Ok(sample.record()));
    payload[2] = VERSION + 1;
    let version = Damaged::Version { wrote: VERSION + 1, needs: VERSION + 1 };
    assert_eq!(decode(&payload), Err(version));
}

#[test]
fn damage_is_told() {
    let sample = full();
    let payload = encoded(&sample.record());
    assert_eq!(decode(b""), Err(Damaged::Kind));
    assert_eq!(decode(b"xxxx"), Err(Damaged::Kind));
    for length in 3..payload.len() {
        assert!(decode(&payload[..length]).is_err(), "{length}");
    }
    let mut long = payload.clone();
    fields::push(&mut long, 200, &vec![0; LONGEST]);
    assert_eq!(decode(&long), Err(Damaged::Cut));
    for (tag, value) in [
        (NAS, &b"\xff"[..]),
        (SOURCE, b"abc"),
        (RECEIVED, b"123456789"),
        (SUBSCRIBER, b"\xff"),
        (TELCO, &[b'x'; LONGEST_NAME + 1]),
    ] {
        let mut odd = payload.clone();
        fields::push(&mut odd, tag, value);
        assert_eq!(decode(&odd), Err(Damaged::Field(tag)), "{tag}");
    }
    let mut odd = payload;
    fields::push(&mut odd, ATTRIBUTES, &[kind::USER_NAME, 1]);
    assert_eq!(decode(&odd), Err(Damaged::Record(Unusable::Attributes)));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        crate::fuzzing::payload(&payload);
    }

    #[test]
    fn any_damage_is_harmless(at in 0_usize..200, bit in 0_u8..8) {
        let mut payload = encoded(&full().record());
        let at = at % payload.len();
        payload[at] ^= 1 << bit;
        crate::fuzzing::payload(&payload);
    }
}
