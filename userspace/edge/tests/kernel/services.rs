//! What DNS, RADIUS and TCP services take, and what they are spared.

use muralla_abi::verdict::Reason::*;
use muralla_abi::verdict::Verdict::{Drop, Observe, Pass, Slip};
use muralla_edge::config::{AnyPolicy, Role, RuleMode};
use muralla_lab::frames::dns::{
    FLAG_RECURSION, FLAG_RESPONSE, Query, TYPE_AAAA, TYPE_ANY, TYPE_TXT,
};
use muralla_lab::frames::radius::Packet;
use muralla_lab::frames::tcp_flags::{ACK, SYN};
use muralla_lab::frames::{tcp, udp};

use crate::fixture::{Case, Fixture, case, limit, service_mut};
use crate::packets::*;

pub(crate) fn run(fixture: &mut Fixture) {
    fixture.check(destinations());
    fixture.check(queries());
    fixture.check(names());
    fixture.check(radius_packets());
    fixture.check(radius_lengths());
    fixture.check(radius_attributes());
    fixture.check(any("dns", Pass, Clean));

    for (policy, verdict) in [(AnyPolicy::Drop, Drop), (AnyPolicy::Slip, Slip)] {
        fixture.reload(|config| service_mut(config, "dns").any = policy);
        fixture.check(any("dns", verdict, DnsAny));
    }

    fixture.reload(|config| {
        let dns = service_mut(config, "dns");
        (dns.world, dns.any) = (limit(1_000.0, 1_000.0), AnyPolicy::Pass);
    });
    fixture.check(
        [OUTSIDER4, OUTSIDER6]
            .map(|world| case("zones for the world", dns(world), "dns", Pass, Clean)),
    );

    for (mode, verdict) in [(RuleMode::Observe, Observe), (RuleMode::Off, Pass)] {
        fixture.reload(|config| {
            for service in &mut config.services {
                service.mode = mode;
            }
        });
        let or = |reason| if verdict == Observe { reason } else { Clean };
        let mut cases = Vec::new();
        for (customer, nas) in [(CUSTOMER4, NAS4), (CUSTOMER6, NAS6)] {
            let reject = datagram(nas, 1_812).payload(radius(3));
            let answer = datagram(customer, 53).payload(query().flags(FLAG_RESPONSE));
            cases.extend([
                case("no code", reject, "radius_auth", verdict, or(RadiusCode)),
                case("answer", answer, "dns", verdict, or(DnsResponse)),
                case("fragment", dns(customer).fragment(0, true), "dns", verdict, or(Fragment)),
            ]);
        }
        fixture.check(cases);
    }
}

fn destinations() -> Vec<Case> {
    let mut cases = Vec::new();
    for (source, neighbour) in [(OUTSIDER4, "192.0.2.54"), (OUTSIDER6, "2001:db8::54")] {
        let syn_to = |port| tcp(at(source, CLIENT_PORT), at(neighbour, port));
        cases.extend([
            case("DNS over TCP", segment(source, 53, SYN), "dns_tcp", Pass, Clean),
            case("DNS over TCP, data", segment(source, 53, ACK), "dns_tcp", Pass, Established),
            case("HTTP", segment(source, 80, SYN), "web", Pass, Clean),
            case("HTTPS", segment(source, 443, SYN), "web", Pass, Clean),
            case("QUIC is no TCP", datagram(source, 443), "other", Pass, Other),
            case("a port of nobody", datagram(source, 9_999), "other", Pass, Other),
            case("SSH", segment(source, 22, SYN), "other", Pass, Other),
            // Ports are ours on our own addresses alone.
            case("HTTP beside us", syn_to(80), "other", Pass, Other),
            case("DNS beside us", udp(at(source, 5), at(neighbour, 53)), "other", Pass, Other),
            // Mail to a customer's own server is not a customer's mail.
            case("SMTP beside us", syn_to(25), "other", Pass, Other),
            case("SMTP beside us", syn_to(25).flags(ACK), "other", Pass, Other),
        ]);
        let inwards = case("SMTP beside us", syn_to(25), "other", Pass, Other);
        cases.push(inwards.from(Role::Internet));
    }
    cases
}

