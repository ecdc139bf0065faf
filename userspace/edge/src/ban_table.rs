//! The kernel's table of bans, of which this is the only writer.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::IpNet;
use muralla_abi::bans::{Ban, Cause, places};
use muralla_abi::headers::Addr;
use muralla_abi::prefix::{ENTRIES, MAX_LENGTHS};
use muralla_abi::table::Key;

use crate::kernel::Shared;

/// Writes to the table.
pub(crate) struct BanTable<'a, K> {
    /// The table.
    pub(crate) bans: &'a Shared,
    /// The hits of each entry.
    pub(crate) hits: &'a Shared,
    /// The seeds of the policy in force.
    pub(crate) key: &'a K,
}

/// An entry as it is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Wanted {
    /// Whom.
    pub(crate) prefix: IpNet,
    /// Why.
    pub(crate) cause: Cause,
    /// The services' bits; bit 0 for everything.
    pub(crate) services: u16,
    /// Until when, in seconds of the wall's clock.
    pub(crate) until: u32,
}

/// Why an entry can't be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TableError {
    /// No place is left.
    #[error("the table of blocks is full: put long lists into a feed")]
    Full,
    /// More lengths of prefixes than a look-up asks for.
    #[error(
        "blocks of more than 10 lengths of prefixes are in use: put this one into edge.block or a feed"
    )]
    Lengths,
}

/// The prefix that is blocked for a wanted one: IPv6 by its first 64 bits at most, since a host chooses the rest
/// of its address as it likes.
pub(crate) fn blockable(prefix: IpNet) -> IpNet {
    match prefix {
        IpNet::V6(v6) if v6.prefix_len() > 64 => {
            ipnet::Ipv6Net::new(v6.addr(), 64).map_or(prefix, |net| net.trunc().into())
        }
        prefix => prefix.trunc(),
    }
}

