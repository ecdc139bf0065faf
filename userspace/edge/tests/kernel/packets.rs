//! Who sends what, for the tables.

use std::net::{IpAddr, SocketAddr};

use muralla_lab::frames::dns::{Query, TYPE_A};
use muralla_lab::frames::radius::Packet;
use muralla_lab::frames::{Frame, tcp, udp};

pub(crate) const SERVER4: &str = "192.0.2.53";
pub(crate) const SERVER6: &str = "2001:db8::53";
pub(crate) const CUSTOMER4: &str = "100.64.1.1";
pub(crate) const CUSTOMER6: &str = "2001:db8:100::1";
pub(crate) const NAS4: &str = "100.64.255.1";
pub(crate) const NAS6: &str = "2001:db8:1ff::1";
pub(crate) const MAIL_SERVER4: &str = "100.64.7.7";
pub(crate) const OUTSIDER4: &str = "8.8.8.8";
pub(crate) const OUTSIDER6: &str = "2a00:1450::8";
pub(crate) const BOGON4: &str = "10.1.2.3";
pub(crate) const BOGON6: &str = "3fff::3";

/// Port that clients send from.
pub(crate) const CLIENT_PORT: u16 = 40_000;

pub(crate) fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// The server's address in the source's family.
pub(crate) fn server(source: &str) -> &'static str {
    match source.parse().unwrap() {
        IpAddr::V4(_) => SERVER4,
        IpAddr::V6(_) => SERVER6,
    }
}

/// A datagram to the server.
pub(crate) fn datagram(source: &str, port: u16) -> Frame {
    udp(at(source, CLIENT_PORT), at(server(source), port))
}

/// A segment to the server.
pub(crate) fn segment(source: &str, port: u16, flags: u8) -> Frame {
    tcp(at(source, CLIENT_PORT), at(server(source), port)).flags(flags)
}

pub(crate) fn query() -> Query {
    Query::new("www.example.org", TYPE_A)
}

/// A good DNS query to the server.
pub(crate) fn dns(source: &str) -> Frame {
    datagram(source, 53).payload(query())
}

/// A RADIUS packet with two attributes.
pub(crate) fn radius(code: u8) -> Packet {
    Packet::new(code, 7, [9; 16]).attribute(1, b"someone").attribute(4, &[192, 0, 2, 7])
}
