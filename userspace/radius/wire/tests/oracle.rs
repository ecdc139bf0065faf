//! Differential tests against the `radius` crate: another decoder and encoder, by other people.
//!
//! Where it differs from the RFCs, the test says so and goes around: it has no Message-Authenticator, it cuts
//! passwords at their first zero, it hides Tunnel-Password without the length octet before it (RFC 2868 section 3.5),
//! and it takes padding for a part of the packet when it verifies.

#![cfg(test)]

use std::net::Ipv4Addr;

use muralla_radius_wire::hidden::{self, LONGEST_PASSWORD, LONGEST_SALTED};
use muralla_radius_wire::{
    Code, Malformed, Packet, Requirement, Secret, Target, Writer, kind, verify_reply,
    verify_request,
};
use proptest::prelude::*;
use radius::core::avp::AVP;
use radius::core::code::Code as TheirCode;
use radius::core::packet::Packet as Theirs;
use radius::core::tag::Tag;
use radius::core::{rfc2865, rfc2866, rfc2868};

const REQUESTS: [(Code, TheirCode); 5] = [
    (Code::ACCESS_REQUEST, TheirCode::AccessRequest),
    (Code::STATUS_SERVER, TheirCode::StatusServer),
    (Code::ACCOUNTING_REQUEST, TheirCode::AccountingRequest),
    (Code::DISCONNECT_REQUEST, TheirCode::DisconnectRequest),
    (Code::COA_REQUEST, TheirCode::CoARequest),
];

const REPLIES: [(Code, TheirCode); 4] = [
    (Code::ACCESS_ACCEPT, TheirCode::AccessAccept),
    (Code::ACCESS_REJECT, TheirCode::AccessReject),
    (Code::ACCOUNTING_RESPONSE, TheirCode::AccountingResponse),
    (Code::COA_NAK, TheirCode::CoANAK),
];

fn secrets() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..80)
}

/// Attributes that are not Message-Authenticator.
fn values() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let kind = any::<u8>().prop_filter("what they don't have", |kind| *kind != 80);
    prop::collection::vec((kind, prop::collection::vec(any::<u8>(), 0..=253)), 0..12)
}

