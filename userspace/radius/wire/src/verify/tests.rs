use proptest::prelude::*;

use super::*;
use crate::samples::{self, hex, request, secret};
use crate::writer::Writer;

fn verify(bytes: &[u8], secrets: &[Secret], requirement: Requirement) -> Result<usize, Unverified> {
    verify_request(&Packet::parse(bytes).unwrap(), secrets, requirement)
}

fn verify_with_ours(bytes: &[u8], requirement: Requirement) -> Result<usize, Unverified> {
    verify(bytes, &[secret()], requirement)
}

/// An Access-Request with these attributes and no Message-Authenticator.
fn unsigned(attributes: &[(u8, &[u8])]) -> Vec<u8> {
    let mut buffer = vec![0; 4_096];
    let secret = secret();
    let mut writer = Writer::unsigned_request(&mut buffer, 1, [3; 16], &secret);
    attributes.iter().for_each(|(kind, value)| writer.push(*kind, value));
    let length = writer.finish().unwrap();
    buffer.truncate(length);
    buffer
}

/// An Access-Request with a Message-Authenticator somewhere among other attributes.
fn signed_at(before: &[u8], behind: &[u8]) -> Vec<u8> {
    let attributes = [before, &[80, 18], &[0; 16], behind].concat();
    let length = (HEADER + attributes.len()) as u16;
    let mut bytes = [&[1, 7], &length.to_be_bytes()[..], &[9; 16], &attributes].concat();
    let mac = secret().mac(&[&bytes]);
    let at = HEADER + before.len() + 2;
    bytes[at..at + 16].copy_from_slice(&mac);
    bytes
}

/// RFC 5997 section 6.
#[test]
fn the_status_server_of_rfc_5997() {
    for (request, reply) in samples::status() {
        assert_eq!(verify_with_ours(&request, Requirement::IfPresent), Ok(0));
        let asked = Packet::parse(&request).unwrap();
        let answer = Packet::parse(&reply).unwrap();
        assert_eq!(verify_reply(&answer, asked.authenticator(), &secret(), false), Ok(()));
        assert_eq!(
            verify_reply(&answer, asked.authenticator(), &secret(), true),
            Err(Unverified::NoMessageAuthenticator)
        );
        let other = Secret::new("xyzzy5462").unwrap();
        assert_eq!(
            verify_reply(&answer, asked.authenticator(), &other, false),
            Err(Unverified::Authenticator)
        );
        // Message-Authenticator is no matter of exceptions here (RFC 5997 section 3).
        let mut without = request[..HEADER].to_vec();
        without[3] = HEADER as u8;
        assert_eq!(
            verify_with_ours(&without, Requirement::IfPresent),
            Err(Unverified::NoMessageAuthenticator)
        );
    }
}

/// RFC 2865 section 7.
#[test]
fn the_replies_of_rfc_2865() {
    let [request, challenge, answer, reject] = samples::mopsy();
    let pairs = [
        (samples::nemo(), samples::nemo_accepted()),
        (samples::flopsy(), samples::flopsy_accepted()),
        (request, challenge),
        (answer, reject),
    ];
    for (request, reply) in pairs {
        assert_eq!(verify_with_ours(&request, Requirement::IfPresent), Ok(0));
        assert_eq!(
            verify_with_ours(&request, Requirement::Required),
            Err(Unverified::NoMessageAuthenticator)
        );
        let authenticator = *Packet::parse(&request).unwrap().authenticator();
        let reply = Packet::parse(&reply).unwrap();
        assert_eq!(verify_reply(&reply, &authenticator, &secret(), false), Ok(()));
        assert_eq!(
            verify_reply(&reply, &[0; 16], &secret(), false),
            Err(Unverified::Authenticator)
        );
    }
}

/// RFC 2866 section 3 and RFC 5176 section 2.3, spelled out.
#[test]
fn the_authenticator_of_the_others_is_a_digest() {
    use md5::{Digest, Md5};

    for code in [4, 40, 43] {
        let head = [code, 9, 0, 26];
        let attributes = b"\x01\x06nemo";
        let all = [&head[..], &[0; 16], attributes, b"xyzzy5461"].concat();
        let digest = Md5::digest(all);
        let mut bytes = [&head[..], &digest, attributes].concat();
        assert_eq!(verify_with_ours(&bytes, Requirement::Required), Ok(0));
        let padded = [&bytes[..], b"padding"].concat();
        assert_eq!(verify_with_ours(&padded, Requirement::Required), Ok(0));
        bytes[22] ^= 1;
        assert_eq!(verify_with_ours(&bytes, Requirement::Required), Err(Unverified::Authenticator));
    }
}

