//! How many connections each source has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts of connections by source. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(Arc<Mutex<HashMap<IpAddr, u32>>>);

/// A connection that counts, until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    sources: Sources,
    source: IpAddr,
}

impl Sources {
    /// Counts a connection, unless its source has so many already.
    pub(crate) fn count(&self, address: IpAddr, most: u32) -> Option<Counted> {
        let source = source(address);
        let mut counts = self.0.lock();
        let count = counts.entry(source).or_default();
        // An entry that was just made is below any limit, unless nobody is let in at all.
        if *count >= most {
            if *count == 0 {
                counts.remove(&source);
            }
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Counted { sources: self.clone(), source })
    }

    /// Sources that have connections.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.sources.0.lock();
        if let Some(count) = counts.get_mut(&self.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

/// Who is behind an address: in IPv6, anybody has a network of 64 bits.
fn source(address: IpAddr) -> IpAddr {
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
        let sources = Sources::default();
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
        drop((second, third, six));
        assert!(sources.count(one, 0).is_none());
        assert_eq!(sources.len(), 0);
    }
}
