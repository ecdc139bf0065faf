//! Open sessions by something that several may share: a user, an address.

use hashbrown::HashTable;
use parking_lot::RwLock;

use super::Padded;

const SHARDS: usize = 32;

/// From keyed hashes to sessions. A hash is taken for what it is of: two of a million names agree
/// by chance with a probability of one in 30 million.
#[derive(Debug)]
pub(crate) struct Index(Box<[Padded<RwLock<HashTable<Link>>>]>);

/// Twelve bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Link {
    high: u32,
    low: u32,
    handle: Handle,
}

impl Link {
    fn new(hash: u64, handle: Handle) -> Self {
        Self { high: (hash >> 32) as u32, low: hash as u32, handle }
    }

    fn hash(&self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }
}

/// Where a session lies: the shard, and the slot in it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Handle(u32);

/// Bits of a handle that are a slot.
pub(crate) const SLOT_BITS: u32 = 27;

impl Handle {
    pub(crate) fn new(shard: usize, slot: u32) -> Self {
        Self((shard as u32) << SLOT_BITS | slot)
    }

    pub(crate) fn shard(self) -> usize {
        (self.0 >> SLOT_BITS) as usize
    }

    pub(crate) fn slot(self) -> u32 {
        self.0 & ((1 << SLOT_BITS) - 1)
    }
}

impl Index {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| Padded::default()).collect())
    }

    pub(crate) fn insert(&self, hash: u64, handle: Handle) {
        if let Some(shard) = self.shard(hash) {
            shard.write().insert_unique(hash, Link::new(hash, handle), Link::hash);
        }
    }

    pub(crate) fn remove(&self, hash: u64, handle: Handle) {
        let link = Link::new(hash, handle);
        if let Some(shard) = self.shard(hash)
            && let Ok(entry) = shard.write().find_entry(hash, |known| *known == link)
        {
            entry.remove();
        }
    }

    pub(crate) fn count(&self, hash: u64) -> usize {
        self.shard(hash).map_or(0, |shard| {
            shard.read().iter_hash(hash).filter(|link| link.hash() == hash).count()
        })
    }

    pub(crate) fn find(&self, hash: u64, at_most: usize) -> Vec<Handle> {
        self.shard(hash).map_or_else(Vec::new, |shard| {
            let shard = shard.read();
            let links = shard.iter_hash(hash).filter(|link| link.hash() == hash);
            links.take(at_most).map(|link| link.handle).collect()
        })
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.0.read().len()).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|shard| shard.0.read().allocation_size()).sum()
    }

    fn shard(&self, hash: u64) -> Option<&RwLock<HashTable<Link>>> {
        // The table itself goes by the lowest bits, and the highest.
        Some(&self.0.get((hash >> 40) as usize % SHARDS)?.0)
    }
}
