//! Connections, counted by where they come from.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// Open connections: all of them, and those of each source. A source is an address of IPv4, or 64 bits of one of IPv6, which
/// is what a customer has.
#[derive(Debug, Default)]
pub struct Sources(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    all: usize,
    each: HashMap<IpAddr, usize>,
}

/// A connection's place, which is free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    sources: Arc<Sources>,
    source: IpAddr,
}

impl Sources {
    /// A place for a connection from there, if fewer than `most` are open, and fewer than `most_each` of its source.
    #[must_use]
    pub fn seat(self: &Arc<Self>, from: IpAddr, most: usize, most_each: usize) -> Option<Seat> {
        let source = source(from);
        let mut open = self.0.lock();
        let mine = open.each.get(&source).copied().unwrap_or(0);
        if open.all >= most || mine >= most_each {
            return None;
        }
        open.all += 1;
        open.each.insert(source, mine + 1);
        Some(Seat { sources: Arc::clone(self), source })
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.lock().all
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.sources.0.lock();
        open.all -= 1;
        match open.each.get_mut(&self.source) {
            Some(mine) if *mine > 1 => *mine -= 1,
            _ => {
                open.each.remove(&self.source);
            }
        }
    }
}

fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn counted_by_source() {
        let sources = Arc::new(Sources::default());
        let seat = |from: &str| sources.seat(address(from), 4, 2);
        let first = seat("192.0.2.1").unwrap();
        let second = seat("::ffff:192.0.2.1").unwrap();
        assert!(seat("192.0.2.1").is_none(), "two are there already");
        drop(first);
        let third = seat("192.0.2.1").unwrap();
        let fourth = seat("2001:db8::1").unwrap();
        let fifth = seat("2001:db8::2").unwrap();
        assert_eq!(sources.open(), 4);
        assert!(seat("192.0.2.9").is_none(), "four are there already");
        drop(fifth);
        assert!(seat("2001:db8:0:1::1").is_some());
        assert_eq!(sources.open(), 3);
        let last = seat("2001:db8:0:0:ffff::").unwrap();
        assert!(seat("2001:db8::3").is_none(), "of the same 64 bits");
        drop(last);
        drop((second, third, fourth));
        assert_eq!(sources.open(), 0);
        assert!(sources.0.lock().each.is_empty());
    }
}
