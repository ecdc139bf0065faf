//! What a pool gives out, counted through: addresses of IPv4, or prefixes of IPv6 of one length.

use std::fmt;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

/// Most that one pool may hold, so that a mistyped prefix is seen and not carried out.
const MOST: u64 = 1 << 32;

/// What somebody was given, or is always given.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
pub enum Assigned {
    /// An address (Framed-IP-Address).
    V4(Ipv4Addr),
    /// A prefix (Delegated-IPv6-Prefix or Framed-IPv6-Prefix).
    V6(Ipv6Net),
}

impl fmt::Display for Assigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(prefix) => prefix.fmt(f),
        }
    }
}

impl FromStr for Assigned {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::V4(address));
        }
        let prefix: Ipv6Net =
            text.parse().map_err(|_| "it is neither an IPv4 address nor an IPv6 prefix")?;
        Ok(Self::V6(prefix.trunc()))
    }
}

/// The ranges of a pool. Everything in it has a number: the bits of the address that count.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Plan {
    length: u8,
    block: u64,
    /// In order, and without overlaps.
    ranges: Vec<RangeInclusive<u64>>,
}

impl Plan {
    /// Reads ranges: `192.0.2.0/24` without its first and last address, `192.0.2.0-192.0.2.255` with them, or
    /// `2001:db8::/40` for IPv6. `block` is a power of two.
    pub(crate) fn new<'a>(
        length: u8,
        block: u64,
        ranges: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, String> {
        if !(32..=64).contains(&length) {
            return Err("the length is 32 for IPv4, or 33 to 64 for prefixes of IPv6".into());
        }
        if !block.is_power_of_two() || block > 1024 {
            return Err("a block has 1, 2, 4 ... 1024 addresses".into());
        }
        let mut read: Vec<RangeInclusive<u64>> = Vec::new();
        for text in ranges {
            read.push(range(length, text).map_err(|reason| format!("{text:?}: {reason}"))?);
        }
        read.sort_by_key(|range| *range.start());
        for (one, other) in read.iter().zip(read.iter().skip(1)) {
            if one.end() >= other.start() {
                let shared = assigned(length, *other.start());
                return Err(format!("two of its ranges overlap at {shared}: take it out of one"));
            }
        }
        let plan = Self { length, block, ranges: read };
        match plan.size() {
            0..=MOST => Ok(plan),
            size => Err(format!("{size} are too many for one pool: {MOST} at most")),
        }
    }

    /// How many a pool of a size should reserve at once: small pools are shared out in small pieces.
    pub(crate) fn fitting_block(size: u64) -> u64 {
        (size / 64).next_power_of_two().clamp(4, 256)
    }

    /// How many there are.
    pub(crate) fn size(&self) -> u64 {
        self.ranges.iter().fold(0, |sum, range| {
            sum.saturating_add((range.end() - range.start()).saturating_add(1))
        })
    }

    /// Length of what is given out.
    pub(crate) fn length(&self) -> u8 {
        self.length
    }

    /// Whether a number is one of its ranges'.
    pub(crate) fn contains(&self, number: u64) -> bool {
        let after = self.ranges.partition_point(|range| *range.start() <= number);
        after
            .checked_sub(1)
            .and_then(|at| self.ranges.get(at))
            .is_some_and(|range| range.contains(&number))
    }

    /// Whether some of these numbers are its own.
    pub(crate) fn touches(&self, numbers: &RangeInclusive<u64>) -> bool {
        self.ranges
            .iter()
            .any(|range| range.start() <= numbers.end() && numbers.start() <= range.end())
    }

    /// What the number stands for.
    pub(crate) fn assigned(&self, number: u64) -> Assigned {
        assigned(self.length, number)
    }

    /// The number of what was given out; nothing if it is none of this pool's.
    pub(crate) fn number(&self, assigned: Assigned) -> Option<u64> {
        self.unit(assigned).filter(|number| self.contains(*number))
    }

    /// The number of something of the pool's kind, whether it is in the ranges or not.
    pub(crate) fn unit(&self, assigned: Assigned) -> Option<u64> {
        match assigned {
            Assigned::V4(address) if self.length == 32 => Some(u32::from(address).into()),
            Assigned::V6(prefix) if self.length > 32 && prefix.prefix_len() == self.length => {
                Some(bits(self.length, prefix.network()))
            }
            _ => None,
        }
    }

