//! Addresses and ranges of IPv4. The narrowest range that holds an address decides; of equal ones an exclusion does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;

use super::text::Line;
use super::{Build, EXCLUDED, FileState, Listed, VALUES};
use crate::name;
use crate::rdata;

/// Compiled: two sorted tables, of addresses and of ranges that don't overlap.
#[derive(Debug)]
pub(crate) struct Ip4Set {
    singles: Box<[u32]>,
    single_values: Box<[u32]>,
    /// Disjoint but for equal ones, which hold several values.
    ranges: Box<[Range]>,
    entries: usize,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Range {
    first: u32,
    last: u32,
    value: u32,
}

/// Entries as they come.
#[derive(Default)]
pub(super) struct Ip4SetBuilder {
    singles: Vec<(u32, u32)>,
    ranges: Vec<Range>,
}

impl Build for Ip4SetBuilder {
    type Set = Ip4Set;

    fn entry<'l>(
        &mut self,
        line: Line<'l>,
        state: &FileState,
        value: impl FnOnce(&'l [u8]) -> Result<u32, String>,
    ) -> Result<(), String> {
        let Line::Entry { excluded, key, value: rest } = line else { return Ok(()) };
        let (first, last) = range(key).ok_or_else(|| {
            format!("\"{}\" is not an address or range such as 192.0.2.1, 192.0.2.0/24, 192.0.2 or 192.0.2.1-9", String::from_utf8_lossy(key))
        })?;
        let size = u64::from(last - first) + 1;
        if let Some(widest) = state.widest.filter(|&widest| size > widest && !excluded) {
            return Err(format!("{size} addresses are more than the {widest} of $MAXRANGE4"));
        }
        let value = if excluded { EXCLUDED } else { value(rest)? };
        if first == last {
            self.singles.push((first, value));
        } else {
            self.ranges.push(Range { first, last, value });
        }
        Ok(())
    }

    fn build(self) -> Result<Ip4Set, String> {
        let Self { mut singles, mut ranges } = self;
        let entries = singles.len() + ranges.len();
        singles.sort_unstable();
        singles.dedup();
        ranges.sort_unstable();
        ranges.dedup();
        Ok(Ip4Set {
            single_values: singles.iter().map(|(_, value)| *value).collect(),
            singles: singles.iter().map(|(address, _)| *address).collect(),
            ranges: flatten(&ranges).into(),
            entries,
        })
    }

