//! The NIC cache: answers byte for byte against ones that are built from nothing, and everything that goes up.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use muralla_abi::answers::Answer;
use muralla_abi::verdict::Reason::*;
use muralla_abi::verdict::Verdict::{self, Drop, Observe, Pass, Slip};
use muralla_edge::answers::{Answers, HotAnswer, HotKey, NotPublished, now};
use muralla_edge::config::{Role, RuleMode};
use muralla_lab::frames::dns::{Query, TYPE_A, TYPE_AAAA, TYPE_ANY, TYPE_TXT, wire_name};
use muralla_lab::frames::{EXTENSION_DESTINATION, EXTENSION_HOP_BY_HOP, Frame, Mac, udp};

use crate::fixture::{
    Case, Fixture, XDP_DROP, XDP_PASS, XDP_TX, case, limit, raw_case, service_mut,
};
use crate::packets::*;

const CLIENT_MAC: Mac = [0x02, 0xaa, 1, 2, 3, 4];
const SERVER_MAC: Mac = [0x06, 0xbb, 5, 6, 7, 8];

const AD: u16 = 0x0020;
const CD: u16 = 0x0010;
const RD: u16 = 0x0100;
/// Response, recursion desired and available.
const REPLY: u16 = 0x8180;
const NXDOMAIN: u16 = 3;

/// An answer, and the question that it is for.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) name: String,
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) dnssec_ok: bool,
    pub(crate) records: Vec<Record>,
}

/// A record of the question's name.
#[derive(Clone)]
pub(crate) struct Record {
    section: usize,
    kind: u16,
    ttl: u32,
    data: Vec<u8>,
}

impl Reply {
    pub(crate) fn new(name: &str, kind: u16) -> Self {
        let (name, records) = (name.to_owned(), Vec::new());
        Self { name, kind, flags: REPLY, dnssec_ok: false, records }
    }

    pub(crate) fn flags(self, flags: u16) -> Self {
        Self { flags, ..self }
    }

    pub(crate) fn dnssec_ok(self) -> Self {
        Self { dnssec_ok: true, ..self }
    }

    pub(crate) fn record(mut self, section: usize, kind: u16, ttl: u32, data: &[u8]) -> Self {
        self.records.push(Record { section, kind, ttl, data: data.to_vec() });
        self
    }

    /// The message for a name in the client's letter case, so many seconds later.
    fn message(&self, name: &str, id: u16, hidden: u16, age: u32, opt: Option<u8>) -> Vec<u8> {
        let mut counts = [1, 0, 0, u16::from(opt.is_some())];
        for record in &self.records {
            counts[record.section + 1] += 1;
        }
        let query = Query::new(name, self.kind).id(id).flags(self.flags & !hidden);
        let mut message = query.counts(counts).encode();
        for Record { kind, ttl, data, .. } in &self.records {
            // A pointer to the question's name.
            message.extend([0xc0, 12]);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1]);
            message.extend((ttl - age).to_be_bytes());
            message.extend((data.len() as u16).to_be_bytes());
            message.extend(data);
        }
        if let Some(dnssec_ok) = opt {
            message.extend([0, 0, 41, 0x04, 0xd0, 0, 0, dnssec_ok, 0, 0, 0]);
        }
        message
    }

    pub(crate) fn plain(&self) -> Vec<u8> {
        self.message(&self.name, 0, 0, 0, None)
    }

    pub(crate) fn answer<'a>(&self, name: &'a [u8], message: &'a [u8]) -> Answer<'a> {
        Answer {
            name,
            qtype: self.kind,
            dnssec_ok: self.dnssec_ok,
            checking_disabled: self.flags & CD != 0,
            view: 0,
            message,
        }
    }

    fn key(&self) -> HotKey {
        HotKey {
            name: wire_name(&self.name.to_ascii_lowercase()),
            qtype: self.kind,
            dnssec_ok: self.dnssec_ok,
            checking_disabled: self.flags & CD != 0,
        }
    }

    fn publish(&self, answers: &mut Answers, at: Duration) -> Result<Duration, NotPublished> {
        let (name, message) = (wire_name(&self.name), self.plain());
        let hot = HotAnswer {
            name: &name,
            qtype: self.kind,
            dnssec_ok: self.dnssec_ok,
            checking_disabled: self.flags & CD != 0,
            message: &message,
            expires_in: Duration::from_secs(1_000_000),
        };
        answers.publish(&hot, at).map(|published| published.lifetime)
    }
}

