//! The boxes that sessions are on. Several may be behind one entry of the configuration.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use hashbrown::HashTable;
use parking_lot::RwLock;
use siphasher::sip::SipHasher13;

use crate::record::Record;

/// Boxes that are told apart at most. What further ones report is taken for one box behind each
/// entry of the configuration.
pub(crate) const MOST_PLACES: usize = 262_144;

const NEVER: i64 = i64::MIN;

/// A box: a NAS's entry, and what the box says of itself.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) nas: Box<str>,
    pub(crate) identifier: Option<Box<[u8]>>,
    pub(crate) address: Option<IpAddr>,
    /// Sessions open on it.
    pub(crate) open: AtomicU32,
    /// Sessions open on all boxes of its NAS's entry.
    of_nas: Arc<AtomicU32>,
    /// Steady: when it was last said to begin or end.
    down: AtomicI64,
    /// Event-Timestamp of that, or 0.
    stamp: AtomicU32,
}

impl Place {
    fn new(name: &Name<'_>, of_nas: Arc<AtomicU32>) -> Self {
        Self {
            of_nas,
            nas: name.nas.into(),
            identifier: name.identifier.map(Into::into),
            address: name.address,
            open: AtomicU32::new(0),
            down: AtomicI64::new(NEVER),
            stamp: AtomicU32::new(0),
        }
    }

    fn name(&self) -> Name<'_> {
        Name { nas: &self.nas, identifier: self.identifier.as_deref(), address: self.address }
    }

    /// One more session is open on it.
    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.of_nas.fetch_add(1, Ordering::Relaxed);
    }

    /// One session less is open on it.
    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.of_nas.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sessions open on all boxes of its NAS's entry.
    pub(crate) fn open_of_nas(&self) -> usize {
        self.of_nas.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn down(&self) -> Option<i64> {
        Some(self.down.load(Ordering::Relaxed)).filter(|&down| down != NEVER)
    }

    pub(crate) fn stamp(&self) -> u32 {
        self.stamp.load(Ordering::Relaxed)
    }

    /// Notes that it began or ended; the latest such time counts.
    pub(crate) fn set_down(&self, when: i64, stamp: u32) {
        if self.down.fetch_max(when, Ordering::Relaxed) < when {
            self.stamp.store(stamp, Ordering::Relaxed);
        }
    }
}

/// What a box is known by.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Name<'a> {
    pub(crate) nas: &'a str,
    pub(crate) identifier: Option<&'a [u8]>,
    pub(crate) address: Option<IpAddr>,
}

impl<'a> Name<'a> {
    pub(crate) fn of(record: &Record<'a>) -> Self {
        Self { nas: record.nas, identifier: record.nas_identifier, address: record.nas_address }
    }

    /// Whether what both say agrees.
    fn may_be(&self, other: &Name<'_>) -> bool {
        fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        self.nas == other.nas
            && agree(self.identifier, other.identifier)
            && agree(self.address, other.address)
    }
}

/// All boxes. None is ever forgotten: their numbers stand in sessions.
#[derive(Debug)]
pub(crate) struct Places {
    keys: (u64, u64),
    list: RwLock<List>,
}

#[derive(Debug, Default)]
struct List {
    all: Vec<Arc<Place>>,
    by_name: HashTable<u32>,
    by_nas: HashMap<Box<str>, Vec<u32>>,
}

impl List {
    fn find(&self, hash: u64, name: &Name<'_>) -> Option<(u32, Arc<Place>)> {
        let number = *self.by_name.find(hash, |&number| {
            self.all.get(number as usize).is_some_and(|place| place.name() == *name)
        })?;
        Some((number, Arc::clone(self.all.get(number as usize)?)))
    }
}

impl Places {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        let [one, two] = seed;
        Self { keys: (one, two), list: RwLock::default() }
    }

    /// A box by its name; a new one if it was never heard of.
    pub(crate) fn intern(&self, name: &Name<'_>) -> (u32, Arc<Place>) {
        let hash = self.hash(name);
        if let Some(found) = self.list.read().find(hash, name) {
            return found;
        }
        let mut list = self.list.write();
        if let Some(found) = list.find(hash, name) {
            return found;
        }
        let unnamed = Name { identifier: None, address: None, ..*name };
        if list.all.len() >= MOST_PLACES && *name != unnamed {
            drop(list);
            return self.intern(&unnamed);
        }
        let number = list.all.len() as u32;
        let sibling = list.by_nas.get(name.nas).and_then(|numbers| numbers.first());
        let sibling = sibling.and_then(|&number| list.all.get(number as usize));
        let of_nas = sibling.map(|place| Arc::clone(&place.of_nas)).unwrap_or_default();
        let place = Arc::new(Place::new(name, of_nas));
        list.all.push(Arc::clone(&place));
        list.by_nas.entry(name.nas.into()).or_default().push(number);
        let List { all, by_name, .. } = &mut *list;
        by_name.insert_unique(hash, number, |&number| {
            all.get(number as usize).map_or(0, |place| self.hash(&place.name()))
        });
        (number, place)
    }

    /// A box by its name, if it was heard of.
    pub(crate) fn find(&self, name: &Name<'_>) -> Option<(u32, Arc<Place>)> {
        let unnamed = Name { identifier: None, address: None, ..*name };
        let list = self.list.read();
        let found = list.find(self.hash(name), name);
        let is_full = list.all.len() >= MOST_PLACES;
        found.or_else(|| list.find(self.hash(&unnamed), &unnamed).filter(|_| is_full))
    }

    pub(crate) fn at(&self, number: u32) -> Option<Arc<Place>> {
        self.list.read().all.get(number as usize).cloned()
    }

    /// The boxes that somebody who calls himself so may be.
    pub(crate) fn that_may_be(&self, name: &Name<'_>) -> Vec<(u32, Arc<Place>)> {
        let list = self.list.read();
        let numbers = list.by_nas.get(name.nas).map(Vec::as_slice).unwrap_or_default();
        let places = numbers.iter().filter_map(|&number| {
            let place = list.all.get(number as usize)?;
            place.name().may_be(name).then(|| (number, Arc::clone(place)))
        });
        places.collect()
    }

    /// Whether boxes of several NASes' entries were heard of.
    pub(crate) fn of_several(&self) -> bool {
        self.list.read().by_nas.len() > 1
    }

    pub(crate) fn all(&self) -> Vec<Arc<Place>> {
        self.list.read().all.clone()
    }

    fn hash(&self, name: &Name<'_>) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        name.hash(&mut hasher);
        hasher.finish()
    }
}
