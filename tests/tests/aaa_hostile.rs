//! AAA, UP: packets that are not what they should be get what the RFCs say, are counted by their reasons, and change
//! nothing for whoever asks after them.

#![cfg(test)]

#[path = "aaa_hostile/pyrad.rs"]
mod pyrad;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use muralla_lab::frames::radius::{
    ACCESS_ACCEPT, ACCESS_REJECT, ACCESS_REQUEST, ACCOUNTING_REQUEST, ACCOUNTING_RESPONSE, HEADER,
    Packet, seal_accounting, verified_response,
};
use muralla_lab::postgres::Postgres;
use muralla_lab::random::Random;
use muralla_lab::{Family, Lab, LabOptions};
use muralla_tests::nas::{Nas, PASSWORD, SECRET};
use muralla_tests::radius_role::{RadiusRole, RadiusSettings, SOON};
use muralla_tests::until;

const USER_NAME: u8 = 1;
const USER_PASSWORD: u8 = 2;
const CHAP_PASSWORD: u8 = 3;
const NAS_PORT: u8 = 5;
const REPLY_MESSAGE: u8 = 18;
const VENDOR_SPECIFIC: u8 = 26;
const PROXY_STATE: u8 = 33;
const ACCT_STATUS_TYPE: u8 = 40;
const ACCT_SESSION_ID: u8 = 44;
const ACCT_SESSION_TIME: u8 = 46;
const EAP_MESSAGE: u8 = 79;
const MESSAGE_AUTHENTICATOR: u8 = 80;

const SECRET_BYTES: &[u8] = SECRET.as_bytes();

/// A NAS and the role.
struct Stand<'s, 'lab> {
    role: &'s RadiusRole<'lab>,
    nas: Nas,
}

impl Stand<'_, '_> {
    /// An Access-Request that begins with a Message-Authenticator which is yet to be filled in.
    fn request(&mut self) -> Packet {
        Packet::access_request(self.nas.next_id(), self.nas.authenticator())
    }

    /// The same of alice, with her password.
    fn login(&mut self) -> Packet {
        self.request().attribute(USER_NAME, b"alice").password(SECRET_BYTES, PASSWORD)
    }

    /// An Accounting-Request of a session, which is yet to be sealed.
    fn record(&mut self, session: &str) -> Packet {
        Packet::new(ACCOUNTING_REQUEST, self.nas.next_id(), [0; 16])
            .attribute(ACCT_STATUS_TYPE, &1_u32.to_be_bytes())
            .attribute(ACCT_SESSION_ID, session.as_bytes())
            .attribute(USER_NAME, b"alice")
    }

    /// Sends a packet, and after it a good login, which must be answered first if the packet gets nothing. Gives what the
    /// packet got, and by which reasons that was counted.
    fn send(
        &mut self,
        what: &str,
        to: SocketAddr,
        packet: &[u8],
        answered: bool,
    ) -> (Option<u8>, BTreeMap<(String, String), u64>) {
        let before = self.role.reasons().unwrap();
        self.nas.send(to, packet).unwrap();
        let code = answered.then(|| {
            let (answer, from) = self.nas.receive(SOON).unwrap().expect(what);
            assert_eq!(from, to, "{what}");
            let authenticator = packet[4..HEADER].try_into().unwrap();
            verified_response(&answer, packet[1], &authenticator, SECRET_BYTES).expect(what)
        });
        let good = self.login().signed(SECRET_BYTES).encode();
        self.nas.send(self.role.auth(), &good).unwrap();
        let (answer, _) = self.nas.receive(SOON).unwrap().expect(what);
        let authenticator = good[4..HEADER].try_into().unwrap();
        let accepted = verified_response(&answer, good[1], &authenticator, SECRET_BYTES);
        assert_eq!(accepted, Some(ACCESS_ACCEPT), "a good login after: {what}");
        let mut counted = self.role.reasons().unwrap();
        for (reason, count) in before {
            *counted.get_mut(&reason).unwrap() -= count;
        }
        counted.retain(|_, count| *count > 0);
        (code, counted)
    }
}

fn sealed(packet: &Packet) -> Vec<u8> {
    let mut bytes = packet.encode();
    seal_accounting(&mut bytes, SECRET_BYTES);
    bytes
}