/// Every kind of answer that is cached.
pub(crate) fn replies() -> Vec<Reply> {
    let soa = [&[0, 0][..], &[0; 20]].concat();
    let mut long = Reply::new("all.of.it.example.org", TYPE_TXT);
    for number in 0..16u8 {
        let text = [&[14][..], &[number; 14]].concat();
        long = long.record(usize::from(number) / 6, TYPE_TXT, 600 + u32::from(number), &text[..]);
    }
    // Names of every length, so that sums begin at every place of a word.
    let mut replies: Vec<Reply> = (1..=125)
        .map(|length| {
            let name: String = (0..length)
                .map(|at| if at % 50 == 49 && at + 1 < length { '.' } else { 'm' })
                .collect();
            Reply::new(&name, TYPE_A).record(0, TYPE_A, 300, &[192, 0, 2, length as u8])
        })
        .collect();
    replies.extend([
        Reply::new("", TYPE_TXT).record(0, TYPE_TXT, 3_000_000, &[1, b'x']),
        Reply::new("www.example.org", TYPE_A).record(0, TYPE_A, 300, &[192, 0, 2, 1]),
        Reply::new("www.example.org", TYPE_AAAA)
            .flags(REPLY | AD)
            .record(0, 5, 60, b"\x03cdn\xc0\x10")
            .record(0, TYPE_AAAA, 30, &[0x20; 16])
            .record(0, TYPE_AAAA, 30, &[0x21; 16]),
        Reply::new("www.example.org", TYPE_A)
            .dnssec_ok()
            .flags(REPLY | AD)
            .record(0, TYPE_A, 300, &[192, 0, 2, 1])
            .record(0, 46, 300, &[7; 95]),
        Reply::new("www.example.org", TYPE_A).flags(REPLY | CD).record(
            0,
            TYPE_A,
            301,
            &[192, 0, 2, 66],
        ),
        Reply::new("nodata.example.org", TYPE_AAAA).record(1, 6, 90, &soa),
        Reply::new("nosuch.example.org", TYPE_A).flags(REPLY | NXDOMAIN).record(1, 6, 91, &soa),
        Reply::new("authority.example.org", TYPE_A)
            .flags(REPLY | 0x0400)
            .record(0, TYPE_A, 92, &[1, 2, 3, 4])
            .record(1, 2, 93, b"\x02ns\xc0\x16")
            .record(2, TYPE_A, 94, &[5, 6, 7, 8]),
        long,
    ]);
    replies
}

/// What an answer has to be like now, for one that was published then; two if a second is just beginning.
fn expected(
    frame: impl Fn(Vec<u8>) -> Frame,
    reply: &Reply,
    ask: &Ask,
    at: Duration,
) -> Vec<Vec<u8>> {
    let now = now();
    [now - Duration::from_millis(20), now]
        .map(|now| {
            let age = now.as_secs().saturating_sub(at.as_secs()) as u32;
            let hidden = if ask.flags & AD != 0 || reply.dnssec_ok { 0 } else { AD };
            let opt = ask.opt.map(|_| u8::from(reply.dnssec_ok) << 7);
            frame(reply.message(&ask.name, ask.id, hidden, age, opt)).build()
        })
        .into()
}

/// How a client asks.
#[derive(Clone, Debug)]
struct Ask {
    name: String,
    id: u16,
    flags: u16,
    /// Payload size of an OPT record.
    opt: Option<u16>,
}