/// RFC 5176 section 3.4, spelled out.
#[test]
fn the_others_may_be_signed_as_well() {
    for code in [4, 40, 43] {
        let attributes = |mac: &[u8; 16]| [&b"\x01\x06nemo\x50\x12"[..], mac].concat();
        let head = [code, 9, 0, 44];
        let mac = secret().mac(&[&head, &[0; 16], &attributes(&[0; 16])]);
        for (mac, expected) in [(mac, Ok(0)), ([1; 16], Err(Unverified::MessageAuthenticator))] {
            let digest = secret().digest(&[&head, &[0; 16], &attributes(&mac)]);
            let bytes = [&head[..], &digest, &attributes(&mac)].concat();
            assert_eq!(verify_with_ours(&bytes, Requirement::IfPresent), expected);
        }
    }
}

#[test]
fn message_authenticator_may_stand_anywhere() {
    let (name, port) = (b"\x01\x06nemo", b"\x05\x06\0\0\0\x03");
    for (before, behind) in [
        (&b""[..], &b""[..]),
        (name, b""),
        (b"", name),
        (name, port),
        (port, &[&name[..], port].concat()),
    ] {
        let bytes = signed_at(before, behind);
        for requirement in [Requirement::Required, Requirement::IfPresent] {
            assert_eq!(verify_with_ours(&bytes, requirement), Ok(0));
        }
    }
}

#[test]
fn requests_that_prove_nothing() {
    let mut twice = signed_at(b"\x01\x06nemo", &[&[80, 18][..], &[0; 16]].concat());
    let short = unsigned(&[(1, b"nemo")]);
    let short = [&short[..], &[80, 17], &[0; 15]].concat();
    let short = [&short[..3], &[short.len() as u8], &short[4..]].concat();
    let cases = [
        (unsigned(&[(1, b"nemo")]), Unverified::NoMessageAuthenticator, None),
        (
            unsigned(&[(1, b"nemo"), (kind::EAP_MESSAGE, b"\x02")]),
            Unverified::NoMessageAuthenticator,
            Some(Unverified::NoMessageAuthenticator),
        ),
        // RFC 3579 section 3.2: the shape of BlastRADIUS.
        (
            unsigned(&[(1, b"nemo"), (kind::PROXY_STATE, &[7; 250])]),
            Unverified::NoMessageAuthenticator,
            Some(Unverified::ProxyState),
        ),
        (
            twice.clone(),
            Unverified::MessageAuthenticatorRepeated,
            Some(Unverified::MessageAuthenticatorRepeated),
        ),
        (
            short,
            Unverified::MessageAuthenticatorLength,
            Some(Unverified::MessageAuthenticatorLength),
        ),
        (samples::nemo_accepted(), Unverified::Code, Some(Unverified::Code)),
    ];
    for (bytes, required, if_present) in cases {
        assert_eq!(verify_with_ours(&bytes, Requirement::Required), Err(required));
        let expected = if_present.map_or(Ok(0), Err);
        assert_eq!(verify_with_ours(&bytes, Requirement::IfPresent), expected);
    }
    // The second counts as well, even of another length.
    twice.truncate(twice.len() - 10);
    let length = twice.len();
    twice[3] = length as u8;
    twice[length - 7] = 8;
    assert_eq!(
        verify_with_ours(&twice, Requirement::Required),
        Err(Unverified::MessageAuthenticatorRepeated)
    );
    let any = request(Code::ACCESS_REQUEST);
    assert_eq!(verify(&any, &[], Requirement::Required), Err(Unverified::NoSecret));
}

#[test]
fn proxy_state_is_welcome_where_it_is_signed() {
    let bytes = signed_at(&[&[33, 252][..], &[7; 250]].concat(), b"");
    assert_eq!(verify_with_ours(&bytes, Requirement::IfPresent), Ok(0));
}