    /// The numbers that something fixed covers or lies in: one, or many for a shorter prefix.
    pub(crate) fn covered(&self, fixed: Assigned) -> Option<RangeInclusive<u64>> {
        match fixed {
            Assigned::V4(address) if self.length == 32 => {
                let number = u32::from(address).into();
                Some(number..=number)
            }
            Assigned::V6(prefix) if self.length > 32 => {
                Some(bits(self.length, prefix.network())..=bits(self.length, prefix.broadcast()))
            }
            _ => None,
        }
    }

    /// The block in which a number lies, named by its first number.
    pub(crate) fn block_of(&self, number: u64) -> u64 {
        number & !(self.block - 1)
    }

    /// The last number of a block, whether the pool has it or not.
    pub(crate) fn last_of(&self, block: u64) -> u64 {
        block | (self.block - 1)
    }

    /// Every block, in order.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = u64> {
        let mut last = None;
        self.ranges
            .iter()
            .flat_map(|range| {
                let first = self.block_of(*range.start());
                let step = usize::try_from(self.block).unwrap_or(usize::MAX);
                (first..=*range.end()).step_by(step)
            })
            // Two ranges may share a block.
            .filter(move |block| last.replace(*block) != Some(*block))
    }

    /// What a block has of this pool.
    pub(crate) fn units(&self, block: u64) -> impl Iterator<Item = u64> {
        (block..=self.last_of(block)).filter(|number| self.contains(*number))
    }

    /// Whether all of a block lies in one of its ranges.
    pub(crate) fn has_whole(&self, block: u64) -> bool {
        let last = self.last_of(block);
        self.ranges.iter().any(|range| *range.start() <= block && last <= *range.end())
    }

    /// The same pool with nothing in it.
    pub(crate) fn emptied(&self) -> Self {
        Self { ranges: Vec::new(), ..*self }
    }

    /// What is in its ranges that an earlier plan of the same pool did not have.
    pub(crate) fn beyond(&self, earlier: &Self) -> Self {
        let mut ranges = Vec::new();
        for range in &self.ranges {
            let (mut from, end) = (Some(*range.start()), *range.end());
            for had in &earlier.ranges {
                let Some(start) = from.filter(|start| *start <= end) else { break };
                if *had.end() < start || end < *had.start() {
                    continue;
                }
                if start < *had.start() {
                    ranges.push(start..=*had.start() - 1);
                }
                from = had.end().checked_add(1);
            }
            ranges.extend(from.filter(|start| *start <= end).map(|start| start..=end));
        }
        Self { ranges, ..*self }
    }

    /// The plan as a number, the same on every server, for it lies in the database. Never zero.
    pub(crate) fn fingerprint(&self) -> i64 {
        let mut hasher = SipHasher13::new_with_keys(0x6d75_7261_6c6c_6121, 0x7261_6e67_6573_2121);
        let ends = self.ranges.iter().flat_map(|range| [*range.start(), *range.end()]);
        for number in [u64::from(self.length), self.block].into_iter().chain(ends) {
            hasher.write(&number.to_le_bytes());
        }
        hasher.finish().max(1).cast_signed()
    }

    /// Whether it shares anything with another pool.
    pub(crate) fn overlap(&self, other: &Plan) -> Option<Assigned> {
        if (self.length == 32) != (other.length == 32) {
            return None;
        }
        let spans = |plan: &Plan| -> Vec<(u128, u128)> {
            let shift = 64 - u32::from(plan.length);
            let shift = if plan.length == 32 { 0 } else { shift };
            let span = |range: &RangeInclusive<u64>| {
                (u128::from(*range.start()) << shift, ((u128::from(*range.end()) + 1) << shift) - 1)
            };
            plan.ranges.iter().map(span).collect()
        };
        for (number, (first, last)) in spans(self).into_iter().enumerate() {
            for (other_first, other_last) in spans(other) {
                if first <= other_last && other_first <= last {
                    return self.ranges.get(number).map(|range| self.assigned(*range.start()));
                }
            }
        }
        None
    }
}

fn assigned(length: u8, number: u64) -> Assigned {
    if length == 32 {
        let bits = u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        return Assigned::V4(bits.into());
    }
    let address = Ipv6Addr::from(u128::from(number) << (128 - u32::from(length)));
    // The length is 64 at most, as the plan was made.
    Assigned::V6(Ipv6Net::new(address, length).unwrap_or_default())
}