impl Ask {
    fn message(&self, reply: &Reply) -> Vec<u8> {
        let count = u16::from(self.opt.is_some());
        let query = Query::new(&self.name, reply.kind).id(self.id).flags(self.flags);
        let mut message = query.counts([1, 0, 0, count]).encode();
        if let Some(size) = self.opt {
            message.extend([0, 0, 41]);
            message.extend(size.to_be_bytes());
            message.extend([0, 0, u8::from(reply.dnssec_ok) << 7, 0, 0, 0]);
        }
        message
    }
}

fn open(fixture: &Fixture) -> Answers {
    Answers::open(fixture.pin_dir()).unwrap().unwrap()
}

/// When slots that were taken or given back a moment ago may be written to, as far as the publisher knows.
fn rested() -> Duration {
    now() + Duration::from_secs(2)
}

/// Publishes as of now, though everything was opened a moment ago.
fn publish(answers: &mut Answers, reply: &Reply) -> Duration {
    let at = now();
    if reply.publish(answers, at) == Err(NotPublished::Full) {
        thread::sleep(Duration::from_millis(1_100));
        return publish(answers, reply);
    }
    at
}

#[test]
fn answers_from_the_nic_are_right_to_the_last_byte() {
    let fixture = Fixture::new(|_| {});
    let mut answers = open(&fixture);
    type Wrap = fn(Frame) -> Frame;
    let wraps: [(&str, Wrap); 4] = [
        ("untagged", |frame| frame),
        ("one tag", |frame| frame.vlan(7)),
        ("QinQ", |frame| frame.qinq(0xe007).vlan(0x2123)),
        ("options", |frame| {
            frame
                .options(&[7, 7, 4, 192, 0, 2, 1, 1, 1])
                .extension(EXTENSION_HOP_BY_HOP, &[0, 5, 2, 0, 0, 1, 0])
                .extension(EXTENSION_DESTINATION, &[0, 1, 4, 0, 0, 0, 0])
        }),
    ];
    let mut wrong = Vec::new();
    let mut compared = 0;
    for reply in replies() {
        let at = publish(&mut answers, &reply);
        for source in [CUSTOMER4, CUSTOMER6] {
            for (wrapping, wrap) in wraps {
                let opts: &[Option<u16>] = if reply.dnssec_ok {
                    &[Some(0), Some(65_535)]
                } else {
                    &[None, Some(0), Some(1_232)]
                };
                for (number, opt) in opts.iter().enumerate() {
                    let name = match number {
                        0 => reply.name.clone(),
                        1 => reply.name.to_uppercase(),
                        _ => reply.name.replace('m', "M").replace("ex", "eX"),
                    };
                    let authentic = if number == 1 { AD } else { 0 };
                    let ask = Ask {
                        name,
                        id: 0xbe00 | number as u16,
                        flags: RD | reply.flags & CD | authentic,
                        opt: *opt,
                    };
                    let frame = wrap(datagram(source, 53))
                        .macs(CLIENT_MAC, SERVER_MAC)
                        .ttl(3)
                        .payload(ask.message(&reply));
                    let back = |payload| {
                        wrap(udp(at_server(source), at_client(source)))
                            .macs(SERVER_MAC, CLIENT_MAC)
                            .ttl(64)
                            .payload(payload)
                    };
                    let (action, out) = fixture.run(Role::Both, &frame.build());
                    compared += 1;
                    let expected = expected(back, &reply, &ask, at);
                    if action != XDP_TX || !expected.contains(&out) {
                        wrong.push(format!(
                            "{source}, {wrapping}, {ask:?}: action {action}\n  {out:02x?}\n  {:02x?}",
                            expected[0]
                        ));
                    }
                }
            }
        }
    }
    let total = wrong.len();
    wrong.truncate(3);
    assert!(wrong.is_empty(), "{total} of {compared} are wrong:\n{}", wrong.join("\n"));
    println!("{compared} answers compared");
    without_checksum_and_padded(&fixture, &mut answers);
    ages(&fixture, &mut answers);
}

