//! What answers are held to, with another decoder as the judge.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Record, RecordType};
use proptest::prelude::*;

use super::*;
use crate::query::OPT;
use crate::samples;

/// A query for the message's question with these flags and OPT record.
fn query_for(message: &[u8], flags: u16, opt: &[u8]) -> Vec<u8> {
    let end = HEADER + name::wire_len(&message[HEADER..]).unwrap() + 4;
    let mut packet = vec![0xab, 0xcd];
    packet.extend(flags.to_be_bytes());
    packet.extend([0, 1, 0, 0, 0, 0, 0, u8::from(!opt.is_empty())]);
    packet.extend(&message[HEADER..end]);
    packet.extend(opt);
    packet
}

const PLAIN_OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
const DO_OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";
const COOKIE_OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08abcdefgh";

fn facts() -> Facts {
    Facts { born: 1_000, ttl: 300, stale_until: 4_000, ..Facts::default() }
}

fn rendered(message: &[u8], facts: Facts, packet: &[u8], now: u32, limits: Limits) -> Message {
    let answer = Answer::build(message, facts).unwrap();
    let mut out = [0; 4096];
    let query = Query::parse(packet).unwrap();
    let length = answer.render(&query, now, &limits, &mut out);
    assert!(length <= limits.max_len);
    Message::from_vec(&out[..length]).unwrap()
}

fn ttls(records: &[Record]) -> Vec<u32> {
    records.iter().map(|record| record.ttl).collect()
}

#[test]
fn times_to_live_grow_old() {
    let records = vec![
        samples::cname("www.example.", 300, "a.example."),
        samples::a("a.example.", 20, 1),
        samples::a("a.example.", u32::MAX, 2),
    ];
    let sections = [records, vec![samples::soa("example.", 900)], vec![]];
    let message =
        samples::response(("www.example.", RecordType::A), ResponseCode::NoError, sections);
    let packet = query_for(&message, 0x0100, PLAIN_OPT);
    // (now, stale, answers', authority's)
    let cases = [
        (1_000, false, [300, 20, 0], 900),
        (1_007, false, [293, 13, 0], 893),
        (1_299, false, [1, 0, 0], 601),
        (900, false, [300, 20, 0], 900),
        (2_000, true, [30, 20, 0], 30),
    ];
    for (now, stale, answers, authority) in cases {
        let limits = Limits { stale, ..Limits::tcp() };
        let message = rendered(&message, facts(), &packet, now, limits);
        assert_eq!(ttls(&message.answers), answers, "{now}");
        assert_eq!(ttls(&message.authorities), [authority], "{now}");
    }
}

#[test]
fn flags_are_as_asked() {
    let message = samples::address("www.example.", 60, 1);
    // (flags asked, OPT, secure, flags answered)
    let cases: [(u16, &[u8], bool, u16); 11] = [
        (0, b"", false, 0x8080),
        (0x0100, b"", false, 0x8180),
        (0x0110, b"", true, 0x8190),
        (0x0120, b"", true, 0x81a0),
        (0x0120, b"", false, 0x8180),
        (0x0100, b"", true, 0x8180),
        (0x0100, PLAIN_OPT, true, 0x8180),
        (0x0100, DO_OPT, true, 0x81a0),
        (0x0100, DO_OPT, false, 0x8180),
        // Who checks by itself hears nothing of our checks.
        (0x0130, DO_OPT, true, 0x8190),
        // Z and TC of a query mean nothing.
        (0x0340, b"", true, 0x8180),
    ];
    for (asked, opt, secure, expected) in cases {
        for authoritative in [false, true] {
            let facts = Facts { secure, authoritative, ..facts() };
            let answer = Answer::build(&message, facts).unwrap();
            let packet = query_for(&message, asked, opt);
            let mut out = [0; 512];
            let query = Query::parse(&packet).unwrap();
            let length = answer.render(&query, 1_000, &Limits::udp(&query), &mut out);
            assert!(length > 0);
            let expected = expected | if authoritative { FLAG_AA } else { 0 };
            assert_eq!(u16_at(&out, 2), Some(expected), "{asked:x} {opt:?} {secure}");
            assert_eq!(out[..2], [0xab, 0xcd]);
        }
    }
}

#[test]
fn the_client_finds_its_letter_case() {
    let message = samples::address("www.example.", 60, 1);
    let mut packet = query_for(&message, 0x0100, b"");
    packet[HEADER..HEADER + 12].make_ascii_uppercase();
    let message = rendered(&message, facts(), &packet, 1_000, Limits::tcp());
    assert_eq!(message.queries[0].name().to_string(), "WWW.EXAMPLE.");
    assert_eq!(message.answers[0].name.to_string(), "WWW.EXAMPLE.");

    let other = samples::address("mmm.example.", 60, 1);
    let answer = Answer::build(&other, facts()).unwrap();
    let query = Query::parse(&packet).unwrap();
    assert_eq!(answer.render(&query, 1_000, &Limits::tcp(), &mut [0; 512]), 0);
}