/// The first bits of an address, as a number. The length is 64 at most, so it fits.
fn bits(length: u8, address: Ipv6Addr) -> u64 {
    u64::try_from(u128::from(address) >> (128 - u32::from(length))).unwrap_or(u64::MAX)
}

fn range(length: u8, text: &str) -> Result<RangeInclusive<u64>, String> {
    if let Some((first, last)) = text.split_once('-') {
        if length != 32 {
            return Err("from-to is for IPv4: write a prefix".into());
        }
        let parse = |text: &str| text.trim().parse::<Ipv4Addr>().map(u32::from);
        let (Ok(first), Ok(last)) = (parse(first), parse(last)) else {
            return Err("it is no range: write 192.0.2.10-192.0.2.99".into());
        };
        if first > last {
            return Err("it ends before it begins".into());
        }
        return Ok(first.into()..=last.into());
    }
    let prefix: IpNet = match text.trim().parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => {
            text.trim().parse().map_err(|_| "it is neither a prefix nor a range".to_owned())?
        }
    };
    match prefix {
        IpNet::V4(prefix) if length == 32 => Ok(hosts(prefix)),
        IpNet::V6(prefix) if length > 32 => {
            if prefix.prefix_len() > length {
                return Err(format!("no prefix of length {length} has room in it"));
            }
            Ok(bits(length, prefix.network())..=bits(length, prefix.broadcast()))
        }
        IpNet::V4(_) => Err("the pool is one of IPv6".into()),
        IpNet::V6(_) => Err("the pool is one of IPv4: give it a length above 32 for IPv6".into()),
    }
}

