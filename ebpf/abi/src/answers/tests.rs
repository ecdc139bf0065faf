use std::format;
use std::string::String;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::dns;
use crate::headers::{Parsed, parse, parse_transport};
use crate::table::{HostLines, Seeds};

const SEEDS: Seeds = Seeds::TEST;

/// Where the tests' answers begin to age.
const BORN: u32 = 1_000;

/// A cache in ordinary memory.
struct Host {
    state: Vec<[AtomicU64; 8]>,
    index: Vec<[AtomicU64; 8]>,
    slots: Vec<Vec<AtomicU64>>,
    second: u32,
}

impl Host {
    fn new() -> Self {
        let table = |lines| (0..lines).map(|_| Default::default()).collect();
        let host =
            Self { state: table(1), index: table(ANSWER_LINES), slots: Vec::new(), second: BORN };
        host.set_state(state::LIVE, 9);
        host.set_state(state::TYPES, u64::MAX);
        host
    }

    fn set_state(&self, word: u32, value: u64) {
        self.state[0][word as usize].store(value, Relaxed);
    }

    /// Puts an answer into the next slot, and into word `place` of its first or second line.
    fn publish(&mut self, answer: &Answer<'_>, second: bool, place: usize) -> Ready {
        let ready = build(answer).unwrap();
        let words = ready.stamped(5, 9, BORN, BORN + ready.lifetime);
        let hash = Identity::of(answer).unwrap().hash(&SEEDS);
        let mask = ANSWER_LINES - 1;
        let line = if second { hash.second(mask) } else { hash.first(mask) };
        if second {
            self.index[hash.first(mask) as usize][0].store(index::SPILLED, Relaxed);
        }
        let word = hash.fingerprint() << 32 | self.slots.len() as u64;
        self.index[line as usize][place].fetch_or(word, Relaxed);
        self.slots.push(words.map(AtomicU64::new).into());
        ready
    }

    /// The answer to the query in a frame, as the program gives it.
    fn answer(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut headers = Headers::default();
        assert_eq!(parse(frame, &mut headers), Parsed::Ip);
        parse_transport(frame, &mut headers);
        let (l4, len) = (u32::from(headers.l4), u32::from(headers.l4_len));
        let question = dns::check(frame, l4 + 8, l4 + len).ok()?;
        // What the one before left there must not matter.
        let mut found = Found { name: [u64::MAX; NAME_WORDS as usize], ..Found::default() };
        if !find(&self, &SEEDS, frame, &headers, &question, &mut found) {
            return None;
        }
        assert_eq!(found.asked as usize, frame.len());
        let slot = (&self).slot(found.slot).unwrap();
        let mut out = frame.to_vec();
        out.resize(found.answered as usize, 0);
        let body = question.end as usize..found.answered as usize;
        out[body].copy_from_slice(&slot.body()[..found.body as usize]);
        dress(out.as_mut_slice(), &headers, &question, &found, slot).unwrap();
        Some(out)
    }
}

impl<'a> Cache for &'a Host {
    type Table = HostLines<'a>;
    type Slot = HostSlot<'a>;

    fn state(&self) -> HostLines<'a> {
        HostLines(&self.state)
    }

    fn index(&self) -> HostLines<'a> {
        HostLines(&self.index)
    }

    fn slot(&self, number: u32) -> Option<HostSlot<'a>> {
        self.slots.get(number as usize).map(|slot| HostSlot(slot))
    }

    fn second(&self) -> u32 {
        self.second
    }
}

/// A record of a message: section, owner, type, TTL, data.
#[derive(Clone, Debug)]
struct Rr(usize, Vec<u8>, u16, u32, Vec<u8>);

/// A message by the book, nothing shared with what is tested.
fn encode(id: u16, flags: u16, name: &[u8], qtype: u16, records: &[Rr], age: u32) -> Vec<u8> {
    let mut message = [id, flags, 1].map(u16::to_be_bytes).concat();
    for section in 0..3 {
        let count = records.iter().filter(|record| record.0 == section).count() as u16;
        message.extend(count.to_be_bytes());
    }
    message.extend(name);
    message.extend(qtype.to_be_bytes());
    message.extend([0, 1]);
    for section in 0..3 {
        for Rr(_, owner, kind, ttl, data) in records.iter().filter(|record| record.0 == section) {
            message.extend(owner);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1]);
            message.extend((ttl - age).to_be_bytes());
            message.extend((data.len() as u16).to_be_bytes());
            message.extend(data);
        }
    }
    message
}

