//! The program in the kernel against the same code on the host, on frames that nobody would think of.

use std::time::{Duration, Instant};

use muralla_abi::answers::Answer;
use muralla_abi::decide::Decision;
use muralla_abi::verdict::Verdict;
use muralla_edge::answers::{Answers, HotAnswer, now};
use muralla_edge::config::{AnyPolicy, EdgeConfig, Role, RuleMode};
use muralla_lab::frames::dns::{Query, TYPE_A, TYPE_ANY, wire_name};
use muralla_lab::frames::tcp_flags::{ACK, SYN};
use muralla_lab::frames::{
    EXTENSION_DESTINATION, EXTENSION_FRAGMENT, EXTENSION_HOP_BY_HOP, EXTENSION_ROUTING, Frame, tcp,
    udp,
};

use crate::answers::Reply;
use crate::fixture::{Fixture, action, counted_bytes, every_side, limit, service_mut};
use crate::host::{Host, LIMITER_SOURCES, this_machine};
use crate::packets::*;

const ROLES: [Role; 3] = [Role::Internet, Role::Customers, Role::Both];

/// Shortest frame that BPF_PROG_TEST_RUN takes.
const SHORTEST: usize = 14;

/// Both worlds, and what came out differently in them.
struct Worlds {
    fixture: Fixture,
    host: Host,
    compared: usize,
    wrong: Vec<String>,
    /// When they begin to differ because time goes by.
    until: Option<Instant>,
}

#[test]
fn the_kernel_decides_as_the_host_does() {
    let mut worlds = Worlds::new(|config| {
        every_side(config);
        service_mut(config, "dns").any = AnyPolicy::Slip;
    });
    let frames = good();
    for (name, frame) in &frames {
        let bytes = frame.build();
        worlds.compare(name, &bytes);
        worlds.truncations(name, &bytes);
        worlds.bits(name, &bytes);
        worlds.lengths(name, frame);
    }
    worlds.bytes_at_random(4_000);
    worlds.frames_at_random(&frames, 6_000);
    worlds.finish();
}

/// With limits, every decision depends on all before it.
#[test]
fn the_kernel_limits_as_the_host_does() {
    // The two worlds read the clock at different moments: they agree as long as nothing that was used up is given back.
    // Of what is used up here, that happens first to an IPv6 network with four times the source's rate, after 20 seconds.
    // On a busy machine there may be time for fewer comparisons; what was compared is right all the same.
    const STILL: Duration = Duration::from_secs(20);
    let slow = |burst| limit(1.0 / 80.0, burst);
    let mut worlds = Worlds::new(|config| {
        every_side(config);
        for service in &mut config.services {
            service.source = slow(3.0);
            service.slip = 3;
        }
        service_mut(config, "dns").world = slow(2.0);
        service_mut(config, "web").mode = RuleMode::Observe;
        service_mut(config, "smtp").global = slow(3.0);
        service_mut(config, "smtp").stray = slow(3.0);
        config.bogons = RuleMode::Observe;
        config.antispoof = RuleMode::Off;
        config.limiter_sources = LIMITER_SOURCES;
    });
    // A margin for what was being judged when the time was up.
    worlds.until = Some(Instant::now() + STILL - Duration::from_secs(2));
    let mut random = Random(0x1234_5678_9abc_def1);
    for _ in 0..4_000 {
        let network = random.below(3);
        let host = random.below(6) + 1;
        let (source, v6) = match random.below(2) {
            0 => (format!("100.64.{network}.{host}"), false),
            _ => (format!("2001:db8:100:{network}::{host}"), true),
        };
        let id = random.next() as u16;
        let frame = match random.below(5) {
            0 | 1 => datagram(&source, 53).payload(query().id(id)),
            2 => segment(&source, 443, SYN),
            3 => segment(&source, 25, if random.below(2) == 0 { SYN } else { ACK }),
            _ => tcp(at(&source, id | 1), at(if v6 { OUTSIDER6 } else { OUTSIDER4 }, 25)),
        };
        worlds.compare("limited", &frame.build());
    }
    worlds.frames_at_random(&good(), 4_000);
    worlds.finish();
}

