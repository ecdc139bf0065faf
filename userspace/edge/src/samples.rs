//! Samples in words that a person at the NOC understands without a manual.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use muralla_abi::sample::Sample;
use muralla_abi::verdict::{Reason, Verdict};
use serde::{Deserialize, Serialize};

use crate::frame::{self, Frame, Packet, be16};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// A packet that the wall judged, ready to be printed or serialised.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Drop {
    /// When, in nanoseconds since boot (CLOCK_MONOTONIC).
    pub time_ns: u64,
    /// When, in nanoseconds since 1970, once [`Drop::on_clock`] told the time of boot.
    pub unix_ns: Option<u64>,
    /// Interface that received the packet.
    pub interface: String,
    /// Service that it was for.
    pub service: String,
    /// What happened to it: [`Verdict::name`].
    pub verdict: String,
    /// Why: [`Reason::name`].
    pub reason: String,
    /// Why, in words: [`Reason::words`].
    pub words: String,
    /// Who sent it. Nothing for what is not IP.
    pub source: Option<IpAddr>,
    /// From which port.
    pub source_port: Option<u16>,
    /// To whom.
    pub destination: Option<IpAddr>,
    /// To which port.
    pub destination_port: Option<u16>,
    /// The protocol above IP, by name where it has a common one.
    pub protocol: Option<String>,
    /// Bytes of the whole frame.
    pub length: u32,
    /// What the protocol says: DNS question, RADIUS code, TCP flags, ICMP type, fragment, EtherType.
    /// Printable ASCII, whatever was in the packet.
    pub detail: Option<String>,
}

/// Turns a sample into words.
///
/// `services` are the names in the configuration's order, `interfaces` those by interface index.
pub fn describe(sample: &Sample, services: &[String], interfaces: &BTreeMap<u32, String>) -> Drop {
    let reason = Reason::from_u8(sample.reason);
    let mut drop = Drop {
        time_ns: sample.time_ns,
        unix_ns: None,
        interface: interfaces
            .get(&sample.ifindex)
            .map_or_else(|| format!("ifindex{}", sample.ifindex), Clone::clone),
        service: services
            .get(usize::from(sample.service))
            .map_or_else(|| format!("service{}", sample.service), Clone::clone),
        verdict: Verdict::from_u8(sample.verdict)
            .map_or_else(|| format!("verdict{}", sample.verdict), |verdict| verdict.name().into()),
        reason: reason
            .map_or_else(|| format!("reason{}", sample.reason), |reason| reason.name().into()),
        words: reason.map_or("a reason that this version does not know", Reason::words).into(),
        source: None,
        source_port: None,
        destination: None,
        destination_port: None,
        protocol: None,
        length: sample.len,
        detail: None,
    };
    match frame::parse(frame::bytes(sample)) {
        Frame::Ip(packet) => drop.fill(&packet),
        Frame::Other(ethertype) => {
            drop.detail = ethertype.map(|ethertype| format!("EtherType 0x{ethertype:04x}"));
        }
    }
    drop
}

impl Drop {
    /// Gives it a wall-clock time. `boot` is the wall clock minus CLOCK_MONOTONIC.
    #[must_use]
    pub fn on_clock(mut self, boot: Duration) -> Self {
        self.unix_ns =
            u64::try_from(boot.saturating_add(Duration::from_nanos(self.time_ns)).as_nanos()).ok();
        self
    }

    fn fill(&mut self, packet: &Packet<'_>) {
        self.source = Some(packet.source);
        self.destination = Some(packet.destination);
        self.protocol = Some(protocol_name(packet.protocol));
        let payload = packet.payload;
        if matches!(packet.protocol, TCP | UDP) {
            self.source_port = be16(payload, 0);
            self.destination_port = be16(payload, 2);
        }
        let words = match packet.protocol {
            TCP => payload.get(12..14).map(tcp_flags),
            UDP => self.application(payload.get(8..).unwrap_or(&[])),
            ICMP | ICMPV6 => payload.first_chunk().map(|icmp| icmp_type(packet.protocol, *icmp)),
            _ => None,
        };
        let fragment =
            packet.fragment.as_ref().map(|fragment| match (fragment.offset, fragment.more) {
                (0, _) => "first fragment".to_owned(),
                (offset, true) => format!("fragment at byte {offset}"),
                (offset, false) => format!("last fragment, at byte {offset}"),
            });
        self.detail = match (fragment, words) {
            (Some(fragment), Some(words)) => Some(format!("{fragment}, {words}")),
            (fragment, words) => fragment.or(words),
        };
    }

