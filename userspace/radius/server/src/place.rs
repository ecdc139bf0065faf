//! The line that somebody tries from: what is his alone, as the NAS tells it.
//!
//! That is Calling-Station-Id; of a NAS that sends none it is its port, by name or by number, or its subscribers would be nowhere
//! at home, and whoever guesses their passwords elsewhere would lock them out. A port is one of its box, so the address that the
//! box sends from goes with it.

use std::net::{IpAddr, Ipv6Addr};

use muralla_radius_accounting::export::printable;
use muralla_radius_wire::{Packet, kind};

use crate::report::LineLimit;

/// Bytes before a port: whether it has a name, and where its box sends from.
const HEAD: usize = 18;

/// Room for a port and where it is: what stands before it, and the longest value of an attribute.
pub(crate) const ROOM: usize = HEAD + 253;

/// The line that a packet tells of; none if it tells of none.
pub(crate) fn place_of<'a>(
    packet: &Packet<'a>,
    source: IpAddr,
    room: &'a mut [u8; ROOM],
) -> Option<&'a [u8]> {
    let told = |kind| packet.first(kind).filter(|value: &&[u8]| !value.is_empty());
    if let Some(station) = told(kind::CALLING_STATION_ID) {
        return Some(station);
    }
    let port_id = told(kind::NAS_PORT_ID);
    let port = port_id.or_else(|| told(kind::NAS_PORT))?;
    let source = match source {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let len = HEAD + port.len();
    let (head, rest) = room.split_at_mut_checked(HEAD)?;
    // No station begins so: what it is of stands before it.
    head.first_chunk_mut::<2>()?.copy_from_slice(&[0, u8::from(port_id.is_some())]);
    head.last_chunk_mut::<16>()?.copy_from_slice(&source.octets());
    rest.get_mut(..port.len())?.copy_from_slice(port);
    room.get(..len)
}

/// A line on which logins are refused for so many seconds, for people.
pub(crate) fn limited(place: &[u8], seconds: u64) -> LineLimit {
    let Some((named, source, port)) = port_of(place) else {
        return LineLimit {
            calling_station: Some(printable(place)),
            port: None,
            source: None,
            seconds,
        };
    };
    let number = <[u8; 4]>::try_from(port).ok().filter(|_| !named).map(u32::from_be_bytes);
    LineLimit {
        calling_station: None,
        port: Some(number.map_or_else(|| printable(port), |number| number.to_string())),
        source: Some(Ipv6Addr::from(source).to_canonical()),
        seconds,
    }
}

/// What [`place_of`] put together: whether the port has a name, the address, and the port.
fn port_of(place: &[u8]) -> Option<(bool, [u8; 16], &[u8])> {
    let (&[0, named @ (0 | 1)], rest) = place.split_first_chunk::<2>()? else { return None };
    let (source, port) = rest.split_first_chunk::<16>()?;
    Some((named == 1, *source, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(attributes: &[(u8, &[u8])], source: &str) -> Option<LineLimit> {
        let mut bytes = vec![1, 1, 0, 0];
        bytes.extend([7; 16]);
        for (kind, value) in attributes {
            bytes.extend([*kind, u8::try_from(value.len() + 2).unwrap()]);
            bytes.extend(*value);
        }
        let len = u16::try_from(bytes.len()).unwrap();
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        let packet = Packet::parse(&bytes).unwrap();
        let mut room = [0; ROOM];
        Some(limited(place_of(&packet, source.parse().unwrap(), &mut room)?, 7))
    }

    #[test]
    fn a_line_is_told_as_its_nas_has_it() {
        let port = 7_u32.to_be_bytes();
        let (name, of_name) = (b"ge-0/0/1", "port ge-0/0/1 of the box at 192.0.2.1");
        let long = [b'x'; 253];
        for (attributes, expected) in [
            (&[(31, &b"00-11"[..]), (5, &port[..])][..], Some("00-11")),
            (&[(5, &port[..])][..], Some("port 7 of the box at 192.0.2.1")),
            (&[(5, &port[..]), (87, &name[..])][..], Some(of_name)),
            (&[(31, &b""[..]), (87, &name[..])][..], Some(of_name)),
            (&[][..], None),
        ] {
            let line = told(attributes, "192.0.2.1").map(|limit| limit.line());
            assert_eq!(line.as_deref(), expected, "{attributes:?}");
        }
        let limit = told(&[(87, &long[..])], "2001:db8::1").unwrap();
        assert_eq!((limit.port.unwrap().len(), limit.seconds), (253, 7));
        assert_eq!(limit.source, Some("2001:db8::1".parse().unwrap()));
    }
}