    fn size(set: &Ip4Set) -> (usize, usize) {
        (set.entries, set.singles.len() * 8 + set.ranges.len() * size_of::<Range>())
    }
}

/// Sorted ranges that may overlap into ones that don't: at each address the narrowest stays.
fn flatten(ranges: &[Range]) -> Vec<Range> {
    let mut borders: Vec<u64> = ranges
        .iter()
        .flat_map(|range| [u64::from(range.first), u64::from(range.last) + 1])
        .collect();
    borders.sort_unstable();
    borders.dedup();
    let mut coming = ranges.iter().peekable();
    // Narrowest first, exclusions before others.
    let mut open: BinaryHeap<Reverse<(u32, Reverse<bool>, Range)>> = BinaryHeap::new();
    let mut flat: Vec<Range> = Vec::with_capacity(ranges.len());
    let mut ties: Vec<Reverse<(u32, Reverse<bool>, Range)>> = Vec::new();
    for border in borders.windows(2) {
        let &[from, to] = border else { continue };
        while let Some(range) = coming.next_if(|range| u64::from(range.first) <= from) {
            open.push(Reverse((
                range.last - range.first,
                Reverse(range.value == EXCLUDED),
                *range,
            )));
        }
        ties.clear();
        while let Some(&Reverse((size, excluded, range))) = open.peek() {
            let narrowest = ties.first().is_none_or(|Reverse((narrowest, ..))| *narrowest == size);
            let alive = u64::from(range.last) >= from;
            if alive && (!narrowest || ties.len() >= VALUES) {
                break;
            }
            open.pop();
            if alive {
                ties.push(Reverse((size, excluded, range)));
            }
        }
        let alone = !shared(&flat);
        let excluded = ties.first().is_some_and(|Reverse((_, excluded, _))| excluded.0);
        let (Ok(first), Ok(last)) = (u32::try_from(from), u32::try_from(to - 1)) else { continue };
        if !excluded {
            match (ties.as_slice(), flat.last_mut()) {
                // The same value goes on: a hole was cut elsewhere.
                ([Reverse((_, _, range))], Some(before))
                    if before.value == range.value
                        && before.last.checked_add(1) == Some(first)
                        && alone =>
                {
                    if let Some(before) = flat.last_mut() {
                        before.last = last;
                    }
                }
                _ => {
                    let mut values: Vec<u32> =
                        ties.iter().map(|Reverse((_, _, range))| range.value).collect();
                    values.sort_unstable();
                    values.dedup();
                    flat.extend(values.into_iter().map(|value| Range { first, last, value }));
                }
            }
        }
        open.extend(ties.drain(..));
    }
    flat
}

/// Whether the last range has another value beside it.
fn shared(flat: &[Range]) -> bool {
    matches!(flat, [.., a, b] if a.first == b.first)
}

impl Ip4Set {
    pub(super) fn find(&self, address: u32) -> Listed {
        let from = self.singles.partition_point(|&single| single < address);
        let singles = self
            .singles
            .iter()
            .zip(&self.single_values)
            .skip(from)
            .take_while(|(single, _)| **single == address);
        let values: Vec<u32> = singles.map(|(_, value)| *value).collect();
        if values.contains(&EXCLUDED) {
            return Listed::No;
        }
        if !values.is_empty() {
            return Listed::Yes(values);
        }
        let after = self.ranges.partition_point(|range| range.first <= address);
        let before = self.ranges.get(..after).unwrap_or_default();
        let values: Vec<u32> = before
            .iter()
            .rev()
            .take_while(|range| range.last >= address)
            .map(|range| range.value)
            .collect();
        if values.is_empty() { Listed::No } else { Listed::Yes(values) }
    }