#[test]
fn opt_records_answer_opt_records() {
    let message = samples::address("www.example.", 60, 1);
    let stored = Facts { extended_error: Some((9, "no DNSKEY".into())), ..facts() };
    let cookie = Some([5; 24]);
    let ede = |code: u8, text: &str| {
        [&[0, 15, 0, 2 + text.len() as u8, 0, code], text.as_bytes()].concat()
    };
    let sent_cookie = [&[0, 10, 0, 24][..], &[5; 24]].concat();
    // (OPT asked, facts, stale, the options)
    let cases: [(&[u8], Facts, bool, Vec<u8>); 6] = [
        (PLAIN_OPT, facts(), false, vec![]),
        (DO_OPT, stored.clone(), false, ede(9, "no DNSKEY")),
        (PLAIN_OPT, stored.clone(), true, [ede(9, "no DNSKEY"), ede(3, "")].concat()),
        (COOKIE_OPT, facts(), false, sent_cookie.clone()),
        (COOKIE_OPT, facts(), true, [sent_cookie.clone(), ede(3, "")].concat()),
        (COOKIE_OPT, stored.clone(), false, [sent_cookie, ede(9, "no DNSKEY")].concat()),
    ];
    for (opt, facts, stale, options) in cases {
        let packet = query_for(&message, 0x0100, opt);
        let query = Query::parse(&packet).unwrap();
        let limits = Limits { cookie, stale, ..Limits::udp(&query) };
        let answer = Answer::build(&message, facts).unwrap();
        let mut out = [0; 512];
        let length = answer.render(&query, 1_000, &limits, &mut out);
        let mut expected = b"\0\0\x29\x04\xd0\0\0".to_vec();
        expected.extend([if query.dnssec_ok() { 0x80 } else { 0 }, 0, 0, options.len() as u8]);
        expected.extend(options);
        assert_eq!(out[length - expected.len()..length], expected);
        assert_eq!(u16_at(&out, 10), Some(1));
        // It would be shorter without the OPT record, and that is how others get it.
        let packet = query_for(&message, 0x0100, b"");
        let query = Query::parse(&packet).unwrap();
        let bare = answer.render(&query, 1_000, &limits, &mut out);
        assert_eq!((bare, u16_at(&out, 10)), (message.len(), Some(0)));
    }
    let negative = &samples::responses()[2];
    let packet = query_for(negative, 0x0100, PLAIN_OPT);
    let limits = Limits { stale: true, ..Limits::tcp() };
    let answer = Answer::build(negative, facts()).unwrap();
    let mut out = [0; 512];
    let length = answer.render(&Query::parse(&packet).unwrap(), 2_000, &limits, &mut out);
    assert_eq!(out[length - 6..length], ede(19, ""), "a stale NXDOMAIN has its own code");
}

#[test]
fn what_does_not_fit_is_left_out_in_order() {
    let answers = vec![samples::txt("t.example.", 60, 100)];
    let additional = vec![samples::a("mail.example.", 60, 1)];
    let sections = [answers, vec![], additional];
    let message =
        samples::response(("t.example.", RecordType::TXT), ResponseCode::NoError, sections);
    let text = "x".repeat(50);
    let facts = Facts { extended_error: Some((9, text.clone().into())), ..facts() };
    let packet = query_for(&message, 0x0100, PLAIN_OPT);
    let whole = message.len() + OPT + 6;
    let without_additional = HEADER + 15 + 12 + 101 + OPT + 6;
    let without_records = HEADER + 15 + OPT + 6;
    // (room, length, answers, additional, truncated)
    let cases = [
        (4_096, whole + 50, 1, 1, false),
        (whole + 50, whole + 50, 1, 1, false),
        (whole + 49, whole, 1, 1, false),
        (whole, whole, 1, 1, false),
        (whole - 1, without_additional, 1, 0, false),
        (without_additional, without_additional, 1, 0, false),
        (without_additional - 1, without_records, 0, 0, true),
        (without_records, without_records, 0, 0, true),
        (without_records - 1, 0, 0, 0, false),
        (0, 0, 0, 0, false),
    ];
    let answer = Answer::build(&message, facts).unwrap();
    let query = Query::parse(&packet).unwrap();
    for (room, length, answers, additional, truncated) in cases {
        let mut out = vec![0; room];
        let limits = Limits { max_len: 4_096, ..Limits::tcp() };
        assert_eq!(answer.render(&query, 1_000, &limits, &mut out), length, "{room}");
        let mut out = [0; 4_096];
        let limits = Limits { max_len: room, ..limits };
        assert_eq!(answer.render(&query, 1_000, &limits, &mut out), length, "{room}");
        if length > 0 {
            let message = Message::from_vec(&out[..length]).unwrap();
            assert_eq!(message.answers.len(), answers, "{room}");
            assert_eq!(message.additionals.len(), additional, "{room}");
            assert_eq!(message.metadata.truncation, truncated, "{room}");
            assert!(message.edns.is_some(), "{room}");
        }
    }
}

