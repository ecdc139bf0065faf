//! Addresses of packets that can't be shown to be from a NAS: those of NASes that nobody entered, or whose secret is another.
//!
//! Each thread counts a few of them, those that send most (Space-Saving: who is new takes the place of the one that sent least,
//! with its count). So a NAS that asks again and again stays in it, whatever addresses a flood makes up.

use std::net::IpAddr;

/// Addresses that one thread counts.
pub(crate) const MOST: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Vec<Seen>);

/// One of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Seen {
    /// Where its packets come from.
    pub(crate) address: IpAddr,
    /// Why they were dropped.
    pub(crate) reason: &'static str,
    /// How many, at most.
    pub(crate) count: u64,
    /// How many of these may have been another's.
    pub(crate) doubtful: u64,
    /// When the last one came, in seconds since 1970.
    pub(crate) last: u64,
}

impl Strangers {
    /// Counts a packet.
    pub(crate) fn note(&mut self, address: IpAddr, reason: &'static str, now: u64) {
        let address = address.to_canonical();
        let is_it = |seen: &&mut Seen| seen.address == address && seen.reason == reason;
        if let Some(seen) = self.0.iter_mut().find(is_it) {
            seen.count += 1;
            seen.last = now;
            return;
        }
        let new = Seen { address, reason, count: 1, doubtful: 0, last: now };
        if self.0.len() < MOST {
            self.0.reserve_exact(MOST - self.0.len());
            self.0.push(new);
            return;
        }
        if let Some(least) = self.0.iter_mut().min_by_key(|seen| seen.count) {
            *least = Seen { count: least.count + 1, doubtful: least.count, ..new };
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Seen] {
        &self.0
    }
}

/// What several threads counted, those with the most packets first, at most so many.
pub(crate) fn joined(all: impl Iterator<Item = Seen>, most: usize) -> Vec<Seen> {
    let mut joined: Vec<Seen> = Vec::new();
    for seen in all {
        let is_it =
            |known: &&mut Seen| known.address == seen.address && known.reason == seen.reason;
        match joined.iter_mut().find(is_it) {
            Some(known) => {
                known.count += seen.count;
                known.doubtful += seen.doubtful;
                known.last = known.last.max(seen.last);
            }
            None => joined.push(seen),
        }
    }
    // By what is certain, or the last of a flood would be taken for its greatest.
    joined.sort_by_key(|seen| std::cmp::Reverse((seen.count - seen.doubtful, seen.count)));
    joined.truncate(most);
    joined
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from(number).into()
    }

    #[test]
    fn who_sends_most_stays_in_a_flood_of_addresses_that_are_made_up() {
        let mut strangers = Strangers::default();
        for number in 0..100_000 {
            strangers.note(address(1_000 + number), "unknown_client", 7);
            if number % 50 == 0 {
                strangers.note(address(1), "unknown_client", u64::from(number));
                strangers.note(address(1), "bad_authenticator", 9);
            }
        }
        assert_eq!(strangers.all().len(), MOST);
        let top = joined(strangers.all().iter().copied(), 2);
        for seen in &top {
            assert_eq!(seen.address, address(1));
            assert!(seen.count - seen.doubtful >= 1_000 && seen.count >= 2_000, "{seen:?}");
        }
        assert_eq!(top.iter().map(|seen| seen.last).max(), Some(99_950));
    }

    #[test]
    fn what_threads_counted_is_added_up() {
        let (mut one, mut two) = (Strangers::default(), Strangers::default());
        for _ in 0..3 {
            one.note(address(1), "unknown_client", 5);
            two.note("::ffff:0.0.0.1".parse().unwrap(), "unknown_client", 4);
        }
        two.note(address(2), "unknown_client", 6);
        let top = joined(one.all().iter().chain(two.all()).copied(), 20);
        let told: Vec<_> = top.iter().map(|seen| (seen.address, seen.count, seen.last)).collect();
        assert_eq!(told, [(address(1), 6, 5), (address(2), 1, 6)]);
    }
}