/// What is around a message.
#[derive(Clone, Debug)]
struct Around {
    tags: usize,
    /// IPv6 if none; else words of IPv4 options.
    v4_options: Option<usize>,
    extensions: usize,
    addresses: [u8; 32],
    ports: [u8; 4],
}

impl Around {
    /// A frame with right checksums; back to the client if it is the answer.
    fn frame(&self, message: &[u8], back: bool) -> Vec<u8> {
        let size = if self.v4_options.is_some() { 4 } else { 16 };
        let mut addresses = [&self.addresses[..size], &self.addresses[16..16 + size]];
        let mut ports = [&self.ports[..2], &self.ports[2..]];
        let mut macs = [[2; 6], [6; 6]];
        if back {
            addresses.reverse();
            ports.reverse();
            macs.reverse();
        }
        let ttl = if back { 64 } else { 7 };
        let mut frame = macs.concat();
        for tag in 0..self.tags {
            frame.extend([0x81, 0, 0, tag as u8]);
        }
        let udp_len = (8 + message.len() as u16).to_be_bytes();
        let mut udp = [&ports.concat()[..], &udp_len, &[0, 0], message].concat();
        let pseudo = [&addresses.concat()[..], &[0, 17], &udp_len, &udp].concat();
        let checksum = match !sum(&pseudo) {
            0 => 0xffff,
            checksum => checksum,
        };
        udp[6..8].copy_from_slice(&checksum.to_be_bytes());
        match self.v4_options {
            Some(words) => {
                let total = (20 + words * 4 + udp.len()) as u16;
                let mut ip = vec![0x45 + words as u8, 3];
                ip.extend(total.to_be_bytes());
                ip.extend([9, 9, 0x40, 0, ttl, 17, 0, 0]);
                ip.extend(addresses.concat());
                ip.extend(vec![1; words * 4]);
                let checksum = !sum(&ip);
                ip[10..12].copy_from_slice(&checksum.to_be_bytes());
                frame.extend([8, 0]);
                frame.extend(ip);
            }
            None => {
                let extension = |last| [if last { 17 } else { 60 }, 0, 1, 4, 0, 0, 0, 0];
                let chain: Vec<u8> = (0..self.extensions)
                    .flat_map(|number| extension(number + 1 == self.extensions))
                    .collect();
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(((chain.len() + udp.len()) as u16).to_be_bytes());
                frame.extend([if chain.is_empty() { 17 } else { 60 }, ttl]);
                frame.extend(addresses.concat());
                frame.extend(chain);
            }
        }
        frame.extend(udp);
        frame
    }
}

/// One's complement sum of 16-bit words (RFC 1071), one carry at a time.
fn sum(bytes: &[u8]) -> u16 {
    bytes.chunks(2).fold(0u16, |sum, word| {
        let word = u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]);
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

fn opt(size: u16, dnssec_ok: bool) -> Vec<u8> {
    let [hi, lo] = size.to_be_bytes();
    vec![0, 0, 41, hi, lo, 0, 0, u8::from(dnssec_ok) << 7, 0, 0, 0]
}

fn arounds() -> impl Strategy<Value = Around> {
    let v4_options = proptest::option::of(0usize..=10);
    (0usize..=2, v4_options, 0usize..=8, any::<[u8; 32]>(), any::<[u8; 4]>()).prop_map(
        |(tags, v4_options, extensions, addresses, ports)| Around {
            tags,
            v4_options,
            extensions,
            addresses,
            ports,
        },
    )
}

/// Names of up to 127 bytes, with all bytes there are.
fn names() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![2 => any::<u8>(), 5 => 0x3fu8..0x7f];
    let label = proptest::collection::vec(byte, 1..64);
    proptest::collection::vec(label, 0..6).prop_map(|labels| {
        let mut name = Vec::new();
        for label in labels {
            if name.len() + label.len() + 2 <= MAX_NAME as usize {
                name.push(label.len() as u8);
                name.extend(label);
            }
        }
        name.push(0);
        name
    })
}

