//! The Internet checksum (RFC 1071), whole and incremental (RFC 1624).

use std::net::IpAddr;

/// The checksum of the parts as if they were one. Every part but the last has an even length.
pub fn of(parts: &[&[u8]]) -> u16 {
    !fold(parts.iter().map(|part| sum(part)).sum())
}

/// The checksum of a UDP datagram or a TCP segment with its pseudo header; 0 when the right
/// checksum is already inside. Addresses are of one family.
pub fn of_transport(source: IpAddr, target: IpAddr, protocol: u8, bytes: &[u8]) -> u16 {
    let addresses = match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => sum(&source.octets()) + sum(&target.octets()),
        (IpAddr::V6(source), IpAddr::V6(target)) => sum(&source.octets()) + sum(&target.octets()),
        // No such packet exists; the sum of nothing is as good as any.
        _ => 0,
    };
    !fold(addresses + u64::from(protocol) + bytes.len() as u64 + sum(bytes))
}

/// What a checksum becomes when one of the 16-bit words that it covers changes (RFC 1624,
/// equation 3). A wrong checksum stays as wrong as it was.
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u64 + !old as u64 + new as u64)
}

fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u64::from(*byte) << 8);
    words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>() + last
}

const fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_rfc_1071() {
        assert_eq!(of(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        assert_eq!(of(&[&[0x00, 0x01], &[0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        assert_eq!(of(&[&[0xab]]), !0xab00);
    }

    #[test]
    fn updating_equals_summing_again() {
        let mut bytes = *b"\x45\x00\x00\x1d\x12\x34\x00\x00\x40\x11";
        let mut checksum = of(&[&bytes]);
        for (at, new) in [(0, [0xff, 0xff]), (4, [0, 0]), (8, [0x12, 0x99]), (2, [0xff, 0xfe])] {
            let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            bytes[at..at + 2].copy_from_slice(&new);
            checksum = update(checksum, old, u16::from_be_bytes(new));
            assert_eq!(checksum, of(&[&bytes]));
        }
    }
}
