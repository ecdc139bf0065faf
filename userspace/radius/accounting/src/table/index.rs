//! Open sessions by something that several may share: a user, an address.

use std::collections::HashMap;

use hashbrown::HashTable;
use parking_lot::RwLock;

use super::Padded;

const SHARDS: usize = 32;

/// Sessions of one name that are looked through one by one. What a name has beyond them is in a crowd of its own: some NASes
/// account thousands of sessions by one name, or by none.
const FEW: usize = 16;

/// From keyed hashes to sessions. A hash is taken for what it is of: two of a million names agree
/// by chance with a probability of one in 30 million.
#[derive(Debug)]
pub(crate) struct Index(Box<[Padded<RwLock<Part>>]>);

#[derive(Debug, Default)]
struct Part {
    links: HashTable<Link>,
    crowds: HashMap<u64, Crowd>,
}

/// Twelve bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Link {
    high: u32,
    low: u32,
    handle: Handle,
}

/// Sessions of one name, and where each is.
#[derive(Debug, Default)]
struct Crowd {
    handles: Vec<Handle>,
    places: HashMap<Handle, usize>,
}

impl Link {
    fn new(hash: u64, handle: Handle) -> Self {
        Self { high: (hash >> 32) as u32, low: hash as u32, handle }
    }

    fn hash(&self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }
}

impl Crowd {
    fn insert(&mut self, handle: Handle) {
        self.places.insert(handle, self.handles.len());
        self.handles.push(handle);
    }

    fn remove(&mut self, handle: Handle) {
        let Some(place) = self.places.remove(&handle) else { return };
        if place >= self.handles.len() {
            return;
        }
        self.handles.swap_remove(place);
        if let Some(moved) = self.handles.get(place) {
            self.places.insert(*moved, place);
        }
    }
}

/// Where a session lies: the shard, and the slot in it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
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

impl Part {
    fn few(&self, hash: u64) -> impl Iterator<Item = Handle> {
        let links = self.links.iter_hash(hash).filter(move |link| link.hash() == hash);
        links.map(|link| link.handle)
    }

    fn crowd(&self, hash: u64) -> &[Handle] {
        self.crowds.get(&hash).map(|crowd| crowd.handles.as_slice()).unwrap_or_default()
    }

    fn insert(&mut self, hash: u64, handle: Handle) {
        if let Some(crowd) = self.crowds.get_mut(&hash) {
            crowd.insert(handle);
        } else if self.few(hash).count() < FEW {
            self.links.insert_unique(hash, Link::new(hash, handle), Link::hash);
        } else {
            self.crowds.entry(hash).or_default().insert(handle);
        }
    }

    fn remove(&mut self, hash: u64, handle: Handle) {
        let link = Link::new(hash, handle);
        if let Ok(entry) = self.links.find_entry(hash, |known| *known == link) {
            entry.remove();
        } else if let Some(crowd) = self.crowds.get_mut(&hash) {
            crowd.remove(handle);
            if crowd.handles.is_empty() {
                self.crowds.remove(&hash);
            }
        }
    }
}

impl Index {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| Padded::default()).collect())
    }

    pub(crate) fn insert(&self, hash: u64, handle: Handle) {
        if let Some(part) = self.part(hash) {
            part.write().insert(hash, handle);
        }
    }

    pub(crate) fn remove(&self, hash: u64, handle: Handle) {
        if let Some(part) = self.part(hash) {
            part.write().remove(hash, handle);
        }
    }

    pub(crate) fn count(&self, hash: u64) -> usize {
        self.part(hash).map_or(0, |part| {
            let part = part.read();
            part.few(hash).count() + part.crowd(hash).len()
        })
    }

    pub(crate) fn find(&self, hash: u64, at_most: usize) -> Vec<Handle> {
        self.part(hash).map_or_else(Vec::new, |part| {
            let part = part.read();
            part.few(hash).chain(part.crowd(hash).iter().copied()).take(at_most).collect()
        })
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn len(&self) -> usize {
        let of = |part: &Part| {
            part.links.len() + part.crowds.values().map(|crowd| crowd.handles.len()).sum::<usize>()
        };
        self.0.iter().map(|part| of(&part.0.read())).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        const IN_CROWD: usize = 2 * size_of::<Handle>() + size_of::<usize>();
        let of = |part: &Part| {
            let crowds = part.crowds.values();
            part.links.allocation_size()
                + crowds.map(|crowd| crowd.handles.capacity() * IN_CROWD).sum::<usize>()
        };
        self.0.iter().map(|part| of(&part.0.read())).sum()
    }

    fn part(&self, hash: u64) -> Option<&RwLock<Part>> {
        // The table itself goes by the lowest bits, and the highest.
        Some(&self.0.get((hash >> 40) as usize % SHARDS)?.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_crowd_is_no_list_to_be_walked() {
        let index = Index::new();
        let handles = || (0..200_000).map(|slot| Handle::new(1, slot));
        handles().for_each(|handle| index.insert(7, handle));
        assert_eq!((index.count(7), index.count(8), index.len()), (200_000, 0, 200_000));
        assert_eq!(index.find(7, 64).len(), 64);
        let part = index.part(7).unwrap().read();
        assert_eq!(part.links.len(), FEW, "what is looked through one by one");
        drop(part);
        handles().rev().for_each(|handle| index.remove(7, handle));
        assert_eq!((index.count(7), index.len()), (0, 0));
        assert!(index.part(7).unwrap().read().crowds.is_empty());
    }

    proptest! {
        #[test]
        fn it_has_what_was_put_in_and_not_taken_out(
            steps in proptest::collection::vec((any::<bool>(), 0u64..3, 0u32..60), 0..400),
        ) {
            let (index, mut model) = (Index::new(), BTreeSet::new());
            for (insert, hash, slot) in steps {
                let handle = Handle::new(0, slot);
                if !insert {
                    index.remove(hash, handle);
                    model.remove(&(hash, handle));
                } else if model.insert((hash, handle)) {
                    index.insert(hash, handle);
                }
            }
            for hash in 0..3 {
                let known = model.iter().filter(|(of, _)| *of == hash).map(|(_, handle)| *handle);
                let known: Vec<Handle> = known.collect();
                let mut found = index.find(hash, 1_000);
                found.sort_unstable();
                prop_assert_eq!(index.count(hash), known.len());
                prop_assert_eq!(found, known);
            }
        }
    }
}
