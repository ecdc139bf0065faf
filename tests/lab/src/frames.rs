//! Packets built byte by byte: Ethernet with VLAN tags, IPv4 with options, IPv6 with extension
//! headers, UDP, TCP and what they carry, with right checksums, unless a field is deliberately set
//! wrong.
//!
//! ```
//! use muralla_lab::frames::{self, dns};
//!
//! let frame = frames::udp(([198, 51, 100, 7], 5353), ([203, 0, 113, 10], 53))
//!     .vlan(100)
//!     .payload(dns::Query::new("example.org", dns::TYPE_A))
//!     .build();
//! assert_eq!(&frame[12..14], [0x81, 0x00]);
//! ```

pub mod checksum;
pub mod dns;
pub mod radius;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A hardware address.
pub type Mac = [u8; 6];

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherType of an IEEE 802.1Q tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// EtherType of an IEEE 802.1ad service tag (the outer one of QinQ).
pub const ETHERTYPE_QINQ: u16 = 0x88a8;

/// IP protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// IP protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// IPv6 hop-by-hop options header.
pub const EXTENSION_HOP_BY_HOP: u8 = 0;
/// IPv6 routing header.
pub const EXTENSION_ROUTING: u8 = 43;
/// IPv6 fragment header.
pub const EXTENSION_FRAGMENT: u8 = 44;
/// IPv6 destination options header.
pub const EXTENSION_DESTINATION: u8 = 60;

/// TCP flags (RFC 9293 section 3.1).
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers: opens a connection.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field is valid.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is valid.
    pub const URG: u8 = 0x20;
}

/// A UDP datagram. The target's address decides the IP version; a source of the other version is
/// mapped into it.
pub fn udp(source: impl Into<SocketAddr>, target: impl Into<SocketAddr>) -> Frame {
    Frame::new(source.into(), target.into(), Transport::Udp { length: None })
}

/// A TCP segment, with SYN set until [`Frame::flags`] says otherwise. The target's address decides
/// the IP version; a source of the other version is mapped into it.
pub fn tcp(source: impl Into<SocketAddr>, target: impl Into<SocketAddr>) -> Frame {
    let tcp = Tcp { sequence: 1, ..Tcp::default() };
    Frame::new(source.into(), target.into(), Transport::Tcp(tcp))
}

/// An IP packet of any other protocol; its payload follows the IP header directly.
pub fn ip(source: impl Into<IpAddr>, target: impl Into<IpAddr>, protocol: u8) -> Frame {
    let (source, target) = (SocketAddr::new(source.into(), 0), SocketAddr::new(target.into(), 0));
    Frame::new(source, target, Transport::Other { protocol })
}

/// A frame that isn't IP (ARP, LLDP, nonsense).
pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&DEFAULT_TARGET_MAC, &DEFAULT_SOURCE_MAC, &ethertype.to_be_bytes()[..], payload].concat()
}

const DEFAULT_SOURCE_MAC: Mac = [2, 0, 0, 0, 0, 1];
const DEFAULT_TARGET_MAC: Mac = [2, 0, 0, 0, 0, 2];

/// A packet being composed. Every method sets one thing; [`Frame::build`] lays it out.
#[derive(Clone, Debug)]
pub struct Frame {
    source_mac: Mac,
    target_mac: Mac,
    tags: Vec<(u16, u16)>,
    ethertype: Option<u16>,
    source: SocketAddr,
    target: SocketAddr,
    version: Option<u8>,
    ihl: Option<u8>,
    ip_length: Option<u16>,
    ip_checksum: Option<u16>,
    identification: u16,
    fragment: u16,
    ttl: u8,
    protocol: Option<u8>,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    transport: Transport,
    transport_checksum: Option<u16>,
    payload: Vec<u8>,
    pad_to: usize,
    truncate: Option<usize>,
}

#[derive(Clone, Debug)]
enum Transport {
    Udp { length: Option<u16> },
    Tcp(Tcp),
    Other { protocol: u8 },
}

#[derive(Clone, Debug)]
struct Tcp {
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
    window: u16,
    options: Vec<u8>,
    data_offset: Option<u8>,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            sequence: 0,
            acknowledgement: 0,
            flags: tcp_flags::SYN,
            window: 64_240,
            options: Vec::new(),
            data_offset: None,
        }
    }
}

