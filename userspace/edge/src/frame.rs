//! What a person wants to know of a captured frame: who, to whom, and what came after the IP header.
//!
//! Unlike the kernel's parser this one judges nothing: whatever can be told of a frame that was
//! dropped for being broken is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use muralla_abi::sample::Sample;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad, and what older switches use for the outer tag.
const ETHERTYPE_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const MAX_TAGS: usize = 2;
const MAX_EXTENSIONS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// The bytes of a sample's frame that were kept.
pub(crate) fn bytes(sample: &Sample) -> &[u8] {
    sample.data.get(..usize::from(sample.caplen)).unwrap_or(&sample.data)
}

/// A frame's network layer.
pub(crate) enum Frame<'a> {
    Ip(Packet<'a>),
    /// Not IP, or too short for its addresses; the EtherType if there is one.
    Other(Option<u16>),
}

/// An IP packet, as far as it was captured.
pub(crate) struct Packet<'a> {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// The protocol after IP and its extension headers, or the extension header where parsing ended.
    pub(crate) protocol: u8,
    pub(crate) fragment: Option<Fragment>,
    /// What follows the IP headers; empty in later fragments, which have no header of their own.
    pub(crate) payload: &'a [u8],
}

pub(crate) struct Fragment {
    /// Bytes before this fragment.
    pub(crate) offset: u16,
    pub(crate) more: bool,
}

pub(crate) fn parse(frame: &[u8]) -> Frame<'_> {
    let mut at = 12;
    let mut ethertype = be16(frame, at);
    for _ in 0..MAX_TAGS {
        if !ethertype.is_some_and(|kind| ETHERTYPE_VLAN.contains(&kind)) {
            break;
        }
        at += 4;
        ethertype = be16(frame, at);
    }
    let rest = frame.get(at + 2..).unwrap_or(&[]);
    let packet = match ethertype {
        Some(ETHERTYPE_IPV4) => ipv4(rest),
        Some(ETHERTYPE_IPV6) => ipv6(rest),
        _ => None,
    };
    packet.map_or(Frame::Other(ethertype), Frame::Ip)
}

/// The frame's source address.
pub(crate) fn source(frame: &[u8]) -> Option<IpAddr> {
    match parse(frame) {
        Frame::Ip(packet) => Some(packet.source),
        Frame::Other(_) => None,
    }
}

pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn ipv4(bytes: &[u8]) -> Option<Packet<'_>> {
    let source = Ipv4Addr::from(array::<4>(bytes, 12)?);
    let destination = Ipv4Addr::from(array::<4>(bytes, 16)?);
    let header = usize::from(bytes.first()? & 0x0f) * 4;
    let word = be16(bytes, 6)?;
    let (offset, more) = ((word & 0x1fff) << 3, word & 0x2000 != 0);
    let total = usize::from(be16(bytes, 2)?);
    // A header length below 20 lies, so that there is no telling where the payload begins.
    let payload = if header < 20 || offset > 0 {
        &[]
    } else {
        bytes.get(header..total.min(bytes.len())).unwrap_or(&[])
    };
    Some(Packet {
        source: source.into(),
        destination: destination.into(),
        protocol: *bytes.get(9)?,
        fragment: (offset > 0 || more).then_some(Fragment { offset, more }),
        payload,
    })
}