#[test]
fn udp_is_held_to_what_both_sides_take() {
    for (payload, expected) in [(0_u16, 512), (512, 512), (1_000, 1_000), (4_096, 1_232)] {
        let [high, low] = payload.to_be_bytes();
        let opt = [0, 0, 41, high, low, 0, 0, 0, 0, 0, 0];
        let packet = query_for(&samples::address("a.", 1, 1), 0, &opt);
        assert_eq!(Limits::udp(&Query::parse(&packet).unwrap()).max_len, expected);
    }
    let packet = query_for(&samples::address("a.", 1, 1), 0, b"");
    assert_eq!(Limits::udp(&Query::parse(&packet).unwrap()).max_len, 512);
}

#[test]
fn only_whole_answers_are_kept() {
    let good = samples::address("www.example.", 60, 1);
    let change = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let owner = HEADER + 17;
    let cases = [
        ("empty", vec![], BuildError::Length),
        ("a query", change(2, 0), BuildError::Header),
        ("truncated", change(2, 0x82), BuildError::Header),
        ("a notify", change(2, 0xa0), BuildError::Header),
        ("no question", change(5, 0), BuildError::Question),
        ("a pointer asked for", change(HEADER, 0xc0), BuildError::Question),
        ("one answer less", change(7, 0), BuildError::Length),
        ("one answer more", change(7, 2), BuildError::Name(good.len())),
        ("many answers", change(6, 0xff), BuildError::Records),
        ("a pointer ahead", change(owner + 1, owner as u8), BuildError::Name(owner)),
        ("a pointer to the header", change(owner + 1, 2), BuildError::Name(owner)),
        ("an OPT record", change(owner + 3, 41), BuildError::Meta(41)),
        ("a TSIG record", change(owner + 3, 250), BuildError::Meta(250)),
        ("an odd CNAME", change(owner + 3, 5), BuildError::Name(owner)),
        ("data cut", change(owner + 11, 5), BuildError::Length),
        ("junk", [&good[..], b"x"].concat(), BuildError::Length),
        ("too long", vec![0; 65_536], BuildError::Length),
    ];
    assert!(Answer::build(&good, facts()).is_ok());
    for (what, bytes, error) in cases {
        assert_eq!(Answer::build(&bytes, facts()).err(), Some(error), "{what}");
    }
    for length in 0..good.len() {
        assert!(Answer::build(&good[..length], facts()).is_err(), "{length}");
    }
}

/// Such a name would be another one with each second.
#[test]
fn names_do_not_lead_through_a_time_to_live() {
    // 0x12c seconds: a label of one byte, ended by the upper half of the length of the data.
    let message = samples::response(
        ("a.b.", RecordType::A),
        ResponseCode::NoError,
        [vec![samples::a("a.b.", 0x12c, 1), samples::a("a.b.", 0x12c, 2)], vec![], vec![]],
    );
    let (first, second) = (HEADER + 9, HEADER + 9 + 16);
    let pointing = |place: usize, target: usize| {
        let mut bytes = message.clone();
        bytes[place..place + 2].copy_from_slice(&[0xc0, target as u8]);
        Answer::build(&bytes, facts()).err()
    };
    let cases = [
        ("to the question", second, HEADER, None),
        ("to a label in it", second, HEADER + 2, None),
        ("to the first record's name", second, first, None),
        ("to its time to live", second, first + 8, Some(BuildError::Name(second))),
        ("to the zero in it", second, first + 6, Some(BuildError::Name(second))),
        ("to the zero before it", second, first + 4, None),
        ("to the zero after it", second, first + 10, None),
    ];
    for (what, place, target, error) in cases {
        assert_eq!(pointing(place, target), error, "{what}");
    }
    let mut alias = samples::response(
        ("a.b.", RecordType::CNAME),
        ResponseCode::NoError,
        [vec![samples::cname("a.b.", 0x12c, "b.")], vec![], vec![]],
    );
    let data = first + 12;
    assert!(Answer::build(&alias, facts()).is_ok());
    alias[data + 1] = (first + 8) as u8;
    assert_eq!(Answer::build(&alias, facts()).err(), Some(BuildError::Name(first)));
}

