//! A map within a limit of memory, whose entries end.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use tokio::time::Instant;

/// A map that forgets what has ended, and under pressure what was not used since it came, oldest first.
#[derive(Debug)]
pub(crate) struct Bounded<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// In order of age, for eviction with a second chance for what was used.
    queue: VecDeque<(K, u64)>,
    serial: u64,
    bytes: usize,
    limit: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    serial: u64,
    used: bool,
    bytes: usize,
    expires: Instant,
}

/// Key, table slots and queue of an entry, in bytes.
const OVERHEAD: usize = 256;

impl<K: Clone + Eq + Hash, V> Bounded<K, V> {
    /// An empty map of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), queue: VecDeque::new(), serial: 0, bytes: 0, limit }
    }

    /// The value, if it has not ended.
    pub(crate) fn fresh(&mut self, key: &K) -> Option<&V> {
        let entry = self.entries.get_mut(key)?;
        if entry.expires <= Instant::now() {
            return None;
        }
        entry.used = true;
        Some(&entry.value)
    }

    /// Puts a value of so many bytes. What has ended already is not taken.
    pub(crate) fn put(&mut self, key: K, value: V, bytes: usize, expires: Instant) {
        let now = Instant::now();
        if expires <= now {
            return;
        }
        self.remove(&key);
        let bytes = bytes + OVERHEAD;
        self.serial += 1;
        self.bytes += bytes;
        self.queue.push_back((key.clone(), self.serial));
        let entry = Entry { value, serial: self.serial, used: false, bytes, expires };
        self.entries.insert(key, entry);
        self.evict(now);
    }

    /// Forgets a key.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.bytes -= entry.bytes;
        Some(entry.value)
    }

    /// Forgets the keys that are not to be kept.
    pub(crate) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        let mut freed = 0;
        self.entries.retain(|key, entry| {
            let stays = keep(key);
            freed += if stays { 0 } else { entry.bytes };
            stays
        });
        self.bytes -= freed;
    }

    /// Entries and bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    fn evict(&mut self, now: Instant) {
        // Items of the queue whose serial is no longer the entry's are left over from entries that were replaced.
        while self.bytes > self.limit || self.queue.len() > 2 * self.entries.len() + 64 {
            let Some((key, serial)) = self.queue.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            if entry.serial != serial {
                continue;
            }
            let over = self.bytes > self.limit;
            if entry.expires > now && (entry.used || !over) {
                entry.used = entry.used && !over;
                self.queue.push_back((key, serial));
            } else {
                self.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_what_is_used_stays() {
        let mut map = Bounded::new(100 * (OVERHEAD + 100));
        let expires = Instant::now() + Duration::from_secs(60);
        map.put(u32::MAX, "hot", 100, expires);
        for number in 0..10_000 {
            map.put(number, "cold", 100, expires);
            assert_eq!(map.fresh(&u32::MAX), Some(&"hot"), "{number}");
        }
        let (entries, bytes) = map.size();
        assert!(entries == 100 && bytes <= map.limit, "{entries} {bytes}");
        assert!(map.queue.len() <= 2 * entries + 64);
    }

    #[tokio::test(start_paused = true)]
    async fn replacing_does_not_leak() {
        let mut map = Bounded::new(1 << 20);
        for round in 0..10_000 {
            map.put(round % 3, round, 10, Instant::now() + Duration::from_secs(1));
        }
        assert_eq!(map.size(), (3, 3 * (OVERHEAD + 10)));
        assert!(map.queue.len() <= 70);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(map.fresh(&0), None);
        map.retain(|_| false);
        assert_eq!(map.size(), (0, 0));
    }
}
