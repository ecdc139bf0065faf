//! What servers answer, read by hickory-proto.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData};
use hickory_proto::dnssec::{PublicKey as _, TBS};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use muralla_internet::{Internet, Plan, Protocol};

const NOW: u32 = 1_800_000_000;
const PLAN: &str = "
zone . signed
zone test nsec3 split iterations=3 salt=ab
zone example.test signed split
  www A 192.0.2.1
  alias CNAME www
  *.wild TXT \"any\"
  a.ent A 192.0.2.2
  old DNAME new
  x.new A 192.0.2.3
  big TXT \"0123456789012345678901234567890123456789012345678901234567890123456789\"
  big TXT \"1123456789012345678901234567890123456789012345678901234567890123456789\"
  big TXT \"2123456789012345678901234567890123456789012345678901234567890123456789\"
  big TXT \"3123456789012345678901234567890123456789012345678901234567890123456789\"
  big TXT \"4123456789012345678901234567890123456789012345678901234567890123456789\"
  big TXT \"5123456789012345678901234567890123456789012345678901234567890123456789\"
  big TXT \"6123456789012345678901234567890123456789012345678901234567890123456789\"
zone ecdsa.test nsec3 algorithm=ecdsa
  *.wild A 192.0.2.9
zone plain.test
  www A 192.0.2.4
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
server ns.example.test 10.0.0.3 serves example.test, plain.test, ecdsa.test
";

fn ask(internet: &Internet, server: &str, name: &str, rtype: RecordType, udp: bool) -> Message {
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true).set_max_payload(1_232);
    query.set_edns(edns);
    let server: SocketAddr = format!("{server}:53").parse().unwrap();
    let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
    let replies = internet.answer(server, protocol, &query.to_vec().unwrap(), NOW);
    Message::from_vec(&replies.last().unwrap().bytes).unwrap()
}

fn summary(records: &[Record]) -> String {
    let words = records.iter().map(|r| format!("{} {}", r.name, r.record_type()));
    let mut words: Vec<String> = words.filter(|w| !w.contains("RRSIG")).collect();
    words.sort();
    words.join(", ")
}

/// Every RRSIG record of a message over the records that it covers.
fn verify(message: &Message, keys: &[DNSKEY]) -> usize {
    let mut good = 0;
    for section in [&message.answers, &message.authorities] {
        for record in section {
            let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = &record.data else { continue };
            let input = rrsig.input();
            let set = section.iter().filter(|r| r.record_type() == input.type_covered);
            let tbs = TBS::from_input(&record.name, DNSClass::IN, input, set).unwrap();
            let verified = keys.iter().any(|k| {
                k.calculate_key_tag().unwrap() == input.key_tag
                    && k.public_key().verify(tbs.as_ref(), rrsig.sig()).is_ok()
            });
            assert!(verified, "{} {:?}", record.name, input.type_covered);
            good += 1;
        }
    }
    good
}

fn keys(internet: &Internet, server: &str, zone: &str) -> Vec<DNSKEY> {
    let message = ask(internet, server, zone, RecordType::DNSKEY, false);
    let of = |r: &Record| match &r.data {
        RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some(key.clone()),
        _ => None,
    };
    let keys: Vec<DNSKEY> = message.answers.iter().filter_map(of).collect();
    assert!(verify(&message, &keys) > 0);
    keys
}

#[test]
fn a_correct_authority_proves_what_it_says() {
    let internet = Plan::parse(PLAN).unwrap().build().unwrap();
    use RecordType::{A, DS, MX, TXT};
    for (server, zone, name, rtype, rcode, answers, authorities) in [
        ("10.0.0.1", ".", "x.test.", A, ResponseCode::NoError, "", "test. DS, test. NS"),
        (
            "10.0.0.3",
            "example.test.",
            "www.example.test.",
            A,
            ResponseCode::NoError,
            "www.example.test. A",
            "",
        ),
        (
            "10.0.0.3",
            "example.test.",
            "alias.example.test.",
            A,
            ResponseCode::NoError,
            "alias.example.test. CNAME, www.example.test. A",
            "",
        ),
        (
            "10.0.0.3",
            "example.test.",
            "a.wild.example.test.",
            TXT,
            ResponseCode::NoError,
            "a.wild.example.test. TXT",
            "*.wild.example.test. NSEC",
        ),
        (
            "10.0.0.3",
            "example.test.",
            "a.wild.example.test.",
            MX,
            ResponseCode::NoError,
            "",
            "*.wild.example.test. NSEC, example.test. SOA",
        ),
        (
            "10.0.0.3",
            "example.test.",
            "ent.example.test.",
            A,
            ResponseCode::NoError,
            "",
            "big.example.test. NSEC, example.test. SOA",
        ),
        (
            "10.0.0.3",
            "example.test.",
            "none.example.test.",
            A,
            ResponseCode::NXDomain,
            "",
            "example.test. NSEC, example.test. SOA, x.new.example.test. NSEC",
        ),
        (
            "10.0.0.3",
            "example.test.",
            "x.old.example.test.",
            A,
            ResponseCode::NoError,
            "old.example.test. DNAME, x.new.example.test. A, x.old.example.test. CNAME",
            "",
        ),
        ("10.0.0.2", "test.", "plain.test.", DS, ResponseCode::NoError, "", "NSEC3, SOA"),
        ("10.0.0.2", "test.", "none.test.", A, ResponseCode::NXDomain, "", "NSEC3, NSEC3, SOA"),
        (
            "10.0.0.3",
            "ecdsa.test.",
            "b.a.wild.ecdsa.test.",
            MX,
            ResponseCode::NoError,
            "",
            "NSEC3, SOA",
        ),
    ] {
        let message = ask(&internet, server, name, rtype, false);
        assert_eq!(message.response_code, rcode, "{name} {rtype}");
        assert_eq!(summary(&message.answers), answers, "{name} {rtype}");
        let authority = summary(&message.authorities);
        if authority.contains("NSEC3") {
            for wanted in authorities.split(", ") {
                assert!(authority.contains(wanted), "{name} {rtype}: {authority}");
            }
        } else {
            assert_eq!(authority, authorities, "{name} {rtype}");
        }
        assert!(verify(&message, &keys(&internet, server, zone)) > 0, "{name} {rtype}");
    }
}