/// Where the parts of a built frame begin, in bytes from its start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Layout {
    /// The IP header.
    pub ip: usize,
    /// The UDP or TCP header, or the payload of another protocol.
    pub transport: usize,
    /// What the transport carries.
    pub payload: usize,
}

impl Frame {
    fn new(source: SocketAddr, target: SocketAddr, transport: Transport) -> Self {
        Self {
            source_mac: DEFAULT_SOURCE_MAC,
            target_mac: DEFAULT_TARGET_MAC,
            tags: Vec::new(),
            ethertype: None,
            source: same_family(source, target),
            target,
            version: None,
            ihl: None,
            ip_length: None,
            ip_checksum: None,
            identification: 0,
            fragment: 0,
            ttl: 64,
            protocol: None,
            options: Vec::new(),
            extensions: Vec::new(),
            transport,
            transport_checksum: None,
            payload: Vec::new(),
            pad_to: 0,
            truncate: None,
        }
    }

    /// Hardware addresses.
    pub fn macs(mut self, source: Mac, target: Mac) -> Self {
        (self.source_mac, self.target_mac) = (source, target);
        self
    }

    /// An IEEE 802.1Q tag with that VLAN id, inside of the tags so far.
    pub fn vlan(self, id: u16) -> Self {
        self.tag(ETHERTYPE_VLAN, id)
    }

    /// An IEEE 802.1ad service tag with that VLAN id, inside of the tags so far.
    pub fn qinq(self, id: u16) -> Self {
        self.tag(ETHERTYPE_QINQ, id)
    }

    /// A tag of any kind: the EtherType that announces it, and its control information.
    pub fn tag(mut self, ethertype: u16, control: u16) -> Self {
        self.tags.push((ethertype, control));
        self
    }

    /// The innermost EtherType, whatever follows.
    pub fn ethertype(mut self, ethertype: u16) -> Self {
        self.ethertype = Some(ethertype);
        self
    }

    /// The version field of the IP header, whatever the header is.
    pub fn version(mut self, version: u8) -> Self {
        self.version = Some(version);
        self
    }

    /// The IPv4 header length field, in 32-bit words, whatever the header has.
    pub fn ihl(mut self, words: u8) -> Self {
        self.ihl = Some(words);
        self
    }

    /// The IPv4 total length, or the IPv6 payload length, in bytes, whatever there is.
    pub fn ip_length(mut self, bytes: u16) -> Self {
        self.ip_length = Some(bytes);
        self
    }

    /// The IPv4 header checksum, whatever is right.
    pub fn ip_checksum(mut self, checksum: u16) -> Self {
        self.ip_checksum = Some(checksum);
        self
    }