/// A database in which records must find a place, and a role whose refusals come at once.
fn server<'lab>(
    lab: &'lab Lab,
    name: &str,
    address: &str,
    postgres: &Postgres,
) -> RadiusRole<'lab> {
    let address: IpAddr = address.parse().unwrap();
    let url = postgres.url();
    let settings = RadiusSettings {
        location: Some(&url),
        tables: "[radius.answers]\nreject_delay = \"0s\"",
        ..RadiusSettings::default()
    };
    let mut role = RadiusRole::prepare(lab, name, address, settings).unwrap();
    for user in ["alice", "bob"] {
        role.add_user(user, PASSWORD, &[]).unwrap();
    }
    role.begin().unwrap();
    role.until_loaded(2).unwrap();
    role
}

#[test]
fn aaa_odd_packets_get_what_they_deserve_and_harm_nobody() {
    let lab = Lab::up("aaa-odd", LabOptions::default()).unwrap();
    let postgres = Postgres::start(&lab, &lab.folder().join("postgres"), 1).unwrap();
    let mut role = server(&lab, "odd", "203.0.113.49", &postgres);
    let pid = role.role().pid().unwrap();
    let (auth, acct) = (role.auth(), role.acct());
    let nas = Nas::new(&lab, 0).unwrap();
    let mut stand = Stand { role: &role, nas };
    let s = &mut stand;

    // What gets no answer: (what, where to, packet, stage, reason).
    let good = s.login().signed(SECRET_BYTES).encode();
    let with_length =
        |s: &mut Stand<'_, '_>, length: u16| s.login().length(length).signed(SECRET_BYTES);
    let with_raw = |s: &mut Stand<'_, '_>, raw: &[u8]| {
        s.login().raw_attributes(raw).signed(SECRET_BYTES).encode()
    };
    let with_code = |s: &mut Stand<'_, '_>, code: u8| {
        Packet::new(code, s.nas.next_id(), s.nas.authenticator()).encode()
    };
    let many =
        |packet: Packet, count: usize| packet.raw_attributes(&[REPLY_MESSAGE, 2].repeat(count));
    let long = |packet: Packet, count: usize| {
        (0..count).fold(packet, |packet, _| packet.attribute(REPLY_MESSAGE, &[b'x'; 253]))
    };
    let unsigned = Packet::new(ACCESS_REQUEST, s.nas.next_id(), s.nas.authenticator())
        .attribute(USER_NAME, b"alice")
        .password(SECRET_BYTES, PASSWORD);
    let silent: Vec<(&str, SocketAddr, Vec<u8>, &str, &str)> = vec![
        ("nothing at all", auth, Vec::new(), "malformed", "short"),
        ("one byte", auth, vec![ACCESS_REQUEST], "malformed", "short"),
        ("half a header", auth, good[..HEADER - 1].to_vec(), "malformed", "short"),
        ("a Length of 0", auth, with_length(s, 0).encode(), "malformed", "length_too_small"),
        ("a Length of 19", auth, with_length(s, 19).encode(), "malformed", "length_too_small"),
        ("a Length of 4097", auth, with_length(s, 4_097).encode(), "malformed", "length_too_big"),
        ("a Length of 65535", auth, with_length(s, 65_535).encode(), "malformed", "length_too_big"),
        (
            "more than 4096 bytes, in fragments",
            auth,
            long(s.login(), 18).signed(SECRET_BYTES).encode(),
            "malformed",
            "length_too_big",
        ),
        (
            "a Length beyond the datagram",
            auth,
            good[..good.len() - 1].to_vec(),
            "malformed",
            "truncated",
        ),
        (
            "a Length that cuts the last attribute",
            auth,
            with_length(s, good.len() as u16 - 1).encode(),
            "malformed",
            "attribute_torn",
        ),
        (
            "an attribute of length 0",
            auth,
            with_raw(s, &[REPLY_MESSAGE, 0]),
            "malformed",
            "attribute_too_short",
        ),
        (
            "an attribute of length 1",
            auth,
            with_raw(s, &[REPLY_MESSAGE, 1, 0, 0]),
            "malformed",
            "attribute_too_short",
        ),
        (
            "an attribute past the end",
            auth,
            with_raw(s, &[REPLY_MESSAGE, 255, 0, 0]),
            "malformed",
            "attribute_torn",
        ),
        ("half an attribute", auth, with_raw(s, &[REPLY_MESSAGE]), "malformed", "attribute_torn"),
        (
            "256 attributes",
            auth,
            many(s.login(), 253).signed(SECRET_BYTES).encode(),
            "malformed",
            "too_many_attributes",
        ),
        (
            "no Message-Authenticator",
            auth,
            unsigned.encode(),
            "unverified",
            "no_message_authenticator",
        ),
        (
            "Proxy-State without Message-Authenticator",
            auth,
            unsigned.clone().attribute(PROXY_STATE, b"x").encode(),
            "unverified",
            "no_message_authenticator",
        ),
        (
            "a wrong Message-Authenticator",
            auth,
            s.login().encode(),
            "unverified",
            "message_authenticator",
        ),
        (
            "another secret's Message-Authenticator",
            auth,
            s.login().signed(b"another secret").encode(),
            "unverified",
            "message_authenticator",
        ),
        (
            "something changed after signing",
            auth,
            s.login().signed(SECRET_BYTES).attribute(NAS_PORT, &[0, 0, 0, 1]).encode(),
            "unverified",
            "message_authenticator",
        ),
        (
            "two Message-Authenticators",
            auth,
            s.login().attribute(MESSAGE_AUTHENTICATOR, &[0; 16]).signed(SECRET_BYTES).encode(),
            "unverified",
            "message_authenticator_repeated",
        ),
        (
            "a Message-Authenticator of 15 bytes",
            auth,
            unsigned.clone().attribute(MESSAGE_AUTHENTICATOR, &[7; 15]).encode(),
            "unverified",
            "message_authenticator_length",
        ),
        (
            "a Status-Server without Message-Authenticator",
            auth,
            with_code(s, 12),
            "unverified",
            "no_message_authenticator",
        ),
        ("code 0", auth, with_code(s, 0), "dropped", "unexpected_code"),
        ("an answer", auth, with_code(s, ACCESS_ACCEPT), "dropped", "unexpected_code"),
        ("a Disconnect-Request", auth, with_code(s, 40), "dropped", "unexpected_code"),
        ("code 99", acct, with_code(s, 99), "dropped", "unexpected_code"),
        ("code 255", acct, with_code(s, 255), "dropped", "unexpected_code"),
        ("a login to the port of accounting", acct, good.clone(), "dropped", "unexpected_code"),
        (
            "accounting to the port of logins",
            auth,
            sealed(&s.record("lost")),
            "dropped",
            "unexpected_code",
        ),
        (
            "a record's wrong authenticator",
            acct,
            s.record("lost").encode(),
            "unverified",
            "authenticator",
        ),
        (
            "a record's wrong Message-Authenticator",
            acct,
            sealed(&s.record("lost").attribute(MESSAGE_AUTHENTICATOR, &[7; 16])),
            "unverified",
            "message_authenticator",
        ),
        (
            "a record of nothing",
            acct,
            sealed(&Packet::new(ACCOUNTING_REQUEST, s.nas.next_id(), [0; 16])),
            "dropped",
            "no_status",
        ),
        (
            "a record with half a status",
            acct,
            sealed(
                &Packet::new(ACCOUNTING_REQUEST, s.nas.next_id(), [0; 16])
                    .attribute(ACCT_STATUS_TYPE, &[0, 0, 1])
                    .attribute(ACCT_SESSION_ID, b"lost"),
            ),
            "dropped",
            "no_status",
        ),
        (
            "a record of no session",
            acct,
            sealed(
                &Packet::new(ACCOUNTING_REQUEST, s.nas.next_id(), [0; 16])
                    .attribute(ACCT_STATUS_TYPE, &[0, 0, 0, 1])
                    .attribute(USER_NAME, b"alice"),
            ),
            "dropped",
            "no_session",
        ),
        (
            "a record with an attribute past the end",
            acct,
            sealed(&s.record("lost").raw_attributes(&[REPLY_MESSAGE, 9])),
            "malformed",
            "attribute_torn",
        ),
    ];
    for (what, to, packet, stage, reason) in silent {
        let (_, counted) = s.send(what, to, &packet, false);
        assert_eq!(counted, BTreeMap::from([((stage.to_owned(), reason.to_owned()), 1)]), "{what}");
    }

    // What gets one: (what, packet, code, the reason of a refusal).
    let named = |s: &mut Stand<'_, '_>, name: &[u8]| {
        s.request().attribute(USER_NAME, name).password(SECRET_BYTES, PASSWORD)
    };
    let password = |s: &mut Stand<'_, '_>, length: usize| {
        s.request().attribute(USER_NAME, b"alice").attribute(USER_PASSWORD, &vec![7; length])
    };
    let microsoft = |packet: Packet, inner: &[u8]| {
        packet.attribute(VENDOR_SPECIFIC, &[&311_u32.to_be_bytes()[..], inner].concat())
    };
    let plain = |s: &mut Stand<'_, '_>| s.login();
    let nameless = |s: &mut Stand<'_, '_>| s.request().password(SECRET_BYTES, PASSWORD);
    let answered: Vec<(&str, Packet, u8, &str)> = vec![
        ("255 attributes", many(plain(s), 252), ACCESS_ACCEPT, ""),
        (
            "4096 bytes",
            long(plain(s), 15).attribute(REPLY_MESSAGE, &[b'x'; 142]),
            ACCESS_ACCEPT,
            "",
        ),
        ("an empty attribute", plain(s).attribute(REPLY_MESSAGE, b""), ACCESS_ACCEPT, ""),
        ("two User-Names", plain(s).attribute(USER_NAME, b"mallory"), ACCESS_ACCEPT, ""),
        (
            "two User-Names, the wrong one first",
            named(s, b"mallory").attribute(USER_NAME, b"alice"),
            ACCESS_REJECT,
            "unknown_user",
        ),
        ("a vendor's lie", microsoft(plain(s), &[1, 200, 0]), ACCESS_ACCEPT, ""),
        ("a vendor's length of 0", microsoft(plain(s), &[1, 0, 0]), ACCESS_ACCEPT, ""),
        ("a vendor of two bytes", plain(s).attribute(VENDOR_SPECIFIC, &[1, 2]), ACCESS_ACCEPT, ""),
        ("an empty User-Name", named(s, b""), ACCESS_REJECT, "no_name"),
        ("no User-Name", nameless(s), ACCESS_REJECT, "no_name"),
        ("a User-Name that is no text", named(s, b"\xff\xfe\0"), ACCESS_REJECT, "unknown_user"),
        ("a long User-Name", named(s, &[b'x'; 253]), ACCESS_REJECT, "unknown_user"),
        ("an empty password", password(s, 0), ACCESS_REJECT, "bad_offer"),
        ("a password of 15 bytes", password(s, 15), ACCESS_REJECT, "bad_offer"),
        ("a password of 17 bytes", password(s, 17), ACCESS_REJECT, "bad_offer"),
        ("a password of 129 bytes", password(s, 129), ACCESS_REJECT, "bad_offer"),
        ("a password of 144 bytes", password(s, 144), ACCESS_REJECT, "bad_offer"),
        ("a password of 253 bytes", password(s, 253), ACCESS_REJECT, "bad_offer"),
        ("a password of rubbish", password(s, 128), ACCESS_REJECT, "wrong_password"),
        (
            "passwords of two methods",
            plain(s).attribute(CHAP_PASSWORD, &[7; 17]),
            ACCESS_REJECT,
            "bad_offer",
        ),
        (
            "half an MS-CHAPv2",
            microsoft(
                s.request().attribute(USER_NAME, b"alice"),
                &[25, 10, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
            ACCESS_REJECT,
            "bad_offer",
        ),
        (
            "EAP",
            s.request().attribute(USER_NAME, b"alice").attribute(EAP_MESSAGE, &[2, 0, 0, 4]),
            ACCESS_REJECT,
            "bad_offer",
        ),
        (
            "no password",
            s.request().attribute(USER_NAME, b"alice"),
            ACCESS_REJECT,
            "method_impossible",
        ),
    ];
    for (what, packet, code, reason) in answered {
        let (got, counted) = s.send(what, auth, &packet.signed(SECRET_BYTES).encode(), true);
        assert_eq!(got, Some(code), "{what}");
        let expected =
            (!reason.is_empty()).then(|| (("rejected".to_owned(), reason.to_owned()), 1));
        assert_eq!(counted, expected.into_iter().collect(), "{what}");
    }
    for (what, padding) in [("padding", 7), ("padding beyond any packet", 6_000)] {
        let padded = [s.login().signed(SECRET_BYTES).encode(), vec![0xff; padding]].concat();
        let (got, counted) = s.send(what, auth, &padded, true);
        assert_eq!((got, counted.len()), (Some(ACCESS_ACCEPT), 0), "{what}");
    }

    let records = [
        ("255 attributes", many(s.record("r1"), 252)),
        ("an empty attribute", s.record("r2").attribute(REPLY_MESSAGE, b"")),
        ("two User-Names", s.record("r3").attribute(USER_NAME, b"mallory")),
        ("a vendor's lie", microsoft(s.record("r4"), &[1, 200, 0])),
        ("half a number", s.record("r5").attribute(ACCT_SESSION_TIME, &[0, 0, 1])),
        ("what no database has as text", s.record("r6\0\u{fffd}").attribute(31, b"\xff\0\xfe")),
        ("4096 bytes", long(s.record("r7"), 15).attribute(REPLY_MESSAGE, &[b'x'; 200])),
        (
            "a status that nobody knows",
            Packet::new(ACCOUNTING_REQUEST, s.nas.next_id(), [0; 16])
                .attribute(ACCT_STATUS_TYPE, &77_u32.to_be_bytes()),
        ),
        (
            "a port instead of a session",
            Packet::new(ACCOUNTING_REQUEST, s.nas.next_id(), [0; 16])
                .attribute(ACCT_STATUS_TYPE, &1_u32.to_be_bytes())
                .attribute(ACCT_SESSION_ID, b"")
                .attribute(NAS_PORT, &[0, 0, 0, 1]),
        ),
    ];
    let count = records.len();
    for (what, record) in records {
        let (got, counted) = s.send(what, acct, &sealed(&record), true);
        assert_eq!((got, counted.len()), (Some(ACCOUNTING_RESPONSE), 0), "{what}: {counted:?}");
    }
    let padded = [sealed(&s.record("padded")), vec![0; 9]].concat();
    assert_eq!(s.send("padding", acct, &padded, true).0, Some(ACCOUNTING_RESPONSE));
    assert!(s.nas.receive(Duration::from_millis(300)).unwrap().is_none(), "a late answer");

    // Who is no NAS hears nothing, be it ever so right.
    let customer = lab.customer_hosts(Family::V4)[0];
    let stranger = lab.customers().inside(move || Ok(std::net::UdpSocket::bind((customer, 0))?));
    stranger.unwrap().send_to(&s.login().signed(SECRET_BYTES).encode(), auth).unwrap();
    let unknown = ("unverified".to_owned(), "unknown_client".to_owned());
    until("the stranger", SOON, || Ok(role.reasons()?.get(&unknown).map(|_| ()))).unwrap();

    role.until_told().unwrap();
    assert_eq!(role.exported("records").unwrap().len(), count + 1, "all that was acknowledged");
    assert_eq!(role.role().pid().unwrap(), pid);
    assert!(!role.role().output().contains("panic"), "{}", role.role().output());
}

#[test]
fn aaa_a_storm_of_broken_packets_stops_nothing_and_what_is_acknowledged_finds_a_place() {
    const STORM: u32 = 20_000;
    let lab = Lab::up("aaa-storm", LabOptions::default()).unwrap();
    let postgres = Postgres::start(&lab, &lab.folder().join("postgres"), 1).unwrap();
    let mut role = server(&lab, "storm", "203.0.113.50", &postgres);
    let pid = role.role().pid().unwrap();
    let (auth, acct) = (role.auth(), role.acct());
    let (mut quiet, mut nas) = (Nas::new(&lab, 0).unwrap(), Nas::new(&lab, 1).unwrap());
    let mut random = Random::seeded(20_261_129);
    for number in 0..STORM {
        let session = format!("s{number}");
        let whole = if number.is_multiple_of(2) {
            Packet::access_request(nas.next_id(), nas.authenticator())
                .attribute(USER_NAME, b"bob")
                .password(SECRET_BYTES, PASSWORD)
                .attribute(4, &[192, 0, 2, 3])
                .vendor(311, 11, &[7; 16])
                .attribute(31, b"00-11-22-33-44-55")
                .signed(SECRET_BYTES)
                .encode()
        } else {
            Packet::new(ACCOUNTING_REQUEST, nas.next_id(), [0; 16])
                .attribute(ACCT_STATUS_TYPE, &(1 + number % 3).to_be_bytes())
                .attribute(ACCT_SESSION_ID, session.as_bytes())
                .attribute(USER_NAME, b"bob")
                .attribute(8, &[10, 0, 0, 1])
                .attribute(ACCT_SESSION_TIME, &number.to_be_bytes())
                .attribute(42, &number.to_be_bytes())
                .attribute(52, &[0, 0, 0, 1])
                .attribute(55, &number.to_be_bytes())
                .attribute(97, &[0, 64, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0])
                .encode()
        };
        let broken = broken(&mut random, whole);
        // Half of them by somebody who knows the secret, so that it comes further.
        let broken =
            if random.next_u64().is_multiple_of(2) { broken } else { signed_again(broken) };
        nas.send(if number.is_multiple_of(2) { auth } else { acct }, &broken).unwrap();
        if number.is_multiple_of(100) {
            let login = quiet.login("alice", 1);
            let answer = quiet.ask(auth, &login, 30).unwrap().expect("an answer");
            assert_eq!(answer.code, ACCESS_ACCEPT, "after {number}");
        }
    }
    role.until_told().unwrap();
    let reasons = role.reasons().unwrap();
    for stage in ["malformed", "unverified", "rejected"] {
        let of_stage = reasons.iter().filter(|((counted, _), _)| counted == stage);
        assert!(of_stage.map(|(_, count)| count).sum::<u64>() > 100, "{stage}: {reasons:?}");
    }
    let status = role.status().unwrap();
    let acknowledged = status["nases"][0]["acknowledged"].as_u64().unwrap();
    assert!(acknowledged > 100, "{status}");
    assert_eq!(status["journal"]["durable"].as_u64(), Some(acknowledged), "{status}");
    assert_eq!(role.role().pid().unwrap(), pid);
    assert!(!role.role().output().contains("panic"), "{}", role.role().output());
}

/// The packet with something wrong in it.
fn broken(random: &mut Random, mut packet: Vec<u8>) -> Vec<u8> {
    let mut below = |limit: usize| (random.next_u64() % limit.max(1) as u64) as usize;
    for _ in 0..=below(3) {
        let at = below(packet.len());
        match below(6) {
            0 => packet.truncate(at),
            1 => packet.insert(at, below(256) as u8),
            2 => drop(packet.drain(at..(at + below(9)).min(packet.len()))),
            // A length, of the packet or of an attribute, as likely as not.
            3 => packet.iter_mut().skip(2).take(2).for_each(|byte| *byte = below(256) as u8),
            _ => packet.iter_mut().skip(at).take(1).for_each(|byte| *byte = below(256) as u8),
        }
    }
    packet
}

/// The packet as a NAS would have signed it, as far as that can be done.
fn signed_again(mut packet: Vec<u8>) -> Vec<u8> {
    let Some(&[code, id, ..]) = packet.first_chunk::<HEADER>() else { return packet };
    let length = packet.len() as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    if code == ACCOUNTING_REQUEST {
        seal_accounting(&mut packet, SECRET_BYTES);
        return packet;
    }
    let authenticator = packet[4..HEADER].try_into().unwrap();
    let rest = packet.get(HEADER + 18..).unwrap_or_default();
    let again = Packet::new(code, id, authenticator).attribute(MESSAGE_AUTHENTICATOR, &[0; 16]);
    again.raw_attributes(rest).signed(SECRET_BYTES).encode()
}