#[test]
fn an_answer_knows_itself() {
    let text = "é".repeat(200);
    let facts = Facts {
        kind: Kind::Negative,
        secure: true,
        authoritative: true,
        extended_error: Some((7, text.into())),
        ..facts()
    };
    let responses = samples::responses();
    let answer = Answer::build(&responses[2], facts.clone()).unwrap();
    let kept = answer.facts();
    assert_eq!(kept.extended_error.as_ref().unwrap().1.len(), MAX_ERROR_TEXT);
    assert_eq!(Facts { extended_error: None, ..kept }, Facts { extended_error: None, ..facts });
    assert_eq!(answer.rcode(), NXDOMAIN);
    assert_eq!(answer.ttl_offsets().count(), 1);
    for (now, freshness) in [
        // The clock was set back by more than a correction.
        (0, Freshness::Stale),
        (995, Freshness::Fresh(305)),
        (1_000, Freshness::Fresh(300)),
        (1_299, Freshness::Fresh(1)),
        (1_300, Freshness::Stale),
        (3_999, Freshness::Stale),
        (4_000, Freshness::Dead),
    ] {
        assert_eq!(answer.freshness(now), freshness);
    }

    let chain = Answer::build(&responses[1], self::facts()).unwrap();
    let wire = |text: &str| text.parse::<name::Name>().unwrap();
    for (name, exact, zone) in [
        ("WWW.example.com", true, true),
        ("example.com", false, true),
        ("b.cdn.example.net", true, true),
        ("example.net", false, true),
        ("example.org", false, false),
        ("ww.example.com", false, false),
        (".", false, true),
    ] {
        assert_eq!(chain.concerns(wire(name).as_wire(), false), exact, "{name}");
        assert_eq!(chain.concerns(wire(name).as_wire(), true), zone, "{name}");
    }
}

#[test]
fn short_answers() {
    let message = samples::address("www.example.", 60, 1);
    let mut out = [0; 600];
    let plain = query_for(&message, 0x0110, b"");
    let plain = Query::parse(&plain).unwrap();
    let with_cookie = query_for(&message, 0x0100, COOKIE_OPT);
    let with_cookie = Query::parse(&with_cookie).unwrap();
    let question = plain.question.len();

    let length = refuse(&plain, 5, Some((15, "blocked")), Some([1; 24]), &mut out);
    assert_eq!(length, HEADER + question);
    assert_eq!(u16_at(&out, 2), Some(0x8195));
    // BADCOOKIE can't be said without an OPT record.
    assert_eq!(refuse(&plain, 23, None, None, &mut out), HEADER + question);
    assert_eq!(u16_at(&out, 2).map(|flags| flags & 0xf), Some(SERVFAIL));

    let length = refuse(&with_cookie, 23, Some((15, "why")), Some([1; 24]), &mut out);
    assert_eq!(length, HEADER + question + OPT + 28 + 9);
    let reply = Message::from_vec(&out[..length]).unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::BADCOOKIE);

    let length = minimal_any(&with_cookie, None, &mut out);
    let reply = Message::from_vec(&out[..length]).unwrap();
    assert_eq!(reply.answers[0].record_type(), RecordType::HINFO);
    assert_eq!(
        (reply.answers[0].ttl, reply.answers[0].name.to_string()),
        (3_600, "www.example.".into())
    );
    for room in 0..HEADER + question {
        assert_eq!(refuse(&plain, 5, None, None, &mut out[..room]), 0);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_rendered_within_their_limit(
        control in prop::array::uniform9(any::<u8>()),
        pick in 0_usize..6,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut message = samples::responses().swap_remove(pick);
        for (at, byte) in changes {
            let at = at.index(message.len());
            message[at] = byte;
        }
        crate::fuzzing::answer(&[&control[..], &message].concat());
    }

    #[test]
    fn another_decoder_reads_the_same_records(
        control in prop::array::uniform9(any::<u8>()),
        owners in prop::collection::vec(("[a-c]{1,3}(\\.[a-c]{1,3}){0,3}\\.", any::<u32>(), any::<u8>()), 0..20),
        split in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let mut records: Vec<Record> = owners
            .iter()
            .map(|(owner, ttl, last)| match last % 4 {
                0 => samples::cname(owner, *ttl, "target.b.c."),
                1 => samples::soa(owner, *ttl),
                2 => samples::txt(owner, *ttl, usize::from(*last)),
                _ => samples::a(owner, *ttl, *last),
            })
            .collect();
        let mut cut = |index: prop::sample::Index| records.split_off(index.index(records.len() + 1));
        let additional = cut(split.0);
        let authorities = cut(split.1);
        let message = samples::response(
            ("a.b.c.", RecordType::A),
            ResponseCode::NoError,
            [records, authorities, additional],
        );
        prop_assert!(Answer::build(&message, facts()).is_ok());
        crate::fuzzing::answer(&[&control[..], &message].concat());
    }
}
