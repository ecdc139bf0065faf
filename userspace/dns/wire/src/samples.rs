//! Messages for tests, made by another encoder.

use std::net::Ipv4Addr;

use hickory_proto::op::{Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, MX, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::answer::{Answer, Facts, Kind};
use crate::cache::Cache;
use crate::key::Key;

pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub(crate) fn a(owner: &str, ttl: u32, last: u8) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A(Ipv4Addr::new(192, 0, 2, last))))
}

pub(crate) fn cname(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

pub(crate) fn soa(owner: &str, ttl: u32) -> Record {
    let soa = SOA::new(name("ns.example."), name("admin.example."), 1, 2, 3, 4, 60);
    Record::from_rdata(name(owner), ttl, RData::SOA(soa))
}

pub(crate) fn txt(owner: &str, ttl: u32, length: usize) -> Record {
    Record::from_rdata(name(owner), ttl, RData::TXT(TXT::new(vec!["x".repeat(length)])))
}

/// A response with these sections.
pub(crate) fn response(
    question: (&str, RecordType),
    rcode: ResponseCode,
    [answers, authorities, additional]: [Vec<Record>; 3],
) -> Vec<u8> {
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.metadata.response_code = rcode;
    message.add_query(Question::query(name(question.0), question.1));
    message.add_answers(answers);
    message.add_authorities(authorities);
    message.add_additionals(additional);
    message.to_vec().unwrap()
}

/// A response with one address.
pub(crate) fn address(owner: &str, ttl: u32, last: u8) -> Vec<u8> {
    let sections = [vec![a(owner, ttl, last)], vec![], vec![]];
    response((owner, RecordType::A), ResponseCode::NoError, sections)
}

pub(crate) fn responses() -> Vec<Vec<u8>> {
    let ok = ResponseCode::NoError;
    let chain = vec![
        cname("www.example.com.", 300, "a.cdn.example.net."),
        cname("a.cdn.example.net.", 60, "b.cdn.example.net."),
        a("b.cdn.example.net.", 20, 1),
        a("b.cdn.example.net.", 20, 2),
    ];
    let mx = Record::from_rdata(
        name("example.com."),
        3600,
        RData::MX(MX::new(10, name("mail.example.com."))),
    );
    let long = (0..8).map(|_| txt("t.example.", 0x7fff_ffff, 255)).collect();
    vec![
        address("www.example.com.", 300, 1),
        response(("www.example.com.", RecordType::A), ok, [chain, vec![], vec![]]),
        response(
            ("nx.example.", RecordType::AAAA),
            ResponseCode::NXDomain,
            [vec![], vec![soa("example.", 900)], vec![]],
        ),
        response(
            ("example.com.", RecordType::MX),
            ok,
            [vec![mx], vec![], vec![a("mail.example.com.", u32::MAX, 9)]],
        ),
        response(("t.example.", RecordType::TXT), ok, [long, vec![], vec![]]),
        response(
            ("dead.example.", RecordType::A),
            ResponseCode::ServFail,
            [vec![], vec![], vec![]],
        ),
    ]
}

pub(crate) fn queries() -> Vec<Vec<u8>> {
    [
        &b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x03wWw\x07eXample\x03com\0\0\x01\0\x01"[..],
        b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\x01\x01a\0\0\x1c\0\x01\0\0\x29\x10\0\0\0\x80\0\0\0",
        b"\x12\x34\x01\x10\0\x01\0\0\0\0\0\x01\x01a\0\0\x1c\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\x10\0\x0a\0\x08abcdefgh\0\x03\0\0",
        b"\x12\x34\0\0\0\x01\0\0\0\0\0\x02\0\0\x02\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\x1c\0\x0a\0\x18abcdefgh0123456789abcdef\x01k\0\0\xfa\0\xff\0\0\0\0\0\x02ab",
        b"\x12\x34\0\0\0\x01\0\0\0\0\0\x01\0\0\x02\0\x01\0\0\x29\x04\xd0\0\x01\0\0\0\0",
        b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01*\x03a.b\0\0\x1c\0\x01",
        b"\x12\x34\x28\0\0\x01\0\0\0\0\0\0\0\0\x06\0\x01",
        b"\x12\x34\x80\0\0\x01\0\0\0\0\0\0\0\0\x06\0\x01",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// A saved cache of all [`responses`], of time 1,000 and good until 2,500 at least.
pub(crate) fn cache_file() -> Vec<u8> {
    let cache = Cache::new(1 << 20, [5, 6]);
    for (at, response) in responses().iter().enumerate() {
        let facts = Facts {
            kind: [Kind::Positive, Kind::Negative, Kind::Failure][at % 3],
            secure: at % 2 == 0,
            authoritative: at == 3,
            extended_error: (at == 2).then(|| (22, "nobody there".into())),
            born: 1_000,
            ttl: if at % 2 == 0 { 1_500 } else { 100 },
            stale_until: 3_000,
        };
        let answer = Answer::build(response, facts).unwrap();
        let question = answer.question();
        let (name, kinds) = question.split_at(question.len() - 4);
        let qtype = u16::from_be_bytes([kinds[0], kinds[1]]);
        let key = Key::new(name, qtype, 1, at % 2 == 1, at % 3 == 1).unwrap();
        cache.insert(&key, answer);
        cache.credit(&key, at as u32 + 1, 1_000);
    }
    let mut file = Vec::new();
    cache.save(&mut file, 1_000, crate::fuzzing::RULES).unwrap();
    file
}