proptest! {
    /// Bytes with a header that is nearly right.
    #[test]
    fn both_read_the_same(
        head in prop::collection::vec(any::<u8>(), 20),
        tail in prop::collection::vec((any::<u8>(), 0_u8..12, prop::collection::vec(any::<u8>(), 10)), 0..20),
        off in prop_oneof![6 => Just(0_i16), 1 => -30_i16..30],
        cut in prop_oneof![6 => Just(0_usize), 1 => 0_usize..30],
    ) {
        let mut bytes = head;
        for (kind, length, value) in tail {
            bytes.extend([kind, length]);
            bytes.extend(&value[..usize::from(length.saturating_sub(2))]);
        }
        let length = (bytes.len() as i16 + off) as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes.truncate(bytes.len().saturating_sub(cut));
        let theirs = Theirs::decode(&bytes, b"secret");
        match Packet::parse(&bytes) {
            Ok(ours) => {
                let theirs = theirs.unwrap();
                prop_assert_eq!(theirs.get_identifier(), ours.id());
                prop_assert_eq!(&theirs.get_authenticator()[..], &ours.authenticator()[..]);
                for kind in 0..=u8::MAX {
                    let theirs: Vec<_> =
                        theirs.lookup_all(kind).into_iter().map(AVP::encode_bytes).collect();
                    let ours: Vec<_> = ours.all(kind).map(<[u8]>::to_vec).collect();
                    prop_assert_eq!(ours, theirs);
                }
            }
            Err(malformed) => {
                prop_assert!(theirs.is_err());
                prop_assert!(malformed != Malformed::TooManyAttributes);
            }
        }
    }

    /// What they write, we verify and read.
    #[test]
    fn we_take_their_requests(
        secret in secrets(),
        id: u8,
        values in values(),
        (code, their_code) in prop::sample::select(&REQUESTS[..]),
    ) {
        let mut theirs = Theirs::new_with_identifier(their_code, &secret, id);
        theirs.extend(values.iter().map(|(kind, value)| AVP::from_bytes(*kind, value)).collect());
        let bytes = theirs.encode().unwrap();
        let ours = Packet::parse(&bytes).unwrap();
        prop_assert_eq!((ours.code(), ours.id()), (code, id));
        let read: Vec<_> = ours.attributes().map(|one| (one.kind, one.value.to_vec())).collect();
        prop_assert_eq!(read, values);
        let secret = Secret::new(secret).unwrap();
        let verified = verify_request(&ours, &[secret], Requirement::Required);
        // Of those with a random authenticator they prove nothing.
        let random = [Code::ACCESS_REQUEST, Code::STATUS_SERVER].contains(&code);
        prop_assert_eq!(verified.is_ok(), !random);
    }

    /// What we write, they verify and read; what they reply, we verify; what we reply, they verify.
    #[test]
    fn they_take_our_requests_and_replies(
        secret in secrets(),
        id: u8,
        random: [u8; 16],
        values in values(),
        (code, _) in prop::sample::select(&REQUESTS[..]),
        (reply, their_reply) in prop::sample::select(&REPLIES[..]),
    ) {
        let key = Secret::new(&secret[..]).unwrap();
        let mut buffer = [0; 4_096];
        let mut writer = Writer::request(&mut buffer, code, id, random, &key);
        values.iter().for_each(|(kind, value)| writer.push(*kind, value));
        let length = writer.finish().unwrap();
        let bytes = &buffer[..length];
        prop_assert!(Theirs::is_authentic_request(bytes, &secret));
        let theirs = Theirs::decode(bytes, &secret).unwrap();
        prop_assert_eq!(theirs.encode().unwrap(), bytes);

        let ours = Packet::parse(bytes).unwrap();
        let mut answer = theirs.make_response_packet(their_reply);
        answer.extend(values.iter().map(|(kind, value)| AVP::from_bytes(*kind, value)).collect());
        let answer = answer.encode().unwrap();
        let answer = Packet::parse(&answer).unwrap();
        prop_assert_eq!(answer.code(), reply);
        prop_assert_eq!(verify_reply(&answer, ours.authenticator(), &key, false), Ok(()));

        let mut out = [0; 4_096];
        let mut writer = Writer::reply(&mut out, reply, &ours, &key);
        values.iter().for_each(|(kind, value)| writer.push(*kind, value));
        let length = writer.finish().unwrap();
        prop_assert!(Theirs::is_authentic_response(&out[..length], bytes, &secret));
    }

    #[test]
    fn passwords_hidden_by_either_are_revealed_by_the_other(
        secret in secrets(),
        password in prop::collection::vec(1_u8.., 0..=128),
    ) {
        let mut theirs = Theirs::new(TheirCode::AccessRequest, &secret);
        rfc2865::add_user_password(&mut theirs, &password).unwrap();
        let bytes = theirs.encode().unwrap();
        let ours = Packet::parse(&bytes).unwrap();
        let key = Secret::new(&secret[..]).unwrap();
        let mut out = [0; LONGEST_PASSWORD];
        let value = ours.first(kind::USER_PASSWORD).unwrap();
        let revealed = hidden::password(value, &key, ours.authenticator(), &mut out);
        prop_assert_eq!(revealed, Some(&password[..]));

        let mut buffer = [0; 200];
        let mut writer = Writer::request(&mut buffer, Code::ACCESS_REQUEST, 1, [9; 16], &key);
        writer.hide_password(&password);
        let length = writer.finish().unwrap();
        let theirs = Theirs::decode(&buffer[..length], &secret).unwrap();
        prop_assert_eq!(rfc2865::lookup_user_password(&theirs).unwrap().unwrap(), password);
    }

    /// The length octet is a part of the password to them.
    #[test]
    fn tunnel_passwords_hidden_by_either_are_revealed_by_the_other(
        secret in secrets(),
        password in prop::collection::vec(1_u8.., 1..=239),
        tag in 0_u8..32,
    ) {
        let key = Secret::new(&secret[..]).unwrap();
        let with_length = [&[password.len() as u8], &password[..]].concat();
        let mut theirs = Theirs::new(TheirCode::AccessAccept, &secret);
        let their_tag = Tag::new(tag);
        rfc2868::add_tunnel_password(&mut theirs, Some(&their_tag), &with_length).unwrap();
        let authenticator: [u8; 16] = theirs.get_authenticator()[..].try_into().unwrap();
        let bytes = theirs.encode().unwrap();
        let ours = Packet::parse(&bytes).unwrap();
        let (read, value) = ours.first(kind::TUNNEL_PASSWORD).unwrap().split_first().unwrap();
        let mut out = [0; LONGEST_SALTED];
        let revealed = hidden::salted(value, &key, &authenticator, &mut out);
        prop_assert_eq!((*read, revealed), (tag, Some(&password[..])));

        let mut buffer = [0; 400];
        let mut writer = Writer::unsigned_request(&mut buffer, 1, [9; 16], &key);
        writer.push_salted(Target::tunnel_password(tag), [0, 7], &password);
        let length = writer.finish().unwrap();
        let theirs = Theirs::decode(&buffer[..length], &secret).unwrap();
        let (revealed, read) = rfc2868::lookup_tunnel_password(&theirs).unwrap().unwrap();
        prop_assert_eq!(read, Tag::new(tag));
        prop_assert_eq!(revealed, with_length);
    }
}

#[test]
fn typed_values_are_the_same() {
    let secret = b"xyzzy5461";
    let mut theirs = Theirs::new(TheirCode::AccountingRequest, secret);
    rfc2865::add_user_name(&mut theirs, "nemo");
    rfc2865::add_framed_ip_address(&mut theirs, &Ipv4Addr::new(192, 0, 2, 1));
    rfc2865::add_session_timeout(&mut theirs, 3_600);
    rfc2866::add_acct_session_id(&mut theirs, "0000001a");
    let bytes = theirs.encode().unwrap();
    let ours = Packet::parse(&bytes).unwrap();
    assert_eq!(ours.text(kind::USER_NAME), Some("nemo"));
    assert_eq!(ours.address(kind::FRAMED_IP_ADDRESS), Some(Ipv4Addr::new(192, 0, 2, 1)));
    assert_eq!(ours.number(kind::SESSION_TIMEOUT), Some(3_600));
    assert_eq!(ours.text(kind::ACCT_SESSION_ID), Some("0000001a"));
}

/// What RFC 2865 section 3 calls padding is none of the packet's to us.
#[test]
fn padding_makes_no_difference_to_us() {
    let secret = b"xyzzy5461";
    let mut theirs = Theirs::new(TheirCode::AccountingRequest, secret);
    rfc2865::add_user_name(&mut theirs, "nemo");
    let mut bytes = theirs.encode().unwrap();
    bytes.extend([0; 12]);
    let ours = Packet::parse(&bytes).unwrap();
    let key = Secret::new(*secret).unwrap();
    assert_eq!(verify_request(&ours, &[key], Requirement::Required), Ok(0));
    assert!(!Theirs::is_authentic_request(&bytes, secret));
    assert!(Theirs::is_authentic_request(ours.bytes(), secret));
}
