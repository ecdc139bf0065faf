//! Ethernet, VLAN, IPv4, IPv6, UDP and TCP headers, right and wrong.

use muralla_abi::verdict::Reason::*;
use muralla_abi::verdict::Verdict::{self, Drop, Observe, Pass};
use muralla_edge::config::{Role, RuleMode};
use muralla_lab::frames::tcp_flags::{ACK, FIN, PSH, RST, SYN, URG};
use muralla_lab::frames::{
    EXTENSION_DESTINATION, EXTENSION_FRAGMENT, EXTENSION_HOP_BY_HOP, EXTENSION_ROUTING, Frame,
    ethernet, ip, tcp, udp,
};

use crate::fixture::{Case, Fixture, case, raw_case};
use crate::packets::*;

pub(crate) fn run(fixture: &mut Fixture) {
    fixture.check(link_layer());
    fixture.check(ipv4());
    fixture.check(ipv6());
    fixture.check(fragments());
    fixture.check(datagrams());
    fixture.check(segments());
    fixture.check(impossible_sources());
    fixture.check(jumbo());

    fixture.reload(|config| config.impossible = RuleMode::Observe);
    fixture.check(contradictions(Observe));
    fixture.reload(|config| config.impossible = RuleMode::Off);
    fixture.check(ignored());
}

fn link_layer() -> Vec<Case> {
    let mut cases = vec![
        raw_case("ARP", ethernet(0x0806, &[0; 28]), "other", Pass, NotIp),
        raw_case("LLDP", ethernet(0x88cc, &[0; 46]), "other", Pass, NotIp),
        raw_case("802.3 length", ethernet(46, &[0; 46]), "other", Pass, NotIp),
        raw_case("bare header", ethernet(0x0806, &[]), "other", Pass, NotIp),
        raw_case("no IPv4", ethernet(0x0800, &[]), "other", Drop, Truncated),
        raw_case("no IPv6", ethernet(0x86dd, &[]), "other", Drop, Truncated),
        raw_case("no tag", ethernet(0x8100, &[]), "other", Drop, Truncated),
        raw_case("half a tag", ethernet(0x8100, &[0; 3]), "other", Drop, Truncated),
        raw_case("tagged ARP", ethernet(0x8100, &[0, 7, 8, 6]), "other", Pass, NotIp),
    ];
    for source in [CUSTOMER4, CUSTOMER6] {
        let dns = || dns(source);
        cases.extend([
            case("one tag", dns().vlan(7), "dns", Pass, Clean),
            case("priority tag", dns().tag(0x8100, 0xe000), "dns", Pass, Clean),
            case("QinQ", dns().qinq(7).vlan(8), "dns", Pass, Clean),
            case("QinQ of old", dns().tag(0x9100, 7).vlan(8), "dns", Pass, Clean),
            case("two 802.1Q", dns().vlan(7).vlan(8), "dns", Pass, Clean),
            case("three tags", dns().qinq(7).vlan(8).vlan(9), "other", Drop, HeaderChain),
            case("padded", dns().pad_to(400), "dns", Pass, Clean),
        ]);
    }
    cases
}

fn ipv4() -> Vec<Case> {
    let dns = || dns(CUSTOMER4);
    let whole = dns().build().len() as u16 - 14;
    let mut cases = vec![
        case("4 bytes of options", dns().options(&[1; 4]), "dns", Pass, Clean),
        case("40 bytes of options", dns().options(&[1; 40]), "dns", Pass, Clean),
        case("version 6", dns().version(6), "other", Drop, BadIpHeader),
        case("version 0", dns().version(0), "other", Drop, BadIpHeader),
        case("total 0", dns().ip_length(0), "other", Drop, Truncated),
        case("total 19", dns().ip_length(19), "other", Drop, Truncated),
        case("total beyond", dns().ip_length(whole + 1), "other", Drop, Truncated),
        case("total 65535", dns().ip_length(65_535), "other", Drop, Truncated),
        case("header alone", dns().ip_length(20), "other", Drop, Truncated),
        case("7 bytes of UDP", dns().ip_length(27), "other", Drop, Truncated),
        case("no payload", dns().ip_length(28), "dns", Drop, UdpLength),
        case("options beyond total", dns().ihl(15).ip_length(59), "other", Drop, Truncated),
        case("ICMP", ip(v4(CUSTOMER4), v4(SERVER4), 1), "other", Pass, Other),
        case("protocol 255", ip(v4(CUSTOMER4), v4(SERVER4), 255), "other", Pass, Other),
    ];
    for ihl in 0..5 {
        let frame = dns().ihl(ihl);
        cases.push(case(format!("IHL {ihl}"), frame, "other", Drop, BadIpHeader));
    }
    cases
}