fn records() -> impl Strategy<Value = Vec<Rr>> {
    let data = proptest::collection::vec(any::<u8>(), 0..40);
    let owner = prop_oneof![Just(vec![0xc0, 12]), Just(vec![1, b'o', 0xc0, 12]), Just(vec![0])];
    let kind = prop_oneof![Just(1u16), Just(6), Just(16), Just(28), Just(46), Just(65)];
    let ttl = prop_oneof![1u32..100, 1u32..=i32::MAX as u32];
    let record = (0usize..3, owner, kind, ttl, data).prop_map(|(a, b, c, d, e)| Rr(a, b, c, d, e));
    proptest::collection::vec(record, 1..8)
}

/// The name as another client writes it.
fn recased(name: &[u8], cases: u128) -> Vec<u8> {
    let turn = |(at, byte): (usize, &u8)| {
        if cases >> (at & 127) & 1 != 0 && byte.is_ascii_alphabetic() { byte ^ 0x20 } else { *byte }
    };
    name.iter().enumerate().map(turn).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// What the program makes of a query is what an encoder makes of nothing, down to the checksums.
    #[test]
    fn answers_are_those_of_a_plain_encoder(
        around in arounds(),
        name in names(),
        records in records(),
        (id, qtype, cases) in (any::<u16>(), 1u16..300, any::<u128>()),
        (dnssec_ok, checking_disabled, authentic, edns) in any::<(bool, bool, bool, bool)>(),
        (nxdomain, secure, authoritative) in any::<(bool, bool, bool)>(),
        (size, age, second, place, padding) in
            (any::<u16>(), 0u32..120, any::<bool>(), 0usize..8, 0usize..40),
    ) {
        let edns = edns || dnssec_ok;
        let cd = u16::from(checking_disabled) << 4;
        let flags = 0x8180
            | u16::from(authoritative) << 10
            | u16::from(secure) << 5
            | if nxdomain { 3 } else { 0 };
        // The publisher's letter case and bits of its own exchange don't matter.
        let message = encode(!id, flags, &recased(&name, !cases), qtype, &records, 0);
        let answer = Answer {
            name: &name, qtype, dnssec_ok, checking_disabled, view: 0, message: &message,
        };
        let body = message.len() - 12 - name.len() - 4;
        if body > MAX_BODY as usize {
            prop_assert_eq!(build(&answer).unwrap_err(), NotCacheable::Long);
            return Ok(());
        }
        let mut host = Host::new();
        let ready = host.publish(&answer, second, place);
        prop_assert_eq!(ready.lifetime, records.iter().map(|record| record.3).min().unwrap());
        host.second = BORN + age;

        let asked = recased(&name, cases);
        let ad = u16::from(authentic) << 5;
        let mut query = encode(id, 0x0100 | cd | ad, &asked, qtype, &[], 0);
        if edns {
            query[11] = 1;
            query.extend(opt(size, dnssec_ok));
        }
        let mut frame = around.frame(&query, false);
        // Ethernet's padding.
        frame.resize(frame.len() + padding, 0xee);
        let seen = host.answer(&frame);

        let room = if edns { size.clamp(512, 1_232) } else { 512 };
        let length = message.len() + if edns { 11 } else { 0 };
        if age >= ready.lifetime || length > usize::from(room) {
            prop_assert_eq!(seen, None);
            return Ok(());
        }
        let hidden = if authentic || dnssec_ok { 0 } else { 0x20 };
        let mut expected = encode(id, flags & !hidden | cd, &asked, qtype, &records, age);
        if edns {
            let additional = u16::from_be_bytes([expected[10], expected[11]]) + 1;
            expected[10..12].copy_from_slice(&additional.to_be_bytes());
            expected.extend(opt(1_232, dnssec_ok));
        }
        prop_assert_eq!(seen, Some(around.frame(&expected, true)));
    }

    /// One bit of a query turned round: the same answer only if it is the same question.
    #[test]
    fn other_questions_are_not_answered(name in names(), bit in any::<prop::sample::Index>()) {
        let records = [Rr(0, vec![0xc0, 12], 1, 300, vec![1, 2, 3, 4])];
        let message = encode(7, 0x8180, &name, 1, &records, 0);
        let answer = Answer {
            name: &name, qtype: 1, dnssec_ok: false, checking_disabled: false, view: 0,
            message: &message,
        };
        let mut host = Host::new();
        host.publish(&answer, false, 0);
        let around = Around {
            tags: 0, v4_options: Some(0), extensions: 0, addresses: [9; 32], ports: [0, 99, 0, 53],
        };
        let query = encode(7, 0x0100, &name, 1, &[], 0);
        prop_assert!(host.answer(&around.frame(&query, false)).is_some());
        let mut other = query.clone();
        let bit = bit.index(query.len() * 8);
        other[bit / 8] ^= 1 << (bit % 8);
        let end = 12 + name.len();
        let case = other[12..end].eq_ignore_ascii_case(&name);
        let id = bit < 16;
        let authentic = bit == 3 * 8 + 5;
        let answered = host.answer(&around.frame(&other, false)).is_some();
        prop_assert_eq!(answered, id || authentic || case && (96..end * 8).contains(&bit), "{}", bit);
    }

    #[test]
    fn anything_is_built_or_refused(
        message in proptest::collection::vec(any::<u8>(), 0..600),
        name in names(),
    ) {
        let answer = Answer {
            name: &name, qtype: 1, dnssec_ok: false, checking_disabled: false, view: 0,
            message: &message,
        };
        let _ = build(&answer);
        // The same behind a header and question that are right, where records are read.
        let whole = [&encode(7, 0x8180, &name, 1, &[], 0)[..], &message].concat();
        for count in 0..4 {
            let mut whole = whole.clone();
            whole[7] = count;
            let _ = build(&Answer { message: &whole, ..answer });
        }
    }
}