    /// Whether some address with these leading bits is listed.
    pub(super) fn lists_within(&self, address: u32, bits: u32) -> bool {
        let last = address | u32::MAX.checked_shr(bits).unwrap_or(0);
        let from = self.singles.partition_point(|&single| single < address);
        let mut singles = self
            .singles
            .iter()
            .zip(&self.single_values)
            .skip(from)
            .take_while(|(single, _)| **single <= last);
        // Ranges whose every address is excluded one by one are taken for listed: the answer is then NODATA.
        let range = self.ranges.partition_point(|range| range.last < address);
        singles.any(|(_, value)| *value != EXCLUDED)
            || self.ranges.get(range).is_some_and(|range| range.first <= last)
    }
}

/// The address in reversed octets before the apex, and how many bits of it are given; none if it is no such thing.
pub(super) fn reversed(labels: &[u8]) -> Option<(Ipv4Addr, u32)> {
    let whole = [labels, name::ROOT].concat();
    let mut octets: Vec<u8> = name::labels(&whole)
        .take(5)
        .map(|label| {
            rdata::decimal::<u8>(label).filter(|_| label.len() == 1 || !label.starts_with(b"0"))
        })
        .collect::<Option<_>>()?;
    let bits = 8 * octets.len() as u32;
    octets.reverse();
    octets.resize(octets.len().max(4), 0);
    let octets: [u8; 4] = octets.try_into().ok()?;
    Some((octets.into(), bits))
}

/// First and last address of what is written.
fn range(text: &[u8]) -> Option<(u32, u32)> {
    if let Some(at) = text.iter().position(|&byte| byte == b'-') {
        let (from, to) = (octets(text.get(..at)?)?, octets(text.get(at + 1..)?)?);
        let (first, _) = span(&from)?;
        // One octet alone replaces the last one given: 192.0.2.1-9.
        let (_, last) = match to.as_slice() {
            [only] => {
                let mut to = from;
                *to.last_mut()? = *only;
                span(&to)?
            }
            _ => span(&to)?,
        };
        return (first <= last).then_some((first, last));
    }
    if let Some(at) = text.iter().position(|&byte| byte == b'/') {
        let (first, _) = span(&octets(text.get(..at)?)?)?;
        let bits: u32 = rdata::decimal(text.get(at + 1..)?).filter(|&bits| bits <= 32)?;
        let host = u32::MAX.checked_shr(bits).unwrap_or(0);
        return Some((first & !host, first | host));
    }
    span(&octets(text)?)
}

fn octets(text: &[u8]) -> Option<Vec<u8>> {
    let octets: Vec<u8> =
        text.split(|&byte| byte == b'.').map(rdata::decimal).collect::<Option<_>>()?;
    (octets.len() <= 4).then_some(octets)
}

/// All addresses that begin with these octets.
fn span(octets: &[u8]) -> Option<(u32, u32)> {
    let mut first = [0; 4];
    let mut last = [255; 4];
    first.get_mut(..octets.len())?.copy_from_slice(octets);
    last.get_mut(..octets.len())?.copy_from_slice(octets);
    Some((u32::from_be_bytes(first), u32::from_be_bytes(last)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges() {
        for (text, first, last) in [
            ("127.0.0.0/24", "127.0.0.0", "127.0.0.255"),
            ("127.0.0", "127.0.0.0", "127.0.0.255"),
            ("127/24", "127.0.0.0", "127.0.0.255"),
            ("127-127.0.0", "127.0.0.0", "127.0.0.255"),
            ("127.0.0.0-127.0.0.255", "127.0.0.0", "127.0.0.255"),
            ("127.0.0.1-255", "127.0.0.1", "127.0.0.255"),
            ("127.16-31", "127.16.0.0", "127.31.255.255"),
            ("127.16.0-127.31.255", "127.16.0.0", "127.31.255.255"),
            ("127.16/12", "127.16.0.0", "127.31.255.255"),
            ("0/0", "0.0.0.0", "255.255.255.255"),
            ("10.1.2.3/24", "10.1.2.0", "10.1.2.255"),
            ("1.2.3.4", "1.2.3.4", "1.2.3.4"),
        ] {
            let number = |text: &str| u32::from(text.parse::<Ipv4Addr>().unwrap());
            assert_eq!(range(text.as_bytes()), Some((number(first), number(last))), "{text}");
        }
        for text in [
            "",
            "1.",
            "1.2.3.4.5",
            "256",
            "1.2.3.4/33",
            "9-1",
            "1-",
            "a",
            "1.2.3.4/",
            "<html>",
            "::1",
        ] {
            assert_eq!(range(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn as_the_naive_model(entries in proptest::collection::vec((0u32..48, 0u32..20, 0u32..4), 0..24)) {
            let top = u32::MAX - 60;
            for base in [0, 1000, top] {
                let mut builder = Ip4SetBuilder::default();
                let mut plain = Vec::new();
                for &(first, more, value) in &entries {
                    let value = if value == 0 { EXCLUDED } else { value };
                    let range = Range { first: base + first, last: (base + first).saturating_add(more), value };
                    plain.push(range);
                    if range.first == range.last { builder.singles.push((range.first, value)) } else { builder.ranges.push(range) }
                }
                let set = builder.build().unwrap();
                for address in (base..=base.saturating_add(70)).chain([base.wrapping_sub(1)]) {
                    let holding: Vec<_> = plain.iter().filter(|range| (range.first..=range.last).contains(&address)).collect();
                    let narrowest = holding.iter().map(|range| range.last - range.first).min();
                    let mut values: Vec<_> = holding.iter().filter(|range| Some(range.last - range.first) == narrowest).map(|range| range.value).collect();
                    values.sort_unstable();
                    values.dedup();
                    let expected = if values.is_empty() || values.contains(&EXCLUDED) { None } else { Some(values) };
                    let found = match set.find(address) {
                        Listed::Yes(mut values) => { values.sort_unstable(); Some(values) }
                        _ => None,
                    };
                    prop_assert_eq!(found, expected, "{}", address);
                }
            }
        }
    }
}