fn queries() -> Vec<Case> {
    let mut cases = Vec::new();
    for (customer, outsider) in [(CUSTOMER4, OUTSIDER4), (CUSTOMER6, OUTSIDER6)] {
        for (name, query, verdict, reason) in [
            ("A", query(), Pass, Clean),
            ("AAAA", Query::new("example.org", TYPE_AAAA), Pass, Clean),
            ("TXT of the root", Query::new("", TYPE_TXT), Pass, Clean),
            ("EDNS", query().edns(1_232), Pass, Clean),
            ("no recursion, checking disabled", query().flags(0x0010), Pass, Clean),
            ("class CH", query().class(3), Pass, Clean),
            ("class 0", query().class(0), Drop, DnsClass),
            ("class HS", query().class(4), Drop, DnsClass),
            ("class NONE", query().class(254), Drop, DnsClass),
            ("class ANY", query().class(255), Drop, DnsClass),
            ("answer", query().flags(FLAG_RESPONSE | FLAG_RECURSION), Drop, DnsResponse),
            ("inverse query", query().flags(1 << 11), Drop, DnsOpcode),
            ("status", query().flags(2 << 11), Drop, DnsOpcode),
            ("notify", query().flags(4 << 11), Drop, DnsOpcode),
            ("update", query().flags(5 << 11), Drop, DnsOpcode),
            ("opcode 15", query().flags(15 << 11), Drop, DnsOpcode),
            ("no question", query().counts([0, 0, 0, 0]), Drop, DnsCounts),
            ("two questions", query().counts([2, 0, 0, 0]), Drop, DnsCounts),
            ("256 questions", query().counts([256, 0, 0, 0]), Drop, DnsCounts),
            ("an answer", query().counts([1, 1, 0, 0]), Drop, DnsCounts),
            ("an authority", query().counts([1, 0, 1, 0]), Drop, DnsCounts),
            ("OPT and TSIG", query().counts([1, 0, 0, 2]), Pass, Clean),
            ("three additional", query().counts([1, 0, 0, 3]), Drop, DnsCounts),
        ] {
            cases.push(case(name, datagram(customer, 53).payload(query), "dns", verdict, reason));
        }
        let broken = query().flags(FLAG_RESPONSE);
        cases.extend([
            case("empty", datagram(customer, 53), "dns", Drop, DnsCounts),
            case("11 bytes", datagram(customer, 53).payload([0; 11]), "dns", Drop, DnsCounts),
            case("outsider", dns(outsider), "dns", Drop, DnsOutsider),
            case("outsider", dns(outsider), "dns", Drop, DnsOutsider).from(Role::Internet),
            case(
                "outsider's answer",
                datagram(outsider, 53).payload(broken),
                "dns",
                Drop,
                DnsOutsider,
            ),
        ]);
    }
    cases
}

fn names() -> Vec<Case> {
    let labels = |lengths: &[usize]| {
        let mut name: Vec<u8> = lengths
            .iter()
            .flat_map(|length| [vec![*length as u8], vec![b'x'; *length]].concat())
            .collect();
        name.push(0);
        name
    };
    let table = [
        ("root", labels(&[]), true),
        ("63 bytes a label", labels(&[63]), true),
        ("64 bytes a label", labels(&[64]), false),
        ("255 bytes", labels(&[63, 63, 63, 61]), true),
        ("256 bytes", labels(&[63, 63, 63, 62]), false),
        ("127 labels", labels(&[1; 127]), true),
        ("128 labels", labels(&[1; 128]), false),
        ("endless", vec![63; 600], false),
        ("pointer to itself", vec![0xc0, 12], false),
        ("pointer behind a label", vec![1, b'a', 0xc0, 12], false),
        ("label type 01", vec![0x41, 0], false),
        ("label type 10", vec![0x80, 0], false),
        ("nulls and dots are bytes like others", labels_of(&[b"\0.\xff"]), true),
    ];
    let mut cases = Vec::new();
    for source in [CUSTOMER4, CUSTOMER6] {
        for (name, wire, good) in &table {
            let frame = datagram(source, 53).payload(query().raw_name(wire));
            let (verdict, reason) = if *good { (Pass, Clean) } else { (Drop, DnsQuestion) };
            cases.push(case(*name, frame, "dns", verdict, reason));
        }
        // Cut off within the name, before and within type and class.
        let message = query().encode();
        for cut in 12..message.len() {
            let frame = datagram(source, 53).payload(&message[..cut]);
            cases.push(case(format!("cut at {cut}"), frame, "dns", Drop, DnsQuestion));
        }
    }
    cases
}

fn labels_of(labels: &[&[u8]]) -> Vec<u8> {
    let mut name = Vec::new();
    for label in labels {
        name.push(label.len() as u8);
        name.extend(*label);
    }
    name.push(0);
    name
}

fn any(
    service: &'static str,
    verdict: muralla_abi::verdict::Verdict,
    reason: muralla_abi::verdict::Reason,
) -> [Case; 2] {
    [CUSTOMER4, CUSTOMER6].map(|source| {
        let frame = datagram(source, 53).payload(Query::new("example.org", TYPE_ANY));
        case("ANY", frame, service, verdict, reason)
    })
}