#[test]
fn letters_are_lowered_and_nothing_else() {
    for byte in 0..=255u8 {
        let word = u64::from_be_bytes([byte, b'A', byte, 0xff, byte, 0, b'z', byte]);
        let expected = word.to_be_bytes().map(|byte| byte.to_ascii_lowercase());
        assert_eq!(lower(word), u64::from_be_bytes(expected), "{byte}");
    }
}

fn answer_to(message: &[u8]) -> Answer<'_> {
    let name = b"\x03www\x07example\x03org\0";
    Answer { name, qtype: 1, dnssec_ok: false, checking_disabled: false, view: 0, message }
}

#[test]
fn what_is_not_for_everybody_is_refused() {
    let name = answer_to(&[]).name;
    let a = || Rr(0, vec![0xc0, 12], 1, 300, vec![1, 2, 3, 4]);
    let message = |flags, records: &[Rr]| encode(7, flags, name, 1, records, 0);
    let good = message(0x8180, &[a()]);
    assert!(build(&answer_to(&good)).is_ok());
    let changed = |at: usize, value: u8| {
        let mut message = good.clone();
        message[at] = value;
        message
    };
    let long: Vec<Rr> = (0..3).map(|_| Rr(0, vec![0xc0, 12], 16, 9, vec![1; 400])).collect();
    let cases: Vec<(&str, Vec<u8>, NotCacheable)> = vec![
        ("nothing", Vec::new(), NotCacheable::Message),
        ("a query", message(0x0100, &[a()]), NotCacheable::Response),
        ("truncated", message(0x8380, &[a()]), NotCacheable::Response),
        ("another opcode", message(0xa180, &[a()]), NotCacheable::Response),
        ("the bit that must be zero", message(0x81c0, &[a()]), NotCacheable::Response),
        ("SERVFAIL", message(0x8182, &[a()]), NotCacheable::Response),
        ("REFUSED", message(0x8185, &[a()]), NotCacheable::Response),
        ("two questions", changed(5, 2), NotCacheable::Response),
        ("another name", changed(14, b'x'), NotCacheable::Response),
        ("another type", changed(30, 2), NotCacheable::Response),
        ("another class", changed(32, 3), NotCacheable::Response),
        ("a record too many", changed(7, 2), NotCacheable::Message),
        ("a record of another class", changed(38, 3), NotCacheable::Message),
        ("a byte behind", [&good[..], &[0]].concat(), NotCacheable::Message),
        ("a byte less", good[..good.len() - 1].to_vec(), NotCacheable::Message),
        ("a pointer ahead", changed(34, 200), NotCacheable::Message),
        ("a pointer into the header", changed(34, 11), NotCacheable::Message),
        ("OPT", message(0x8180, &[a(), Rr(2, vec![0], 41, 0, vec![])]), NotCacheable::Message),
        ("TSIG", message(0x8180, &[a(), Rr(2, vec![0], 250, 9, vec![])]), NotCacheable::Message),
        (
            "SIG(0)",
            message(0x8180, &[a(), Rr(2, vec![0], 24, 9, vec![0; 9])]),
            NotCacheable::Message,
        ),
        ("no record", message(0x8180, &[]), NotCacheable::Short),
        ("TTL 0", message(0x8180, &[Rr(0, vec![0xc0, 12], 1, 0, vec![0; 4])]), NotCacheable::Short),
        (
            "TTL of 32 bits",
            message(0x8180, &[Rr(0, vec![0], 1, 1 << 31, vec![])]),
            NotCacheable::Short,
        ),
        ("too long", message(0x8180, &long), NotCacheable::Long),
        (
            "17 records",
            message(0x8180, &vec![Rr(0, vec![0], 1, 9, vec![]); 17]),
            NotCacheable::Records,
        ),
    ];
    for (name, message, expected) in cases {
        assert_eq!(build(&answer_to(&message)).map(|_| ()), Err(expected), "{name}");
    }
    assert!(build(&answer_to(&message(0x8180, &vec![Rr(0, vec![0], 1, 9, vec![]); 16]))).is_ok());

    let long_name = [&[63][..], &[b'x'; 63], &[62], &[b'y'; 62], &[0]].concat();
    for name in
        [&long_name[..], b"", b"\x03www", b"\x01a\0\0", b"\xc0\x0c", b"\x40", b"\x01a\xc0\x0c"]
    {
        let answer = Answer { name, ..answer_to(&good) };
        assert_eq!(build(&answer).map(|_| ()), Err(NotCacheable::Name), "{name:?}");
    }
    for error in [
        NotCacheable::Name,
        NotCacheable::Response,
        NotCacheable::Message,
        NotCacheable::Long,
        NotCacheable::Records,
        NotCacheable::Short,
    ] {
        let words: String = format!("{error}");
        assert!(!words.is_empty());
    }
}