fn at_server(source: &str) -> SocketAddr {
    at(server(source), 53)
}

fn at_client(source: &str) -> SocketAddr {
    at(source, CLIENT_PORT)
}

fn reply() -> Reply {
    Reply::new("www.example.org", TYPE_A).record(0, TYPE_A, 300, &[192, 0, 2, 1])
}

/// What the client left out or added below DNS makes no difference to what it gets.
fn without_checksum_and_padded(fixture: &Fixture, answers: &mut Answers) {
    let reply = reply();
    let at = publish(answers, &reply);
    let ask = Ask { name: reply.name.clone(), id: 9, flags: RD, opt: None };
    let query = datagram(CUSTOMER4, 53).payload(ask.message(&reply));
    let mut bare = query.build();
    // UDP's checksum, behind Ethernet and IPv4: there is none.
    bare[40..42].fill(0);
    let frames = [bare, query.clone().pad_to(60).build(), query.clone().pad_to(1_514).build()];
    for frame in frames {
        let (action, out) = fixture.run(Role::Both, &frame);
        let back = |payload| {
            udp(at_server(CUSTOMER4), at_client(CUSTOMER4))
                .macs([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1])
                .payload(payload)
        };
        assert_eq!(action, XDP_TX);
        let expected = expected(back, &reply, &ask, at);
        assert!(expected.contains(&out), "{out:02x?}\n{:02x?}", expected[0]);
    }
    // Several buffers: not for the program to put together.
    let long = query.pad_to(9_014).build();
    assert_eq!(fixture.run(Role::Both, &long), (XDP_PASS, long));
}

/// TTLs count down, and at the first second of none left the query goes up.
fn ages(fixture: &Fixture, answers: &mut Answers) {
    let ask = |reply: &Reply| {
        let ask = Ask { name: reply.name.clone(), id: 1, flags: RD, opt: None };
        fixture.run(Role::Both, &datagram(CUSTOMER6, 53).payload(ask.message(reply)).build())
    };
    for (seconds, ttl, answered) in
        [(0, 300, true), (100, 300, true), (290, 300, true), (300, 300, false), (9_999, 300, false)]
    {
        let reply = Reply::new("aged.example.org", TYPE_A)
            .record(0, TYPE_A, ttl, &[192, 0, 2, 1])
            .record(0, TYPE_A, ttl + 7, &[192, 0, 2, 2]);
        let at = publish(answers, &reply);
        let _ = answers.withdraw(&reply.key(), at);
        let then = at.saturating_sub(Duration::from_secs(seconds));
        assert_eq!(reply.publish(answers, then), Ok(Duration::from_secs(ttl.into())));
        let (action, out) = ask(&reply);
        if !answered {
            assert_eq!(action, XDP_PASS, "after {seconds} seconds");
            continue;
        }
        assert_eq!(action, XDP_TX, "after {seconds} seconds");
        let end = out.len();
        let left = |from: usize| u32::from_be_bytes(out[from..from + 4].try_into().unwrap());
        let (first, second) = (left(end - 26), left(end - 10));
        assert_eq!(second, first + 7);
        let expected = ttl - seconds as u32;
        assert!((expected - 1..=expected).contains(&first), "{first} after {seconds} seconds");
    }
    // Sooner than the TTL, if the publisher wants it.
    let (reply, at) = (reply(), now());
    let (name, message) = (wire_name(&reply.name), reply.plain());
    let hot = HotAnswer {
        name: &name,
        qtype: TYPE_A,
        dnssec_ok: false,
        checking_disabled: false,
        message: &message,
        expires_in: Duration::from_secs(5),
    };
    let published = answers.publish(&hot, at - Duration::from_secs(6)).unwrap();
    assert_eq!(published.lifetime, Duration::from_secs(5));
    assert_eq!(ask(&reply).0, XDP_PASS);
    answers.sweep(at);
    assert!(!answers.withdraw(&reply.key(), at), "swept");
}