    /// The services' ports can be configured, so the reason tells the protocol before the port does.
    fn application(&self, payload: &[u8]) -> Option<String> {
        let port = |numbers: &[u16]| {
            [self.source_port, self.destination_port]
                .iter()
                .flatten()
                .any(|port| numbers.contains(port))
        };
        if self.reason.starts_with("dns_") || port(&[53]) {
            dns(payload)
        } else if self.reason.starts_with("radius_") || port(&[1812, 1813, 3799]) {
            radius(payload)
        } else {
            None
        }
    }
}

impl fmt::Display for Drop {
    /// One line. The time of day is UTC; without a clock it is seconds since boot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unix_ns {
            Some(ns) => {
                let ms = ns / 1_000_000;
                let second = ms / 1000;
                write!(
                    f,
                    "{:02}:{:02}:{:02}.{:03}",
                    second / 3600 % 24,
                    second / 60 % 60,
                    second % 60,
                    ms % 1000
                )?;
            }
            None => {
                let ms = self.time_ns / 1_000_000;
                write!(f, "+{}.{:03}", ms / 1000, ms % 1000)?;
            }
        }
        let Self { interface, service, verdict, reason, words, .. } = self;
        write!(f, " {interface} {service} {verdict} {reason}: {words} — ")?;
        if let (Some(source), Some(destination)) = (self.source, self.destination) {
            endpoint(f, source, self.source_port)?;
            f.write_str(" > ")?;
            endpoint(f, destination, self.destination_port)?;
            f.write_str(" ")?;
        }
        if let Some(protocol) = &self.protocol {
            write!(f, "{protocol} ")?;
        }
        write!(f, "{} bytes", self.length)?;
        match &self.detail {
            Some(detail) => write!(f, ", {detail}"),
            None => Ok(()),
        }
    }
}

fn endpoint(f: &mut fmt::Formatter<'_>, address: IpAddr, port: Option<u16>) -> fmt::Result {
    match port {
        Some(port) => write!(f, "{}", SocketAddr::new(address, port)),
        None => write!(f, "{address}"),
    }
}

fn protocol_name(protocol: u8) -> String {
    match protocol {
        ICMP => "ICMP",
        2 => "IGMP",
        4 => "IPIP",
        TCP => "TCP",
        UDP => "UDP",
        41 => "6in4",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        ICMPV6 => "ICMPv6",
        89 => "OSPF",
        112 => "VRRP",
        132 => "SCTP",
        _ => return format!("protocol {protocol}"),
    }
    .into()
}

/// The flags of RFC 9293 section 3.1, in the order of their bits from FIN on.
fn tcp_flags(bytes: &[u8]) -> String {
    const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
    let flags = bytes.get(1).copied().unwrap_or(0);
    let set: Vec<_> = NAMES
        .iter()
        .zip(0..)
        .filter(|(_, bit)| flags >> bit & 1 == 1)
        .map(|(name, _)| *name)
        .collect();
    if set.is_empty() { "no flags".into() } else { set.join(",") }
}

fn icmp_type(protocol: u8, [kind, code]: [u8; 2]) -> String {
    let name = match (protocol, kind) {
        (ICMP, 0) | (ICMPV6, 129) => "echo reply",
        (ICMP, 3) | (ICMPV6, 1) => "destination unreachable",
        (ICMP, 5) | (ICMPV6, 137) => "redirect",
        (ICMP, 8) | (ICMPV6, 128) => "echo request",
        (ICMP, 11) | (ICMPV6, 3) => "time exceeded",
        (ICMPV6, 2) => "packet too big",
        (ICMPV6, 133) => "router solicitation",
        (ICMPV6, 134) => "router advertisement",
        (ICMPV6, 135) => "neighbour solicitation",
        (ICMPV6, 136) => "neighbour advertisement",
        _ => return format!("type {kind} code {code}"),
    };
    format!("{name} (type {kind} code {code})")
}