impl<K: Key> BanTable<'_, K> {
    /// Makes or changes an entry.
    pub(crate) fn set(&self, wanted: &Wanted) -> Result<(), TableError> {
        let (v6, key, length) = parts(wanted.prefix);
        let ban = Ban::new(v6, length, wanted.cause, wanted.services, wanted.until);
        self.use_length(v6, length)?;
        if let Some(place) = self.find(v6, key, length) {
            self.rest(place).store(ban.0, Ordering::Release);
            return Ok(());
        }
        let lines = places(self.key, v6, key, length);
        let place = self.free(lines).or_else(|| self.make_room(lines)).ok_or(TableError::Full)?;
        self.write(place, key, ban);
        Ok(())
    }

    /// Removes an entry.
    pub(crate) fn remove(&self, prefix: IpNet) {
        let (v6, key, length) = parts(prefix);
        if let Some(place) = self.find(v6, key, length) {
            self.rest(place).store(0, Ordering::Release);
        }
    }

    /// Packets that an entry has met.
    pub(crate) fn hits(&self, prefix: IpNet) -> u64 {
        let (v6, key, length) = parts(prefix);
        self.find(v6, key, length).map_or(0, |place| self.hit(place).load(Ordering::Relaxed))
    }

    /// Removes all entries but those of `wanted`, makes the missing ones, and leaves the others as they are.
    pub(crate) fn reconcile(&self, wanted: &[Wanted]) -> Result<(), TableError> {
        let keep: BTreeSet<(bool, u64, u32)> =
            wanted.iter().map(|wanted| parts(wanted.prefix)).collect();
        let lines = self.bans.lines().len() as u32;
        for place in ENTRIES..lines * ENTRIES {
            let ban = Ban(self.rest(place).load(Ordering::Relaxed));
            let key = self.key_word(place).load(Ordering::Relaxed);
            if ban.0 != 0 && !keep.contains(&(ban.v6(), key, ban.length())) {
                self.rest(place).store(0, Ordering::Release);
            }
        }
        self.forget_lengths(&keep);
        // One that doesn't fit must not keep the others out.
        let results: Vec<_> = wanted.iter().map(|wanted| self.set(wanted)).collect();
        results.into_iter().collect()
    }

    /// When the entry for exactly that prefix ends, in seconds of the wall's clock. One that has ended may still be
    /// there.
    pub(crate) fn until(&self, prefix: IpNet) -> Option<u32> {
        let (v6, key, length) = parts(prefix);
        let place = self.find(v6, key, length)?;
        Some(Ban(self.rest(place).load(Ordering::Relaxed)).until())
    }

    fn find(&self, v6: bool, key: u64, length: u32) -> Option<u32> {
        places(self.key, v6, key, length).into_iter().flat_map(entries).find(|place| {
            let ban = Ban(self.rest(*place).load(Ordering::Relaxed));
            ban.0 != 0
                && self.key_word(*place).load(Ordering::Relaxed) == key
                && ban.length() == length
                && ban.v6() == v6
        })
    }

    fn free(&self, lines: [u32; 2]) -> Option<u32> {
        let free =
            |line| entries(line).find(|place| self.rest(*place).load(Ordering::Relaxed) == 0);
        lines.into_iter().find_map(free)
    }

    /// Moves an entry of a full line to its other line: it is written there before it goes here, so that a reader
    /// always finds it.
    fn make_room(&self, lines: [u32; 2]) -> Option<u32> {
        lines.into_iter().flat_map(entries).find_map(|place| {
            let ban = Ban(self.rest(place).load(Ordering::Relaxed));
            let key = self.key_word(place).load(Ordering::Relaxed);
            let others = places(self.key, ban.v6(), key, ban.length());
            let to = self.free(others)?;
            self.write(to, key, ban);
            self.hit(to).store(self.hit(place).load(Ordering::Relaxed), Ordering::Relaxed);
            self.rest(place).store(0, Ordering::Release);
            Some(place)
        })
    }

    fn write(&self, place: u32, key: u64, ban: Ban) {
        self.hit(place).store(0, Ordering::Relaxed);
        self.key_word(place).store(key, Ordering::Relaxed);
        self.rest(place).store(ban.0, Ordering::Release);
    }

    /// Adds a length to those that look-ups ask for, the longest first.
    fn use_length(&self, v6: bool, length: u32) -> Result<(), TableError> {
        let word = self.lengths(v6);
        let mut lengths = decode(word.load(Ordering::Relaxed));
        lengths.insert(length);
        if lengths.len() > MAX_LENGTHS as usize {
            return Err(TableError::Lengths);
        }
        word.store(encode(&lengths), Ordering::Release);
        Ok(())
    }

    fn forget_lengths(&self, keep: &BTreeSet<(bool, u64, u32)>) {
        for family in [false, true] {
            let lengths: BTreeSet<u32> =
                keep.iter().filter(|(v6, ..)| *v6 == family).map(|(.., length)| *length).collect();
            // The longest stay: those of single hosts, whom most entries are for.
            let most = lengths.into_iter().rev().take(MAX_LENGTHS as usize).collect();
            self.lengths(family).store(encode(&most), Ordering::Release);
        }
    }

    fn lengths(&self, v6: bool) -> &AtomicU64 {
        word(self.bans, u32::from(v6))
    }

    fn key_word(&self, place: u32) -> &AtomicU64 {
        word(self.bans, place * 2)
    }

    fn rest(&self, place: u32) -> &AtomicU64 {
        word(self.bans, place * 2 + 1)
    }

    fn hit(&self, place: u32) -> &AtomicU64 {
        word(self.hits, place)
    }
}

fn entries(line: u32) -> impl Iterator<Item = u32> {
    line * ENTRIES..(line + 1) * ENTRIES
}

fn word(shared: &Shared, index: u32) -> &AtomicU64 {
    static NOWHERE: AtomicU64 = AtomicU64::new(0);
    shared.words().get(index as usize).unwrap_or(&NOWHERE)
}

fn parts(prefix: IpNet) -> (bool, u64, u32) {
    let length = u32::from(prefix.prefix_len());
    match prefix.network() {
        IpAddr::V4(addr) => (false, Addr::v4(addr.into()).hi, length),
        IpAddr::V6(addr) => (true, Addr::v6(addr.into()).hi, length),
    }
}

fn decode(mut codes: u64) -> BTreeSet<u32> {
    let mut lengths = BTreeSet::new();
    while codes & 63 != 0 {
        lengths.insert(65 - (codes & 63) as u32);
        codes >>= 6;
    }
    lengths
}

fn encode(lengths: &BTreeSet<u32>) -> u64 {
    lengths.iter().fold(0, |codes, length| codes << 6 | u64::from(65 - length))
}