/// The table of what is answered and what goes up, with the wall's rules before it.
pub(crate) fn run(fixture: &mut Fixture) {
    let mut answers = open(fixture);
    fixture.check(asked("nothing published", Pass, Clean));
    let plain = reply();
    publish(&mut answers, &plain);
    let signed = reply().dnssec_ok();
    fixture.check(asked("published", Verdict::Answer, Answered));
    fixture.check(others());
    signed.publish(&mut answers, now()).unwrap();
    let dnssec = query_with_opt([0, 0, 0x80, 0], &[]);
    fixture.check([case(
        "DO",
        datagram(CUSTOMER4, 53).payload(dnssec.clone()),
        "dns",
        Verdict::Answer,
        Answered,
    )]);
    answers.withdraw(&plain.key(), now());
    fixture.check(asked("withdrawn", Pass, Clean));
    answers.withdraw(&signed.key(), now());
    assert!(!answers.stats(now()).live);

    publish(&mut answers, &plain);
    fixture.check(asked("published again", Verdict::Answer, Answered));
    answers.flush(now());
    fixture.check(asked("flushed", Pass, Clean));
    plain.publish(&mut answers, now()).unwrap();
    fixture.check(asked("in another epoch", Verdict::Answer, Answered));

    // The wall's rules come first.
    fixture.reload(|config| {
        config.block = vec!["100.64.9.0/24".parse().unwrap()];
        let dns = service_mut(config, "dns");
        (dns.source, dns.world) = (limit(0.01, 2.0), limit(1_000.0, 1_000.0));
    });
    let from = |source| datagram(source, 53).payload(query());
    fixture.check([
        case("blocked", from("100.64.9.9"), "dns", Drop, Blocked),
        case("world", from(OUTSIDER4), "dns", Pass, Clean),
        case("protected", from("192.0.2.1"), "other", Pass, Protected),
        case("allowed", from("9.9.9.9"), "other", Pass, Allowed),
        case("first", from("100.64.8.8"), "dns", Verdict::Answer, Answered),
        case("second", from("100.64.8.8"), "dns", Verdict::Answer, Answered),
        case("limited", from("100.64.8.8"), "dns", Slip, SourceLimit),
    ]);
    for (mode, verdict, reason) in
        [(RuleMode::Observe, Observe, SourceLimit), (RuleMode::Off, Pass, Clean)]
    {
        fixture.reload(|config| service_mut(config, "dns").mode = mode);
        fixture.check([
            case("mode", from("100.64.8.8"), "dns", verdict, reason),
            case("mode", from("100.64.8.9"), "dns", Pass, Clean),
        ]);
    }
    // Who is limited before his budget or familiar is nothing that the cache knows of.
    fixture.reload(|config| {
        let dns = service_mut(config, "dns");
        (dns.mode, dns.source, dns.world) = (RuleMode::Enforce, None, None);
    });
    fixture.check(asked("enforced again", Verdict::Answer, Answered));
    fixture.check([case("outsider", from(OUTSIDER4), "dns", Drop, DnsOutsider)]);
    answers.flush(now());
}

fn query_with_opt(flags: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut message = query().counts([1, 0, 0, 1]).encode();
    message.extend([0, 0, 41, 4, 0xd0]);
    message.extend(flags);
    message.extend((data.len() as u16).to_be_bytes());
    message.extend(data);
    message
}