#[test]
fn two_secrets_during_a_roll() {
    let [old, next] = ["old secret", "next secret"].map(|text| Secret::new(text).unwrap());
    let both = [old.clone(), next.clone()];
    for code in [Code::ACCESS_REQUEST, Code::ACCOUNTING_REQUEST, Code::COA_REQUEST] {
        for (index, secret) in both.iter().enumerate() {
            let mut buffer = [0; 100];
            let mut writer = Writer::request(&mut buffer, code, 1, [4; 16], secret);
            writer.push(kind::USER_NAME, b"nemo");
            let length = writer.finish().unwrap();
            let bytes = &buffer[..length];
            assert_eq!(verify(bytes, &both, Requirement::Required), Ok(index));
            assert!(verify(bytes, std::slice::from_ref(secret), Requirement::Required).is_ok());
            let other = both[1 - index].clone();
            assert!(verify(bytes, &[other], Requirement::Required).is_err());
        }
    }
}

/// A NAS that signs nothing shows its secret by its passwords.
#[test]
fn two_secrets_and_no_proof() {
    let [old, next] = ["old secret", "next secret"].map(|text| Secret::new(text).unwrap());
    let both = [old.clone(), next.clone()];
    let long = "ö".repeat(64);
    for password in ["arctangent", "", "пароль", &long] {
        for (index, secret) in both.iter().enumerate() {
            let mut buffer = [0; 300];
            let mut writer = Writer::unsigned_request(&mut buffer, 1, [4; 16], secret);
            writer.hide_password(password.as_bytes());
            let length = writer.finish().unwrap();
            assert_eq!(verify(&buffer[..length], &both, Requirement::IfPresent), Ok(index));
        }
    }
    assert_eq!(verify(&samples::flopsy(), &both, Requirement::IfPresent), Ok(0));
}

/// One that shows no password either, such as CHAP, is answered by the secret that the NAS last proved.
#[test]
fn two_secrets_no_proof_and_no_password() {
    let [old, next] = ["old secret", "next secret"].map(|text| Secret::new(text).unwrap());
    let both = [old.clone(), next.clone()];
    let chap = unsigned(&[(1, b"nemo"), (kind::CHAP_PASSWORD, &[7; 17])]);
    let packet = Packet::parse(&chap).unwrap();
    let from = |packet: &Packet<'_>, proven: usize| {
        verify_request_from(packet, &both, Requirement::IfPresent, || proven)
    };
    assert_eq!(verify(&chap, &both, Requirement::IfPresent), Ok(0), "nothing is known of it");
    // Of a secret that is no more there nothing follows.
    for (proven, expected) in [(0, 0), (1, 1), (2, 0)] {
        assert_eq!(from(&packet, proven), Ok(expected));
    }
    assert!(!proves_secret(&packet));
    assert_eq!(
        verify_request_from(&packet, &both, Requirement::Required, || 1),
        Err(Unverified::NoMessageAuthenticator)
    );
    // A password tells more than what was before, and a proof everything.
    for (index, secret) in both.iter().enumerate() {
        let mut buffer = [0; 300];
        let mut writer = Writer::unsigned_request(&mut buffer, 1, [4; 16], secret);
        writer.hide_password(b"arctangent");
        let length = writer.finish().unwrap();
        let packet = Packet::parse(&buffer[..length]).unwrap();
        assert_eq!(from(&packet, 1 - index), Ok(index));
        for code in [Code::ACCESS_REQUEST, Code::ACCOUNTING_REQUEST] {
            let mut buffer = [0; 100];
            let length = Writer::request(&mut buffer, code, 1, [4; 16], secret).finish().unwrap();
            let packet = Packet::parse(&buffer[..length]).unwrap();
            assert_eq!(from(&packet, 1 - index), Ok(index));
            assert!(proves_secret(&packet));
        }
    }
    // What no secret reveals.
    let garbled = unsigned(&[(1, b"nemo"), (kind::USER_PASSWORD, &[7; 16])]);
    assert_eq!(from(&Packet::parse(&garbled).unwrap(), 1), Ok(1));
}