/// Everything that makes an answer no longer true, one at a time.
#[test]
fn what_is_no_longer_true_is_not_given() {
    let good = encode(7, 0x8180, answer_to(&[]).name, 1, &[Rr(0, vec![0], 1, 9, vec![])], 0);
    let around = Around {
        tags: 1,
        v4_options: None,
        extensions: 1,
        addresses: [9; 32],
        ports: [0, 99, 0, 53],
    };
    let frame = around.frame(&encode(8, 0x0100, answer_to(&[]).name, 1, &[], 0), false);
    let answered = |change: &dyn Fn(&mut Host)| {
        let mut host = Host::new();
        host.publish(&answer_to(&good), true, 3);
        change(&mut host);
        host.answer(&frame).is_some()
    };
    let set =
        |host: &mut Host, word: u32, value| host.slots[0][word as usize].store(value, Relaxed);
    assert!(answered(&|_| {}));
    assert!(answered(&|host| host.second = BORN - 1), "a clock a step behind");
    assert!(answered(&|host| host.second = BORN + 8));
    assert!(!answered(&|host| host.second = BORN + 9), "expired");
    assert!(!answered(&|host| host.set_state(state::LIVE, 0)), "off");
    assert!(!answered(&|host| host.set_state(state::LIVE, 10)), "another epoch");
    assert!(!answered(&|host| host.set_state(state::TYPES, !2)), "a type that isn't cached");
    assert!(!answered(&|host| set(host, slot::STAMP, 0)), "being written");
    assert!(!answered(&|host| set(host, slot::EPOCH, 8)), "of another epoch");
    assert!(!answered(&|host| set(host, slot::QUESTION, 0)), "another question");
    assert!(!answered(&|host| set(host, slot::NAME + 1, 0)), "another name");
    assert!(!answered(&|host| set(host, slot::SHAPE, 0)), "without a body");
    assert!(
        !answered(&|host| set(host, slot::SHAPE, u64::from(BODY_ROOM + 8) << 16)),
        "longer than a slot"
    );
    assert!(!answered(&|host| host.slots.clear()), "a slot that isn't there");
    let unspilled = |host: &mut Host| {
        for line in &host.index {
            line[0].fetch_and(!index::SPILLED, Relaxed);
        }
    };
    assert!(!answered(&unspilled), "a second line that nobody was told of");
}