fn hosts(prefix: Ipv4Net) -> RangeInclusive<u64> {
    let (first, last) = (u32::from(prefix.network()).into(), u32::from(prefix.broadcast()).into());
    if prefix.prefix_len() >= 31 { first..=last } else { first + 1..=last - 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(length: u8, block: u64, ranges: &[&str]) -> Plan {
        Plan::new(length, block, ranges.iter().copied()).unwrap()
    }

    #[test]
    fn ranges_are_counted_through() {
        let plan = plan(32, 4, &["192.0.2.128-192.0.2.130", "192.0.2.0/29", "198.51.100.7"]);
        assert_eq!(plan.size(), 3 + 6 + 1);
        let all: Vec<String> = plan
            .blocks()
            .flat_map(|block| plan.units(block).collect::<Vec<_>>())
            .map(|number| plan.assigned(number).to_string())
            .collect();
        let expected = [1, 2, 3, 4, 5, 6, 128, 129, 130].map(|last| format!("192.0.2.{last}"));
        assert_eq!(all, [&expected[..], &["198.51.100.7".to_owned()]].concat());
        for (address, inside) in [
            ("192.0.2.0", false),
            ("192.0.2.1", true),
            ("192.0.2.7", false),
            ("192.0.2.130", true),
            ("192.0.2.131", false),
            ("2001:db8::/56", false),
        ] {
            assert_eq!(plan.number(address.parse().unwrap()).is_some(), inside, "{address}");
        }
    }

    #[test]
    fn prefixes_are_counted_through() {
        let plan = plan(56, 64, &["2001:db8::/40"]);
        assert_eq!(plan.size(), 1 << 16);
        assert_eq!(plan.blocks().count(), 1 << 10);
        let first = plan.blocks().nth(1).unwrap();
        assert_eq!(plan.assigned(first).to_string(), "2001:db8:0:4000::/56");
        let number = plan.number("2001:db8:0:4000::/56".parse().unwrap());
        assert_eq!(number, Some(first));
        assert_eq!(plan.number("2001:db8:0:4000::/60".parse().unwrap()), None);
        // What is fixed takes all that it covers, or that it lies in.
        let covered = |text: &str| {
            let range = plan.covered(text.parse().unwrap()).unwrap();
            range.end() - range.start() + 1
        };
        assert_eq!(covered("2001:db8::/48"), 256);
        assert_eq!(covered("2001:db8::/64"), 1);
        assert_eq!(plan.covered("192.0.2.1".parse().unwrap()), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_advice() {
        for (length, block, ranges, word) in [
            (32, 4, &["192.0.2.0/24", "192.0.2.9"][..], "overlap"),
            (32, 4, &["192.0.2.9-192.0.2.1"], "before"),
            (32, 4, &["2001:db8::/40"], "length above 32"),
            (56, 4, &["192.0.2.0/24"], "IPv6"),
            (56, 4, &["2001:db8::/64"], "no prefix"),
            (56, 4, &["2001:db8::/16"], "too many"),
            (56, 4, &["nonsense"], "neither"),
            (32, 3, &[], "a block"),
            (24, 4, &[], "the length"),
            (65, 4, &[], "the length"),
        ] {
            let error = Plan::new(length, block, ranges.iter().copied()).unwrap_err();
            assert!(error.contains(word), "{ranges:?}: {error}");
        }
    }

    #[test]
    fn what_a_pool_gains_is_what_it_had_not() {
        let all = "192.0.2.0-192.0.2.99";
        for (had, gained) in [
            (&[][..], &[all][..]),
            (&[all], &[]),
            (&["192.0.1.0-192.0.3.255"], &[]),
            (&["192.0.2.0-192.0.2.49"], &["192.0.2.50-192.0.2.99"]),
            (&["192.0.2.50-192.0.3.9"], &["192.0.2.0-192.0.2.49"]),
            (
                &["192.0.2.10", "192.0.2.20-192.0.2.29", "198.51.100.1"],
                &["192.0.2.0-192.0.2.9", "192.0.2.11-192.0.2.19", "192.0.2.30-192.0.2.99"],
            ),
        ] {
            let new = plan(32, 4, &[all]);
            assert_eq!(new.beyond(&plan(32, 4, had)), plan(32, 4, gained), "{had:?}");
        }
        let last = plan(64, 4, &["ffff:ffff:ffff:fff0::/60"]);
        assert_eq!(last.beyond(&plan(64, 4, &["ffff:ffff:ffff:ffff::/64"])).size(), 15);
        assert_eq!(last.beyond(&last).size(), 0);
        assert_eq!(last.beyond(&last.emptied()), last);
    }

    #[test]
    fn plans_are_told_apart_by_a_number() {
        let one = plan(32, 4, &["192.0.2.0-192.0.2.9"]);
        // It lies in databases.
        assert_eq!(one.fingerprint(), plan(32, 4, &["192.0.2.0-192.0.2.9"]).fingerprint());
        for other in [
            one.emptied(),
            plan(32, 8, &["192.0.2.0-192.0.2.9"]),
            plan(32, 4, &["192.0.2.0-192.0.2.8"]),
            plan(32, 4, &["192.0.2.0-192.0.2.7", "192.0.2.8-192.0.2.9"]),
        ] {
            assert_ne!(one.fingerprint(), other.fingerprint(), "{other:?}");
        }
        assert!(one.has_whole(one.block_of(u64::from(u32::from(Ipv4Addr::new(192, 0, 2, 7))))));
        assert!(!one.has_whole(one.block_of(u64::from(u32::from(Ipv4Addr::new(192, 0, 2, 8))))));
    }

    #[test]
    fn pools_that_overlap_are_seen() {
        let (four, six) = (plan(32, 4, &["192.0.2.0/24"]), plan(56, 4, &["2001:db8::/40"]));
        assert_eq!(four.overlap(&plan(32, 4, &["198.51.100.0/24"])), None);
        assert!(four.overlap(&plan(32, 8, &["192.0.2.7"])).is_some());
        assert_eq!(four.overlap(&six), None);
        assert!(six.overlap(&plan(64, 4, &["2001:db8:0:1::/64"])).is_some(), "of another length");
        assert_eq!(six.overlap(&plan(64, 4, &["2001:db8:100::/64"])), None);
    }

    proptest! {
        #[test]
        fn blocks_hold_everything_once(
            first in 0u32..2000, lengths in proptest::collection::vec((1u32..90, 1u32..90), 1..6),
            block in 0u32..8,
        ) {
            let mut at = first;
            let mut ranges = Vec::new();
            for (gap, length) in lengths {
                at += gap;
                ranges.push(format!("{}-{}", Ipv4Addr::from(at), Ipv4Addr::from(at + length - 1)));
                at += length;
            }
            let plan = Plan::new(32, 1 << block, ranges.iter().map(String::as_str)).unwrap();
            let units: Vec<u64> =
                plan.blocks().flat_map(|block| plan.units(block).collect::<Vec<_>>()).collect();
            prop_assert_eq!(units.len() as u64, plan.size());
            prop_assert!(units.is_sorted_by(|one, other| one < other));
            for unit in units {
                prop_assert!(plan.contains(unit));
                prop_assert_eq!(plan.number(plan.assigned(unit)), Some(unit));
                prop_assert!(plan.units(plan.block_of(unit)).any(|other| other == unit));
            }
        }
    }
}