fn ipv6(bytes: &[u8]) -> Option<Packet<'_>> {
    let source = Ipv6Addr::from(array::<16>(bytes, 8)?);
    let destination = Ipv6Addr::from(array::<16>(bytes, 24)?);
    let mut protocol = *bytes.get(6)?;
    let end = 40 + usize::from(be16(bytes, 4)?);
    let mut payload = bytes.get(40..end.min(bytes.len())).unwrap_or(&[]);
    let mut fragment = None;
    for _ in 0..MAX_EXTENSIONS {
        let Some(&[next, length]) = payload.first_chunk::<2>() else {
            break;
        };
        let header = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION => (usize::from(length) + 1) * 8,
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            FRAGMENT => {
                let Some(word) = be16(payload, 2) else { break };
                fragment = Some(Fragment { offset: word & 0xfff8, more: word & 1 != 0 });
                8
            }
            _ => break,
        };
        protocol = next;
        payload = payload.get(header..).unwrap_or(&[]);
        if fragment.as_ref().is_some_and(|fragment| fragment.offset > 0) {
            payload = &[];
        }
    }
    Some(Packet {
        source: source.into(),
        destination: destination.into(),
        protocol,
        fragment,
        payload,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use muralla_abi::sample::SNAPLEN;
    use proptest::prelude::*;

    use super::*;

    /// A sample of `frame` with everything else zero.
    pub(crate) fn sample(frame: &[u8]) -> Sample {
        let mut data = [0; SNAPLEN];
        let kept = frame.len().min(SNAPLEN);
        data[..kept].copy_from_slice(&frame[..kept]);
        Sample {
            time_ns: 0,
            ifindex: 2,
            len: frame.len() as u32,
            caplen: kept as u16,
            service: 0,
            reason: 0,
            verdict: 0,
            traffic: 0,
            _reserved: [0; 2],
            data,
        }
    }

    /// An Ethernet frame with these EtherTypes before the last one's payload (tags have TCI 1).
    pub(crate) fn ethernet(types: &[u16], payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for (i, kind) in types.iter().enumerate() {
            if i > 0 {
                frame.extend([0, 1]);
            }
            frame.extend(kind.to_be_bytes());
        }
        frame.extend(payload);
        frame
    }

    /// An IPv4 packet without options; `fragment` is the flags-and-offset word.
    pub(crate) fn ipv4(
        from: [u8; 4],
        to: [u8; 4],
        protocol: u8,
        fragment: u16,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut packet = vec![0x45, 0];
        packet.extend((20 + payload.len() as u16).to_be_bytes());
        packet.extend([0, 1]);
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0]);
        packet.extend(from);
        packet.extend(to);
        packet.extend(payload);
        packet
    }

    /// An IPv6 packet from 2001:db8::/64 to 2001:db8:1::53.
    pub(crate) fn ipv6(from: u16, next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend((payload.len() as u16).to_be_bytes());
        packet.extend([next, 64]);
        packet.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, from).octets());
        packet.extend(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x53).octets());
        packet.extend(payload);
        packet
    }

    /// A UDP datagram without checksum.
    pub(crate) fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::new();
        datagram.extend(from.to_be_bytes());
        datagram.extend(to.to_be_bytes());
        datagram.extend((8 + payload.len() as u16).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        datagram
    }

    #[test]
    fn finds_the_source() {
        let v4 = ipv4([192, 0, 2, 1], [192, 0, 2, 2], 17, 0, &[]);
        let v6 = ipv6(7, 17, &[]);
        let cases: &[(Vec<u8>, Option<&str>)] = &[
            (ethernet(&[0x0800], &v4), Some("192.0.2.1")),
            (ethernet(&[0x8100, 0x0800], &v4), Some("192.0.2.1")),
            (ethernet(&[0x88a8, 0x8100, 0x0800], &v4), Some("192.0.2.1")),
            (ethernet(&[0x88a8, 0x8100, 0x8100, 0x0800], &v4), None),
            (ethernet(&[0x86dd], &v6), Some("2001:db8::7")),
            (ethernet(&[0x8100, 0x86dd], &v6), Some("2001:db8::7")),
            (ethernet(&[0x0806], &v4), None),
            (ethernet(&[0x0800], &v4[..19]), None),
            (ethernet(&[0x86dd], &v6[..39]), None),
            (Vec::new(), None),
        ];
        for (frame, expected) in cases {
            assert_eq!(source(frame), expected.map(|ip| ip.parse().unwrap()), "{frame:02x?}");
        }
    }

    #[test]
    fn walks_extension_headers() {
        let datagram = udp(1, 53, &[]);
        let with = |chain: &[u8]| [chain, datagram.as_slice()].concat();
        // (first header, chain, protocol, bytes of payload, fragment offset)
        let cases = [
            (17, with(&[]), 17, 8, None),
            (0, with(&[17, 0, 0, 0, 0, 0, 0, 0]), 17, 8, None),
            (60, with(&[43, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0]), 17, 8, None),
            (51, with(&[17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 17, 8, None),
            (44, with(&[17, 0, 0, 1, 0, 0, 0, 0]), 17, 8, Some(0)),
            (44, with(&[17, 0, 5, 0xc8, 0, 0, 0, 0]), 17, 0, Some(1480)),
            (0, with(&[17, 200, 0, 0, 0, 0, 0, 0]), 17, 0, None),
            (0, [0; 8].repeat(9), 0, 8, None),
            (44, vec![17], 44, 1, None),
        ];
        for (first, payload, protocol, length, offset) in cases {
            let frame = ethernet(&[0x86dd], &ipv6(1, first, &payload));
            let Frame::Ip(packet) = parse(&frame) else { panic!("{payload:?}") };
            assert_eq!((packet.protocol, packet.payload.len()), (protocol, length), "{payload:?}");
            assert_eq!(packet.fragment.map(|fragment| fragment.offset), offset, "{payload:?}");
        }
    }

    #[test]
    fn tells_what_it_can_of_a_broken_header() {
        for header in 0..=15 {
            let mut packet = ipv4([192, 0, 2, 1], [192, 0, 2, 2], 17, 0, &[0; 40]);
            packet[0] = 0x40 | header;
            let frame = ethernet(&[0x0800], &packet);
            let Frame::Ip(packet) = parse(&frame) else { panic!("{header}") };
            let expected = if header < 5 { 0 } else { 60 - usize::from(header) * 4 };
            assert_eq!(packet.payload.len(), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed(
            kind in prop::sample::select(vec![0x0800_u16, 0x86dd, 0x8100]),
            payload in prop::collection::vec(any::<u8>(), 0..SNAPLEN),
            caplen: u16,
        ) {
            let mut sample = sample(&ethernet(&[kind], &payload));
            sample.caplen = caplen;
            prop_assert!(bytes(&sample).len() <= SNAPLEN);
            let _ = source(bytes(&sample));
        }
    }
}