#[test]
fn replies_of_every_kind() {
    let replies = [
        (Code::ACCESS_REQUEST, Code::ACCESS_ACCEPT, true),
        (Code::ACCESS_REQUEST, Code::ACCESS_REJECT, true),
        (Code::ACCESS_REQUEST, Code::ACCESS_CHALLENGE, true),
        (Code::STATUS_SERVER, Code::ACCESS_ACCEPT, true),
        (Code::STATUS_SERVER, Code::ACCOUNTING_RESPONSE, true),
        (Code::ACCOUNTING_REQUEST, Code::ACCOUNTING_RESPONSE, false),
        (Code::DISCONNECT_REQUEST, Code::DISCONNECT_NAK, false),
        (Code::COA_REQUEST, Code::COA_ACK, false),
    ];
    for (asked, code, signed) in replies {
        let request = request(asked);
        let authenticator = *Packet::parse(&request).unwrap().authenticator();
        let reply = samples::reply(&request, code);
        let packet = Packet::parse(&reply).unwrap();
        assert_eq!(packet.has(kind::MESSAGE_AUTHENTICATOR), signed);
        let expected = if signed { Ok(()) } else { Err(Unverified::NoMessageAuthenticator) };
        assert_eq!(verify_reply(&packet, &authenticator, &secret(), true), expected);
        assert_eq!(verify_reply(&packet, &authenticator, &secret(), false), Ok(()));
        let asked = Packet::parse(&request).unwrap();
        assert_eq!(verify_reply(&asked, &authenticator, &secret(), false), Err(Unverified::Code));

        // A Message-Authenticator that does not fit under an authenticator that does.
        if signed {
            let mut forged = reply.clone();
            forged[HEADER + 2] ^= 1;
            let digest = secret().digest(&[&forged[..4], &authenticator, &forged[HEADER..]]);
            forged[4..HEADER].copy_from_slice(&digest);
            let packet = Packet::parse(&forged).unwrap();
            assert_eq!(
                verify_reply(&packet, &authenticator, &secret(), false),
                Err(Unverified::MessageAuthenticator)
            );
        }
    }
}

#[test]
fn a_changed_bit_is_found_wherever_it_is() {
    for bytes in samples::requests() {
        assert_eq!(verify_with_ours(&bytes, Requirement::Required), Ok(0));
        for bit in 0..8 * bytes.len() {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(packet) = Packet::parse(&changed) {
                let verified = verify_request(&packet, &[secret()], Requirement::Required);
                assert!(verified.is_err(), "bit {bit} of {bytes:?}");
            }
        }
    }
}

#[test]
fn reasons_are_names_of_counters() {
    let reasons: std::collections::HashSet<_> = Unverified::ALL.map(Unverified::reason).into();
    assert_eq!(reasons.len(), Unverified::ALL.len());
    assert!(
        reasons.iter().all(|reason| reason.bytes().all(|o| o.is_ascii_lowercase() || o == b'_'))
    );
    assert_eq!(hex("00ff"), [0, 255]);
}

proptest! {
    /// What one side writes, the other verifies, under the same secret only.
    #[test]
    fn both_sides_agree(
        key in prop::collection::vec(any::<u8>(), 1..100),
        other in prop::collection::vec(any::<u8>(), 1..100),
        random: [u8; 16],
        id: u8,
        code in prop::sample::select(&[1_u8, 4, 12, 40, 43][..]),
        values in prop::collection::vec((1_u8..=255, prop::collection::vec(any::<u8>(), 0..60)), 0..10),
    ) {
        prop_assume!(key != other);
        let (secret, other) = (Secret::new(key).unwrap(), Secret::new(other).unwrap());
        let mut buffer = [0; 1_024];
        let mut writer = Writer::request(&mut buffer, Code(code), id, random, &secret);
        values.iter().for_each(|(kind, value)| writer.push(*kind, value));
        let length = writer.finish().unwrap();
        let packet = Packet::parse(&buffer[..length]).unwrap();
        let secrets = [other.clone(), secret.clone()];
        prop_assert_eq!(verify_request(&packet, &secrets, Requirement::Required), Ok(1));
        prop_assert!(verify_request(&packet, &secrets[..1], Requirement::Required).is_err());

        let mut out = [0; 1_024];
        let writer = Writer::reply(&mut out, Code::ACCESS_ACCEPT, &packet, &secret);
        let length = writer.finish().unwrap();
        let reply = Packet::parse(&out[..length]).unwrap();
        let authenticator = packet.authenticator();
        prop_assert_eq!(reply.id(), id);
        prop_assert_eq!(verify_reply(&reply, authenticator, &secret, false), Ok(()));
        prop_assert!(verify_reply(&reply, authenticator, &other, false).is_err());
    }
}