/// Plain queries of customers for what is published.
fn asked(name: &str, verdict: Verdict, reason: muralla_abi::verdict::Reason) -> Vec<Case> {
    let mut cases = Vec::new();
    for source in [CUSTOMER4, CUSTOMER6] {
        let mixed = Query::new("wWw.eXaMpLe.OrG", TYPE_A);
        for query in [
            query().encode(),
            mixed.encode(),
            query().edns(1_232).encode(),
            query().edns(0).encode(),
            query().flags(RD | AD).encode(),
        ] {
            let frame = datagram(source, 53).payload(query);
            cases.push(case(name, frame.clone(), "dns", verdict, reason));
            cases.push(case(name, frame.vlan(5), "dns", verdict, reason));
        }
    }
    cases
}

/// Queries that look like the one that is published, and are userspace's business.
fn others() -> Vec<Case> {
    let cookie = [&[0, 10, 0, 8][..], b"COOKIE!!"].concat();
    let subnet = [0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2];
    let tsig = [&[3, b'k', b'e', b'y', 0, 0, 250, 0, 255][..], &[0; 40]].concat();
    let plain = query_with_opt([0; 4], &[]);
    let counted =
        |count, bytes: &[u8]| [&query().counts([1, 0, 0, count]).encode()[..], bytes].concat();
    let a = |name: &str| Query::new(name, TYPE_A).encode();
    let mut cases = Vec::new();
    for source in [CUSTOMER4, CUSTOMER6] {
        for (name, query) in [
            ("another type", Query::new("www.example.org", TYPE_AAAA).encode()),
            ("ANY", Query::new("www.example.org", TYPE_ANY).encode()),
            ("a type with the same lowest bits", Query::new("www.example.org", 65).encode()),
            ("class CH", query().class(3).encode()),
            ("another name", a("wwx.example.org")),
            ("another name at its end", a("www.example.orh")),
            ("a shorter name", a("ww.example.org")),
            ("a longer name", a("www.example.orgx")),
            ("below it", a("x.www.example.org")),
            ("above it", a("example.org")),
            ("the root", a("")),
            ("other labels", a("www-example.org")),
            ("a byte that is no letter", a("ww\u{17}.example.org")),
            ("no recursion desired", query().flags(0).encode()),
            ("checking disabled", query().flags(RD | CD).encode()),
            ("authoritative", query().flags(RD | 0x0400).encode()),
            ("truncated", query().flags(RD | 0x0200).encode()),
            ("recursion available", query().flags(RD | 0x0080).encode()),
            ("the bit that must be zero", query().flags(RD | 0x0040).encode()),
            ("a response code", query().flags(RD | 3).encode()),
            ("DO", query_with_opt([0, 0, 0x80, 0], &[])),
            ("another EDNS flag", query_with_opt([0, 0, 0x40, 0], &[])),
            ("another EDNS flag, low", query_with_opt([0, 0, 0, 1], &[])),
            ("EDNS version 1", query_with_opt([0, 1, 0, 0], &[])),
            ("extended response code", query_with_opt([1, 0, 0, 0], &[])),
            ("cookie", query_with_opt([0; 4], &cookie)),
            ("client subnet", query_with_opt([0; 4], &subnet)),
            ("an option that nobody knows", query_with_opt([0; 4], &[0xff, 0xff, 0, 0])),
            ("bytes behind the question", [query().encode(), vec![0]].concat()),
            ("bytes behind EDNS", [&plain[..], &[0]].concat()),
            ("uncounted EDNS", counted(0, &plain[query().encode().len()..])),
            ("promised EDNS", counted(1, &[])),
            ("half of EDNS", counted(1, &plain[query().encode().len()..][..10])),
            ("TSIG", counted(1, &tsig)),
            ("EDNS and TSIG", counted(2, &[&plain[query().encode().len()..], &tsig].concat())),
            ("another additional record", counted(1, &[0, 0, 42, 4, 0xd0, 0, 0, 0, 0, 0, 0])),
            ("OPT of another name", counted(1, &[1, b'a', 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0])),
        ] {
            let frame = datagram(source, 53).payload(query);
            cases.push(case(name, frame, "dns", Pass, Clean));
        }
        // Bytes between the datagram and the packet's end.
        let frame = datagram(source, 53).payload([query().encode(), vec![0; 3]].concat());
        let length = 8 + query().encode().len() as u16;
        cases.push(case("UDP options", frame.udp_length(length), "dns", Pass, Clean));
        let inside = datagram(source, 53).payload(query());
        cases.push(case(
            "another port",
            datagram(source, 54).payload(query()),
            "other",
            Pass,
            Other,
        ));
        cases.push(raw_case("as sent", inside.build(), "dns", Verdict::Answer, Answered));
    }
    cases
}

