//! Who may ask for recursion, and what counts as one client.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// A set of addresses, as ranges that don't overlap: one look takes the logarithm of their number.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Clients {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Clients {
    pub(crate) fn new(prefixes: &[IpNet]) -> Self {
        let mut clients = Self::default();
        for prefix in prefixes {
            match prefix {
                IpNet::V4(prefix) => {
                    clients.v4.push((prefix.network().into(), prefix.broadcast().into()));
                }
                IpNet::V6(prefix) => {
                    clients.v6.push((prefix.network().into(), prefix.broadcast().into()));
                }
            }
        }
        merge(&mut clients.v4);
        merge(&mut clients.v6);
        clients
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => within(&self.v4, address.into()),
            IpAddr::V6(address) => within(&self.v6, address.into()),
        }
    }
}

/// What limits hold for: an IPv4 address, or the /64 that one IPv6 user has.
pub(crate) fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
    }
}

fn merge<T: Ord + Copy>(ranges: &mut Vec<(T, T)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let overlaps = next.0 <= kept.1;
        if overlaps {
            kept.1 = kept.1.max(next.1);
        }
        overlaps
    });
}

fn within<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| address <= *last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_set_if_a_prefix_holds_it() {
        let prefixes: Vec<IpNet> =
            ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "192.0.2.8/31", "2001:db8::/32"]
                .iter()
                .map(|text| text.parse().unwrap())
                .collect();
        let clients = Clients::new(&prefixes);
        for (address, expected) in [
            ("9.255.255.255", false),
            ("10.0.0.0", true),
            ("10.1.2.3", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("192.0.2.6", false),
            ("192.0.2.7", true),
            ("192.0.2.9", true),
            ("192.0.2.10", false),
            ("::ffff:10.1.2.3", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
        ] {
            assert_eq!(clients.contains(address.parse().unwrap()), expected, "{address}");
        }
        assert!(!Clients::default().contains("10.0.0.1".parse().unwrap()));
    }
}