fn v4(text: &str) -> std::net::Ipv4Addr {
    text.parse().unwrap()
}

fn v6(text: &str) -> std::net::Ipv6Addr {
    text.parse().unwrap()
}

fn ipv6() -> Vec<Case> {
    const AUTHENTICATION: u8 = 51;
    const MOBILITY: u8 = 135;
    let dns = || dns(CUSTOMER6);
    let short = [0, 1, 4, 0, 0, 0, 0];
    let long = [1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let chain = |count: usize| {
        (0..count).fold(dns(), |frame, _| frame.extension(EXTENSION_DESTINATION, &short))
    };
    let whole = dns().build().len() as u16 - 14 - 40;
    vec![
        case("hop-by-hop", dns().extension(EXTENSION_HOP_BY_HOP, &short), "dns", Pass, Clean),
        case("destination", dns().extension(EXTENSION_DESTINATION, &long), "dns", Pass, Clean),
        case("routing", dns().extension(EXTENSION_ROUTING, &short), "dns", Pass, Clean),
        case(
            "authentication, 12 bytes",
            dns().extension(AUTHENTICATION, &[1; 11]),
            "dns",
            Pass,
            Clean,
        ),
        case(
            "authentication, 24 bytes",
            dns().extension(AUTHENTICATION, &[4; 23]),
            "dns",
            Pass,
            Clean,
        ),
        case("mobility", dns().extension(MOBILITY, &short), "dns", Pass, Clean),
        case(
            "all that RFC 8200 orders",
            dns()
                .extension(EXTENSION_HOP_BY_HOP, &long)
                .extension(EXTENSION_DESTINATION, &short)
                .extension(EXTENSION_ROUTING, &long)
                .extension(EXTENSION_FRAGMENT, &[0; 7])
                .extension(AUTHENTICATION, &[4; 23])
                .extension(EXTENSION_DESTINATION, &short),
            "dns",
            Pass,
            Clean,
        ),
        case("8 headers", chain(8), "dns", Pass, Clean),
        case("9 headers", chain(9), "other", Drop, HeaderChain),
        case("20 headers", chain(20), "other", Drop, HeaderChain),
        case(
            "a header beyond the packet",
            dns().extension(EXTENSION_DESTINATION, &[255, 0, 0, 0, 0, 0, 0]),
            "other",
            Drop,
            Truncated,
        ),
        case(
            "a header that isn't there",
            dns().protocol(EXTENSION_ROUTING).ip_length(4),
            "other",
            Drop,
            Truncated,
        ),
        case("no next header", dns().protocol(59), "other", Pass, Other),
        case("version 4", dns().version(4), "other", Drop, BadIpHeader),
        case("payload length 0", dns().ip_length(0), "other", Drop, Truncated),
        case("payload beyond", dns().ip_length(whole + 1), "other", Drop, Truncated),
        case("payload 65535", dns().ip_length(65_535), "other", Drop, Truncated),
        case("7 bytes of UDP", dns().ip_length(7), "other", Drop, Truncated),
        case("ICMPv6", ip(v6(CUSTOMER6), v6(SERVER6), 58), "other", Pass, Other),
    ]
}

fn fragments() -> Vec<Case> {
    let mut cases = Vec::new();
    for source in [CUSTOMER4, CUSTOMER6] {
        let other = || datagram(source, 9_999).payload([0; 32]);
        cases.extend([
            case("first", dns(source).fragment(0, true), "dns", Drop, Fragment),
            case("first, SYN", segment(source, 25, SYN).fragment(0, true), "smtp", Drop, Fragment),
            case("first, other", other().fragment(0, true), "other", Pass, Other),
            case("second", dns(source).fragment(1, true), "other", Pass, LaterFragment),
            case("last", dns(source).fragment(185, false), "other", Pass, LaterFragment),
            case("furthest", dns(source).fragment(0x1fff, false), "other", Pass, LaterFragment),
            // The whole datagram's length is beyond its first fragment, as it must be.
            case(
                "first of a long one",
                dns(source).udp_length(3_000).fragment(0, true),
                "dns",
                Drop,
                Fragment,
            ),
        ]);
    }
    // Without offset and without more to come it is whole (RFC 6946).
    cases.push(case("atomic", dns(CUSTOMER6).fragment(0, false), "dns", Pass, Clean));
    cases
}

fn datagrams() -> Vec<Case> {
    let mut cases = Vec::new();
    for source in [CUSTOMER4, CUSTOMER6] {
        let dns = || dns(source);
        let length = dns().build().len() - dns().layout().transport;
        let length = length as u16;
        cases.extend([
            case("length 0", dns().udp_length(0), "dns", Drop, UdpLength),
            case("length 7", dns().udp_length(7), "dns", Drop, UdpLength),
            case("length 8", dns().udp_length(8), "dns", Drop, DnsCounts),
            case("length one beyond", dns().udp_length(length + 1), "dns", Drop, UdpLength),
            case("length 65535", dns().udp_length(65_535), "dns", Drop, UdpLength),
            case("options after the datagram", padded(source), "dns", Pass, Clean),
            case("port 0", from_port(source, 0).payload(query()), "dns", Drop, ZeroPort),
            // Not ours to judge.
            case("length lies, other", datagram(source, 9_999).udp_length(7), "other", Pass, Other),
            case("port 0, other", udp(at(source, 0), at(server(source), 9)), "other", Pass, Other),
        ]);
    }
    cases.extend([
        case("no checksum", dns(CUSTOMER4).transport_checksum(0), "dns", Pass, Clean),
        case("no checksum", dns(CUSTOMER6).transport_checksum(0), "dns", Drop, ZeroChecksum),
        case(
            "no checksum, RADIUS",
            datagram(NAS6, 1_812).payload(radius(1)).transport_checksum(0),
            "radius_auth",
            Drop,
            ZeroChecksum,
        ),
    ]);
    cases
}

fn from_port(source: &str, port: u16) -> Frame {
    udp(at(source, port), at(server(source), 53))
}

/// A query with UDP options (RFC 9868) after it.
fn padded(source: &str) -> Frame {
    let message = query().encode();
    let length = message.len() as u16 + 8;
    datagram(source, 53).payload([message, vec![0; 12]].concat()).udp_length(length)
}

fn segments() -> Vec<Case> {
    const ECE_CWR: u8 = 0xc0;
    let mut cases = Vec::new();
    for source in [OUTSIDER4, OUTSIDER6] {
        for (name, flags, verdict, reason) in [
            ("SYN", SYN, Pass, Clean),
            ("SYN with ECN", SYN | ECE_CWR, Pass, Clean),
            ("SYN, PSH", SYN | PSH, Pass, Clean),
            ("SYN, ACK", SYN | ACK, Pass, Established),
            ("ACK", ACK, Pass, Established),
            ("data", ACK | PSH, Pass, Established),
            ("FIN, ACK", FIN | ACK, Pass, Established),
            ("RST", RST, Pass, Established),
            ("RST, ACK", RST | ACK, Pass, Established),
            ("none", 0, Drop, TcpFlags),
            ("ECN alone", ECE_CWR, Drop, TcpFlags),
            ("FIN", FIN, Drop, TcpFlags),
            ("URG", URG, Drop, TcpFlags),
            ("PSH", PSH, Drop, TcpFlags),
            ("SYN, FIN", SYN | FIN, Drop, TcpFlags),
            ("SYN, RST", SYN | RST, Drop, TcpFlags),
            ("FIN, RST", FIN | RST, Drop, TcpFlags),
            ("Christmas", FIN | PSH | URG, Drop, TcpFlags),
            ("all", 0x3f, Drop, TcpFlags),
        ] {
            cases.push(case(name, segment(source, 25, flags), "smtp", verdict, reason));
        }
        let syn = || segment(source, 443, SYN);
        cases.extend([
            case("header of 16 bytes", syn().data_offset(4), "web", Drop, TcpFlags),
            case("header beyond", syn().data_offset(6), "web", Drop, TcpFlags),
            case("40 bytes of options", syn().tcp_options(&[1; 40]), "web", Pass, Clean),
            case("data in SYN", syn().payload(*b"GET"), "web", Pass, Clean),
            case("port 0", tcp(at(source, 0), at(server(source), 80)), "web", Drop, ZeroPort),
            case("flags, other", segment(source, 9_999, 0x3f), "other", Pass, Other),
            case(
                "header of 16 bytes, other",
                segment(source, 9_999, SYN).data_offset(4),
                "other",
                Pass,
                Other,
            ),
        ]);
    }
    for (name, frame) in [
        ("19 bytes", ip(v4(OUTSIDER4), v4(SERVER4), 6).payload([0; 19])),
        ("19 bytes", ip(v6(OUTSIDER6), v6(SERVER6), 6).payload([0; 19])),
    ] {
        cases.push(case(name, frame, "other", Drop, Truncated));
    }
    cases
}

fn impossible_sources() -> Vec<Case> {
    let mut cases = Vec::new();
    for source in [SERVER4, SERVER6] {
        cases.extend([
            case("LAND", dns(source), "dns", Drop, Land),
            case("LAND, SYN", segment(source, 25, SYN), "smtp", Drop, Land),
            case("LAND, other", datagram(source, 9_999), "other", Drop, Land),
        ]);
    }
    for source in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.0.9",
        "224.0.0.1",
        "239.1.2.3",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:8.8.8.8",
        "ff02::1",
        "ff0e::9",
    ] {
        cases.extend([
            case(source, dns(source), "dns", Drop, Martian),
            case(source, datagram(source, 9_999), "other", Drop, Martian),
        ]);
    }
    let broadcast = at("255.255.255.255", 67);
    let discover = udp(at("0.0.0.0", 68), broadcast).payload([1; 240]);
    let solicitation = ip(v6("::"), v6("ff02::1:ff00:1"), 58).payload([135; 24]);
    cases.extend([
        case("DHCP", discover, "other", Pass, Other),
        case("duplicate address detection", solicitation, "other", Pass, Other),
        case("0.1.2.3 to DHCP", udp(at("0.1.2.3", 68), broadcast), "other", Drop, Martian),
    ]);
    // What no address can be is looked at on every side.
    let sides = [Role::Internet, Role::Customers];
    cases.extend(
        sides.map(|side| case("loopback", dns("127.0.0.1"), "dns", Drop, Martian).from(side)),
    );
    cases
}

