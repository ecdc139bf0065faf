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

/// Entries that are spared for each that is put: whoever puts one does not wait for a walk through all.
const SECOND_CHANCES: u32 = 64;

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
        let mut chances = SECOND_CHANCES;
        // Items of the queue whose serial is no longer the entry's are left over from entries that were replaced.
        while self.bytes > self.limit || self.queue.len() > 2 * self.entries.len() + 64 {
            let over = self.bytes > self.limit;
            if chances == 0 && !over {
                return;
            }
            let Some((key, serial)) = self.queue.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            if entry.serial != serial {
                continue;
            }
            if entry.expires > now && chances > 0 && (entry.used || !over) {
                chances -= 1;
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
    async fn nobody_walks_through_all_that_is_used() {
        let mut map = Bounded::new(1_000 * (OVERHEAD + 100));
        let expires = Instant::now() + Duration::from_secs(60);
        for number in 0..1_000 {
            map.put(number, (), 100, expires);
            assert!(map.fresh(&number).is_some());
        }
        map.put(1_000, (), 100, expires);
        let chances = u64::from(SECOND_CHANCES);
        let spared = map.queue.iter().filter(|(key, _)| *key < chances).count();
        let still_used = map.entries.values().filter(|entry| entry.used).count();
        assert_eq!((spared, still_used, map.size().0), (64, 1_000 - 64 - 1, 1_000));
        assert!(map.fresh(&chances).is_none(), "the first beyond those that were spared");
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