/// The code and identifier of a RADIUS packet (RFC 2865 section 3, RFC 5176 section 2.3).
fn radius(bytes: &[u8]) -> Option<String> {
    let [code, id] = *bytes.first_chunk()?;
    let name = match code {
        1 => "Access-Request",
        2 => "Access-Accept",
        3 => "Access-Reject",
        4 => "Accounting-Request",
        5 => "Accounting-Response",
        11 => "Access-Challenge",
        12 => "Status-Server",
        13 => "Status-Client",
        40 => "Disconnect-Request",
        41 => "Disconnect-ACK",
        42 => "Disconnect-NAK",
        43 => "CoA-Request",
        44 => "CoA-ACK",
        45 => "CoA-NAK",
        _ => return Some(format!("code {code} id {id}")),
    };
    Some(format!("{name} id {id}"))
}

/// What a DNS message (RFC 1035 section 4.1) asks.
fn dns(bytes: &[u8]) -> Option<String> {
    let flags = be16(bytes, 2)?;
    let questions = be16(bytes, 4)?;
    let mut words = Vec::new();
    if flags & 0x8000 != 0 {
        words.push("response".to_owned());
    }
    match flags >> 11 & 0xf {
        0 => {}
        4 => words.push("NOTIFY".into()),
        5 => words.push("UPDATE".into()),
        opcode => words.push(format!("opcode {opcode}")),
    }
    if questions != 1 {
        words.push(format!("{questions} questions"));
    }
    if questions > 0
        && let Some(message) = bytes.get(12..)
    {
        words.push(dns_question(message));
    }
    Some(words.join(" "))
}

fn dns_question(bytes: &[u8]) -> String {
    let (name, rest) = dns_name(bytes);
    let Some(kind) = rest.and_then(|rest| be16(rest, 0)) else {
        return format!("\"{name}\"");
    };
    let class = match rest.and_then(|rest| be16(rest, 2)) {
        Some(1) | None => String::new(),
        Some(3) => " CH".into(),
        Some(255) => " class ANY".into(),
        Some(class) => format!(" CLASS{class}"),
    };
    format!("\"{name}\" {}{class}", dns_type(kind))
}

/// The name in the presentation format of RFC 1035 section 5.1, with `...` where it breaks off, and
/// what follows it.
fn dns_name(bytes: &[u8]) -> (String, Option<&[u8]>) {
    const MAX_NAME: usize = 255;
    let mut name = String::new();
    let mut rest = bytes.get(..bytes.len().min(MAX_NAME)).unwrap_or(bytes);
    while let Some((&length, after)) = rest.split_first() {
        if length == 0 {
            if name.is_empty() {
                name.push('.');
            }
            // The limit was on the name alone: what follows may lie behind it.
            return (name, bytes.get(bytes.len().min(MAX_NAME) - after.len()..));
        }
        // Above 63 it is a pointer, which a question has no use for, or nothing at all.
        let Some((label, after)) =
            after.split_at_checked(usize::from(length)).filter(|_| length <= 63)
        else {
            break;
        };
        if !name.is_empty() {
            name.push('.');
        }
        for &byte in label {
            match byte {
                b'"' | b'\\' | b'.' => name.extend(['\\', char::from(byte)]),
                b'!'..=b'~' => name.push(char::from(byte)),
                _ => name.push_str(&format!("\\{byte:03}")),
            }
        }
        rest = after;
    }
    name.push_str("...");
    (name, None)
}