    /// IPv4 time to live, IPv6 hop limit.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// The IPv4 protocol or last IPv6 next-header field, whatever follows.
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// IPv4 options, padded with end-of-list to a multiple of 4. At most 40 bytes fit.
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self.options.resize(options.len().next_multiple_of(4), 0);
        self
    }

    /// Makes it a fragment: its offset in units of 8 bytes (13 bits), and whether more follow. For
    /// IPv6 this is an extension header at this place of the chain.
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        if self.target.is_ipv4() {
            self.fragment = (offset & 0x1fff) | if more { 0x2000 } else { 0 };
            return self;
        }
        let [high, low] = ((offset << 3) | u16::from(more)).to_be_bytes();
        self.extension(EXTENSION_FRAGMENT, &[0, high, low, 0, 0, 0, 1])
    }

    /// An IPv6 extension header of that kind, as it is after its first byte (next header), which
    /// is filled in; 7 bytes make the shortest. Ignored for IPv4.
    pub fn extension(mut self, kind: u8, after_next_header: &[u8]) -> Self {
        self.extensions.push((kind, after_next_header.to_vec()));
        self
    }

    /// The UDP length field, whatever there is. Ignored for others.
    pub fn udp_length(mut self, bytes: u16) -> Self {
        if let Transport::Udp { length } = &mut self.transport {
            *length = Some(bytes);
        }
        self
    }

    /// TCP flags, of [`tcp_flags`]. Ignored for others, as all of TCP's.
    pub fn flags(self, flags: u8) -> Self {
        self.tcp(|tcp| tcp.flags = flags)
    }

    /// TCP sequence and acknowledgement numbers.
    pub fn sequence(self, sequence: u32, acknowledgement: u32) -> Self {
        self.tcp(|tcp| (tcp.sequence, tcp.acknowledgement) = (sequence, acknowledgement))
    }

    /// TCP options, padded with end-of-list to a multiple of 4.
    pub fn tcp_options(self, options: &[u8]) -> Self {
        self.tcp(|tcp| {
            tcp.options = options.to_vec();
            tcp.options.resize(options.len().next_multiple_of(4), 0);
        })
    }

    /// The TCP header length field, in 32-bit words, whatever the header has.
    pub fn data_offset(self, words: u8) -> Self {
        self.tcp(|tcp| tcp.data_offset = Some(words))
    }

    fn tcp(mut self, change: impl FnOnce(&mut Tcp)) -> Self {
        if let Transport::Tcp(tcp) = &mut self.transport {
            change(tcp);
        }
        self
    }

    /// The UDP or TCP checksum, whatever is right.
    pub fn transport_checksum(mut self, checksum: u16) -> Self {
        self.transport_checksum = Some(checksum);
        self
    }

    /// What the transport carries.
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Zero bytes after the IP packet up to this length of the frame, as Ethernet pads to 60.
    pub fn pad_to(mut self, bytes: usize) -> Self {
        self.pad_to = bytes;
        self
    }

    /// Cuts the frame to this length at the very end, lengths and checksums unchanged.
    pub fn truncate(mut self, bytes: usize) -> Self {
        self.truncate = Some(bytes);
        self
    }

    /// The finished frame.
    pub fn build(&self) -> Vec<u8> {
        let transport = self.transport_bytes();
        let mut frame = Vec::with_capacity(self.layout().transport + transport.len());
        frame.extend(self.target_mac);
        frame.extend(self.source_mac);
        for (ethertype, control) in &self.tags {
            frame.extend(ethertype.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        let ethertype = if self.target.is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        frame.extend(self.ethertype.unwrap_or(ethertype).to_be_bytes());
        match (self.source.ip(), self.target.ip()) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                frame.extend(self.ipv4_header(source, target, transport.len()));
            }
            (source, target) => {
                let header = self.ipv6_headers(to_ipv6(source), to_ipv6(target), transport.len());
                frame.extend(header);
            }
        }
        frame.extend(transport);
        frame.resize(frame.len().max(self.pad_to), 0);
        frame.truncate(self.truncate.unwrap_or(usize::MAX));
        frame
    }

    /// Where the parts of the built frame begin (of the whole one, if it is truncated).
    pub fn layout(&self) -> Layout {
        let ip = 14 + 4 * self.tags.len();
        let ip_header = if self.target.is_ipv4() {
            20 + self.options.len()
        } else {
            40 + self.extensions.iter().map(|(_, body)| body.len() + 1).sum::<usize>()
        };
        let transport = ip + ip_header;
        let transport_header = match &self.transport {
            Transport::Udp { .. } => 8,
            Transport::Tcp(tcp) => 20 + tcp.options.len(),
            Transport::Other { .. } => 0,
        };
        Layout { ip, transport, payload: transport + transport_header }
    }

    fn protocol_number(&self) -> u8 {
        self.protocol.unwrap_or(match self.transport {
            Transport::Udp { .. } => PROTOCOL_UDP,
            Transport::Tcp(_) => PROTOCOL_TCP,
            Transport::Other { protocol } => protocol,
        })
    }

    fn ipv4_header(&self, source: Ipv4Addr, target: Ipv4Addr, payload: usize) -> Vec<u8> {
        let length = 20 + self.options.len();
        let ihl = self.ihl.unwrap_or((length / 4) as u8);
        let total = self.ip_length.unwrap_or((length + payload) as u16);
        let header = |checksum: u16| {
            let mut header = vec![(self.version.unwrap_or(4) << 4) | (ihl & 15), 0];
            header.extend(total.to_be_bytes());
            header.extend(self.identification.to_be_bytes());
            header.extend(self.fragment.to_be_bytes());
            header.extend([self.ttl, self.protocol_number()]);
            header.extend(checksum.to_be_bytes());
            header.extend(source.octets());
            header.extend(target.octets());
            header.extend(&self.options);
            header
        };
        header(self.ip_checksum.unwrap_or_else(|| checksum::of(&[&header(0)])))
    }

    fn ipv6_headers(&self, source: Ipv6Addr, target: Ipv6Addr, payload: usize) -> Vec<u8> {
        let chain: usize = self.extensions.iter().map(|(_, body)| body.len() + 1).sum();
        let length = self.ip_length.unwrap_or((chain + payload) as u16);
        let mut next = self.extensions.iter().map(|(kind, _)| *kind);
        let mut next_header = || next.next().unwrap_or_else(|| self.protocol_number());
        let mut header = vec![self.version.unwrap_or(6) << 4, 0, 0, 0];
        header.extend(length.to_be_bytes());
        header.extend([next_header(), self.ttl]);
        header.extend(source.octets());
        header.extend(target.octets());
        for (_, body) in &self.extensions {
            header.push(next_header());
            header.extend(body);
        }
        header
    }

    fn transport_bytes(&self) -> Vec<u8> {
        let right = match self.transport {
            Transport::Other { .. } => return self.payload.clone(),
            // A computed zero is sent as all ones: zero says that there is none (RFC 768).
            Transport::Udp { .. } => match self.transport_sum(PROTOCOL_UDP) {
                0 => 0xffff,
                sum => sum,
            },
            Transport::Tcp(_) => self.transport_sum(PROTOCOL_TCP),
        };
        self.transport_with(self.transport_checksum.unwrap_or(right))
    }

    fn transport_sum(&self, protocol: u8) -> u16 {
        let bytes = self.transport_with(0);
        checksum::of_transport(self.source.ip(), self.target.ip(), protocol, &bytes)
    }

    fn transport_with(&self, checksum: u16) -> Vec<u8> {
        let mut bytes = self.source.port().to_be_bytes().to_vec();
        bytes.extend(self.target.port().to_be_bytes());
        match &self.transport {
            Transport::Other { .. } => bytes.clear(),
            Transport::Udp { length } => {
                let length = length.unwrap_or((8 + self.payload.len()) as u16);
                bytes.extend(length.to_be_bytes());
                bytes.extend(checksum.to_be_bytes());
            }
            Transport::Tcp(tcp) => {
                let words = ((20 + tcp.options.len()) / 4) as u8;
                bytes.extend(tcp.sequence.to_be_bytes());
                bytes.extend(tcp.acknowledgement.to_be_bytes());
                bytes.extend([tcp.data_offset.unwrap_or(words) << 4, tcp.flags]);
                bytes.extend(tcp.window.to_be_bytes());
                bytes.extend(checksum.to_be_bytes());
                bytes.extend([0, 0]);
                bytes.extend(&tcp.options);
            }
        }
        bytes.extend(&self.payload);
        bytes
    }
}