fn jumbo() -> Vec<Case> {
    let mut cases = Vec::new();
    for source in [CUSTOMER4, CUSTOMER6] {
        for bytes in [1_501, 3_000, 9_000, 20_000, 32_000] {
            let payload = |first: Vec<u8>| {
                let mut payload = first;
                payload.resize(bytes, 0);
                payload
            };
            let dns = datagram(source, 53).payload(payload(query().encode()));
            let syn = segment(source, 25, SYN).payload(payload(Vec::new()));
            cases.extend([
                case(format!("{bytes} of DNS"), dns, "dns", Pass, Clean),
                case(format!("{bytes} of TCP"), syn, "smtp", Pass, Clean),
            ]);
        }
        // Beyond what the program follows, in a packet that no interface's MTU allows.
        for bytes in [33_000, 60_000] {
            let frame = datagram(source, 9_999).payload(vec![0; bytes]);
            cases.push(case(format!("{bytes} of UDP"), frame, "other", Drop, Truncated));
        }
    }
    cases
}

/// One of each kind.
fn contradictions(verdict: Verdict) -> Vec<Case> {
    let mut cases = vec![
        case("IHL", dns(CUSTOMER4).ihl(4), "other", verdict, BadIpHeader),
        case("checksum", dns(CUSTOMER6).transport_checksum(0), "dns", verdict, ZeroChecksum),
    ];
    for (source, server, loopback) in
        [(CUSTOMER4, SERVER4, "127.0.0.1"), (CUSTOMER6, SERVER6, "::1")]
    {
        cases.extend([
            case("length", dns(source).ip_length(3), "other", verdict, Truncated),
            case("tags", dns(source).vlan(1).vlan(2).vlan(3), "other", verdict, HeaderChain),
            case("UDP length", dns(source).udp_length(7), "dns", verdict, UdpLength),
            case("flags", segment(source, 25, 0), "smtp", verdict, TcpFlags),
            case("LAND", dns(server), "dns", verdict, Land),
            case("martian", dns(loopback), "dns", verdict, Martian),
        ]);
    }
    cases
}

/// What becomes of them when nobody looks: the checks of the service see what is there.
fn ignored() -> Vec<Case> {
    let mut cases = vec![
        case("IHL", dns(CUSTOMER4).ihl(4), "other", Pass, Other),
        case("checksum", dns(CUSTOMER6).transport_checksum(0), "dns", Pass, Clean),
    ];
    for (source, server, loopback) in
        [(CUSTOMER4, SERVER4, "127.0.0.1"), (CUSTOMER6, SERVER6, "::1")]
    {
        cases.extend([
            case("length", dns(source).ip_length(3), "other", Pass, Other),
            case("tags", dns(source).vlan(1).vlan(2).vlan(3), "other", Pass, Other),
            case("UDP length", dns(source).udp_length(7), "dns", Drop, DnsCounts),
            case("flags", segment(source, 25, 0), "smtp", Pass, Established),
            case("LAND", dns(server), "dns", Pass, Clean),
            case("martian", dns(loopback), "dns", Drop, DnsOutsider),
        ]);
    }
    cases
}