/// What the NIC cache answers, both answer, and alike.
#[test]
fn the_kernel_answers_as_the_host_does() {
    let mut worlds = Worlds::new(every_side);
    let mut answers = Answers::open(worlds.fixture.pin_dir()).unwrap().unwrap();
    // Slots rest for a second after the cache was opened.
    let at = now() + Duration::from_secs(2);
    let replies = [
        Reply::new("www.example.org", TYPE_A).record(0, TYPE_A, 9_000, &[192, 0, 2, 1]),
        Reply::new("www.example.org", TYPE_A)
            .dnssec_ok()
            .flags(0x81a0)
            .record(0, TYPE_A, 9_000, &[192, 0, 2, 2])
            .record(0, 46, 9_001, &[7; 95]),
        Reply::new("any.example.org", TYPE_ANY).record(0, 13, 9_002, b"\x07RFC8482\x00"),
    ];
    for reply in &replies {
        let (name, message) = (wire_name(&reply.name), reply.plain());
        let answer = reply.answer(&name, &message);
        // Not born yet, to both: no TTL is aged, whatever second it is.
        worlds.host.publish(&answer, at.as_secs() as u32 + 100);
        let Answer { name, qtype, dnssec_ok, checking_disabled, view: _, message } = answer;
        let expires_in = Duration::MAX;
        let hot = HotAnswer { name, qtype, dnssec_ok, checking_disabled, message, expires_in };
        answers.publish(&hot, at + Duration::from_secs(100)).unwrap();
    }
    let dnssec =
        [&query().counts([1, 0, 0, 1]).encode()[..], &[0, 0, 41, 4, 0, 0, 0, 128, 0, 0, 0]];
    let mut frames = good();
    for customer in [CUSTOMER4, CUSTOMER6] {
        frames.push(("DNSSEC", datagram(customer, 53).payload(dnssec.concat())));
        frames.push(("tagged", datagram(customer, 53).payload(query()).qinq(3).vlan(4)));
    }
    for (name, frame) in
        frames.iter().filter(|(name, _)| name.contains("DNS") || name.contains("ANY"))
    {
        let bytes = frame.build();
        worlds.compare(name, &bytes);
        worlds.truncations(name, &bytes);
        worlds.bits(name, &bytes);
        worlds.lengths(name, frame);
    }
    worlds.frames_at_random(&frames, 4_000);
    let answered: u64 = answers.hits().unwrap().iter().map(|(_, hits)| hits).sum();
    println!("{answered} answered");
    assert!(answered > 1_000);
    worlds.finish();
}

/// Frames that pass, and some that don't, of every kind that is looked into.
fn good() -> Vec<(&'static str, Frame)> {
    let option = [0, 1, 4, 0, 0, 0, 0];
    let mut frames = Vec::new();
    for (customer, nas, outsider) in [(CUSTOMER4, NAS4, OUTSIDER4), (CUSTOMER6, NAS6, OUTSIDER6)] {
        let any = Query::new("any.example.org", TYPE_ANY);
        frames.extend([
            ("DNS", dns(customer)),
            ("DNS with EDNS", datagram(customer, 53).payload(query().edns(1_232))),
            ("ANY", datagram(customer, 53).payload(any.clone().edns(512))),
            ("ANY, tagged", datagram(customer, 53).payload(any).qinq(3).vlan(4)),
            ("DNS from outside", dns(outsider)),
            ("RADIUS", datagram(nas, 1_812).payload(radius(1))),
            ("accounting", datagram(nas, 1_813).payload(radius(4)).vlan(7)),
            ("disconnect", datagram(nas, 3_799).payload(radius(40))),
            ("SYN", segment(outsider, 25, SYN).tcp_options(&[2, 4, 5, 0xb4, 1, 3, 3, 7])),
            ("data", segment(outsider, 443, ACK).payload(*b"GET / HTTP/1.1\r\n")),
            ("outgoing SMTP", tcp(at(customer, 9_000), at(outsider, 25))),
            ("other", datagram(outsider, 9_999).payload([7; 20])),
            ("first fragment", dns(customer).fragment(0, true)),
            ("later fragment", dns(customer).fragment(90, true)),
        ]);
    }
    frames.extend([
        ("DNS with IPv4 options", dns(CUSTOMER4).options(&[7, 7, 4, 0, 0, 0, 0])),
        (
            "DNS behind a chain",
            dns(CUSTOMER6)
                .extension(EXTENSION_HOP_BY_HOP, &option)
                .extension(EXTENSION_ROUTING, &option)
                .extension(EXTENSION_FRAGMENT, &[0; 7])
                .extension(51, &[4; 23])
                .extension(EXTENSION_DESTINATION, &option),
        ),
        ("blocked", dns("45.1.2.3")),
        ("allowed", dns("2620:fe::fe")),
        ("protected", dns("192.0.2.1")),
        ("bogon", udp(at(BOGON4, 5), at(SERVER4, 1_812))),
    ]);
    frames
}

impl Worlds {
    fn new(change: impl Fn(&mut EdgeConfig)) -> Self {
        // Other tests come with interfaces and go: the wall is to have begun with the addresses that the host knows.
        loop {
            let before = this_machine();
            let fixture = Fixture::new(&change);
            if before == this_machine() {
                let host = Host::new(fixture.wall.config(), &before);
                return Self { host, fixture, compared: 0, wrong: Vec::new(), until: None };
            }
        }
    }