fn same_family(source: SocketAddr, target: SocketAddr) -> SocketAddr {
    let ip = match (source.ip(), target.is_ipv4()) {
        (IpAddr::V4(ip), false) => IpAddr::V6(ip.to_ipv6_mapped()),
        (IpAddr::V6(ip), true) => IpAddr::V4(ip.to_ipv4().unwrap_or(Ipv4Addr::UNSPECIFIED)),
        (ip, _) => ip,
    };
    SocketAddr::new(ip, source.port())
}

const fn to_ipv6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: (([u8; 4], u16), ([u8; 4], u16)) =
        (([198, 51, 100, 7], 40_000), ([203, 0, 113, 10], 53));

    fn v6() -> (SocketAddr, SocketAddr) {
        ("[2001:db8::7]:40000".parse().unwrap(), "[2001:db8:53::10]:53".parse().unwrap())
    }

    #[test]
    fn checksums_of_every_kind_of_frame_verify() {
        let (source, target) = v6();
        let odd = dns::Query::new("odd.example", dns::TYPE_AAAA);
        for (name, frame, protocol) in [
            ("udp4", udp(V4.0, V4.1).payload(odd.clone()), PROTOCOL_UDP),
            ("udp4 empty", udp(V4.0, V4.1), PROTOCOL_UDP),
            ("udp4 options", udp(V4.0, V4.1).options(&[7, 7, 4, 0, 0, 0, 0]), PROTOCOL_UDP),
            ("udp4 QinQ", udp(V4.0, V4.1).qinq(7).vlan(8).payload(odd.clone()), PROTOCOL_UDP),
            ("tcp4", tcp(V4.0, V4.1).tcp_options(&[2, 4, 5, 0xb4]), PROTOCOL_TCP),
            ("tcp4 data", tcp(V4.0, V4.1).flags(tcp_flags::ACK).payload(*b"abc"), PROTOCOL_TCP),
            ("udp6", udp(source, target).payload(odd), PROTOCOL_UDP),
            ("tcp6", tcp(source, target), PROTOCOL_TCP),
            (
                "udp6 chain",
                udp(source, target).extension(EXTENSION_HOP_BY_HOP, &[0, 1, 4, 0, 0, 0, 0]),
                PROTOCOL_UDP,
            ),
        ] {
            let (bytes, layout) = (frame.build(), frame.layout());
            if frame.target.is_ipv4() {
                let header = &bytes[layout.ip..layout.transport];
                assert_eq!(checksum::of(&[header]), 0, "{name}: IPv4 header");
                let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
                assert_eq!(total, bytes.len() - layout.ip, "{name}: total length");
            }
            let transport = &bytes[layout.transport..];
            let (source, target) = (frame.source.ip(), frame.target.ip());
            let sum = checksum::of_transport(source, target, protocol, transport);
            assert_eq!(sum, 0, "{name}: transport");
        }
    }

    #[test]
    fn a_frame_by_hand() {
        // Checksums worked out with pen and paper.
        let frame = udp(([10, 0, 0, 1], 1), ([10, 0, 0, 2], 2)).payload([0xff]).build();
        let expected = [
            [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0].as_slice(),
            &[0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0x66, 0xce, 10, 0, 0, 1, 10, 0, 0, 2],
            &[0, 1, 0, 2, 0, 9, 0xec, 0xd5, 0xff],
        ]
        .concat();
        assert_eq!(frame, expected);
    }

    #[test]
    fn ipv6_chain_names_each_header_in_the_one_before() {
        let (source, target) = v6();
        let frame = udp(source, target)
            .extension(EXTENSION_HOP_BY_HOP, &[0; 7])
            .fragment(185, true)
            .extension(EXTENSION_DESTINATION, &[0; 7])
            .build();
        let next = [frame[14 + 6], frame[54], frame[62], frame[70]];
        let chain = [EXTENSION_HOP_BY_HOP, EXTENSION_FRAGMENT, EXTENSION_DESTINATION, PROTOCOL_UDP];
        assert_eq!(next, chain);
        assert_eq!(frame[64..66], (185_u16 << 3 | 1).to_be_bytes());
        assert_eq!(frame[18..20], [0, 32]);
    }

    #[test]
    fn broken_fields_stay_as_they_were_set() {
        let frame = udp(V4.0, V4.1)
            .ihl(15)
            .version(9)
            .ip_length(9_999)
            .ip_checksum(0xdead)
            .udp_length(3)
            .transport_checksum(0)
            .fragment(0, true)
            .build();
        assert_eq!(frame[14], 0x9f);
        assert_eq!(frame[16..18], 9_999_u16.to_be_bytes());
        assert_eq!(frame[20..22], [0x20, 0]);
        assert_eq!(frame[24..26], [0xde, 0xad]);
        assert_eq!(frame[38..42], [0, 3, 0, 0]);
        assert_eq!(udp(V4.0, V4.1).truncate(20).build().len(), 20);
        assert_eq!(udp(V4.0, V4.1).pad_to(60).build().len(), 60);
        assert_eq!(tcp(V4.0, V4.1).data_offset(2).flags(0).build()[46..48], [0x20, 0]);
    }
}