const RADIUS: [(&str, u16, &[u8]); 3] = [
    ("radius_auth", 1_812, &[1, 12]),
    ("radius_acct", 1_813, &[4, 12]),
    ("radius_dyn", 3_799, &[40, 43]),
];

fn radius_packets() -> Vec<Case> {
    let mut cases = Vec::new();
    for (nas, customer, outsider) in [(NAS4, CUSTOMER4, OUTSIDER4), (NAS6, CUSTOMER6, OUTSIDER6)] {
        for (service, port, codes) in RADIUS {
            for code in 0..=255 {
                let frame = datagram(nas, port).payload(radius(code));
                let (verdict, reason) =
                    if codes.contains(&code) { (Pass, Clean) } else { (Drop, RadiusCode) };
                cases.push(case(
                    format!("{service}, code {code}"),
                    frame,
                    service,
                    verdict,
                    reason,
                ));
            }
            let from = |source| datagram(source, port).payload(radius(codes[0]));
            cases.extend([
                case("a customer", from(customer), service, Drop, RadiusOutsider),
                case("an outsider", from(outsider), service, Drop, RadiusOutsider),
                case("an outsider", from(outsider), service, Drop, RadiusOutsider)
                    .from(Role::Internet),
            ]);
        }
    }
    cases
}

fn radius_lengths() -> Vec<Case> {
    let bare = || Packet::new(1, 7, [9; 16]);
    let long = |length: u16| {
        let attributes = [79, 255].into_iter().chain([0; 253]).collect::<Vec<u8>>();
        let mut packet = (0..17).fold(bare(), |packet, _| packet.raw_attributes(&attributes));
        // 17 attributes of 255 bytes overshoot 4096.
        packet = packet.length(length);
        packet.encode()
    };
    let filled = |length: usize| {
        let mut packet = bare();
        let mut left = length - 20;
        while left > 0 {
            let size = if left > 257 {
                255
            } else if left > 255 {
                left - 2
            } else {
                left
            };
            packet = packet.raw_attributes(&[&[79, size as u8][..], &vec![0; size - 2]].concat());
            left -= size;
        }
        packet.encode()
    };
    let table = [
        ("header alone", bare().encode(), Pass, Clean),
        ("19", bare().length(19).encode(), Drop, RadiusLength),
        ("0", bare().length(0).encode(), Drop, RadiusLength),
        ("one beyond", bare().length(21).encode(), Drop, RadiusLength),
        ("65535", bare().length(65_535).encode(), Drop, RadiusLength),
        ("padding", [radius(1).encode(), vec![0; 9]].concat(), Pass, Clean),
        ("4096", filled(4_096), Drop, RadiusAttributes),
        ("1400", filled(1_400), Pass, Clean),
        ("3000", filled(3_000), Pass, Clean),
        ("4097", long(4_097), Drop, RadiusLength),
        ("19 bytes of datagram", bare().encode()[..19].to_vec(), Drop, RadiusLength),
        ("empty", Vec::new(), Drop, RadiusLength),
    ];
    let mut cases = Vec::new();
    for nas in [NAS4, NAS6] {
        for (name, payload, verdict, reason) in &table {
            // Attributes beyond the first buffer can't be followed.
            let frame = datagram(nas, 1_812).payload(payload.clone());
            cases.push(case(*name, frame, "radius_auth", *verdict, *reason));
        }
    }
    cases
}

fn radius_attributes() -> Vec<Case> {
    let bare = || Packet::new(1, 7, [9; 16]);
    let table = [
        ("length 2", bare().raw_attributes(&[1, 2]), Pass, Clean),
        ("length 0", bare().raw_attributes(&[1, 0]), Drop, RadiusAttributes),
        ("length 1", bare().raw_attributes(&[1, 1, 1, 1]), Drop, RadiusAttributes),
        ("a byte of one", bare().raw_attributes(&[1]), Drop, RadiusAttributes),
        ("one beyond", bare().raw_attributes(&[1, 4, 0]), Drop, RadiusAttributes),
        ("a byte left", bare().raw_attributes(&[1, 3, 0, 1]), Drop, RadiusAttributes),
        ("255", bare().raw_attributes(&[1, 2].repeat(255)), Pass, Clean),
        ("256", bare().raw_attributes(&[1, 2].repeat(256)), Drop, RadiusAttributes),
    ];
    let mut cases = Vec::new();
    for nas in [NAS4, NAS6] {
        for (name, packet, verdict, reason) in &table {
            let frame = datagram(nas, 1_812).payload(packet.clone());
            cases.push(case(*name, frame, "radius_auth", *verdict, *reason));
        }
    }
    cases
}
