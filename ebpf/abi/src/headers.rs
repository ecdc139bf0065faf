//! Ethernet, VLAN, IPv4 and IPv6 down to the ports.

use crate::frame::{Frame, Window};
use crate::verdict::Reason;
use crate::verifier::hide;

/// An IPv4 or IPv6 address, as the tables want it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Addr {
    /// IPv6: the first 64 bits. IPv4: the address in the upper 32 bits, zero below.
    pub hi: u64,
    /// IPv6: the last 64 bits. IPv4: zero.
    pub lo: u64,
}

impl Addr {
    /// The address of an IPv4 host, as number.
    pub const fn v4(address: u32) -> Self {
        Self { hi: (address as u64) << 32, lo: 0 }
    }

    /// The address of an IPv6 host, as number.
    pub const fn v6(address: u128) -> Self {
        Self { hi: (address >> 64) as u64, lo: address as u64 }
    }
}

/// What part of a datagram a packet carries.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fragment {
    /// All of it.
    Whole = 0,
    /// Its beginning, with the ports.
    First = 1,
    /// A part without ports.
    Later = 2,
}

/// The headers of one IP packet. Lies in a map on the kernel side, so that the verifier forgets how it
/// was filled and looks at what follows once instead of once for each way through the parser.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Headers {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Offset of the IP header from the frame's start, in bytes.
    pub l3: u16,
    /// Offset of the transport header from the frame's start, in bytes.
    pub l4: u16,
    /// Offset of the first byte after the IP packet from the frame's start, in bytes.
    pub end: u16,
    /// UDP or TCP source port.
    pub sport: u16,
    /// UDP or TCP destination port.
    pub dport: u16,
    /// UDP length field; for TCP, the header's length in bytes.
    pub l4_len: u16,
    /// UDP checksum field.
    pub checksum: u16,
    /// IP protocol number of the transport header.
    pub proto: u8,
    /// 1 for IPv6.
    pub v6: u8,
    /// A [`Fragment`] as number.
    pub fragment: u8,
    /// TCP flags, FIN in the lowest bit.
    pub tcp_flags: u8,
    /// A [`Reason`] as number if the transport header is broken, else 0.
    pub fault: u8,
    /// Unused, zero.
    pub _reserved: [u8; 5],
}

/// IP protocol numbers that are looked into.
pub mod proto {
    /// ICMP for IPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
}

/// TCP flags (RFC 9293 section 3.1).
pub mod tcp {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 2;
    /// Reset the connection.
    pub const RST: u8 = 4;
    /// Push.
    pub const PSH: u8 = 8;
    /// The acknowledgement field is valid.
    pub const ACK: u8 = 16;
    /// The urgent pointer is valid.
    pub const URG: u8 = 32;
}

/// What the parser found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Parsed {
    /// IPv4 or IPv6, with its headers filled in.
    Ip,
    /// Another protocol.
    NotIp,
    /// A packet without a usable IP header.
    Bad(Reason),
}

/// Most VLAN tags before the IP header.
const MAX_TAGS: u32 = 2;

/// Most IPv6 extension headers before the transport header.
const MAX_EXTENSIONS: u32 = 8;

/// Longest packet looked at, from the frame's start, in bytes. The verifier follows packet offsets up to
/// 65,535; this leaves room for what is added to them.
pub const MAX_END: u32 = 0x7f00;

/// Parses a frame into `out`. One VLAN tag and two (QinQ), IPv4 options and IPv6 extension headers are
/// followed.
#[inline(always)]
pub fn parse<F: Frame + ?Sized>(frame: &F, out: &mut Headers) -> Parsed {
    let Some(ethernet) = frame.window(0, 14) else {
        return Parsed::Bad(Reason::Truncated);
    };
    let mut ethertype = ethernet.u16(12);
    let mut l3 = 14;
    let mut tags = 0;
    // IEEE 802.1Q, 802.1ad, and the number that QinQ had before 802.1ad.
    while matches!(ethertype, 0x8100 | 0x88a8 | 0x9100) {
        if tags == MAX_TAGS {
            return Parsed::Bad(Reason::HeaderChain);
        }
        let Some(tag) = frame.window(l3, 4) else {
            return Parsed::Bad(Reason::Truncated);
        };
        ethertype = tag.u16(2);
        l3 += 4;
        tags += 1;
    }
    out.l3 = l3 as u16;
    out.sport = 0;
    out.dport = 0;
    out.l4_len = 0;
    out.checksum = 0;
    out.tcp_flags = 0;
    out.fault = 0;
    out.fragment = Fragment::Whole as u8;
    match ethertype {
        0x0800 => parse_v4(frame, l3, out),
        0x86dd => parse_v6(frame, l3, out),
        _ => Parsed::NotIp,
    }
}

