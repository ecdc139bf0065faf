use proptest::prelude::*;

use super::*;
use crate::hidden::{LONGEST_PASSWORD, LONGEST_SALTED};
use crate::samples::{self, secret};
use crate::vendor::{MICROSOFT, microsoft};

/// What is written by `write` into a reply to an Access-Request.
fn reply(write: impl FnOnce(&mut Writer<'_>)) -> Result<Vec<u8>, TooLong> {
    reply_in(LONGEST, write)
}

fn reply_in(room: usize, write: impl FnOnce(&mut Writer<'_>)) -> Result<Vec<u8>, TooLong> {
    let request = samples::nemo();
    let mut buffer = vec![0xee; room];
    let secret = secret();
    let request = Packet::parse(&request).unwrap();
    let mut writer = Writer::reply(&mut buffer, Code::ACCESS_ACCEPT, &request, &secret);
    write(&mut writer);
    let length = writer.finish()?;
    assert!(buffer[length..].iter().all(|&octet| octet == 0xee));
    buffer.truncate(length);
    Ok(buffer)
}

/// RFC 5997 section 6.
#[test]
fn the_status_server_of_rfc_5997() {
    for (expected, _) in samples::status() {
        let asked = Packet::parse(&expected).unwrap();
        let mut buffer = [0; 64];
        let secret = secret();
        let (id, random) = (asked.id(), *asked.authenticator());
        let writer = Writer::request(&mut buffer, Code::STATUS_SERVER, id, random, &secret);
        let length = writer.finish().unwrap();
        assert_eq!(buffer[..length], expected);
    }
}

/// RFC 2865 sections 7.1 and 7.3: requests from before Message-Authenticator.
#[test]
fn the_requests_of_rfc_2865() {
    let [mopsy, ..] = samples::mopsy();
    for (expected, password) in [(samples::nemo(), &b"arctangent"[..]), (mopsy, &b"challenge"[..])]
    {
        let original = Packet::parse(&expected).unwrap();
        let mut buffer = [0; 128];
        let secret = secret();
        let (id, random) = (original.id(), *original.authenticator());
        let mut writer = Writer::unsigned_request(&mut buffer, id, random, &secret);
        for one in original.attributes() {
            match one.kind {
                kind::USER_PASSWORD => writer.hide_password(password),
                kind => writer.push(kind, one.value),
            }
        }
        let length = writer.finish().unwrap();
        assert_eq!(buffer[..length], expected);
    }
}

/// RFC 2865 section 7: the authenticators are those of the RFC where the attributes are.
#[test]
fn the_replies_of_rfc_2865() {
    let [request, challenge, answer, reject] = samples::mopsy();
    let pairs = [
        (samples::nemo(), samples::nemo_accepted()),
        (samples::flopsy(), samples::flopsy_accepted()),
        (request, challenge),
        (answer, reject),
    ];
    for (request, expected) in pairs {
        let original = Packet::parse(&expected).unwrap();
        let mut buffer = [0; 128];
        let secret = secret();
        let authenticator = *Packet::parse(&request).unwrap().authenticator();
        let mut writer = Writer::begin(
            &mut buffer,
            original.code(),
            original.id(),
            authenticator,
            &secret,
            true,
            false,
        );
        writer.append(original.attribute_bytes());
        let length = writer.finish().unwrap();
        assert_eq!(buffer[..length], expected);
    }
}

#[test]
fn message_authenticator_comes_first() {
    for request in samples::requests() {
        let reply = samples::reply(&request, Code::ACCESS_REJECT);
        let request = Packet::parse(&request).unwrap();
        let first = Packet::parse(&reply).unwrap().attributes().next().unwrap().kind;
        let random = [Code::ACCESS_REQUEST, Code::STATUS_SERVER].contains(&request.code());
        assert_eq!(first == kind::MESSAGE_AUTHENTICATOR, random);
        let first = request.attributes().next().unwrap().kind;
        assert_eq!(first == kind::MESSAGE_AUTHENTICATOR, random);
    }
}

#[test]
fn every_way_to_add() {
    let bytes = reply(|writer| {
        writer.push(kind::REPLY_MESSAGE, b"");
        writer.push_number(kind::SESSION_TIMEOUT, 3_600);
        writer.push_address(kind::FRAMED_IP_ADDRESS, Ipv4Addr::new(192, 0, 2, 1));
        writer.push_vendor(crate::vendor::MIKROTIK, 8, b"10M");
        writer.append(&[25, 4, 1, 2, 27, 6, 0, 0, 0, 1]);
        writer.append(&[]);
    })
    .unwrap();
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(
        packet.attribute_bytes()[18..],
        [
            &[18, 2][..],
            &[27, 6, 0, 0, 14, 16],
            &[8, 6, 192, 0, 2, 1],
            &[26, 11, 0, 0, 58, 140, 8, 5, b'1', b'0', b'M'],
            &[25, 4, 1, 2, 27, 6, 0, 0, 0, 1],
        ]
        .concat()
    );
}

#[test]
fn a_message_authenticator_of_an_operator_is_left_out() {
    let expected = reply(|writer| writer.push(kind::CLASS, b"c")).unwrap();
    let mac = [&[80, 18][..], &[0; 16]].concat();
    for attributes in [
        [&mac[..], &[25, 3, b'c']].concat(),
        [&[25, 3, b'c'], &mac[..]].concat(),
        [&[80, 3, 0, 25, 3, b'c'], &mac[..]].concat(),
    ] {
        assert_eq!(reply(|writer| writer.append(&attributes)).as_ref(), Ok(&expected));
    }
    let pushed = reply(|writer| {
        writer.push(kind::MESSAGE_AUTHENTICATOR, &[0; 16]);
        writer.push(kind::CLASS, b"c");
    });
    assert_eq!(pushed.as_ref(), Ok(&expected));
}

#[test]
fn proxy_state_goes_back_in_its_order() {
    let secret = secret();
    let mut buffer = [0; 600];
    let mut writer = Writer::request(&mut buffer, Code::ACCESS_REQUEST, 1, [2; 16], &secret);
    for (kind, value) in [(33, &[7; 253][..]), (1, b"nemo"), (33, b""), (33, b"b"), (33, b"a")] {
        writer.push(kind, value);
    }
    let length = writer.finish().unwrap();
    let request = Packet::parse(&buffer[..length]).unwrap();
    let mut out = [0; 600];
    let mut writer = Writer::reply(&mut out, Code::ACCESS_ACCEPT, &request, &secret);
    writer.copy_proxy_state(&request);
    let length = writer.finish().unwrap();
    let reply = Packet::parse(&out[..length]).unwrap();
    let states: Vec<_> = reply.all(33).collect();
    assert_eq!(states, [&[7; 253][..], b"", b"b", b"a"]);
    assert_eq!(reply.attributes().count(), 5);
}

#[test]
fn what_does_not_fit_is_told_at_the_end() {
    type Write = fn(&mut Writer<'_>);
    let cases: [(Write, TooLong); 11] = [
        (|writer| writer.push(1, &[0; 254]), TooLong::Value),
        (|writer| writer.push_vendor(9, 1, &[0; 248]), TooLong::Value),
        (|writer| writer.push_hidden(Target::microsoft(12), &[0; 129]), TooLong::Password),
        (|writer| writer.hide_password(&[0; 129]), TooLong::Password),
        (|writer| writer.push_salted(Target::microsoft(16), [0; 2], &[0; 240]), TooLong::Password),
        (|writer| writer.append(&[1]), TooLong::Torn),
        (|writer| writer.append(&[1, 3]), TooLong::Torn),
        (|writer| writer.append(&[1, 2, 1, 1]), TooLong::Torn),
        (|writer| writer.append(&[80, 2, 1, 3]), TooLong::Torn),
        (|writer| writer.append(&[1, 2].repeat(2_048)), TooLong::Packet),
        (|writer| (0..17).for_each(|_| writer.push(1, &[0; 253])), TooLong::Packet),
    ];
    for (at, (write, expected)) in cases.into_iter().enumerate() {
        assert_eq!(reply(write), Err(expected), "{at}");
        // Nothing that comes later makes it good again, or takes its place.
        let then = reply(|writer| {
            write(writer);
            writer.push(1, b"x");
            writer.append(&[1]);
            writer.push(1, &[0; 254]);
        });
        assert_eq!(then, Err(expected), "{at}");
    }
}

#[test]
fn what_just_fits() {
    assert!(reply(|writer| writer.push(1, &[0; 253])).is_ok());
    assert!(reply(|writer| writer.push_vendor(9, 1, &[0; 247])).is_ok());
    assert!(reply(|writer| writer.push_salted(Target::microsoft(16), [0; 2], &[0; 239])).is_ok());
    assert!(
        reply(|writer| writer.push_salted(Target::tunnel_password(1), [0; 2], &[0; 239])).is_ok()
    );
    let full = reply(|writer| {
        assert_eq!(writer.room(), LONGEST - 38);
        (0..15).for_each(|_| writer.push(1, &[0; 253]));
        let room = writer.room();
        writer.push(1, &vec![0; room - 2]);
        assert_eq!(writer.room(), 0);
    });
    assert_eq!(full.unwrap().len(), LONGEST);
    // RADIUS has its own limit, whatever the buffer's.
    let long = reply_in(2 * LONGEST, |writer| (0..17).for_each(|_| writer.push(1, &[0; 253])));
    assert_eq!(long, Err(TooLong::Packet));
}

#[test]
fn buffers_of_every_size() {
    let whole = reply(|writer| writer.push(1, b"nemo")).unwrap();
    for room in 0..100 {
        let written = reply_in(room, |writer| writer.push(1, b"nemo"));
        if room < whole.len() {
            assert_eq!(written, Err(TooLong::Packet), "{room}");
        } else {
            assert_eq!(written.as_ref(), Ok(&whole), "{room}");
        }
    }
}

/// RFC 2548 section 2.4: what a NAS makes of the keys.
#[test]
fn keys_of_mppe() {
    let key = *b"sixteen octets k";
    let bytes = reply(|writer| {
        writer.push_salted(Target::microsoft(microsoft::MPPE_SEND_KEY), [0x01, 0x02], &key);
        writer.push_salted(Target::microsoft(microsoft::MPPE_RECV_KEY), [0xff, 0x02], b"other");
        writer.push_hidden(Target::microsoft(microsoft::CHAP_MPPE_KEYS), &[5; 32]);
    })
    .unwrap();
    let request = samples::nemo();
    let authenticator = *Packet::parse(&request).unwrap().authenticator();
    let packet = Packet::parse(&bytes).unwrap();
    let send = packet.vendor(MICROSOFT, microsoft::MPPE_SEND_KEY).unwrap();
    let recv = packet.vendor(MICROSOFT, microsoft::MPPE_RECV_KEY).unwrap();
    assert_eq!((send.len(), recv.len()), (34, 18));
    assert_eq!((send[..2].to_vec(), recv[..2].to_vec()), (vec![0x81, 2], vec![0xff, 2]));
    let mut out = [0; LONGEST_SALTED];
    let revealed = hidden::salted(send, &secret(), &authenticator, &mut out);
    assert_eq!(revealed, Some(&key[..]));
    let revealed = hidden::salted(recv, &secret(), &authenticator, &mut out);
    assert_eq!(revealed, Some(&b"other"[..]));
    let keys = packet.vendor(MICROSOFT, microsoft::CHAP_MPPE_KEYS).unwrap();
    let mut out = [0; LONGEST_PASSWORD];
    let revealed = hidden::password(keys, &secret(), &authenticator, &mut out);
    assert_eq!(revealed, Some(&[5; 32][..]));
}

/// RFC 2868 section 3.5: the tag is not hidden; and RFC 5176 has no request to take an authenticator from.
#[test]
fn tunnel_passwords() {
    let bytes = reply(|writer| {
        writer.push_salted(Target::tunnel_password(3), [0x80, 0x07], b"tunnel secret");
    })
    .unwrap();
    let request = samples::nemo();
    let authenticator = *Packet::parse(&request).unwrap().authenticator();
    let packet = Packet::parse(&bytes).unwrap();
    let (&tag, value) = packet.first(kind::TUNNEL_PASSWORD).unwrap().split_first().unwrap();
    let mut out = [0; LONGEST_SALTED];
    let revealed = hidden::salted(value, &secret(), &authenticator, &mut out);
    assert_eq!((tag, revealed), (3, Some(&b"tunnel secret"[..])));

    let mut buffer = [0; 100];
    let secret = secret();
    let mut writer = Writer::request(&mut buffer, Code::COA_REQUEST, 1, [2; 16], &secret);
    writer.push_salted(Target::tunnel_password(0), [0x80, 0x07], b"tunnel secret");
    let length = writer.finish().unwrap();
    let packet = Packet::parse(&buffer[..length]).unwrap();
    let value = &packet.first(kind::TUNNEL_PASSWORD).unwrap()[1..];
    let revealed = hidden::salted(value, &secret, &[0; 16], &mut out);
    assert_eq!(revealed, Some(&b"tunnel secret"[..]));
}

#[test]
fn a_target_may_have_vendor_and_tag() {
    let target = Target { vendor: Some(529), kind: 200, tag: Some(9) };
    let bytes = reply(|writer| writer.push_salted(target, [0x80, 1], b"x")).unwrap();
    let packet = Packet::parse(&bytes).unwrap();
    let value = packet.vendor(529, 200).unwrap();
    assert_eq!((value.len(), &value[..3]), (19, &[9, 0x80, 1][..]));
}

proptest! {
    /// What is written is what is read.
    #[test]
    fn attributes_come_back(
        values in prop::collection::vec(
            (any::<u8>(), any::<Option<u32>>(), prop::collection::vec(any::<u8>(), 0..=247)),
            0..12,
        ),
    ) {
        let kinds = |kind: u8| if [26, 80].contains(&kind) { 1 } else { kind };
        let bytes = reply(|writer| {
            for (kind, vendor, value) in &values {
                match vendor {
                    Some(vendor) => writer.push_vendor(*vendor, *kind, value),
                    None => writer.push(kinds(*kind), value),
                }
            }
        });
        let bytes = bytes.unwrap();
        let packet = Packet::parse(&bytes).unwrap();
        let mut vendors = packet.vendor_attributes();
        let mut others = packet.attributes().filter(|one| ![26, 80].contains(&one.kind));
        for (kind, vendor, value) in &values {
            match vendor {
                Some(vendor) => {
                    let read = vendors.next().unwrap();
                    prop_assert_eq!((read.vendor, read.kind, read.value), (*vendor, *kind, &value[..]));
                }
                None => {
                    let read = others.next().unwrap();
                    prop_assert_eq!((read.kind, read.value), (kinds(*kind), &value[..]));
                }
            }
        }
        prop_assert!(vendors.next().is_none() && others.next().is_none());
        // The same once more, already encoded.
        let attributes = &packet.attribute_bytes()[18..];
        prop_assert_eq!(reply(|writer| writer.append(attributes)), Ok(bytes.clone()));
    }
}