    /// Runs a frame through all sides of both worlds: the same action, the same bytes, the same counter.
    fn compare(&mut self, name: &str, frame: &[u8]) {
        for role in ROLES {
            if self.until.is_some_and(|until| Instant::now() > until) {
                return;
            }
            let (decision, expected) = self.host.judge(role, frame);
            let Decision { verdict, reason, service } = decision;
            let before = self.fixture.counter(role, service, reason, verdict);
            let (seen, out) = self.fixture.run(role, frame);
            let [packets, bytes] = self.fixture.counter(role, service, reason, verdict);
            let counted = [packets - before[0], bytes - before[1]];
            let same_bytes = decision.verdict == Verdict::Drop || out == expected;
            if seen != action(decision.verdict)
                || counted != [1, counted_bytes(frame)]
                || !same_bytes
            {
                self.wrong.push(format!(
                    "{name}, {role:?}: XDP action {seen}, counted {counted:?}, same bytes: {same_bytes}; \
                     the host says {decision:?}\n  {frame:02x?}"
                ));
            }
            self.compared += 1;
        }
    }

    fn finish(mut self) {
        println!("{} decisions compared", self.compared);
        let total = self.wrong.len();
        self.wrong.truncate(5);
        assert!(
            self.wrong.is_empty(),
            "{total} of {} differ, among them:\n{}",
            self.compared,
            self.wrong.join("\n")
        );
    }

    /// Cut at every byte.
    fn truncations(&mut self, name: &str, frame: &[u8]) {
        for length in SHORTEST..frame.len() {
            self.compare(&format!("{name}, cut at {length}"), &frame[..length]);
        }
    }

    /// Every bit turned round, one at a time.
    fn bits(&mut self, name: &str, frame: &[u8]) {
        let mut frame = frame.to_vec();
        for bit in 12 * 8..frame.len().min(110) * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            self.compare(&format!("{name}, bit {bit}"), &frame);
            frame[bit / 8] ^= 1 << (bit % 8);
        }
    }

    /// Every length in every field that has one, from zero to beyond the end.
    fn lengths(&mut self, name: &str, frame: &Frame) {
        let size = frame.build().len() as u16;
        for words in 0..16 {
            self.compare(&format!("{name}, IHL {words}"), &frame.clone().ihl(words).build());
            let offset = frame.clone().data_offset(words).build();
            self.compare(&format!("{name}, data offset {words}"), &offset);
        }
        for length in 0..size + 4 {
            let shorter = frame.clone().ip_length(length).build();
            self.compare(&format!("{name}, IP length {length}"), &shorter);
            let lying = frame.clone().udp_length(length).build();
            self.compare(&format!("{name}, UDP length {length}"), &lying);
            // The packet ends there, and more of the frame follows; and the other way round.
            let datagram = frame.clone().udp_length(length).ip_length(length + 20).build();
            self.compare(&format!("{name}, both lengths {length}"), &datagram);
        }
    }

    fn bytes_at_random(&mut self, frames: usize) {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for number in 0..frames {
            let length = SHORTEST + random.below(200) as usize;
            let mut frame: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
            // Bytes alone would never get beyond the EtherType.
            match random.below(4) {
                0 => {}
                1 => frame[12..14].copy_from_slice(&[0x81, 0x00]),
                version => {
                    frame[12..14].copy_from_slice(if version == 2 {
                        &[8, 0]
                    } else {
                        &[0x86, 0xdd]
                    });
                    if let Some(first) = frame.get_mut(14) {
                        *first = if version == 2 { 0x45 } else { 0x60 };
                    }
                }
            }
            self.compare(&format!("bytes at random, {number}"), &frame);
        }
    }

    /// Good frames with a few bytes changed, often to such that mean something, and sometimes cut or grown.
    fn frames_at_random(&mut self, good: &[(&str, Frame)], frames: usize) {
        const TELLING: [u8; 16] = [0, 1, 2, 4, 5, 6, 17, 20, 44, 53, 60, 63, 64, 127, 192, 255];
        let mut random = Random(0xa076_1d64_78bd_642f);
        for number in 0..frames {
            let (name, frame) = &good[random.below(good.len() as u64) as usize];
            let mut frame = frame.build();
            for _ in 0..=random.below(4) {
                let at = 12 + random.below(frame.len() as u64 - 12) as usize;
                frame[at] = match random.below(3) {
                    0 => random.next() as u8,
                    1 => TELLING[random.below(16) as usize],
                    _ => frame[at].wrapping_add(1),
                };
            }
            match random.below(8) {
                0 => frame.truncate(SHORTEST + random.below(frame.len() as u64 - 13) as usize),
                1 => frame.resize(frame.len() + random.below(100) as usize, 0),
                2 => frame.resize(frame.len() + random.below(9_000) as usize, 0),
                _ => {}
            }
            self.compare(&format!("{name}, changed at random, {number}"), &frame);
        }
    }
}

/// Xorshift (Marsaglia 2003): the same numbers each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
