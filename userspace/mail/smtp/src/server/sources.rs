//! How many connections each source has, how much memory, and whether it is known well.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Counts of connections by source. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    counts: Arc<Mutex<HashMap<IpAddr, Source>>>,
    /// Units of memory that each may have.
    units: usize,
}

/// One that has connections.
#[derive(Debug)]
struct Source {
    connections: u32,
    memory: Arc<Semaphore>,
}

/// A connection that counts, until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    sources: Sources,
    source: IpAddr,
    memory: Arc<Semaphore>,
}

/// Sources that are known well, by the latest of them.
#[derive(Debug, Default)]
pub(crate) struct Regulars(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    new: HashSet<IpAddr>,
    old: HashSet<IpAddr>,
}

/// Sources that are known well at most, new ones and old ones each.
const MOST_KNOWN: usize = 20_000;

impl Sources {
    /// Nobody has a connection. Each source may have so many units of memory.
    pub(crate) fn new(units: usize) -> Self {
        Self { counts: Arc::default(), units }
    }

    /// Counts a connection, unless its source has so many already.
    pub(crate) fn count(&self, address: IpAddr, most: u32) -> Option<Counted> {
        let source = network_of(address);
        let mut counts = self.counts.lock();
        let new = || Source { connections: 0, memory: Arc::new(Semaphore::new(self.units)) };
        let one = counts.entry(source).or_insert_with(new);
        // An entry that was just made is below any limit, unless nobody is let in at all.
        if one.connections >= most {
            if one.connections == 0 {
                counts.remove(&source);
            }
            return None;
        }
        one.connections += 1;
        let memory = Arc::clone(&one.memory);
        drop(counts);
        Some(Counted { sources: self.clone(), source, memory })
    }

    /// Sources that have connections.
    pub(crate) fn len(&self) -> usize {
        self.counts.lock().len()
    }
}

impl Counted {
    /// What its source may have of the memory.
    pub(crate) const fn memory(&self) -> &Arc<Semaphore> {
        &self.memory
    }
}

impl Regulars {
    /// A source did what only those do who are welcome.
    pub(crate) fn note(&self, address: IpAddr) {
        let mut known = self.0.lock();
        if known.new.len() >= MOST_KNOWN {
            known.old = std::mem::take(&mut known.new);
        }
        known.new.insert(network_of(address));
    }

    /// Whether it did so lately.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        let source = network_of(address);
        let known = self.0.lock();
        known.new.contains(&source) || known.old.contains(&source)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.sources.counts.lock();
        if let Some(one) = counts.get_mut(&self.source) {
            one.connections = one.connections.saturating_sub(1);
            if one.connections == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

/// Who is behind an address: in IPv6, anybody has a network of 64 bits.
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted() {
        let sources = Sources::new(1);
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let first = sources.count(one, 2).unwrap();
        let second = sources.count("::ffff:192.0.2.1".parse().unwrap(), 2).unwrap();
        assert!(sources.count(one, 2).is_none());
        assert!(sources.count("192.0.2.2".parse().unwrap(), 2).is_some());
        drop(first);
        let third = sources.count(one, 2);
        assert!(third.is_some());
        let six = sources.count("2001:db8::1".parse().unwrap(), 1).unwrap();
        assert!(sources.count("2001:db8::2".parse().unwrap(), 1).is_none());
        assert!(sources.count("2001:db8:0:1::2".parse().unwrap(), 1).is_some());
        assert_eq!(sources.len(), 2);
        assert!(Arc::ptr_eq(second.memory(), third.as_ref().unwrap().memory()), "one for both");
        drop((second, third, six));
        assert!(sources.count(one, 0).is_none());
        assert_eq!(sources.len(), 0);
    }

    #[test]
    fn who_is_known_stays_so_for_a_while() {
        let regulars = Regulars::default();
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        regulars.note(address(0));
        assert!(regulars.has(address(0)) && !regulars.has(address(1)));
        let most = u32::try_from(MOST_KNOWN).unwrap();
        (1..=most).for_each(|number| regulars.note(address(number)));
        assert!(regulars.has(address(0)) && regulars.has(address(most)));
        (1..=2 * most).for_each(|number| regulars.note(address(number)));
        assert!(!regulars.has(address(0)), "others came");
    }
}
