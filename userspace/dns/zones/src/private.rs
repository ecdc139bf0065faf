//! Zones for names that mean nothing outside a network: asking the Internet for them tells strangers what is inside,
//! and loads the servers of others (RFC 6303 section 1).

use crate::master;
use crate::name;
use crate::zone::Zone;

/// Apex, and what is beside SOA and NS.
const ZONES: &[(&str, &str)] = &[
    // RFC 6303 section 4.1: RFC 1918.
    ("10.in-addr.arpa.", ""),
    ("16.172.in-addr.arpa.", ""),
    ("17.172.in-addr.arpa.", ""),
    ("18.172.in-addr.arpa.", ""),
    ("19.172.in-addr.arpa.", ""),
    ("20.172.in-addr.arpa.", ""),
    ("21.172.in-addr.arpa.", ""),
    ("22.172.in-addr.arpa.", ""),
    ("23.172.in-addr.arpa.", ""),
    ("24.172.in-addr.arpa.", ""),
    ("25.172.in-addr.arpa.", ""),
    ("26.172.in-addr.arpa.", ""),
    ("27.172.in-addr.arpa.", ""),
    ("28.172.in-addr.arpa.", ""),
    ("29.172.in-addr.arpa.", ""),
    ("30.172.in-addr.arpa.", ""),
    ("31.172.in-addr.arpa.", ""),
    ("168.192.in-addr.arpa.", ""),
    // Section 4.2: this network, loopback, link-local, documentation, broadcast.
    ("0.in-addr.arpa.", ""),
    ("127.in-addr.arpa.", "1.0.0 PTR localhost."),
    ("254.169.in-addr.arpa.", ""),
    ("2.0.192.in-addr.arpa.", ""),
    ("100.51.198.in-addr.arpa.", ""),
    ("113.0.203.in-addr.arpa.", ""),
    ("255.255.255.255.in-addr.arpa.", ""),
    // Section 4.3: unspecified and loopback.
    ("0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.", ""),
    (
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.",
        "@ PTR localhost.",
    ),
    // Sections 4.4 to 4.6: locally assigned, link-local, documentation.
    ("d.f.ip6.arpa.", ""),
    ("8.e.f.ip6.arpa.", ""),
    ("9.e.f.ip6.arpa.", ""),
    ("a.e.f.ip6.arpa.", ""),
    ("b.e.f.ip6.arpa.", ""),
    ("8.b.d.0.1.0.0.2.ip6.arpa.", ""),
    // RFC 6761 sections 6.2 to 6.4. Names below localhost are the same host.
    ("test.", ""),
    ("localhost.", "@ A 127.0.0.1\n@ AAAA ::1\n* A 127.0.0.1\n* AAAA ::1"),
    ("invalid.", ""),
    // RFC 7686 section 2.
    ("onion.", ""),
    // RFC 8375 section 4.
    ("home.arpa.", ""),
    // RFC 9462 section 6.4: we designate no encrypted resolver, and say NODATA to all. A wildcard without records of its
    // own does that; it exists for what is below it (RFC 4592 section 2.2.2).
    ("resolver.arpa.", "below.* TXT \"\""),
];

/// RFC 7793: 100.64.0.0/10, by its second octet.
const SHARED: std::ops::RangeInclusive<u8> = 64..=127;

/// All of them.
pub(crate) fn zones() -> impl Iterator<Item = Zone> {
    let listed = ZONES.iter().map(|(apex, data)| ((*apex).to_owned(), *data));
    let shared = SHARED.map(|octet| (format!("{octet}.100.in-addr.arpa."), ""));
    listed.chain(shared).filter_map(|(apex, data)| zone(&apex, data))
}

fn zone(apex: &str, data: &str) -> Option<Zone> {
    let apex = name::apex(apex).ok()?;
    // SOA and NS as in RFC 6303 section 3.
    let text =
        format!("$TTL 10800\n@ SOA @ nobody.invalid. 1 3600 1200 604800 10800\n@ NS @\n{data}\n");
    Zone::build(&apex, master::read_text(&text, "private zone", &apex)).ok().map(|(zone, _)| zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_them_are_built() {
        assert_eq!(zones().count(), ZONES.len() + SHARED.count());
    }
}