/// RFC 791 section 3.1.
#[inline(always)]
fn parse_v4<F: Frame + ?Sized>(frame: &F, l3: u32, out: &mut Headers) -> Parsed {
    let Some(ip) = frame.window(l3, 20) else {
        return Parsed::Bad(Reason::Truncated);
    };
    let first = ip.u8(0);
    let header_len = u32::from(first & 15) * 4;
    if first >> 4 != 4 || header_len < 20 {
        return Parsed::Bad(Reason::BadIpHeader);
    }
    let total = u32::from(ip.u16(2));
    if total < header_len || l3 + total > MAX_END || !frame.reaches(l3 + total) {
        return Parsed::Bad(Reason::Truncated);
    }
    let fragment = ip.u16(6);
    out.src = Addr::v4(ip.u32(12));
    out.dst = Addr::v4(ip.u32(16));
    out.v6 = 0;
    out.proto = ip.u8(9);
    out.l4 = (l3 + header_len) as u16;
    out.end = (l3 + total) as u16;
    if fragment & 0x1fff != 0 {
        out.fragment = Fragment::Later as u8;
    } else if fragment & 0x2000 != 0 {
        out.fragment = Fragment::First as u8;
    }
    Parsed::Ip
}

/// RFC 8200 sections 3 and 4.
#[inline(always)]
fn parse_v6<F: Frame + ?Sized>(frame: &F, l3: u32, out: &mut Headers) -> Parsed {
    let Some(ip) = frame.window(l3, 40) else {
        return Parsed::Bad(Reason::Truncated);
    };
    if ip.u8(0) >> 4 != 6 {
        return Parsed::Bad(Reason::BadIpHeader);
    }
    let end = l3 + 40 + u32::from(ip.u16(4));
    if end > MAX_END || !frame.reaches(end) {
        return Parsed::Bad(Reason::Truncated);
    }
    out.src = Addr { hi: ip.u64(8), lo: ip.u64(16) };
    out.dst = Addr { hi: ip.u64(24), lo: ip.u64(32) };
    out.v6 = 1;
    out.end = end as u16;

    let mut next = ip.u8(6);
    let mut l4 = l3 + 40;
    let mut seen = 0;
    // Hop-by-hop, routing, fragment, authentication, destination options, mobility, HIP, shim6.
    while matches!(next, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140) {
        if seen == MAX_EXTENSIONS {
            return Parsed::Bad(Reason::HeaderChain);
        }
        let Some(extension) = frame.window(l4, 8) else {
            return Parsed::Bad(Reason::Truncated);
        };
        let len = u32::from(extension.u8(1));
        l4 += match next {
            44 => 8,
            51 => (len + 2) * 4,
            _ => (len + 1) * 8,
        };
        if l4 > end {
            return Parsed::Bad(Reason::Truncated);
        }
        if next == 44 {
            let offset = extension.u16(2);
            if offset & 0xfff8 != 0 {
                out.fragment = Fragment::Later as u8;
                next = extension.u8(0);
                break;
            }
            // With neither offset nor more to come it is an atomic fragment: a whole packet (RFC 6946).
            if offset & 1 != 0 {
                out.fragment = Fragment::First as u8;
            }
        }
        next = extension.u8(0);
        // By which extensions it got here makes no difference to what follows.
        l4 = hide(l4, u64::from(extension.u32(0))) & 0x7fff;
        seen += 1;
    }
    out.proto = next;
    out.l4 = l4 as u16;
    Parsed::Ip
}

/// Reads the transport header of a parsed packet: ports, and the lengths and flags that are judged later.
/// A header that is cut off or lies about its length is noted as `fault`.
#[inline(always)]
pub fn parse_transport<F: Frame + ?Sized>(frame: &F, out: &mut Headers) {
    if out.fragment == Fragment::Later as u8 {
        return;
    }
    let l4 = u32::from(out.l4);
    let end = u32::from(out.end);
    let payload = end.saturating_sub(l4);
    match out.proto {
        proto::UDP => {
            let Some(udp) = (payload >= 8).then(|| frame.window(l4, 8)).flatten() else {
                out.fault = Reason::Truncated as u8;
                return;
            };
            out.sport = udp.u16(0);
            out.dport = udp.u16(2);
            out.l4_len = udp.u16(4);
            out.checksum = udp.u16(6);
            // A first fragment carries the length of the whole datagram. Bytes after a datagram that is
            // shorter than its packet are UDP options (RFC 9868), not a lie.
            let too_long = u32::from(out.l4_len) > payload && out.fragment == Fragment::Whole as u8;
            if out.l4_len < 8 || too_long {
                out.fault = Reason::UdpLength as u8;
            }
        }
        proto::TCP => {
            let Some(tcp) = (payload >= 20).then(|| frame.window(l4, 20)).flatten() else {
                out.fault = Reason::Truncated as u8;
                return;
            };
            out.sport = tcp.u16(0);
            out.dport = tcp.u16(2);
            out.tcp_flags = tcp.u8(13);
            out.l4_len = u16::from(tcp.u8(12) >> 4) * 4;
            let too_long = u32::from(out.l4_len) > payload && out.fragment == Fragment::Whole as u8;
            if out.l4_len < 20 || too_long {
                out.fault = Reason::TcpFlags as u8;
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