fn dns_type(kind: u16) -> String {
    match kind {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        12 => "PTR",
        13 => "HINFO",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        39 => "DNAME",
        41 => "OPT",
        43 => "DS",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        50 => "NSEC3",
        52 => "TLSA",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        251 => "IXFR",
        252 => "AXFR",
        255 => "ANY",
        257 => "CAA",
        _ => return format!("TYPE{kind}"),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::tests::{ethernet, ipv4, ipv6, sample, udp};

    const CLIENT: [u8; 4] = [198, 51, 100, 7];
    const SERVER: [u8; 4] = [203, 0, 113, 53];

    fn query(flags: u16, questions: u16, name: &[u8], kind: u16, class: u16) -> Vec<u8> {
        let mut message = vec![0, 1];
        message.extend(flags.to_be_bytes());
        message.extend(questions.to_be_bytes());
        message.extend([0; 6]);
        message.extend(name);
        message.extend(kind.to_be_bytes());
        message.extend(class.to_be_bytes());
        message
    }

    fn described(sample: &Sample) -> Drop {
        let services = ["other".to_owned(), "outgoing_smtp".to_owned(), "dns".to_owned()];
        describe(sample, &services, &BTreeMap::from([(2, "inet0".to_owned())]))
    }

    fn v4(protocol: u8, fragment: u16, payload: &[u8]) -> Sample {
        sample(&ethernet(&[0x0800], &ipv4(CLIENT, SERVER, protocol, fragment, payload)))
    }

    #[test]
    fn is_one_line_in_words() {
        let message = query(0x0100, 1, b"\x07example\x03org\0", 255, 1);
        let mut sample = v4(UDP, 0, &udp(4711, 53, &message));
        sample.time_ns = 120_000_000;
        sample.service = 2;
        sample.reason = Reason::DnsOutsider as u8;
        sample.verdict = Verdict::Drop as u8;
        let boot = Duration::from_secs(20_000 * 86_400 + 12 * 3600 + 3 * 60 + 44);
        let drop = described(&sample);
        assert!(drop.to_string().starts_with("+0.120 inet0 dns drop"), "{drop}");
        let drop = drop.on_clock(boot);
        assert_eq!(
            drop.to_string(),
            "12:03:44.120 inet0 dns drop dns_outsider: DNS query from outside the customers' prefixes — \
             198.51.100.7:4711 > 203.0.113.53:53 UDP 71 bytes, \"example.org\" ANY"
        );
        let json = serde_json::to_string(&drop).unwrap();
        assert_eq!(serde_json::from_str::<Drop>(&json).unwrap(), drop);
    }

    #[test]
    fn brackets_ipv6_and_tells_what_is_not_ip() {
        let mut sample =
            sample(&ethernet(&[0x8100, 0x86dd], &ipv6(7, UDP, &udp(1, 1812, &[1, 9]))));
        sample.verdict = Verdict::Drop as u8;
        sample.reason = Reason::RadiusOutsider as u8;
        let text = described(&sample).to_string();
        assert!(
            text.ends_with(
                "[2001:db8::7]:1 > [2001:db8:1::53]:1812 UDP 68 bytes, Access-Request id 9"
            ),
            "{text}"
        );
        let arp = frame::tests::sample(&ethernet(&[0x0806], &[0; 28]));
        let text = described(&arp).to_string();
        assert!(text.ends_with("— 42 bytes, EtherType 0x0806"), "{text}");
    }

    #[test]
    fn names_what_this_version_does_not_know() {
        let mut sample = sample(&[]);
        (sample.ifindex, sample.service, sample.reason, sample.verdict) = (9, 15, 255, 77);
        let text = described(&sample).to_string();
        assert_eq!(
            text,
            "+0.000 ifindex9 service15 verdict77 reason255: a reason that this version does not know — 0 bytes"
        );
    }

    #[test]
    fn tells_the_detail() {
        let dns = |message: &[u8]| v4(UDP, 0, &udp(4711, 53, message));
        let tcp = |flags: u8| {
            v4(TCP, 0, &[0x12, 0x67, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0])
        };
        let cases: &[(Sample, Option<&str>)] = &[
            (dns(&query(0, 1, b"\0", 2, 1)), Some("\".\" NS")),
            (dns(&query(0, 1, b"\x01a\0", 65280, 1)), Some("\"a\" TYPE65280")),
            (dns(&query(0, 1, b"\x04a\"\\.\x01\x1b\0", 1, 3)), Some(r#""a\"\\\..\027" A CH"#)),
            (dns(&query(0x8180, 1, b"\x01a\0", 16, 1)), Some("response \"a\" TXT")),
            (dns(&query(0x2800, 1, b"\x01a\0", 6, 1)), Some("UPDATE \"a\" SOA")),
            (dns(&query(0x1000, 0, b"", 0, 0)), Some("opcode 2 0 questions")),
            (dns(&query(0, 2, b"\x01a\0", 1, 1)), Some("2 questions \"a\" A")),
            (dns(&query(0, 1, b"\xc0\x0c", 1, 1)), Some("\"...\"")),
            (dns(&query(0, 1, b"\x01a\x3fbc", 1, 1)), Some("\"a...\"")),
            (
                dns(&query(0, 1, &[&[64], [b'x'; 64].as_slice(), &[0]].concat(), 1, 1)),
                Some("\"...\""),
            ),
            (dns(&[0, 1, 0]), None),
            (
                v4(UDP, 0, &udp(53, 4711, &query(0x8000, 1, b"\x01a\0", 1, 1))),
                Some("response \"a\" A"),
            ),
            (v4(UDP, 0, &udp(1, 3799, &[40, 255])), Some("Disconnect-Request id 255")),
            (v4(UDP, 0, &udp(1, 1813, &[99, 0])), Some("code 99 id 0")),
            (v4(UDP, 0, &udp(1, 4000, &[99, 0])), None),
            (v4(UDP, 0, &[]), None),
            (tcp(0x02), Some("SYN")),
            (tcp(0x12), Some("SYN,ACK")),
            (tcp(0), Some("no flags")),
            (tcp(0xff), Some("FIN,SYN,RST,PSH,ACK,URG,ECE,CWR")),
            (v4(ICMP, 0, &[8, 0, 0, 0]), Some("echo request (type 8 code 0)")),
            (v4(ICMP, 0, &[40, 2]), Some("type 40 code 2")),
            (v4(UDP, 0x00b9, &[0; 8]), Some("last fragment, at byte 1480")),
            (v4(UDP, 0x20b9, &[0; 8]), Some("fragment at byte 1480")),
            (v4(ICMP, 0x2000, &[8, 0]), Some("first fragment, echo request (type 8 code 0)")),
            (v4(47, 0, &[0; 8]), None),
        ];
        for (sample, expected) in cases {
            let drop = described(sample);
            assert_eq!(drop.detail.as_deref(), *expected, "{drop}");
        }
        let later = described(&v4(UDP, 0x00b9, &[0; 8]));
        assert_eq!((later.source_port, later.destination_port), (None, None));
    }

    #[test]
    fn long_names_are_followed_to_their_type() {
        // 255 bytes is the longest name there is; the snapshot keeps less of it.
        let mut name = Vec::new();
        for _ in 0..3 {
            name.push(63);
            name.extend([b'x'; 63]);
        }
        name.push(61);
        name.extend([b'y'; 61]);
        name.push(0);
        assert_eq!(name.len(), 255);
        let message = [name.as_slice(), &[0, 28, 0, 1]].concat();
        assert!(dns_question(&message).ends_with("y\" AAAA"));
        let cut = described(&v4(UDP, 0, &udp(1, 53, &query(0, 1, &name, 28, 1))));
        assert!(cut.detail.unwrap().ends_with("...\""));
    }

    proptest! {
        #[test]
        fn any_bytes_make_a_printable_line(
            kind in prop::sample::select(vec![0x0800_u16, 0x86dd, 0x8100, 0x0806]),
            protocol in prop::sample::select(vec![1_u8, 6, 17, 44, 58, 0]),
            port in prop::sample::select(vec![53_u16, 1812, 9]),
            mut payload in prop::collection::vec(any::<u8>(), 0..192),
            sane: bool,
            numbers: [u8; 4],
            caplen in 0_u16..=300,
        ) {
            if sane {
                payload = udp(port, 7, &payload);
                payload = match kind {
                    0x86dd => ipv6(1, protocol, &payload),
                    _ => ipv4(CLIENT, SERVER, protocol, 0, &payload),
                };
            }
            let mut sample = sample(&ethernet(&[kind], &payload));
            sample.caplen = sample.caplen.min(caplen);
            (sample.service, sample.reason, sample.verdict) = (numbers[0], numbers[1], numbers[2]);
            sample.time_ns = u64::MAX - u64::from(numbers[3]);
            let drop = described(&sample);
            prop_assert!(drop.detail.iter().all(|text| text.bytes().all(|b| (b' '..=b'~').contains(&b))));
            let line = drop.on_clock(Duration::from_secs(u64::MAX / 4)).to_string();
            prop_assert!(!line.contains(char::is_control));
        }
    }
}