#[test]
fn answers_longer_than_the_client_takes_go_up() {
    let fixture = Fixture::new(|_| {});
    let mut answers = open(&fixture);
    // A name of 100 bytes, and two texts that make the message 512 or 513 bytes.
    let name = format!("{}.{}", "n".repeat(49), "n".repeat(49));
    for (length, plain) in [(512, XDP_TX), (513, XDP_PASS)] {
        let rest = length - 12 - 101 - 4 - 24;
        let reply = Reply::new(&name, TYPE_TXT).record(0, TYPE_TXT, 9, &vec![7; rest / 2]).record(
            0,
            TYPE_TXT,
            9,
            &vec![7; rest - rest / 2],
        );
        assert_eq!(reply.plain().len(), length);
        publish(&mut answers, &reply);
        // With EDNS there are eleven bytes more.
        for (opt, action) in [
            (None, plain),
            (Some(511), XDP_PASS),
            (Some(length as u16 + 10), XDP_PASS),
            (Some(length as u16 + 11), XDP_TX),
            (Some(9_000), XDP_TX),
        ] {
            let ask = Ask { name: name.clone(), id: 1, flags: RD, opt };
            let frame = datagram(CUSTOMER4, 53).payload(ask.message(&reply)).build();
            assert_eq!(fixture.run(Role::Both, &frame).0, action, "{length} bytes, {opt:?}");
        }
    }
}

#[test]
fn hits_are_counted_back_and_memory_is_bounded() {
    let fixture = Fixture::new(|_| {});
    assert!(Answers::open(&fixture.pin_dir().join("nobody")).unwrap().is_none());
    let mut answers = open(&fixture);
    assert!(Answers::open(fixture.pin_dir()).is_err(), "one fills it");
    let capacity = answers.stats(now()).capacity;
    assert_eq!(answers.stats(now()).free, 0, "what the one before wrote may still be read");
    assert_eq!(reply().publish(&mut answers, now()), Err(NotPublished::Full));
    assert_eq!(answers.stats(rested()).free, capacity);

    let hot = |number: u32| {
        let name = format!("n{number}.example.org");
        Reply::new(&name, TYPE_A).record(0, TYPE_A, 300, &number.to_be_bytes())
    };
    let at = rested();
    let mut crowded = 0;
    for number in 0..capacity {
        match hot(number).publish(&mut answers, at) {
            Ok(_) => {}
            Err(NotPublished::Crowded) => crowded += 1,
            Err(error) => panic!("{number}: {error}"),
        }
    }
    assert!(crowded <= 2, "{crowded} names found no place in the index");
    let stats = answers.stats(at);
    assert_eq!((stats.used, stats.free), (capacity - crowded, crowded));
    for number in capacity..capacity + crowded {
        let _ = hot(number).publish(&mut answers, at);
    }
    assert_eq!(hot(capacity + 9).publish(&mut answers, at), Err(NotPublished::Full));

    let ask = |number: u32| {
        let query = Query::new(&hot(number).name, TYPE_A);
        fixture.run(Role::Both, &datagram(CUSTOMER4, 53).payload(query).build()).0
    };
    for (number, times) in [(7, 3), (70, 1), (700, 2)] {
        for _ in 0..times {
            assert_eq!(ask(number), XDP_TX);
        }
    }
    let mut hits = answers.hits().unwrap();
    hits.sort_by_key(|(_, hits)| *hits);
    assert_eq!(hits, [(hot(70).key(), 1), (hot(700).key(), 2), (hot(7).key(), 3)]);
    assert_eq!(answers.hits().unwrap(), []);

    // Taken back, it is not answered; its last hits are told; its place is given to others only later.
    assert_eq!(ask(70), XDP_TX);
    assert!(answers.withdraw(&hot(70).key(), at));
    assert!(!answers.withdraw(&hot(70).key(), at));
    assert_eq!(ask(70), XDP_PASS);
    assert_eq!(answers.hits().unwrap(), [(hot(70).key(), 1)]);
    assert_eq!(hot(capacity + 9).publish(&mut answers, at), Err(NotPublished::Full));
    let later = at + Duration::from_secs(1);
    hot(capacity + 9).publish(&mut answers, later).unwrap();
    assert_eq!(ask(capacity + 9), XDP_TX);
    assert_eq!(answers.hits().unwrap(), [(hot(capacity + 9).key(), 1)]);
    assert_eq!(answers.stats(later).hits, 8);

    // Each of them is found, wherever in the index it is.
    let answered = (0..capacity + 10).filter(|number| ask(*number) == XDP_TX).count();
    assert_eq!(answered as u32, answers.stats(later).used);
    let hits: u64 = answers.hits().unwrap().iter().map(|(_, hits)| hits).sum();
    assert_eq!(hits, u64::from(answers.stats(later).used));

    // Without its publisher the wall goes on; the next one begins anew.
    drop(answers);
    assert_eq!(ask(700), XDP_TX);
    let answers = open(&fixture);
    assert_eq!(ask(700), XDP_PASS);
    assert!(answers.stands());
    let Fixture { wall, .. } = fixture;
    drop(wall);
    assert!(answers.stands(), "nor does it need the daemon");
}