#[test]
fn referrals_have_glue_and_what_is_too_large_is_truncated() {
    let internet = Plan::parse(PLAN).unwrap().build().unwrap();
    let message = ask(&internet, "10.0.0.2", "www.example.test.", RecordType::A, true);
    assert!(!message.authoritative);
    assert_eq!(summary(&message.additionals), "ns.example.test. A");
    let message = ask(&internet, "10.0.0.3", "big.example.test.", RecordType::TXT, true);
    assert!(!message.truncation && message.answers.len() > 5);
    let mut plain = Message::new(9, MessageType::Query, OpCode::Query);
    plain.add_query(Query::query(Name::from_ascii("BIG.example.test.").unwrap(), RecordType::TXT));
    let replies = internet.answer(
        "10.0.0.3:53".parse().unwrap(),
        Protocol::Udp,
        &plain.to_vec().unwrap(),
        NOW,
    );
    let message = Message::from_vec(&replies[0].bytes).unwrap();
    assert!(message.truncation && message.answers.is_empty());
    assert_eq!(message.queries[0].name().to_ascii(), "BIG.example.test.");
}

#[test]
fn misbehaviours_show() {
    let with = |lines: &str| Plan::parse(&format!("{PLAN}{lines}")).unwrap().build().unwrap();
    let www = |i: &Internet, rtype| ask(i, "10.0.0.3", "www.example.test.", rtype, true);
    let a = RecordType::A;
    assert_eq!(www(&with("  servfail\n"), a).response_code, ResponseCode::ServFail);
    assert_eq!(www(&with("  servfail type AAAA\n"), a).response_code, ResponseCode::NoError);
    assert_eq!(
        www(&with("  refused under example.test\n"), a).response_code,
        ResponseCode::Refused
    );
    assert!(www(&with("  truncate_always\n"), a).truncation);
    assert_eq!(summary(&www(&with("  lame\n"), a).authorities), ". NS");
    assert_eq!(www(&with("  nxns 20 victim.test\n"), a).authorities.len(), 20);
    assert_eq!(summary(&www(&with("  cname_loop\n"), a).answers), "www.example.test. CNAME");
    assert!(!www(&with("  aa_missing\n"), a).authoritative);
    let poisoned = www(&with("  poison additional evil.test. A 6.6.6.6\n"), a);
    assert_eq!(summary(&poisoned.additionals), "evil.test. A");
    let keys = keys(&with(""), "10.0.0.3", "example.test.");
    for flaw in ["bad_signature", "keytrap 5 5"] {
        let message = www(&with(&format!("  {flaw}\n")), a);
        assert!(std::panic::catch_unwind(|| verify(&message, &keys)).is_err(), "{flaw}");
    }
    let internet = with("  dead\n");
    let silent = internet.answer("10.0.0.3:53".parse().unwrap(), Protocol::Udp, &[0; 12], NOW);
    assert_eq!(silent.len(), 1, "what is no question is FORMERR for all");
    for unreadable in ["garbage", "pointer_loop", "two_questions"] {
        let internet = with(&format!("  {unreadable}\n"));
        let query = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x04test\0\0\x01\0\x01";
        let replies = internet.answer("10.0.0.3:53".parse().unwrap(), Protocol::Udp, query, NOW);
        let read = Message::from_vec(&replies[0].bytes);
        assert!(read.is_err() || read.unwrap().queries.len() == 2, "{unreadable}");
    }
}