/// Slots are written over and over while they are read, without the second's rest that they get otherwise.
#[test]
fn no_answer_is_ever_torn() {
    let fixture = Fixture::new(|_| {});
    let mut answers = open(&fixture);
    let version = |byte: u8| {
        Reply::new("torn.example.org", TYPE_TXT)
            .record(0, TYPE_TXT, 1_000_000 + u32::from(byte), &[byte; 200])
            .record(0, TYPE_TXT, 1_000_000 + u32::from(byte), &[byte; 190])
    };
    let ask = Ask { name: "torn.example.org".to_owned(), id: 1, flags: RD, opt: None };
    let frame = datagram(CUSTOMER4, 53).payload(ask.message(&version(0))).build();
    let back = |payload| {
        udp(at_server(CUSTOMER4), at_client(CUSTOMER4))
            .macs([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1])
            .payload(payload)
    };
    // Ages don't count: everything is published in the future.
    let good: Vec<Vec<u8>> = (0..=255u8)
        .map(|byte| back(version(byte).message(&ask.name, 1, 0, 0, None)).build())
        .collect();
    let done = AtomicBool::new(false);
    let mut seen = [0u32; 4];
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut at = rested();
            let mut byte = 0u8;
            while !done.load(Ordering::Relaxed) {
                version(byte).publish(&mut answers, at).unwrap();
                byte = byte.wrapping_add(1);
                at += Duration::from_millis(1_000);
            }
        });
        let end = Instant::now() + Duration::from_millis(1_500);
        while Instant::now() < end {
            let (action, out) = fixture.run(Role::Both, &frame);
            seen[action as usize] += 1;
            let right = action != XDP_TX || good.contains(&out);
            if !right {
                done.store(true, Ordering::Relaxed);
                panic!("torn: {out:02x?}");
            }
            assert!(action != XDP_PASS || out == frame, "changed, and passed");
        }
        done.store(true, Ordering::Relaxed);
    });
    println!("{} answered, {} went up, {} dropped", seen[3], seen[2], seen[XDP_DROP as usize]);
    assert!(seen[XDP_TX as usize] > 0);
}
